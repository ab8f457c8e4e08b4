//! What API and worker share: the same in every process of one service.

use clap::Args;

use super::ca::CaArgs;
use super::dns::DnsArgs;
use super::webhooks::WebhookArgs;

/// The CA, the DNS as everybody sees it, and where webhooks may be.
#[derive(Args)]
pub(crate) struct SharedArgs {
    #[command(flatten)]
    pub(crate) ca: CaArgs,
    #[command(flatten)]
    pub(crate) dns: DnsArgs,
    #[command(flatten)]
    pub(crate) webhooks: WebhookArgs,
}
