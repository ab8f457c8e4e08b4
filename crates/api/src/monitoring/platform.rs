//! The service as a whole, as the database knows it: the same from every process. Read when the page is asked for, and at most once in a few seconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry};
use tokio::sync::Mutex;
use zonecert_domain::ca_limits::CaLimitKind;
use zonecert_domain::failure::{Actor, FailureCode};
use zonecert_store::ca_budget::{self, Ledger, Spending};
use zonecert_store::platform_state::{self, PlatformState};
use zonecert_store::{Connection, Store, StoreError, migrate};

use super::MetricsError;
use crate::clock;

/// What was read is shown for so long, whoever asks how often.
const KEPT: Duration = Duration::from_secs(5);

/// Whoever asks waits for the database no longer than this: Prometheus has patience for 10 s.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Platform {
    store: Store,
    ledgers: Vec<Ledger>,
    last: Mutex<Option<(Instant, Seen)>>,
}

/// What was seen of the database.
#[derive(Clone)]
struct Seen {
    /// Whether it answered, and knew every migration.
    current: Option<bool>,
    /// None where it did not answer, or is too old to say.
    state: Option<State>,
}

#[derive(Clone)]
struct State {
    platform: PlatformState,
    /// Our clock when the database's was read.
    here: DateTime<Utc>,
    /// Directory, orders that it allows in its time, orders that are left.
    budgets: Vec<(String, u32, u32)>,
}

impl Platform {
    pub(super) fn new(store: Store, mut ledgers: Vec<Ledger>) -> Self {
        ledgers.sort_unstable_by(|one, other| one.directory_url.cmp(&other.directory_url));
        ledgers.dedup_by(|one, other| one.directory_url == other.directory_url);
        Self { store, ledgers, last: Mutex::default() }
    }

    /// The metrics, without those that cannot be known now.
    pub(super) async fn gather(&self) -> Result<Vec<MetricFamily>, MetricsError> {
        let seen = self.look().await;
        let page = Registry::new();
        let set = |name: &str, help: &str, labels: &[&str], values: Vec<(Vec<&str>, f64)>| {
            let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
            for (labels, value) in values {
                gauge.with_label_values(&labels).set(value);
            }
            page.register(Box::new(gauge))
        };
        let one = |value: f64| vec![(Vec::new(), value)];
        set("zonecert_database_up", "1 where the database answers.", &[], one(f64::from(seen.current.is_some())))?;
        if let Some(current) = seen.current {
            let help = "1 where the database has every migration that this program knows.";
            set("zonecert_database_schema_current", help, &[], one(f64::from(current)))?;
        }
        let Some(State { platform, here, budgets }) = &seen.state else { return Ok(page.gather()) };
        let queues =
            |part: fn(&(f64, f64)) -> f64| platform.queues.iter().map(|(queue, both)| (vec![queue.as_str()], part(both))).collect();
        set(
            "zonecert_queue_due",
            "Due and not begun by any worker, of mail what is not sent; counted up to 10,000.",
            &["queue"],
            queues(|both| both.0),
        )?;
        set(
            "zonecert_queue_oldest_due_seconds",
            "For how long the oldest has been due and not begun, or a mail not sent.",
            &["queue"],
            queues(|both| both.1),
        )?;
        let issuances = vec![
            (vec!["running"], platform.issuances_running),
            (vec!["resting"], platform.issuances_resting),
            (vec!["waiting"], platform.queues.get("issue").map_or(0.0, |both| both.0)),
        ];
        let help = "Issuances that are not over: in a worker's hands, resting until their next attempt, waiting for a worker; counted up to 10,000.";
        set("zonecert_issuances_active", help, &["state"], issuances)?;
        set(
            "zonecert_renewals_due",
            "Certificates whose renewal is due and not begun; counted up to 10,000.",
            &[],
            one(platform.renewals_due),
        )?;
        let help = "Certificates whose renewal has not come through an hour after its moment, by whose move it is; counted up to 10,000.";
        set("zonecert_renewals_overdue", help, &["actor"], by_actor(&platform.renewals_late))?;
        if let Some(seconds) = platform.nearest_expiry_seconds {
            let help = "Time until the first certificate expires of those that renew by themselves.";
            set("zonecert_certificate_nearest_expiry_seconds", help, &[], one(seconds))?;
        }
        set("zonecert_key_stock_keys", "Private keys made in advance.", &[], one(platform.key_stock))?;
        let workers = vec![(vec!["working"], platform.workers_working), (vec!["draining"], platform.workers_draining)];
        set("zonecert_workers", "Workers that were seen within the last minute.", &["state"], workers)?;
        let skew = (*here - platform.now).as_seconds_f64();
        set("zonecert_clock_skew_seconds", "How far the clock of this process is ahead of the database's.", &[], one(skew))?;
        let budget = |part: fn(&(String, u32, u32)) -> u32| {
            budgets.iter().map(|line| (vec![line.0.as_str()], f64::from(part(line)))).collect::<Vec<_>>()
        };
        set("zonecert_ca_orders_limit", "Orders that the CA allows us in its time.", &["directory"], budget(|line| line.1))?;
        set("zonecert_ca_orders_left", "Orders that are left of it.", &["directory"], budget(|line| line.2))?;
        Ok(page.gather())
    }

    /// One at a time: whoever comes meanwhile is shown the same.
    async fn look(&self) -> Seen {
        let mut last = self.last.lock().await;
        if let Some((at, seen)) = last.as_ref().filter(|(at, _)| at.elapsed() < KEPT) {
            tracing::trace!(age = ?at.elapsed(), "showing what was read before");
            return seen.clone();
        }
        let seen = tokio::time::timeout(PATIENCE, self.read()).await.unwrap_or(Seen { current: None, state: None });
        *last = Some((Instant::now(), seen.clone()));
        seen
    }

    async fn read(&self) -> Seen {
        let current = match self.store.platform(migrate::is_current).await {
            Ok(current) => current,
            Err(error) => {
                tracing::warn!(%error, "the page of metrics has nothing from the database");
                return Seen { current: None, state: None };
            }
        };
        if !current {
            return Seen { current: Some(false), state: None };
        }
        let state = self.store.platform(async |conn| self.read_state(conn).await).await;
        let state = state.inspect_err(|error| tracing::warn!(%error, "the state of the platform could not be read")).ok();
        Seen { current: Some(true), state }
    }

    async fn read_state(&self, conn: &mut Connection) -> Result<State, StoreError> {
        let platform = platform_state::read(conn).await?;
        let here = clock::now();
        let mut budgets = Vec::new();
        for Ledger { directory_url, limits } in &self.ledgers {
            let Some(limit) = limits.get(CaLimitKind::Order) else { continue };
            let spent = ca_budget::count(conn, directory_url, &Spending::Order, limit.window).await?;
            budgets.push((directory_url.clone(), limit.most, limit.most.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))));
        }
        Ok(State { platform, here, budgets })
    }
}

/// Codes are many; whose move it is matters.
fn by_actor(late: &BTreeMap<String, f64>) -> Vec<(Vec<&'static str>, f64)> {
    let mut counts = BTreeMap::from([("customer", 0.0), ("nobody", 0.0), ("operator", 0.0)]);
    for (code, count) in late {
        let actor = match FailureCode::parse(code).map(FailureCode::actor) {
            Some(Actor::Customer) => "customer",
            Some(Actor::Operator) => "operator",
            // Nothing has failed yet, or a newer program wrote the code.
            Some(Actor::Nobody) | None => "nobody",
        };
        *counts.entry(actor).or_default() += count;
    }
    counts.into_iter().map(|(actor, count)| (vec![actor], count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_is_counted_by_whose_move_it_is() {
        let late = [("acme_caa", 2.0), ("", 1.0), ("dns_provider_unreachable", 3.0), ("acme_rate_limited", 4.0), ("of_tomorrow", 5.0)];
        let late = late.map(|(code, count)| (code.to_owned(), count)).into_iter().collect();
        assert_eq!(by_actor(&late), [(vec!["customer"], 2.0), (vec!["nobody"], 10.0), (vec!["operator"], 3.0)]);
    }
}
