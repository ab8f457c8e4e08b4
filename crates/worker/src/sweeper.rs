//! Sends jobs again that got lost, and clears the queue's own tables. Reads the rows, never the queue: what is due says so itself.

use std::time::Duration;

use zonecert_store::{StoreError, issuances, queue_jobs, zone_projections};

use crate::worker::Worker;

/// A job that has been due for this long without anybody having come by is taken for lost.
const GRACE: Duration = Duration::from_secs(10);
const BATCH: i32 = 500;

/// Finished jobs are kept this long, for people to look at.
const KEEP_DONE_JOBS: Duration = Duration::from_hours(24);

/// Sweeps at every interval until the worker stops.
pub async fn run(worker: &Worker) {
    while !worker.is_stopping() {
        if let Err(error) = sweep(worker).await {
            tracing::warn!(%error, "the sweep failed; the next one comes by itself");
        }
        worker.pause(worker.settings.sweep_interval).await;
    }
}

/// One sweep over all tenants.
pub async fn sweep(worker: &Worker) -> Result<(), StoreError> {
    let forgotten = worker.store.platform(async |conn| issuances::list_forgotten(conn, GRACE, BATCH).await).await?;
    for (account, issuance) in forgotten {
        if worker.store.tenant(account, async |conn| issuances::wake_forgotten(conn, issuance, GRACE).await).await? {
            tracing::warn!(%account, %issuance, "woke an issuance that nobody was working on");
        }
    }
    let zones = worker.store.platform(async |conn| zone_projections::list_forgotten(conn, GRACE, BATCH).await).await?;
    for zone in zones {
        if worker.store.platform(async |conn| zone_projections::wake_forgotten(conn, &zone, GRACE).await).await? {
            tracing::warn!(zone, "woke a zone whose records were not through");
        }
    }
    let purged = worker.store.platform(async |conn| queue_jobs::purge(conn, KEEP_DONE_JOBS, BATCH).await).await?;
    if purged > 0 {
        tracing::debug!(purged, "cleared finished jobs");
    }
    Ok(())
}
