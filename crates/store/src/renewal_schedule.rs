//! When certificates renew by themselves: what [`zonecert_domain::renewal::schedule`] says, stored.
//!
//! Whoever changes one of the facts it follows from (the wish, the plan, a suspension, the zone, the version, the CA's suggestion, the end or
//! beginning of an issuance) calls one of these in the same transaction, which must be one to write ([`crate::Store::tenant_write`]): what comes to
//! stand in the way of a renewal, and what no longer does, is recorded as an event.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, CertificateId, ZoneId};
use zonecert_domain::plan::{Plan, PlanLimits};
use zonecert_domain::renewal::{AlternateFacts, AriWindow, RenewalBlock, RenewalFacts, RenewalSchedule, Standing, block, schedule};

use crate::accounts::AccountStatus;
use crate::events::{self, Level, NewEvent};
use crate::issuances::clock_timestamp;
use crate::schema::{accounts, certificates, versions, zones};
use crate::statement::PreparedDsl as _;
use crate::zones::zone_standing;
use crate::{Connection, StoreError};

/// Stores anew when this certificate renews.
pub async fn reschedule_certificate(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<(), StoreError> {
    reschedule(conn, account, Which::Certificate(certificate)).await
}

/// Stores anew when the certificates of this zone renew, after it was verified, lost or deleted.
pub async fn reschedule_zone(conn: &mut Connection, account: AccountId, zone: ZoneId) -> Result<(), StoreError> {
    reschedule(conn, account, Which::Zone(zone)).await
}

/// Stores anew when all certificates of the account renew, after its plan or its standing has changed.
pub async fn reschedule_account(conn: &mut Connection, account: AccountId) -> Result<(), StoreError> {
    reschedule(conn, account, Which::All).await
}

/// What stands in the way of a renewal of this certificate now; nothing for one that was deleted.
pub async fn find_block(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<Option<RenewalBlock>, StoreError> {
    let (terms, now) = get_terms(conn, account).await?;
    let row = load(conn, account, Which::Certificate(certificate)).await?.pop();
    Ok(row.and_then(|row| block(&row.facts(&terms), now)))
}

/// Whether of a certificate whose renewal is due only the version with its other key is.
pub(crate) async fn only_alternate_is_due(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
) -> Result<bool, StoreError> {
    let (terms, now) = get_terms(conn, account).await?;
    let Some(row) = load(conn, account, Which::Certificate(certificate)).await?.pop() else { return Ok(false) };
    let first = schedule(&RenewalFacts { alternate: None, ..row.facts(&terms) }, now);
    Ok(row.alternate.0 && first.due_at.is_none_or(|due_at| due_at > now))
}

/// Whether a certificate has a wildcard among its names, in a query of `certificates`.
pub(crate) const HAS_WILDCARD: &str = "EXISTS (SELECT FROM certificate_names WHERE certificate_names.certificate_id = certificates.id AND left(certificate_names.name, 2) = '*.')";

#[derive(Clone, Copy)]
enum Which {
    Certificate(CertificateId),
    Zone(ZoneId),
    All,
}

/// Its first and its last moment, and when it was revoked.
type CurrentVersion = (DateTime<Utc>, DateTime<Utc>, Option<DateTime<Utc>>);

#[derive(Queryable)]
struct Row {
    id: Uuid,
    wished: bool,
    zone_status: String,
    zone_deleted_at: Option<DateTime<Utc>>,
    version: Option<CurrentVersion>,
    ari_start: Option<DateTime<Utc>>,
    ari_end: Option<DateTime<Utc>>,
    issuance_is_live: bool,
    failed_at: Option<DateTime<Utc>>,
    renewed_at: Option<DateTime<Utc>>,
    activated_at: Option<DateTime<Utc>>,
    has_wildcard: bool,
    alternate: (bool, Option<DateTime<Utc>>),
    next_renewal_at: Option<DateTime<Utc>>,
    due_at: Option<DateTime<Utc>>,
    blocked_by: Option<String>,
}

/// How an account stands, and what its plan holds.
type Terms = (Standing, PlanLimits);

impl Row {
    fn facts(&self, (standing, limits): &Terms) -> RenewalFacts {
        let zone = zone_standing(&self.zone_status, self.zone_deleted_at);
        RenewalFacts {
            wished: self.wished,
            in_plan: limits.renews(self.has_wildcard),
            standing: *standing,
            zone,
            validity: self.version.filter(|(_, _, revoked_at)| revoked_at.is_none()).map(|(from, to, _)| (from, to)),
            ari: self.ari_start.zip(self.ari_end).map(|(start, end)| AriWindow { start, end }),
            issuance_is_live: self.issuance_is_live,
            failed_at: self.failed_at,
            renewed_at: self.renewed_at,
            activated_at: self.activated_at,
            seed: self.id.as_u128(),
            alternate: self.alternate.0.then_some(AlternateFacts { failed_at: self.alternate.1 }),
        }
    }

    fn is(&self, schedule: &RenewalSchedule) -> bool {
        self.next_renewal_at == schedule.next_renewal_at
            && self.due_at == schedule.due_at
            && self.blocked_by.as_deref() == schedule.blocked_by.map(RenewalBlock::as_str)
    }
}

async fn reschedule(conn: &mut Connection, account: AccountId, which: Which) -> Result<(), StoreError> {
    let (terms, now) = get_terms(conn, account).await?;
    for row in load(conn, account, which).await? {
        let schedule = schedule(&row.facts(&terms), now);
        if row.is(&schedule) {
            continue;
        }
        record_block(conn, account, &row, &schedule).await?;
        diesel::update(certificates::table.filter(certificates::account_id.eq(account.0).and(certificates::id.eq(row.id))))
            .set((
                certificates::next_renewal_at.eq(schedule.next_renewal_at),
                certificates::renewal_due_at.eq(schedule.due_at),
                certificates::renewal_blocked_by.eq(schedule.blocked_by.map(RenewalBlock::as_str)),
            ))
            .prepared()
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Tells people when something comes to stand in the way of a renewal, and when nothing does any more.
async fn record_block(conn: &mut Connection, account: AccountId, row: &Row, schedule: &RenewalSchedule) -> Result<(), StoreError> {
    let before = row.blocked_by.as_deref();
    let event = match schedule.blocked_by {
        Some(block) if before != Some(block.as_str()) => NewEvent {
            level: Level::Warning,
            details: json!({ "code": block.as_str(), "detail": block.reason(), "remedy": block.remedy() }),
            ..NewEvent::info("renewal_blocked", format!("the certificate does not renew by itself: {}", block.reason()))
        },
        None if before.is_some() && schedule.next_renewal_at.is_some() => {
            NewEvent::info("renewal_unblocked", "the certificate renews by itself again")
        }
        _ => return Ok(()),
    };
    events::record(conn, account, NewEvent { certificate: Some(CertificateId(row.id)), ..event }).await.map(drop)
}

/// The terms, and the database's clock.
async fn get_terms(conn: &mut Connection, account: AccountId) -> Result<(Terms, DateTime<Utc>), StoreError> {
    let (plan, status, suspended_at, now) = accounts::table
        .filter(accounts::id.eq(account.0))
        .select((accounts::plan, accounts::status, accounts::suspended_at, clock_timestamp()))
        .first::<(String, String, Option<DateTime<Utc>>, DateTime<Utc>)>(conn)
        .await?;
    let plan = Plan::parse(&plan).ok_or_else(|| StoreError::corrupt("accounts.plan", plan))?;
    let standing = match (AccountStatus::parse(&status), suspended_at) {
        (Some(AccountStatus::Active), _) => Standing::Good,
        (Some(AccountStatus::SuspendedPayment), Some(since)) => Standing::Unpaid(since),
        (Some(AccountStatus::SuspendedAbuse), _) => Standing::Abusive,
        _ => return Err(StoreError::corrupt("accounts.status", status)),
    };
    Ok(((standing, plan.limits()), now))
}

/// Managed certificates that were not deleted.
async fn load(conn: &mut Connection, account: AccountId, which: Which) -> Result<Vec<Row>, StoreError> {
    let live =
        sql::<Bool>("EXISTS (SELECT FROM issuances WHERE issuances.certificate_id = certificates.id AND issuances.status = 'active')");
    let failed_at = sql::<Nullable<Timestamptz>>(
        "(SELECT max(issuances.finished_at) FROM issuances WHERE issuances.certificate_id = certificates.id AND issuances.status = 'failed'
          AND NOT issuances.alternate AND issuances.finished_at > versions.created_at)",
    );
    let alternate_is_missing = sql::<Bool>(
        "(EXISTS (SELECT FROM alternates WHERE alternates.certificate_id = certificates.id)
          AND NOT EXISTS (SELECT FROM versions AS other
                          WHERE other.certificate_id = certificates.id AND other.alternate AND other.number > versions.number))",
    );
    let alternate_failed_at = sql::<Nullable<Timestamptz>>(
        "(SELECT max(issuances.finished_at) FROM issuances WHERE issuances.certificate_id = certificates.id AND issuances.status = 'failed'
          AND issuances.alternate AND issuances.finished_at > versions.created_at)",
    );
    let renewed_at = sql::<Nullable<Timestamptz>>(
        "(SELECT versions.created_at FROM orders JOIN issuances ON issuances.id = orders.issuance_id
          WHERE orders.id = versions.order_id AND issuances.reason = 'renewal')",
    );
    let has_wildcard = sql::<Bool>(HAS_WILDCARD);
    let mut query = certificates::table
        .inner_join(zones::table.on(zones::account_id.eq(certificates::account_id).and(zones::id.nullable().eq(certificates::zone_id))))
        .left_join(versions::table.on(certificates::current_version_id.eq(versions::id.nullable())))
        .filter(certificates::account_id.eq(account.0).and(certificates::deleted_at.is_null()).and(certificates::source.eq("managed")))
        .select((
            certificates::id,
            certificates::auto_renew,
            zones::status,
            zones::deleted_at,
            (versions::not_before, versions::not_after, versions::revoked_at).nullable(),
            certificates::renewal_info_start,
            certificates::renewal_info_end,
            live,
            failed_at,
            renewed_at,
            certificates::version_activated_at,
            has_wildcard,
            (alternate_is_missing, alternate_failed_at),
            certificates::next_renewal_at,
            certificates::renewal_due_at,
            certificates::renewal_blocked_by,
        ))
        .into_boxed();
    match which {
        Which::Certificate(certificate) => query = query.filter(certificates::id.eq(certificate.0)),
        Which::Zone(zone) => query = query.filter(certificates::zone_id.eq(zone.0)),
        Which::All => {}
    }
    Ok(query.prepared().load::<Row>(conn).await?)
}
