//! Sends jobs again that got lost, ends accounts whose time is over, stores what stands in versions that are older than that, and clears the queue's own tables, old
//! answers, spent tokens and sent mails. Reads the rows, never the queue: what is due says so itself.

use std::time::Duration;

use zonecert_store::housekeeping::Leftovers;
use zonecert_store::{
    StoreError, ca_budget, ca_pauses, ended_accounts, idempotency_keys, issuances, mails, queue_jobs, revocations, sign_in_failures,
    versions, webhook_deliveries, workers, zone_projections,
};

use crate::metrics::Finding;
use crate::worker::Worker;

/// A job that has been due for this long without anybody having come by is taken for lost.
const GRACE: Duration = Duration::from_secs(10);
const BATCH: i32 = 500;

/// Finished jobs are kept this long, for people to look at.
const KEEP_DONE_JOBS: Duration = Duration::from_hours(24);

/// An answer can be had again by its `Idempotency-Key` for at least this long.
const KEEP_ANSWERS: Duration = Duration::from_hours(24);

/// By then every failure is forgotten one by one, and no wait goes on.
const KEEP_SIGN_IN_FAILURES: Duration = Duration::from_hours(24);

/// Tokens that have expired, and mails and messages to webhooks that were sent or given up, are kept this long, to be told from guesses and for people to look at.
const KEEP_LEFTOVERS: Duration = Duration::from_hours(24 * 30);

/// A worker that was killed is shown for so long.
const KEEP_LOST_WORKERS: Duration = Duration::from_hours(1);

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
    let forgotten = worker.store.autocommit(async |conn| issuances::list_forgotten(conn, GRACE, BATCH).await).await?;
    for (account, issuance) in forgotten {
        if worker.store.tenant(account, async |conn| issuances::wake_forgotten(conn, issuance, GRACE).await).await? {
            worker.metrics.found(Finding::Issuance);
            tracing::warn!(%account, %issuance, "woke an issuance that nobody was working on");
        }
    }
    let zones = worker.store.autocommit(async |conn| zone_projections::list_forgotten(conn, GRACE, BATCH).await).await?;
    for zone in zones {
        if worker.store.autocommit(async |conn| zone_projections::wake_forgotten(conn, &zone, GRACE).await).await? {
            worker.metrics.found(Finding::Zone);
            tracing::warn!(zone, "woke a zone whose records were not through");
        }
    }
    let revocations = worker.store.autocommit(async |conn| revocations::list_due(conn, BATCH).await).await?;
    for (account, revocation) in revocations {
        if worker.store.tenant(account, async |conn| revocations::wake_forgotten(conn, revocation, GRACE).await).await? {
            worker.metrics.found(Finding::Revocation);
            tracing::warn!(%account, %revocation, "woke a revocation that nobody was working on");
        }
    }
    let ended = worker.store.autocommit(async |conn| ended_accounts::list_ended(conn, BATCH).await).await?;
    for account in ended {
        // An account that cannot be ended must not keep the others from it.
        match worker.store.tenant_write(account, async |conn| ended_accounts::end_account(conn, account).await).await {
            Ok(ending) => {
                worker.metrics.found(Finding::EndedAccount);
                tracing::info!(%account, ?ending, "ended an account");
            }
            Err(StoreError::NotFound) => tracing::debug!(%account, "another sweeper has ended the account"),
            Err(error) => tracing::error!(%account, %error, "an account could not be ended; the next sweep tries again"),
        }
    }
    if worker.mailer.is_some() {
        let mails = worker.store.autocommit(async |conn| mails::list_forgotten(conn, GRACE, BATCH).await).await?;
        for (account, mail) in mails {
            worker.store.tenant(account, async |conn| mails::wake_forgotten(conn, account, mail).await).await?;
            worker.metrics.found(Finding::Mail);
            tracing::debug!(%account, mail = %mail.0, "woke a mail that nobody was sending");
        }
    }
    let webhooks = worker.store.autocommit(async |conn| webhook_deliveries::list_forgotten(conn, GRACE, BATCH).await).await?;
    for (account, webhook) in webhooks {
        worker.store.tenant(account, async |conn| webhook_deliveries::wake_forgotten(conn, account, webhook).await).await?;
        worker.metrics.found(Finding::Webhook);
        tracing::debug!(%account, %webhook, "woke a webhook that nobody was sending to");
    }
    let versions = worker.store.autocommit(async |conn| versions::list_undescribed(conn, BATCH).await).await?;
    for (account, version) in versions {
        worker.store.tenant(account, async |conn| versions::describe(conn, account, version).await).await?;
        tracing::debug!(%account, %version, "stored what stands in a version");
    }
    let purged = worker.store.platform(async |conn| queue_jobs::purge(conn, KEEP_DONE_JOBS, BATCH).await).await?;
    if purged > 0 {
        tracing::debug!(purged, "cleared finished jobs");
    }
    worker.store.autocommit(async |conn| ca_budget::purge(conn, ca_budget::KEEP, BATCH).await).await?;
    worker.store.autocommit(async |conn| ca_pauses::purge(conn).await).await?;
    let forgotten = worker.store.autocommit(async |conn| idempotency_keys::purge(conn, KEEP_ANSWERS, BATCH).await).await?;
    if forgotten > 0 {
        tracing::debug!(forgotten, "forgot answers to idempotency keys");
    }
    let purged = worker.store.autocommit(async |conn| sign_in_failures::purge(conn, KEEP_SIGN_IN_FAILURES, BATCH).await).await?;
    if purged > 0 {
        tracing::debug!(purged, "forgot failed sign-ins");
    }
    worker.store.autocommit(async |conn| workers::purge(conn, KEEP_LOST_WORKERS).await).await?;
    for leftovers in Leftovers::ALL {
        let deleted = worker.store.autocommit(async |conn| leftovers.delete(conn, KEEP_LEFTOVERS, BATCH).await).await?;
        if deleted > 0 {
            tracing::debug!(?leftovers, deleted, "deleted what was over");
        }
    }
    Ok(())
}
