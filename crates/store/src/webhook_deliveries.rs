//! Messages to webhooks, each with its attempts. They are written by what they follow from, in the same transaction: the trigger `certificates_announce` tells
//! what becomes of a certificate. Workers send them at least once, under the same identifier (`docs/adr/0025-webhooks.md`).
//!
//! Who writes to a webhook's row and to its deliveries locks the webhook first, so that nobody waits for another in a circle.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::OptionalExtension;
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, CertificateId, DeliveryId, VersionId, WebhookId};
use zonecert_domain::webhook::TEST_EVENT;

use crate::schema::webhook_deliveries;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// The queue of jobs that send messages.
pub const QUEUE: &str = "webhook";

/// So many attempts are kept of a delivery, the newest.
pub const KEPT_ATTEMPTS: u32 = 20;

/// Messages of an account that is suspended for abuse are looked at again after this.
const BARRED_FOR: Duration = Duration::from_hours(1);

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It is to be sent, perhaps again.
    Pending,
    /// The receiver has taken it.
    Delivered,
    /// It was given up. It can be replayed.
    Failed,
}

impl DeliveryStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// One attempt, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: u64,
    /// What the receiver answered: its status, where it has answered.
    pub status: Option<u16>,
    /// How what it answered begins.
    pub answer: Option<String>,
    /// Why it was no success.
    pub error: Option<String>,
    /// The version that was pushed; none where a message was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
}

/// A message to a webhook.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its identifier, which the receiver is told as `webhook-id`.
    pub id: DeliveryId,
    /// What it tells.
    pub event: String,
    /// Of which certificate.
    pub certificate: Option<CertificateId>,
    /// What is sent.
    pub body: String,
    /// How far it is.
    pub status: DeliveryStatus,
    /// When it is sent next.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Its last [`KEPT_ATTEMPTS`] attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Why it has not come through yet, or will not.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was delivered or given up.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A place in the list of deliveries, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Its identifier.
    pub id: DeliveryId,
}

/// A message in the hands of whoever sends it. Nobody else has it until it is due again.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its webhook.
    pub webhook: WebhookId,
    /// The certificate whose version in use is pushed, where the webhook is a push target ([`crate::push_targets`]).
    pub pushed: Option<CertificateId>,
    /// Where it goes to.
    pub url: String,
    /// Which.
    pub id: DeliveryId,
    /// What it tells.
    pub event: String,
    /// What is sent.
    pub body: String,
    /// How often it was tried since it was written or replayed, this time included.
    pub attempts: u32,
    /// When it was taken, by the database's clock.
    pub at: DateTime<Utc>,
}

/// How an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has taken the message.
    Delivered,
    /// It is sent again after this.
    Again(Duration),
    /// It is given up.
    GivenUp,
}

/// How many messages may be under way to one webhook. To a push target it is one: of two, the older version could arrive last.
#[derive(Clone, Copy, Debug)]
pub struct AtOnce {
    /// Where the last one came through.
    pub well: i64,
    /// Where it did not.
    pub failing: i64,
}

type Row = (
    Uuid,
    String,
    Option<Uuid>,
    String,
    String,
    Option<DateTime<Utc>>,
    serde_json::Value,
    Option<String>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
);

const COLUMNS: (
    webhook_deliveries::id,
    webhook_deliveries::event,
    webhook_deliveries::certificate_id,
    webhook_deliveries::body,
    webhook_deliveries::status,
    webhook_deliveries::next_attempt_at,
    webhook_deliveries::log,
    webhook_deliveries::last_error,
    webhook_deliveries::created_at,
    webhook_deliveries::finished_at,
) = (
    webhook_deliveries::id,
    webhook_deliveries::event,
    webhook_deliveries::certificate_id,
    webhook_deliveries::body,
    webhook_deliveries::status,
    webhook_deliveries::next_attempt_at,
    webhook_deliveries::log,
    webhook_deliveries::last_error,
    webhook_deliveries::created_at,
    webhook_deliveries::finished_at,
);

fn from_row(row: Row) -> Result<Delivery, StoreError> {
    let (id, event, certificate, body, status, next_attempt_at, log, last_error, created_at, finished_at) = row;
    Ok(Delivery {
        id: DeliveryId(id),
        event,
        certificate: certificate.map(CertificateId),
        body,
        status: DeliveryStatus::parse(&status).ok_or_else(|| StoreError::corrupt("webhook_deliveries.status", status))?,
        next_attempt_at,
        attempts: serde_json::from_value(log).map_err(|error| StoreError::corrupt("webhook_deliveries.log", error.to_string()))?,
        last_error,
        created_at,
        finished_at,
    })
}

/// Writes a message that tells nothing, to try a webhook out, and sends the job for it.
pub async fn insert_test(conn: &mut Connection, account: AccountId, webhook: WebhookId) -> Result<Delivery, StoreError> {
    let (id, now) = (DeliveryId::new(), crate::issuances::database_now(conn).await?);
    let timestamp = now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let body = json!({ "type": TEST_EVENT, "timestamp": timestamp, "data": { "webhook_id": webhook } });
    let values = (
        webhook_deliveries::id.eq(id.0),
        webhook_deliveries::account_id.eq(account.0),
        webhook_deliveries::webhook_id.eq(webhook.0),
        webhook_deliveries::event.eq(TEST_EVENT),
        webhook_deliveries::body.eq(body.to_string()),
    );
    let row = diesel::insert_into(webhook_deliveries::table).values(values).returning(COLUMNS).get_result::<Row>(conn).await?;
    enqueue(conn, account, webhook, &format!("{}:first", id.0), None).await?;
    from_row(row)
}

/// The deliveries of a webhook before `after`, newest first, at most `limit`.
pub async fn list_deliveries(
    conn: &mut Connection,
    account: AccountId,
    webhook: WebhookId,
    status: Option<DeliveryStatus>,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<Delivery>, StoreError> {
    let mut query = webhook_deliveries::table
        .filter(webhook_deliveries::account_id.eq(account.0).and(webhook_deliveries::webhook_id.eq(webhook.0)))
        .order((webhook_deliveries::created_at.desc(), webhook_deliveries::id.desc()))
        .limit(limit)
        .select(COLUMNS)
        .into_boxed();
    if let Some(status) = status {
        query = query.filter(webhook_deliveries::status.eq(status.as_str()));
    }
    if let Some(Position { created_at, id }) = after {
        let same_moment = webhook_deliveries::created_at.eq(created_at).and(webhook_deliveries::id.lt(id.0));
        query = query.filter(webhook_deliveries::created_at.lt(created_at).or(same_moment));
    }
    query.load::<Row>(conn).await?.into_iter().map(from_row).collect()
}

/// A delivery of a webhook.
pub async fn get_delivery(conn: &mut Connection, account: AccountId, webhook: WebhookId, id: DeliveryId) -> Result<Delivery, StoreError> {
    from_row(of(account, webhook, id).select(COLUMNS).first::<Row>(conn).await?)
}

/// Has a message that was delivered or given up sent again, under the same identifier, with all its attempts before it.
///
/// Errors with [`StoreError::Stale`] when it is on its way.
pub async fn replay(conn: &mut Connection, account: AccountId, webhook: WebhookId, id: DeliveryId) -> Result<Delivery, StoreError> {
    let again = (
        webhook_deliveries::status.eq(DeliveryStatus::Pending.as_str()),
        webhook_deliveries::attempts.eq(0),
        webhook_deliveries::next_attempt_at.eq(diesel::dsl::now.into_sql::<sql_types::Timestamptz>().nullable()),
        webhook_deliveries::finished_at.eq(None::<DateTime<Utc>>),
        webhook_deliveries::last_error.eq(None::<String>),
    );
    let over = of(account, webhook, id).filter(webhook_deliveries::status.ne(DeliveryStatus::Pending.as_str()));
    let replayed = diesel::update(over).set(again).returning(COLUMNS).get_result::<Row>(conn).await.optional()?;
    let Some(row) = replayed else {
        get_delivery(conn, account, webhook, id).await?;
        return Err(StoreError::Stale);
    };
    enqueue(conn, account, webhook, &format!("{}:replay {}", id.0, Uuid::now_v7()), None).await?;
    from_row(row)
}

/// Takes the message of a webhook that has been due for longest, for `claim`: after that it is due again, whatever has become of whoever took it. `None` when
/// nothing is due, the webhook is disabled or gone, or enough is under way to it. Of pushes to one target the newest is taken, and those before it end: all of
/// them bring what is in use when they are sent.
pub async fn claim_next(
    conn: &mut Connection,
    account: AccountId,
    webhook: WebhookId,
    at_once: AtOnce,
    claim: Duration,
) -> Result<Option<Claimed>, StoreError> {
    #[derive(QueryableByName)]
    struct Endpoint {
        #[diesel(sql_type = sql_types::Text)]
        url: String,
        #[diesel(sql_type = sql_types::Bool)]
        failing: bool,
        #[diesel(sql_type = sql_types::Bool)]
        barred: bool,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Uuid>)]
        certificate_id: Option<Uuid>,
    }

    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Uuid)]
        id: Uuid,
        #[diesel(sql_type = sql_types::Text)]
        event: String,
        #[diesel(sql_type = sql_types::Text)]
        body: String,
        #[diesel(sql_type = sql_types::Integer)]
        attempts: i32,
        #[diesel(sql_type = sql_types::Timestamptz)]
        at: DateTime<Utc>,
    }

    // One after the other: whoever counts what is under way sees what was taken before.
    let endpoint = sql_query(
        "SELECT url, failing_since IS NOT NULL AS failing, accounts.status = 'suspended_abuse' AS barred, certificate_id FROM webhooks
         JOIN accounts ON accounts.id = webhooks.account_id
         WHERE webhooks.account_id = $1 AND webhooks.id = $2 AND disabled_at IS NULL FOR NO KEY UPDATE OF webhooks",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(webhook.0)
    .get_result::<Endpoint>(conn)
    .await
    .optional()?;
    let Some(endpoint) = endpoint else { return Ok(None) };
    if endpoint.barred {
        put_off(conn, account, webhook, BARRED_FOR).await?;
        return Ok(None);
    }
    if endpoint.certificate_id.is_some() {
        end_superseded(conn, account, webhook).await?;
    }
    let limit = match (endpoint.certificate_id, endpoint.failing) {
        (Some(_), _) => 1,
        (None, true) => at_once.failing,
        (None, false) => at_once.well,
    };
    // The moment of the statement, and not of the transaction, which may have waited.
    let row = sql_query(
        "UPDATE webhook_deliveries SET attempts = attempts + 1, next_attempt_at = statement_timestamp() + make_interval(secs => $4),
            claimed_until = statement_timestamp() + make_interval(secs => $4)
         WHERE id = (SELECT id FROM webhook_deliveries WHERE account_id = $1 AND webhook_id = $2 AND status = 'pending'
                     AND next_attempt_at <= statement_timestamp() ORDER BY next_attempt_at, id LIMIT 1)
            AND (SELECT count(*) FROM webhook_deliveries WHERE webhook_id = $2 AND claimed_until > statement_timestamp()) < $3
         RETURNING id, event, body, attempts, statement_timestamp() AS at",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(webhook.0)
    .bind::<sql_types::BigInt, _>(limit)
    .bind::<sql_types::Double, _>(claim.as_secs_f64())
    .get_result::<Row>(conn)
    .await
    .optional()?;
    Ok(row.map(|Row { id, event, body, attempts, at }| Claimed {
        webhook,
        pushed: endpoint.certificate_id.map(CertificateId),
        url: endpoint.url,
        id: DeliveryId(id),
        event,
        body,
        attempts: attempts.unsigned_abs(),
        at,
    }))
}

/// Ends the pushes to a target that wait beside a newer one, and that nobody is at.
async fn end_superseded(conn: &mut Connection, account: AccountId, webhook: WebhookId) -> Result<(), StoreError> {
    sql_query(
        "UPDATE webhook_deliveries SET status = 'failed', next_attempt_at = NULL, claimed_until = NULL, finished_at = now(),
            last_error = 'a newer push has taken its place'
         WHERE account_id = $1 AND webhook_id = $2 AND status = 'pending' AND (claimed_until IS NULL OR claimed_until <= statement_timestamp())
            AND id <> (SELECT id FROM webhook_deliveries WHERE account_id = $1 AND webhook_id = $2 AND status = 'pending'
                       ORDER BY created_at DESC, id DESC LIMIT 1)",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(webhook.0)
    .execute(conn)
    .await?;
    Ok(())
}

async fn put_off(conn: &mut Connection, account: AccountId, webhook: WebhookId, wait: Duration) -> Result<(), StoreError> {
    sql_query(
        "UPDATE webhook_deliveries SET next_attempt_at = now() + make_interval(secs => $3)
         WHERE account_id = $1 AND webhook_id = $2 AND status = 'pending' AND next_attempt_at <= now()",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(webhook.0)
    .bind::<sql_types::Double, _>(wait.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes how an attempt has ended, at the message and at its webhook, and sends the job for the next one. Returns since when each attempt at the webhook has
/// failed, if any; nothing of one that is disabled. Does nothing to a message that somebody else has taken since.
pub async fn record_attempt(
    conn: &mut Connection,
    account: AccountId,
    claimed: &Claimed,
    attempt: &Attempt,
    outcome: Outcome,
) -> Result<Option<Duration>, StoreError> {
    #[derive(QueryableByName)]
    struct Failing {
        #[diesel(sql_type = sql_types::Nullable<sql_types::Double>)]
        seconds: Option<f64>,
    }

    #[derive(QueryableByName)]
    struct Next {
        #[diesel(sql_type = sql_types::Nullable<sql_types::Timestamptz>)]
        next_attempt_at: Option<DateTime<Utc>>,
    }

    let failing = sql_query(
        "UPDATE webhooks SET failing_since = CASE WHEN NOT $3 THEN coalesce(failing_since, now()) END
         WHERE account_id = $1 AND id = $2 AND disabled_at IS NULL
         RETURNING extract(epoch FROM now() - failing_since)::float8 AS seconds",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(claimed.webhook.0)
    .bind::<sql_types::Bool, _>(outcome == Outcome::Delivered)
    .get_result::<Failing>(conn)
    .await
    .optional()?;
    let (status, wait) = match outcome {
        Outcome::Delivered => (DeliveryStatus::Delivered, None),
        Outcome::Again(wait) => (DeliveryStatus::Pending, Some(wait)),
        Outcome::GivenUp => (DeliveryStatus::Failed, None),
    };
    let noted = sql_query(
        "UPDATE webhook_deliveries SET status = $4, claimed_until = NULL, next_attempt_at = now() + make_interval(secs => $5),
            finished_at = CASE WHEN $4 <> 'pending' THEN now() END, last_error = $6,
            log = CASE WHEN jsonb_array_length(log) >= $7 THEN log - 0 ELSE log END || $8
         WHERE account_id = $1 AND id = $2 AND attempts = $3 AND status = 'pending' AND claimed_until IS NOT NULL RETURNING next_attempt_at",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(claimed.id.0)
    .bind::<sql_types::Integer, _>(claimed.attempts.cast_signed())
    .bind::<sql_types::Text, _>(status.as_str())
    .bind::<sql_types::Nullable<sql_types::Double>, _>(wait.map(|wait| wait.as_secs_f64()))
    .bind::<sql_types::Nullable<sql_types::Text>, _>(attempt.error.as_deref())
    .bind::<sql_types::Integer, _>(KEPT_ATTEMPTS.cast_signed())
    .bind::<sql_types::Jsonb, _>(json!([attempt]))
    .get_result::<Next>(conn)
    .await
    .optional()?;
    if let Some(at) = noted.and_then(|next| next.next_attempt_at) {
        let occasion = format!("{}:{}:{}", claimed.id.0, claimed.attempts, at.timestamp());
        enqueue(conn, account, claimed.webhook, &occasion, Some(at)).await?;
    }
    Ok(failing.and_then(|failing| Duration::try_from_secs_f64(failing.seconds?.max(0.0)).ok()))
}

/// Webhooks of any tenant with something that has been due for longer than `grace`, and that nobody is at.
pub async fn list_forgotten(conn: &mut Connection, grace: Duration, batch: i32) -> Result<Vec<(AccountId, WebhookId)>, StoreError> {
    sql_query("SELECT account_id, id FROM sweep_webhooks(make_interval(secs => $1), $2)")
        .bind::<sql_types::Double, _>(grace.as_secs_f64())
        .bind::<sql_types::Integer, _>(batch)
        .load_ids(conn, WebhookId)
        .await
}

/// Sends another job for a webhook whose job got lost. Any number of sweepers send one a minute between them.
pub async fn wake_forgotten(conn: &mut Connection, account: AccountId, webhook: WebhookId) -> Result<(), StoreError> {
    let minute = crate::issuances::database_now(conn).await?.timestamp() / 60;
    enqueue(conn, account, webhook, &format!("{}:minute {minute}", webhook.0), None).await
}

/// Sends a job for a webhook behind those of the others that wait: whoever has been at it for long lets them go first.
pub async fn yield_turn(conn: &mut Connection, account: AccountId, webhook: WebhookId) -> Result<(), StoreError> {
    enqueue(conn, account, webhook, &format!("{}:turn {}", webhook.0, Uuid::now_v7()), None).await
}

/// One job for each `occasion`; due at once where no moment is given.
async fn enqueue(
    conn: &mut Connection,
    account: AccountId,
    webhook: WebhookId,
    occasion: &str,
    at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    sql_query("SELECT enqueue_job($1, $2, $3, coalesce($4, now()))")
        .bind::<sql_types::Text, _>(QUEUE)
        .bind::<sql_types::Jsonb, _>(json!({ "account_id": account.0, "webhook_id": webhook.0 }))
        .bind::<sql_types::Text, _>(occasion)
        .bind::<sql_types::Nullable<sql_types::Timestamptz>, _>(at)
        .execute(conn)
        .await?;
    Ok(())
}

#[diesel::dsl::auto_type]
fn of(account: AccountId, webhook: WebhookId, id: DeliveryId) -> _ {
    let account: Uuid = account.0;
    let webhook: Uuid = webhook.0;
    let id: Uuid = id.0;
    webhook_deliveries::table
        .filter(webhook_deliveries::account_id.eq(account))
        .filter(webhook_deliveries::webhook_id.eq(webhook))
        .filter(webhook_deliveries::id.eq(id))
}
