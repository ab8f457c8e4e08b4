//! What the worker calls, and nobody else: the same in every worker of one service.

use clap::Args;

use super::acme::AcmeArgs;
use super::mail::MailArgs;
use super::powerdns::PowerDnsArgs;

/// Our account at the CA, our DNS server, and the way of mail.
#[derive(Args)]
pub(crate) struct OutsideArgs {
    #[command(flatten)]
    pub(crate) acme: AcmeArgs,
    #[command(flatten)]
    pub(crate) powerdns: PowerDnsArgs,
    #[command(flatten)]
    pub(crate) mail: MailArgs,
}
