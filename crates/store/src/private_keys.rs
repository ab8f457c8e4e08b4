//! Private keys as resources, and the generations of their material.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, CertificateId, KeyId, KeyVersionId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::seal::{Binding, KeyOwner, MasterKeys};

use crate::schema::{certificates, key_versions, private_keys};
use crate::{Connection, StoreError, data_keys};

/// The key of a certificate; made and named like the certificate where there is none yet (requirements S0.4).
pub async fn get_or_insert_certificate_key(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
) -> Result<KeyId, StoreError> {
    let (existing, name, number, algorithm) = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)))
        .select((certificates::private_key_id, certificates::name, certificates::number, certificates::key_algorithm))
        .first::<(Option<Uuid>, String, i32, String)>(conn)
        .await?;
    if let Some(existing) = existing {
        return Ok(KeyId(existing));
    }
    let id = KeyId::new();
    // The certificate's number makes the second name unique: no other certificate of the account ever has it.
    for name in [name.clone(), format!("{name}-{number}")] {
        let inserted = diesel::insert_into(private_keys::table)
            .values((
                private_keys::id.eq(id.0),
                private_keys::account_id.eq(account.0),
                private_keys::name.eq(name),
                private_keys::algorithm.eq(&algorithm),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
        if inserted == 1 {
            diesel::update(certificates::table.filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0))))
                .set(certificates::private_key_id.eq(id.0))
                .execute(conn)
                .await?;
            return Ok(id);
        }
    }
    Err(StoreError::Constraint("private_keys_account_id_name_key".to_owned()))
}

/// Stores new material of a key, sealed under the account's data key.
pub async fn insert_key_version(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    key: KeyId,
    pkcs8_der: &[u8],
    public_key_sha256: [u8; 32],
) -> Result<KeyVersionId, StoreError> {
    let id = KeyVersionId::new();
    let data_key = data_keys::get_current_data_key(conn, masters, account).await?;
    let sealed = data_key.seal(pkcs8_der, &binding(account, id))?;
    diesel::insert_into(key_versions::table)
        .values((
            key_versions::id.eq(id.0),
            key_versions::account_id.eq(account.0),
            key_versions::private_key_id.eq(key.0),
            key_versions::data_key_id.eq(data_key.id()),
            key_versions::sealed.eq(sealed),
            key_versions::public_key_sha256.eq(public_key_sha256.to_vec()),
        ))
        .execute(conn)
        .await?;
    Ok(id)
}

/// The newest material of a key that was made with this algorithm and not destroyed, for a key that is kept across renewals.
pub async fn find_newest_key_version(
    conn: &mut Connection,
    account: AccountId,
    key: KeyId,
    algorithm: KeyAlgorithm,
) -> Result<Option<KeyVersionId>, StoreError> {
    let id = key_versions::table
        .inner_join(private_keys::table.on(private_keys::id.eq(key_versions::private_key_id)))
        .filter(key_versions::account_id.eq(account.0).and(key_versions::private_key_id.eq(key.0)))
        .filter(private_keys::algorithm.eq(algorithm.as_str()).and(key_versions::destroyed_at.is_null()))
        .order(key_versions::created_at.desc())
        .select(key_versions::id)
        .first::<Uuid>(conn)
        .await
        .optional()?;
    Ok(id.map(KeyVersionId))
}

/// Opens the material of a key: PKCS#8 in DER. Errors with [`StoreError::NotFound`] when it was destroyed.
pub async fn open_key_version(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    id: KeyVersionId,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let (data_key_id, sealed) = key_versions::table
        .filter(key_versions::account_id.eq(account.0).and(key_versions::id.eq(id.0)))
        .select((key_versions::data_key_id, key_versions::sealed))
        .first::<(Uuid, Option<Vec<u8>>)>(conn)
        .await?;
    let sealed = sealed.ok_or(StoreError::NotFound)?;
    let data_key = data_keys::get_data_key(conn, masters, account, data_key_id).await?;
    Ok(data_key.open(&sealed, &binding(account, id))?)
}

/// The SHA-256 of the public key (its `SubjectPublicKeyInfo` in DER) that belongs to this material.
pub async fn get_public_key_sha256(conn: &mut Connection, account: AccountId, id: KeyVersionId) -> Result<[u8; 32], StoreError> {
    let hash = key_versions::table
        .filter(key_versions::account_id.eq(account.0).and(key_versions::id.eq(id.0)))
        .select(key_versions::public_key_sha256)
        .first::<Vec<u8>>(conn)
        .await?;
    hash.try_into().map_err(|hash: Vec<u8>| StoreError::corrupt("key_versions.public_key_sha256", format!("{} bytes", hash.len())))
}

fn binding(account: AccountId, row: KeyVersionId) -> Binding<'static> {
    Binding { owner: KeyOwner::Account(account.0), table: "key_versions", row: row.0, purpose: "private_key" }
}
