//! Accounts at certificate authorities (RFC 8555 §7.1.2): ours, one that is in use for each directory, and what signs for those that customers have themselves
//! ([`crate::own_acme_accounts`]), under the same identifiers.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::id::AcmeAccountId;
use zonecert_pki::seal::{Binding, KeyOwner, MasterKeys};

use crate::error::changed_one;
use crate::platform_data_keys::{self, get_or_create_platform_data_key};
use crate::schema::{acme_accounts, platform_data_keys as data_keys};
use crate::statement::{PreparedDsl as _, sql_query};
use crate::{Connection, StoreError};

/// An account at a CA, opened. It implements neither `Debug` nor `Display`: the credentials hold its private key.
pub struct AcmeAccount {
    /// Its identifier.
    pub id: Uuid,
    /// Its URL at the CA: public, and the `kid` of every request.
    pub account_url: String,
    /// What the ACME client signs with, in the client's own form.
    pub credentials: Zeroizing<Vec<u8>>,
    /// When its key was changed last (RFC 8555 §7.3.5): whoever has loaded it before has an old one.
    pub key_changed_at: Option<DateTime<Utc>>,
}

/// The account in use at the CA with this directory.
pub async fn find_acme_account(
    conn: &mut Connection,
    masters: &MasterKeys,
    directory_url: &str,
) -> Result<Option<AcmeAccount>, StoreError> {
    let ours = acme_accounts::directory_url.eq(directory_url).and(acme_accounts::lost_at.is_null()).and(acme_accounts::is_own.eq(false));
    open(masters, stored().filter(ours).first::<Stored>(conn).await.optional()?)
}

/// What signs for a customer's own account, which the CA knows; none where it does not, or does not any more.
pub async fn find_own_acme_account(
    conn: &mut Connection,
    masters: &MasterKeys,
    id: AcmeAccountId,
) -> Result<Option<AcmeAccount>, StoreError> {
    let own = acme_accounts::id.eq(id.0).and(acme_accounts::lost_at.is_null()).and(acme_accounts::is_own.eq(true));
    open(masters, stored().filter(own.and(acme_accounts::account_url.is_not_null())).first::<Stored>(conn).await.optional()?)
}

/// What is to sign for a customer's own account, whether the CA knows it yet or not.
pub async fn find_own_credentials(
    conn: &mut Connection,
    masters: &MasterKeys,
    id: AcmeAccountId,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let own = acme_accounts::id.eq(id.0).and(acme_accounts::is_own.eq(true));
    Ok(open(masters, stored().filter(own).first::<Stored>(conn).await.optional()?)?.map(|account| account.credentials))
}

/// Stores what is to sign for a customer's own account, sealed, before the CA hears of it, and answers what is on record: this, or that of somebody who came first.
pub async fn insert_own_credentials(
    conn: &mut Connection,
    masters: &MasterKeys,
    id: AcmeAccountId,
    directory_url: &str,
    credentials: &[u8],
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let key = get_or_create_platform_data_key(conn, masters).await?;
    diesel::insert_into(acme_accounts::table)
        .values((
            acme_accounts::id.eq(id.0),
            acme_accounts::is_own.eq(true),
            // A release that knows of no such accounts looks for ours by the directory, and must never take this one.
            acme_accounts::directory_url.eq(format!("own:{directory_url}")),
            acme_accounts::data_key_id.eq(key.id()),
            acme_accounts::sealed_credentials.eq(key.seal(credentials, &binding(id.0))?),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    find_own_credentials(conn, masters, id).await?.ok_or(StoreError::Stale)
}

/// The CA knows a customer's own account, by this URL.
pub(crate) async fn record_own_registered(
    conn: &mut Connection,
    masters: &MasterKeys,
    id: AcmeAccountId,
    account_url: &str,
    credentials: &[u8],
) -> Result<(), StoreError> {
    let key = get_or_create_platform_data_key(conn, masters).await?;
    let changed =
        diesel::update(acme_accounts::table.filter(acme_accounts::id.eq(id.0).and(acme_accounts::sealed_credentials.is_not_null())))
            .set((
                acme_accounts::account_url.eq(account_url),
                acme_accounts::data_key_id.eq(key.id()),
                acme_accounts::sealed_credentials.eq(key.seal(credentials, &binding(id.0))?),
            ))
            .prepared()
            .execute(conn)
            .await?;
    changed_one(changed)
}

/// Destroys what signs for a customer's own account. Orders that were placed with it still name it.
pub(crate) async fn destroy_own_credentials(conn: &mut Connection, id: AcmeAccountId) -> Result<(), StoreError> {
    diesel::update(acme_accounts::table.filter(acme_accounts::id.eq(id.0).and(acme_accounts::is_own.eq(true))))
        .set((
            acme_accounts::data_key_id.eq(None::<Uuid>),
            acme_accounts::sealed_credentials.eq(None::<Vec<u8>>),
            acme_accounts::lost_at.eq(diesel::dsl::now.into_sql::<sql_types::Timestamptz>().nullable()),
        ))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

type Stored = ((Uuid, Option<String>, Option<Vec<u8>>, Option<DateTime<Utc>>), platform_data_keys::Row);

/// Both in one statement: between two of them it may be sealed anew, and the data key destroyed.
#[diesel::dsl::auto_type]
fn stored() -> _ {
    acme_accounts::table.inner_join(data_keys::table.on(acme_accounts::data_key_id.eq(data_keys::id.nullable()))).select((
        (acme_accounts::id, acme_accounts::account_url, acme_accounts::sealed_credentials, acme_accounts::key_changed_at),
        (data_keys::id, data_keys::master_key_id, data_keys::wrapped),
    ))
}

fn open(masters: &MasterKeys, stored: Option<Stored>) -> Result<Option<AcmeAccount>, StoreError> {
    let Some(((id, account_url, Some(sealed), key_changed_at), data_key)) = stored else { return Ok(None) };
    let credentials = platform_data_keys::unwrap(masters, data_key)?.open(&sealed, &binding(id))?;
    Ok(Some(AcmeAccount { id, account_url: account_url.unwrap_or_default(), credentials, key_changed_at }))
}

/// Stores a new account, sealed, and answers the account in use: this one, or that of another process which came first.
pub async fn insert_acme_account(
    conn: &mut Connection,
    masters: &MasterKeys,
    directory_url: &str,
    account_url: &str,
    credentials: &[u8],
) -> Result<AcmeAccount, StoreError> {
    let id = Uuid::now_v7();
    let key = get_or_create_platform_data_key(conn, masters).await?;
    // Waits for whoever is inserting at this moment, so that the look after it finds what they have inserted.
    diesel::insert_into(acme_accounts::table)
        .values((
            acme_accounts::id.eq(id),
            acme_accounts::directory_url.eq(directory_url),
            acme_accounts::account_url.eq(account_url),
            acme_accounts::data_key_id.eq(key.id()),
            acme_accounts::sealed_credentials.eq(key.seal(credentials, &binding(id))?),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    find_acme_account(conn, masters, directory_url).await?.ok_or(StoreError::Stale)
}

/// Records that the CA does not know the account any more, so that another can take its place. False when that was recorded before.
pub async fn mark_acme_account_lost(conn: &mut Connection, id: Uuid) -> Result<bool, StoreError> {
    let marked = diesel::update(acme_accounts::table.filter(acme_accounts::id.eq(id).and(acme_accounts::lost_at.is_null())))
        .set(acme_accounts::lost_at.eq(diesel::dsl::now))
        .prepared()
        .execute(conn)
        .await?;
    Ok(marked == 1)
}

/// The credentials that are to take the place of an account's, where a change of its key was begun and is not on record as done.
pub async fn find_next_credentials(
    conn: &mut Connection,
    masters: &MasterKeys,
    id: Uuid,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    type Found = (Option<Vec<u8>>, platform_data_keys::Row);

    // Both in one statement, as in `find_acme_account`.
    let row = acme_accounts::table
        .inner_join(data_keys::table.on(acme_accounts::next_data_key_id.eq(data_keys::id.nullable())))
        .filter(acme_accounts::id.eq(id))
        .select((acme_accounts::sealed_next_credentials, (data_keys::id, data_keys::master_key_id, data_keys::wrapped)))
        .first::<Found>(conn)
        .await
        .optional()?;
    let Some((Some(sealed), data_key)) = row else { return Ok(None) };
    let key = platform_data_keys::unwrap(masters, data_key)?;
    Ok(Some(key.open(&sealed, &next_binding(id))?))
}

/// Stores the credentials that are to take the place of an account's, sealed, before the CA hears of their key, and answers those on record: these, or those
/// of somebody who has begun before.
///
/// Errors with [`StoreError::Stale`] where the account is not in use any more.
pub async fn insert_next_credentials(
    conn: &mut Connection,
    masters: &MasterKeys,
    id: Uuid,
    credentials: &[u8],
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let key = get_or_create_platform_data_key(conn, masters).await?;
    let in_use = acme_accounts::id.eq(id).and(acme_accounts::lost_at.is_null());
    diesel::update(acme_accounts::table.filter(in_use.and(acme_accounts::sealed_next_credentials.is_null())))
        .set((
            acme_accounts::next_data_key_id.eq(Some(key.id())),
            acme_accounts::sealed_next_credentials.eq(Some(key.seal(credentials, &next_binding(id))?)),
        ))
        .prepared()
        .execute(conn)
        .await?;
    find_next_credentials(conn, masters, id).await?.ok_or(StoreError::Stale)
}

/// Puts the next credentials in the place of the account's, if they are these, by whose key the CA knows it. False where they are not any more: somebody else has done
/// so, and may have begun another change since, whose key the CA does not know.
pub async fn promote_next_credentials(
    conn: &mut Connection,
    masters: &MasterKeys,
    id: Uuid,
    credentials: &[u8],
) -> Result<bool, StoreError> {
    acme_accounts::table.find(id).select(acme_accounts::id).for_no_key_update().first::<Uuid>(conn).await?;
    let next = find_next_credentials(conn, masters, id).await?;
    if next.is_none_or(|next| next.as_slice() != credentials) {
        return Ok(false);
    }
    let key = get_or_create_platform_data_key(conn, masters).await?;
    diesel::update(acme_accounts::table.find(id))
        .set((
            acme_accounts::data_key_id.eq(key.id()),
            acme_accounts::sealed_credentials.eq(key.seal(credentials, &binding(id))?),
            acme_accounts::next_data_key_id.eq(None::<Uuid>),
            acme_accounts::sealed_next_credentials.eq(None::<Vec<u8>>),
            acme_accounts::key_changed_at.eq(diesel::dsl::now),
        ))
        .prepared()
        .execute(conn)
        .await?;
    Ok(true)
}

/// How many orders of all tenants, from this account, have TXT values on record that the CA has not validated yet: they are made of its key, and of no use with
/// another. For the database's owner. Runs without a tenant.
pub async fn count_orders_being_proven(conn: &mut Connection, id: Uuid) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Counted {
        #[diesel(sql_type = sql_types::BigInt)]
        orders: i64,
    }

    let counted: Counted =
        sql_query("SELECT sweep_orders_being_proven($1) AS orders").bind::<sql_types::Uuid, _>(id).get_result(conn).await?;
    Ok(counted.orders)
}

pub(crate) fn binding(id: Uuid) -> Binding<'static> {
    Binding { owner: KeyOwner::Platform, table: "acme_accounts", row: id, purpose: "credentials" }
}

pub(crate) fn next_binding(id: Uuid) -> Binding<'static> {
    Binding { purpose: "next credentials", ..binding(id) }
}
