//! Versions of certificates: immutable once stored.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::certificate::NewestVersion;
use zonecert_domain::id::{AccountId, CertificateId, KeyVersionId, OrderId, VersionId};
use zonecert_pki::chain::{CertificateChain, Details};

use crate::schema::{issuances, orders, versions};
use crate::statement::{PreparedDsl as _, sql_query};
use crate::{Connection, StoreError};

/// A version on record.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its identifier.
    pub id: VersionId,
    /// The material of its key.
    pub key_version: KeyVersionId,
    /// Leaf and chain, PEM.
    pub chain_pem: String,
    /// The end of its validity.
    pub not_after: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Version {
    /// What the state of its certificate follows from.
    pub fn newest(&self) -> NewestVersion {
        NewestVersion { not_after: self.not_after, revoked: self.revoked_at.is_some() }
    }
}

/// Stores a checked chain that an order has brought, under the next number of its certificate. It has the key that its issuance is for.
pub async fn insert_issued_version(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    order: OrderId,
    key_version: KeyVersionId,
    chain: &CertificateChain,
) -> Result<VersionId, StoreError> {
    insert_version(conn, account, certificate, Some(order), key_version, chain).await
}

/// Stores a checked chain that was uploaded, under the next number of its certificate.
pub(crate) async fn insert_uploaded_version(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    key_version: KeyVersionId,
    chain: &CertificateChain,
) -> Result<VersionId, StoreError> {
    insert_version(conn, account, certificate, None, key_version, chain).await
}

async fn insert_version(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    order: Option<OrderId>,
    key_version: KeyVersionId,
    chain: &CertificateChain,
) -> Result<VersionId, StoreError> {
    let id = VersionId::new();
    let last: Option<i32> = versions::table
        .filter(versions::account_id.eq(account.0).and(versions::certificate_id.eq(certificate.0)))
        .select(diesel::dsl::max(versions::number))
        .first(conn)
        .await?;
    let is_alternate: bool = match order {
        Some(order) => {
            orders::table
                .inner_join(issuances::table.on(issuances::id.eq(orders::issuance_id)))
                .filter(orders::account_id.eq(account.0).and(orders::id.eq(order.0)))
                .select(issuances::alternate)
                .first(conn)
                .await?
        }
        None => false,
    };
    let described = Described::of(chain.details().ok().as_ref());
    diesel::insert_into(versions::table)
        .values((
            versions::id.eq(id.0),
            versions::account_id.eq(account.0),
            versions::certificate_id.eq(certificate.0),
            versions::number.eq(last.unwrap_or(0) + 1),
            versions::source.eq(if order.is_some() { "acme" } else { "upload" }),
            versions::order_id.eq(order.map(|order| order.0)),
            versions::key_version_id.eq(key_version.0),
            versions::chain_pem.eq(chain.full_pem()),
            versions::names.eq(chain.dns_names()),
            versions::serial.eq(chain.serial_hex()),
            versions::fingerprint_sha256.eq(chain.sha256_fingerprint_hex()),
            versions::issuer.eq(chain.issuer()),
            versions::subject.eq(chain.subject()),
            versions::not_before.eq(chain.not_before()),
            versions::not_after.eq(chain.not_after()),
            versions::alternate.eq(is_alternate),
            versions::details.eq(described.details),
            versions::fingerprint_sha1.eq(described.fingerprint_sha1),
            versions::side.eq(described.side),
        ))
        .execute(conn)
        .await?;
    Ok(id)
}

/// What stands in a version, for lists and searches.
struct Described {
    /// `null` where it cannot be read.
    details: serde_json::Value,
    fingerprint_sha1: Option<String>,
    side: Option<&'static str>,
}

impl Described {
    fn of(details: Option<&Details>) -> Self {
        Self {
            details: json!(details),
            fingerprint_sha1: details.map(|details| details.sha1_fingerprint_hex.clone()),
            side: details.map(|details| details.side.as_str()),
        }
    }
}

/// Versions of all tenants that were stored without what stands in them, at most `batch`. Runs without a tenant.
pub async fn list_undescribed(conn: &mut Connection, batch: i32) -> Result<Vec<(AccountId, VersionId)>, StoreError> {
    let query = sql_query("SELECT account_id, id FROM sweep_undescribed_versions($1)").bind::<sql_types::Integer, _>(batch);
    query.load_ids(conn, VersionId).await
}

/// Adds to a version what stands in it, as [`insert_issued_version`] does. It may be there already.
pub async fn describe(conn: &mut Connection, account: AccountId, id: VersionId) -> Result<(), StoreError> {
    let chain = get_version(conn, account, id).await?.chain_pem;
    let details = CertificateChain::parse_pem(&chain).and_then(|chain| chain.details()).ok();
    let undescribed =
        versions::table.filter(versions::account_id.eq(account.0).and(versions::id.eq(id.0))).filter(versions::details.is_null());
    let Described { details, fingerprint_sha1, side } = Described::of(details.as_ref());
    diesel::update(undescribed)
        .set((versions::details.eq(details), versions::fingerprint_sha1.eq(fingerprint_sha1), versions::side.eq(side)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether the certificate has had a version for exactly these names: to a CA the next one is a renewal.
pub async fn has_version_for(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    names: &[String],
) -> Result<bool, StoreError> {
    let same = versions::table
        .filter(versions::account_id.eq(account.0).and(versions::certificate_id.eq(certificate.0)))
        .filter(versions::names.contains(names).and(versions::names.is_contained_by(names)));
    Ok(diesel::select(diesel::dsl::exists(same)).get_result(conn).await?)
}

/// A version by its identifier.
pub async fn get_version(conn: &mut Connection, account: AccountId, id: VersionId) -> Result<Version, StoreError> {
    type Row = (Uuid, Uuid, String, DateTime<Utc>, Option<DateTime<Utc>>);

    let (id, key_version, chain_pem, not_after, revoked_at) = versions::table
        .filter(versions::account_id.eq(account.0).and(versions::id.eq(id.0)))
        .select((versions::id, versions::key_version_id, versions::chain_pem, versions::not_after, versions::revoked_at))
        .first::<Row>(conn)
        .await?;
    Ok(Version { id: VersionId(id), key_version: KeyVersionId(key_version), chain_pem, not_after, revoked_at })
}
