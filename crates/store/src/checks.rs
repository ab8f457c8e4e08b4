//! What `zonecert admin doctor` asks the database, as its owner: whether roles and policies are as the migrations have made them, and whether the master keys open
//! every data key.

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::AccountId;
use zonecert_pki::seal::{KeyOwner, MasterKeys, WrappedDataKey};

use crate::schema::{data_keys, platform_data_keys};
use crate::statement::sql_query;
use crate::{Connection, StoreError};

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = sql_types::Text)]
    name: String,
}

async fn names(conn: &mut Connection, query: &str) -> Result<Vec<String>, StoreError> {
    Ok(sql_query(query).load::<Named>(conn).await?.into_iter().map(|row| row.name).collect())
}

/// The version of the server, as `15.13`.
pub async fn server_version(conn: &mut Connection) -> Result<String, StoreError> {
    let row: Named = sql_query("SELECT split_part(current_setting('server_version'), ' ', 1) AS name").get_result(conn).await?;
    Ok(row.name)
}

/// Tables with tenants' rows that row-level security does not hold, or not for their owner (`docs/adr/0003-row-level-security.md`).
pub async fn list_unprotected_tables(conn: &mut Connection) -> Result<Vec<String>, StoreError> {
    names(
        conn,
        "SELECT relname::text AS name FROM pg_class AS c
         WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND relname <> 'ca_budget'
             AND (relname = 'accounts' OR EXISTS (
                 SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'account_id' AND NOT attisdropped))
             AND NOT (relrowsecurity AND relforcerowsecurity)
         ORDER BY 1",
    )
    .await
}

/// What is wrong with our roles: missing, or above row-level security, or members of one that sees more.
pub async fn list_role_faults(conn: &mut Connection) -> Result<Vec<String>, StoreError> {
    names(
        conn,
        "WITH ours (role) AS (VALUES ('zonecert_api'), ('zonecert_worker'), ('zonecert_admin'), ('zonecert_lookup'), ('zonecert_sweep'))
         SELECT role || ' is missing' AS name FROM ours WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
         UNION ALL
         SELECT rolname || ' is above row-level security' FROM pg_roles WHERE (rolname IN (SELECT role FROM ours) OR rolname = current_user) AND (rolsuper OR rolbypassrls)
         UNION ALL
         SELECT pg_get_userbyid(member) || ' is a member of ' || pg_get_userbyid(roleid) FROM pg_auth_members WHERE pg_get_userbyid(member) IN (SELECT role FROM ours)
         UNION ALL
         SELECT rolname || ' may log in' FROM pg_roles WHERE rolname IN ('zonecert_lookup', 'zonecert_sweep') AND rolcanlogin
         ORDER BY 1",
    )
    .await
}

/// How many of an account's data keys there are, and those that the master keys do not open, with the master key that wraps each. Runs as the tenant.
pub async fn check_data_keys(conn: &mut Connection, masters: &MasterKeys, account: AccountId) -> Result<(usize, Vec<String>), StoreError> {
    let rows: Vec<(Uuid, String, Vec<u8>)> = data_keys::table
        .filter(data_keys::account_id.eq(account.0).and(data_keys::wrapped.is_not_null()))
        .select((data_keys::id, data_keys::master_key_id, data_keys::wrapped.assume_not_null()))
        .load(conn)
        .await?;
    Ok(check(masters, KeyOwner::Account(account.0), rows))
}

/// The same for the platform's own. Runs without a tenant.
pub async fn check_platform_data_keys(conn: &mut Connection, masters: &MasterKeys) -> Result<(usize, Vec<String>), StoreError> {
    let rows: Vec<(Uuid, String, Vec<u8>)> = platform_data_keys::table
        .select((platform_data_keys::id, platform_data_keys::master_key_id, platform_data_keys::wrapped))
        .load(conn)
        .await?;
    Ok(check(masters, KeyOwner::Platform, rows))
}

fn check(masters: &MasterKeys, owner: KeyOwner, rows: Vec<(Uuid, String, Vec<u8>)>) -> (usize, Vec<String>) {
    let count = rows.len();
    let closed = rows.into_iter().filter_map(|(data_key_id, master_key_id, bytes)| {
        let wrapped = WrappedDataKey { data_key_id, master_key_id, bytes };
        let error = masters.unwrap(&wrapped, owner).err()?;
        Some(format!("data key {data_key_id} under master key {:?}: {error}", wrapped.master_key_id))
    });
    (count, closed.collect())
}
