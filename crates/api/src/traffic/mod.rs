//! Who may call from where, and how often: client addresses behind proxies, rate limits, CORS.

pub(crate) mod bucket;
pub(crate) mod client_address;
pub mod cors;
pub(crate) mod rate_limit;
pub(crate) mod visitor;

use std::time::Duration;

use zonecert_domain::network::Network;
use zonecert_domain::rate_limit::RateLimits;
use zonecert_domain::sign_in::SignInLimits;

use cors::Origin;

/// The operator's settings for all of this.
#[derive(Clone, Debug)]
pub struct TrafficSettings {
    /// The reverse proxies that are believed when they say for whom they ask. Whoever else says so is not.
    pub trusted_proxies: Vec<Network>,
    /// Where they say it.
    pub forwarded_header: ForwardedHeader,
    /// Web pages of these origins may call the API from a browser.
    pub cors_origins: Vec<Origin>,
    /// How often accounts and addresses may call. None: as often as they like.
    pub rate_limits: Option<RateLimits>,
    /// How guessing at sign-ins is slowed down.
    pub sign_in_limits: SignInLimits,
    /// Live events.
    pub live: LiveSettings,
}

/// The header by which a reverse proxy says for whom it asks. Only one is believed: the proxy passes the other on as the client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// How live events are sent.
#[derive(Clone, Copy, Debug)]
pub struct LiveSettings {
    /// Streams that an account may have open at a process.
    pub streams_per_account: usize,
    /// How often a comment is sent, by which both sides learn that the other is there. Missed announcements are made up for as often.
    pub keep_alive: Duration,
    /// A client that takes nothing for so long has lost its stream.
    pub patience: Duration,
}

impl Default for TrafficSettings {
    /// No proxy, no web pages, and the limits that are meant for the public.
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            cors_origins: Vec::new(),
            rate_limits: Some(RateLimits::default()),
            sign_in_limits: SignInLimits::default(),
            live: LiveSettings::default(),
        }
    }
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self { streams_per_account: 20, keep_alive: Duration::from_secs(15), patience: Duration::from_secs(30) }
    }
}
