//! A certificate as clients see it (requirements S3.31). Never with a key.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AcmeAccountId, CertificateId, KeyId, VersionId, ZoneId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::DnsName;
use zonecert_domain::renewal::RenewalBlock;
use zonecert_domain::revocation::{RevocationReason, RevocationStatus};
use zonecert_store::certificates::{Alternate, Certificate, CurrentVersion, Deployed, RenewalInfo, RequestedRevocation};

use super::csr_subject::CsrSubjectView;
use super::details::DetailsView;
use super::finding::FindingView;
use crate::openapi::values;

#[derive(Serialize, ToSchema)]
#[schema(as = Certificate)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the answer")]
pub(super) struct CertificateView<'a> {
    #[schema(value_type = values::CertificateId)]
    id: CertificateId,
    /// Unique in the account and safe in a URL.
    #[schema(example = "app.your-domain.com")]
    name: &'a str,
    /// Counted in the account.
    #[schema(minimum = 1, example = 1)]
    number: i32,
    #[schema(required, example = json!(null))]
    label: Option<&'a str>,
    /// The zone that its names are under, also when that was deleted. Null for a certificate that was uploaded.
    #[schema(value_type = Option<values::ZoneId>, required)]
    zone_id: Option<ZoneId>,
    #[schema(value_type = values::CertificateKind)]
    kind: &'static str,
    /// Of an upload without a DNS name, its common name, or else its name here.
    #[schema(example = "app.your-domain.com")]
    domain: &'a str,
    #[schema(value_type = Vec<String>, example = json!(["www.your-domain.com"]))]
    sans: &'a [DnsName],
    /// Whether any of the names is a wildcard.
    is_wildcard: bool,
    /// The wish; what keeps it from coming true is `renewal_blocked_by`.
    #[schema(example = true)]
    auto_renew: bool,
    #[schema(value_type = values::CertificateStatus)]
    status: CertificateStatus,
    /// Whether there is a version that is neither expired nor revoked, whatever the status.
    downloadable: bool,
    #[schema(value_type = values::Environment)]
    environment: &'static str,
    #[schema(value_type = values::KeyAlgorithm)]
    key_algorithm: KeyAlgorithm,
    #[schema(value_type = values::KeyPolicy)]
    key_policy: &'static str,
    /// What its requests say of its owner.
    #[schema(required)]
    subject: Option<CsrSubjectView<'a>>,
    /// The kind of certificate that the CA is asked for; null where it is the CA's own choice.
    #[schema(required, example = json!(null))]
    profile: Option<&'a str>,
    /// Its private key, as a resource.
    #[schema(value_type = Option<values::KeyId>, required)]
    private_key_id: Option<KeyId>,
    /// The ACME account of your own that it is ordered with; null where it is one of this service.
    #[schema(value_type = Option<values::AcmeAccountId>, required)]
    acme_account_id: Option<AcmeAccountId>,
    /// Whether its API keys may stand in the URL, for clients that can set no header.
    #[schema(example = false)]
    api_key_via_url: bool,
    #[schema(required, example = json!(null))]
    issued_at: Option<DateTime<Utc>>,
    #[schema(required, example = json!(null))]
    expires_at: Option<DateTime<Utc>>,
    #[schema(required, example = json!(null))]
    next_renewal_at: Option<DateTime<Utc>>,
    /// Null where nothing keeps it from renewing by itself.
    #[schema(required)]
    renewal_blocked_by: Option<BlockView>,
    /// Null where the CA suggests nothing.
    #[schema(required)]
    renewal_info: Option<RenewalInfoView<'a>>,
    #[schema(required)]
    current_version: Option<VersionView<'a>>,
    /// The other key of a dual certificate; null for one that has one key.
    #[schema(required)]
    alternate: Option<AlternateView<'a>>,
    /// What each server that reports does with it, by name.
    #[schema(max_items = 50)]
    deployed: Vec<DeployedView<'a>>,
    /// Of the version in use.
    #[schema(required)]
    revocation: Option<RevocationView>,
    /// Why the latest attempt failed.
    #[schema(value_type = Option<LastError>, required)]
    last_error: Option<&'a serde_json::Value>,
    /// When the issuance that waits goes on; null where none does.
    #[schema(required)]
    next_attempt_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Why an attempt failed, as the worker has stored it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is passed on as it is stored")]
struct LastError {
    /// What went wrong, for programs.
    #[schema(pattern = "^[a-z][a-z0-9_]*$", example = "acme_dns")]
    code: String,
    /// What was said about it, by the CA, the DNS server or us.
    #[schema(example = "NXDOMAIN looking up TXT for _acme-challenge.app.your-domain.com")]
    detail: String,
    /// What you can do.
    #[schema(example = "Check that the name servers of the zone are ours.")]
    remedy: String,
    /// Null where it will not be tried again.
    #[schema(required)]
    next_attempt_at: Option<DateTime<Utc>>,
    /// When the CA's limits leave room again, where they are why; null or absent elsewhere.
    rate_limited_until: Option<DateTime<Utc>>,
    /// What was seen in the DNS and in what is left of the CA's limits, looked up soon after the failure where that can tell its cause.
    findings: Vec<FindingView<'static>>,
}

/// What keeps a certificate from renewing by itself.
#[derive(Serialize, ToSchema)]
#[schema(as = RenewalBlock)]
struct BlockView {
    #[schema(value_type = values::RenewalBlockCode)]
    code: &'static str,
    #[schema(example = "the account is suspended")]
    detail: &'static str,
    /// What you can do.
    #[schema(example = "Settle what is outstanding, or write to support; renewals then go on by themselves.")]
    remedy: &'static str,
}

/// When the CA suggests to renew the version in use (RFC 9773 §4.2).
#[derive(Serialize, ToSchema)]
#[schema(as = RenewalInfo)]
struct RenewalInfoView<'a> {
    window_start: DateTime<Utc>,
    window_end: DateTime<Utc>,
    #[schema(required, example = json!(null))]
    explanation_url: Option<&'a str>,
    #[schema(required)]
    checked_at: Option<DateTime<Utc>>,
}

/// The version in use, whether it is valid or not.
#[derive(Serialize, ToSchema)]
#[schema(as = CurrentVersion)]
struct VersionView<'a> {
    #[schema(value_type = values::VersionId)]
    id: VersionId,
    /// In hexadecimal digits.
    #[schema(example = "03a1b2c3d4e5f60718293a4b5c6d7e8f9012")]
    serial: &'a str,
    /// Of the leaf, in hexadecimal digits.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    fingerprint_sha256: &'a str,
    #[schema(example = "CN=R11,O=Let's Encrypt,C=US")]
    issuer: &'a str,
    /// Empty where it names its holder by its names alone.
    #[schema(example = "CN=app.your-domain.com")]
    subject: &'a str,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
    /// The names in it. Those of the certificate are what its next version has.
    #[schema(value_type = Vec<String>, example = json!(["app.your-domain.com", "www.your-domain.com"]))]
    names: &'a [String],
    /// What it says beside names and validity; null where it cannot be read, and for some hours after an update of this service for one that is older.
    #[schema(required)]
    x509: Option<DetailsView<'a>>,
}

/// The other key of a dual certificate, and the version with it that is in use.
#[derive(Serialize, ToSchema)]
#[schema(as = Alternate)]
struct AlternateView<'a> {
    #[schema(value_type = values::KeyAlgorithm)]
    key_algorithm: KeyAlgorithm,
    /// The key, as a resource.
    #[schema(value_type = values::KeyId)]
    private_key_id: KeyId,
    /// Whether the version is there, and neither expired nor revoked.
    downloadable: bool,
    /// Null until the first one is issued.
    #[schema(required)]
    version: Option<VersionView<'a>>,
}

/// What a server does with a certificate.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployed)]
struct DeployedView<'a> {
    /// What the server calls itself.
    #[schema(example = "web1.your-domain.com")]
    target: &'a str,
    #[schema(value_type = values::DeploymentState)]
    state: &'static str,
    /// When it reported last.
    reported_at: DateTime<Utc>,
}

/// The latest wish to have a version revoked.
#[derive(Serialize, ToSchema)]
#[schema(as = Revocation)]
pub(super) struct RevocationView {
    requested_at: DateTime<Utc>,
    #[schema(value_type = values::RevocationReason)]
    reason: RevocationReason,
    #[schema(value_type = values::RevocationStatus)]
    status: RevocationStatus,
}

impl<'a> CertificateView<'a> {
    pub(super) fn new(certificate: &'a Certificate) -> Self {
        Self {
            id: certificate.id,
            name: &certificate.name,
            number: certificate.number,
            label: certificate.label.as_deref(),
            zone_id: certificate.zone,
            kind: certificate.kind.as_str(),
            domain: certificate.domain(),
            sans: certificate.sans(),
            is_wildcard: certificate.names.iter().any(DnsName::is_wildcard),
            auto_renew: certificate.auto_renew,
            status: certificate.status,
            downloadable: certificate.downloadable,
            environment: certificate.environment.as_str(),
            key_algorithm: certificate.key_algorithm,
            key_policy: certificate.key_policy.as_str(),
            subject: certificate.csr_subject.as_ref().map(CsrSubjectView::from),
            profile: certificate.profile.as_deref(),
            private_key_id: certificate.private_key,
            acme_account_id: certificate.acme_account,
            api_key_via_url: certificate.api_key_via_url,
            issued_at: certificate.issued_at,
            expires_at: certificate.expires_at,
            next_renewal_at: certificate.next_renewal_at,
            renewal_blocked_by: certificate.renewal_blocked_by.map(BlockView::from),
            renewal_info: certificate.renewal_info.as_ref().map(RenewalInfoView::from),
            current_version: certificate.current_version.as_ref().map(VersionView::from),
            alternate: certificate.alternate.as_ref().map(AlternateView::from),
            deployed: certificate.deployed.iter().map(DeployedView::from).collect(),
            revocation: certificate.revocation.map(RevocationView::from),
            last_error: certificate.last_error.as_ref(),
            next_attempt_at: certificate.next_attempt_at,
            created_at: certificate.created_at,
            updated_at: certificate.updated_at,
        }
    }
}

impl From<RenewalBlock> for BlockView {
    fn from(block: RenewalBlock) -> Self {
        Self { code: block.as_str(), detail: block.reason(), remedy: block.remedy() }
    }
}

impl<'a> From<&'a RenewalInfo> for RenewalInfoView<'a> {
    fn from(info: &'a RenewalInfo) -> Self {
        Self {
            window_start: info.window.start,
            window_end: info.window.end,
            explanation_url: info.explanation_url.as_deref(),
            checked_at: info.checked_at,
        }
    }
}

impl<'a> From<&'a CurrentVersion> for VersionView<'a> {
    fn from(version: &'a CurrentVersion) -> Self {
        Self {
            id: version.id,
            serial: &version.serial,
            fingerprint_sha256: &version.fingerprint_sha256,
            issuer: &version.issuer,
            subject: &version.subject,
            not_before: version.not_before,
            not_after: version.not_after,
            names: &version.names,
            x509: version.details.as_ref().map(DetailsView::from),
        }
    }
}

impl<'a> From<&'a Alternate> for AlternateView<'a> {
    fn from(alternate: &'a Alternate) -> Self {
        Self {
            key_algorithm: alternate.key_algorithm,
            private_key_id: alternate.private_key,
            downloadable: alternate.downloadable,
            version: alternate.version.as_ref().map(VersionView::from),
        }
    }
}

impl<'a> From<&'a Deployed> for DeployedView<'a> {
    fn from(Deployed { target, state, reported_at }: &'a Deployed) -> Self {
        Self { target, state: state.as_str(), reported_at: *reported_at }
    }
}

impl From<RequestedRevocation> for RevocationView {
    fn from(revocation: RequestedRevocation) -> Self {
        let RequestedRevocation { requested_at, reason, status } = revocation;
        Self { requested_at, reason, status }
    }
}
