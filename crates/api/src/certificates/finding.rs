//! What stands in the way of a certificate, as clients see it: before it is requested, and as the reason when its issuance has failed.

use serde::Serialize;
use utoipa::ToSchema;
use zonecert_preflight::{Finding, Sight};

use crate::openapi::values;

/// Something that stands in the way of a certificate, or may.
#[derive(Serialize, ToSchema)]
#[schema(as = Finding)]
pub(super) struct FindingView<'a> {
    #[schema(value_type = values::FindingCode)]
    code: &'static str,
    #[schema(value_type = values::FindingSeverity)]
    severity: &'static str,
    /// The name that it is about.
    #[schema(example = "your-domain.com")]
    name: &'a str,
    /// What is wrong.
    #[schema(example = "the `issue` records of your-domain.com do not allow our CA, letsencrypt.org")]
    detail: &'a str,
    /// What was seen, and where. Empty for what is not of the DNS.
    seen: Vec<SightView<'a>>,
    /// What to do.
    #[schema(
        example = "At your-domain.com, add the record `0 issue \"letsencrypt.org\"` beside what is there, or remove the `issue` records."
    )]
    remedy: &'a str,
}

/// What a server said.
#[derive(Serialize, ToSchema)]
#[schema(as = Sight)]
pub(super) struct SightView<'a> {
    /// The DNS resolver that was asked.
    #[schema(example = "192.0.2.53:53")]
    server: &'a str,
    /// What it answered, in words.
    #[schema(example = "your-domain.com has CAA 0 \"issue\" \"another-ca.example\"")]
    answer: &'a str,
}

impl<'a> From<&'a Finding> for FindingView<'a> {
    fn from(finding: &'a Finding) -> Self {
        let Finding { code, severity, name, detail, seen, remedy } = finding;
        Self { code: code.as_str(), severity: severity.as_str(), name, detail, seen: seen.iter().map(SightView::from).collect(), remedy }
    }
}

impl<'a> From<&'a Sight> for SightView<'a> {
    fn from(Sight { server, answer }: &'a Sight) -> Self {
        Self { server, answer }
    }
}
