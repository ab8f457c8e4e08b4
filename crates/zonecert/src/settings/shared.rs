//! What API and worker share: the same in every process of one service.

use clap::Args;

use super::ca::CaArgs;
use super::dns::DnsArgs;

/// The CA, and the DNS as everybody sees it.
#[derive(Args)]
pub(crate) struct SharedArgs {
    #[command(flatten)]
    pub(crate) ca: CaArgs,
    #[command(flatten)]
    pub(crate) dns: DnsArgs,
}
