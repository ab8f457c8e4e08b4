//! What an API key opens, found and read in one round trip: the tenant, by the key's SHA-256 alone; then what it is a key of, by its name.
//!
//! Everything that is wrong comes to the same: no row (requirements S1.6). No sealed key is read here.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Jsonb, Nullable, Uuid as SqlUuid};
use uuid::Uuid;
use zonecert_domain::id::{ApiKeyId, CertificateId, KeyId, KeyVersionId, VersionId};

use crate::accounts::{self as accounts_of, Account};
use crate::api_keys::Resource;
use crate::schema::{accounts, api_keys, certificates, private_keys, versions};
use crate::tenant_query::TenantQuery;
use crate::{Store, StoreError};

/// An API key that is valid.
#[derive(Clone, Copy, Debug)]
pub struct UsedKey {
    /// Its identifier.
    pub id: ApiKeyId,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Whether it may stand in the URL.
    pub via_url: bool,
}

/// A certificate that an API key opens.
#[derive(Clone, Debug)]
pub struct OpenedCertificate {
    /// Whose it is.
    pub account: Account,
    /// Which it is.
    pub id: CertificateId,
    /// Its API key.
    pub key: UsedKey,
    /// The API key of the private key of the version in use (without one, of the next), where a second key was given and is that.
    pub private_key: Option<UsedKey>,
    /// The version in use and its key, if it is valid.
    pub version: Option<(VersionId, KeyVersionId)>,
}

/// A private key that an API key opens.
#[derive(Clone, Debug)]
pub struct OpenedKey {
    /// Whose it is.
    pub account: Account,
    /// Which it is.
    pub id: KeyId,
    /// Its API key.
    pub key: UsedKey,
    /// The material of the newest valid version of a certificate that uses it. Of a key that was made as a resource, without such a version, its newest.
    pub material: Option<KeyVersionId>,
}

impl OpenedCertificate {
    /// What calls of it are counted for.
    pub fn resource(&self) -> Resource {
        Resource::Certificate(self.id)
    }
}

impl OpenedKey {
    /// What calls of it are counted for.
    pub fn resource(&self) -> Resource {
        Resource::PrivateKey(self.id)
    }
}

#[derive(serde::Deserialize)]
struct SecondKey {
    id: Uuid,
    last_used_at: Option<DateTime<Utc>>,
    via_url: bool,
}

type CertificateRow = (accounts_of::Row, Uuid, Uuid, Option<DateTime<Utc>>, bool, Option<serde_json::Value>, Option<(Uuid, Uuid)>);
type KeyRow = (accounts_of::Row, Uuid, Uuid, Option<DateTime<Utc>>, bool, Option<Uuid>);

/// The certificate with this name, if the first SHA-256 is that of a valid API key of it. The second is that of an API key of its private key; zeros are of
/// none, and are looked for in the same question.
pub async fn find_certificate(
    store: &Store,
    name: &str,
    sha256: &[u8; 32],
    private_key_sha256: &[u8; 32],
) -> Result<Option<OpenedCertificate>, StoreError> {
    let valid = sql::<diesel::sql_types::Bool>("versions.revoked_at IS NULL AND now() <= versions.not_after");
    let second = sql::<Nullable<Jsonb>>(
        "(SELECT jsonb_build_object('id', second.id, 'last_used_at', second.last_used_at, 'via_url', private_keys.api_key_via_url)
          FROM api_keys AS second JOIN private_keys ON private_keys.id = second.private_key_id
          WHERE second.revoked_at IS NULL AND private_keys.deleted_at IS NULL
              AND private_keys.id = coalesce(
                  (SELECT key_versions.private_key_id FROM key_versions WHERE key_versions.id = versions.key_version_id), certificates.private_key_id)
              AND second.key_sha256 = ",
    )
    .bind::<Binary, _>(private_key_sha256.to_vec())
    .sql(")");
    let question = api_keys::table
        .inner_join(certificates::table.on(api_keys::certificate_id.eq(certificates::id.nullable())))
        .inner_join(accounts::table.on(accounts::id.eq(api_keys::account_id)))
        .left_join(versions::table.on(certificates::current_version_id.eq(versions::id.nullable()).and(valid)))
        .filter(api_keys::key_sha256.eq(sha256.to_vec()).and(api_keys::revoked_at.is_null()))
        .filter(certificates::deleted_at.is_null().and(certificates::name.eq(name.to_owned())))
        .filter(accounts::deleted_at.is_null())
        .select((
            accounts_of::COLUMNS,
            certificates::id,
            api_keys::id,
            api_keys::last_used_at,
            certificates::api_key_via_url,
            second,
            (versions::id, versions::key_version_id).nullable(),
        ));
    let rows = store.ask::<CertificateRow, _>(TenantQuery::of_api_key(*sha256, question)).await?;
    let Some((account, id, key, last_used_at, via_url, second, version)) = rows.into_iter().next() else { return Ok(None) };
    let second: Option<SecondKey> = second
        .map(|value| serde_json::from_value(value).map_err(|error| StoreError::corrupt("api_keys", error.to_string())))
        .transpose()?;
    Ok(Some(OpenedCertificate {
        account: accounts_of::from_row(account)?,
        id: CertificateId(id),
        key: UsedKey { id: ApiKeyId(key), last_used_at, via_url },
        private_key: second.map(|SecondKey { id, last_used_at, via_url }| UsedKey { id: ApiKeyId(id), last_used_at, via_url }),
        version: version.map(|(version, key)| (VersionId(version), KeyVersionId(key))),
    }))
}

/// The private key with this name, if this is the SHA-256 of a valid API key of it.
pub async fn find_private_key(store: &Store, name: &str, sha256: &[u8; 32]) -> Result<Option<OpenedKey>, StoreError> {
    let question = api_keys::table
        .inner_join(private_keys::table.on(api_keys::private_key_id.eq(private_keys::id.nullable())))
        .inner_join(accounts::table.on(accounts::id.eq(api_keys::account_id)))
        .filter(api_keys::key_sha256.eq(sha256.to_vec()).and(api_keys::revoked_at.is_null()))
        .filter(private_keys::deleted_at.is_null().and(private_keys::name.eq(name.to_owned())))
        .filter(accounts::deleted_at.is_null())
        .select((accounts_of::COLUMNS, private_keys::id, api_keys::id, api_keys::last_used_at, private_keys::api_key_via_url, material()));
    let rows = store.ask::<KeyRow, _>(TenantQuery::of_api_key(*sha256, question)).await?;
    let Some((account, id, key, last_used_at, via_url, material)) = rows.into_iter().next() else { return Ok(None) };
    Ok(Some(OpenedKey {
        account: accounts_of::from_row(account)?,
        id: KeyId(id),
        key: UsedKey { id: ApiKeyId(key), last_used_at, via_url },
        material: material.map(KeyVersionId),
    }))
}

/// A key that is made for the next version is not handed out before that is there: it would not fit what is in use. 1 is `keyCompromise` (RFC 5280 §5.3.1).
fn material() -> SqlLiteral<Nullable<SqlUuid>> {
    sql("coalesce(
        (SELECT key_versions.id FROM key_versions
             JOIN versions ON versions.key_version_id = key_versions.id
             JOIN certificates ON certificates.id = versions.certificate_id AND (certificates.current_version_id = versions.id
                 OR EXISTS (SELECT FROM alternates WHERE alternates.certificate_id = certificates.id AND alternates.version_id = versions.id))
         WHERE key_versions.private_key_id = private_keys.id AND key_versions.destroyed_at IS NULL
             AND versions.revoked_at IS NULL AND now() <= versions.not_after AND certificates.deleted_at IS NULL
         ORDER BY versions.created_at DESC LIMIT 1),
        (SELECT key_versions.id FROM key_versions
         WHERE private_keys.is_resource AND key_versions.private_key_id = private_keys.id AND key_versions.destroyed_at IS NULL
             AND NOT EXISTS (SELECT FROM revocations JOIN orders ON orders.id = revocations.order_id
                             WHERE orders.key_version_id = key_versions.id AND revocations.reason = 1)
         ORDER BY key_versions.created_at DESC LIMIT 1))")
}
