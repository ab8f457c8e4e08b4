//! What the worker is told at start. The binary reads it from flags and environment.

use std::time::Duration;

use zonecert_domain::order::OrderTiming;
use zonecert_domain::retry::RetryLadder;

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
    /// Issuances worked on at the same time.
    pub concurrency: usize,
    /// How long a stop waits for steps under way.
    pub stop_grace: Duration,
}
