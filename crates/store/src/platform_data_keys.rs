//! Data keys of the platform itself: they seal what belongs to no tenant, such as ACME accounts and keys in stock.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_pki::seal::{DataKey, KeyOwner, MasterKeys, WrappedDataKey};

use crate::schema::platform_data_keys;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// The key that seals what the platform stores now: its newest, made where there is none.
///
/// Two processes that make the first one at the same moment make two; both open what they sealed, and the newer is used from then on.
pub async fn get_or_create_platform_data_key(conn: &mut Connection, masters: &MasterKeys) -> Result<DataKey, StoreError> {
    let newest = platform_data_keys::table
        .order((platform_data_keys::created_at.desc(), platform_data_keys::id))
        .select((platform_data_keys::id, platform_data_keys::master_key_id, platform_data_keys::wrapped))
        .first::<Row>(conn)
        .await
        .optional()?;
    match newest {
        Some(row) => unwrap(masters, row),
        None => insert_platform_data_key(conn, masters).await,
    }
}

/// The key that sealed something, by its identifier.
pub async fn get_platform_data_key(conn: &mut Connection, masters: &MasterKeys, id: Uuid) -> Result<DataKey, StoreError> {
    let row = platform_data_keys::table
        .find(id)
        .select((platform_data_keys::id, platform_data_keys::master_key_id, platform_data_keys::wrapped))
        .first::<Row>(conn)
        .await?;
    unwrap(masters, row)
}

async fn insert_platform_data_key(conn: &mut Connection, masters: &MasterKeys) -> Result<DataKey, StoreError> {
    let key = DataKey::generate()?;
    let wrapped = masters.wrap(&key, KeyOwner::Platform)?;
    diesel::insert_into(platform_data_keys::table)
        .values((
            platform_data_keys::id.eq(wrapped.data_key_id),
            platform_data_keys::master_key_id.eq(wrapped.master_key_id),
            platform_data_keys::wrapped.eq(wrapped.bytes),
        ))
        .execute(conn)
        .await?;
    Ok(key)
}

/// Makes the data key that takes the place of the others, where the newest was made before this moment. Its age is that of this moment and not of the
/// transaction, which may have waited for another that did the same.
pub(crate) async fn ensure_newer(conn: &mut Connection, masters: &MasterKeys, before: DateTime<Utc>) -> Result<(), StoreError> {
    sql_query("SELECT pg_advisory_xact_lock(hashtext('platform_data_keys'))").execute(conn).await?;
    let newest =
        platform_data_keys::table.select(diesel::dsl::max(platform_data_keys::created_at)).first::<Option<DateTime<Utc>>>(conn).await?;
    if newest.is_none_or(|newest| newest >= before) {
        return Ok(());
    }
    let wrapped = masters.wrap(&DataKey::generate()?, KeyOwner::Platform)?;
    sql_query("INSERT INTO platform_data_keys (id, master_key_id, wrapped, created_at) VALUES ($1, $2, $3, clock_timestamp())")
        .bind::<sql_types::Uuid, _>(wrapped.data_key_id)
        .bind::<sql_types::Text, _>(wrapped.master_key_id)
        .bind::<sql_types::Bytea, _>(wrapped.bytes)
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) type Row = (Uuid, String, Vec<u8>);

pub(crate) fn unwrap(masters: &MasterKeys, (data_key_id, master_key_id, bytes): Row) -> Result<DataKey, StoreError> {
    Ok(masters.unwrap(&WrappedDataKey { data_key_id, master_key_id, bytes }, KeyOwner::Platform)?)
}
