//! Private keys as resources, and the generations of their material.

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, CertificateId, KeyId, KeyVersionId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::revocation::RevocationReason;
use zonecert_pki::seal::{Binding, KeyOwner, MasterKeys};

use crate::issuances::Issuance;
use crate::schema::{certificates, data_keys as data_keys_table, key_versions, orders, private_keys, revocations};
use crate::statement::{PreparedDsl as _, sql_query};
use crate::{Connection, StoreError, alternates, data_keys};

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
    let id = insert_named(conn, account, &name, number, &algorithm).await?;
    diesel::update(certificates::table.filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0))))
        .set(certificates::private_key_id.eq(id.0))
        .prepared()
        .execute(conn)
        .await?;
    Ok(id)
}

async fn insert_named(conn: &mut Connection, account: AccountId, name: &str, number: i32, algorithm: &str) -> Result<KeyId, StoreError> {
    let id = KeyId::new();
    // The certificate's number makes the second name unique among keys that are made for certificates, the identifier the third among all.
    for name in [name.to_owned(), format!("{name}-{number}"), format!("{name}-{}", id.0.simple())] {
        let inserted = diesel::insert_into(private_keys::table)
            .values((
                private_keys::id.eq(id.0),
                private_keys::account_id.eq(account.0),
                private_keys::name.eq(name),
                private_keys::algorithm.eq(algorithm),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
        if inserted == 1 {
            return Ok(id);
        }
    }
    Err(StoreError::Constraint("private_keys_account_id_name_key".to_owned()))
}

/// The key that an issuance is for: the certificate's own, or the other one of a dual certificate.
pub async fn get_or_insert_issuance_key(conn: &mut Connection, account: AccountId, issuance: &Issuance) -> Result<KeyId, StoreError> {
    if issuance.alternate {
        alternates::get_key(conn, account, issuance.certificate).await
    } else {
        get_or_insert_certificate_key(conn, account, issuance.certificate).await
    }
}

/// Makes another key for a certificate, named like it with the key's type.
pub(crate) async fn insert_alternate_key(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    algorithm: KeyAlgorithm,
) -> Result<KeyId, StoreError> {
    let (name, number) = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)))
        .select((certificates::name, certificates::number))
        .first::<(String, i32)>(conn)
        .await?;
    insert_named(conn, account, &format!("{name}-{}", algorithm.key_type()), number, algorithm.as_str()).await
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

/// The newest material of a key, for one that is kept across renewals. What was destroyed is none, and neither is what somebody wished to have
/// revoked because others may have it.
pub async fn find_newest_key_version(conn: &mut Connection, account: AccountId, key: KeyId) -> Result<Option<KeyVersionId>, StoreError> {
    let compromised = revocations::table
        .inner_join(orders::table.on(orders::account_id.eq(revocations::account_id).and(orders::id.eq(revocations::order_id))))
        .filter(revocations::account_id.eq(account.0).and(orders::key_version_id.eq(key_versions::id.nullable())))
        .filter(revocations::reason.eq(i32::from(RevocationReason::KeyCompromise.number())));
    let id = key_versions::table
        .filter(key_versions::account_id.eq(account.0).and(key_versions::private_key_id.eq(key.0)))
        .filter(key_versions::destroyed_at.is_null().and(not(exists(compromised))))
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
    // Both in one statement: between two of them it may be sealed anew, and the data key destroyed.
    let (sealed, row) = key_versions::table
        .inner_join(
            data_keys_table::table
                .on(data_keys_table::account_id.eq(key_versions::account_id).and(data_keys_table::id.eq(key_versions::data_key_id))),
        )
        .filter(key_versions::account_id.eq(account.0).and(key_versions::id.eq(id.0)))
        .filter(key_versions::sealed.is_not_null().and(data_keys_table::wrapped.is_not_null()))
        .select((key_versions::sealed.assume_not_null(), data_keys::columns()))
        .first::<(Vec<u8>, data_keys::Row)>(conn)
        .await?;
    Ok(data_keys::unwrap(masters, account, row)?.open(&sealed, &binding(account, id))?)
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

/// Destroys the material of a deleted certificate's keys, and frees the names of keys that nothing is left of (requirements X8).
///
/// A key that was made as a resource stays. What is still needed stays as well: by a version or as the key of a certificate that was not deleted, by an order that is under way, or for a
/// revocation that the CA has not confirmed. So this can be called whenever one of these has ended, and be repeated. Returns how many were destroyed.
pub async fn destroy_unused(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<usize, StoreError> {
    let destroyed = sql_query(
        "UPDATE key_versions SET sealed = NULL, destroyed_at = now()
         WHERE account_id = $1 AND destroyed_at IS NULL
             AND id IN (SELECT key_version_id FROM versions WHERE account_id = $1 AND certificate_id = $2
                        UNION SELECT key_version_id FROM orders WHERE account_id = $1 AND certificate_id = $2)
             AND NOT EXISTS (SELECT FROM private_keys WHERE account_id = $1 AND id = key_versions.private_key_id AND is_resource AND deleted_at IS NULL)
             AND NOT EXISTS (SELECT FROM certificates WHERE account_id = $1 AND private_key_id = key_versions.private_key_id AND deleted_at IS NULL)
             AND NOT EXISTS (SELECT FROM alternates JOIN certificates ON certificates.id = alternates.certificate_id
                             WHERE alternates.account_id = $1 AND alternates.private_key_id = key_versions.private_key_id AND certificates.deleted_at IS NULL)
             AND NOT EXISTS (SELECT FROM versions JOIN certificates ON certificates.id = versions.certificate_id
                             WHERE versions.account_id = $1 AND versions.key_version_id = key_versions.id AND certificates.deleted_at IS NULL)
             AND NOT EXISTS (SELECT FROM orders WHERE account_id = $1 AND key_version_id = key_versions.id AND finished_at IS NULL)
             AND NOT EXISTS (SELECT FROM revocations JOIN orders ON orders.id = revocations.order_id
                             WHERE revocations.account_id = $1 AND revocations.status = 'active' AND orders.key_version_id = key_versions.id)",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(certificate.0)
    .execute(conn)
    .await?;
    sql_query(
        "UPDATE private_keys SET deleted_at = now()
         WHERE account_id = $1 AND deleted_at IS NULL AND NOT is_resource
             AND EXISTS (SELECT FROM certificates WHERE account_id = $1 AND id = $2 AND deleted_at IS NOT NULL)
             AND (id = (SELECT private_key_id FROM certificates WHERE account_id = $1 AND id = $2)
                  OR id = (SELECT private_key_id FROM alternates WHERE account_id = $1 AND certificate_id = $2)
                  OR id IN (SELECT key_versions.private_key_id FROM versions JOIN key_versions ON key_versions.id = versions.key_version_id
                            WHERE versions.account_id = $1 AND versions.certificate_id = $2))
             AND NOT EXISTS (SELECT FROM certificates WHERE account_id = $1 AND private_key_id = private_keys.id AND deleted_at IS NULL)
             AND NOT EXISTS (SELECT FROM alternates JOIN certificates ON certificates.id = alternates.certificate_id
                             WHERE alternates.account_id = $1 AND alternates.private_key_id = private_keys.id AND certificates.deleted_at IS NULL)
             AND NOT EXISTS (SELECT FROM key_versions WHERE account_id = $1 AND private_key_id = private_keys.id AND destroyed_at IS NULL)",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(certificate.0)
    .execute(conn)
    .await?;
    Ok(destroyed)
}

pub(crate) fn binding(account: AccountId, row: KeyVersionId) -> Binding<'static> {
    Binding { owner: KeyOwner::Account(account.0), table: "key_versions", row: row.0, purpose: "private_key" }
}
