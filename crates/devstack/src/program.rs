//! Finds the programs that the stack runs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Looked through in this order; fixed, so that no shim on somebody's `PATH` is taken for the real program.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

pub(crate) fn find(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

pub(crate) fn get(name: &str, package: &str) -> Result<PathBuf> {
    find(name).with_context(|| format!("{name} is not installed; `cargo xtask up` installs it (Debian package {package})"))
}
