//! The worker as a whole: what its jobs share, and how it runs and stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use uuid::Uuid;
use zonecert_pki::seal::MasterKeys;
use zonecert_resolver::Resolver;
use zonecert_store::Store;

use crate::directories::Directories;
use crate::dns::{Projector, Visibility};
use crate::mail::Mailer;
use crate::metrics::WorkerMetrics;
use crate::settings::WorkerSettings;
use crate::webhook::WebhookSender;
use crate::{key_stock, presence, profiles, queue, scan, sweeper, zone_check};

/// Private keys made at the same time, at most: more would only take turns on the cores.
pub(crate) fn key_makers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// What every job needs.
pub struct Worker {
    pub(crate) store: Store,
    pub(crate) masters: Arc<MasterKeys>,
    pub(crate) directories: Directories,
    pub(crate) projector: Projector,
    pub(crate) resolver: Resolver,
    pub(crate) visibility: Visibility,
    pub(crate) settings: WorkerSettings,
    /// None where no way is set: mail waits for a worker that has one.
    pub(crate) mailer: Option<Mailer>,
    /// None where messages to webhooks are left to other workers.
    pub(crate) webhooks: Option<WebhookSender>,
    /// Unique for each start of a process: the owner of its leases.
    pub(crate) name: String,
    pub(crate) key_makers: Arc<Semaphore>,
    /// Held once more for each issuance that this process is working on.
    pub(crate) in_hand: Arc<()>,
    /// Held once more for each job of any kind that is under way.
    pub(crate) jobs: Arc<()>,
    pub(crate) scans: scan::Turns,
    pub(crate) metrics: WorkerMetrics,
    stopping: watch::Sender<bool>,
    draining: watch::Sender<bool>,
}

/// A name that no worker has had before: it owns leases and jobs, and whoever bears it again would take them for its own.
pub fn worker_name() -> String {
    format!("worker/{}", Uuid::now_v7().simple())
}

/// Why a worker does not begin.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The URL of the queue's database is none.
    #[error("the database URL cannot be used for the queue: {0}")]
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
        resolver: Resolver,
        settings: WorkerSettings,
    ) -> Self {
        let (stopping, _) = watch::channel(false);
        let (draining, _) = watch::channel(false);
        let in_hand = Arc::new(());
        let metrics = WorkerMetrics::new(&in_hand, settings.key_stock.size);
        projector.count_taken_over(metrics.zones_taken_over());
        let key_makers = Arc::new(Semaphore::new(key_makers()));
        let scans = scan::Turns::default();
        let visibility = Visibility::Unchecked;
        Self {
            store,
            masters,
            directories,
            projector,
            resolver,
            visibility,
            settings,
            mailer: None,
            webhooks: None,
            name,
            key_makers,
            in_hand,
            jobs: Arc::new(()),
            scans,
            metrics,
            stopping,
            draining,
        }
    }

    /// The same worker, which sends mail this way.
    #[must_use]
    pub fn with_mailer(mut self, mailer: Option<Mailer>) -> Self {
        self.mailer = mailer;
        self
    }

    /// The same worker, which sends messages to webhooks this way.
    #[must_use]
    pub fn with_webhooks(mut self, sender: WebhookSender) -> Self {
        self.webhooks = Some(sender);
        self
    }

    /// The same worker, which tells the CA of a challenge once these show it.
    #[must_use]
    pub fn with_visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// What it counts and times.
    pub fn metrics(&self) -> &WorkerMetrics {
        &self.metrics
    }

    /// Works until `stop` resolves, then hands over what is under way. `queue_url` is the database's URL, for the queue's own connections.
    ///
    /// Errors when the URL is none. A database that is away is waited for.
    pub async fn run(self: Arc<Self>, queue_url: &str, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), WorkerError> {
        if self.mailer.is_none() {
            tracing::warn!(
                "no mail is sent: set ZONECERT_SMTP_URL and ZONECERT_MAIL_FROM; until a worker has them, mail waits, and is given up after a day"
            );
        }
        // They end when this is dropped.
        let mut beside = JoinSet::new();
        let worker = Arc::clone(&self);
        beside.spawn(async move { sweeper::run(&worker).await });
        let worker = Arc::clone(&self);
        beside.spawn(async move { zone_check::run(&worker).await });
        if let Err(error) = self.projector.request_challenge_zone().await {
            tracing::warn!(%error, "the challenge zone could not be asked for; the first order that needs it does");
        }
        let worker = Arc::clone(&self);
        beside.spawn(async move { key_stock::run(&worker).await });
        let worker = Arc::clone(&self);
        beside.spawn(async move { scan::run(&worker).await });
        let worker = Arc::clone(&self);
        beside.spawn(async move { presence::run(&worker).await });
        let worker = Arc::clone(&self);
        beside.spawn(async move { profiles::run(&worker).await });
        let worker = Arc::clone(&self);
        beside.spawn(async move {
            stop.await;
            tracing::info!("stopping: steps under way are finished, issuances are handed over");
            worker.stopping.send_replace(true);
        });
        let ended = queue::run(Arc::clone(&self), queue_url).await;
        presence::leave(&self).await;
        ended
    }

    /// Jobs of any kind that this process is at.
    pub(crate) fn jobs_under_way(&self) -> usize {
        Arc::strong_count(&self.jobs) - 1
    }

    /// Whether the worker was told to stop: begin nothing new.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Resolves when the worker is told to stop.
    pub(crate) async fn told_to_stop(&self) {
        // The sender is ours: the channel is not closed while we are here.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Whether the worker was told to take nothing new.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Has the worker take nothing new, or take jobs again.
    pub(crate) fn drain(&self, drain: bool) {
        if self.draining.send_if_modified(|draining| std::mem::replace(draining, drain) != drain) {
            tracing::info!(drain, "told whether to take nothing new");
        }
    }

    /// Resolves when the worker is told to take nothing new, or to take jobs again.
    pub(crate) async fn told_to_drain(&self, drain: bool) {
        let _ = self.draining.subscribe().wait_for(|draining| *draining == drain).await;
    }

    /// Resolves when the worker is told to stop or to take nothing new.
    pub(crate) async fn told_to_take_nothing(&self) {
        tokio::select! {
            () = self.told_to_stop() => {}
            () = self.told_to_drain(true) => {}
        }
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
