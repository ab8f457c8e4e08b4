//! The worker as a whole: what its jobs share, and how it runs and stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use uuid::Uuid;
use zonecert_pki::seal::MasterKeys;
use zonecert_store::Store;

use crate::directories::Directories;
use crate::dns::Projector;
use crate::settings::WorkerSettings;
use crate::{queue, sweeper};

/// Private keys made at the same time, at most: more would only take turns on the cores.
fn key_makers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// What every job needs.
pub struct Worker {
    pub(crate) store: Store,
    pub(crate) masters: Arc<MasterKeys>,
    pub(crate) directories: Directories,
    pub(crate) projector: Projector,
    pub(crate) settings: WorkerSettings,
    /// Unique for each start of a process: the owner of its leases.
    pub(crate) name: String,
    pub(crate) key_makers: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

/// A name that no worker has had before: it owns leases and jobs, and whoever bears it again would take them for its own.
pub fn worker_name() -> String {
    format!("worker/{}", Uuid::now_v7().simple())
}

/// Why a worker ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The queue's loops have ended: the database was away for too long, or its tables are missing.
    #[error("the queue ended without being asked to: {0}; check the database and run `zonecert migrate`")]
    Queue(String),
}

impl Worker {
    /// A worker with its ports. Nothing runs before [`Self::run`]. The name is one of [`worker_name`].
    pub fn new(
        name: String,
        store: Store,
        masters: Arc<MasterKeys>,
        directories: Directories,
        projector: Projector,
        settings: WorkerSettings,
    ) -> Self {
        let (stopping, _) = watch::channel(false);
        Self { store, masters, directories, projector, settings, name, key_makers: Arc::new(Semaphore::new(key_makers())), stopping }
    }

    /// Works until `stop` resolves, then hands over what is under way. `queue_url` is the database's URL, for the queue's own connections.
    ///
    /// Errors when the queue ends by itself, so that whoever supervises the process starts it again.
    pub async fn run(self: Arc<Self>, queue_url: &str, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), WorkerError> {
        let sweeping = tokio::spawn({
            let worker = Arc::clone(&self);
            async move { sweeper::run(&worker).await }
        });
        let told = {
            let worker = Arc::clone(&self);
            async move {
                stop.await;
                tracing::info!("stopping: steps under way are finished, issuances are handed over");
                worker.stopping.send_replace(true);
            }
        };
        let done = queue::run(Arc::clone(&self), queue_url, told).await;
        sweeping.abort();
        done
    }

    /// Whether the worker was told to stop: begin nothing new.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits, but no longer than until the worker is told to stop.
    pub(crate) async fn pause(&self, duration: Duration) {
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            () = crate::wait::pause(duration) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}
