//! Versions with their keys as PKCS#12, kept sealed: their salts are random, so what is made again would be other bytes (requirements S1.4).

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, KeyVersionId, PfxFileId, VersionId};
use zonecert_pki::pfx::{Encryption, PfxFile};
use zonecert_pki::seal::{Binding, KeyOwner, MasterKeys};

use crate::schema::{data_keys as data_keys_table, key_versions, pfx_files};
use crate::statement::sql_query;
use crate::{Connection, StoreError, data_keys};

/// Files of a version with one encryption that are kept: one for each password. The oldest goes first.
pub const MOST: i64 = 16;

/// A file that is kept.
pub struct KeptPfxFile {
    /// Its identifier, which stands for version, encryption and password.
    pub id: PfxFileId,
    /// The file.
    pub der: Zeroizing<Vec<u8>>,
}

/// The file of this version that was made with this encryption and this password, if there is one.
pub async fn find_pfx_file(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    version: VersionId,
    encryption: Encryption,
    password: &str,
) -> Result<Option<KeptPfxFile>, StoreError> {
    // Both in one statement: between two of them it may be sealed anew, and the data key destroyed.
    let rows = pfx_files::table
        .inner_join(
            data_keys_table::table
                .on(data_keys_table::account_id.eq(pfx_files::account_id).and(data_keys_table::id.eq(pfx_files::data_key_id))),
        )
        .filter(pfx_files::account_id.eq(account.0).and(pfx_files::version_id.eq(version.0)))
        .filter(pfx_files::encryption.eq(encryption.as_str()).and(data_keys_table::wrapped.is_not_null()))
        .order((pfx_files::created_at, pfx_files::id))
        .select((pfx_files::id, pfx_files::sealed, data_keys::columns()))
        .load::<(Uuid, Vec<u8>, data_keys::Row)>(conn)
        .await?;
    for (id, sealed, row) in rows {
        let id = PfxFileId(id);
        let opened = data_keys::unwrap(masters, account, row)?.open(&sealed, &binding(account, id))?;
        if let Some(der) = PfxFile::open(&opened, password) {
            return Ok(Some(KeptPfxFile { id, der }));
        }
    }
    Ok(None)
}

/// Keeps a file. Those of the certificate's other versions with this one of its keys go, and of this one's the oldest beyond [`MOST`]. The transaction must be one to write
/// ([`crate::Store::tenant_write`]), against which whoever destroys the key waits.
///
/// Errors with [`StoreError::NotFound`] when the key was destroyed.
pub async fn insert_pfx_file(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    version: VersionId,
    key_version: KeyVersionId,
    file: &PfxFile,
) -> Result<PfxFileId, StoreError> {
    let id = PfxFileId::new();
    // The key is still there.
    key_versions::table
        .filter(key_versions::account_id.eq(account.0).and(key_versions::id.eq(key_version.0)))
        .filter(key_versions::destroyed_at.is_null())
        .select(key_versions::id)
        .first::<Uuid>(conn)
        .await?;
    let data_key = data_keys::get_current_data_key(conn, masters, account).await?;
    let sealed = data_key.seal(&file.to_bytes(), &binding(account, id))?;
    diesel::insert_into(pfx_files::table)
        .values((
            pfx_files::id.eq(id.0),
            pfx_files::account_id.eq(account.0),
            pfx_files::version_id.eq(version.0),
            pfx_files::key_version_id.eq(key_version.0),
            pfx_files::encryption.eq(file.encryption().as_str()),
            pfx_files::data_key_id.eq(data_key.id()),
            pfx_files::sealed.eq(sealed),
        ))
        .execute(conn)
        .await?;
    sql_query(
        "DELETE FROM pfx_files WHERE account_id = $1 AND (
             version_id IN (SELECT other.id FROM versions AS other JOIN versions AS this ON this.certificate_id = other.certificate_id
                            WHERE this.account_id = $1 AND this.id = $2 AND other.id <> this.id AND other.alternate = this.alternate)
             OR id IN (SELECT id FROM pfx_files WHERE account_id = $1 AND version_id = $2 AND encryption = $3
                       ORDER BY created_at DESC, id DESC OFFSET $4))",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(version.0)
    .bind::<sql_types::Text, _>(file.encryption().as_str())
    .bind::<sql_types::BigInt, _>(MOST)
    .execute(conn)
    .await?;
    Ok(id)
}

pub(crate) fn binding(account: AccountId, row: PfxFileId) -> Binding<'static> {
    Binding { owner: KeyOwner::Account(account.0), table: "pfx_files", row: row.0, purpose: "pfx" }
}
