//! Zones in a real `PowerDNS` on `PostgreSQL`, brought to what the rows say; and looks at who controls them.

mod control;
mod customer;
mod lease;
mod passing_on;
mod records;
mod refused;
mod trouble;
mod values;
mod world;
mod zones;
