//! A worker shows that it is there, and learns whether it is to take nothing new (`zonecert admin drain`).

use std::sync::Arc;
use std::time::Duration;

use zonecert_store::{Connection, workers};

use crate::worker::Worker;

/// How often: a drain is noticed within this.
const EVERY: Duration = Duration::from_secs(2);

/// A stop does not wait for a database that is away.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Shows the worker until it stops.
pub(crate) async fn run(worker: &Worker) {
    let host = host();
    while !worker.is_stopping() {
        let in_hand = i32::try_from(worker.issuances_in_hand()).unwrap_or(i32::MAX);
        let drained = worker.is_draining() && !worker.metrics.is_taking_jobs();
        let shown = async |conn: &mut Connection| workers::show(conn, &worker.name, (VERSION, host.as_str()), in_hand, drained).await;
        match worker.store.autocommit(shown).await {
            Ok(drain) => worker.drain(drain),
            Err(error) => tracing::debug!(%error, "the worker could not show itself"),
        }
        worker.pause(EVERY).await;
    }
}

/// The worker has stopped: nobody looks for it any more.
pub(crate) async fn leave(worker: &Worker) {
    let left = worker.store.autocommit(async |conn| workers::forget(conn, &worker.name).await);
    if !matches!(tokio::time::timeout(LEAVE_WITHIN, left).await, Ok(Ok(()))) {
        tracing::debug!("the worker could not be taken off the list; it is forgotten when it has not been seen for long");
    }
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

impl Worker {
    /// Issuances that this process is working on.
    pub(crate) fn issuances_in_hand(&self) -> usize {
        Arc::strong_count(&self.in_hand) - 1
    }
}
