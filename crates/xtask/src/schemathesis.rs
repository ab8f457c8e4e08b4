//! `cargo xtask schemathesis`: a client that was not written with this code makes up requests from openapi.yaml, and holds the answers to it.

mod install;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use reqwest::StatusCode;
use serde_json::json;
use tokio::process::Command;
use zonecert_devstack::product::setting;
use zonecert_devstack::{Product, Stack, StackHandle, StackOptions, random_password};

use crate::account::ensure_verified_zone;
use crate::api::{Api, text};
use crate::certificate::{Show, issue};
use crate::interrupt::Interrupt;
use crate::report::say;
use crate::{cargo, packages, workspace};

/// The same on every run, so that a failure can be had again, and whoever has changed nothing meets none that is new.
const SEED: u32 = 20_261_121;

/// Requests that are made up for each operation and phase.
const EXAMPLES: u32 = 10;

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(30);

const SCOPES: [&str; 7] =
    ["zones:read", "zones:write", "certificates:read", "certificates:write", "deployments:write", "keys:read", "account:admin"];

#[derive(Args)]
#[command(
    about = "Have schemathesis call a running server with all that openapi.yaml allows and forbids",
    long_about = "Have schemathesis call a running server with all that openapi.yaml allows and forbids.

Starts the product on private parts under .dev/schemathesis-stack, with an account that has a zone and a certificate, and runs schemathesis \
with all checks and phases: as a person, as a program, and as the operator. Exceptions stand in schemathesis.toml, each with its reason. \
Installs schemathesis into .dev/schemathesis on the first run, from PyPI."
)]
pub(crate) struct Schemathesis {
    /// Which requests are made up
    #[arg(long, default_value_t = SEED)]
    seed: u32,
    /// How many for each operation and phase. A person's sign-in is good for 15 minutes, which is enough for 100
    #[arg(long, default_value_t = EXAMPLES)]
    examples: u32,
    /// Install nothing: say what is missing and end with an error, or go on if nothing is
    #[arg(long)]
    no_install: bool,
}

impl Schemathesis {
    pub(crate) async fn run(self) -> Result<()> {
        packages::prepare(self.no_install).await?;
        Interrupt::listen()?.unless(self.on_own_stack()).await
    }

    async fn on_own_stack(self) -> Result<()> {
        let program = install::install(self.no_install).await?;
        cargo::run(&["build", "--workspace", "--bins"]).await?;
        let dir = workspace::dev("schemathesis-stack")?;
        let stack = Stack::start(StackOptions { fresh: true, durable: false, progress: say, ..StackOptions::new(dir) }).await?;
        let outcome = run_on(&stack.handle(), program, self.seed, self.examples).await;
        stack.stop().await?;
        outcome
    }
}

/// Makes sure that it is there, before anything is built that would then not be tried.
pub(crate) async fn prepare(no_install: bool) -> Result<PathBuf> {
    install::install(no_install).await
}

/// As a part of `cargo xtask test`.
pub(crate) async fn part(program: PathBuf, stack: &StackHandle) -> Result<()> {
    run_on(stack, program, SEED, EXAMPLES).await
}

async fn run_on(stack: &StackHandle, schemathesis: PathBuf, seed: u32, examples: u32) -> Result<()> {
    let begun = Instant::now();
    let product = Product::fresh(stack).await?.with(setting::PROPAGATION_SECONDS, "0.5");
    let (mut api, mut worker) = tokio::try_join!(product.serve(), product.work())?;
    let Credentials { person, program } = prepare_account(&product, api.api_url()).await?;
    let run = Run { schemathesis, url: api.api_url().to_owned(), seed, examples };
    run.of_account("a person", &person).await?;
    run.of_account("a program", &program).await?;
    // Last, as it suspends accounts.
    run.go("the operator", setting::STACK_OPERATOR_TOKEN, &["--include-path-regex", "^/api/v1/admin/"]).await?;
    worker.stop().await?;
    api.stop().await?;
    say(&format!("schemathesis: no failure with seed {seed}, {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Two who can do everything in an account.
struct Credentials {
    /// An access token.
    person: String,
    /// An API token.
    program: String,
}

/// An account in which there is one of what a client meets, so that there is something to go on from.
async fn prepare_account(product: &Product, url: &str) -> Result<Credentials> {
    let (email, password) = ("schemathesis@zonecert.test", random_password());
    product.create_account(email, &password, "elite").await?;
    // As if the link of the mail had been followed: only then others can be invited.
    let database = product.stack().postgres.connect_as_admin(product.database()).await?;
    database.batch_execute("UPDATE users SET email_verified_at = now()").await?;
    let api = Api::new(url)?;
    let access_token = api.sign_in(email, &password).await?;
    let person = api.with_bearer(&access_token);
    let made = person.post("/tokens", &json!({"name": "schemathesis", "scopes": SCOPES})).await?.expect(StatusCode::CREATED)?;
    let zone = ensure_verified_zone(product, &person, "schemathesis.test").await?;
    issue(&person, &zone, "app.schemathesis.test", &[], Show::Nothing).await?;
    Ok(Credentials { person: access_token, program: text(&made, "token")? })
}

struct Run {
    schemathesis: PathBuf,
    url: String,
    seed: u32,
    examples: u32,
}

impl Run {
    /// Everything but what is the operator's, with a token that must be good to the end: whoever is refused everywhere meets no fault.
    async fn of_account(&self, who: &str, token: &str) -> Result<()> {
        self.go(who, token, &["--exclude-path-regex", "^/api/v1/admin/"]).await?;
        let still_good = Api::new(&self.url)?.with_bearer(token).get("/zones").await?.status;
        ensure!(
            still_good == StatusCode::OK,
            "the credential of {who} was no good any more at the end ({still_good}), so less was tried than it seems; does an operation end it that \
             schemathesis.toml should leave out, or were 15 minutes over?"
        );
        Ok(())
    }

    async fn go(&self, who: &str, token: &str, more: &[&str]) -> Result<()> {
        say(&format!("schemathesis: as {who}, seed {}, {} requests for each operation and phase", self.seed, self.examples));
        let mut command = Command::new(&self.schemathesis);
        command.current_dir(workspace::root()?).args(["run", "openapi.yaml", "--url", &self.url, "--checks", "all"]);
        command.args(["--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure", "--warnings", "off", "--no-color"]);
        command.args(["--header", &format!("Authorization: Bearer {token}"), "--generation-database", "none"]);
        command.args(["--seed", &self.seed.to_string(), "--max-examples", &self.examples.to_string()]).args(more);
        // Loopback only, whatever proxy leads to PyPI.
        command.env("NO_PROXY", "127.0.0.1").stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, command.status()).await;
        let status = ended.with_context(|| format!("schemathesis has not ended within {} min", PATIENCE.as_secs() / 60))?;
        let status = status.with_context(|| format!("cannot run {}", self.schemathesis.display()))?;
        if !status.success() {
            bail!(
                "schemathesis, as {who}, has found something ({status}); see above. `cargo xtask schemathesis --seed {}` tries the same again. Mend the \
                 API or its description; an exception goes into schemathesis.toml with its reason",
                self.seed
            );
        }
        Ok(())
    }
}
