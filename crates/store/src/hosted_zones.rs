//! What a zone in `PowerDNS` holds beside challenges: its holder's records and their proof of control (requirements S3.71).
//!
//! `zone_records` is the truth, `PowerDNS` its projection, and whoever changes rows asks for it: [`crate::zone_projections::request_projection`]. What was in
//! `PowerDNS` before us is read in once, as adopted, and left alone there until the customer changes it. Whoever holds a zone's lease asks here across
//! tenants, since `PowerDNS` knows names and a zone can pass from one account to another.

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, ZoneId};
use zonecert_domain::records::MAX_RECORD_SETS;

use crate::schema::{zone_records, zones};
use crate::statement::{PreparedDsl as _, sql_query};
use crate::{Connection, StoreError};

/// Whose a zone in `PowerDNS` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneHolder {
    /// The tenant.
    pub account: AccountId,
    /// Its zone.
    pub zone: ZoneId,
    /// Whether what was there before has been read in.
    pub adopted: bool,
}

/// A value at the zone's ownership record that we have put there.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct ZoneProof {
    /// The TXT value, without quotes.
    #[diesel(sql_type = sql_types::Text)]
    pub value: String,
    /// Whether it is the holder's, or to go.
    #[diesel(sql_type = sql_types::Bool)]
    pub wanted: bool,
}

/// A record set that a customer keeps in a zone.
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own about the row")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneRecord {
    /// The tenant.
    pub account: AccountId,
    /// The row.
    pub id: Uuid,
    /// Where it stands, without trailing dot.
    pub name: String,
    /// `A`, `MX`, …
    pub record_type: String,
    /// How long resolvers may remember it.
    pub ttl_seconds: u32,
    /// In presentation format.
    pub contents: Vec<String>,
    /// Whether it was in `PowerDNS` before us.
    pub adopted: bool,
    /// Whether the customer has deleted it.
    pub deleted: bool,
    /// Whether it is the zone's holder's; all others are to go.
    pub held: bool,
    /// Why `PowerDNS` would not have it.
    pub refusal: Option<String>,
    /// Whether it said so of the zone's records as they are now: it would again.
    pub settled: bool,
}

/// A record set that was in `PowerDNS` before us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Where it stands, without trailing dot.
    pub name: String,
    /// `A`, `MX`, …
    pub record_type: String,
    /// How long resolvers may remember it: 1 to 604,800.
    pub ttl_seconds: u32,
    /// In presentation format: 1 to 100.
    pub contents: Vec<String>,
}

/// Whose the zone is: of the account that has proven it, else of the one that has lost it, if nobody else has proven it since. Runs without a tenant.
pub async fn find_holder(conn: &mut Connection, dns_zone: &str) -> Result<Option<ZoneHolder>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Uuid)]
        account_id: Uuid,
        #[diesel(sql_type = sql_types::Uuid)]
        id: Uuid,
        #[diesel(sql_type = sql_types::Bool)]
        adopted: bool,
    }

    let row = sql_query("SELECT account_id, id, adopted FROM sweep_zone_holder($1)")
        .bind::<sql_types::Text, _>(dns_zone)
        .get_result::<Row>(conn)
        .await
        .optional()?;
    Ok(row.map(|row| ZoneHolder { account: AccountId(row.account_id), zone: ZoneId(row.id), adopted: row.adopted }))
}

/// The ownership values that we have put into the zone or are about to. Runs without a tenant.
pub async fn list_proofs(conn: &mut Connection, dns_zone: &str) -> Result<Vec<ZoneProof>, StoreError> {
    let proofs = sql_query("SELECT value, wanted FROM sweep_zone_proofs($1)").bind::<sql_types::Text, _>(dns_zone);
    Ok(proofs.load(conn).await?)
}

/// Every record set of the zone, whoever's it is, by name and type. Runs without a tenant.
pub async fn list_records(conn: &mut Connection, dns_zone: &str) -> Result<Vec<ZoneRecord>, StoreError> {
    #[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own about the row")]
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Uuid)]
        account_id: Uuid,
        #[diesel(sql_type = sql_types::Uuid)]
        id: Uuid,
        #[diesel(sql_type = sql_types::Text)]
        name: String,
        #[diesel(sql_type = sql_types::Text)]
        record_type: String,
        #[diesel(sql_type = sql_types::Integer)]
        ttl_seconds: i32,
        #[diesel(sql_type = sql_types::Array<sql_types::Text>)]
        contents: Vec<String>,
        #[diesel(sql_type = sql_types::Bool)]
        adopted: bool,
        #[diesel(sql_type = sql_types::Bool)]
        deleted: bool,
        #[diesel(sql_type = sql_types::Bool)]
        held: bool,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
        refusal: Option<String>,
        #[diesel(sql_type = sql_types::Bool)]
        settled: bool,
    }

    let rows: Vec<Row> = sql_query("SELECT * FROM sweep_zone_records($1)").bind::<sql_types::Text, _>(dns_zone).load(conn).await?;
    let record = |row: Row| ZoneRecord {
        account: AccountId(row.account_id),
        id: row.id,
        name: row.name,
        record_type: row.record_type,
        ttl_seconds: row.ttl_seconds.unsigned_abs(),
        contents: row.contents,
        adopted: row.adopted,
        deleted: row.deleted,
        held: row.held,
        refusal: row.refusal,
        settled: row.settled,
    };
    Ok(rows.into_iter().map(record).collect())
}

/// Deletes rows whose record sets were seen to be gone; those that have become wanted since stay. Returns how many went. Runs without a tenant.
pub async fn delete_gone(conn: &mut Connection, dns_zone: &str, ids: &[Uuid]) -> Result<u64, StoreError> {
    #[derive(QueryableByName)]
    struct Deleted {
        #[diesel(sql_type = sql_types::BigInt)]
        deleted: i64,
    }

    let row: Deleted = sql_query("SELECT sweep_delete_zone_records($1, $2) AS deleted")
        .bind::<sql_types::Text, _>(dns_zone)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(ids)
        .get_result(conn)
        .await?;
    Ok(row.deleted.unsigned_abs())
}

/// How many more record sets the zone may have, of [`MAX_RECORD_SETS`].
pub async fn count_room(conn: &mut Connection, holder: &ZoneHolder) -> Result<usize, StoreError> {
    let count: i64 = zone_records::table
        .filter(zone_records::account_id.eq(holder.account.0).and(zone_records::zone_id.eq(holder.zone.0)))
        .count()
        .get_result(conn)
        .await?;
    Ok(MAX_RECORD_SETS.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX)))
}

/// Reads in what was in `PowerDNS` before us, and notes that this has been done. What the customer has set meanwhile stays as they want it. Returns how
/// many record sets were read in.
///
/// Errors with [`StoreError::Stale`] when the zone is no longer the account's.
pub async fn adopt(conn: &mut Connection, holder: &ZoneHolder, found: &[FoundRecord]) -> Result<usize, StoreError> {
    let noted = diesel::update(zones::table.filter(zones::account_id.eq(holder.account.0).and(zones::id.eq(holder.zone.0))))
        .filter(zones::deleted_at.is_null())
        .set(zones::adopted_at.eq(diesel::dsl::now))
        .prepared()
        .execute(conn)
        .await?;
    if noted == 0 {
        return Err(StoreError::Stale);
    }
    let rows: Vec<_> = found
        .iter()
        .map(|record| {
            (
                zone_records::id.eq(Uuid::now_v7()),
                zone_records::account_id.eq(holder.account.0),
                zone_records::zone_id.eq(holder.zone.0),
                zone_records::name.eq(&record.name),
                zone_records::record_type.eq(&record.record_type),
                zone_records::ttl_seconds.eq(i32::try_from(record.ttl_seconds).unwrap_or(i32::MAX)),
                zone_records::contents.eq(&record.contents),
                zone_records::adopted.eq(true),
            )
        })
        .collect();
    let inserted = diesel::insert_into(zone_records::table)
        .values(rows)
        .on_conflict((zone_records::zone_id, zone_records::name, zone_records::record_type))
        .do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted)
}

/// Notes why `PowerDNS` would not have a record set.
pub async fn record_refusal(conn: &mut Connection, account: AccountId, id: Uuid, refusal: &str) -> Result<(), StoreError> {
    diesel::update(zone_records::table.filter(zone_records::account_id.eq(account.0).and(zone_records::id.eq(id))))
        .set((zone_records::refusal.eq(refusal), zone_records::refused_at.eq(diesel::dsl::now)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets that `PowerDNS` would not have these record sets: it has them.
pub async fn forget_refusals(conn: &mut Connection, account: AccountId, ids: &[Uuid]) -> Result<(), StoreError> {
    diesel::update(zone_records::table.filter(zone_records::account_id.eq(account.0).and(zone_records::id.eq_any(ids))))
        .set((zone_records::refusal.eq(None::<String>), zone_records::refused_at.eq(None::<chrono::DateTime<chrono::Utc>>)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}
