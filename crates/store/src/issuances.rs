//! Issuances: their lease, what the next step depends on, and how they rest and end.
//!
//! Whoever works on an issuance holds its lease. Every write of theirs begins with [`guard`], which fails with [`StoreError::Stale`] once
//! somebody else has taken the lease over: the fence has moved. The functions here that take a [`Lease`] check the fence themselves, too.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId};
use zonecert_domain::issuance::{IssuanceEvent, IssuanceProgress, IssuanceReason, IssuanceStatus, cancel_gives_up_at};

use crate::accounts::AccountStatus;
use crate::error::changed_one;
use crate::orders::{Order, OrderRow, authorizations_of};
use crate::renewal_schedule::reschedule_certificate;
use crate::schema::{accounts, issuances, orders};
use crate::statement::{PreparedDsl as _, sql_query};
use crate::tenant_query::TenantQuery;
use crate::{Connection, StoreError};

/// The right to work on an issuance, until somebody else takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The tenant.
    pub account: AccountId,
    /// The issuance.
    pub issuance: IssuanceId,
    /// Raised whenever the lease changes hands.
    pub fence: i64,
}

/// An issuance as it stands, with its live order.
#[derive(Clone, Debug)]
pub struct Issuance {
    /// Its identifier.
    pub id: IssuanceId,
    /// The certificate that it is for.
    pub certificate: CertificateId,
    /// Why it is there.
    pub reason: IssuanceReason,
    /// Whether it is for the other key of a dual certificate.
    pub alternate: bool,
    /// Active, or how it ended.
    pub status: IssuanceStatus,
    /// Whether its account may use the service.
    pub account_status: AccountStatus,
    /// The code of what failed last, while nothing has gone well since.
    pub failure_code: Option<String>,
    /// Attempts that have failed.
    pub attempts: u32,
    /// Failures in a row of the step that is next.
    pub step_failures: u32,
    /// When to stop trying.
    pub give_up_at: DateTime<Utc>,
    /// No step is taken before.
    pub next_wake_at: Option<DateTime<Utc>>,
    /// Since when nobody wants its result any more.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Since when it is wished for.
    pub created_at: DateTime<Utc>,
    /// The order that is not over.
    pub live_order: Option<Order>,
    /// The database's clock when this was read.
    pub now: DateTime<Utc>,
}

impl Issuance {
    /// What [`zonecert_domain::issuance::next_step`] looks at.
    pub fn progress(&self) -> IssuanceProgress {
        IssuanceProgress {
            status: self.status,
            next_wake_at: self.next_wake_at,
            cancel_requested: self.cancel_requested_at.is_some(),
            live_order: self.live_order.as_ref().map(Order::progress),
        }
    }
}

/// Adds an issuance and sends the job for it, in this transaction. While it is live, the certificate does not renew by itself.
pub async fn insert_issuance(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    reason: IssuanceReason,
    give_up_at: DateTime<Utc>,
) -> Result<IssuanceId, StoreError> {
    insert(conn, account, certificate, reason, give_up_at, false).await
}

/// The same for the other key of a dual certificate ([`crate::alternates`]).
pub(crate) async fn insert_alternate_issuance(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    reason: IssuanceReason,
    give_up_at: DateTime<Utc>,
) -> Result<IssuanceId, StoreError> {
    insert(conn, account, certificate, reason, give_up_at, true).await
}

async fn insert(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    reason: IssuanceReason,
    give_up_at: DateTime<Utc>,
    alternate: bool,
) -> Result<IssuanceId, StoreError> {
    let id = IssuanceId::new();
    diesel::insert_into(issuances::table)
        .values((
            issuances::id.eq(id.0),
            issuances::account_id.eq(account.0),
            issuances::certificate_id.eq(certificate.0),
            issuances::reason.eq(reason.as_str()),
            issuances::give_up_at.eq(give_up_at),
            issuances::alternate.eq(alternate),
            issuances::next_wake_at.eq(diesel::dsl::now.into_sql::<sql_types::Timestamptz>().nullable()),
        ))
        .execute(conn)
        .await?;
    wake(conn, id, Duration::ZERO).await?;
    reschedule_certificate(conn, account, certificate).await?;
    Ok(id)
}

/// Sends a job for an issuance, due after `delay` by the database's clock; until then nobody works on it.
/// Returns false when the issuance is over.
pub async fn wake(conn: &mut Connection, id: IssuanceId, delay: Duration) -> Result<bool, StoreError> {
    let woken = sql_query("SELECT wake_issuance($1, now() + make_interval(secs => $2)) AS woken")
        .bind::<sql_types::Uuid, _>(id.0)
        .bind::<sql_types::Double, _>(delay.as_secs_f64())
        .get_result::<Woken>(conn)
        .await?;
    Ok(woken.woken)
}

/// Says that nobody wants the result of a certificate's live issuance any more, and wakes it. Whoever works on it loses the lease at once: nothing
/// that they find out is recorded any more. Whoever comes next takes the TXT values out, leaves the order, and has revoked what the CA may have
/// made of it. Returns false when there is nothing to cancel. The transaction must be one to write ([`crate::Store::tenant_write`]).
pub async fn request_cancel(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<bool, StoreError> {
    let now = database_now(conn).await?;
    let cancelled = diesel::update(
        issuances::table
            .filter(issuances::account_id.eq(account.0).and(issuances::certificate_id.eq(certificate.0)))
            .filter(issuances::status.eq("active").and(issuances::cancel_requested_at.is_null())),
    )
    .set((
        issuances::cancel_requested_at.eq(now),
        issuances::give_up_at.eq(cancel_gives_up_at(now)),
        issuances::attempts.eq(0),
        issuances::step_failures.eq(0),
        issuances::fence.eq(issuances::fence + 1),
        issuances::lease_owner.eq(None::<String>),
        issuances::lease_expires_at.eq(None::<DateTime<Utc>>),
    ))
    .returning(issuances::id)
    .get_result::<Uuid>(conn)
    .await
    .optional()?;
    match cancelled {
        Some(id) => wake(conn, IssuanceId(id), Duration::ZERO).await,
        None => Ok(false),
    }
}

/// Takes the lease if the issuance is active, its time has come, and nobody holds it.
pub async fn take_lease(
    conn: &mut Connection,
    account: AccountId,
    id: IssuanceId,
    owner: &str,
    ttl: Duration,
) -> Result<Option<Lease>, StoreError> {
    Ok(take_lease_from(conn, account, id, owner, ttl).await?.map(|(lease, _)| lease))
}

/// The same, and tells from whom it was taken over: whoever did not give it back before it ran out.
pub async fn take_lease_from(
    conn: &mut Connection,
    account: AccountId,
    id: IssuanceId,
    owner: &str,
    ttl: Duration,
) -> Result<Option<(Lease, Option<String>)>, StoreError> {
    #[derive(QueryableByName)]
    struct Taken {
        #[diesel(sql_type = sql_types::BigInt)]
        fence: i64,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
        previous_owner: Option<String>,
    }

    let taken = sql_query(
        "UPDATE issuances SET lease_owner = $2, lease_expires_at = now() + make_interval(secs => $3), fence = fence + 1
         FROM (SELECT id, lease_owner FROM issuances
               WHERE id = $1 AND status = 'active' AND next_wake_at <= now()
                   AND (lease_expires_at IS NULL OR lease_expires_at <= now() AND pg_postmaster_start_time() <= now() - make_interval(secs => $3))
               FOR NO KEY UPDATE) AS due
         WHERE issuances.id = due.id
         RETURNING fence, due.lease_owner AS previous_owner",
    )
    .bind::<sql_types::Uuid, _>(id.0)
    .bind::<sql_types::Text, _>(owner)
    .bind::<sql_types::Double, _>(ttl.as_secs_f64())
    .get_result::<Taken>(conn)
    .await
    .optional()?;
    Ok(taken.map(|row| (Lease { account, issuance: id, fence: row.fence }, row.previous_owner)))
}

/// Holds the lease for another `ttl`. Errors with [`StoreError::Stale`] when it is somebody else's.
pub async fn renew_lease(conn: &mut Connection, lease: &Lease, ttl: Duration) -> Result<(), StoreError> {
    let renewed = sql_query(
        "UPDATE issuances SET lease_expires_at = now() + make_interval(secs => $3) WHERE id = $1 AND fence = $2 AND status = 'active'",
    )
    .bind::<sql_types::Uuid, _>(lease.issuance.0)
    .bind::<sql_types::BigInt, _>(lease.fence)
    .bind::<sql_types::Double, _>(ttl.as_secs_f64())
    .execute(conn)
    .await?;
    changed_one(renewed)
}

/// What a holder of the lease finds when a write begins.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// Whether failures in a row are on record.
    has_failed: bool,
}

/// Begins a write of the holder of the lease: locks the row, and errors with [`StoreError::Stale`] when the lease is somebody else's.
pub async fn guard(conn: &mut Connection, lease: &Lease) -> Result<Held, StoreError> {
    let row = held(*lease)
        .select((clock_timestamp(), issuances::step_failures.ne(0).or(issuances::failure.is_not_null())))
        .for_no_key_update()
        .first::<(DateTime<Utc>, bool)>(conn)
        .await
        .optional()?;
    row.map(|(now, has_failed)| Held { now, has_failed }).ok_or(StoreError::Stale)
}

/// An issuance, its live order and the database's clock. Runs with or without a transaction of the tenant.
pub async fn get_issuance(conn: &mut Connection, account: AccountId, id: IssuanceId) -> Result<Issuance, StoreError> {
    type Times = (DateTime<Utc>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, DateTime<Utc>, DateTime<Utc>);
    type Row = (Uuid, (String, bool), String, i32, i32, Times, Option<Value>, String, Option<OrderRow>);

    let (certificate, (reason, alternate), status, attempts, step_failures, times, failure, account_status, order) =
        TenantQuery::new(account, with_live_order(account, id)).get_result::<Row>(conn).await?;
    let (give_up_at, next_wake_at, cancel_requested_at, created_at, now) = times;
    let live_order = match order {
        None => None,
        Some(order) => {
            let authorizations = if order.awaits_proof() {
                TenantQuery::new(account, authorizations_of(account, order.id)).load(conn).await?
            } else {
                Vec::new()
            };
            Some(Order::from_rows(order, authorizations)?)
        }
    };
    Ok(Issuance {
        id,
        certificate: CertificateId(certificate),
        reason: IssuanceReason::parse(&reason).ok_or_else(|| StoreError::corrupt("issuances.reason", reason))?,
        alternate,
        status: IssuanceStatus::parse(&status).ok_or_else(|| StoreError::corrupt("issuances.status", status))?,
        account_status: AccountStatus::parse(&account_status).ok_or_else(|| StoreError::corrupt("accounts.status", account_status))?,
        failure_code: failure.and_then(|failure| failure["code"].as_str().map(str::to_owned)),
        attempts: attempts.unsigned_abs(),
        step_failures: step_failures.unsigned_abs(),
        give_up_at,
        next_wake_at,
        cancel_requested_at,
        created_at,
        live_order,
        now,
    })
}

#[diesel::dsl::auto_type]
fn with_live_order(account: AccountId, id: IssuanceId) -> _ {
    let (account, id): (Uuid, Uuid) = (account.0, id.0);
    issuances::table
        .inner_join(accounts::table.on(accounts::id.eq(issuances::account_id)))
        .left_join(orders::table.on(orders::issuance_id.eq(issuances::id).and(orders::finished_at.is_null())))
        .filter(issuances::account_id.eq(account))
        .filter(issuances::id.eq(id))
        .select((
            issuances::certificate_id,
            (issuances::reason, issuances::alternate),
            issuances::status,
            issuances::attempts,
            issuances::step_failures,
            (issuances::give_up_at, issuances::next_wake_at, issuances::cancel_requested_at, issuances::created_at, clock_timestamp()),
            issuances::failure,
            accounts::status,
            (
                orders::id,
                orders::status,
                orders::directory_url,
                orders::url,
                orders::names,
                orders::replaces,
                orders::profile,
                orders::key_version_id,
                orders::csr,
                orders::presented_at,
                orders::polls,
                orders::next_poll_at,
                orders::own_acme_account_id,
            )
                .nullable(),
        ))
}

/// The database's clock now, which is ahead of the start of the transaction.
pub async fn database_now(conn: &mut Connection) -> Result<DateTime<Utc>, StoreError> {
    Ok(diesel::select(clock_timestamp()).get_result(conn).await?)
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// The database's clock, which goes on within a transaction.
    fn clock_timestamp() -> Timestamptz;
}

/// A step was taken: forgets the failures in a row, where there are any.
pub async fn record_step_taken(conn: &mut Connection, lease: &Lease, held_as: Held) -> Result<(), StoreError> {
    if held_as.has_failed {
        diesel::update(held(*lease))
            .set((issuances::step_failures.eq(0), issuances::failure.eq(None::<Value>)))
            .prepared()
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// A step could not be taken: the same step again after `delay`. The lease is kept.
pub async fn record_step_failed(conn: &mut Connection, lease: &Lease, failure: Value) -> Result<(), StoreError> {
    let changed = diesel::update(held(*lease))
        .set((issuances::step_failures.eq(issuances::step_failures + 1), issuances::failure.eq(failure)))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(changed)
}

/// An attempt failed: rests until the next, gives the lease back and sends the job for then.
pub async fn rest(conn: &mut Connection, lease: &Lease, delay: Duration, failure: Value) -> Result<(), StoreError> {
    let changed = diesel::update(held(*lease))
        .set((issuances::attempts.eq(issuances::attempts + 1), issuances::step_failures.eq(0), issuances::failure.eq(failure)))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(changed)?;
    release(conn, lease, delay).await
}

/// Nothing is to be attempted for now, and nothing has failed: gives the lease back, says why, and looks again after `delay` unless somebody wakes it.
pub async fn stand_by(conn: &mut Connection, lease: &Lease, delay: Duration, why: Value) -> Result<(), StoreError> {
    let changed =
        diesel::update(held(*lease)).set((issuances::step_failures.eq(0), issuances::failure.eq(why))).prepared().execute(conn).await?;
    changed_one(changed)?;
    release(conn, lease, delay).await
}

/// Gives the lease back and sends the job for the next step, due after `delay`.
pub async fn release(conn: &mut Connection, lease: &Lease, delay: Duration) -> Result<(), StoreError> {
    let changed = diesel::update(held(*lease))
        .set((issuances::lease_owner.eq(None::<String>), issuances::lease_expires_at.eq(None::<DateTime<Utc>>)))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(changed)?;
    wake(conn, lease.issuance, delay).await?;
    Ok(())
}

/// Ends an issuance for good and gives the lease back.
pub async fn end(conn: &mut Connection, lease: &Lease, event: IssuanceEvent, failure: Option<Value>) -> Result<(), StoreError> {
    let ended = IssuanceStatus::Active.after(event).filter(|status| status.is_terminal()).ok_or(StoreError::Stale)?;
    let changed = diesel::update(held(*lease))
        .set((
            issuances::status.eq(ended.as_str()),
            issuances::next_wake_at.eq(None::<DateTime<Utc>>),
            issuances::finished_at.eq(diesel::dsl::now.into_sql::<sql_types::Timestamptz>().nullable()),
            issuances::lease_owner.eq(None::<String>),
            issuances::lease_expires_at.eq(None::<DateTime<Utc>>),
            issuances::failure.eq(failure),
        ))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(changed)
}

/// The row, while it is active and the lease is still this one.
#[diesel::dsl::auto_type]
fn held(lease: Lease) -> _ {
    let id: Uuid = lease.issuance.0;
    let fence: i64 = lease.fence;
    issuances::table.filter(issuances::id.eq(id)).filter(issuances::fence.eq(fence)).filter(issuances::status.eq("active"))
}

/// Active issuances of all tenants that are due, that nobody works on and whose job has been due for longer than `grace`, at most `batch`.
/// Runs without a tenant.
pub async fn list_forgotten(conn: &mut Connection, grace: Duration, batch: i32) -> Result<Vec<(AccountId, IssuanceId)>, StoreError> {
    sql_query("SELECT account_id, id FROM sweep_issuances(make_interval(secs => $1), $2)")
        .bind::<sql_types::Double, _>(grace.as_secs_f64())
        .bind::<sql_types::Integer, _>(batch)
        .load_ids(conn, IssuanceId)
        .await
}

/// Sends a job for an issuance if it still needs one. Any number of sweepers send one between them.
pub async fn wake_forgotten(conn: &mut Connection, id: IssuanceId, grace: Duration) -> Result<bool, StoreError> {
    let woken = sql_query("SELECT wake_forgotten_issuance($1, make_interval(secs => $2)) AS woken")
        .bind::<sql_types::Uuid, _>(id.0)
        .bind::<sql_types::Double, _>(grace.as_secs_f64())
        .get_result::<Woken>(conn)
        .await?;
    Ok(woken.woken)
}

#[derive(QueryableByName)]
struct Woken {
    #[diesel(sql_type = sql_types::Bool)]
    woken: bool,
}
