//! What goes wrong between us and `PowerDNS`, and what it means to an order.

use zonecert_domain::failure::{Failure, FailureCode, ProviderTrouble};

/// Why a zone could not be read or changed. The texts are shown to customers: they name no address and no internals, which are logged instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsFailure {
    /// No connection, or no answer in time. A change may have been made all the same.
    #[error("our DNS server did not answer: {0}")]
    Unreachable(&'static str),
    /// It answered with an error of its own, and went on doing so. A change may have been made all the same.
    #[error("our DNS server answered {0}")]
    Broken(u16),
    /// It does not accept our API key.
    #[error("our DNS server does not accept our API key")]
    Unauthorized,
    /// It understood the change and will not make it: a CNAME at the name, for one.
    #[error("our DNS server refused the change: {0}")]
    Refused(String),
    /// It answered something that is not of its API.
    #[error("our DNS server's answer made no sense: {0}")]
    Malformed(String),
    /// It does not have the zone.
    #[error("our DNS server does not have the zone {0}")]
    ZoneMissing(String),
    /// It does not have the zone, and no account holds it any more, so we do not make it.
    #[error("no account holds the zone {0} any more")]
    ZoneLost(String),
    /// What was written is not what is there afterwards, however often it is repeated.
    #[error("our DNS server does not keep what is written: {0}")]
    Mismatch(String),
}

impl DnsFailure {
    /// The failure in the words of the issuance.
    pub const fn code(&self) -> FailureCode {
        self.trouble().code()
    }

    /// Its entry in the table.
    const fn trouble(&self) -> ProviderTrouble {
        match self {
            Self::Unreachable(_) => ProviderTrouble::Unreachable,
            Self::Broken(_) => ProviderTrouble::Broken,
            Self::Unauthorized => ProviderTrouble::Unauthorized,
            Self::Refused(_) => ProviderTrouble::Refused,
            Self::Malformed(_) => ProviderTrouble::Malformed,
            Self::ZoneMissing(_) => ProviderTrouble::ZoneMissing,
            Self::ZoneLost(_) => ProviderTrouble::ZoneLost,
            Self::Mismatch(_) => ProviderTrouble::Mismatch,
        }
    }
}

impl From<DnsFailure> for Failure {
    fn from(failure: DnsFailure) -> Self {
        Self::new(failure.code(), failure.to_string())
    }
}
