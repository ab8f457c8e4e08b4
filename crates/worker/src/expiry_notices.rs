//! The scan for certificates of which webhooks are to be told that they end.

use std::time::Duration;

use zonecert_store::{StoreError, expiry_notices};

use crate::scan::BATCH;
use crate::worker::Worker;

/// A claim that a worker took to its grave is taken up again after this.
const CLAIM: Duration = Duration::from_mins(1);

/// Tells of all that are due.
pub(crate) async fn look(worker: &Worker) -> Result<(), StoreError> {
    while !worker.is_stopping() {
        let due = worker.store.autocommit(async |conn| expiry_notices::claim_due(conn, CLAIM, BATCH).await).await?;
        let last = due.len() < BATCH.unsigned_abs() as usize;
        for (account, certificate) in due {
            let told = worker.store.tenant_write(account, async |conn| expiry_notices::announce(conn, account, certificate).await).await;
            if let Err(error) = told {
                tracing::warn!(%account, %certificate, %error, "webhooks could not be told that a certificate ends; they are after a while");
            }
        }
        if last {
            break;
        }
    }
    Ok(())
}
