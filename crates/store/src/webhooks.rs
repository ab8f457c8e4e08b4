//! Where accounts are told what becomes of their certificates, and the secrets with which that is signed (`docs/adr/0025-webhooks.md`).

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{self, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, WebhookId};
use zonecert_domain::webhook::WebhookEvent;
use zonecert_pki::MasterKeys;
use zonecert_pki::seal::{Binding, KeyOwner};

use crate::schema::{webhook_secrets, webhooks};
use crate::statement::sql_query;
use crate::{Connection, StoreError, data_keys};

/// Why a webhook is told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisabledReason {
    /// Somebody of the account wanted it so.
    ByHand,
    /// Its receiver has answered 410.
    Gone,
    /// Each attempt has failed for days.
    Failing,
}

impl DisabledReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::ByHand, Self::Gone, Self::Failing];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByHand => "by_hand",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its identifier.
    pub id: WebhookId,
    /// Where messages are sent to.
    pub url: String,
    /// What it is told; everything where there is none.
    pub events: Vec<WebhookEvent>,
    /// What its maker says of it.
    pub description: Option<String>,
    /// Since when it is told nothing, and why.
    pub disabled: Option<(DateTime<Utc>, DisabledReason)>,
    /// Since when each attempt has failed.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when messages are signed with the secret before as well, if they are.
    pub old_secret_until: Option<DateTime<Utc>>,
}

/// What a webhook is.
pub struct NewWebhook<'a> {
    /// Where messages are sent to.
    pub url: &'a str,
    /// What it is told; everything where there is none.
    pub events: &'a [WebhookEvent],
    /// What its maker says of it.
    pub description: Option<&'a str>,
}

/// What is to change. `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// Where messages are sent to.
    pub url: Option<String>,
    /// What it is told.
    pub events: Option<Vec<WebhookEvent>>,
    /// What its maker says of it; `Some(None)` takes it away.
    pub description: Option<Option<String>>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

type Row = (
    Uuid,
    String,
    Vec<String>,
    Option<String>,
    Option<DateTime<Utc>>,
    Option<String>,
    Option<DateTime<Utc>>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
);

type Columns = (
    webhooks::id,
    webhooks::url,
    webhooks::events,
    webhooks::description,
    webhooks::disabled_at,
    webhooks::disabled_reason,
    webhooks::failing_since,
    webhooks::created_at,
    SqlLiteral<Nullable<Timestamptz>>,
);

fn columns() -> Columns {
    let old_secret_until =
        sql("(SELECT max(expires_at) FROM webhook_secrets WHERE webhook_secrets.webhook_id = webhooks.id AND expires_at > now())");
    (
        webhooks::id,
        webhooks::url,
        webhooks::events,
        webhooks::description,
        webhooks::disabled_at,
        webhooks::disabled_reason,
        webhooks::failing_since,
        webhooks::created_at,
        old_secret_until,
    )
}

fn from_row(
    (id, url, events, description, disabled_at, reason, failing_since, created_at, old_secret_until): Row,
) -> Result<Webhook, StoreError> {
    let event = |text: String| WebhookEvent::parse(&text).ok_or_else(|| StoreError::corrupt("webhooks.events", text));
    let reason =
        reason.map(|text| DisabledReason::parse(&text).ok_or_else(|| StoreError::corrupt("webhooks.disabled_reason", text))).transpose()?;
    Ok(Webhook {
        id: WebhookId(id),
        url,
        events: events.into_iter().map(event).collect::<Result<_, _>>()?,
        description,
        disabled: disabled_at.zip(reason),
        failing_since,
        created_at,
        old_secret_until,
    })
}

fn names(events: &[WebhookEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.as_str()).collect()
}

/// Adds a webhook with its first secret, which is sealed under the account's data key.
pub async fn insert_webhook(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    new: &NewWebhook<'_>,
    secret: &[u8],
) -> Result<Webhook, StoreError> {
    let id = WebhookId::new();
    let values = (
        webhooks::id.eq(id.0),
        webhooks::account_id.eq(account.0),
        webhooks::url.eq(new.url),
        webhooks::events.eq(names(new.events)),
        webhooks::description.eq(new.description),
    );
    diesel::insert_into(webhooks::table).values(values).execute(conn).await?;
    insert_secret(conn, masters, account, id, secret).await?;
    get_webhook(conn, account, id).await
}

/// The tenant's webhooks, oldest first.
pub async fn list_webhooks(conn: &mut Connection, account: AccountId) -> Result<Vec<Webhook>, StoreError> {
    let rows = webhooks::table
        .filter(webhooks::account_id.eq(account.0).and(webhooks::certificate_id.is_null()))
        .order((webhooks::created_at, webhooks::id))
        .select(columns())
        .load::<Row>(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// How many webhooks the tenant has.
pub async fn count_webhooks(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    Ok(webhooks::table.filter(webhooks::account_id.eq(account.0).and(webhooks::certificate_id.is_null())).count().get_result(conn).await?)
}

/// A webhook of the tenant.
pub async fn get_webhook(conn: &mut Connection, account: AccountId, id: WebhookId) -> Result<Webhook, StoreError> {
    from_row(of(account, id).select(columns()).first::<Row>(conn).await?)
}

/// Changes a webhook. One that is enabled again begins anew: what has failed before counts no more. What waits for one that is disabled ends.
pub async fn change_webhook(
    conn: &mut Connection,
    account: AccountId,
    id: WebhookId,
    change: &WebhookChange,
) -> Result<Webhook, StoreError> {
    let changes = (
        change.url.as_deref().map(|url| webhooks::url.eq(url)),
        change.events.as_deref().map(|events| webhooks::events.eq(names(events))),
        change.description.as_ref().map(|text| webhooks::description.eq(text.as_deref())),
    );
    if change.url.is_some() || change.events.is_some() || change.description.is_some() {
        diesel::update(of(account, id)).set(changes).execute(conn).await?;
    }
    match change.enabled {
        Some(false) => drop(disable(conn, account, id, DisabledReason::ByHand).await?),
        Some(true) => {
            let enabled = (
                webhooks::disabled_at.eq(None::<DateTime<Utc>>),
                webhooks::disabled_reason.eq(None::<String>),
                webhooks::failing_since.eq(None::<DateTime<Utc>>),
            );
            diesel::update(of(account, id).filter(webhooks::disabled_at.is_not_null())).set(enabled).execute(conn).await?;
        }
        None => {}
    }
    get_webhook(conn, account, id).await
}

/// Tells a webhook nothing more, or pushes nothing more to a target, and ends what waits for it. Returns whether it was told something until now.
pub async fn disable(conn: &mut Connection, account: AccountId, id: WebhookId, reason: DisabledReason) -> Result<bool, StoreError> {
    let disabled =
        (webhooks::disabled_at.eq(diesel::dsl::now.into_sql::<Timestamptz>().nullable()), webhooks::disabled_reason.eq(reason.as_str()));
    let enabled =
        webhooks::table.filter(webhooks::account_id.eq(account.0).and(webhooks::id.eq(id.0)).and(webhooks::disabled_at.is_null()));
    let changed = diesel::update(enabled).set(disabled).execute(conn).await?;
    if changed == 0 {
        return Ok(false);
    }
    sql_query(
        "UPDATE webhook_deliveries SET status = 'failed', next_attempt_at = NULL, claimed_until = NULL, finished_at = now(),
            last_error = 'disabled before it came through'
         WHERE account_id = $1 AND webhook_id = $2 AND status = 'pending'",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(id.0)
    .execute(conn)
    .await?;
    Ok(true)
}

/// Deletes a webhook, its secrets, and all that was sent to it.
pub async fn delete_webhook(conn: &mut Connection, account: AccountId, id: WebhookId) -> Result<(), StoreError> {
    if diesel::delete(of(account, id)).execute(conn).await? == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// From now on messages are signed with this secret, and with the one before for `overlap` longer. One that was to end already ends now.
pub async fn rotate_secret(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    id: WebhookId,
    secret: &[u8],
    overlap: TimeDelta,
) -> Result<Webhook, StoreError> {
    // Nobody else replaces it meanwhile.
    of(account, id).select(webhooks::id).for_no_key_update().first::<Uuid>(conn).await?;
    let theirs = || webhook_secrets::table.filter(webhook_secrets::account_id.eq(account.0)).filter(webhook_secrets::webhook_id.eq(id.0));
    diesel::delete(theirs().filter(webhook_secrets::expires_at.is_not_null())).execute(conn).await?;
    sql_query("UPDATE webhook_secrets SET expires_at = now() + make_interval(secs => $3) WHERE account_id = $1 AND webhook_id = $2")
        .bind::<sql_types::Uuid, _>(account.0)
        .bind::<sql_types::Uuid, _>(id.0)
        .bind::<sql_types::Double, _>(overlap.as_seconds_f64())
        .execute(conn)
        .await?;
    insert_secret(conn, masters, account, id, secret).await?;
    get_webhook(conn, account, id).await
}

pub(crate) async fn insert_secret(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    webhook: WebhookId,
    secret: &[u8],
) -> Result<(), StoreError> {
    let row = Uuid::now_v7();
    let data_key = data_keys::get_current_data_key(conn, masters, account).await?;
    let values = (
        webhook_secrets::id.eq(row),
        webhook_secrets::account_id.eq(account.0),
        webhook_secrets::webhook_id.eq(webhook.0),
        webhook_secrets::data_key_id.eq(data_key.id()),
        webhook_secrets::sealed.eq(data_key.seal(secret, &secret_binding(account, row))?),
    );
    diesel::insert_into(webhook_secrets::table).values(values).execute(conn).await?;
    Ok(())
}

/// The secrets that messages to a webhook are signed with now, the newest first.
pub async fn open_secrets(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    webhook: WebhookId,
) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
    let rows = webhook_secrets::table
        .filter(webhook_secrets::account_id.eq(account.0).and(webhook_secrets::webhook_id.eq(webhook.0)))
        .filter(
            webhook_secrets::expires_at.is_null().or(webhook_secrets::expires_at.gt(diesel::dsl::now.into_sql::<Timestamptz>().nullable())),
        )
        .order(webhook_secrets::id.desc())
        .select((webhook_secrets::id, webhook_secrets::data_key_id, webhook_secrets::sealed))
        .load::<(Uuid, Uuid, Vec<u8>)>(conn)
        .await?;
    let mut secrets = Vec::with_capacity(rows.len());
    for (row, data_key, sealed) in rows {
        let data_key = data_keys::get_data_key(conn, masters, account, data_key).await?;
        secrets.push(data_key.open(&sealed, &secret_binding(account, row))?);
    }
    Ok(secrets)
}

/// The addresses of the people who own the account.
pub async fn list_owner_addresses(conn: &mut Connection, account: AccountId) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Owner {
        #[diesel(sql_type = sql_types::Text)]
        email: String,
    }

    let owners: Vec<Owner> =
        sql_query("SELECT email FROM users WHERE account_id = $1 AND role = 'owner' AND deleted_at IS NULL ORDER BY email")
            .bind::<sql_types::Uuid, _>(account.0)
            .load(conn)
            .await?;
    Ok(owners.into_iter().map(|owner| owner.email).collect())
}

#[diesel::dsl::auto_type]
pub(crate) fn of(account: AccountId, id: WebhookId) -> _ {
    let account: Uuid = account.0;
    let id: Uuid = id.0;
    webhooks::table.filter(webhooks::account_id.eq(account)).filter(webhooks::id.eq(id)).filter(webhooks::certificate_id.is_null())
}

pub(crate) fn secret_binding(account: AccountId, row: Uuid) -> Binding<'static> {
    Binding { owner: KeyOwner::Account(account.0), table: "webhook_secrets", row, purpose: "secret" }
}
