//! The TXT values that orders want at names of zones in `PowerDNS` (RFC 8555 §8.4). These rows are the truth, `PowerDNS` their projection.
//!
//! A row is written before its value appears there, marked when it is to go, and deleted once its value has been seen to be gone. Whoever
//! writes or marks rows asks for a projection of the zone in the same transaction: [`crate::zone_projections::request_projection`].

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::delegation;
use zonecert_domain::id::{AccountId, AuthorizationId, OrderId};
use zonecert_domain::name::DnsName;

use crate::schema::challenge_records;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// A value that an order wants to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChallengeRecord {
    /// What the value proves. It has one value, ever.
    pub authorization: AuthorizationId,
    /// The zone in `PowerDNS` that the name lies in, without trailing dot.
    pub dns_zone: String,
    /// `_acme-challenge.<identifier>`, without trailing dot.
    pub name: String,
    /// The TXT value, without quotes.
    pub value: String,
}

/// A value of a zone, whoever's it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneValue {
    /// The row.
    pub id: Uuid,
    /// Where it is to be seen, without trailing dot.
    pub name: String,
    /// The TXT value, without quotes.
    pub value: String,
    /// Whether it is to be seen, or to go.
    pub wanted: bool,
}

/// Writes down what an order wants to be seen. Can be repeated: an authorization whose value is there already is passed over.
pub async fn insert_challenge_records(
    conn: &mut Connection,
    account: AccountId,
    order: OrderId,
    records: &[NewChallengeRecord],
) -> Result<(), StoreError> {
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            (
                challenge_records::id.eq(Uuid::now_v7()),
                challenge_records::account_id.eq(account.0),
                challenge_records::order_id.eq(order.0),
                challenge_records::authorization_id.eq(record.authorization.0),
                challenge_records::dns_zone.eq(&record.dns_zone),
                challenge_records::name.eq(&record.name),
                challenge_records::value.eq(&record.value),
            )
        })
        .collect();
    diesel::insert_into(challenge_records::table)
        .values(rows)
        .on_conflict(challenge_records::authorization_id)
        .do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// How many values of this account stand at a name or are about to, those that are to go and have not been seen to be gone included.
pub async fn count_values(conn: &mut Connection, account: AccountId, name: &str) -> Result<usize, StoreError> {
    let count: i64 = challenge_records::table
        .filter(challenge_records::account_id.eq(account.0).and(challenge_records::name.eq(name)))
        .count()
        .get_result(conn)
        .await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The values of this account that stand at the challenge names of these names or are about to, those that are to go and have not been seen to be gone included.
pub async fn list_values(conn: &mut Connection, account: AccountId, names: &[DnsName]) -> Result<Vec<String>, StoreError> {
    let at: Vec<String> = names.iter().map(|name| delegation::alias(name.base())).collect();
    let values = challenge_records::table
        .filter(challenge_records::account_id.eq(account.0).and(challenge_records::name.eq_any(at)))
        .select(challenge_records::value);
    Ok(values.load(conn).await?)
}

/// What an order wants to be seen: names and values.
pub async fn list_order_values(conn: &mut Connection, account: AccountId, order: OrderId) -> Result<Vec<(String, String)>, StoreError> {
    let wanted = challenge_records::table
        .filter(challenge_records::account_id.eq(account.0).and(challenge_records::order_id.eq(order.0)))
        .filter(challenge_records::unwanted_at.is_null())
        .order((challenge_records::name, challenge_records::value))
        .select((challenge_records::name, challenge_records::value));
    Ok(wanted.load(conn).await?)
}

/// Says that an order wants nothing to be seen any more. Returns the zones in which it did until now, each once and in order, so that two
/// callers never wait for each other in a circle when they ask for the projections. Can be repeated.
pub async fn mark_order_unwanted(conn: &mut Connection, account: AccountId, order: OrderId) -> Result<Vec<String>, StoreError> {
    let mut zones: Vec<String> = diesel::update(challenge_records::table)
        .filter(challenge_records::account_id.eq(account.0).and(challenge_records::order_id.eq(order.0)))
        .filter(challenge_records::unwanted_at.is_null())
        .set(challenge_records::unwanted_at.eq(diesel::dsl::now))
        .returning(challenge_records::dns_zone)
        .get_results(conn)
        .await?;
    zones.sort_unstable();
    zones.dedup();
    Ok(zones)
}

/// Every value of a zone, of all tenants, by name and value. Runs without a tenant.
pub async fn list_zone_values(conn: &mut Connection, dns_zone: &str) -> Result<Vec<ZoneValue>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Uuid)]
        id: Uuid,
        #[diesel(sql_type = sql_types::Text)]
        name: String,
        #[diesel(sql_type = sql_types::Text)]
        value: String,
        #[diesel(sql_type = sql_types::Bool)]
        wanted: bool,
    }

    let rows: Vec<Row> = sql_query("SELECT id, name, value, wanted FROM sweep_challenge_records($1)")
        .bind::<sql_types::Text, _>(dns_zone)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| ZoneValue { id: row.id, name: row.name, value: row.value, wanted: row.wanted }).collect())
}

/// Deletes rows whose values have been seen to be gone; those that are still wanted stay. Returns how many went. Runs without a tenant.
pub async fn delete_gone(conn: &mut Connection, ids: &[Uuid]) -> Result<u64, StoreError> {
    #[derive(QueryableByName)]
    struct Deleted {
        #[diesel(sql_type = sql_types::BigInt)]
        deleted: i64,
    }

    let row: Deleted = sql_query("SELECT sweep_delete_challenge_records($1) AS deleted")
        .bind::<sql_types::Array<sql_types::Uuid>, _>(ids)
        .get_result(conn)
        .await?;
    Ok(row.deleted.unsigned_abs())
}
