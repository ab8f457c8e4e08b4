//! The state of a certificate: what the version in use, its live issuance and its past say.
//!
//! A certificate has no terminal state. A renewal leads out of `failed`, `expired` and `revoked` again; only issuances and orders end for
//! good. The state is derived by [`CertificateFacts::status`] and stored with every change, in the same transaction, for lists to read.

use std::fmt;

use chrono::{DateTime, Utc};

/// What people see (requirements S3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateStatus {
    /// Waiting for its first issuance to begin, or for the next attempt of one while there is nothing valid to show.
    Pending,
    /// An order is under way at the CA. A version that is still valid stays downloadable meanwhile (requirements X6).
    Validating,
    /// The version in use is valid.
    Issued,
    /// The first issuance ended without a version.
    Failed,
    /// The version in use is past its end and nothing is under way.
    Expired,
    /// The version in use was revoked and nothing is under way.
    Revoked,
}

impl CertificateStatus {
    /// Every state, in the order of the documents.
    pub const ALL: [Self; 6] = [Self::Pending, Self::Validating, Self::Issued, Self::Failed, Self::Expired, Self::Revoked];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Validating => "validating",
            Self::Issued => "issued",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether a certificate in this state counts against the plan and keeps others from its domain (requirements X13).
    pub const fn holds_slot(self) -> bool {
        matches!(self, Self::Pending | Self::Validating | Self::Issued)
    }

    /// Whether a certificate in this state may be in `next` after one change. Staying as it is, is always allowed.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            // An attempt begins. From the three last states it takes slot and domain again first, and so passes through `pending`.
            (Self::Pending | Self::Issued, Self::Validating)
            | (Self::Failed | Self::Expired | Self::Revoked, Self::Pending)
            // An attempt ends: with a version, with another one to come, or for good.
            | (Self::Validating, Self::Issued | Self::Pending | Self::Failed | Self::Expired | Self::Revoked)
            | (Self::Pending, Self::Failed | Self::Expired | Self::Revoked)
            // What is past its end may still be revoked.
            | (Self::Expired, Self::Revoked)
            // Time passes, or somebody revokes. With a renewal waiting for its next attempt, the state is `pending` from then on.
            | (Self::Issued, Self::Expired | Self::Revoked | Self::Pending) => true,
            _ => self as u8 == next as u8,
        }
    }
}

impl fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far the live issuance of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveIssuance {
    /// None is live.
    None,
    /// Waiting for its first or its next attempt.
    Waiting,
    /// An order of it is under way.
    Running,
}

/// What the version in use says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestVersion {
    /// The end of its validity.
    pub not_after: DateTime<Utc>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// All that the state of a certificate follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// How far the live issuance is.
    pub issuance: LiveIssuance,
    /// The version in use, if there is one.
    pub version: Option<NewestVersion>,
    /// Whether the latest issuance ended in failure.
    pub last_issuance_failed: bool,
}

impl CertificateFacts {
    /// The state that these facts make at `now`.
    pub fn status(&self, now: DateTime<Utc>) -> CertificateStatus {
        let valid = self.version.is_some_and(|version| !version.revoked && now <= version.not_after);
        match (self.issuance, self.version) {
            (LiveIssuance::Running, _) => CertificateStatus::Validating,
            (_, Some(_)) if valid => CertificateStatus::Issued,
            (LiveIssuance::None, Some(version)) if version.revoked => CertificateStatus::Revoked,
            (LiveIssuance::None, Some(_)) => CertificateStatus::Expired,
            (LiveIssuance::None, None) if self.last_issuance_failed => CertificateStatus::Failed,
            (LiveIssuance::Waiting, _) | (LiveIssuance::None, None) => CertificateStatus::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn all_facts(now: DateTime<Utc>) -> impl Iterator<Item = CertificateFacts> {
        let versions = [None, Some((1, false)), Some((1, true)), Some((-1, false)), Some((-1, true))]
            .map(|version| version.map(|(hours, revoked)| NewestVersion { not_after: now + TimeDelta::hours(hours), revoked }));
        [LiveIssuance::None, LiveIssuance::Waiting, LiveIssuance::Running].into_iter().flat_map(move |issuance| {
            versions.into_iter().flat_map(move |version| {
                [false, true].map(|last_issuance_failed| CertificateFacts { issuance, version, last_issuance_failed })
            })
        })
    }

    #[test]
    fn a_valid_version_with_nothing_under_way_is_issued() {
        let now = DateTime::UNIX_EPOCH;
        for facts in all_facts(now) {
            let valid = facts.version.is_some_and(|v| !v.revoked && v.not_after >= now);
            if valid && facts.issuance != LiveIssuance::Running {
                assert_eq!(facts.status(now), CertificateStatus::Issued, "{facts:?}");
            }
            if facts.status(now) == CertificateStatus::Issued {
                assert!(valid, "{facts:?}");
            }
        }
    }

    #[test]
    fn every_state_is_reached_and_read_back_from_its_name() {
        let now = DateTime::UNIX_EPOCH;
        for status in CertificateStatus::ALL {
            assert!(all_facts(now).any(|facts| facts.status(now) == status), "{status}");
            assert_eq!(CertificateStatus::parse(status.as_str()), Some(status));
        }
    }

    /// One fact changes at a time: an issuance begins, runs, waits or ends; a version arrives, expires or is revoked.
    #[test]
    fn every_single_change_of_facts_is_an_allowed_transition() {
        let now = DateTime::UNIX_EPOCH;
        for before in all_facts(now) {
            for issuance in [LiveIssuance::None, LiveIssuance::Waiting, LiveIssuance::Running] {
                // A running order is preceded by a waiting issuance.
                if before.issuance == LiveIssuance::None && issuance == LiveIssuance::Running {
                    continue;
                }
                let ended = before.issuance != LiveIssuance::None && issuance == LiveIssuance::None;
                // What was cancelled before it ever had a version goes with its certificate.
                let last_issuance_failed = if ended { true } else { before.last_issuance_failed };
                let after = CertificateFacts { issuance, last_issuance_failed, ..before };
                let (from, to) = (before.status(now), after.status(now));
                assert!(from.may_become(to), "{from} to {to}: {before:?} to {after:?}");
            }
            if let Some(version) = before.version {
                for changed in
                    [NewestVersion { revoked: true, ..version }, NewestVersion { not_after: now - TimeDelta::hours(1), ..version }]
                {
                    let after = CertificateFacts { version: Some(changed), ..before };
                    let (from, to) = (before.status(now), after.status(now));
                    assert!(
                        from.may_become(to) || (from, to) == (CertificateStatus::Expired, CertificateStatus::Revoked),
                        "{from} to {to}"
                    );
                }
            }
            let arrived = CertificateFacts {
                issuance: LiveIssuance::None,
                version: Some(NewestVersion { not_after: now + TimeDelta::days(90), revoked: false }),
                last_issuance_failed: false,
            };
            if before.issuance == LiveIssuance::Running {
                assert!(before.status(now).may_become(arrived.status(now)));
            }
        }
    }
}
