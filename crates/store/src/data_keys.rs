//! Data keys: one per account, sealing its secrets, itself wrapped by a master key that the database never sees.

use diesel::helper_types::AssumeNotNull;
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::AccountId;
use zonecert_pki::seal::{DataKey, KeyOwner, MasterKeys, WrappedDataKey};

use crate::schema::data_keys;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// Makes the data key of a new account.
pub async fn insert_data_key(conn: &mut Connection, masters: &MasterKeys, account: AccountId) -> Result<(), StoreError> {
    let key = DataKey::generate()?;
    let wrapped = masters.wrap(&key, KeyOwner::Account(account.0))?;
    diesel::insert_into(data_keys::table)
        .values((
            data_keys::id.eq(wrapped.data_key_id),
            data_keys::account_id.eq(account.0),
            data_keys::master_key_id.eq(wrapped.master_key_id),
            data_keys::wrapped.eq(wrapped.bytes),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes the data key that takes the place of the account's others. Its age is that of this moment and not of the transaction, which may have waited for
/// another that did the same. The transaction must hold the account's row.
pub(crate) async fn insert_next_data_key(conn: &mut Connection, masters: &MasterKeys, account: AccountId) -> Result<Uuid, StoreError> {
    let wrapped = masters.wrap(&DataKey::generate()?, KeyOwner::Account(account.0))?;
    sql_query("INSERT INTO data_keys (id, account_id, master_key_id, wrapped, created_at) VALUES ($1, $2, $3, $4, clock_timestamp())")
        .bind::<sql_types::Uuid, _>(wrapped.data_key_id)
        .bind::<sql_types::Uuid, _>(account.0)
        .bind::<sql_types::Text, _>(wrapped.master_key_id)
        .bind::<sql_types::Bytea, _>(wrapped.bytes)
        .execute(conn)
        .await?;
    Ok(wrapped.data_key_id)
}

/// The key that seals what the account stores now: its newest.
pub(crate) async fn get_current_data_key(conn: &mut Connection, masters: &MasterKeys, account: AccountId) -> Result<DataKey, StoreError> {
    let row = data_keys::table
        .filter(data_keys::account_id.eq(account.0))
        .order(data_keys::created_at.desc())
        .filter(data_keys::wrapped.is_not_null())
        .select(columns())
        .first::<Row>(conn)
        .await?;
    unwrap(masters, account, row)
}

/// The key that sealed something, by its identifier.
pub(crate) async fn get_data_key(conn: &mut Connection, masters: &MasterKeys, account: AccountId, id: Uuid) -> Result<DataKey, StoreError> {
    let row = data_keys::table
        .filter(data_keys::account_id.eq(account.0).and(data_keys::id.eq(id)))
        .filter(data_keys::wrapped.is_not_null())
        .select(columns())
        .first::<Row>(conn)
        .await?;
    unwrap(masters, account, row)
}

/// What [`unwrap`] takes: identifier, master key and the wrapped key, of rows that have one.
pub(crate) type Row = (Uuid, String, Vec<u8>);
pub(crate) type Columns = (data_keys::id, data_keys::master_key_id, AssumeNotNull<data_keys::wrapped>);

pub(crate) fn columns() -> Columns {
    (data_keys::id, data_keys::master_key_id, data_keys::wrapped.assume_not_null())
}

pub(crate) fn unwrap(masters: &MasterKeys, account: AccountId, (data_key_id, master_key_id, bytes): Row) -> Result<DataKey, StoreError> {
    Ok(masters.unwrap(&WrappedDataKey { data_key_id, master_key_id, bytes }, KeyOwner::Account(account.0))?)
}
