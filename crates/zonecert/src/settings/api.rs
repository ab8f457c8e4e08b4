//! The REST API.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use zeroize::Zeroizing;
use zonecert_api::ApiSettings;
use zonecert_domain::name::NamePolicy;
use zonecert_domain::zone_name::ZoneName;

use super::ca::CaArgs;
use super::dns::DnsArgs;
use super::traffic::TrafficArgs;
use super::webhooks::WebhookArgs;

/// Where the API listens and what it allows.
#[derive(Args)]
#[command(next_help_heading = "API")]
pub(crate) struct ApiArgs {
    /// Address and port to listen on; port 0 takes a free one. TLS is for the proxy in front.
    #[arg(long, env = "ZONECERT_LISTEN", default_value = "127.0.0.1:8080", value_name = "ZONECERT_LISTEN")]
    pub(crate) listen: SocketAddr,
    /// A file that gets the address once the API listens.
    #[arg(long, env = "ZONECERT_ADDRESS_FILE", value_name = "ZONECERT_ADDRESS_FILE")]
    pub(crate) address_file: Option<PathBuf>,
    /// The address by which the API is reached from outside: issuer and audience of access tokens. Every process of one service has the same.
    #[arg(long, env = "ZONECERT_PUBLIC_URL", default_value = "http://127.0.0.1:8080", value_name = "ZONECERT_PUBLIC_URL")]
    public_url: String,
    /// Where people find the dashboard: links in mails begin with it. Without it the public address.
    #[arg(long, env = "ZONECERT_DASHBOARD_URL", value_name = "ZONECERT_DASHBOARD_URL")]
    dashboard_url: Option<String>,
    /// Serves the dashboard at `/`, beside the API. Switch it off where it is served elsewhere, or not at all.
    #[arg(long, env = "ZONECERT_DASHBOARD", value_name = "ZONECERT_DASHBOARD", default_value = "true",
        action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    dashboard: bool,
    /// PEM files, comma separated, with the private keys that sign access tokens: ECDSA P-256, made by `openssl genpkey -algorithm EC -pkeyopt
    /// ec_paramgen_curve:P-256`. The first signs, all verify.
    #[arg(long, env = "ZONECERT_JWT_KEY_FILE", value_delimiter = ',', required = true, value_name = "ZONECERT_JWT_KEY_FILE")]
    jwt_key_file: Vec<PathBuf>,
    /// Allows zones and certificates under .test and other names that are not of the public DNS (RFC 6761). For development.
    #[arg(long, env = "ZONECERT_ALLOW_SPECIAL_USE_NAMES", value_name = "ZONECERT_ALLOW_SPECIAL_USE_NAMES", default_value = "false",
        action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    allow_special_use_names: bool,
    /// Zones of the platform itself, comma separated: nobody can import them, or anything above or below them.
    #[arg(long, env = "ZONECERT_PLATFORM_ZONES", value_delimiter = ',', value_name = "ZONECERT_PLATFORM_ZONES", value_parser = super::platform_zone)]
    platform_zones: Vec<ZoneName>,
    /// Threads that answer requests.
    #[arg(long, env = "ZONECERT_API_THREADS", default_value_t = cores(), value_name = "ZONECERT_API_THREADS")]
    api_threads: NonZeroUsize,
    /// Passwords hashed at the same time; each takes 19 MiB and a core for about 20 ms.
    #[arg(long, env = "ZONECERT_PASSWORD_HASHES", default_value_t = cores(), value_name = "ZONECERT_PASSWORD_HASHES")]
    password_hashes: NonZeroUsize,
    /// How long running requests may take to end once a stop is asked for.
    #[arg(long, env = "ZONECERT_STOP_PATIENCE_SECONDS", default_value = "20", value_name = "ZONECERT_STOP_PATIENCE_SECONDS",
        value_parser = super::seconds)]
    stop_patience_seconds: Duration,
    #[command(flatten)]
    traffic: TrafficArgs,
}

impl ApiArgs {
    /// The settings as the API takes them.
    pub(crate) fn settings(&self, ca: &CaArgs, dns: &DnsArgs, webhooks: &WebhookArgs) -> Result<ApiSettings> {
        let mut token_keys_pem = Zeroizing::new(String::new());
        for file in &self.jwt_key_file {
            let pem = std::fs::read_to_string(file).with_context(|| format!("ZONECERT_JWT_KEY_FILE: {} cannot be read", file.display()))?;
            token_keys_pem.push_str(Zeroizing::new(pem).trim());
            token_keys_pem.push('\n');
        }
        Ok(ApiSettings {
            public_url: self.public_url.trim_end_matches('/').to_owned(),
            dashboard_url: self.dashboard_url.as_ref().unwrap_or(&self.public_url).trim_end_matches('/').to_owned(),
            dashboard: self.dashboard,
            token_keys_pem,
            resolvers: dns.resolver.clone(),
            names: NamePolicy {
                allow_special_use: self.allow_special_use_names,
                platform_zones: self.platform_zones.iter().chain(&dns.challenge_zone).cloned().collect(),
            },
            authorities: ca.ledgers()?,
            caa_identities: ca.all_caa_identities()?,
            name_servers: dns.nameservers.clone(),
            challenge_zone: dns.challenge_zone.clone(),
            threads: self.api_threads,
            parallel_password_hashes: self.password_hashes,
            traffic: self.traffic.settings(),
            webhook_destinations: webhooks.destinations(),
            stop_patience: self.stop_patience_seconds,
        })
    }
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
