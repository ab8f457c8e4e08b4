//! What goes wrong between us and the DNS, as data: the calls to the DNS server that has our zones, and look-ups of what customers have set.

use super::FailureCode;

/// How a call to the DNS server can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderTrouble {
    /// No connection, a connection that broke, or no answer in time. A change may have been made all the same.
    Unreachable,
    /// It has trouble of its own, or too much to do. The call is repeated at once, and a change may have been made all the same.
    Broken,
    /// It does not accept our API key.
    Unauthorized,
    /// It has understood the change and will not make it.
    Refused,
    /// It answered something that is not of its API.
    Malformed,
    /// It does not have the zone.
    ZoneMissing,
    /// It does not have the zone, and no account holds it any more.
    ZoneLost,
    /// What was written is not what is there afterwards.
    Mismatch,
}

impl ProviderTrouble {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Unreachable,
        Self::Broken,
        Self::Unauthorized,
        Self::Refused,
        Self::Malformed,
        Self::ZoneMissing,
        Self::ZoneLost,
        Self::Mismatch,
    ];

    /// HTTP statuses that say so, first and last. Those that no kind names are [`Self::Malformed`]: `PowerDNS` does not answer them.
    pub const fn statuses(self) -> &'static [(u16, u16)] {
        match self {
            Self::Broken => &[(408, 408), (425, 425), (429, 429), (500, 599)],
            Self::Unauthorized => &[(401, 401), (403, 403), (407, 407)],
            Self::Refused => &[(400, 400), (409, 409), (413, 413), (422, 422)],
            Self::ZoneMissing => &[(404, 404), (410, 410)],
            Self::Unreachable | Self::Malformed | Self::ZoneLost | Self::Mismatch => &[],
        }
    }

    /// What an answer with this status means that is no success.
    pub fn from_status(status: u16) -> Self {
        let says_so = |trouble: &Self| trouble.statuses().iter().any(|&(first, last)| (first..=last).contains(&status));
        Self::ALL.into_iter().find(says_so).unwrap_or(Self::Malformed)
    }

    /// The failure that it is to an issuance.
    pub const fn code(self) -> FailureCode {
        match self {
            Self::Unreachable => FailureCode::DnsProviderUnreachable,
            Self::Broken | Self::Unauthorized | Self::Refused | Self::Malformed => FailureCode::DnsProviderRefused,
            Self::ZoneMissing => FailureCode::ZoneMissingAtProvider,
            Self::ZoneLost => FailureCode::ZoneLost,
            Self::Mismatch => FailureCode::DnsProviderMismatch,
        }
    }
}

/// How the look-up of an alias (requirements S3.71) can end that does not lead to where the value will stand. The first weighs most: an alias that is
/// known to be missing is for the customer to set, whatever is not known about others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AliasTrouble {
    /// It leads elsewhere, or something else stands there.
    Elsewhere,
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The name has no CNAME record.
    NoRecord,
    /// Our resolver does not answer.
    ResolverGone,
    /// An error of the name servers or of DNSSEC (SERVFAIL, REFUSED).
    Refused,
    /// The name servers did not answer in time.
    TimedOut,
}

impl AliasTrouble {
    /// Every kind, the weightiest first.
    pub const ALL: [Self; 6] = [Self::Elsewhere, Self::NoSuchName, Self::NoRecord, Self::ResolverGone, Self::Refused, Self::TimedOut];

    /// The failure that it is to an issuance.
    pub const fn code(self) -> FailureCode {
        match self {
            Self::Elsewhere | Self::NoSuchName | Self::NoRecord => FailureCode::ChallengeCnameMissing,
            Self::ResolverGone => FailureCode::ResolverUnavailable,
            Self::Refused | Self::TimedOut => FailureCode::ChallengeCnameUnknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FailureClass::{Final, Heal};
    use super::*;

    #[test]
    fn every_trouble_of_the_dns_server_has_its_code_and_class() {
        use ProviderTrouble::*;
        let expected = [
            (Unreachable, "dns_provider_unreachable", Heal),
            (Broken, "dns_provider_refused", Heal),
            (Unauthorized, "dns_provider_refused", Heal),
            (Refused, "dns_provider_refused", Heal),
            (Malformed, "dns_provider_refused", Heal),
            (ZoneMissing, "zone_missing_at_provider", Final),
            (ZoneLost, "zone_lost", Final),
            (Mismatch, "dns_provider_mismatch", Heal),
        ];
        assert_eq!(expected.map(|(trouble, ..)| trouble), ProviderTrouble::ALL);
        for (trouble, code, class) in expected {
            assert_eq!((trouble.code().as_str(), trouble.code().class()), (code, class), "{trouble:?}");
        }
    }

    #[test]
    fn every_status_of_the_dns_server_means_one_thing() {
        use ProviderTrouble::*;
        for (statuses, expected) in [
            (vec![400, 409, 413, 422], Refused),
            (vec![401, 403, 407], Unauthorized),
            (vec![404, 410], ZoneMissing),
            (vec![408, 425, 429, 500, 501, 502, 503, 504, 599], Broken),
            (vec![100, 301, 302, 304, 402, 405, 406, 411, 415, 418, 451, 600], Malformed),
        ] {
            for status in statuses {
                assert_eq!(ProviderTrouble::from_status(status), expected, "{status}");
            }
        }
        for status in 100..=999_u16 {
            let named = |trouble: &&ProviderTrouble| trouble.statuses().iter().any(|&(first, last)| (first..=last).contains(&status));
            assert!(ProviderTrouble::ALL.iter().filter(named).count() <= 1, "{status} means two things");
        }
    }

    #[test]
    fn every_trouble_with_an_alias_heals_and_a_missing_one_weighs_most() {
        use AliasTrouble::*;
        let expected = [
            (Elsewhere, "challenge_cname_missing"),
            (NoSuchName, "challenge_cname_missing"),
            (NoRecord, "challenge_cname_missing"),
            (ResolverGone, "resolver_unavailable"),
            (Refused, "challenge_cname_unknown"),
            (TimedOut, "challenge_cname_unknown"),
        ];
        assert_eq!(expected.map(|(trouble, _)| trouble), AliasTrouble::ALL);
        assert!(AliasTrouble::ALL.is_sorted());
        for (trouble, code) in expected {
            assert_eq!((trouble.code().as_str(), trouble.code().class()), (code, Heal), "{trouble:?}");
        }
    }
}
