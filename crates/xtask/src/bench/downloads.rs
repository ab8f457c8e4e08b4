//! `cargo xtask bench downloads`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use reqwest::StatusCode;
use reqwest::header::ETAG;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use zonecert_devstack::product::setting;
use zonecert_devstack::{Product, Stack, StackOptions};

use super::load::{Expected, requests_per_second};
use super::usage::{Watched, cpu_seconds};
use super::{middle, release};
use crate::account::{self, Account};
use crate::api::{Api as Client, text};
use crate::certificate::{Show, issue};
use crate::report::say;
use crate::workspace;

const ZONE: &str = "bench.test";
/// The least share of what the framework answers alone. Told and not enforced: a busy machine is no fault of the product.
const REQUIRED_PERCENT: u32 = 50;

#[derive(Args)]
#[command(
    about = "Measure polls of the download API (304) against a bare handler of actix, in turns on the same machine",
    long_about = "Measure polls of /certwarden/api/v1/download/privatecertchains/{name} with If-None-Match, which are answered 304, against a handler of \
actix that answers 304 to everything, in turns and with as many threads. Builds both optimised, or takes what --binary and --bare-handler name.

Prints answers per second of each round, the medians of them and of their ratio, and the CPU that an answer takes of each server. At least 50% is required."
)]
pub(super) struct Downloads {
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
    /// Measure against this binary instead of building one
    #[arg(long)]
    bare_handler: Option<PathBuf>,
}

impl Downloads {
    pub(super) async fn measure(&self) -> Result<()> {
        let binary = release::binary(self.binary.as_deref()).await?;
        let bare = release::bare_handler(self.bare_handler.as_deref()).await?;
        // As many as the API has by default.
        let threads = std::thread::available_parallelism()?.to_string();
        let dir = workspace::dev("bench-downloads")?;
        let stack = Stack::start(StackOptions { fresh: true, durable: false, progress: say, ..StackOptions::new(&dir) }).await?;
        let product = Product::kept_by(binary, &stack.handle(), &dir, "zonecert").await?;
        let product = product.with(setting::PROPAGATION_SECONDS, "0");
        let mut process = product.serve().await?;
        let poll = prepare(&product, process.api_url(), &dir).await?;
        let bare = BareHandler::start(&bare, &threads).await?;
        let api_pid = process.pid().context("the API has ended")?;
        let servers = [
            (process.api_url().trim_start_matches("http://").parse().context("the API's address")?, Watched::program("the API", api_pid)),
            (bare.address, Watched::program("the bare handler", bare.pid)),
        ];
        let mut turns = [Turns::default(), Turns::default()];
        for round in 0..=self.rounds {
            for (server, turns) in servers.iter().zip(&mut turns) {
                turns.take(*server, &poll, self).await?;
            }
            if round == 0 {
                say("warmed up");
                turns = [Turns::default(), Turns::default()];
                continue;
            }
            let [api, bare] = turns.each_ref().map(Turns::last);
            say(&format!("round {round}: {api:>8.0} answers/s  {bare:>8.0} of the bare handler  {:.1}%", 100.0 * api / bare));
        }
        process.stop().await?;
        drop(bare);
        stack.stop().await?;
        self.report(turns);
        Ok(())
    }

    fn report(&self, [api, bare]: [Turns; 2]) {
        // Of a round, so that whatever else the machine does weighs on both.
        let shares = api.answers.iter().zip(&bare.answers).map(|(api, bare)| 100.0 * api / bare).collect();
        println!(
            "
304 of the download API, {} clients, medians of {} rounds of {} s each
  the API            {:>8.0} answers/s  {:>6.1} µs of CPU each
  a bare handler     {:>8.0} answers/s  {:>6.1} µs of CPU each
  share              {:>8.1}% (required {REQUIRED_PERCENT}%)",
            self.clients,
            self.rounds,
            self.seconds,
            middle(api.answers),
            middle(api.cpu_microseconds),
            middle(bare.answers),
            middle(bare.cpu_microseconds),
            middle(shares),
        );
    }
}

/// What was measured of a server, turn by turn.
#[derive(Default)]
struct Turns {
    /// Per second.
    answers: Vec<f64>,
    /// Of the server, for each answer.
    cpu_microseconds: Vec<f64>,
}

impl Turns {
    async fn take(&mut self, (address, watched): (SocketAddr, Watched), request: &[u8], bench: &Downloads) -> Result<()> {
        let (request, clients, time) = (request.to_vec(), usize::from(bench.clients), Duration::from_secs(bench.seconds));
        let before = cpu_seconds(&[watched])?[0];
        let answers =
            tokio::task::spawn_blocking(move || requests_per_second(address, &request, Expected::NotModified, clients, time)).await??;
        let used = cpu_seconds(&[watched])?[0] - before;
        self.answers.push(answers);
        self.cpu_microseconds.push(1_000_000.0 * used / (answers * time.as_secs_f64()));
        Ok(())
    }

    fn last(&self) -> f64 {
        self.answers.last().copied().unwrap_or_default()
    }
}

/// A certificate that is issued, and the request of a client that has its file. The bare handler is sent the same.
async fn prepare(product: &Product, base: &str, dir: &Path) -> Result<Vec<u8>> {
    let client = Client::new(base)?;
    let account = Account::ensure(product, &client, &dir.join("product/demo-account.json")).await?;
    let client = client.with_bearer(&account.token.context("the account has no token")?);
    let zone_id = account::ensure_verified_zone(product, &client, ZONE).await?;
    let mut worker = product.work().await?;
    let (certificate, _) = issue(&client, &zone_id, &format!("app.{ZONE}"), &[], Show::Nothing).await?;
    worker.stop().await?;
    let mut keys = Vec::new();
    for resource in [format!("/certificates/{}", text(&certificate, "id")?), format!("/keys/{}", text(&certificate, "private_key_id")?)] {
        let made = client.post(&format!("{resource}/api-keys"), &json!({})).await?.expect(StatusCode::CREATED)?;
        keys.push(text(&made, "api_key")?);
    }
    let (path, keys) = (format!("/certwarden/api/v1/download/privatecertchains/{}", text(&certificate, "name")?), keys.join("."));
    let http = reqwest::Client::builder().no_proxy().tls_certs_only(Vec::<reqwest::Certificate>::new()).build()?;
    let first = http.get(format!("{base}{path}")).header("X-API-Key", &keys).send().await?.error_for_status()?;
    let tag = first.headers().get(ETAG).context("a download without ETag")?.to_str()?.to_owned();
    say(&format!("certificate {} issued; measuring GET {path} with If-None-Match: {tag}", text(&certificate, "id")?));
    let host = base.trim_start_matches("http://");
    Ok(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {keys}\r\nIf-None-Match: {tag}\r\n\r\n").into_bytes())
}

/// `crates/api/examples/bare_handler.rs`, in a process of its own as the API is. It ends with this.
struct BareHandler {
    address: SocketAddr,
    pid: u32,
    _child: Child,
}

impl BareHandler {
    async fn start(binary: &Path, threads: &str) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg(threads).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot run {}", binary.display()))?;
        let printed = child.stdout.take().context("the bare handler's output")?;
        let line = BufReader::new(printed).lines().next_line().await?.context("the bare handler has printed no address")?;
        let pid = child.id().context("the bare handler has ended")?;
        Ok(Self { address: line.parse().context("the bare handler's address")?, pid, _child: child })
    }
}
