//! The columns of a certificate beside its names, and how they are read.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::deployment::{DeploymentState, Observed};
use zonecert_domain::id::{AcmeAccountId, CertificateId, KeyId, VersionId, ZoneId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::DnsName;
use zonecert_domain::renewal::{AriWindow, RenewalBlock};
use zonecert_domain::revocation::{RevocationReason, RevocationStatus};
use zonecert_pki::chain::Details;

use super::request_fields::{self, RequestFieldColumns};
use super::{Alternate, Certificate, CurrentVersion, Deployed, KeyPolicy, Kind, RenewalInfo, RequestedRevocation};
use crate::StoreError;
use crate::deployments::seconds;
use crate::issuing::Environment;
use crate::schema::{certificates, issuances, versions};

/// Identifier, serial number, fingerprint, issuer, subject, first and last moment, names, what else stands in it.
type VersionColumns = (Uuid, String, String, String, String, DateTime<Utc>, DateTime<Utc>, Vec<String>, Option<serde_json::Value>);

/// Start, end, explanation, and when the CA was asked.
type RenewalInfoColumns = (Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<String>, Option<DateTime<Utc>>);

/// Beside the certificate: its version in use with its revocation, and its live issuance, of which there is one at most.
#[derive(Queryable)]
pub(super) struct Row {
    id: Uuid,
    kind: (String, String),
    zone: Option<Uuid>,
    name: String,
    number: i32,
    label: Option<String>,
    environment: String,
    key_algorithm: String,
    key_policy: String,
    request_fields: RequestFieldColumns,
    private_key: (Option<Uuid>, bool),
    acme_account: Option<Uuid>,
    auto_renew: bool,
    status: String,
    version: Option<VersionColumns>,
    revocation: Option<serde_json::Value>,
    downloadable: bool,
    issued_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    next_renewal_at: Option<DateTime<Utc>>,
    renewal_blocked_by: Option<String>,
    renewal_info: RenewalInfoColumns,
    next_attempt_at: Option<DateTime<Utc>>,
    last_error: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    names: Vec<String>,
    deployed: serde_json::Value,
    alternate: Option<serde_json::Value>,
}

/// `certificates.acme_account_id`, which diesel does not know: a table has 32 columns there.
pub(crate) fn acme_account_column() -> SqlLiteral<Nullable<SqlUuid>> {
    sql("certificates.acme_account_id")
}

/// All certificates of the account that were not deleted.
#[diesel::dsl::auto_type]
pub(super) fn query(account: Uuid) -> _ {
    let downloadable: SqlLiteral<Bool> = sql("coalesce(versions.revoked_at IS NULL AND now() <= versions.not_after, false)");
    let next_attempt_at: SqlLiteral<Nullable<Timestamptz>> =
        sql("CASE WHEN certificates.status <> 'validating' THEN issuances.next_wake_at END");
    // What few certificates have is read by functions, and only where there is something: a plan for all of it would be set up for each certificate.
    let revocation: SqlLiteral<Nullable<Jsonb>> =
        sql("CASE WHEN EXISTS (SELECT FROM revocations WHERE revocations.certificate_id = certificates.id)
            THEN certificate_revocation(certificates.id, certificates.current_version_id) END");
    let names: SqlLiteral<Array<Text>> = sql("ARRAY(SELECT certificate_names.name FROM certificate_names
        WHERE certificate_names.certificate_id = certificates.id ORDER BY certificate_names.position)");
    let deployed: SqlLiteral<Jsonb> =
        sql("CASE WHEN EXISTS (SELECT FROM deployments WHERE deployments.account_id = certificates.account_id AND deployments.certificate_id = certificates.id)
            THEN certificate_deployments(certificates.account_id, certificates.id) ELSE '[]' END");
    let request_fields: (SqlLiteral<Nullable<Jsonb>>, SqlLiteral<Nullable<Text>>) = request_fields::columns();
    let acme_account: SqlLiteral<Nullable<SqlUuid>> = acme_account_column();
    let alternate: SqlLiteral<Nullable<Jsonb>> = sql(
        "CASE WHEN EXISTS (SELECT FROM alternates WHERE alternates.certificate_id = certificates.id) THEN certificate_alternate(certificates.id) END",
    );
    // Written out: a value that is bound keeps a statement that is planned once from the index of live issuances.
    let is_active: SqlLiteral<Bool> = sql("issuances.status = 'active'");
    certificates::table
        .left_join(versions::table.on(certificates::current_version_id.eq(versions::id.nullable())))
        .left_join(issuances::table.on(issuances::certificate_id.eq(certificates::id).and(is_active)))
        .filter(certificates::account_id.eq(account).and(certificates::deleted_at.is_null()))
        .select((
            certificates::id,
            (certificates::source, certificates::domain),
            certificates::zone_id,
            certificates::name,
            certificates::number,
            certificates::label,
            certificates::environment,
            certificates::key_algorithm,
            certificates::key_policy,
            request_fields,
            (certificates::private_key_id, certificates::api_key_via_url),
            acme_account,
            certificates::auto_renew,
            certificates::status,
            (
                versions::id,
                versions::serial,
                versions::fingerprint_sha256,
                versions::issuer,
                versions::subject,
                versions::not_before,
                versions::not_after,
                versions::names,
                versions::details,
            )
                .nullable(),
            revocation,
            downloadable,
            certificates::issued_at,
            certificates::expires_at,
            certificates::next_renewal_at,
            certificates::renewal_blocked_by,
            (
                certificates::renewal_info_start,
                certificates::renewal_info_end,
                certificates::renewal_info_explanation_url,
                certificates::renewal_info_checked_at,
            ),
            next_attempt_at,
            certificates::last_error,
            certificates::created_at,
            certificates::updated_at,
            names,
            deployed,
            alternate,
        ))
}

/// Managed, not deleted, and in a state that counts against the plan.
#[diesel::dsl::auto_type]
pub(super) fn holds_slot() -> _ {
    let states: Vec<&'static str> = slot_states();
    certificates::source.eq("managed").and(certificates::deleted_at.is_null()).and(certificates::status.eq_any(states))
}

/// Uploaded, and not deleted.
#[diesel::dsl::auto_type]
pub(crate) fn is_upload() -> _ {
    let source: &'static str = Kind::Uploaded.stored();
    certificates::source.eq(source).and(certificates::deleted_at.is_null())
}

pub(crate) fn slot_states() -> Vec<&'static str> {
    CertificateStatus::ALL.into_iter().filter(|status| status.holds_slot()).map(CertificateStatus::as_str).collect()
}

impl Row {
    pub(super) fn into_certificate(self) -> Result<Certificate, StoreError> {
        let corrupt = StoreError::corrupt;
        let names = self.names.iter().map(|name| DnsName::from_stored(name).map_err(|_| corrupt("certificate_names.name", name.clone())));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let (source, domain) = self.kind;
        let kind = Kind::ALL.into_iter().find(|kind| kind.stored() == source).ok_or_else(|| corrupt("certificates.source", source))?;
        if names.is_empty() && kind == Kind::Managed {
            return Err(corrupt("certificate_names.name", "no row".to_owned()));
        }
        let current_version = self.version.map(read_version).transpose()?;
        let (csr_subject, profile) = request_fields::read(self.request_fields)?;
        let current = current_version.as_ref().map(|version| version.fingerprint_sha256.as_str());
        let alternate = self.alternate.map(read_alternate).transpose()?;
        Ok(Certificate {
            id: CertificateId(self.id),
            kind,
            domain,
            zone: self.zone.map(ZoneId),
            name: self.name,
            number: self.number,
            label: self.label,
            names,
            environment: Environment::parse(&self.environment).ok_or_else(|| corrupt("certificates.environment", self.environment))?,
            key_algorithm: KeyAlgorithm::parse(&self.key_algorithm)
                .ok_or_else(|| corrupt("certificates.key_algorithm", self.key_algorithm))?,
            key_policy: KeyPolicy::parse(&self.key_policy).ok_or_else(|| corrupt("certificates.key_policy", self.key_policy))?,
            csr_subject,
            profile,
            private_key: self.private_key.0.map(KeyId),
            api_key_via_url: self.private_key.1,
            acme_account: self.acme_account.map(AcmeAccountId),
            auto_renew: self.auto_renew,
            status: CertificateStatus::parse(&self.status).ok_or_else(|| corrupt("certificates.status", self.status))?,
            deployed: read_deployed(self.deployed, current, alternate.as_ref())?,
            alternate,
            current_version,
            revocation: self.revocation.map(read_revocation).transpose()?,
            downloadable: self.downloadable,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            next_renewal_at: self.next_renewal_at,
            renewal_blocked_by: self.renewal_blocked_by.map(read_block).transpose()?,
            renewal_info: read_renewal_info(self.renewal_info),
            next_attempt_at: self.next_attempt_at,
            last_error: self.last_error,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

fn read_version(columns: VersionColumns) -> Result<CurrentVersion, StoreError> {
    let (id, serial, fingerprint_sha256, issuer, subject, not_before, not_after, names, details) = columns;
    let details = details.map(read_details).transpose()?.flatten();
    Ok(CurrentVersion { id: VersionId(id), serial, fingerprint_sha256, issuer, subject, not_before, not_after, names, details })
}

/// `null` is what could not be read.
fn read_details(value: serde_json::Value) -> Result<Option<Details>, StoreError> {
    let text = value.to_string();
    serde_json::from_value(value).map_err(|_| StoreError::corrupt("versions.details", text))
}

pub(crate) fn read_revocation(value: serde_json::Value) -> Result<RequestedRevocation, StoreError> {
    #[derive(serde::Deserialize)]
    struct Columns {
        requested_at: DateTime<Utc>,
        reason: i32,
        status: RevocationStatus,
    }

    let text = value.to_string();
    let corrupt = || StoreError::corrupt("revocations", text.clone());
    let columns: Columns = serde_json::from_value(value).map_err(|_| corrupt())?;
    let reason = RevocationReason::from_number(columns.reason).ok_or_else(corrupt)?;
    Ok(RequestedRevocation { requested_at: columns.requested_at, reason, status: columns.status })
}

fn read_alternate(value: serde_json::Value) -> Result<Alternate, StoreError> {
    #[derive(serde::Deserialize)]
    struct Version {
        id: Uuid,
        serial: String,
        fingerprint_sha256: String,
        issuer: String,
        subject: String,
        not_before: DateTime<Utc>,
        not_after: DateTime<Utc>,
        names: Vec<String>,
        details: Option<Details>,
    }
    #[derive(serde::Deserialize)]
    struct Columns {
        key_algorithm: KeyAlgorithm,
        private_key: Uuid,
        downloadable: bool,
        version: Option<Version>,
    }

    let text = value.to_string();
    let columns: Columns = serde_json::from_value(value).map_err(|_| StoreError::corrupt("alternates", text))?;
    let version = columns.version.map(|version| {
        let Version { id, serial, fingerprint_sha256, issuer, subject, not_before, not_after, names, details } = version;
        CurrentVersion { id: VersionId(id), serial, fingerprint_sha256, issuer, subject, not_before, not_after, names, details }
    });
    Ok(Alternate {
        key_algorithm: columns.key_algorithm,
        private_key: KeyId(columns.private_key),
        version,
        downloadable: columns.downloadable,
    })
}

/// What follows from the last report of each target.
fn read_deployed(value: serde_json::Value, current: Option<&str>, alternate: Option<&Alternate>) -> Result<Vec<Deployed>, StoreError> {
    #[derive(serde::Deserialize)]
    struct Columns {
        target: String,
        served_sha256: Option<String>,
        installed_sha256: Option<String>,
        failed: bool,
        reported_at: DateTime<Utc>,
        age: f64,
    }

    let text = value.to_string();
    let rows: Vec<Columns> = serde_json::from_value(value).map_err(|_| StoreError::corrupt("deployments", text))?;
    let read = |row: Columns| {
        let (served_sha256, installed_sha256) = (row.served_sha256.as_deref(), row.installed_sha256.as_deref());
        let observed = Observed { served_sha256, installed_sha256, failed: row.failed };
        let state = DeploymentState::of(observed, expected(observed, current, alternate), seconds(row.age));
        Deployed { target: row.target, state, reported_at: row.reported_at }
    };
    Ok(rows.into_iter().map(read).collect())
}

/// The fingerprint that a target is held against: that of the version in use with the other key, where that is what was seen there.
pub(super) fn expected<'a>(observed: Observed<'_>, current: Option<&'a str>, alternate: Option<&'a Alternate>) -> Option<&'a str> {
    let other = alternate.and_then(|alternate| alternate.version.as_ref()).map(|version| version.fingerprint_sha256.as_str());
    other.filter(|other| observed.sha256() == Some(*other)).or(current)
}

fn read_block(text: String) -> Result<RenewalBlock, StoreError> {
    RenewalBlock::parse(&text).ok_or_else(|| StoreError::corrupt("certificates.renewal_blocked_by", text))
}

/// None where the CA suggests nothing.
fn read_renewal_info((start, end, explanation_url, checked_at): RenewalInfoColumns) -> Option<RenewalInfo> {
    Some(RenewalInfo { window: AriWindow { start: start?, end: end? }, explanation_url, checked_at })
}
