//! Settings, a file for each group. The name of a value in `--help` and in errors is its variable.

pub(crate) mod acme;
pub(crate) mod api;
pub(crate) mod ca;
pub(crate) mod database;
pub(crate) mod dns;
pub(crate) mod logs;
pub(crate) mod mail;
pub(crate) mod monitoring;
pub(crate) mod operators;
pub(crate) mod outside;
pub(crate) mod powerdns;
pub(crate) mod secrets;
pub(crate) mod shared;
pub(crate) mod traffic;
pub(crate) mod webhooks;
pub(crate) mod worker;

use std::time::Duration;

use zonecert_domain::zone_name::ZoneName;

/// Reads seconds, with or without a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a length of time".to_owned())
}

/// The same, and longer than nothing.
fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("must be more than 0 seconds".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a zone of the platform's own.
fn platform_zone(text: &str) -> Result<ZoneName, String> {
    ZoneName::platform(text).map_err(|error| error.detail())
}

/// Reads the host name of a name server.
fn name_server(text: &str) -> Result<ZoneName, String> {
    ZoneName::platform(text.trim()).map_err(|_| "not the host name of a name server; write it like ns1.example.com".to_owned())
}
