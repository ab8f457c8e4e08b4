//! Webhooks (requirements S0.5, X17): what is told, where to, and when what did not come through is sent again (`docs/adr/0025-webhooks.md`).

use std::net::IpAddr;
use std::time::Duration;

use url::{Host, Url};

use crate::network::{Network, is_public};
use crate::retry::LONGEST_RETRY_AFTER;

/// Most characters of a URL.
pub const MAX_URL_CHARACTERS: usize = 2000;

/// The waits after the first, second, … failed attempt: together three days and half an hour. After the last one a message is sent once more.
pub const RUNGS: [Duration; 9] = [
    Duration::from_secs(30),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(17),
    Duration::from_hours(24),
];

/// A webhook at which each attempt has failed for so long is disabled.
pub const FAILING_FOR: Duration = Duration::from_hours(3 * 24);

/// A wait is longer than its rung by up to this part of it, so that what failed together is not sent again together.
const JITTER: f64 = 0.1;

/// What a webhook can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WebhookEvent {
    /// It was asked for: `pending`. Again where it had ended.
    Requested,
    /// An order is under way: `validating`.
    Validating,
    /// An attempt at a certificate that has no valid version has failed, and will be repeated: `pending` again.
    AttemptFailed,
    /// It has its first version: `issued`.
    Issued,
    /// It has another version.
    Renewed,
    /// An attempt to renew has ended without another version. The one in use is as it was.
    RenewalFailed,
    /// It could not be had: `failed`.
    Failed,
    /// The version in use ends in 30, 14, 7 or 1 days.
    Expiring,
    /// It has expired.
    Expired,
    /// It was revoked.
    Revoked,
    /// It was deleted: nothing follows.
    Deleted,
}

impl WebhookEvent {
    /// Every event, in the order of a certificate's life.
    pub const ALL: [Self; 11] = [
        Self::Requested,
        Self::Validating,
        Self::AttemptFailed,
        Self::Issued,
        Self::Renewed,
        Self::RenewalFailed,
        Self::Failed,
        Self::Expiring,
        Self::Expired,
        Self::Revoked,
        Self::Deleted,
    ];

    /// The name in messages, in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "certificate.requested",
            Self::Validating => "certificate.validating",
            Self::AttemptFailed => "certificate.attempt_failed",
            Self::Issued => "certificate.issued",
            Self::Renewed => "certificate.renewed",
            Self::RenewalFailed => "certificate.renewal_failed",
            Self::Failed => "certificate.failed",
            Self::Expiring => "certificate.expiring",
            Self::Expired => "certificate.expired",
            Self::Revoked => "certificate.revoked",
            Self::Deleted => "certificate.deleted",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }
}

/// The event that a test sends; no webhook can ask for it, each is told it when it is tested.
pub const TEST_EVENT: &str = "webhook.test";

/// Which addresses messages may be sent to: those of the public Internet, and networks that the operator allows.
#[derive(Clone, Debug, Default)]
pub struct Destinations {
    allowed: Vec<Network>,
}

/// Why a URL is not one that messages are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is none, or too long.
    #[error("give a URL as https://hooks.your-domain.com/zonecert, of at most {MAX_URL_CHARACTERS} characters")]
    Malformed,
    /// It is not `https`.
    #[error("the URL must begin with https://: messages are signed, and not secret by that")]
    NotHttps,
    /// It holds what does not belong there.
    #[error("leave user name, password and fragment out of the URL: the signature shows who sends a message")]
    Credentials,
    /// Its host is an address that nobody outside can reach, or that is not to be reached.
    #[error("the host must be one of the public Internet")]
    NotPublic,
}

impl UrlError {
    /// The stable code in problem documents.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "url_invalid",
            Self::NotHttps => "url_not_https",
            Self::Credentials => "url_has_credentials",
            Self::NotPublic => "url_not_public",
        }
    }
}

impl Destinations {
    /// The public Internet and these networks.
    pub fn new(allowed: Vec<Network>) -> Self {
        Self { allowed }
    }

    /// Whether messages may be sent to this address; without TLS only where the operator allows the network.
    pub fn allow(&self, address: IpAddr, encrypted: bool) -> bool {
        self.allowed.iter().any(|network| network.contains(address)) || encrypted && is_public(address)
    }

    /// Reads the URL of a webhook. A name is not looked up: whether its addresses are allowed is asked each time that something is sent.
    pub fn parse(&self, text: &str) -> Result<Url, UrlError> {
        if text.chars().count() > MAX_URL_CHARACTERS {
            return Err(UrlError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        let encrypted = match url.scheme() {
            "https" => true,
            "http" if !self.allowed.is_empty() => false,
            _ => return Err(UrlError::NotHttps),
        };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(UrlError::Credentials);
        }
        match url.host() {
            None => Err(UrlError::Malformed),
            Some(Host::Ipv4(address)) if !self.allow(address.into(), encrypted) => Err(UrlError::NotPublic),
            Some(Host::Ipv6(address)) if !self.allow(address.into(), encrypted) => Err(UrlError::NotPublic),
            Some(Host::Domain(name)) if is_of_no_public_name(name) && self.allowed.is_empty() => Err(UrlError::NotPublic),
            Some(_) if url.port() == Some(0) => Err(UrlError::Malformed),
            Some(_) => Ok(url),
        }
    }
}

/// `localhost` (RFC 6761 §6.3), `.internal`, and names without a dot lead to whoever asks.
fn is_of_no_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    !name.contains('.') || ["localhost", "internal", "local"].iter().any(|last| name.rsplit('.').next() == Some(last))
}

/// How long to wait before a message is sent again, after so many attempts have failed. `None` when it is given up. `jitter` is from 0 to 1, `retry_after` what
/// the receiver asked for, which wins where it is longer.
pub fn next_wait(failed_attempts: u32, retry_after: Option<Duration>, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(failed_attempts.checked_sub(1)?).ok()?;
    let rung = *RUNGS.get(index)?;
    let asked_for = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
    Some(rung.mul_f64(1.0 + JITTER * jitter.clamp(0.0, 1.0)).max(asked_for))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_event_is_read_back_from_its_name() {
        for event in WebhookEvent::ALL {
            assert_eq!(WebhookEvent::parse(event.as_str()), Some(event));
        }
        assert!(WebhookEvent::ALL.is_sorted());
        assert_eq!(WebhookEvent::parse(TEST_EVENT), None);
    }

    #[test]
    fn a_url_is_encrypted_public_and_holds_no_credentials() {
        let nobody = Destinations::default();
        for good in [
            "https://hooks.example.com/",
            "https://hooks.example.com:8443/a?b=c",
            "https://1.1.1.1/",
            "https://[2606:4700::1111]/",
            "https://büro.example",
        ] {
            assert!(nobody.parse(good).is_ok(), "{good}");
        }
        let long = format!("https://hooks.example.com/{}", "a".repeat(MAX_URL_CHARACTERS));
        for (bad, error) in [
            ("", UrlError::Malformed),
            ("hooks.example.com", UrlError::Malformed),
            ("https://", UrlError::Malformed),
            ("https://hooks.example.com:0/", UrlError::Malformed),
            (long.as_str(), UrlError::Malformed),
            ("http://hooks.example.com/", UrlError::NotHttps),
            ("ftp://hooks.example.com/", UrlError::NotHttps),
            ("file:///etc/passwd", UrlError::NotHttps),
            ("https://user@hooks.example.com/", UrlError::Credentials),
            ("https://:secret@hooks.example.com/", UrlError::Credentials),
            ("https://hooks.example.com/#a", UrlError::Credentials),
            ("https://127.0.0.1/", UrlError::NotPublic),
            ("https://2130706433/", UrlError::NotPublic),
            ("https://0x7f.1/", UrlError::NotPublic),
            ("https://[::1]/", UrlError::NotPublic),
            ("https://[::ffff:10.0.0.1]/", UrlError::NotPublic),
            ("https://169.254.169.254/latest/meta-data", UrlError::NotPublic),
            ("https://localhost/", UrlError::NotPublic),
            ("https://a.localhost./", UrlError::NotPublic),
            ("https://metadata/", UrlError::NotPublic),
            ("https://metadata.google.internal/", UrlError::NotPublic),
        ] {
            assert_eq!(nobody.parse(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn what_the_operator_allows_may_be_private_and_unencrypted_and_nothing_else() {
        let ours = Destinations::new(vec!["10.1.0.0/16".parse().unwrap()]);
        assert!(ours.parse("http://10.1.2.3:8080/hook").is_ok());
        assert!(ours.parse("http://hooks.internal/").is_ok(), "a name is looked at when something is sent");
        assert_eq!(ours.parse("http://10.2.0.1/"), Err(UrlError::NotPublic));
        assert_eq!(ours.parse("http://1.1.1.1/"), Err(UrlError::NotPublic));
        assert!(ours.parse("https://1.1.1.1/").is_ok());
        assert!(ours.allow("::ffff:10.1.2.3".parse().unwrap(), false));
        assert!(!ours.allow("1.1.1.1".parse().unwrap(), false));
    }

    #[test]
    fn the_ladder_takes_a_little_more_than_three_days_and_then_it_is_given_up() {
        assert!(RUNGS.is_sorted());
        let sum: Duration = (1..=9).map(|failed| next_wait(failed, None, 0.0).unwrap()).sum();
        assert!(sum > FAILING_FOR && sum < FAILING_FOR + Duration::from_hours(1), "{sum:?}");
        assert_eq!(next_wait(10, Some(Duration::from_secs(1)), 0.0), None);
        assert_eq!(next_wait(0, None, 0.0), None);
    }

    #[test]
    fn retry_after_wins_where_it_is_longer_and_is_bounded() {
        let wait = |seconds| next_wait(1, Some(Duration::from_secs(seconds)), 0.0).unwrap().as_secs();
        assert_eq!((wait(1), wait(90), wait(u64::MAX)), (30, 90, 86_400));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_its_rung_nor_much_longer(failed in 1..=9_u32, jitter in -1.0..2.0_f64) {
            let (wait, rung) = (next_wait(failed, None, jitter).unwrap(), RUNGS[failed as usize - 1]);
            prop_assert!(wait >= rung && wait <= rung.mul_f64(1.0 + JITTER) + Duration::from_millis(1));
        }
    }
}
