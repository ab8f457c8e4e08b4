//! Record sets that customers keep in their hosted zones (requirements S3.71).
//!
//! Whoever changes them holds the account's lock ([`crate::Store::tenant_write`]), so that rules about several of them hold, and asks in the same transaction
//! for the zone's projection ([`crate::zone_projections::request_projection`]).

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, RecordSetId, ZoneId};
use zonecert_domain::records::RecordSet;

use crate::schema::zone_records;
use crate::statement::PreparedDsl as _;
use crate::{Connection, StoreError};

/// All records of one name and type in a zone, as they are kept. Name and type can be others than [`zonecert_domain::records`] knows, where they were
/// there before us.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = zone_records)]
pub struct KeptRecordSet {
    id: Uuid,
    /// Without trailing dot.
    pub name: String,
    /// As `MX`.
    pub record_type: String,
    ttl_seconds: i32,
    /// In presentation format (RFC 1035 §5.1).
    pub contents: Vec<String>,
    /// It was in `PowerDNS` before us, and is left alone there.
    pub adopted: bool,
    /// When it was set first.
    pub created_at: DateTime<Utc>,
    /// When it was last set.
    pub updated_at: DateTime<Utc>,
    /// Why `PowerDNS` would not have it; nothing while it shows it or is about to.
    pub refusal: Option<String>,
}

impl KeptRecordSet {
    /// Its identifier.
    pub fn id(&self) -> RecordSetId {
        RecordSetId(self.id)
    }

    /// How long resolvers may remember it, in seconds.
    pub fn ttl_seconds(&self) -> u32 {
        self.ttl_seconds.unsigned_abs()
    }

    /// Whether it is of this name and type, which may be spelt otherwise.
    pub fn is_of(&self, set: &RecordSet) -> bool {
        self.name == set.name().as_str() && self.record_type == set.record_type().as_str()
    }

    /// Whether setting `set` would change nothing: one that was refused is tried again.
    pub fn equals(&self, set: &RecordSet) -> bool {
        self.is_of(set)
            && !self.adopted
            && self.refusal.is_none()
            && self.ttl_seconds() == set.ttl_seconds()
            && self.contents == set.contents()
    }
}

/// Which record sets to list; an empty filter is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of exactly this name, without trailing dot.
    pub name: Option<String>,
    /// Of this type, in upper case.
    pub record_type: Option<String>,
}

/// Where a page of record sets begins: behind this one, by name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its name.
    pub name: String,
    /// Its type.
    pub record_type: String,
}

/// The record sets of a zone by name and type, those behind `after`, at most `limit`.
pub async fn list_record_sets(
    conn: &mut Connection,
    account: AccountId,
    zone: ZoneId,
    filter: &Filter,
    after: Option<&Position>,
    limit: i64,
) -> Result<Vec<KeptRecordSet>, StoreError> {
    let mut query = zone_records::table
        .filter(zone_records::account_id.eq(account.0).and(zone_records::zone_id.eq(zone.0)).and(zone_records::deleted_at.is_null()))
        .select(KeptRecordSet::as_select())
        .order((zone_records::name, zone_records::record_type))
        .limit(limit)
        .into_boxed();
    if let Some(Position { name, record_type }) = after {
        let later_type = zone_records::name.eq(name.clone()).and(zone_records::record_type.gt(record_type.clone()));
        query = query.filter(zone_records::name.gt(name.clone()).or(later_type));
    }
    if let Some(name) = &filter.name {
        query = query.filter(zone_records::name.eq(name.clone()));
    }
    if let Some(record_type) = &filter.record_type {
        query = query.filter(zone_records::record_type.eq(record_type.clone()));
    }
    Ok(query.load(conn).await?)
}

/// Every record set of a zone.
pub async fn list_all_record_sets(conn: &mut Connection, account: AccountId, zone: ZoneId) -> Result<Vec<KeptRecordSet>, StoreError> {
    list_record_sets(conn, account, zone, &Filter::default(), None, i64::MAX).await
}

/// A record set that was not deleted.
pub async fn get_record_set(conn: &mut Connection, account: AccountId, zone: ZoneId, id: RecordSetId) -> Result<KeptRecordSet, StoreError> {
    let query = zone_records::table
        .filter(zone_records::account_id.eq(account.0).and(zone_records::zone_id.eq(zone.0)).and(zone_records::id.eq(id.0)))
        .filter(zone_records::deleted_at.is_null())
        .select(KeptRecordSet::as_select());
    Ok(query.first(conn).await?)
}

/// Sets each of `sets` as a whole, in place of what was there of its name and type. One that was deleted and has not gone yet stays after all.
/// Returns them as they are kept, in no order.
pub async fn set_record_sets(
    conn: &mut Connection,
    account: AccountId,
    zone: ZoneId,
    sets: &[RecordSet],
) -> Result<Vec<KeptRecordSet>, StoreError> {
    let row = |set: &RecordSet| {
        (
            zone_records::id.eq(RecordSetId::new().0),
            zone_records::account_id.eq(account.0),
            zone_records::zone_id.eq(zone.0),
            zone_records::name.eq(set.name().as_str().to_owned()),
            zone_records::record_type.eq(set.record_type().as_str()),
            zone_records::ttl_seconds.eq(i32::try_from(set.ttl_seconds()).unwrap_or(i32::MAX)),
            zone_records::contents.eq(set.contents().to_vec()),
        )
    };
    let kept = diesel::insert_into(zone_records::table)
        .values(sets.iter().map(row).collect::<Vec<_>>())
        .on_conflict((zone_records::zone_id, zone_records::name, zone_records::record_type))
        .do_update()
        .set((
            zone_records::ttl_seconds.eq(excluded(zone_records::ttl_seconds)),
            zone_records::contents.eq(excluded(zone_records::contents)),
            zone_records::adopted.eq(false),
            zone_records::updated_at.eq(diesel::dsl::now),
            zone_records::deleted_at.eq(None::<DateTime<Utc>>),
            zone_records::refusal.eq(None::<String>),
            zone_records::refused_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(KeptRecordSet::as_returning())
        .get_results(conn)
        .await?;
    Ok(kept)
}

/// Hides record sets and has them taken out of `PowerDNS`; then their rows go.
pub async fn delete_record_sets(conn: &mut Connection, account: AccountId, zone: ZoneId, ids: &[RecordSetId]) -> Result<(), StoreError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    diesel::update(zone_records::table)
        .filter(zone_records::account_id.eq(account.0).and(zone_records::zone_id.eq(zone.0)).and(zone_records::id.eq_any(ids)))
        .filter(zone_records::deleted_at.is_null())
        .set(zone_records::deleted_at.eq(diesel::dsl::now))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}
