//! The DNS server that answers for our zones.

use anyhow::{Context as _, Result};
use clap::Args;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::Store;
use zonecert_worker::dns::{ApiKey, NameServers, PowerDns, Projector};

use super::dns::DnsArgs;

/// `PowerDNS`' HTTP API.
#[derive(Args)]
#[command(next_help_heading = "PowerDNS")]
#[expect(clippy::struct_field_names, reason = "the names are those of the flags")]
pub(crate) struct PowerDnsArgs {
    /// Where its HTTP API is, without /api/v1.
    #[arg(long, env = "ZONECERT_POWERDNS_URL", default_value = "http://127.0.0.1:8081", value_name = "ZONECERT_POWERDNS_URL")]
    powerdns_url: url::Url,
    /// Its api-key.
    #[arg(long, env = "ZONECERT_POWERDNS_API_KEY", hide_env_values = true, value_name = "ZONECERT_POWERDNS_API_KEY")]
    powerdns_api_key: String,
    /// Its name for itself in the API.
    #[arg(long, env = "ZONECERT_POWERDNS_SERVER_ID", default_value = "localhost", value_name = "ZONECERT_POWERDNS_SERVER_ID")]
    powerdns_server_id: String,
}

impl PowerDnsArgs {
    /// The port to it. `owner` is the name by which it holds the leases of zones.
    pub(crate) fn projector(&self, store: &Store, dns: &DnsArgs, owner: &str) -> Result<Projector> {
        let api_key: ApiKey = self.powerdns_api_key.parse().context("ZONECERT_POWERDNS_API_KEY")?;
        let powerdns = PowerDns::new(&self.powerdns_url, &self.powerdns_server_id, api_key).context("ZONECERT_POWERDNS_URL")?;
        let nameservers = NameServers::parse(dns.nameservers.iter().map(ZoneName::as_str)).context("ZONECERT_NAMESERVERS")?;
        Ok(Projector::new(store.clone(), powerdns, nameservers, dns.challenge_zone.clone(), owner))
    }
}
