//! Values of the domain as JSON schemas. The domain knows nothing of HTTP, so they are described here; their words and prefixes are taken
//! from it, so that a schema cannot say otherwise.
//!
//! In a field: `#[schema(value_type = values::ZoneId)]`, `#[schema(value_type = Option<values::Plan>)]`.

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use zonecert_domain::scope::Scope as DomainScope;
use zonecert_domain::{
    acme_account, ca_limits, certificate, deployment, id, issuance, key, order, plan, records, renewal, revocation, webhook,
};
use zonecert_store::{accounts, certificates, events, issuing, order_history, users, webhook_deliveries, webhooks, zones};

/// The digits of identifiers in examples.
const DIGITS: &str = "0198c5f47e5b7c2a9d4e1c2b3a4d5e6f";

macro_rules! identifiers {
    ($($name:ident),* $(,)?) => {$(
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                identifier(id::$name::PREFIX)
            }
        }

        impl ToSchema for $name {}
    )*};
}

identifiers!(
    AccountId,
    AcmeAccountId,
    ApiKeyId,
    AuditEntryId,
    CertificateId,
    DeliveryId,
    InvitationId,
    IssuanceId,
    KeyId,
    KeyVersionId,
    OrderId,
    PushTargetId,
    RecordSetId,
    TokenId,
    UserId,
    VersionId,
    WebhookId,
    ZoneId
);

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident = $words:expr;)*) => {$(
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                words(concat!($($doc),+), &$words)
            }
        }

        impl ToSchema for $name {}
    )*};
}

words! {
    /// Whether an account may use the service.
    AccountStatus = accounts::AccountStatus::ALL.map(accounts::AccountStatus::as_str);
    /// Where an ACME account stands: `pending` while it is being registered, `valid` once the CA has it, `failed` if the CA did not take it, `deactivated` if it takes
    /// nothing from it any more.
    AcmeAccountStatus = acme_account::AcmeAccountStatus::ALL.map(acme_account::AcmeAccountStatus::as_str);
    /// What a CA counts.
    CaLimitKind = ca_limits::CaLimitKind::ALL.map(ca_limits::CaLimitKind::as_str);
    /// What becomes of a certificate.
    CertificateStatus = certificate::CertificateStatus::ALL.map(certificate::CertificateStatus::as_str);
    /// Whether a server has the version in use: `serving` if that was seen there at its last report, `stale` if another one was, `unknown` if it has not
    /// reported for 25 hours or could not tell.
    DeploymentState = deployment::DeploymentState::ALL.map(deployment::DeploymentState::as_str);
    /// How far a message to a webhook is.
    DeliveryStatus = webhook_deliveries::DeliveryStatus::ALL.map(webhook_deliveries::DeliveryStatus::as_str);
    /// Which of the CA's directories issues.
    Environment = issuing::Environment::ALL.map(issuing::Environment::as_str);
    /// What stands in the way of a certificate, for programs. Stable.
    FindingCode = zonecert_preflight::FindingCode::ALL.map(zonecert_preflight::FindingCode::as_str);
    /// With `error` the certificate will not be had while it is so; with `warning` it may fail.
    FindingSeverity = zonecert_preflight::Severity::ALL.map(zonecert_preflight::Severity::as_str);
    /// Whether the link of an invitation can still be followed.
    InvitationStatus = ["open", "expired"];
    /// Why a version was wished for.
    IssuanceReason = issuance::IssuanceReason::ALL.map(issuance::IssuanceReason::as_str);
    /// Algorithm and size of a private key.
    KeyAlgorithm = key::KeyAlgorithm::ALL.map(key::KeyAlgorithm::as_str);
    /// Whether each version gets a new key.
    KeyPolicy = certificates::KeyPolicy::ALL.map(certificates::KeyPolicy::as_str);
    /// Why a record of a zone file was left out.
    LeftOutReason = records::LeftOutReason::ALL.map(records::LeftOutReason::code);
    /// The type of a key.
    KeyType = key::KeyType::ALL.map(key::KeyType::as_str);
    /// How much attention an event asks for.
    Level = events::Level::ALL.map(events::Level::as_str);
    /// How far an order is; `issued`, `failed` and `abandoned` are the ends of it.
    OrderStatus = order::OrderStatus::ALL.map(order::OrderStatus::as_str);
    /// A step that an order has taken, called as in the log.
    OrderStepName = order_history::STEPS;
    /// How a PKCS#12 file is encrypted.
    PfxEncryption = zonecert_pki::pfx::Encryption::ALL.map(zonecert_pki::pfx::Encryption::as_str);
    /// What an account pays for, from the smallest to the largest.
    Plan = plan::Plan::ALL.map(plan::Plan::as_str);
    /// A type of DNS records that can be set.
    RecordType = records::RecordType::ALL.map(records::RecordType::as_str);
    /// What keeps a certificate from renewing by itself.
    RenewalBlockCode = renewal::RenewalBlock::ALL.map(renewal::RenewalBlock::as_str);
    /// Why a certificate is revoked (RFC 5280 §5.3.1).
    RevocationReason = revocation::RevocationReason::ALL.map(revocation::RevocationReason::as_str);
    /// How far a revocation is.
    RevocationStatus = revocation::RevocationStatus::ALL.map(revocation::RevocationStatus::as_str);
    /// Whether our name servers show what they should.
    ProjectionState = ["current", "pending", "failing"];
    /// Owners may do everything; members all but `account:admin`; viewers see certificates and zones, and no keys.
    Role = users::Role::ALL.map(users::Role::as_str);
    /// One permission. Writing does not include reading, and nothing includes the keys.
    Scope = DomainScope::ALL.map(DomainScope::as_str);
    /// Whom a certificate is for.
    CertificateSide = zonecert_pki::chain::Side::ALL.map(zonecert_pki::chain::Side::as_str);
    /// How a certificate comes by its versions.
    CertificateKind = certificates::Kind::ALL.map(certificates::Kind::as_str);
    /// How an export is written.
    ExportFormat = crate::certificates::export::Format::ALL.map(crate::certificates::export::Format::as_str);
    /// What the owner of an upload may want to know.
    UploadWarningCode = zonecert_pki::upload::Warning::ALL.map(zonecert_pki::upload::Warning::code);
    /// Where a version came from.
    VersionSource = ["acme", "upload"];
    /// Why a webhook is told nothing.
    WebhookDisabledReason = webhooks::DisabledReason::ALL.map(webhooks::DisabledReason::as_str);
    /// What a webhook is told.
    WebhookEvent = webhook::WebhookEvent::ALL.map(webhook::WebhookEvent::as_str);
    /// Where a zone is served.
    ZoneMode = zones::ZoneMode::ALL.map(zones::ZoneMode::as_str);
    /// How far an account has come with a zone.
    ZoneStatus = zones::ZoneStatus::ALL.map(zones::ZoneStatus::as_str);
}

fn identifier(prefix: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!("^{prefix}_[0-9a-f]{{32}}$")))
        .examples([format!("{prefix}_{DIGITS}")]);
    text.build().into()
}

fn words(description: &str, words: &[&str]) -> RefOr<Schema> {
    let text =
        ObjectBuilder::new().schema_type(Type::String).description(Some(description.trim())).enum_values(Some(words.iter().copied()));
    text.build().into()
}

/// The one word that can stand there.
pub(crate) fn constant(word: &'static str) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([word])).build().into()
}

/// `#[schema(schema_with = values::about_blank)]`, and so the others.
pub(crate) fn about_blank() -> Schema {
    constant("about:blank")
}

pub(crate) fn bearer() -> Schema {
    constant("Bearer")
}

pub(crate) fn txt() -> Schema {
    constant("TXT")
}

pub(crate) fn cname() -> Schema {
    constant("CNAME")
}

pub(crate) fn alive() -> Schema {
    constant("alive")
}

pub(crate) fn ready() -> Schema {
    constant("ready")
}
