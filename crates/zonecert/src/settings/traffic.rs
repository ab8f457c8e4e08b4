//! Who may call the API from where, and how often.

use std::time::Duration;

use clap::{Args, ValueEnum};
use zonecert_api::traffic::cors::Origin;
use zonecert_api::traffic::{ForwardedHeader, LiveSettings, TrafficSettings};
use zonecert_domain::network::Network;
use zonecert_domain::rate_limit::RateLimits;
use zonecert_domain::sign_in::SignInLimits;

/// Who may call the API from where, and how often.
#[derive(Args)]
#[command(next_help_heading = "Traffic")]
pub(crate) struct TrafficArgs {
    /// Reverse proxies in front of the API, networks or addresses, comma separated: they are believed when they say for whom they ask. Without them
    /// every client behind a proxy counts as one.
    #[arg(long, env = "ZONECERT_TRUSTED_PROXIES", value_delimiter = ',', value_name = "ZONECERT_TRUSTED_PROXIES")]
    trusted_proxies: Vec<Network>,
    /// The header in which they say so. The other one is never read: a proxy passes it on as the client wrote it.
    #[arg(long, env = "ZONECERT_FORWARDED_HEADER", default_value = "x-forwarded-for", value_name = "ZONECERT_FORWARDED_HEADER")]
    forwarded_header: HeaderChoice,
    /// Web pages of these origins may call the API from a browser, comma separated, as in `https://dashboard.example`.
    #[arg(long, env = "ZONECERT_CORS_ORIGINS", value_delimiter = ',', value_name = "ZONECERT_CORS_ORIGINS")]
    cors_origins: Vec<Origin>,
    /// Calls that can be made at once, and the seconds in which as many more can be made: for accounts by their plan, and for an address from which no
    /// account is known to call. Counted in each process. What is not named keeps its default; `off` counts nothing.
    #[arg(long, env = "ZONECERT_RATE_LIMITS", default_value = "free=50/10,plus=100/10,pro=150/10,elite=200/10,address=400/20",
        value_name = "ZONECERT_RATE_LIMITS", value_parser = rate_limits)]
    rate_limits: RateLimitChoice,
    /// Failed sign-ins that are free, and seconds of the longest wait after more, for an e-mail address and for a network address. Counted for all
    /// processes together.
    #[arg(long, env = "ZONECERT_SIGN_IN_LIMITS", default_value = "email=5/60,address=20/900", value_name = "ZONECERT_SIGN_IN_LIMITS")]
    sign_in_limits: SignInLimits,
    /// Streams of live events that an account may have open at a process.
    #[arg(long, env = "ZONECERT_EVENT_STREAMS", default_value = "20", value_name = "ZONECERT_EVENT_STREAMS",
        value_parser = clap::value_parser!(u16).range(1..))]
    event_streams: u16,
    /// How often a stream of live events shows that it is alive. Less than the time after which a proxy ends a silent answer.
    #[arg(long, env = "ZONECERT_EVENT_KEEP_ALIVE_SECONDS", default_value = "15", value_name = "ZONECERT_EVENT_KEEP_ALIVE_SECONDS",
        value_parser = super::positive_seconds)]
    event_keep_alive_seconds: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
enum HeaderChoice {
    /// What nearly all proxies send.
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// In a type of its own, since an `Option` would mean to the command line that the setting may be left out.
#[derive(Clone, Copy)]
struct RateLimitChoice(Option<RateLimits>);

impl TrafficArgs {
    /// The settings as the API takes them.
    pub(crate) fn settings(&self) -> TrafficSettings {
        TrafficSettings {
            trusted_proxies: self.trusted_proxies.clone(),
            forwarded_header: match self.forwarded_header {
                HeaderChoice::XForwardedFor => ForwardedHeader::XForwardedFor,
                HeaderChoice::Forwarded => ForwardedHeader::Forwarded,
            },
            cors_origins: self.cors_origins.clone(),
            rate_limits: self.rate_limits.0,
            sign_in_limits: self.sign_in_limits,
            live: LiveSettings {
                streams_per_account: usize::from(self.event_streams),
                keep_alive: self.event_keep_alive_seconds,
                ..LiveSettings::default()
            },
        }
    }
}

fn rate_limits(text: &str) -> Result<RateLimitChoice, String> {
    if text == "off" {
        return Ok(RateLimitChoice(None));
    }
    text.parse()
        .map(|limits| RateLimitChoice(Some(limits)))
        .map_err(|error: zonecert_domain::rate_limit::RateLimitsError| error.to_string())
}
