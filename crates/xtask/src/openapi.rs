//! `cargo xtask openapi`.

use anyhow::{Context as _, Result};

use crate::report::say;
use crate::{cargo, workspace};

/// Writes `openapi.yaml`: what `zonecert openapi` prints.
pub(crate) async fn run() -> Result<()> {
    say("building zonecert");
    cargo::run(&["build", "--package", "zonecert"]).await?;
    let description = cargo::output(&["run", "--quiet", "--package", "zonecert", "--", "openapi"]).await?;
    let file = workspace::root()?.join("openapi.yaml");
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, &description).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("{} {}", file.display(), if before == description { "is as it was" } else { "is written anew" }));
    Ok(())
}
