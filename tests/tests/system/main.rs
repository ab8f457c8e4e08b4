//! Whole-system tests: the built binary against real PostgreSQL, PowerDNS and Pebble.

mod account_end;
mod admin;
mod alerts;
mod authorities;
mod budget;
mod by_hand;
mod cancelling;
mod causes;
mod crashes;
mod failures;
mod fleet;
mod issuance;
mod key_change;
mod mass_revocation;
mod metrics;
mod outages;
mod people;
mod propagation;
mod renewal_info;
mod renewals;
mod revocation;
mod rotation;
mod secrets;
mod suspensions;
mod webhooks;
mod zones;
