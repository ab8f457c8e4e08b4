//! How the pools of connections of this process stand.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts};
use zonecert_store::Store;

/// Pools by name; read when the page is asked for.
pub(super) struct Pools {
    named: Mutex<Vec<(&'static str, Store)>>,
    connections: GaugeVec,
    waits: CounterVec,
    wait_seconds: CounterVec,
    timeouts: CounterVec,
}

impl Pools {
    pub(super) fn new() -> Self {
        let counters = |name: &str, help: &str| CounterVec::new(Opts::new(name, help), &["pool"]).expect(CONSTANTS);
        let connections = Opts::new("zonecert_database_connections", "Connections to the database that this process has open.");
        Self {
            named: Mutex::default(),
            connections: GaugeVec::new(connections, &["pool", "state"]).expect(CONSTANTS),
            waits: counters("zonecert_database_connection_waits_total", "How often a connection had to be waited for."),
            wait_seconds: counters(
                "zonecert_database_connection_wait_seconds_total",
                "How long connections were waited for, all together.",
            ),
            timeouts: counters("zonecert_database_connection_timeouts_total", "How often the patience for a connection has run out."),
        }
    }

    pub(super) fn add(&self, name: &'static str, store: Store) {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).push((name, store));
    }

    fn read(&self) {
        for (name, store) in &*self.named.lock().unwrap_or_else(PoisonError::into_inner) {
            let state = store.pool_state();
            self.connections.with_label_values(&[name, "idle"]).set(f64::from(state.idle));
            self.connections.with_label_values(&[name, "busy"]).set(f64::from(state.connections.saturating_sub(state.idle)));
            for (counter, now) in [
                (&self.waits, count(state.waited)),
                (&self.wait_seconds, state.waited_for.as_secs_f64()),
                (&self.timeouts, count(state.timed_out)),
            ] {
                let counter = counter.with_label_values(&[name]);
                // The pool counts; this only follows.
                counter.inc_by((now - counter.get()).max(0.0));
            }
        }
    }

    fn parts(&self) -> [&dyn Collector; 4] {
        [&self.connections, &self.waits, &self.wait_seconds, &self.timeouts]
    }
}

impl Collector for Pools {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

/// Shared with whoever adds pools.
pub(super) struct Shared(pub(super) Arc<Pools>);

impl Collector for Shared {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.collect()
    }
}

const CONSTANTS: &str = "Prometheus takes these constants";

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floating point, and nothing here comes near 2^53")]
const fn count(number: u64) -> f64 {
    number as f64
}
