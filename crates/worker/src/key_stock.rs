//! The stock of private keys: made while there is little to do, so that a burst of renewals does not wait for 0.15 s of CPU each (`docs/adr/0017-fleet.md`).
//!
//! A key is made on a thread of the lowest priority of the operating system, one at a time, and only while nobody waits for a key of their own. Whoever takes one takes it out
//! of the database: no key ever serves twice, and one that got lost on the way belonged to nobody.

use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::key::PrivateKey;
use zonecert_store::{StoreError, key_stock};

use crate::worker::Worker;

/// The one algorithm that is worth it: the default, and RSA. Larger ones are rare, and ECDSA takes a millisecond.
pub const STOCKED: KeyAlgorithm = KeyAlgorithm::Rsa2048;

/// The lowest priority (`nice`).
const NICENESS: i32 = 19;

/// Of the issuances that fit at the same time, this part may be under way while keys are made for later.
const IDLE_PART: usize = 8;

/// Fills the stock whenever it is idle, until the worker stops.
pub async fn run(worker: &Worker) {
    let settings = &worker.settings.key_stock;
    while settings.size > 0 && !worker.is_stopping() {
        match fill(worker).await {
            Ok(0) => {}
            Ok(made) => tracing::debug!(made, "private keys were added to the stock"),
            Err(error) => tracing::warn!(%error, "the stock of private keys could not be filled; keys are made when they are needed"),
        }
        worker.pause(settings.interval).await;
    }
}

/// Makes keys until the stock is full or somebody needs the CPU. Returns how many.
pub async fn fill(worker: &Worker) -> Result<usize, StoreError> {
    let mut made = 0;
    while !worker.is_stopping() && !worker.is_draining() && worker.is_idle() && is_short(worker).await? {
        let Some(key) = make().await else { break };
        let pkcs8 = key.to_pkcs8_der().map_err(|error| StoreError::corrupt("private key", error.to_string()))?;
        let (masters, public_key) = (&worker.masters, key.public_key_sha256());
        worker.store.platform(async |conn| key_stock::insert(conn, masters, STOCKED, &pkcs8, public_key).await).await?;
        made += 1;
    }
    Ok(made)
}

/// Takes a key, if there is one. Trouble with the stock is no reason to wait: the key is then made.
pub(crate) async fn take(worker: &Worker, algorithm: KeyAlgorithm) -> Option<PrivateKey> {
    if algorithm != STOCKED || worker.settings.key_stock.size == 0 {
        return None;
    }
    let masters = &worker.masters;
    match worker.store.platform(async |conn| key_stock::take(conn, masters, algorithm).await).await {
        Ok(None) => None,
        Ok(Some(Ok(pkcs8))) => {
            let key = PrivateKey::from_pkcs8_der(&pkcs8);
            key.inspect_err(|error| tracing::error!(%error, "a key in stock cannot be read; it was thrown away")).ok()
        }
        Ok(Some(Err(error))) => {
            tracing::error!(%error, "a key in stock does not open; it was thrown away");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "no key can be taken from the stock");
            None
        }
    }
}

async fn is_short(worker: &Worker) -> Result<bool, StoreError> {
    let there = worker.store.autocommit(async |conn| key_stock::count(conn, STOCKED).await).await?;
    Ok(usize::try_from(there).unwrap_or_default() < worker.settings.key_stock.size)
}

/// None where no thread or no key can be had, which the log says.
async fn make() -> Option<PrivateKey> {
    let (give, get) = tokio::sync::oneshot::channel();
    let started = std::thread::Builder::new().name("key-stock".to_owned()).spawn(move || {
        // On Linux the priority is the thread's own. One that cannot be lowered is that of all others.
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "the priority cannot be lowered");
        }
        drop(give.send(PrivateKey::generate(STOCKED)));
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread for a private key");
        return None;
    }
    match get.await {
        Ok(Ok(key)) => Some(key),
        Ok(Err(error)) => {
            tracing::error!(%error, "a private key could not be made");
            None
        }
        Err(_) => None,
    }
}

impl Worker {
    /// Whether nobody waits for a key of their own, and little is under way.
    fn is_idle(&self) -> bool {
        self.key_makers.available_permits() == crate::worker::key_makers()
            && self.issuances_in_hand() * IDLE_PART <= self.settings.concurrency
    }
}
