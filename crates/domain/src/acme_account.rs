//! ACME accounts that customers have at a CA themselves (`docs/adr/0029-own-acme-accounts.md`).

/// Most of an account.
pub const MAX_OWN_ACME_ACCOUNTS: i64 = 20;

/// Where an ACME account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeAccountStatus {
    /// It is being registered at the CA.
    Pending,
    /// The CA has it: certificates can be ordered with it.
    Valid,
    /// The CA did not take it.
    Failed,
    /// The CA does not take it any more (RFC 8555 §7.3.6), or does not know it.
    Deactivated,
}

impl AcmeAccountStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Valid, Self::Failed, Self::Deactivated];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Valid => "valid",
            Self::Failed => "failed",
            Self::Deactivated => "deactivated",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}
