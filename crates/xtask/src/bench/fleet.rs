//! `cargo xtask bench fleet`.

mod phase;
pub(super) mod world;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use zonecert_devstack::product::setting;

use super::{keys, release};
use crate::workspace;
use phase::Phase;
use world::World;

/// What is asked of a full stock, in what `openssl` makes of keys.
const REQUIRED_TIMES: f64 = 3.0;
const AIM_TIMES: f64 = 5.0;
/// CPU seconds of ours for a certificate without its key, on a machine on which a key costs [`KEY_SECONDS`].
const REQUIRED_CPU: f64 = 0.03;
const KEY_SECONDS: f64 = 0.15;
const REQUIRED_MIB: f64 = 200.0;

#[derive(Args)]
#[command(
    about = "Measure a burst of renewals with a full and with an empty stock of keys, beside `openssl` making keys",
    long_about = "Measure a burst of renewals, all due at once, without a wait for propagation, on a stack of its own under .dev/bench-fleet: with a full stock of keys, with an \
empty one, and with so many orders under way that memory counts. In the same run `openssl` makes RSA-2048 keys on the same cores. Builds the release binary, or takes \
the one that --binary names.

Prints certificates per second, the CPU time of every process, statements per certificate and the peak memory of a worker. What is required is told and not \
enforced: a busy machine is no fault of the product."
)]
pub(super) struct Fleet {
    /// How many renewals on a full stock
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    count: u32,
    /// How many renewals on an empty stock; 0 to leave that out
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    empty: u32,
    /// How many orders are to be under way at the same time in one worker; 0 to leave that out
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=2000))]
    in_flight: u32,
    /// How many workers share a burst
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    workers: u8,
    /// Keys that `openssl` makes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    openssl_keys: u32,
    /// Show the statements that were sent most often
    #[arg(long)]
    statements: bool,
    /// Measure this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl Fleet {
    pub(super) async fn measure(&self) -> Result<()> {
        let binary = release::binary(self.binary.as_deref()).await?;
        let dir = workspace::dev("bench-fleet")?;
        let openssl = keys::measure(self.openssl_keys).await?;
        let most = self.count.max(self.empty).max(self.in_flight);
        let world = World::start(binary, &dir).await?;
        world.issue(most).await?;
        world.set_algorithm("rsa2048").await?;
        let world = world.fill_stock(self.count).await?;
        let workers = usize::from(self.workers);
        let full = Phase::run(&world, self.count, workers).await?;
        let again = keys::measure(self.openssl_keys).await?;
        let keys_per_second = openssl.keys_per_second.midpoint(again.keys_per_second);
        let key_cpu = openssl.cpu_seconds_per_key.midpoint(again.cpu_seconds_per_key);

        println!("\nopenssl: {keys_per_second:.1} RSA-2048 keys per second on all cores, {key_cpu:.3} CPU seconds for each");
        full.print(&format!("{} renewals due at once, {workers} workers, on a full stock of keys", self.count));
        if self.statements {
            full.print_statements();
        }
        println!(
            "  {:.1} × what openssl makes of keys (required {REQUIRED_TIMES}, aimed at {AIM_TIMES})",
            full.per_second / keys_per_second
        );
        let cpu = full.cpu_each("worker");
        let scaled = cpu * KEY_SECONDS / key_cpu;
        println!("  ours: {cpu:.4} CPU seconds per certificate; {scaled:.4} where a key costs {KEY_SECONDS} (required {REQUIRED_CPU})");

        let world = world.with(setting::KEY_STOCK, "0");
        if self.empty > 0 {
            let empty = Phase::run(&world, self.empty, workers).await?;
            empty.print(&format!("{} renewals due at once, {workers} workers, on an empty stock", self.empty));
            println!("  ours with its key: {:.4} CPU seconds per certificate", empty.cpu_each("worker"));
        }
        if self.in_flight > 0 {
            // Keys that cost nothing, and a wait in which all of them are under way.
            world.set_algorithm("ecdsa_p256").await?;
            let world = world.with(setting::PROPAGATION_SECONDS, "14").with(setting::WORKER_CONCURRENCY, self.in_flight.to_string());
            let crowd = Phase::run(&world, self.in_flight, 1).await?;
            crowd.print(&format!(
                "{} renewals due at once, 1 worker that may have all of them under way, 14 s of propagation",
                self.in_flight
            ));
            println!("  required: {REQUIRED_MIB:.0} MiB with 1,000 orders under way");
            world.stack.stop().await?;
            return Ok(());
        }
        world.stack.stop().await
    }
}
