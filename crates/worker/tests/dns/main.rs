//! Zones in a real `PowerDNS` on `PostgreSQL`, brought to what the rows say.

mod lease;
mod trouble;
mod values;
mod world;
mod zones;
