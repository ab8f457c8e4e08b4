//! What operators' programs ask of a process, on a port of its own: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever starts and stops it
//! (`docs/adr/0021-monitoring.md`). API and worker have it alike; it is meant for a network of the operator's own, and asks for no credential.

pub(crate) mod http;
mod pages;
mod platform;
mod pools;
mod server;

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{Encoder as _, IntGaugeVec, Opts, Registry, TextEncoder};
use zonecert_store::ca_budget::Ledger;
use zonecert_store::{Store, StoreError, migrate};

pub use http::HttpMetrics;
pub use server::MonitoringServer;

use platform::Platform;
use pools::{Pools, Shared};

/// Why metrics could not be put on the page, or the page not be made.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// The parts of the page of one process. Cheap to clone.
#[derive(Clone)]
pub struct Monitoring {
    store: Store,
    registry: Registry,
    pools: Arc<Pools>,
    platform: Arc<Platform>,
}

impl Monitoring {
    /// `store` is opened as the API's or the worker's role, with connections of its own: the page answers also when all others are in use. `version` is the
    /// program's; `ledgers` are those of the CAs at which orders are placed.
    pub fn new(store: Store, version: &str, ledgers: Vec<Ledger>) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let build = IntGaugeVec::new(Opts::new("zonecert_build_info", "1, with the version of the program."), &["version"])?;
        build.with_label_values(&[version]).set(1);
        registry.register(Box::new(build))?;
        let pools = Arc::new(Pools::new());
        registry.register(Box::new(Shared(Arc::clone(&pools))))?;
        let platform = Arc::new(Platform::new(store.clone(), ledgers));
        Ok(Self { store, registry, pools, platform })
    }

    /// Puts these metrics on the page.
    pub fn add(&self, metrics: impl Collector + 'static) -> Result<(), MetricsError> {
        Ok(self.registry.register(Box::new(metrics))?)
    }

    /// Has the page show how this pool stands, under this name.
    pub fn add_pool(&self, name: &'static str, store: Store) {
        self.pools.add(name, store);
    }

    /// The page, in Prometheus' text format.
    pub async fn page(&self) -> Result<String, MetricsError> {
        let mut families = self.registry.gather();
        families.extend(self.platform.gather().await?);
        families.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Whether the database can be reached and has every migration that this program knows.
    async fn is_ready(&self) -> Result<bool, StoreError> {
        self.store.platform(migrate::is_current).await
    }
}
