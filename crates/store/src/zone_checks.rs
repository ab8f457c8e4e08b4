//! Control of zones, looked at again (requirements section 6): which are due, and what a look has found.
//!
//! What a look means is decided by [`zonecert_domain::zone_check`]. Every write checks that the zone is as it was read, and fails with
//! [`StoreError::Stale`] otherwise: somebody has verified or deleted it meanwhile, and that counts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::data_types::PgInterval;
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use zonecert_domain::id::{AccountId, ZoneId};
use zonecert_domain::zone_name::ZoneName;

use crate::error::changed_one;
use crate::schema::zones;
use crate::statement::{PreparedDsl as _, sql_query};
use crate::zone_projections::request_projection;
use crate::zones::{ZoneMode, ZoneStatus};
use crate::{Connection, StoreError, renewal_schedule};

/// A zone whose control is to be looked at.
#[derive(Clone, Debug)]
pub struct ZoneCheck {
    /// The tenant.
    pub account: AccountId,
    /// The zone.
    pub zone: ZoneId,
    /// Its apex.
    pub name: ZoneName,
    /// Where its records live.
    pub mode: ZoneMode,
    /// The TXT value that proves control.
    pub verification_value: String,
    /// Looks in a row that have found no proof.
    pub failed_checks: u32,
    /// When it was lost; `None` while it is verified.
    pub lost_at: Option<DateTime<Utc>>,
}

/// Takes zones that are due, of all tenants, at most `batch`: nobody else gets them for `put_off`, after which one that nothing was recorded of is due
/// again. Runs without a tenant.
pub async fn take_due(conn: &mut Connection, put_off: Duration, batch: i32) -> Result<Vec<(AccountId, ZoneId)>, StoreError> {
    let put_off = PgInterval::from_microseconds(i64::try_from(put_off.as_micros()).unwrap_or(i64::MAX));
    sql_query("SELECT account_id, id FROM sweep_due_zone_checks($1, $2)")
        .bind::<sql_types::Interval, _>(put_off)
        .bind::<sql_types::Integer, _>(batch)
        .load_ids(conn, ZoneId)
        .await
}

/// The zone, if it is verified or lost; not one that waits for its first proof or was deleted.
pub async fn find_check(conn: &mut Connection, account: AccountId, zone: ZoneId) -> Result<Option<ZoneCheck>, StoreError> {
    type Row = (String, String, String, String, i32, Option<DateTime<Utc>>);

    let row = zones::table
        .filter(zones::account_id.eq(account.0).and(zones::id.eq(zone.0)).and(zones::deleted_at.is_null()))
        .select((zones::name, zones::mode, zones::status, zones::verification_value, zones::failed_checks, zones::lost_at))
        .first::<Row>(conn)
        .await
        .optional()?;
    let Some((name, mode, status, verification_value, failed_checks, lost_at)) = row else { return Ok(None) };
    if status == ZoneStatus::Pending.as_str() {
        return Ok(None);
    }
    Ok(Some(ZoneCheck {
        account,
        zone,
        name: ZoneName::from_stored(&name).map_err(|_| StoreError::corrupt("zones.name", name))?,
        mode: ZoneMode::parse(&mode).ok_or_else(|| StoreError::corrupt("zones.mode", mode))?,
        verification_value,
        failed_checks: failed_checks.unsigned_abs(),
        lost_at: if status == ZoneStatus::Lost.as_str() { Some(lost_at.unwrap_or(DateTime::UNIX_EPOCH)) } else { None },
    }))
}

/// Records a look that has changed nothing but the count of those without a proof.
pub async fn record_check(
    conn: &mut Connection,
    check: &ZoneCheck,
    failed_checks: u32,
    next_check_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let recorded = diesel::update(zones::table)
        .filter(zones::account_id.eq(check.account.0).and(zones::id.eq(check.zone.0)).and(zones::deleted_at.is_null()))
        .filter(zones::status.eq(status(check).as_str()).and(zones::failed_checks.eq(count(check.failed_checks))))
        .set((
            zones::failed_checks.eq(count(failed_checks)),
            zones::last_checked_at.eq(diesel::dsl::now),
            zones::next_check_at.eq(next_check_at),
        ))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(recorded)
}

/// Records that control is no longer proven. The certificates of the zone do not renew any more; they stay downloadable, and what the zone holds in
/// `PowerDNS` stays there.
pub async fn mark_lost(conn: &mut Connection, check: &ZoneCheck, next_check_at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
    let marked = diesel::update(zones::table)
        .filter(zones::account_id.eq(check.account.0).and(zones::id.eq(check.zone.0)).and(zones::deleted_at.is_null()))
        .filter(zones::status.eq(ZoneStatus::Verified.as_str()).and(zones::failed_checks.eq(count(check.failed_checks))))
        .set((
            zones::status.eq(ZoneStatus::Lost.as_str()),
            zones::lost_at.eq(diesel::dsl::now),
            zones::failed_checks.eq(zones::failed_checks + 1),
            zones::last_checked_at.eq(diesel::dsl::now),
            zones::next_check_at.eq(next_check_at),
        ))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(marked)?;
    renewal_schedule::reschedule_zone(conn, check.account, check.zone).await
}

/// Records that control is proven again: the zone is verified, and its certificates renew.
///
/// Errors with the constraint [`crate::zones::VERIFIED_NAME_KEY`] when another account holds it by now.
pub async fn mark_regained(conn: &mut Connection, check: &ZoneCheck, next_check_at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
    let marked = diesel::update(zones::table)
        .filter(zones::account_id.eq(check.account.0).and(zones::id.eq(check.zone.0)).and(zones::deleted_at.is_null()))
        .filter(zones::status.eq(ZoneStatus::Lost.as_str()))
        .set((
            zones::status.eq(ZoneStatus::Verified.as_str()),
            zones::verified_at.eq(diesel::dsl::now),
            zones::lost_at.eq(None::<DateTime<Utc>>),
            zones::adopted_at.eq(None::<DateTime<Utc>>),
            zones::failed_checks.eq(0),
            zones::last_checked_at.eq(diesel::dsl::now),
            zones::next_check_at.eq(next_check_at),
        ))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(marked)?;
    if check.mode == ZoneMode::Hosted {
        request_projection(conn, check.name.as_str()).await?;
    }
    renewal_schedule::reschedule_zone(conn, check.account, check.zone).await
}

fn status(check: &ZoneCheck) -> ZoneStatus {
    if check.lost_at.is_some() { ZoneStatus::Lost } else { ZoneStatus::Verified }
}

fn count(checks: u32) -> i32 {
    i32::try_from(checks).unwrap_or(i32::MAX)
}
