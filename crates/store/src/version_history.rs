//! The versions of a certificate, as people see them (requirements S0.8, X5).

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Jsonb, Nullable};
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, CertificateId, KeyId, KeyVersionId, OrderId, VersionId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::revocation::RevocationReason;
use zonecert_pki::CertificateChain;
use zonecert_pki::chain::Details;

use crate::certificates::{RequestedRevocation, read_revocation};
use crate::schema::{certificates, key_versions, orders, versions};
use crate::versions_in_use::{UNWANTED, Usable};
use crate::{Connection, StoreError};

/// A version on record.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own about the version")]
pub struct RecordedVersion {
    /// Its identifier.
    pub id: VersionId,
    /// Counted for the certificate from 1.
    pub number: i32,
    /// `acme`, or `upload` for one that was not ordered.
    pub source: String,
    /// The order that brought it.
    pub order: Option<OrderId>,
    /// The directory of the CA that was asked for it.
    pub directory_url: Option<String>,
    /// Its key as a resource.
    pub key: KeyId,
    /// The material of its key.
    pub key_version: KeyVersionId,
    /// Algorithm and size of its key; none of those that are offered for some that were uploaded.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// What it says beside names and validity; none where it cannot be read.
    pub details: Option<Details>,
    /// The DNS names in it.
    pub names: Vec<String>,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the leaf in DER, hexadecimal.
    pub fingerprint_sha256: String,
    /// Who issued it.
    pub issuer: String,
    /// Whom it names as its holder; often empty.
    pub subject: String,
    /// The first moment of its validity.
    pub not_before: DateTime<Utc>,
    /// The last.
    pub not_after: DateTime<Utc>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When the CA revoked it.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Why.
    pub revocation_reason: Option<RevocationReason>,
    /// The latest wish to have it revoked.
    pub revocation: Option<RequestedRevocation>,
    /// Whether it has the other key of a dual certificate.
    pub is_alternate: bool,
    /// Whether it is the one in use, of those with the same one of the two keys.
    pub is_current: bool,
    /// Whether it was not revoked and is not past its end, by the database's clock when this was read.
    pub is_valid: bool,
    /// Whether somebody wished to have it revoked, or another with the same key because others may have that.
    pub is_unwanted: bool,
}

impl RecordedVersion {
    /// What putting it in use needs.
    pub fn usable(&self) -> Usable {
        Usable { id: self.id, issued_at: self.created_at, not_after: self.not_after, alternate: self.is_alternate }
    }
}

/// Where a page of versions begins: behind the one with this number, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number.
    pub number: i32,
}

/// The versions of a certificate, newest first, those behind `after`, at most `limit`.
pub async fn list_versions(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<RecordedVersion>, StoreError> {
    let behind = after.map_or(i32::MAX, |after| after.number);
    let rows = query(account, certificate)
        .filter(versions::number.lt(behind))
        .order(versions::number.desc())
        .limit(limit)
        .load::<Row>(conn)
        .await?;
    rows.into_iter().map(Row::into_version).collect()
}

/// A version of a certificate that was not deleted.
pub async fn get_version(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    id: VersionId,
) -> Result<RecordedVersion, StoreError> {
    query(account, certificate).filter(versions::id.eq(id.0)).first::<Row>(conn).await?.into_version()
}

#[derive(Queryable)]
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own about the row")]
struct Row {
    id: Uuid,
    number: i32,
    source: String,
    order_id: Option<Uuid>,
    directory_url: Option<String>,
    private_key_id: Uuid,
    key_version_id: Uuid,
    chain_pem: String,
    names: Vec<String>,
    serial: String,
    fingerprint_sha256: String,
    issuer: String,
    subject: String,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
    created_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    revocation_reason: Option<i32>,
    revocation: Option<serde_json::Value>,
    is_alternate: bool,
    is_current: bool,
    is_valid: bool,
    is_unwanted: bool,
}

#[diesel::dsl::auto_type]
fn query(account: AccountId, certificate: CertificateId) -> _ {
    let (account, certificate): (Uuid, Uuid) = (account.0, certificate.0);
    let revocation: SqlLiteral<Nullable<Jsonb>> = sql("(SELECT
            jsonb_build_object('requested_at', revocations.created_at, 'reason', revocations.reason, 'status', revocations.status)
        FROM revocations WHERE revocations.certificate_id = versions.certificate_id AND revocations.version_id = versions.id
        ORDER BY revocations.created_at DESC LIMIT 1)");
    let is_current: SqlLiteral<Bool> = sql("(coalesce(certificates.current_version_id = versions.id, false)
        OR EXISTS (SELECT FROM alternates WHERE alternates.certificate_id = certificates.id AND alternates.version_id = versions.id))");
    let is_valid: SqlLiteral<Bool> = sql("(versions.revoked_at IS NULL AND now() <= versions.not_after)");
    let is_unwanted: SqlLiteral<Bool> = sql(UNWANTED);
    versions::table
        .inner_join(certificates::table.on(certificates::id.eq(versions::certificate_id)))
        .inner_join(key_versions::table.on(key_versions::id.eq(versions::key_version_id)))
        .left_join(orders::table.on(versions::order_id.eq(orders::id.nullable())))
        .filter(versions::account_id.eq(account).and(versions::certificate_id.eq(certificate)))
        .filter(certificates::deleted_at.is_null())
        .select((
            versions::id,
            versions::number,
            versions::source,
            versions::order_id,
            orders::directory_url.nullable(),
            key_versions::private_key_id,
            versions::key_version_id,
            versions::chain_pem,
            versions::names,
            versions::serial,
            versions::fingerprint_sha256,
            versions::issuer,
            versions::subject,
            versions::not_before,
            versions::not_after,
            versions::created_at,
            versions::revoked_at,
            versions::revocation_reason,
            revocation,
            versions::alternate,
            is_current,
            is_valid,
            is_unwanted,
        ))
}

impl Row {
    fn into_version(self) -> Result<RecordedVersion, StoreError> {
        let reason = |number: i32| {
            RevocationReason::from_number(number).ok_or_else(|| StoreError::corrupt("versions.revocation_reason", number.to_string()))
        };
        let chain = CertificateChain::parse_pem(&self.chain_pem).ok();
        Ok(RecordedVersion {
            id: VersionId(self.id),
            number: self.number,
            source: self.source,
            order: self.order_id.map(OrderId),
            directory_url: self.directory_url,
            key: KeyId(self.private_key_id),
            key_version: KeyVersionId(self.key_version_id),
            key_algorithm: chain.as_ref().and_then(CertificateChain::key_algorithm),
            details: chain.and_then(|chain| chain.details().ok()),
            names: self.names,
            serial: self.serial,
            fingerprint_sha256: self.fingerprint_sha256,
            issuer: self.issuer,
            subject: self.subject,
            not_before: self.not_before,
            not_after: self.not_after,
            created_at: self.created_at,
            revoked_at: self.revoked_at,
            revocation_reason: self.revocation_reason.map(reason).transpose()?,
            revocation: self.revocation.map(read_revocation).transpose()?,
            is_alternate: self.is_alternate,
            is_current: self.is_current,
            is_valid: self.is_valid,
            is_unwanted: self.is_unwanted,
        })
    }
}
