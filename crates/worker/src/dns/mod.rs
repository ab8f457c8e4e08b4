//! The DNS port: zones in `PowerDNS`, brought to hold what our rows say.
//!
//! `challenge_records` and `zone_records` are the truth and `PowerDNS` their projection. `PowerDNS` 4.7 rewrites a zone's SOA on each change and loses or doubles it when
//! two come at once, so all changes of a zone go through one durable lease, batched, and are read back ([`Projector`]). [`PowerDns`] is the
//! HTTP client; `change` and `records` decide what is to be written, and are pure.

mod adoption;
mod change;
mod failure;
mod holder;
mod nameservers;
mod powerdns;
mod projection;
mod records;
mod txt;
pub(crate) mod visibility;
mod write;
mod zone;

pub use failure::DnsFailure;
pub use nameservers::{NameServers, NameServersError};
pub use powerdns::{ApiKey, ApiKeyError, PowerDns};
pub use projection::Projector;
pub use visibility::Visibility;
