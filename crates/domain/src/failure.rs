//! Why an attempt failed, whether waiting can heal it, and what the customer can do (requirements section 6, S3.32, S3.35).
//!
//! [`FailureCode`] is the whole vocabulary: one row each for the problem types of ACME (`acme_…`) and for what goes wrong on our
//! side of it, with class, actor and remedy; [`ProviderTrouble`] and [`AliasTrouble`] are what the DNS adds to it. A port that fails makes a [`Failure`] from a code; what follows is decided from its class.

mod code;
mod dns;

use std::time::Duration;

pub use code::FailureCode;
pub use dns::{AliasTrouble, ProviderTrouble};

/// Whether a failure can heal by waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Another attempt may succeed without the customer changing the request: the retry ladder goes on. What the operator
    /// has to repair is of this class too, so that everybody's renewals go on by themselves afterwards.
    Heal,
    /// The same request will fail again: the issuance is over, and the customer is told what to change.
    Final,
}

/// Whose move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The customer follows the remedy.
    Customer,
    /// We do: whoever records such a failure logs it as an error, so that the operator is alerted.
    Operator,
    /// Nobody: time does it.
    Nobody,
}

/// Longest [`Failure::detail`] in characters: it is stored and shown, and comes from elsewhere.
const MAX_DETAIL_LENGTH: usize = 1000;

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Failure {
    /// What went wrong.
    pub code: FailureCode,
    /// What was said about it, by the CA, the DNS server or us: one line, bounded.
    detail: String,
    /// How long the other side asked us to wait.
    pub retry_after: Option<Duration>,
    /// Where it is more than what the code says.
    remedy: Option<String>,
}

impl Failure {
    /// A failure of our own making or of a part that has no problem types. The detail is cut and made one line.
    pub fn new(code: FailureCode, detail: impl AsRef<str>) -> Self {
        let detail = detail.as_ref().trim().chars().take(MAX_DETAIL_LENGTH);
        let detail = detail.map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { code, detail, retry_after: None, remedy: None }
    }

    /// A problem document of the CA (RFC 8555 §6.7): `problem_type` as it stands in `type`, `status` of the answer. For one
    /// with `subproblems` see [`classify_subproblems`].
    pub fn from_acme(problem_type: &str, status: Option<u16>, detail: impl AsRef<str>) -> Self {
        Self::new(classify_acme(problem_type, status), detail)
    }

    /// Adds what `Retry-After` said.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// Says more exactly than the code what the customer can do.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Whether it can heal.
    pub const fn class(&self) -> FailureClass {
        self.code.class()
    }

    /// What was said about it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What the customer can do.
    pub fn remedy(&self) -> &str {
        self.remedy.as_deref().unwrap_or(self.code.remedy())
    }
}

/// Before every type of RFC 8555 §6.7 and its registry.
const ACME_NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// The code of an ACME problem. Types that we do not know, and those that say too little, are judged by the status; what stays
/// unknown counts as able to heal, since giving up wrongly costs a renewal and one attempt more costs little.
pub fn classify_acme(problem_type: &str, status: Option<u16>) -> FailureCode {
    let known =
        problem_type.strip_prefix(ACME_NAMESPACE).and_then(|name| FailureCode::ALL.into_iter().find(|code| code.acme_type() == Some(name)));
    match known {
        // CAs say "malformed" of orders that they have forgotten and of states that have moved on.
        None | Some(FailureCode::AcmeMalformed) => by_status(status).or(known).unwrap_or(FailureCode::AcmeUnknownProblem),
        Some(code) => code,
    }
}

/// The code of a problem that carries several (RFC 8555 §6.7.1): the first that is final, because the others cannot save the order, else
/// that of the problem itself.
pub fn classify_subproblems<'a>(
    problem_type: &str,
    status: Option<u16>,
    subproblem_types: impl IntoIterator<Item = &'a str>,
) -> FailureCode {
    let whole = classify_acme(problem_type, status);
    let mut parts = subproblem_types.into_iter().map(|part| classify_acme(part, None));
    if whole.class() == FailureClass::Final {
        return whole;
    }
    parts.find(|part| part.class() == FailureClass::Final).unwrap_or(whole)
}

fn by_status(status: Option<u16>) -> Option<FailureCode> {
    match status? {
        404 => Some(FailureCode::OrderLost),
        409 => Some(FailureCode::AcmeUnknownProblem),
        429 => Some(FailureCode::AcmeRateLimited),
        500..=599 => Some(FailureCode::AcmeServerInternal),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
