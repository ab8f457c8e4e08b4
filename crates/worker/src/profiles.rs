//! What the CAs offer, read from their directories from time to time: the API tells customers of it, and takes no wish for anything else.

use std::time::Duration;

use zonecert_domain::failure::Failure;
use zonecert_store::issuing::Environment;
use zonecert_store::{Connection, StoreError, ca_profiles};

use crate::acme::{DIRECTORY_LIFE, DIRECTORY_RETRY, Profile};
use crate::directories::Authority;
use crate::worker::Worker;

/// Reads and stores it until the worker stops.
pub(crate) async fn run(worker: &Worker) {
    while !worker.is_stopping() {
        let mut pause = DIRECTORY_LIFE;
        for environment in Environment::ALL {
            let authorities = worker.directories.for_environment(environment).unwrap_or_default();
            pause = pause.min(look(worker, environment, authorities).await);
        }
        worker.pause(pause).await;
    }
}

/// Returns how long that holds. What a CA was known to offer stays while its directory cannot be read.
async fn look(worker: &Worker, environment: Environment, authorities: &[Authority]) -> Duration {
    let mut offers: Vec<(&str, Result<Vec<Profile>, Failure>)> = Vec::new();
    for authority in authorities {
        offers.push((authority.ledger.directory_url.as_str(), authority.directory.profiles().await));
    }
    let stored = worker.store.platform(async |conn| record(conn, environment, &offers).await).await;
    if let Err(error) = &stored {
        tracing::warn!(%error, environment = environment.as_str(), "what the CAs offer could not be stored; it is read again in a while");
    }
    let all_read = offers.iter().all(|(_, offered)| offered.is_ok());
    if stored.is_ok() && all_read { DIRECTORY_LIFE } else { DIRECTORY_RETRY }
}

async fn record(
    conn: &mut Connection,
    environment: Environment,
    offers: &[(&str, Result<Vec<Profile>, Failure>)],
) -> Result<(), StoreError> {
    let directories: Vec<&str> = offers.iter().map(|(directory_url, _)| *directory_url).collect();
    ca_profiles::forget_others(conn, environment, &directories).await?;
    for (directory_url, offered) in offers {
        match offered {
            Ok(offered) => ca_profiles::record_profiles(conn, environment, directory_url, offered).await?,
            Err(failure) => {
                tracing::warn!(%failure, directory_url, "the CA's directory cannot be read; what it offered before stays on offer");
            }
        }
    }
    Ok(())
}
