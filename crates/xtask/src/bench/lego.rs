//! `cargo xtask bench lego`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use reqwest::StatusCode;
use serde_json::json;
use tokio::process::Command;
use zonecert_devstack::product::setting;
use zonecert_devstack::{Product, Stack, StackOptions};

use super::release;
use super::usage::{Watched, cpu_seconds, ended_children_seconds};
use crate::account::{self, Account};
use crate::api::Api;
use crate::report::say;
use crate::workspace;

const ZONE: &str = "bench.test";
const LEGO_ZONE: &str = "lego.test";
/// What lego lets pass between setting a TXT record and going on: its poll interval, by default.
const LEGO_WAITS: &str = "2";

#[derive(Args)]
#[command(
    about = "Measure as many certificates by lego, one process each, and by us, at the same CA and PowerDNS",
    long_about = "Measure as many certificates by Debian's lego (`--dns pdns`), one process each, one after the other, as a cron job would, and by us, at the same Pebble and \
PowerDNS, on a stack of its own under .dev/bench-lego. RSA-2048 keys, made while it is measured. lego waits for 2 s after it has set a TXT record, and so do we."
)]
pub(super) struct Lego {
    /// How many certificates each gets
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    count: u32,
    /// Measure this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// What one of the two took.
struct Taken {
    seconds: f64,
    /// CPU seconds of the client itself.
    own: f64,
    /// CPU seconds of PowerDNS, and of Pebble.
    others: Vec<f64>,
}

impl Lego {
    pub(super) async fn measure(&self) -> Result<()> {
        let binary = release::binary(self.binary.as_deref()).await?;
        let dir = workspace::dev("bench-lego")?;
        let stack = Stack::start(StackOptions { fresh: true, durable: false, progress: say, ..StackOptions::new(&dir) }).await?;
        stack.powerdns.ensure_zone(LEGO_ZONE, &setting::STACK_NAMESERVERS).await?;
        let theirs = self.by_lego(&stack, &dir).await?;
        let product = Product::kept_by(binary, &stack.handle(), &dir, "zonecert").await?;
        let product = product.with(setting::PROPAGATION_SECONDS, LEGO_WAITS);
        let ours = self.by_us(&stack, &product, &dir).await?;
        stack.stop().await?;

        let count = f64::from(self.count);
        println!("\n{} certificates with RSA-2048 keys, {LEGO_WAITS} s after each TXT record", self.count);
        for (who, taken) in [("lego, a process each", &theirs), ("zonecert", &ours)] {
            println!(
                "  {who:<22} {:>7.1} s in all   CPU seconds per certificate: {:.3} of its own, {:.3} PowerDNS, {:.3} Pebble",
                taken.seconds,
                taken.own / count,
                taken.others[0] / count,
                taken.others[1] / count,
            );
        }
        Ok(())
    }

    async fn by_lego(&self, stack: &Stack, dir: &Path) -> Result<Taken> {
        let path = dir.join("lego");
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        // The account is made by the first that runs; that one is not counted.
        lego(stack, &path, &format!("first.{LEGO_ZONE}")).await?;
        let (others, own) = (watch(stack)?, ended_children_seconds()?);
        let before = cpu_seconds(&others)?;
        let begun = Instant::now();
        for number in 0..self.count {
            lego(stack, &path, &format!("n{number}.{LEGO_ZONE}")).await?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        say(&format!("lego has {} certificates", self.count));
        Ok(Taken { seconds, own: ended_children_seconds()? - own, others: difference(&before, &cpu_seconds(&others)?) })
    }

    async fn by_us(&self, stack: &Stack, product: &Product, dir: &Path) -> Result<Taken> {
        let mut api_process = product.serve().await?;
        let api = Api::new(api_process.api_url())?;
        let account = Account::ensure(product, &api, &dir.join("product/demo-account.json")).await?;
        let api = api.with_bearer(&account.token.context("the account has no token")?);
        let zone_id = account::ensure_verified_zone(product, &api, ZONE).await?;
        let mut worker = product.work().await?;
        let database = stack.postgres.connect_as_admin(product.database()).await?;

        let mut watched = watch(stack)?;
        watched.push(Watched::program("worker", worker.pid().context("the worker has ended")?));
        watched.push(Watched::program("API", api_process.pid().context("the API has ended")?));
        let before = cpu_seconds(&watched)?;
        let begun = Instant::now();
        for number in 0..self.count {
            let wish = json!({"zone_id": zone_id, "domain": format!("n{number}.{ZONE}")});
            api.post("/certificates", &wish).await?.expect(StatusCode::ACCEPTED)?;
        }
        loop {
            let query = "SELECT count(*) FILTER (WHERE status = 'issued'), count(*) FILTER (WHERE status = 'failed') FROM certificates";
            let row = database.query_one(query, &[]).await?;
            let (issued, failed): (i64, i64) = (row.get(0), row.get(1));
            anyhow::ensure!(failed == 0, "{failed} certificates have failed");
            if issued == i64::from(self.count) {
                break;
            }
            zonecert_devstack::wait::pause(std::time::Duration::from_millis(50)).await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let mut used = difference(&before, &cpu_seconds(&watched)?);
        let own = used.split_off(2).iter().sum();
        worker.stop().await?;
        api_process.stop().await?;
        Ok(Taken { seconds, own, others: used })
    }
}

fn watch(stack: &Stack) -> Result<Vec<Watched>> {
    Ok(vec![
        Watched::program("PowerDNS", stack.powerdns.pid().context("PowerDNS has ended")?),
        Watched::program("Pebble", stack.pebble.pid().context("Pebble has ended")?),
    ])
}

fn difference(before: &[f64], after: &[f64]) -> Vec<f64> {
    before.iter().zip(after).map(|(before, after)| after - before).collect()
}

/// One run of lego, as a cron job would start it.
async fn lego(stack: &Stack, path: &Path, domain: &str) -> Result<()> {
    let mut command = Command::new("/usr/bin/lego");
    command.args(["--server", &stack.pebble.directory_url(), "--email", "operator@zonecert.test", "--accept-tos"]);
    command.args(["--dns", "pdns", "--dns.disable-cp", "--dns.resolvers", &stack.powerdns.dns_address().to_string()]);
    command.args(["--key-type", "rsa2048", "--domains", domain]).arg("--path").arg(path).arg("run");
    command.env_clear().env("PDNS_API_URL", stack.powerdns.api_url()).env("PDNS_API_KEY", stack.powerdns.api_key());
    command.env("PDNS_POLLING_INTERVAL", LEGO_WAITS).env("LEGO_CA_CERTIFICATES", stack.pebble.ca_file());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot run lego")?;
    if !output.status.success() {
        bail!("lego failed for {domain} ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}
