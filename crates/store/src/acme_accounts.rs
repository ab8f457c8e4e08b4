//! Our accounts at certificate authorities (RFC 8555 §7.1.2): one that is in use for each directory.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_pki::seal::{Binding, KeyOwner, MasterKeys};

use crate::platform_data_keys::{self, get_or_create_platform_data_key};
use crate::schema::{acme_accounts, platform_data_keys as data_keys};
use crate::{Connection, StoreError};

/// An account at a CA, opened. It implements neither `Debug` nor `Display`: the credentials hold its private key.
pub struct AcmeAccount {
    /// Its identifier.
    pub id: Uuid,
    /// Its URL at the CA: public, and the `kid` of every request.
    pub account_url: String,
    /// What the ACME client signs with, in the client's own form.
    pub credentials: Zeroizing<Vec<u8>>,
}

/// The account in use at the CA with this directory.
pub async fn find_acme_account(
    conn: &mut Connection,
    masters: &MasterKeys,
    directory_url: &str,
) -> Result<Option<AcmeAccount>, StoreError> {
    type Found = ((Uuid, String, Vec<u8>), platform_data_keys::Row);

    // Both in one statement: between two of them it may be sealed anew, and the data key destroyed.
    let row = acme_accounts::table
        .inner_join(data_keys::table.on(data_keys::id.eq(acme_accounts::data_key_id)))
        .filter(acme_accounts::directory_url.eq(directory_url).and(acme_accounts::lost_at.is_null()))
        .select((
            (acme_accounts::id, acme_accounts::account_url, acme_accounts::sealed_credentials),
            (data_keys::id, data_keys::master_key_id, data_keys::wrapped),
        ))
        .first::<Found>(conn)
        .await
        .optional()?;
    let Some(((id, account_url, sealed), data_key)) = row else { return Ok(None) };
    let key = platform_data_keys::unwrap(masters, data_key)?;
    Ok(Some(AcmeAccount { id, account_url, credentials: key.open(&sealed, &binding(id))? }))
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
        .execute(conn)
        .await?;
    Ok(marked == 1)
}

pub(crate) fn binding(id: Uuid) -> Binding<'static> {
    Binding { owner: KeyOwner::Platform, table: "acme_accounts", row: id, purpose: "credentials" }
}
