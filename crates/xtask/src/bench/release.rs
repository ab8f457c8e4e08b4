//! The binary that is measured.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::report::say;
use crate::{cargo, workspace};

/// The one that is named, else one that is built now, optimised.
pub(super) async fn binary(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(binary) = named {
        return std::fs::canonicalize(binary).with_context(|| format!("--binary: {} is not there", binary.display()));
    }
    say("building zonecert, optimised");
    cargo::run(&["build", "--release", "--package", "zonecert"]).await?;
    Ok(workspace::root()?.join("target/release/zonecert"))
}

/// The bare handler of actix, which stands for what the framework can do, optimised as the product is.
pub(super) async fn bare_handler(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(binary) = named {
        return std::fs::canonicalize(binary).with_context(|| format!("--bare-handler: {} is not there", binary.display()));
    }
    say("building the bare handler, optimised");
    cargo::run(&["build", "--release", "--package", "zonecert-api", "--example", "bare_handler"]).await?;
    Ok(workspace::root()?.join("target/release/examples/bare_handler"))
}
