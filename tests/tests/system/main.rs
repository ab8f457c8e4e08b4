//! Whole-system tests: the built binary against real PostgreSQL, PowerDNS and Pebble.

mod crashes;
mod failures;
mod isolation;
mod issuance;
mod outages;
mod secrets;
