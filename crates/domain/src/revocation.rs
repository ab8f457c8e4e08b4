//! Revocation of a version at the CA that issued it (RFC 8555 §7.6; requirements S3.33, X8).
//!
//! A revocation is repeated until the CA has confirmed it, has refused it for good, or the certificate has run out.

use chrono::{DateTime, Utc};

use crate::failure::{Failure, FailureClass, FailureCode};
use crate::retry::{Next, RetryLadder};

/// Why a certificate is revoked: those reasons of RFC 5280 §5.3.1 that a subscriber may give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// No reason is given.
    #[default]
    Unspecified,
    /// Somebody else has the private key, or may have it.
    KeyCompromise,
    /// The names belong to somebody else now.
    AffiliationChanged,
    /// Another certificate has taken its place.
    Superseded,
    /// Nobody uses it any more.
    CessationOfOperation,
}

impl RevocationReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Unspecified, Self::KeyCompromise, Self::AffiliationChanged, Self::Superseded, Self::CessationOfOperation];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key_compromise",
            Self::AffiliationChanged => "affiliation_changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation_of_operation",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The number at the CA and in the database (RFC 5280 §5.3.1).
    pub const fn number(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
        }
    }

    /// Reads the number that [`Self::number`] gives.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| i32::from(reason.number()) == number)
    }
}

/// The state of a revocation. All but the first are terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationStatus {
    /// The CA is being asked, or will be asked again.
    Active,
    /// The CA has revoked the certificate.
    Succeeded,
    /// The certificate ran out before the CA confirmed.
    Expired,
    /// The CA has refused, and asking again would not help.
    Failed,
}

impl RevocationStatus {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Active, Self::Succeeded, Self::Expired, Self::Failed];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Succeeded => "succeeded",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// What follows when the CA has not simply said yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The certificate is revoked: somebody has said so before, we ourselves if a process died between the CA's yes and our record.
    Revoked,
    /// The CA does not take this reason: once more, at once, with [`RevocationReason::Unspecified`].
    WithoutReason,
    /// Once more, not before this moment.
    Again(DateTime<Utc>),
    /// Never again.
    Fail,
}

/// What follows from `failure` of the attempt number `attempts`, counted from 1, at `now`, for a certificate that ends at `not_after`.
///
/// What can heal is repeated by the ladder until the end. When no attempt fits any more, the next moment is that end, at which there is nothing
/// left to revoke.
pub fn after_failure(
    failure: &Failure,
    reason: RevocationReason,
    attempts: u32,
    ladder: &RetryLadder,
    now: DateTime<Utc>,
    not_after: DateTime<Utc>,
) -> Verdict {
    match failure.code {
        FailureCode::AcmeAlreadyRevoked => Verdict::Revoked,
        FailureCode::AcmeBadRevocationReason if reason != RevocationReason::Unspecified => Verdict::WithoutReason,
        _ if failure.class() == FailureClass::Final => Verdict::Fail,
        _ => match ladder.next(attempts, failure.retry_after, now, not_after) {
            Next::At(at) => Verdict::Again(at),
            Next::GiveUp => Verdict::Again(not_after.max(now)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    const START: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn verdict(code: FailureCode, reason: RevocationReason, attempts: u32) -> Verdict {
        after_failure(&Failure::new(code, "no"), reason, attempts, &RetryLadder::default(), START, START + TimeDelta::days(90))
    }

    #[test]
    fn reasons_have_the_numbers_of_rfc_5280() {
        let numbers = RevocationReason::ALL.map(|reason| (reason.as_str(), reason.number()));
        let expected =
            [("unspecified", 0), ("key_compromise", 1), ("affiliation_changed", 3), ("superseded", 4), ("cessation_of_operation", 5)];
        assert_eq!(numbers, expected);
        for reason in RevocationReason::ALL {
            assert_eq!(RevocationReason::parse(reason.as_str()), Some(reason));
            assert_eq!(RevocationReason::from_number(reason.number().into()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for number in [-1, 2, 6, 8, 9, 10, 256] {
            assert_eq!(RevocationReason::from_number(number), None, "{number}");
        }
        for status in RevocationStatus::ALL {
            assert_eq!(RevocationStatus::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn what_is_revoked_already_counts_as_done() {
        assert_eq!(verdict(FailureCode::AcmeAlreadyRevoked, RevocationReason::Superseded, 1), Verdict::Revoked);
    }

    #[test]
    fn a_reason_that_the_ca_does_not_take_is_left_out_once() {
        let refused = FailureCode::AcmeBadRevocationReason;
        assert_eq!(verdict(refused, RevocationReason::AffiliationChanged, 1), Verdict::WithoutReason);
        assert_eq!(verdict(refused, RevocationReason::Unspecified, 1), Verdict::Fail);
    }

    #[test]
    fn a_refusal_is_final_and_trouble_heals_by_the_ladder() {
        for code in [FailureCode::RevocationRefused, FailureCode::AcmeMalformed, FailureCode::AcmeAutoRenewalRevocationNotSupported] {
            assert_eq!(verdict(code, RevocationReason::Unspecified, 1), Verdict::Fail, "{code}");
        }
        for (attempts, minutes) in [(1, 1), (2, 10), (3, 100), (4, 24 * 60), (40, 24 * 60)] {
            for code in [FailureCode::AcmeServerInternal, FailureCode::CaUnreachable, FailureCode::CertificateUnknown] {
                let again = Verdict::Again(START + TimeDelta::minutes(minutes));
                assert_eq!(verdict(code, RevocationReason::KeyCompromise, attempts), again, "{code}");
            }
        }
        let limited = Failure::new(FailureCode::AcmeRateLimited, "later").with_retry_after(Some(Duration::from_hours(2)));
        let after = after_failure(&limited, RevocationReason::Superseded, 1, &RetryLadder::default(), START, START + TimeDelta::days(90));
        assert_eq!(after, Verdict::Again(START + TimeDelta::hours(2)));
    }

    proptest! {
        #[test]
        fn whatever_heals_is_asked_again_later_and_at_the_certificates_end_at_the_latest(
            code in proptest::sample::select(FailureCode::ALL.to_vec()),
            reason in proptest::sample::select(RevocationReason::ALL.to_vec()),
            attempts in 1..50_u32,
            now in 0..1_000_000_i64,
            not_after in 0..1_000_000_i64,
        ) {
            let moment = |seconds| START + TimeDelta::seconds(seconds);
            let failure = Failure::new(code, "no");
            match after_failure(&failure, reason, attempts, &RetryLadder::default(), moment(now), moment(not_after)) {
                Verdict::Again(at) => {
                    prop_assert_eq!(failure.class(), FailureClass::Heal);
                    prop_assert!(at >= moment(now) && at <= moment(not_after.max(now)));
                }
                Verdict::Fail | Verdict::Revoked | Verdict::WithoutReason => prop_assert_eq!(failure.class(), FailureClass::Final),
            }
        }
    }
}
