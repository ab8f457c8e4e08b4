//! `cargo xtask bench api`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::process::Command;
use zonecert_devstack::product::setting;
use zonecert_devstack::{Product, Stack, StackOptions};

use super::load::{Expected, requests_per_second};
use super::{middle, release};
use crate::account::{self, Account};
use crate::api::{Api as Client, text};
use crate::certificate::{Show, issue};
use crate::report::say;
use crate::workspace;

const ZONE: &str = "bench.test";
/// The least share of what PostgreSQL answers alone. Told and not enforced: a busy machine is no fault of the product.
const REQUIRED_PERCENT: u32 = 15;
const AIM_PERCENT: u32 = 25;

#[derive(Args)]
#[command(
    about = "Measure GET /certificates/{id} by token against pgbench's select, in turns on the same machine",
    long_about = "Measure GET /certificates/{id} by token, with row-level security, against `pgbench -S -M prepared`, in turns on the same \
PostgreSQL under .dev/bench-api. Builds the release binary, or takes the one that --binary names.

Prints answers and transactions per second of each round, and the medians of them and of their ratio. At least 15% is required, and 25% aimed at."
)]
pub(super) struct Api {
    /// How often each takes a turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of a turn, in seconds
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Clients at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    clients: u8,
    /// Measure this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl Api {
    pub(super) async fn measure(&self) -> Result<()> {
        let binary = release::binary(self.binary.as_deref()).await?;
        let dir = workspace::dev("bench-api")?;
        let stack = Stack::start(StackOptions { fresh: true, durable: false, progress: say, ..StackOptions::new(&dir) }).await?;
        let product = Product::kept_by(binary, &stack.handle(), &dir, "zonecert").await?.with(setting::PROPAGATION_SECONDS, "0");
        let mut api_process = product.serve().await?;
        let client = Client::new(api_process.api_url())?;
        let account = Account::ensure(&product, &client, &dir.join("product/demo-account.json")).await?;
        let token = account.token.context("the account has no token")?;
        let client = client.with_bearer(&token);
        let zone_id = account::ensure_verified_zone(&product, &client, ZONE).await?;
        let mut worker = product.work().await?;
        let (certificate, _) = issue(&client, &zone_id, &format!("app.{ZONE}"), &[ZONE], Show::Nothing).await?;
        worker.stop().await?;
        let id = text(&certificate, "id")?;
        say(&format!("certificate {id} issued; measuring GET /api/v1/certificates/{id}"));

        let pgbench = Pgbench::prepare(&product).await?;
        let address: SocketAddr = api_process.api_url().trim_start_matches("http://").parse().context("the API's address")?;
        let request =
            format!("GET /api/v1/certificates/{id} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes();
        let time = Duration::from_secs(self.seconds);
        let clients = usize::from(self.clients);
        let mut rounds = Rounds::default();
        for round in 0..=self.rounds {
            let request = request.clone();
            let answered =
                tokio::task::spawn_blocking(move || requests_per_second(address, &request, Expected::Ok, clients, time)).await??;
            let selected = pgbench.transactions_per_second(self.clients, self.seconds).await?;
            if round == 0 {
                say("warmed up");
                continue;
            }
            say(&format!("round {round}: {answered:>8.0} answers/s  {selected:>8.0} transactions/s  {:.1}%", 100.0 * answered / selected));
            rounds.answers.push(answered);
            rounds.transactions.push(selected);
            rounds.shares.push(100.0 * answered / selected);
        }
        api_process.stop().await?;
        stack.stop().await?;
        println!(
            "
GET /certificates/{{id}} by token, {clients} clients, release build, medians of {} rounds of {} s each
  the API            {:>8.0} answers/s
  pgbench -S alone   {:>8.0} transactions/s
  share              {:>8.1}% (required {REQUIRED_PERCENT}%, aimed at {AIM_PERCENT}%)",
            self.rounds,
            self.seconds,
            middle(rounds.answers),
            middle(rounds.transactions),
            middle(rounds.shares),
        );
        Ok(())
    }
}

/// What was measured, round by round.
#[derive(Default)]
struct Rounds {
    answers: Vec<f64>,
    transactions: Vec<f64>,
    /// In percent: of a round, so that whatever else the machine does weighs on both.
    shares: Vec<f64>,
}

/// pgbench with a database of its own on the server of the product.
struct Pgbench {
    program: PathBuf,
    url: String,
}

impl Pgbench {
    async fn prepare(product: &Product) -> Result<Self> {
        let postgres = &product.stack().postgres;
        postgres.create_database("pgbench").await?;
        let pgbench = Self { program: postgres.program("pgbench")?, url: postgres.owner_url("pgbench") };
        pgbench.run(&["--initialize", "--quiet", "--scale=1"]).await?;
        Ok(pgbench)
    }

    async fn transactions_per_second(&self, clients: u8, seconds: u64) -> Result<f64> {
        let (clients, time) = (format!("--client={clients}"), format!("--time={seconds}"));
        let printed = self.run(&["--select-only", "--protocol=prepared", "--no-vacuum", "--jobs=2", &clients, &time]).await?;
        let rate = printed.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
        rate.with_context(|| format!("pgbench printed no tps:\n{printed}"))
    }

    async fn run(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.program).args(args).arg(&self.url).stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.with_context(|| format!("cannot run {}", self.program.display()))?;
        if !output.status.success() {
            bail!("pgbench failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
