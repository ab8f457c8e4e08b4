//! Where messages to webhooks may go to.

use clap::Args;
use zonecert_domain::network::Network;
use zonecert_domain::webhook::Destinations;

/// Messages to customers' webhooks.
#[derive(Args)]
#[command(next_help_heading = "Webhooks")]
pub(crate) struct WebhookArgs {
    /// Networks to which messages may go beside the public Internet, comma separated: `10.1.0.0/16,2001:db8::/32`. There also without TLS. For receivers of your own,
    /// and for development: every customer can have messages sent there. The same for every process of one service.
    #[arg(long, env = "ZONECERT_WEBHOOK_NETWORKS", value_delimiter = ',', value_name = "ZONECERT_WEBHOOK_NETWORKS")]
    webhook_networks: Vec<Network>,
}

impl WebhookArgs {
    /// The public Internet, and what is set.
    pub(crate) fn destinations(&self) -> Destinations {
        Destinations::new(self.webhook_networks.clone())
    }
}
