//! A private `PowerDNS`: [`PowerDns`] is its API and its DNS port, [`PowerDnsServer`] the process.

mod client;
mod server;

pub use client::{PowerDns, RrSet, Zone};
pub(crate) use server::Backend;
pub use server::PowerDnsServer;
