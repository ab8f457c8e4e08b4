//! What a CA allows in a time, and how much of it is used (requirements section 6). The numbers are those of Let's Encrypt, August 2026.

use std::time::Duration;

use chrono::{DateTime, Utc};

const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);

/// So many in so long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaLimit {
    /// What is counted.
    pub kind: CaLimitKind,
    /// How many.
    pub most: u32,
    /// In how long.
    pub window: Duration,
}

/// What a CA counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaLimitKind {
    /// New orders, by one account at the CA: ours.
    Order,
    /// Certificates for new sets of names under one registered domain.
    RegisteredDomain,
    /// Certificates for exactly the same names.
    ExactNames,
    /// Authorizations of one name that failed.
    FailedAuthorization,
}

impl CaLimitKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Order, Self::RegisteredDomain, Self::ExactNames, Self::FailedAuthorization];

    /// The name in the API and in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::RegisteredDomain => "registered_domain",
            Self::ExactNames => "exact_names",
            Self::FailedAuthorization => "failed_authorization",
        }
    }

    /// How much of it the CA allows.
    pub const fn limit(self) -> CaLimit {
        let (most, window) = match self {
            Self::Order => (300, HOUR.saturating_mul(3)),
            Self::RegisteredDomain => (50, WEEK),
            Self::ExactNames => (5, WEEK),
            Self::FailedAuthorization => (5, HOUR),
        };
        CaLimit { kind: self, most, window }
    }
}

/// How much of a limit is used, by all tenants together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaBudget {
    /// The limit.
    pub limit: CaLimit,
    /// The registered domain or the name that it is about; none where it is our account at the CA or exactly these names.
    pub subject: Option<String>,
    /// How many were used in the time up to now.
    pub used: u32,
    /// When there is room again, where there is none.
    pub free_at: Option<DateTime<Utc>>,
}

impl CaBudget {
    /// How many are left.
    pub const fn remaining(&self) -> u32 {
        self.limit.most.saturating_sub(self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_those_of_the_requirements() {
        let hours = CaLimitKind::ALL.map(|kind| (kind.limit().most, kind.limit().window.as_secs() / 3600));
        assert_eq!(hours, [(300, 3), (50, 168), (5, 168), (5, 1)]);
    }

    #[test]
    fn more_than_all_leaves_nothing() {
        let budget = |used| CaBudget { limit: CaLimitKind::ExactNames.limit(), subject: None, used, free_at: None };
        assert_eq!([0, 4, 5, 9].map(|used| budget(used).remaining()), [5, 1, 0, 0]);
    }
}
