//! The scan for certificates about whose renewal the CA is to be asked (RFC 9773): at least twice a day each, and as often as the CA says.
//!
//! It changes when a renewal is due and nothing else: where the CA does not answer, the rules of the lifetime hold.

use futures::{StreamExt, stream};
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_domain::renewal_info::{LONGEST_PAUSE, pause_after_answer, pause_after_failure};
use zonecert_pki::CertificateChain;
use zonecert_store::StoreError;
use zonecert_store::renewal_info::{self, Said, VersionInUse};

use crate::acme::RenewalInfo;
use crate::scan::{BATCH, CLAIM};
use crate::worker::Worker;

/// Questions at the same time: polite, and fewer than the connections that orders need.
const AT_ONCE: usize = 8;

/// Asks about all that is due.
pub(crate) async fn look(worker: &Worker) -> Result<(), StoreError> {
    while !worker.is_stopping() {
        let due = worker.store.autocommit(async |conn| renewal_info::claim_due(conn, CLAIM, BATCH).await).await?;
        let last = due.len() < BATCH.unsigned_abs() as usize;
        let questions = stream::iter(due).for_each_concurrent(AT_ONCE, |(account, certificate)| async move {
            if let Err(error) = ask(worker, account, certificate).await {
                tracing::warn!(%account, %certificate, %error, "what the CA says of a renewal could not be stored; it is asked again in a while");
            }
        });
        questions.await;
        if last {
            break;
        }
    }
    Ok(())
}

async fn ask(worker: &Worker, account: AccountId, certificate: CertificateId) -> Result<(), StoreError> {
    let store = &worker.store;
    let seed = certificate.0.as_u128();
    let in_use = store.tenant(account, async |conn| renewal_info::find_version_in_use(conn, account, certificate).await).await?;
    let Some(in_use) = in_use else {
        return store.tenant_write(account, async |conn| renewal_info::stop_asking(conn, account, certificate).await).await;
    };
    let (said, next) = match question(worker, &in_use).await {
        Ok(Some(info)) => {
            (Said { window: Some(info.window), explanation_url: info.explanation_url }, pause_after_answer(info.retry_after, seed))
        }
        // It may begin to tell one day.
        Ok(None) => (Said { window: None, explanation_url: None }, pause_after_answer(Some(LONGEST_PAUSE), seed)),
        Err(failure) => {
            let next = pause_after_failure(in_use.failures + 1, &failure, seed);
            tracing::warn!(%account, %certificate, %failure, ?next, "the CA does not say when to renew");
            let recorded =
                store.tenant_write(account, async |conn| renewal_info::record_failure(conn, account, certificate, in_use.id, next).await);
            return recorded.await;
        }
    };
    store.tenant_write(account, async |conn| renewal_info::record_said(conn, account, certificate, &in_use, &said, next).await).await
}

/// What the CA says about the version; none where it tells nobody, or cannot name the certificate.
async fn question(worker: &Worker, in_use: &VersionInUse) -> Result<Option<RenewalInfo>, Failure> {
    let directory = worker.directories.by_url(&in_use.directory_url)?;
    let chain = CertificateChain::parse_pem(&in_use.chain_pem).map_err(|error| Failure::new(FailureCode::Internal, error.to_string()))?;
    match chain.renewal_info_identifier() {
        Some(identifier) => directory.renewal_info(identifier).await,
        None => Ok(None),
    }
}
