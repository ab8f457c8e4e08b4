//! `zonecert openapi`.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::Args;

/// How the description is printed.
#[derive(Args)]
pub(crate) struct Openapi {
    /// As JSON instead of YAML.
    #[arg(long)]
    json: bool,
}

/// Prints the description of the API.
pub(crate) fn run(command: &Openapi) -> Result<()> {
    let document = zonecert_api::openapi::document();
    let text = if command.json {
        serde_json::to_string_pretty(&document)?
    } else {
        let head = "# Written from the code by `cargo xtask openapi`. Change the descriptions there: CONTRIBUTING.md says how.\n";
        format!("{head}{}", serde_saphyr::to_string(&document)?)
    };
    std::io::stdout().write_all(format!("{}\n", text.trim_end()).as_bytes()).context("the description could not be printed")
}
