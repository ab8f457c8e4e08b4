//! New data keys for old ones: everything that an account, or the platform, has sealed is sealed anew, and the old key destroyed
//! (docs/adr/0022-rotating-keys.md).
//!
//! Each step is a transaction that leaves everything readable, so the work can be cut off and repeated at any time: first there is a new key, under which
//! everything new is sealed; then what is sealed under older ones moves over in batches; and a key goes once nothing is sealed under it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, KeyVersionId, PfxFileId};
use zonecert_pki::seal::{Binding, DataKey, KeyOwner, MasterKeys};

use crate::audit_log::{self, Entry};
use crate::mails::MailId;
use crate::master_keys::step_down;
use crate::schema::data_keys as data_keys_table;
use crate::statement::sql_query;
use crate::{
    Connection, Store, StoreError, acme_accounts, data_keys, key_stock, mails, own_acme_accounts, pfx_files, platform_data_keys,
    private_keys, webhooks,
};

/// Secrets that are sealed anew in one transaction.
const BATCH: i32 = 50;
/// Accounts that are listed at a time.
const ACCOUNTS: i32 = 500;

/// A column that holds sealed secrets, the column that names their data key, and how they are bound to their rows.
struct Place {
    table: &'static str,
    column: &'static str,
    data_key: &'static str,
    binding: fn(KeyOwner, Uuid) -> Option<Binding<'static>>,
}

/// Every column that refers to `data_keys`, by its table; a test compares.
const OF_ACCOUNTS: [Place; 5] = [
    Place {
        table: "key_versions",
        column: "sealed",
        data_key: "data_key_id",
        binding: |owner, row| Some(private_keys::binding(account(owner)?, KeyVersionId(row))),
    },
    Place {
        table: "mails",
        column: "sealed",
        data_key: "data_key_id",
        binding: |owner, row| Some(mails::binding(account(owner)?, MailId(row))),
    },
    Place {
        table: "own_acme_accounts",
        column: "sealed_eab",
        data_key: "data_key_id",
        binding: |owner, row| Some(own_acme_accounts::eab_binding(account(owner)?, row)),
    },
    Place {
        table: "pfx_files",
        column: "sealed",
        data_key: "data_key_id",
        binding: |owner, row| Some(pfx_files::binding(account(owner)?, PfxFileId(row))),
    },
    Place {
        table: "webhook_secrets",
        column: "sealed",
        data_key: "data_key_id",
        binding: |owner, row| Some(webhooks::secret_binding(account(owner)?, row)),
    },
];
/// Every column that refers to `platform_data_keys`, by its table; a test compares.
const OF_PLATFORM: [Place; 3] = [
    Place {
        table: "acme_accounts",
        column: "sealed_credentials",
        data_key: "data_key_id",
        binding: |_, row| Some(acme_accounts::binding(row)),
    },
    Place {
        table: "acme_accounts",
        column: "sealed_next_credentials",
        data_key: "next_data_key_id",
        binding: |_, row| Some(acme_accounts::next_binding(row)),
    },
    Place { table: "key_stock", column: "sealed", data_key: "data_key_id", binding: |_, row| Some(key_stock::binding(row)) },
];

fn account(owner: KeyOwner) -> Option<AccountId> {
    match owner {
        KeyOwner::Account(id) => Some(AccountId(id)),
        KeyOwner::Platform => None,
    }
}

/// What was done for one owner.
#[derive(Debug, Default)]
pub struct ReSealed {
    /// Secrets that were sealed under the newest data key.
    pub secrets: usize,
    /// Old data keys that were destroyed.
    pub destroyed: usize,
    /// Secrets that do not open, and why. They are as they were, and so is the data key that they name.
    pub failures: Vec<(String, String)>,
}

/// Tables whose rows are sealed under data keys of accounts, and under those of the platform: each as often as it has columns with secrets.
pub fn tables() -> (Vec<&'static str>, Vec<&'static str>) {
    (OF_ACCOUNTS.iter().map(|place| place.table).collect(), OF_PLATFORM.iter().map(|place| place.table).collect())
}

/// Accounts with a data key that was made before this moment, by identifier, from behind `after`. Connect as the database's owner.
pub async fn list_accounts(store: &Store, before: DateTime<Utc>, after: Option<AccountId>) -> Result<Vec<AccountId>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Uuid)]
        account_id: Uuid,
    }

    let list = async move |conn: &mut Connection| {
        step_down(conn).await?;
        let rows: Vec<Row> = sql_query("SELECT account_id FROM sweep_old_data_keys($1, $2, $3)")
            .bind::<sql_types::Timestamptz, _>(before)
            .bind::<sql_types::Nullable<sql_types::Uuid>, _>(after.map(|account| account.0))
            .bind::<sql_types::Integer, _>(ACCOUNTS)
            .load(conn)
            .await?;
        Ok::<_, StoreError>(rows)
    };
    Ok(store.platform(list).await?.into_iter().map(|row| AccountId(row.account_id)).collect())
}

/// Replaces the data keys of an account that were made before this moment. Connect as the database's owner.
pub async fn re_seal_account(
    store: &Store,
    masters: &MasterKeys,
    account: AccountId,
    before: DateTime<Utc>,
) -> Result<ReSealed, StoreError> {
    let owner = KeyOwner::Account(account.0);
    store.tenant_write(account, async |conn| ensure_new_key(conn, masters, account, before).await).await?;
    let mut done = ReSealed::default();
    for place in &OF_ACCOUNTS {
        let mut after = Uuid::nil();
        loop {
            // The account's row is locked, like by everybody who seals for it, or destroys what is sealed.
            let batch = async |conn: &mut Connection| {
                step_down(conn).await?;
                let newest = data_keys::get_current_data_key(conn, masters, account).await?;
                move_batch(conn, masters, owner, place, &newest, after).await
            };
            let batch = store.tenant_write(account, batch).await?;
            done.secrets += batch.moved;
            done.failures.extend(batch.failures);
            let Some(last) = batch.last else { break };
            after = last;
        }
    }
    done.destroyed = store.tenant_write(account, async |conn| destroy_replaced(conn, account).await).await?;
    Ok(done)
}

/// Replaces the data keys of the platform that were made before this moment. Connect as the database's owner.
pub async fn re_seal_platform(store: &Store, masters: &MasterKeys, before: DateTime<Utc>) -> Result<ReSealed, StoreError> {
    let ensure = async |conn: &mut Connection| {
        step_down(conn).await?;
        platform_data_keys::ensure_newer(conn, masters, before).await
    };
    store.platform(ensure).await?;
    let mut done = ReSealed::default();
    for place in &OF_PLATFORM {
        let mut after = Uuid::nil();
        loop {
            let batch = async |conn: &mut Connection| {
                step_down(conn).await?;
                let newest = platform_data_keys::get_or_create_platform_data_key(conn, masters).await?;
                move_batch(conn, masters, KeyOwner::Platform, place, &newest, after).await
            };
            let batch = store.platform(batch).await?;
            done.secrets += batch.moved;
            done.failures.extend(batch.failures);
            let Some(last) = batch.last else { break };
            after = last;
        }
    }
    // Nothing is sealed under a key that is not there: a foreign key sees to it. One that somebody has just used stays for the next run.
    let destroy = async |conn: &mut Connection| {
        step_down(conn).await?;
        let unused = OF_PLATFORM
            .map(|Place { table, data_key, .. }| format!("NOT EXISTS (SELECT FROM {table} WHERE {data_key} = platform_data_keys.id)"));
        let newest = "SELECT id FROM platform_data_keys ORDER BY created_at DESC, id LIMIT 1";
        let delete = format!("DELETE FROM platform_data_keys WHERE id <> ({newest}) AND {}", unused.join(" AND "));
        Ok::<_, StoreError>(sql_query(delete).execute(conn).await?)
    };
    done.destroyed = match store.platform(destroy).await {
        Err(StoreError::Constraint(_)) => 0,
        outcome => outcome?,
    };
    Ok(done)
}

/// Makes the account's next data key, unless that was done in an earlier run. Whoever seals for the account holds its row, like this transaction does, and so
/// uses the new key from then on.
async fn ensure_new_key(conn: &mut Connection, masters: &MasterKeys, account: AccountId, before: DateTime<Utc>) -> Result<(), StoreError> {
    step_down(conn).await?;
    let newest = data_keys_table::table
        .filter(data_keys_table::account_id.eq(account.0).and(data_keys_table::wrapped.is_not_null()))
        .select(diesel::dsl::max(data_keys_table::created_at))
        .first::<Option<DateTime<Utc>>>(conn)
        .await?;
    // Without any the account has ended.
    if newest.is_none_or(|newest| newest >= before) {
        return Ok(());
    }
    let id = data_keys::insert_next_data_key(conn, masters, account).await?;
    let subject = id.to_string();
    let entry = Entry { actor: "operator", action: "data_key.replaced", subject: Some(&subject), request_id: None, details: json!({}) };
    audit_log::insert_entry(conn, account, &entry).await
}

#[derive(Default)]
struct Batch {
    moved: usize,
    failures: Vec<(String, String)>,
    /// The last row that was looked at; `None` when there was none.
    last: Option<Uuid>,
}

/// Seals some secrets under the newest key that are sealed under another.
async fn move_batch(
    conn: &mut Connection,
    masters: &MasterKeys,
    owner: KeyOwner,
    place: &Place,
    newest: &DataKey,
    after: Uuid,
) -> Result<Batch, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Uuid)]
        id: Uuid,
        #[diesel(sql_type = sql_types::Uuid)]
        data_key_id: Uuid,
        #[diesel(sql_type = sql_types::Bytea)]
        sealed: Vec<u8>,
    }

    let Place { table, column, data_key, binding } = place;
    let whose = if matches!(owner, KeyOwner::Platform) {
        ""
    } else {
        "account_id = nullif(current_setting('zonecert.account', true), '')::uuid AND"
    };
    let select = format!(
        "SELECT id, {data_key} AS data_key_id, {column} AS sealed FROM {table} WHERE {whose} {data_key} <> $1 AND {column} IS NOT NULL AND id > $2
         ORDER BY id LIMIT $3 FOR NO KEY UPDATE"
    );
    let rows: Vec<Row> = sql_query(select)
        .bind::<sql_types::Uuid, _>(newest.id())
        .bind::<sql_types::Uuid, _>(after)
        .bind::<sql_types::Integer, _>(BATCH)
        .load(conn)
        .await?;
    let mut batch = Batch { last: rows.last().map(|row| row.id), ..Batch::default() };
    let mut keys: HashMap<Uuid, DataKey> = HashMap::new();
    let update = format!("UPDATE {table} SET {column} = $1, {data_key} = $2 WHERE id = $3");
    for Row { id, data_key_id, sealed } in rows {
        let Some(binding) = binding(owner, id) else { continue };
        let opened = match keys.get(&data_key_id) {
            Some(key) => key.open(&sealed, &binding),
            None => match get_key(conn, masters, owner, data_key_id).await {
                Ok(key) => keys.entry(data_key_id).or_insert(key).open(&sealed, &binding),
                Err(StoreError::Seal(error)) => Err(error),
                Err(error) => return Err(error),
            },
        };
        let secret = match opened {
            Ok(secret) => secret,
            Err(error) => {
                batch.failures.push((format!("{table}.{column} {id}"), error.to_string()));
                continue;
            }
        };
        sql_query(&update)
            .bind::<sql_types::Bytea, _>(newest.seal(&secret, &binding)?)
            .bind::<sql_types::Uuid, _>(newest.id())
            .bind::<sql_types::Uuid, _>(id)
            .execute(conn)
            .await?;
        batch.moved += 1;
    }
    Ok(batch)
}

async fn get_key(conn: &mut Connection, masters: &MasterKeys, owner: KeyOwner, id: Uuid) -> Result<DataKey, StoreError> {
    match account(owner) {
        Some(account) => data_keys::get_data_key(conn, masters, account, id).await,
        None => platform_data_keys::get_platform_data_key(conn, masters, id).await,
    }
}

/// Destroys the account's data keys but the newest, where nothing is sealed under them. Their rows are locked first, against which the foreign keys of whoever
/// seals something at this moment wait.
async fn destroy_replaced(conn: &mut Connection, account: AccountId) -> Result<usize, StoreError> {
    step_down(conn).await?;
    let live = data_keys_table::table
        .filter(data_keys_table::account_id.eq(account.0).and(data_keys_table::wrapped.is_not_null()))
        .order(data_keys_table::created_at.desc())
        .select(data_keys_table::id)
        .for_update()
        .load::<Uuid>(conn)
        .await?;
    let unused = OF_ACCOUNTS.map(|Place { table, column, data_key, .. }| {
        format!("NOT EXISTS (SELECT FROM {table} WHERE account_id = $1 AND {data_key} = $2 AND {column} IS NOT NULL)")
    });
    let destroy =
        format!("UPDATE data_keys SET wrapped = NULL, destroyed_at = now() WHERE account_id = $1 AND id = $2 AND {}", unused.join(" AND "));
    let mut destroyed = 0;
    for id in live.into_iter().skip(1) {
        destroyed += sql_query(&destroy).bind::<sql_types::Uuid, _>(account.0).bind::<sql_types::Uuid, _>(id).execute(conn).await?;
    }
    Ok(destroyed)
}
