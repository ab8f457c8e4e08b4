//! A private `PowerDNS`: [`PowerDns`] is its API and its DNS port, [`PowerDnsServer`] the process.

mod client;
mod proxy;
mod server;

pub use client::{PowerDns, RrSet, Zone};
pub use proxy::PowerDnsProxy;
pub(crate) use server::Backend;
pub use server::PowerDnsServer;
