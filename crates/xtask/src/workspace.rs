//! Paths of the working copy.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The working copy that this executable was built from.
pub(crate) fn root() -> Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    built_from.canonicalize().with_context(|| format!("{} is gone; build xtask again", built_from.display()))
}

/// `.dev/<name>`: everything that a command stores.
pub(crate) fn dev(name: &str) -> Result<PathBuf> {
    Ok(root()?.join(".dev").join(name))
}
