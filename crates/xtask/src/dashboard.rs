//! `cargo xtask dashboard`: builds the web front end, and tries it out in a real browser.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::process::Command;
use zonecert_devstack::packages::Package;
use zonecert_devstack::product::setting;
use zonecert_devstack::{Product, Stack, StackHandle, StackOptions};

use crate::interrupt::Interrupt;
use crate::report::say;
use crate::{cargo, packages, workspace};

const FOR_THE_BUILD: [Package; 2] =
    [Package { name: "nodejs", why: "builds the dashboard" }, Package { name: "npm", why: "fetches what the dashboard is made of" }];

const FOR_THE_TESTS: [Package; 1] = [Package { name: "chromium", why: "the browser that the dashboard is tried out in" }];

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(8);

#[derive(Args)]
#[command(
    about = "Build the dashboard, which the next build of zonecert embeds",
    long_about = "Build the dashboard, which the next build of zonecert embeds.

Fetches what it is made of from npm on the first run, checks the types against openapi.yaml, and holds the script to its size."
)]
pub(crate) struct Dashboard {
    /// Then build zonecert and try the dashboard out in Chromium, on private parts under .dev/dashboard; screenshots go to target/dashboard
    #[arg(long)]
    browse: bool,
    /// Install nothing: list what is missing and end with an error, or go on if nothing is
    #[arg(long)]
    no_install: bool,
}

impl Dashboard {
    pub(crate) async fn run(self) -> Result<()> {
        if self.browse {
            packages::prepare(self.no_install).await?;
            prepare_browser(self.no_install).await?;
        }
        Interrupt::listen()?.unless(self.go()).await
    }

    async fn go(&self) -> Result<()> {
        build(self.no_install).await?;
        if !self.browse {
            return Ok(());
        }
        cargo::run(&["build", "--workspace", "--bins"]).await?;
        let dir = workspace::dev("dashboard")?;
        let stack = Stack::start(StackOptions { fresh: true, durable: false, progress: say, ..StackOptions::new(dir) }).await?;
        let outcome = browse(&stack.handle()).await;
        stack.stop().await?;
        outcome
    }
}

/// Makes sure that there is a browser, before anything is built that would then not be tried.
pub(crate) async fn prepare_browser(no_install: bool) -> Result<()> {
    packages::prepare_these(&FOR_THE_TESTS, no_install).await
}

/// Builds the front end into `crates/dashboard/web/dist`.
///
/// # Errors
/// When something is missing that may not be installed, npm is not reached, a type does not fit `openapi.yaml`, or the script is too large.
pub(crate) async fn build(no_install: bool) -> Result<()> {
    // Any Node.js will do that is new enough, wherever it comes from; npm says so if it is not.
    if node_is_missing().await {
        packages::prepare_these(&FOR_THE_BUILD, no_install).await?;
    }
    let begun = Instant::now();
    let web = web()?;
    let (lock, installed) = (web.join("package-lock.json"), web.join("node_modules/.zonecert-lock.json"));
    let wanted = std::fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    if std::fs::read(&installed).is_ok_and(|present| present == wanted) {
        say("dashboard: what it is made of is installed");
    } else {
        ensure!(!no_install, "the parts of the dashboard are missing; without --no-install they are fetched by npm ci");
        npm(&["ci", "--no-audit", "--no-fund"]).await.context("is the npm registry reached from here?")?;
        std::fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))?;
    }
    npm(&["run", "--silent", "build"]).await?;
    say(&format!("dashboard: built, {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Tries the dashboard of the built zonecert out in Chromium.
pub(crate) async fn browse(stack: &StackHandle) -> Result<()> {
    let begun = Instant::now();
    // Long enough for each state to be seen.
    let product = Product::fresh(stack).await?.with(setting::PROPAGATION_SECONDS, "3");
    let (mut api, mut worker) = tokio::try_join!(product.serve(), product.work())?;
    let screenshots = workspace::root()?.join("target/dashboard");
    let mut command = Command::new("node");
    command.args(["tests/browse.mjs"]).current_dir(web()?);
    command.env("ZONECERT_URL", api.api_url()).env("OPERATOR_TOKEN", setting::STACK_OPERATOR_TOKEN);
    command.env("CUSTOMER_DNS_URL", stack.customer_dns.api_url()).env("CUSTOMER_DNS_KEY", stack.customer_dns.api_key());
    command.env("NAME_SERVERS", setting::STACK_NAMESERVERS.join(",")).env("SCREENSHOTS", screenshots);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.status()).await;
    let status = ended.with_context(|| format!("the browser has not ended within {} min", PATIENCE.as_secs() / 60))??;
    ensure!(
        status.success(),
        "the dashboard does not do what it should in the browser ({status}); see above, and the screenshots in target/dashboard"
    );
    worker.stop().await?;
    api.stop().await?;
    say(&format!("dashboard: all is well in the browser, {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

async fn node_is_missing() -> bool {
    for program in ["node", "npm"] {
        let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        if !status.is_ok_and(|status| status.success()) {
            return true;
        }
    }
    false
}

async fn npm(args: &[&str]) -> Result<()> {
    let status = Command::new("npm").args(args).current_dir(web()?).stdin(Stdio::null()).kill_on_drop(true).status().await;
    let status = status.context("cannot run npm")?;
    ensure!(status.success(), "`npm {}` failed ({status}); see above", args.join(" "));
    Ok(())
}

fn web() -> Result<PathBuf> {
    Ok(workspace::root()?.join("crates/dashboard/web"))
}
