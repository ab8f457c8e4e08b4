//! Where the built binary is.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::environment::{self, BINARY_VARIABLE};

/// The one that the environment names, else the one built with the running executable: `target/debug/xtask` and
/// `target/debug/deps/<test>` both find `target/debug/zonecert`.
pub fn find() -> Result<PathBuf> {
    if let Some(path) = environment::path(BINARY_VARIABLE) {
        ensure!(path.is_file(), "{BINARY_VARIABLE} names {}, which does not exist", path.display());
        return Ok(path);
    }
    let executable = std::env::current_exe().context("cannot tell where the running executable is")?;
    let beside = executable.ancestors().skip(1).take(2).map(|dir| dir.join("zonecert")).find(|path| path.is_file());
    beside.with_context(|| format!("no zonecert binary beside {}; build it: `cargo build --package zonecert`", executable.display()))
}
