//! Where a certificate is in use, as the servers that fetch it tell (requirements S2.2, S1.4).

use chrono::TimeDelta;

/// Most targets of a certificate.
pub const MAX_TARGETS: usize = 50;

/// A report is believed for so long: a day, for whoever asks once a day, and an hour more.
pub const REPORT_LIFETIME: TimeDelta = TimeDelta::hours(25);

/// Most characters of a target's name.
const MAX_TARGET_CHARACTERS: usize = 100;

/// What a target does with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeploymentState {
    /// The version in use was seen there.
    Serving,
    /// Another one was.
    Stale,
    /// It was not heard of lately, or could not tell.
    Unknown,
}

impl DeploymentState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Serving, Self::Stale, Self::Unknown];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// What follows from the last report. `current` is the fingerprint of the version in use, `age` how long ago the report came.
    pub fn of(observed: Observed<'_>, current: Option<&str>, age: TimeDelta) -> Self {
        match observed.sha256() {
            Some(_) if age > REPORT_LIFETIME => Self::Unknown,
            Some(seen) if Some(seen) == current => Self::Serving,
            Some(_) => Self::Stale,
            None => Self::Unknown,
        }
    }
}

/// What a report says of the certificate at its target. Fingerprints are SHA-256 of the leaf, in lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed<'a> {
    /// Of what was seen in a TLS handshake.
    pub served_sha256: Option<&'a str>,
    /// Of what is in the files.
    pub installed_sha256: Option<&'a str>,
    /// Something went wrong there.
    pub failed: bool,
}

impl<'a> Observed<'a> {
    /// What counts: what was seen in a handshake, whatever went wrong beside it; without one, what is installed, as long as nothing went wrong.
    pub fn sha256(self) -> Option<&'a str> {
        self.served_sha256.or(self.installed_sha256.filter(|_| !self.failed))
    }
}

/// Whether this can name a target: 1 to 100 letters, digits, `.`, `_`, `-`, `:` and `@`, the first one a letter or a digit.
pub fn is_target_name(text: &str) -> bool {
    text.len() <= MAX_TARGET_CHARACTERS
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte))
}

/// Whether this is a SHA-256 in 64 lower-case hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimeDelta = TimeDelta::zero();

    #[test]
    fn every_state_is_read_back_from_its_name() {
        for state in DeploymentState::ALL {
            assert_eq!(DeploymentState::parse(state.as_str()), Some(state));
        }
        assert_eq!(DeploymentState::parse("happy"), None);
    }

    #[test]
    fn what_was_seen_in_a_handshake_counts_before_what_is_installed() {
        let observed = Observed { served_sha256: Some("old"), installed_sha256: Some("new"), failed: false };
        assert_eq!(DeploymentState::of(observed, Some("new"), NOW), DeploymentState::Stale);
        assert_eq!(DeploymentState::of(observed, Some("old"), NOW), DeploymentState::Serving);
        let failed = Observed { failed: true, ..observed };
        assert_eq!(DeploymentState::of(failed, Some("old"), NOW), DeploymentState::Serving);
    }

    #[test]
    fn what_is_installed_counts_as_long_as_nothing_went_wrong() {
        let observed = Observed { installed_sha256: Some("new"), ..Observed::default() };
        assert_eq!(DeploymentState::of(observed, Some("new"), NOW), DeploymentState::Serving);
        assert_eq!(DeploymentState::of(observed, Some("newer"), NOW), DeploymentState::Stale);
        assert_eq!(DeploymentState::of(Observed { failed: true, ..observed }, Some("new"), NOW), DeploymentState::Unknown);
        assert_eq!(DeploymentState::of(Observed::default(), Some("new"), NOW), DeploymentState::Unknown);
        assert_eq!(DeploymentState::of(observed, None, NOW), DeploymentState::Stale);
    }

    #[test]
    fn a_report_is_believed_for_a_day_and_an_hour() {
        let observed = Observed { served_sha256: Some("new"), ..Observed::default() };
        assert_eq!(DeploymentState::of(observed, Some("new"), REPORT_LIFETIME), DeploymentState::Serving);
        assert_eq!(DeploymentState::of(observed, Some("new"), REPORT_LIFETIME + TimeDelta::seconds(1)), DeploymentState::Unknown);
        assert_eq!(DeploymentState::of(observed, Some("newer"), REPORT_LIFETIME + TimeDelta::seconds(1)), DeploymentState::Unknown);
    }

    #[test]
    fn a_target_is_named_as_hosts_and_ports_are() {
        for name in ["web1", "web1.example.com", "web1:443", "nginx@web-1_a", &"a".repeat(100)] {
            assert!(is_target_name(name), "{name}");
        }
        for name in ["", ".", "..", "-a", "web 1", "web/1", "wéb", "a\n", &"a".repeat(101)] {
            assert!(!is_target_name(name), "{name}");
        }
        assert!(is_sha256(&"0a".repeat(32)));
        assert!(!is_sha256(&"0A".repeat(32)) && !is_sha256(&"0a".repeat(31)) && !is_sha256(""));
    }
}
