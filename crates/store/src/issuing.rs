//! A certificate as its issuance sees it: what is asked for, whether that still stands, and what becomes of its state.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::certificate::{CertificateFacts, LiveIssuance, NewestVersion};
use zonecert_domain::id::{AccountId, CertificateId, VersionId};
use zonecert_domain::key::KeyAlgorithm;

use crate::accounts::{self, Account};
use crate::certificates::KeyPolicy;
use crate::issuances::database_now;
use crate::schema::{certificate_names, certificates, versions, zones};
use crate::{Connection, StoreError};

/// What an issuance is asked for.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The tenant, with its plan as it is now.
    pub account: Account,
    /// Name of the zone.
    pub zone: String,
    /// Whether the zone is still the account's and proven.
    pub zone_verified: bool,
    /// Every name, the domain first.
    pub names: Vec<String>,
    /// `production` or `staging`: which of the CA's directories.
    pub environment: Environment,
    /// The algorithm of a new key.
    pub key_algorithm: KeyAlgorithm,
    /// Whether the key is kept from one version to the next.
    pub key_policy: KeyPolicy,
    /// Whether renewal by itself is wished.
    pub auto_renew: bool,
    /// Whether the certificate was deleted.
    pub deleted: bool,
}

/// Which of a CA's directories (requirements S3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Environment {
    /// Trusted by everybody.
    Production,
    /// For trying things out.
    Staging,
}

impl Environment {
    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Production, Self::Staging].into_iter().find(|environment| environment.as_str() == text)
    }
}

/// What an issuance of this certificate is asked for, now.
pub async fn get_subject(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<Subject, StoreError> {
    type Row = (String, String, String, bool, Option<DateTime<Utc>>, String, String, Option<DateTime<Utc>>);

    let (environment, key_algorithm, key_policy, auto_renew, deleted_at, zone, zone_status, zone_deleted_at) = certificates::table
        .inner_join(zones::table.on(zones::account_id.eq(certificates::account_id).and(zones::id.nullable().eq(certificates::zone_id))))
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)))
        .select((
            certificates::environment,
            certificates::key_algorithm,
            certificates::key_policy,
            certificates::auto_renew,
            certificates::deleted_at,
            zones::name,
            zones::status,
            zones::deleted_at,
        ))
        .first::<Row>(conn)
        .await?;
    let names = certificate_names::table
        .filter(certificate_names::account_id.eq(account.0).and(certificate_names::certificate_id.eq(certificate.0)))
        .order(certificate_names::position)
        .select(certificate_names::name)
        .load(conn)
        .await?;
    Ok(Subject {
        account: accounts::get_account(conn, account).await?,
        zone,
        zone_verified: zone_status == "verified" && zone_deleted_at.is_none(),
        names,
        environment: Environment::parse(&environment).ok_or_else(|| StoreError::corrupt("certificates.environment", environment))?,
        key_algorithm: KeyAlgorithm::parse(&key_algorithm)
            .ok_or_else(|| StoreError::corrupt("certificates.key_algorithm", key_algorithm))?,
        key_policy: KeyPolicy::parse(&key_policy).ok_or_else(|| StoreError::corrupt("certificates.key_policy", key_policy))?,
        auto_renew,
        deleted: deleted_at.is_some(),
    })
}

/// What has become of the live issuance of a certificate.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An order of it is under way.
    Running,
    /// An attempt failed; another one will be made. Holds what people are shown.
    Waiting(serde_json::Value),
    /// It failed for good. Holds what people are shown.
    Failed(serde_json::Value),
    /// It was cancelled.
    Cancelled,
}

/// Stores the state that follows for the certificate.
pub async fn record_outcome(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    outcome: Outcome,
) -> Result<(), StoreError> {
    let newest = find_current(conn, account, certificate).await?;
    let (issuance, last_issuance_failed, last_error) = match outcome {
        Outcome::Running => (LiveIssuance::Running, false, None),
        Outcome::Waiting(error) => (LiveIssuance::Waiting, false, Some(error)),
        Outcome::Failed(error) => (LiveIssuance::None, true, Some(error)),
        Outcome::Cancelled => (LiveIssuance::None, true, None),
    };
    let status = CertificateFacts { issuance, version: newest, last_issuance_failed }.status(database_now(conn).await?);
    diesel::update(certificates::table.filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0))))
        .set((
            certificates::status.eq(status.as_str()),
            last_error.map(|error| certificates::last_error.eq(error)),
            certificates::updated_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// A version that has just been stored becomes the certificate's current one, and its issuance is over.
#[derive(Clone, Copy, Debug)]
pub struct Issued {
    /// The version.
    pub version: VersionId,
    /// The end of its validity.
    pub not_after: DateTime<Utc>,
    /// When it will renew by itself; none where that is not wished or the plan forbids it.
    pub next_renewal_at: Option<DateTime<Utc>>,
}

/// Stores the state of a certificate that has been issued.
pub async fn record_issued(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    issued: Issued,
) -> Result<(), StoreError> {
    let now = database_now(conn).await?;
    let version = Some(NewestVersion { not_after: issued.not_after, revoked: false });
    let status = CertificateFacts { issuance: LiveIssuance::None, version, last_issuance_failed: false }.status(now);
    diesel::update(certificates::table.filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0))))
        .set((
            certificates::status.eq(status.as_str()),
            certificates::current_version_id.eq(issued.version.0),
            certificates::issued_at.eq(now),
            certificates::expires_at.eq(issued.not_after),
            certificates::next_renewal_at.eq(issued.next_renewal_at),
            certificates::renewal_due_at.eq(issued.next_renewal_at),
            certificates::last_error.eq(None::<serde_json::Value>),
            certificates::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

async fn find_current(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<Option<NewestVersion>, StoreError> {
    let current: Option<Uuid> = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)))
        .select(certificates::current_version_id)
        .first(conn)
        .await?;
    let Some(current) = current else { return Ok(None) };
    let (not_after, revoked_at) = versions::table
        .filter(versions::account_id.eq(account.0).and(versions::id.eq(current)))
        .select((versions::not_after, versions::revoked_at))
        .first::<(DateTime<Utc>, Option<DateTime<Utc>>)>(conn)
        .await?;
    Ok(Some(NewestVersion { not_after, revoked: revoked_at.is_some() }))
}
