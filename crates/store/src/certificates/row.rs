//! The columns of a certificate beside its names, and how they are read.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Timestamptz};
use uuid::Uuid;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{CertificateId, VersionId, ZoneId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::DnsName;

use super::{Certificate, KeyPolicy};
use crate::StoreError;
use crate::issuing::Environment;
use crate::schema::{certificates, issuances, versions};

/// Beside the certificate: its version in use and its live issuance, of which there is one at most.
#[derive(Queryable)]
pub(super) struct Row {
    id: Uuid,
    zone: Option<Uuid>,
    name: String,
    number: i32,
    label: Option<String>,
    environment: String,
    key_algorithm: String,
    key_policy: String,
    auto_renew: bool,
    status: String,
    current_version: Option<Uuid>,
    downloadable: bool,
    issued_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    next_renewal_at: Option<DateTime<Utc>>,
    next_attempt_at: Option<DateTime<Utc>>,
    last_error: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// All certificates of the account that were not deleted.
#[diesel::dsl::auto_type]
pub(super) fn query(account: Uuid) -> _ {
    let downloadable: SqlLiteral<Bool> = sql("coalesce(versions.revoked_at IS NULL AND now() <= versions.not_after, false)");
    let next_attempt_at: SqlLiteral<Nullable<Timestamptz>> =
        sql("CASE WHEN certificates.status <> 'validating' THEN issuances.next_wake_at END");
    certificates::table
        .left_join(versions::table.on(certificates::current_version_id.eq(versions::id.nullable())))
        .left_join(issuances::table.on(issuances::certificate_id.eq(certificates::id).and(issuances::status.eq("active"))))
        .filter(certificates::account_id.eq(account).and(certificates::deleted_at.is_null()))
        .select((
            certificates::id,
            certificates::zone_id,
            certificates::name,
            certificates::number,
            certificates::label,
            certificates::environment,
            certificates::key_algorithm,
            certificates::key_policy,
            certificates::auto_renew,
            certificates::status,
            certificates::current_version_id,
            downloadable,
            certificates::issued_at,
            certificates::expires_at,
            certificates::next_renewal_at,
            next_attempt_at,
            certificates::last_error,
            certificates::created_at,
            certificates::updated_at,
        ))
}

/// Managed, not deleted, and in a state that counts against the plan.
#[diesel::dsl::auto_type]
pub(super) fn holds_slot() -> _ {
    let states: Vec<&'static str> = slot_states();
    certificates::source.eq("managed").and(certificates::deleted_at.is_null()).and(certificates::status.eq_any(states))
}

fn slot_states() -> Vec<&'static str> {
    CertificateStatus::ALL.into_iter().filter(|status| status.holds_slot()).map(CertificateStatus::as_str).collect()
}

impl Row {
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    pub(super) fn into_certificate(self, names: Vec<DnsName>) -> Result<Certificate, StoreError> {
        let corrupt = StoreError::corrupt;
        Ok(Certificate {
            id: CertificateId(self.id),
            zone: self.zone.map(ZoneId),
            name: self.name,
            number: self.number,
            label: self.label,
            names,
            environment: Environment::parse(&self.environment).ok_or_else(|| corrupt("certificates.environment", self.environment))?,
            key_algorithm: KeyAlgorithm::parse(&self.key_algorithm)
                .ok_or_else(|| corrupt("certificates.key_algorithm", self.key_algorithm))?,
            key_policy: KeyPolicy::parse(&self.key_policy).ok_or_else(|| corrupt("certificates.key_policy", self.key_policy))?,
            auto_renew: self.auto_renew,
            status: CertificateStatus::parse(&self.status).ok_or_else(|| corrupt("certificates.status", self.status))?,
            current_version: self.current_version.map(VersionId),
            downloadable: self.downloadable,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            next_renewal_at: self.next_renewal_at,
            next_attempt_at: self.next_attempt_at,
            last_error: self.last_error,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}
