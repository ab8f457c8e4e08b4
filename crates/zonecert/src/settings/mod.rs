//! Settings, a file for each group. The name of a value in `--help` and in errors is its variable.

pub(crate) mod acme;
pub(crate) mod api;
pub(crate) mod database;
pub(crate) mod logs;
pub(crate) mod powerdns;
pub(crate) mod secrets;
pub(crate) mod worker;

use std::time::Duration;

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
