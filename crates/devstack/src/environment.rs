//! The two environment variables that the development tools read. Everything else is an argument.

use std::path::PathBuf;

/// Path of the `stack.json` of a running stack; `cargo xtask test` sets it so that all tests share one.
pub const STACK_VARIABLE: &str = "ZONECERT_DEVSTACK";

/// Path of the `zonecert` binary to run instead of the one beside the running executable.
pub const BINARY_VARIABLE: &str = "ZONECERT_BIN";

#[expect(clippy::disallowed_methods, reason = "set by `cargo xtask test` for test executables, which have no command line of ours")]
pub(crate) fn path(variable: &str) -> Option<PathBuf> {
    std::env::var(variable).ok().filter(|value| !value.is_empty()).map(PathBuf::from)
}
