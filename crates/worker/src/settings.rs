//! What the worker is told at start. The binary reads it from flags and environment.

use std::time::Duration;

use zonecert_domain::order::OrderTiming;
use zonecert_domain::retry::RetryLadder;
use zonecert_preflight::Expectations;

/// Settings of the worker.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Propagation and polls (requirements S3.22, S3.23).
    pub timing: OrderTiming,
    /// Pauses between the attempts of an issuance.
    pub ladder: RetryLadder,
    /// How long a worker that is gone keeps an issuance from others.
    pub lease: Duration,
    /// How often lost jobs are looked for.
    pub sweep_interval: Duration,
    /// How often what is due is looked for: renewals, what the CA says of them, and certificates that have expired.
    pub scan_interval: Duration,
    /// Private keys made in advance.
    pub key_stock: KeyStockSettings,
    /// Issuances worked on at the same time.
    pub concurrency: usize,
    /// How long a stop waits for steps under way.
    pub stop_grace: Duration,
    /// What a look into a failure compares the DNS with.
    pub expectations: Expectations,
}

/// The stock of private keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStockSettings {
    /// How many are kept for all workers together; none with 0.
    pub size: usize,
    /// How often it is looked at.
    pub interval: Duration,
}
