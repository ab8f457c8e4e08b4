//! DNS zones of tenants (requirements S3.70).

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, ZoneId};
use zonecert_domain::renewal::ZoneStanding;
use zonecert_domain::zone_check;
pub use zonecert_domain::zone_mode::ZoneMode;
use zonecert_domain::zone_name::ZoneName;

use crate::issuances::database_now;
use crate::schema::{certificates, zones};
use crate::statement::PreparedDsl as _;
use crate::zone_projections::request_projection;
use crate::{Connection, StoreError, renewal_schedule};

/// The constraint that keeps an account from importing a zone twice.
pub const NAME_KEY: &str = "zones_account_id_name_key";

/// The constraint that lets one account at a time hold a zone, whatever row-level security hides from it.
pub const VERIFIED_NAME_KEY: &str = "zones_verified_name_key";

/// How far an account has come with a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneStatus {
    /// Imported; control of it has not been proven.
    Pending,
    /// Control was proven: certificates can be had.
    Verified,
    /// Control was proven once, and then found to be gone.
    Lost,
}

impl ZoneStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Verified, Self::Lost];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Lost => "lost",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// What a zone's row means to a renewal.
pub(crate) fn zone_standing(status: &str, deleted_at: Option<DateTime<Utc>>) -> ZoneStanding {
    match (status, deleted_at) {
        (_, Some(_)) => ZoneStanding::Deleted,
        ("verified", None) => ZoneStanding::Verified,
        _ => ZoneStanding::Lost,
    }
}

/// A zone of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its identifier.
    pub id: ZoneId,
    /// Its apex.
    pub name: ZoneName,
    /// Where its records live.
    pub mode: ZoneMode,
    /// How far the account has come with it.
    pub status: ZoneStatus,
    /// The TXT value that proves control. Public by nature.
    pub verification_value: String,
    /// When control was proven.
    pub verified_at: Option<DateTime<Utc>>,
    /// When the proof was last looked for.
    pub last_checked_at: Option<DateTime<Utc>>,
    /// When it was imported.
    pub created_at: DateTime<Utc>,
}

pub(crate) type Row = (Uuid, String, String, String, String, Option<DateTime<Utc>>, Option<DateTime<Utc>>, DateTime<Utc>);

pub(crate) type Columns = (
    zones::id,
    zones::name,
    zones::mode,
    zones::status,
    zones::verification_value,
    zones::verified_at,
    zones::last_checked_at,
    zones::created_at,
);

pub(crate) const COLUMNS: Columns = (
    zones::id,
    zones::name,
    zones::mode,
    zones::status,
    zones::verification_value,
    zones::verified_at,
    zones::last_checked_at,
    zones::created_at,
);

pub(crate) fn from_row(
    (id, name, mode, status, verification_value, verified_at, last_checked_at, created_at): Row,
) -> Result<Zone, StoreError> {
    Ok(Zone {
        id: ZoneId(id),
        name: ZoneName::from_stored(&name).map_err(|_| StoreError::corrupt("zones.name", name))?,
        mode: ZoneMode::parse(&mode).ok_or_else(|| StoreError::corrupt("zones.mode", mode))?,
        status: ZoneStatus::parse(&status).ok_or_else(|| StoreError::corrupt("zones.status", status))?,
        verification_value,
        verified_at,
        last_checked_at,
        created_at,
    })
}

/// Adds a zone whose control is still to be proven. An account that has it already gets the constraint [`NAME_KEY`].
pub async fn insert_zone(
    conn: &mut Connection,
    account: AccountId,
    name: &ZoneName,
    mode: ZoneMode,
    verification_value: &str,
) -> Result<Zone, StoreError> {
    let row = diesel::insert_into(zones::table)
        .values((
            zones::id.eq(ZoneId::new().0),
            zones::account_id.eq(account.0),
            zones::name.eq(name.as_str()),
            zones::mode.eq(mode.as_str()),
            zones::verification_value.eq(verification_value),
        ))
        .returning(COLUMNS)
        .get_result::<Row>(conn)
        .await?;
    from_row(row)
}

/// The zone, whatever its status; not one that was deleted.
pub async fn get_zone(conn: &mut Connection, account: AccountId, id: ZoneId) -> Result<Zone, StoreError> {
    let row = zones::table
        .filter(zones::account_id.eq(account.0).and(zones::id.eq(id.0)).and(zones::deleted_at.is_null()))
        .select(COLUMNS)
        .first::<Row>(conn)
        .await?;
    from_row(row)
}

/// How many zones of the account wait for their proof.
pub async fn count_pending_zones(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    let waiting = zones::status.eq(ZoneStatus::Pending.as_str()).and(zones::deleted_at.is_null());
    Ok(zones::table.filter(zones::account_id.eq(account.0).and(waiting)).count().get_result(conn).await?)
}

/// How many zones the account has, in whatever state.
pub async fn count_zones(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    Ok(zones::table.filter(zones::account_id.eq(account.0).and(zones::deleted_at.is_null())).count().get_result(conn).await?)
}

/// Notes that the proof was looked for just now, and not found.
pub async fn mark_checked(conn: &mut Connection, account: AccountId, id: ZoneId) -> Result<Zone, StoreError> {
    let row = diesel::update(zones::table)
        .filter(zones::account_id.eq(account.0).and(zones::id.eq(id.0)).and(zones::deleted_at.is_null()))
        .set(zones::last_checked_at.eq(diesel::dsl::now))
        .returning(COLUMNS)
        .get_result::<Row>(conn)
        .await?;
    from_row(row)
}

/// Notes that control was proven, has a hosted zone made or adopted in `PowerDNS`, and its certificates renew: all or nothing.
///
/// Errors with the constraint [`VERIFIED_NAME_KEY`] when another account holds it, and with [`StoreError::Stale`] when it is not waiting for a proof.
pub async fn mark_verified(conn: &mut Connection, account: AccountId, id: ZoneId) -> Result<Zone, StoreError> {
    let next_check_at = database_now(conn).await? + zone_check::INTERVAL;
    let row = diesel::update(zones::table)
        .filter(zones::account_id.eq(account.0).and(zones::id.eq(id.0)).and(zones::deleted_at.is_null()))
        .filter(zones::status.ne(ZoneStatus::Verified.as_str()))
        .set((
            zones::status.eq(ZoneStatus::Verified.as_str()),
            zones::verified_at.eq(diesel::dsl::now),
            zones::last_checked_at.eq(diesel::dsl::now),
            zones::next_check_at.eq(next_check_at),
            zones::failed_checks.eq(0),
            zones::lost_at.eq(None::<DateTime<Utc>>),
            // What stands in PowerDNS may be another than when the account last held the zone.
            zones::adopted_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(COLUMNS)
        .get_result::<Row>(conn)
        .await
        .optional()?
        .ok_or(StoreError::Stale)?;
    let zone = from_row(row)?;
    if zone.mode == ZoneMode::Hosted {
        request_projection(conn, zone.name.as_str()).await?;
    }
    renewal_schedule::reschedule_zone(conn, account, zone.id).await?;
    Ok(zone)
}

/// Puts certificates under this zone that were under one of the same name which the account has deleted, and has them renew again. Returns how many.
pub async fn take_over_certificates(conn: &mut Connection, account: AccountId, zone: &Zone) -> Result<usize, StoreError> {
    let former = zones::table
        .filter(zones::account_id.eq(account.0).and(zones::name.eq(zone.name.as_str())).and(zones::deleted_at.is_not_null()))
        .select(zones::id.nullable());
    let moved = diesel::update(certificates::table)
        .filter(certificates::account_id.eq(account.0).and(certificates::deleted_at.is_null()).and(certificates::zone_id.eq_any(former)))
        .set(certificates::zone_id.eq(zone.id.0))
        .prepared()
        .execute(conn)
        .await?;
    if moved > 0 {
        renewal_schedule::reschedule_zone(conn, account, zone.id).await?;
    }
    Ok(moved)
}

/// Hides the zone and frees its name; one that was verified may then be taken out of `PowerDNS` by the worker, if it was we who made it there.
pub async fn delete_zone(conn: &mut Connection, account: AccountId, id: ZoneId) -> Result<Zone, StoreError> {
    let row = diesel::update(zones::table)
        .filter(zones::account_id.eq(account.0).and(zones::id.eq(id.0)).and(zones::deleted_at.is_null()))
        .set(zones::deleted_at.eq(diesel::dsl::now))
        .returning(COLUMNS)
        .get_result::<Row>(conn)
        .await?;
    let zone = from_row(row)?;
    if zone.verified_at.is_some() && zone.mode == ZoneMode::Hosted {
        request_projection(conn, zone.name.as_str()).await?;
    }
    Ok(zone)
}
