//! A certificate as clients see it (requirements S3.31). Never with a key.

use chrono::{DateTime, Utc};
use serde::Serialize;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{CertificateId, ZoneId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::DnsName;
use zonecert_domain::plan::Plan;
use zonecert_store::certificates::Certificate;

#[derive(Serialize)]
pub(super) struct CertificateView<'a> {
    id: CertificateId,
    name: &'a str,
    number: i32,
    label: Option<&'a str>,
    zone_id: Option<ZoneId>,
    domain: &'a DnsName,
    sans: &'a [DnsName],
    is_wildcard: bool,
    auto_renew: bool,
    status: CertificateStatus,
    /// Whether there is a version that is neither expired nor revoked, whatever the status says (requirements X6).
    downloadable: bool,
    environment: &'static str,
    key_algorithm: KeyAlgorithm,
    key_policy: &'static str,
    issued_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    next_renewal_at: Option<DateTime<Utc>>,
    last_error: Option<&'a serde_json::Value>,
    next_attempt_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl<'a> CertificateView<'a> {
    /// The certificate as it looks on the account's plan: what was set for auto-renewal is remembered, but where the plan does not have it
    /// nothing will renew (requirements section 6, downgrade).
    pub(super) fn new(certificate: &'a Certificate, plan: Plan) -> Self {
        let renews = certificate.auto_renew && plan.limits().auto_renew;
        Self {
            id: certificate.id,
            name: &certificate.name,
            number: certificate.number,
            label: certificate.label.as_deref(),
            zone_id: certificate.zone,
            domain: certificate.domain(),
            sans: certificate.sans(),
            is_wildcard: certificate.names.iter().any(DnsName::is_wildcard),
            auto_renew: certificate.auto_renew,
            status: certificate.status,
            downloadable: certificate.downloadable,
            environment: certificate.environment.as_str(),
            key_algorithm: certificate.key_algorithm,
            key_policy: certificate.key_policy.as_str(),
            issued_at: certificate.issued_at,
            expires_at: certificate.expires_at,
            next_renewal_at: certificate.next_renewal_at.filter(|_| renews),
            last_error: certificate.last_error.as_ref(),
            next_attempt_at: certificate.next_attempt_at,
            created_at: certificate.created_at,
            updated_at: certificate.updated_at,
        }
    }
}
