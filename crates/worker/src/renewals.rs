//! The scan for certificates whose renewal is due.

use std::time::Duration;

use futures::{StreamExt, stream};
use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_store::{StoreError, renewals};

use crate::scan::BATCH;
use crate::worker::Worker;

/// A claim that a worker took to its grave is taken up again after this. A renewal begins by one transaction, and only once, so that a claim which ends too early does no harm.
const CLAIM: Duration = Duration::from_mins(1);

/// Transactions at the same time: few, so that a thousand renewals at once do not take the database from those who wait for an answer.
const AT_ONCE: usize = 4;

/// Begins the renewals that are due.
pub(crate) async fn look(worker: &Worker) -> Result<(), StoreError> {
    while !worker.is_stopping() {
        let due = worker.store.autocommit(async |conn| renewals::claim_due(conn, CLAIM, BATCH).await).await?;
        let last = due.len() < BATCH.unsigned_abs() as usize;
        stream::iter(due).for_each_concurrent(AT_ONCE, |(account, certificate)| begin(worker, account, certificate)).await;
        if last {
            break;
        }
    }
    Ok(())
}

async fn begin(worker: &Worker, account: AccountId, certificate: CertificateId) {
    let begun = worker.store.tenant_write(account, async |conn| renewals::begin_if_due(conn, account, certificate).await).await;
    match begun {
        Ok(Some(issuance)) => tracing::info!(%account, %certificate, %issuance, "a renewal has begun"),
        Ok(None) => tracing::debug!(%account, %certificate, "no renewal is due by what stands now"),
        Err(error) => tracing::warn!(%account, %certificate, %error, "a renewal could not begin; it is due again in a while"),
    }
}
