//! The worker.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use zonecert_domain::order::OrderTiming;
use zonecert_domain::retry::RetryLadder;
use zonecert_preflight::Expectations;
use zonecert_worker::{KeyStockSettings, WorkerSettings};

use super::ca::CaArgs;
use super::dns::DnsArgs;

/// How the worker works.
#[derive(Args)]
#[command(next_help_heading = "Worker")]
pub(crate) struct WorkerArgs {
    /// How long resolvers are given between the zone showing the TXT values and the CA being told.
    #[arg(long, env = "ZONECERT_PROPAGATION_SECONDS", default_value = "5", value_name = "ZONECERT_PROPAGATION_SECONDS", value_parser = super::seconds)]
    propagation_seconds: Duration,
    /// The longest pause between two looks at the CA; the first come sooner, and the CA's Retry-After wins.
    #[arg(long, env = "ZONECERT_POLL_INTERVAL_SECONDS", default_value = "2", value_name = "ZONECERT_POLL_INTERVAL_SECONDS",
        value_parser = super::positive_seconds)]
    poll_interval_seconds: Duration,
    /// How often an authorization is looked at before its order is given up.
    #[arg(long, env = "ZONECERT_POLL_LIMIT", default_value = "30", value_name = "ZONECERT_POLL_LIMIT",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    poll_limit: u32,
    /// Pauses between the attempts of an issuance, comma separated; the last one repeats.
    #[arg(long, env = "ZONECERT_RETRY_LADDER_SECONDS", default_value = "60,600,6000,86400", value_name = "ZONECERT_RETRY_LADDER_SECONDS")]
    retry_ladder_seconds: RetryLadder,
    /// How long a worker that is gone keeps an issuance from others.
    #[arg(long, env = "ZONECERT_LEASE_SECONDS", default_value = "20", value_name = "ZONECERT_LEASE_SECONDS", value_parser = super::positive_seconds)]
    lease_seconds: Duration,
    /// How often lost jobs are looked for.
    #[arg(long, env = "ZONECERT_SWEEP_INTERVAL_SECONDS", default_value = "5", value_name = "ZONECERT_SWEEP_INTERVAL_SECONDS",
        value_parser = super::positive_seconds)]
    sweep_interval_seconds: Duration,
    /// How often due renewals, news of the CA about them, and expired certificates are looked for.
    #[arg(long, env = "ZONECERT_RENEWAL_SCAN_SECONDS", default_value = "60", value_name = "ZONECERT_RENEWAL_SCAN_SECONDS",
        value_parser = super::positive_seconds)]
    renewal_scan_seconds: Duration,
    /// Private keys (RSA-2048) made in advance while there is little to do, for all workers together; 0 for none. Each is sealed like every other, and takes 2 KB.
    #[arg(long, env = "ZONECERT_KEY_STOCK", default_value = "200", value_name = "ZONECERT_KEY_STOCK",
        value_parser = clap::value_parser!(u32).range(0..=100_000))]
    key_stock: u32,
    /// How often the stock of private keys is looked at.
    #[arg(long, env = "ZONECERT_KEY_STOCK_SECONDS", default_value = "5", value_name = "ZONECERT_KEY_STOCK_SECONDS", value_parser = super::positive_seconds)]
    key_stock_seconds: Duration,
    /// Issuances worked on at the same time.
    #[arg(long, env = "ZONECERT_WORKER_CONCURRENCY", default_value = "64", value_name = "ZONECERT_WORKER_CONCURRENCY",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    worker_concurrency: u32,
    /// How long a stop waits for steps under way before it hands them over.
    #[arg(long, env = "ZONECERT_STOP_GRACE_SECONDS", default_value = "25", value_name = "ZONECERT_STOP_GRACE_SECONDS", value_parser = super::seconds)]
    stop_grace_seconds: Duration,
}

impl WorkerArgs {
    /// The settings as the worker takes them.
    pub(crate) fn settings(&self, ca: &CaArgs, dns: &DnsArgs) -> Result<WorkerSettings> {
        Ok(WorkerSettings {
            timing: OrderTiming {
                propagation: self.propagation_seconds,
                poll_interval: self.poll_interval_seconds,
                poll_limit: self.poll_limit,
            },
            ladder: self.retry_ladder_seconds.clone(),
            lease: self.lease_seconds,
            sweep_interval: self.sweep_interval_seconds,
            scan_interval: self.renewal_scan_seconds,
            key_stock: KeyStockSettings { size: self.key_stock as usize, interval: self.key_stock_seconds },
            concurrency: self.worker_concurrency as usize,
            stop_grace: self.stop_grace_seconds,
            expectations: Expectations::new(&dns.nameservers, &ca.all_caa_identities()?, dns.challenge_zone.as_ref()),
        })
    }
}
