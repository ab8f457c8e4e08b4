//! The environment variables that the development tools read. Everything else is an argument.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// Path of the `stack.json` of a running stack; `cargo xtask test` sets it so that all tests share one.
pub const STACK_VARIABLE: &str = "ZONECERT_DEVSTACK";

/// Path of the `zonecert` binary to run instead of the one beside the running executable.
pub const BINARY_VARIABLE: &str = "ZONECERT_BIN";

/// How many rounds the fault bench plays; `cargo xtask faults` sets it.
pub const ROUNDS_VARIABLE: &str = "ZONECERT_FAULT_ROUNDS";

/// The seed of its first round.
pub const SEED_VARIABLE: &str = "ZONECERT_FAULT_SEED";

/// For how many seconds its outage lasts.
pub const OUTAGE_VARIABLE: &str = "ZONECERT_FAULT_OUTAGE";

/// How many certificates renew in its storm.
pub const STORM_VARIABLE: &str = "ZONECERT_FAULT_STORM";

/// The number that a variable of these holds.
///
/// # Errors
/// When it holds something else.
pub fn number(variable: &str) -> Result<Option<u64>> {
    let value = value(variable);
    value.map(|value| value.parse().with_context(|| format!("{variable} is {value:?}, and no number"))).transpose()
}

pub(crate) fn path(variable: &str) -> Option<PathBuf> {
    value(variable).map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "set by `cargo xtask test` for test executables, which have no command line of ours")]
fn value(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}
