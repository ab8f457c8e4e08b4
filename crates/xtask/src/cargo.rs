//! Runs cargo in the working copy; what it prints goes to the terminal.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;
use zonecert_devstack::STACK_VARIABLE;

use crate::workspace;

fn command(args: &[&str]) -> Result<Command> {
    let mut command = Command::new("cargo");
    // A build that is no longer wanted ends with us.
    command.args(args).current_dir(workspace::root()?).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Runs `cargo <args>`.
///
/// # Errors
/// When it fails; what it said stands on the terminal.
pub(crate) async fn run(args: &[&str]) -> Result<()> {
    let status = command(args)?.status().await.context("cannot run cargo; is it on the PATH?")?;
    if !status.success() {
        bail!("`cargo {}` failed ({status}); see above", args.join(" "));
    }
    Ok(())
}

/// What `cargo <args>` prints.
///
/// # Errors
/// When it fails; what it said of that stands on the terminal.
pub(crate) async fn output(args: &[&str]) -> Result<String> {
    let output = command(args)?.stderr(Stdio::inherit()).output().await.context("cannot run cargo; is it on the PATH?")?;
    if !output.status.success() {
        bail!("`cargo {}` failed ({}); see above", args.join(" "), output.status);
    }
    String::from_utf8(output.stdout).context("cargo printed what is not text")
}

/// Runs `cargo <args>` with the tests pointed at a running stack. Answers the exit code.
pub(crate) async fn run_on_stack(args: &[&str], stack_file: &Path) -> Result<u8> {
    run_on_stack_with(args, stack_file, &[]).await
}

/// The same, with these variables set to numbers.
pub(crate) async fn run_on_stack_with(args: &[&str], stack_file: &Path, settings: &[(&str, u64)]) -> Result<u8> {
    let settings = settings.iter().map(|(name, value)| (name, value.to_string()));
    let status = command(args)?.env(STACK_VARIABLE, stack_file).envs(settings).status().await.context("cannot run cargo")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Whether `cargo <subcommand>` is installed.
pub(crate) async fn has(subcommand: &str) -> Result<bool> {
    let status = command(&[subcommand, "--version"])?.stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    Ok(status.context("cannot run cargo; is it on the PATH?")?.success())
}
