//! Certificates and their names.
//!
//! Reading takes one question, whatever the number of rows. It touches no key.

mod change;
mod list;
pub(crate) mod request_fields;
mod row;

use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::csr_subject::CsrSubject;
use zonecert_domain::deployment::{DeploymentState, Observed};
use zonecert_domain::id::{AccountId, AcmeAccountId, CertificateId, KeyId, VersionId, ZoneId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::{DnsName, NameSet};
use zonecert_domain::plan::Plan;
use zonecert_domain::renewal::{AriWindow, RenewalBlock};
use zonecert_domain::revocation::{RevocationReason, RevocationStatus};
use zonecert_pki::chain::Details;

pub use change::{Change, change_certificate, mark_deleted, record_failure, take_slot};
pub(crate) use change::{insert_names, undeleted};
pub use list::{Filter, Fingerprint, Position, list_certificates};
pub(crate) use row::{acme_account_column, is_upload, read_revocation, slot_states};

use crate::issuing::Environment;
use crate::schema::{accounts, certificates};
use crate::statement::sql_query;
use crate::tenant_query::TenantQuery;
use crate::{Connection, Store, StoreError};

/// The constraint that lets one certificate at a time hold a domain of an account (requirements S3.50).
pub const DOMAIN_KEY: &str = "certificates_account_id_domain_key";

/// The constraint that keeps names of certificates unique within an account (requirements S0.3).
pub const NAME_KEY: &str = "certificates_account_id_name_key";

/// Whether a renewal brings a new key (requirements X19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyPolicy {
    /// A new one each time.
    #[default]
    Rotate,
    /// The one that is there.
    Keep,
}

impl KeyPolicy {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rotate, Self::Keep];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Keep => "keep",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }
}

/// How a certificate comes by its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A CA is asked for them.
    Managed,
    /// Its owner uploads them.
    Uploaded,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Managed, Self::Uploaded];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Uploaded => "uploaded",
        }
    }

    /// The name in the database.
    pub(crate) const fn stored(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Uploaded => "upload",
        }
    }
}

/// A certificate: what stays while its versions come and go.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its identifier.
    pub id: CertificateId,
    /// How it comes by its versions.
    pub kind: Kind,
    /// The primary domain. Of an upload without a DNS name, its common name, or else its name here.
    pub domain: String,
    /// The zone that its names are under; none for one that was uploaded.
    pub zone: Option<ZoneId>,
    /// Unique per account and safe in a URL.
    pub name: String,
    /// Counted per account from 1.
    pub number: i32,
    /// Free text of the customer's.
    pub label: Option<String>,
    /// Its names, the domain first; empty only for an upload without a DNS name.
    pub names: Vec<DnsName>,
    /// Which of the CA's directories it is asked from.
    pub environment: Environment,
    /// The algorithm of its next key.
    pub key_algorithm: KeyAlgorithm,
    /// Whether a renewal brings a new key.
    pub key_policy: KeyPolicy,
    /// What its requests say of their owner, where anything is wished.
    pub csr_subject: Option<CsrSubject>,
    /// The CA's profile, if one is wished.
    pub profile: Option<String>,
    /// The private key that it uses, as a resource. None of one that was requested before keys were made with certificates, and was never issued.
    pub private_key: Option<KeyId>,
    /// The customer's own ACME account that it is ordered with; none where it is ours.
    pub acme_account: Option<AcmeAccountId>,
    /// Whether its API keys may stand in the URL.
    pub api_key_via_url: bool,
    /// Whether it is to renew by itself; the plan decides whether it does.
    pub auto_renew: bool,
    /// What people see.
    pub status: CertificateStatus,
    /// The version in use, whether still valid or not.
    pub current_version: Option<CurrentVersion>,
    /// The other key of a dual certificate, and what is in use of it.
    pub alternate: Option<Alternate>,
    /// What each target that reports does with it, by name.
    pub deployed: Vec<Deployed>,
    /// The latest wish to have the version in use revoked.
    pub revocation: Option<RequestedRevocation>,
    /// Whether the version in use was not revoked and is not past its end, by the database's clock when this was read.
    pub downloadable: bool,
    /// When the version in use was issued.
    pub issued_at: Option<DateTime<Utc>>,
    /// The end of its validity.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it renews by itself.
    pub next_renewal_at: Option<DateTime<Utc>>,
    /// What keeps it from renewing by itself, where it is wished.
    pub renewal_blocked_by: Option<RenewalBlock>,
    /// When the CA suggests to renew the version in use, if it says so.
    pub renewal_info: Option<RenewalInfo>,
    /// When the next attempt of the live issuance is due, while no order is under way.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Why the latest attempt failed, as the worker wrote it; none once one has succeeded.
    pub last_error: Option<serde_json::Value>,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// The version that a certificate has in use.
#[derive(Clone, Debug)]
pub struct CurrentVersion {
    /// Its identifier.
    pub id: VersionId,
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
    /// The DNS names in it, which need not be those that the certificate is to have from its next version on.
    pub names: Vec<String>,
    /// What else it says; none where that cannot be read, or was not yet.
    pub details: Option<Details>,
}

/// The other key of a dual certificate: one of the type that its first is not.
#[derive(Clone, Debug)]
pub struct Alternate {
    /// The algorithm of its next key.
    pub key_algorithm: KeyAlgorithm,
    /// The key as a resource.
    pub private_key: KeyId,
    /// The version with it that is in use, whether still valid or not.
    pub version: Option<CurrentVersion>,
    /// Whether that was not revoked and is not past its end, by the database's clock when this was read.
    pub downloadable: bool,
}

/// What a target does with a certificate.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// What the server calls itself.
    pub target: String,
    /// What follows from its last report, at the time of reading.
    pub state: DeploymentState,
    /// When that came.
    pub reported_at: DateTime<Utc>,
}

/// A wish to have a version revoked at its CA.
#[derive(Clone, Copy, Debug)]
pub struct RequestedRevocation {
    /// When it was wished for.
    pub requested_at: DateTime<Utc>,
    /// Why.
    pub reason: RevocationReason,
    /// How far it is.
    pub status: RevocationStatus,
}

/// What the CA suggests (RFC 9773 §4.2).
#[derive(Clone, Debug)]
pub struct RenewalInfo {
    /// Renew between these two.
    pub window: AriWindow,
    /// Where it says why.
    pub explanation_url: Option<String>,
    /// When it was asked.
    pub checked_at: Option<DateTime<Utc>>,
}

impl Certificate {
    /// The primary domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The fingerprint of the version in use that a target is held against: of a dual certificate that with either key, whichever is seen there.
    pub fn expected_at(&self, observed: Observed<'_>) -> Option<&str> {
        row::expected(observed, self.current_version.as_ref().map(|version| version.fingerprint_sha256.as_str()), self.alternate.as_ref())
    }

    /// The names beside the primary domain.
    pub fn sans(&self) -> &[DnsName] {
        self.names.get(1..).unwrap_or_default()
    }
}

/// A managed certificate that is to be added.
#[derive(Clone, Copy, Debug)]
pub struct NewCertificate<'a> {
    /// The verified zone that its names are under.
    pub zone: ZoneId,
    /// How it is called.
    pub name: NewName<'a>,
    /// Free text.
    pub label: Option<&'a str>,
    /// Its names, the domain first.
    pub names: &'a NameSet,
    /// Which of the CA's directories it is asked from.
    pub environment: Environment,
    /// The algorithm of its key.
    pub key_algorithm: KeyAlgorithm,
    /// Whether a renewal brings a new key.
    pub key_policy: KeyPolicy,
    /// What its requests are to say of their owner.
    pub csr_subject: Option<&'a CsrSubject>,
    /// The CA's profile, if one is wished.
    pub profile: Option<&'a str>,
    /// Whether it is to renew by itself.
    pub auto_renew: bool,
}

/// How a new certificate is called.
#[derive(Clone, Copy, Debug)]
pub enum NewName<'a> {
    /// Exactly so.
    Given(&'a str),
    /// So, or where that is taken with the first of `-2`, `-3`, … behind it that is free. At most 90 characters.
    Derived(&'a str),
}

/// Adds a certificate that is `pending`, with its names and the account's next number. The transaction must be one to write
/// ([`crate::Store::tenant_write`]), which makes a derived name and a count of slots beside it safe.
///
/// Errors with the constraint [`DOMAIN_KEY`] when another certificate holds the domain, and [`NAME_KEY`] when a given name is taken.
pub async fn insert_certificate(conn: &mut Connection, account: AccountId, new: &NewCertificate<'_>) -> Result<CertificateId, StoreError> {
    let id = CertificateId::new();
    let (name, number) = next_name_and_number(conn, account, new.name).await?;
    diesel::insert_into(certificates::table)
        .values((
            certificates::id.eq(id.0),
            certificates::account_id.eq(account.0),
            certificates::zone_id.eq(new.zone.0),
            certificates::name.eq(name),
            certificates::number.eq(number),
            certificates::label.eq(new.label),
            certificates::domain.eq(new.names.primary().as_str()),
            certificates::environment.eq(new.environment.as_str()),
            certificates::key_algorithm.eq(new.key_algorithm.as_str()),
            certificates::key_policy.eq(new.key_policy.as_str()),
            certificates::auto_renew.eq(new.auto_renew),
        ))
        .execute(conn)
        .await?;
    insert_names(conn, account, id, new.names.names()).await?;
    if new.csr_subject.is_some() {
        request_fields::write_subject(conn, account, id, new.csr_subject).await?;
    }
    if new.profile.is_some() {
        request_fields::write_profile(conn, account, id, new.profile).await?;
    }
    Ok(id)
}

/// How a new certificate is called, and the account's next number.
pub(crate) async fn next_name_and_number(
    conn: &mut Connection,
    account: AccountId,
    name: NewName<'_>,
) -> Result<(String, i32), StoreError> {
    let name = match name {
        NewName::Given(name) => name.to_owned(),
        NewName::Derived(base) => free_name(conn, account, base).await?,
    };
    let number = diesel::update(accounts::table.filter(accounts::id.eq(account.0)))
        .set(accounts::last_certificate_number.eq(accounts::last_certificate_number + 1))
        .returning(accounts::last_certificate_number)
        .get_result::<i32>(conn)
        .await?;
    Ok((name, number))
}

/// A certificate that was not deleted, read in one round trip.
pub async fn read_certificate(store: &Store, account: AccountId, id: CertificateId) -> Result<Certificate, StoreError> {
    static TEXT: OnceLock<String> = OnceLock::new();
    let question = TenantQuery::new(account, row::query(account.0).filter(certificates::id.eq(id.0)));
    store.ask::<row::Row, _>(question.worded(&TEXT)).await?.pop().ok_or(StoreError::NotFound)?.into_certificate()
}

/// A certificate that was not deleted.
pub async fn get_certificate(conn: &mut Connection, account: AccountId, id: CertificateId) -> Result<Certificate, StoreError> {
    row::query(account.0).filter(certificates::id.eq(id.0)).first::<row::Row>(conn).await?.into_certificate()
}

/// How many managed certificates of the account hold a slot of its plan (requirements X13). To take one, count in a transaction to write.
pub async fn count_slots(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    let count = certificates::table.filter(certificates::account_id.eq(account.0).and(row::holds_slot())).count().get_result(conn).await?;
    Ok(count)
}

/// How much of its plan an account uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Managed certificates that hold a slot (requirements X13).
    pub slots: i64,
    /// Uploaded certificates (requirements S3.52).
    pub uploads: i64,
}

/// The plan of the account, and how much of it is in use.
pub async fn get_usage(conn: &mut Connection, account: AccountId) -> Result<(Plan, Usage), StoreError> {
    let slots = certificates::table.filter(certificates::account_id.eq(account.0).and(row::holds_slot())).count();
    let uploads = certificates::table.filter(certificates::account_id.eq(account.0).and(is_upload())).count();
    let (plan, slots, uploads) = accounts::table
        .filter(accounts::id.eq(account.0).and(accounts::deleted_at.is_null()))
        .select((accounts::plan, slots.single_value().assume_not_null(), uploads.single_value().assume_not_null()))
        .first::<(String, i64, i64)>(conn)
        .await?;
    Ok((Plan::parse(&plan).ok_or_else(|| StoreError::corrupt("accounts.plan", plan))?, Usage { slots, uploads }))
}

/// The certificates under the zone that hold a slot and so keep it from being deleted, oldest first.
pub async fn list_in_zone(conn: &mut Connection, account: AccountId, zone: ZoneId) -> Result<Vec<CertificateId>, StoreError> {
    let ids = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::zone_id.eq(zone.0)).and(row::holds_slot()))
        .order((certificates::created_at, certificates::id))
        .select(certificates::id)
        .load::<uuid::Uuid>(conn)
        .await?;
    Ok(ids.into_iter().map(CertificateId).collect())
}

/// The first of `base`, `base-2`, `base-3`, … that no certificate of the account has. With one candidate more than there are names, one is free.
async fn free_name(conn: &mut Connection, account: AccountId, base: &str) -> Result<String, StoreError> {
    #[derive(QueryableByName)]
    struct Free {
        #[diesel(sql_type = sql_types::Text)]
        name: String,
    }

    let free = sql_query(
        "SELECT candidate AS name
         FROM generate_series(1, (SELECT count(*) + 1 FROM certificates WHERE account_id = $2 AND deleted_at IS NULL)) AS n,
             LATERAL (SELECT CASE n WHEN 1 THEN $1 ELSE $1 || '-' || n END AS candidate) AS candidates
         WHERE NOT EXISTS (SELECT FROM certificates WHERE account_id = $2 AND deleted_at IS NULL AND name = candidate)
         ORDER BY n LIMIT 1",
    )
    .bind::<sql_types::Text, _>(base)
    .bind::<sql_types::Uuid, _>(account.0)
    .get_result::<Free>(conn)
    .await?;
    Ok(free.name)
}
