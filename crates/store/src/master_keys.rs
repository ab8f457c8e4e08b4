//! Rotation of master keys: every data key, tenants' and the platform's, is wrapped anew under the current one (docs/adr/0022-rotating-keys.md).
//!
//! One data key at a time, in a transaction of its own, while everything runs: whoever has both master keys opens it before and after. What was done stays
//! done, so the work can be cut off and repeated at any time.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::AccountId;
use zonecert_pki::seal::{KeyOwner, MasterKeys, WrappedDataKey};

use crate::schema::{data_keys, platform_data_keys};
use crate::statement::{PreparedDsl as _, sql_query};
use crate::{Connection, Store, StoreError};

/// Data keys that are listed at a time.
const BATCH: i32 = 500;

/// What a rotation has done.
#[derive(Debug, Default)]
pub struct Rotation {
    /// Data keys of accounts that were wrapped anew.
    pub accounts: usize,
    /// Data keys of the platform that were wrapped anew.
    pub platform: usize,
    /// Data keys that could not be, and why. They are as they were.
    pub failures: Vec<(Uuid, String)>,
    /// How many data keys each master key wraps now.
    pub wrapped_by: BTreeMap<String, i64>,
}

/// Wraps every data key anew that is wrapped by another master key than the current one. Connect as the database's owner.
pub async fn rotate(store: &Store, masters: &MasterKeys) -> Result<Rotation, StoreError> {
    let mut rotation = Rotation::default();
    for id in store.platform(async |conn| list_platform(conn, masters.current_id()).await).await? {
        match store.platform(async |conn| rewrap_platform(conn, masters, id).await).await {
            Ok(done) => rotation.platform += usize::from(done),
            Err(StoreError::Seal(error)) => rotation.failures.push((id, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    let mut after = None;
    loop {
        let batch = store.platform(async |conn| list(conn, masters.current_id(), after).await).await?;
        let Some(&(_, last)) = batch.last() else { break };
        after = Some(last);
        for (account, id) in batch {
            match store.tenant(account, async |conn| rewrap(conn, masters, account, id).await).await {
                Ok(done) => rotation.accounts += usize::from(done),
                Err(StoreError::Seal(error)) => rotation.failures.push((id, error.to_string())),
                Err(error) => return Err(error),
            }
        }
    }
    rotation.wrapped_by = store.platform(count).await?;
    Ok(rotation)
}

/// From here to the end of the transaction it may do what data keys need, and nothing else.
pub(crate) async fn step_down(conn: &mut Connection) -> Result<(), StoreError> {
    sql_query("SET LOCAL ROLE zonecert_keys").execute(conn).await?;
    Ok(())
}

async fn list(conn: &mut Connection, current: &str, after: Option<Uuid>) -> Result<Vec<(AccountId, Uuid)>, StoreError> {
    step_down(conn).await?;
    sql_query("SELECT account_id, id FROM sweep_data_keys($1, $2, $3)")
        .bind::<sql_types::Text, _>(current)
        .bind::<sql_types::Nullable<sql_types::Uuid>, _>(after)
        .bind::<sql_types::Integer, _>(BATCH)
        .load_ids(conn, |id| id)
        .await
}

async fn list_platform(conn: &mut Connection, current: &str) -> Result<Vec<Uuid>, StoreError> {
    step_down(conn).await?;
    let foreign = platform_data_keys::table.filter(platform_data_keys::master_key_id.ne(current)).select(platform_data_keys::id);
    Ok(foreign.load(conn).await?)
}

/// False when there is nothing to do: somebody else has done it, or the account has ended. Its row is locked meanwhile, so an end is never undone.
async fn rewrap(conn: &mut Connection, masters: &MasterKeys, account: AccountId, id: Uuid) -> Result<bool, StoreError> {
    step_down(conn).await?;
    let row = data_keys::table
        .filter(data_keys::account_id.eq(account.0).and(data_keys::id.eq(id)))
        .filter(data_keys::wrapped.is_not_null().and(data_keys::master_key_id.ne(masters.current_id())))
        .select((data_keys::master_key_id, data_keys::wrapped.assume_not_null()))
        .for_no_key_update()
        .first::<(String, Vec<u8>)>(conn)
        .await
        .optional()?;
    let Some((master_key_id, bytes)) = row else { return Ok(false) };
    let anew = wrap_anew(masters, &WrappedDataKey { data_key_id: id, master_key_id, bytes }, KeyOwner::Account(account.0))?;
    diesel::update(data_keys::table.filter(data_keys::account_id.eq(account.0).and(data_keys::id.eq(id))))
        .set((data_keys::master_key_id.eq(anew.master_key_id), data_keys::wrapped.eq(Some(anew.bytes))))
        .prepared()
        .execute(conn)
        .await?;
    Ok(true)
}

async fn rewrap_platform(conn: &mut Connection, masters: &MasterKeys, id: Uuid) -> Result<bool, StoreError> {
    step_down(conn).await?;
    let row = platform_data_keys::table
        .filter(platform_data_keys::id.eq(id).and(platform_data_keys::master_key_id.ne(masters.current_id())))
        .select((platform_data_keys::master_key_id, platform_data_keys::wrapped))
        .for_no_key_update()
        .first::<(String, Vec<u8>)>(conn)
        .await
        .optional()?;
    let Some((master_key_id, bytes)) = row else { return Ok(false) };
    let anew = wrap_anew(masters, &WrappedDataKey { data_key_id: id, master_key_id, bytes }, KeyOwner::Platform)?;
    diesel::update(platform_data_keys::table.find(id))
        .set((platform_data_keys::master_key_id.eq(anew.master_key_id), platform_data_keys::wrapped.eq(anew.bytes)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(true)
}

fn wrap_anew(masters: &MasterKeys, wrapped: &WrappedDataKey, owner: KeyOwner) -> Result<WrappedDataKey, StoreError> {
    let anew = masters.wrap(&masters.unwrap(wrapped, owner)?, owner)?;
    // What cannot be opened would be lost with the next commit: better to find that out before.
    masters.unwrap(&anew, owner)?;
    Ok(anew)
}

async fn count(conn: &mut Connection) -> Result<BTreeMap<String, i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Text)]
        master_key_id: String,
        #[diesel(sql_type = sql_types::BigInt)]
        data_keys: i64,
    }

    step_down(conn).await?;
    let rows: Vec<Row> = sql_query(
        "SELECT master_key_id, sum(data_keys)::bigint AS data_keys FROM (
             SELECT master_key_id, data_keys FROM sweep_master_keys()
             UNION ALL SELECT master_key_id, count(*) FROM platform_data_keys GROUP BY master_key_id) AS counted
         GROUP BY master_key_id",
    )
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.master_key_id, row.data_keys)).collect())
}
