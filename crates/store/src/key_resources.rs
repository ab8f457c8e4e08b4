//! Private keys as customers see them: named, shared, changed and deleted (requirements S0.4). Never their material, which is [`crate::private_keys`]' matter.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{self, Array, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, CertificateId, KeyId};
use zonecert_domain::key::KeyAlgorithm;

use crate::schema::{alternates, certificates, private_keys};
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// The constraint that keeps names of private keys unique within an account.
pub const NAME_KEY: &str = "private_keys_account_id_name_key";

/// A private key, without its material.
#[derive(Clone, Debug)]
pub struct KeyResource {
    /// Its identifier.
    pub id: KeyId,
    /// Unique per account and safe in a URL.
    pub name: String,
    /// Its algorithm, or that of its next material.
    pub algorithm: KeyAlgorithm,
    /// Whether its API keys may stand in the URL.
    pub api_key_via_url: bool,
    /// Made as a resource of its own, and not for a certificate: it stays when certificates go.
    pub is_resource: bool,
    /// The certificates that use it, oldest first.
    pub certificates: Vec<CertificateId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl KeyResource {
    /// Whether it stays the same for more than one certificate: then nobody's renewal may rotate it (requirements X19).
    pub fn is_shared(&self) -> bool {
        self.is_resource || self.certificates.len() > 1
    }
}

/// What is to change; what is none stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// How it is called.
    pub name: Option<&'a str>,
    /// Whether its API keys may stand in the URL.
    pub api_key_via_url: Option<bool>,
}

type Row = (Uuid, String, String, bool, bool, DateTime<Utc>, Vec<Uuid>);

fn from_row((id, name, algorithm, api_key_via_url, is_resource, created_at, certificates): Row) -> Result<KeyResource, StoreError> {
    let algorithm = KeyAlgorithm::parse(&algorithm).ok_or_else(|| StoreError::corrupt("private_keys.algorithm", algorithm))?;
    let certificates = certificates.into_iter().map(CertificateId).collect();
    Ok(KeyResource { id: KeyId(id), name, algorithm, api_key_via_url, is_resource, certificates, created_at })
}

#[diesel::dsl::auto_type]
fn query(account: AccountId) -> _ {
    let account: Uuid = account.0;
    let used_by: SqlLiteral<Array<SqlUuid>> = sql("ARRAY(SELECT certificates.id FROM certificates
        WHERE (certificates.private_key_id = private_keys.id
                OR EXISTS (SELECT FROM alternates WHERE alternates.certificate_id = certificates.id AND alternates.private_key_id = private_keys.id))
            AND certificates.deleted_at IS NULL ORDER BY certificates.created_at, certificates.id)");
    private_keys::table.filter(private_keys::account_id.eq(account)).filter(private_keys::deleted_at.is_null()).select((
        private_keys::id,
        private_keys::name,
        private_keys::algorithm,
        private_keys::api_key_via_url,
        private_keys::is_resource,
        private_keys::created_at,
        used_by,
    ))
}

/// The account's keys by name, those behind `after`, at most `limit`.
pub async fn list_keys(conn: &mut Connection, account: AccountId, after: Option<&str>, limit: i64) -> Result<Vec<KeyResource>, StoreError> {
    let mut keys = query(account).order(private_keys::name).limit(limit).into_boxed();
    if let Some(after) = after {
        keys = keys.filter(private_keys::name.gt(after.to_owned()));
    }
    keys.load::<Row>(conn).await?.into_iter().map(from_row).collect()
}

/// A key that was not deleted.
pub async fn get_key(conn: &mut Connection, account: AccountId, id: KeyId) -> Result<KeyResource, StoreError> {
    from_row(query(account).filter(private_keys::id.eq(id.0)).first::<Row>(conn).await?)
}

/// How many keys the account has that were made as resources.
pub async fn count_resources(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    let keys = private_keys::table
        .filter(private_keys::account_id.eq(account.0).and(private_keys::deleted_at.is_null()).and(private_keys::is_resource));
    Ok(keys.count().get_result(conn).await?)
}

/// Whether a key of the account has this name.
pub async fn has_name(conn: &mut Connection, account: AccountId, name: &str) -> Result<bool, StoreError> {
    let named = private_keys::table
        .filter(private_keys::account_id.eq(account.0).and(private_keys::deleted_at.is_null()).and(private_keys::name.eq(name)));
    Ok(diesel::select(diesel::dsl::exists(named)).get_result(conn).await?)
}

/// Adds a key that is a resource of its own. Its material is [`crate::private_keys::insert_key_version`]'s.
///
/// Errors with the constraint [`NAME_KEY`] when another key has the name.
pub async fn insert_key(conn: &mut Connection, account: AccountId, name: &str, algorithm: KeyAlgorithm) -> Result<KeyId, StoreError> {
    let id = KeyId::new();
    diesel::insert_into(private_keys::table)
        .values((
            private_keys::id.eq(id.0),
            private_keys::account_id.eq(account.0),
            private_keys::name.eq(name),
            private_keys::algorithm.eq(algorithm.as_str()),
            private_keys::is_resource.eq(true),
        ))
        .execute(conn)
        .await?;
    Ok(id)
}

/// Changes a key. Errors with the constraint [`NAME_KEY`] when another has the name.
pub async fn change_key(conn: &mut Connection, account: AccountId, id: KeyId, change: &Change<'_>) -> Result<(), StoreError> {
    let Change { name, api_key_via_url } = *change;
    if name.is_none() && api_key_via_url.is_none() {
        return Ok(());
    }
    let undeleted = private_keys::table
        .filter(private_keys::account_id.eq(account.0).and(private_keys::id.eq(id.0)).and(private_keys::deleted_at.is_null()));
    let changed = diesel::update(undeleted)
        .set((name.map(|name| private_keys::name.eq(name)), api_key_via_url.map(|allowed| private_keys::api_key_via_url.eq(allowed))))
        .execute(conn)
        .await?;
    if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Has a certificate use this key from its next version on, and keep it, as all others do from now on that use it: what is shared is rotated by nobody's renewal
/// (requirements X19). The key must be of the account and not deleted. Returns which others were to rotate it.
pub async fn use_key(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    key: &KeyResource,
) -> Result<Vec<CertificateId>, StoreError> {
    let undeleted = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)).and(certificates::deleted_at.is_null()));
    let changed = diesel::update(undeleted)
        .set((
            certificates::private_key_id.eq(key.id.0),
            certificates::key_algorithm.eq(key.algorithm.as_str()),
            certificates::key_policy.eq("keep"),
            certificates::updated_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .await?;
    if changed == 0 { Err(StoreError::NotFound) } else { keep_key(conn, account, key.id).await }
}

/// The certificates that use this private key keep it from now on: whoever fetches key and certificate apart must not get halves of two pairs
/// (requirements X19). Returns which were to rotate it.
pub async fn keep_key(conn: &mut Connection, account: AccountId, key: KeyId) -> Result<Vec<CertificateId>, StoreError> {
    let with_other_key = alternates::table.filter(alternates::private_key_id.eq(key.0)).select(alternates::certificate_id);
    let rotating = certificates::table
        .filter(certificates::account_id.eq(account.0))
        .filter(certificates::private_key_id.eq(key.0).or(certificates::id.eq_any(with_other_key)))
        .filter(certificates::deleted_at.is_null().and(certificates::key_policy.eq("rotate")));
    let kept = diesel::update(rotating)
        .set((certificates::key_policy.eq("keep"), certificates::updated_at.eq(diesel::dsl::now)))
        .returning(certificates::id);
    Ok(kept.get_results::<Uuid>(conn).await?.into_iter().map(CertificateId).collect())
}

/// Deletes a key that nothing uses, and destroys its material. The transaction must be one to write. Returns whether it was unused: by a certificate, a version of
/// one that is in use or still valid, an order that is under way, or a revocation that the CA has not confirmed.
pub async fn delete_unused_key(conn: &mut Connection, account: AccountId, id: KeyId) -> Result<bool, StoreError> {
    let deleted = sql_query(
        "UPDATE private_keys SET deleted_at = now() WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL
             AND NOT EXISTS (SELECT FROM certificates WHERE account_id = $1 AND private_key_id = $2 AND deleted_at IS NULL)
             AND NOT EXISTS (SELECT FROM alternates JOIN certificates ON certificates.id = alternates.certificate_id
                             WHERE alternates.account_id = $1 AND alternates.private_key_id = $2 AND certificates.deleted_at IS NULL)
             AND NOT EXISTS (SELECT FROM key_versions AS used WHERE used.account_id = $1 AND used.private_key_id = $2 AND (
                 EXISTS (SELECT FROM versions JOIN certificates ON certificates.id = versions.certificate_id
                         WHERE versions.account_id = $1 AND versions.key_version_id = used.id AND certificates.deleted_at IS NULL
                             AND (certificates.current_version_id = versions.id OR versions.revoked_at IS NULL AND now() <= versions.not_after))
                 OR EXISTS (SELECT FROM orders WHERE account_id = $1 AND key_version_id = used.id AND finished_at IS NULL)
                 OR EXISTS (SELECT FROM revocations JOIN orders ON orders.id = revocations.order_id
                            WHERE revocations.account_id = $1 AND revocations.status = 'active' AND orders.key_version_id = used.id)))",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(id.0)
    .execute(conn)
    .await?;
    if deleted == 0 {
        return Ok(false);
    }
    sql_query("UPDATE key_versions SET sealed = NULL, destroyed_at = now() WHERE account_id = $1 AND private_key_id = $2 AND destroyed_at IS NULL")
        .bind::<sql_types::Uuid, _>(account.0)
        .bind::<sql_types::Uuid, _>(id.0)
        .execute(conn)
        .await?;
    Ok(true)
}
