//! The DNS as everybody sees it, and our part in it. API and worker share these.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use clap::Args;
use zonecert_domain::zone_name::ZoneName;
use zonecert_resolver::Resolver;
use zonecert_worker::dns::Visibility;

/// Who is asked, who answers for the zones of customers, and where the aliases of delegated zones lead.
#[derive(Args)]
#[command(next_help_heading = "DNS")]
pub(crate) struct DnsArgs {
    /// DNS resolvers that are asked about zones: proofs of control, aliases, delegations. ADDRESS:PORT, comma separated. Without it those of the operating
    /// system.
    #[arg(long, env = "ZONECERT_RESOLVER", value_delimiter = ',', value_name = "ZONECERT_RESOLVER")]
    pub(crate) resolver: Vec<SocketAddr>,
    /// A zone of the platform's own, delegated to its name servers, where the challenges of delegated zones are written. It is made in PowerDNS where it is
    /// missing, and nobody can import it. Without it there are no delegated zones.
    #[arg(long, env = "ZONECERT_CHALLENGE_ZONE", value_name = "ZONECERT_CHALLENGE_ZONE", value_parser = super::platform_zone)]
    pub(crate) challenge_zone: Option<ZoneName>,
    /// Name servers of the zones that we create, comma separated: what customers point their registrar at.
    #[arg(long, env = "ZONECERT_NAMESERVERS", value_delimiter = ',', required = true, value_name = "ZONECERT_NAMESERVERS",
        value_parser = super::name_server)]
    pub(crate) nameservers: Vec<ZoneName>,
    /// Which name servers have to show a challenge before the CA is told of it: `nameservers` (those that customers are told, at the addresses that the
    /// resolvers know), `off`, or ADDRESS:PORT, comma separated.
    #[arg(long, env = "ZONECERT_PROPAGATION_CHECK", default_value = "nameservers", value_name = "ZONECERT_PROPAGATION_CHECK")]
    pub(crate) propagation_check: Visibility,
}

impl DnsArgs {
    /// What asks the resolvers.
    pub(crate) fn resolver(&self) -> Result<Resolver> {
        Resolver::new(&self.resolver).context("ZONECERT_RESOLVER")
    }
}
