//! Data keys: one per account, sealing its secrets, itself wrapped by a master key that the database never sees.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::AccountId;
use zonecert_pki::seal::{DataKey, KeyOwner, MasterKeys, WrappedDataKey};

use crate::schema::data_keys;
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

/// The key that seals what the account stores now: its newest.
pub(crate) async fn get_current_data_key(conn: &mut Connection, masters: &MasterKeys, account: AccountId) -> Result<DataKey, StoreError> {
    let row = data_keys::table
        .filter(data_keys::account_id.eq(account.0))
        .order(data_keys::created_at.desc())
        .select((data_keys::id, data_keys::master_key_id, data_keys::wrapped))
        .first::<(Uuid, String, Vec<u8>)>(conn)
        .await?;
    unwrap(masters, account, row)
}

/// The key that sealed something, by its identifier.
pub(crate) async fn get_data_key(conn: &mut Connection, masters: &MasterKeys, account: AccountId, id: Uuid) -> Result<DataKey, StoreError> {
    let row = data_keys::table
        .filter(data_keys::account_id.eq(account.0).and(data_keys::id.eq(id)))
        .select((data_keys::id, data_keys::master_key_id, data_keys::wrapped))
        .first::<(Uuid, String, Vec<u8>)>(conn)
        .await?;
    unwrap(masters, account, row)
}

fn unwrap(
    masters: &MasterKeys,
    account: AccountId,
    (data_key_id, master_key_id, bytes): (Uuid, String, Vec<u8>),
) -> Result<DataKey, StoreError> {
    Ok(masters.unwrap(&WrappedDataKey { data_key_id, master_key_id, bytes }, KeyOwner::Account(account.0))?)
}
