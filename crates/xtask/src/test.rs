//! `cargo xtask test`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use zonecert_devstack::{Stack, StackOptions};

use crate::interrupt::Interrupt;
use crate::report::say;
use crate::{cargo, dashboard, packages, schemathesis, workspace};

#[derive(Args)]
#[command(
    about = "Check format and lints, then run all tests against real parts",
    long_about = "Check format and lints, then run schemathesis, the dashboard in Chromium, unit, integration and whole-system tests against a private PostgreSQL, \
PowerDNS and Pebble, which are started for it under .dev/test.

Uses cargo-nextest and cargo-deny where they are installed. The summary of the test runner comes last."
)]
pub(crate) struct Test {
    /// Install nothing: list the packages that are missing and end with an error, or go on if there are none
    #[arg(long)]
    no_install: bool,
}

impl Test {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        packages::prepare(self.no_install).await?;
        Interrupt::listen()?.unless(run_parts(self.no_install)).await
    }
}

async fn run_parts(no_install: bool) -> Result<ExitCode> {
    // Before anything is built: what cannot be had is known at once.
    let schemathesis = schemathesis::prepare(no_install).await?;
    dashboard::prepare_browser(no_install).await?;
    dashboard::build(no_install).await?;
    part("format", &["fmt", "--all", "--check"]).await?;
    part("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).await?;
    if cargo::has("deny").await? {
        // Advisories have to be fetched, which the GitHub workflow does: here a machine without the Internet is to be green too.
        part("dependencies", &["deny", "check", "bans", "licenses", "sources"]).await?;
    } else {
        say("dependencies: skipped, cargo-deny is not installed (the GitHub workflow always runs it)");
    }
    part("build of zonecert", &["build", "--workspace", "--bins"]).await?;
    let nextest = cargo::has("nextest").await?;
    if nextest {
        // nextest leaves these out.
        part("examples in the documentation", &["test", "--workspace", "--doc", "--quiet"]).await?;
        part("build of the tests", &["nextest", "run", "--workspace", "--no-run"]).await?;
    } else {
        part("build of the tests", &["test", "--workspace", "--no-run"]).await?;
    }

    let begun = Instant::now();
    let options = StackOptions { fresh: true, durable: false, progress: say, ..StackOptions::new(workspace::dev("test")?) };
    let stack = Stack::start(options).await?;
    say(&format!("parts for the tests: started in {:.1} s", begun.elapsed().as_secs_f64()));

    if let Err(error) = schemathesis::part(schemathesis, &stack.handle()).await {
        stack.stop().await?;
        return Err(error);
    }

    if let Err(error) = dashboard::browse(&stack.handle()).await {
        stack.stop().await?;
        return Err(error);
    }

    // From here on only the test runner speaks, so that its summary is last.
    say(&format!("tests with {}", if nextest { "cargo nextest" } else { "cargo test (cargo-nextest is not installed)" }));
    // A red run names all that is red.
    let runner =
        if nextest { ["nextest", "run", "--workspace", "--no-fail-fast"].as_slice() } else { &["test", "--workspace", "--no-fail-fast"] };
    let code = cargo::run_on_stack(runner, &stack.description_file()).await?;
    stack.stop().await?;
    Ok(ExitCode::from(code))
}

async fn part(name: &str, cargo_args: &[&str]) -> Result<()> {
    say(&format!("{name}: cargo {}", cargo_args.join(" ")));
    let begun = Instant::now();
    cargo::run(cargo_args).await?;
    say(&format!("{name}: ok, {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}
