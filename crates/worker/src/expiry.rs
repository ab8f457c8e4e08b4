//! The scan for certificates that have expired: they give their slot and their domain back (requirements X13).

use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_store::{Connection, StoreError, issuing, renewals};

use crate::scan::BATCH;
use crate::worker::Worker;

/// Marks what has expired.
pub(crate) async fn look(worker: &Worker) -> Result<(), StoreError> {
    while !worker.is_stopping() {
        let expired = worker.store.autocommit(async |conn| renewals::list_expired(conn, BATCH).await).await?;
        let (found, mut marked) = (expired.len(), 0);
        for (account, certificate) in expired {
            let record = async |conn: &mut Connection| {
                let auto_renew = renewals::renews(conn, account, certificate).await?;
                Ok::<_, StoreError>(issuing::record_expired(conn, account, certificate).await?.then_some(auto_renew))
            };
            match worker.store.tenant_write(account, record).await {
                Ok(None) => {}
                Ok(Some(auto_renew)) => {
                    marked += 1;
                    count(worker, account, certificate, auto_renew);
                }
                Err(error) => {
                    tracing::warn!(%account, %certificate, %error, "an expired certificate could not be marked; the next tick tries again");
                }
            }
        }
        // Those that could not be marked come first again.
        if found < BATCH.unsigned_abs() as usize || marked == 0 {
            break;
        }
    }
    Ok(())
}

/// Counts a certificate whose end was noticed, by whomever.
pub(crate) fn count(worker: &Worker, account: AccountId, certificate: CertificateId, auto_renew: bool) {
    worker.metrics.expired(auto_renew);
    if auto_renew {
        tracing::error!(%account, %certificate, "a certificate has expired that was to renew by itself");
    }
}
