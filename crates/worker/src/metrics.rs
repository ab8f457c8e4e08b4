//! What a worker counts and times, for Prometheus (`docs/adr/0021-monitoring.md`). Labels have few values, all of them known beforehand: no identifier, no domain.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};
use zonecert_domain::failure::{Actor, Failure, FailureClass, FailureCode};
use zonecert_domain::issuance::{IssuanceReason, IssuanceStep, Verdict};
use zonecert_domain::order::OrderStep;

/// Seconds of one step, which is a call or two to somebody else.
const STEP_BUCKETS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Seconds from the wish to the certificate; what needs more attempts takes minutes to days.
const ISSUANCE_BUCKETS: [f64; 12] = [1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0];

/// How an issuance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Issued,
    Failed,
    Cancelled,
}

impl Ending {
    const ALL: [Self; 3] = [Self::Issued, Self::Failed, Self::Cancelled];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a sweeper finds lost, or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Issuance,
    Zone,
    Revocation,
    Mail,
    Webhook,
    EndedAccount,
}

/// What has come of an attempt to deliver a message to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryOutcome {
    Delivered,
    /// It will be tried again.
    Failed,
    GivenUp,
}

impl DeliveryOutcome {
    const ALL: [Self; 3] = [Self::Delivered, Self::Failed, Self::GivenUp];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
        }
    }
}

impl Finding {
    const ALL: [Self; 6] = [Self::Issuance, Self::Zone, Self::Revocation, Self::Mail, Self::Webhook, Self::EndedAccount];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Issuance => "issuance",
            Self::Zone => "zone",
            Self::Revocation => "revocation",
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::EndedAccount => "ended_account",
        }
    }
}

/// The metrics of one worker. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct WorkerMetrics {
    step_seconds: HistogramVec,
    issuance_seconds: HistogramVec,
    issuances: IntCounterVec,
    failures: IntCounterVec,
    leases_taken_over: IntCounterVec,
    leases_lost: IntCounter,
    findings: IntCounterVec,
    expired: IntCounterVec,
    webhook_attempts: IntCounterVec,
    queue_failures: IntCounter,
    in_hand: IntGauge,
    taking_jobs: IntGauge,
    key_stock_wanted: IntGauge,
    hands: Weak<()>,
}

impl WorkerMetrics {
    /// All at zero, and every series there from the beginning: what appears with a 1 has not risen, for Prometheus. `hands` is held by the worker, and once
    /// more for each issuance in hand.
    pub(crate) fn new(hands: &Arc<()>, key_stock: usize) -> Self {
        let metrics = Self {
            step_seconds: histogram(
                "zonecert_issuance_step_seconds",
                "Time that a step of an issuance took, waits not counted.",
                "step",
                &STEP_BUCKETS,
            ),
            issuance_seconds: histogram(
                "zonecert_issuance_seconds",
                "Time from the wish for a certificate to its being there, rests between attempts included.",
                "reason",
                &ISSUANCE_BUCKETS,
            ),
            issuances: counters("zonecert_issuances_total", "Issuances that are over, by how they ended.", &["reason", "outcome"]),
            failures: counters(
                "zonecert_issuance_failures_total",
                "Failures of steps: what failed, whether it can heal, whose move it is, and how the issuance goes on.",
                &["code", "class", "actor", "verdict"],
            ),
            leases_taken_over: counters(
                "zonecert_leases_taken_over_total",
                "Leases that ran out without having been given back, and were taken over by this worker.",
                &["of"],
            ),
            leases_lost: counter(
                "zonecert_leases_lost_total",
                "Leases of issuances that this worker has lost to another while it was working.",
            ),
            findings: counters(
                "zonecert_sweeper_findings_total",
                "What the sweeper found that nobody was working on, and woke or ended.",
                &["of"],
            ),
            expired: counters(
                "zonecert_certificates_expired_total",
                "Certificates that have expired without a successor, by whether they were to renew by themselves.",
                &["auto_renew"],
            ),
            webhook_attempts: counters(
                "zonecert_webhook_attempts_total",
                "Attempts to deliver a message to a webhook, by what has come of them.",
                &["outcome"],
            ),
            queue_failures: counter("zonecert_queue_loop_failures_total", "Loops of the queue that ended and were started again."),
            in_hand: gauge("zonecert_worker_issuances_in_hand", "Issuances that this worker is working on."),
            taking_jobs: gauge("zonecert_worker_taking_jobs", "1 while this worker takes jobs, 0 while it is drained or stops."),
            key_stock_wanted: gauge("zonecert_key_stock_wanted", "Private keys that this worker would have in stock."),
            hands: Arc::downgrade(hands),
        };
        metrics.key_stock_wanted.set(i64::try_from(key_stock).unwrap_or(i64::MAX));
        metrics.begin_at_zero();
        metrics
    }

    fn begin_at_zero(&self) {
        for reason in IssuanceReason::ALL {
            for ending in Ending::ALL {
                self.issuances.with_label_values(&[reason.as_str(), ending.as_str()]);
            }
        }
        for code in FailureCode::ALL {
            for verdict in ["repeat", "rest", "fail"] {
                self.failures.with_label_values(&[code.as_str(), class(code), actor(code), verdict]);
            }
        }
        for of in ["issuance", "zone"] {
            self.leases_taken_over.with_label_values(&[of]);
        }
        for finding in Finding::ALL {
            self.findings.with_label_values(&[finding.as_str()]);
        }
        for outcome in DeliveryOutcome::ALL {
            self.webhook_attempts.with_label_values(&[outcome.as_str()]);
        }
        for auto_renew in ["true", "false"] {
            self.expired.with_label_values(&[auto_renew]);
        }
    }

    /// A step that began at `started` is over.
    pub(crate) fn step_taken(&self, step: &'static str, started: Instant) {
        self.step_seconds.with_label_values(&[step]).observe(started.elapsed().as_secs_f64());
    }

    /// A certificate is there that was wished for at `since`.
    pub(crate) fn issued(&self, reason: IssuanceReason, since: DateTime<Utc>, now: DateTime<Utc>) {
        let took: Duration = (now - since).to_std().unwrap_or_default();
        self.issuance_seconds.with_label_values(&[reason.as_str()]).observe(took.as_secs_f64());
        self.ended(reason, Ending::Issued);
    }

    /// An issuance is over.
    pub(crate) fn ended(&self, reason: IssuanceReason, ending: Ending) {
        self.issuances.with_label_values(&[reason.as_str(), ending.as_str()]).inc();
    }

    /// A step has failed, and this follows from it.
    pub(crate) fn failed(&self, failure: &Failure, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::RepeatStep(_) => "repeat",
            Verdict::Rest(_) => "rest",
            Verdict::Fail => "fail",
        };
        let code = failure.code;
        self.failures.with_label_values(&[code.as_str(), class(code), actor(code), verdict]).inc();
    }

    pub(crate) fn issuance_taken_over(&self) {
        self.leases_taken_over.with_label_values(&["issuance"]).inc();
    }

    /// Counts leases of zones, for whoever takes them.
    pub(crate) fn zones_taken_over(&self) -> IntCounter {
        self.leases_taken_over.with_label_values(&["zone"])
    }

    pub(crate) fn lease_lost(&self) {
        self.leases_lost.inc();
    }

    pub(crate) fn found(&self, finding: Finding) {
        self.findings.with_label_values(&[finding.as_str()]).inc();
    }

    pub(crate) fn expired(&self, auto_renew: bool) {
        self.expired.with_label_values(&[if auto_renew { "true" } else { "false" }]).inc();
    }

    /// A message to a webhook was tried.
    pub(crate) fn delivered(&self, outcome: DeliveryOutcome) {
        self.webhook_attempts.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts loops of the queue that have failed.
    pub(crate) fn queue_failures(&self) -> IntCounter {
        self.queue_failures.clone()
    }

    pub(crate) fn takes_jobs(&self, takes: bool) {
        self.taking_jobs.set(i64::from(takes));
    }

    pub(crate) fn is_taking_jobs(&self) -> bool {
        self.taking_jobs.get() == 1
    }

    fn parts(&self) -> [&dyn Collector; 13] {
        [
            &self.step_seconds,
            &self.issuance_seconds,
            &self.issuances,
            &self.failures,
            &self.leases_taken_over,
            &self.leases_lost,
            &self.findings,
            &self.expired,
            &self.webhook_attempts,
            &self.queue_failures,
            &self.in_hand,
            &self.taking_jobs,
            &self.key_stock_wanted,
        ]
    }
}

impl Collector for WorkerMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.in_hand.set(i64::try_from(Weak::strong_count(&self.hands).saturating_sub(1)).unwrap_or(i64::MAX));
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

/// The name of a step in metrics; none for what is no step.
pub(crate) const fn step_name(step: &IssuanceStep) -> Option<&'static str> {
    Some(match step {
        IssuanceStep::Wait(_) | IssuanceStep::Nothing | IssuanceStep::Order(OrderStep::Wait(_) | OrderStep::Nothing) => return None,
        IssuanceStep::BeginOrder => "begin_order",
        IssuanceStep::Cancel => "cancel",
        IssuanceStep::LookBeforeCancel => "look_before_cancel",
        IssuanceStep::Order(OrderStep::Place) => "place",
        IssuanceStep::Order(OrderStep::WriteChallenges) => "write_challenges",
        IssuanceStep::Order(OrderStep::Present) => "present",
        IssuanceStep::Order(OrderStep::Prepare) => "prepare",
        IssuanceStep::Order(OrderStep::Notify) => "notify",
        IssuanceStep::Order(OrderStep::PollAuthorizations) => "poll_authorizations",
        IssuanceStep::Order(OrderStep::Finalize) => "finalize",
        IssuanceStep::Order(OrderStep::PollOrder) => "poll_order",
    })
}

const fn class(code: FailureCode) -> &'static str {
    match code.class() {
        FailureClass::Heal => "heal",
        FailureClass::Final => "final",
    }
}

const fn actor(code: FailureCode) -> &'static str {
    match code.actor() {
        Actor::Customer => "customer",
        Actor::Operator => "operator",
        Actor::Nobody => "nobody",
    }
}

/// Names, labels and buckets are constants.
const CONSTANTS: &str = "Prometheus takes the name, the labels and the buckets of every metric of ours";

fn histogram(name: &str, help: &str, label: &str, buckets: &[f64]) -> HistogramVec {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &[label]).expect(CONSTANTS)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect(CONSTANTS)
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect(CONSTANTS)
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect(CONSTANTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_beginning_and_no_name_twice() {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(WorkerMetrics::new(&Arc::new(()), 0))).unwrap();
        let families = registry.gather();
        let series = |name: &str| families.iter().find(|family| family.name() == name).map_or(0, |family| family.get_metric().len());
        assert_eq!(series("zonecert_issuance_failures_total"), FailureCode::ALL.len() * 3);
        assert_eq!(series("zonecert_issuances_total"), IssuanceReason::ALL.len() * Ending::ALL.len());
        assert_eq!(series("zonecert_sweeper_findings_total"), Finding::ALL.len());
    }

    #[test]
    fn the_metrics_count_what_is_in_hand_and_not_themselves() {
        let hands = Arc::new(());
        let metrics = WorkerMetrics::new(&hands, 0);
        let in_hand = || {
            metrics.clone().collect();
            metrics.in_hand.get()
        };
        assert_eq!(in_hand(), 0);
        let held = Arc::clone(&hands);
        assert_eq!(in_hand(), 1);
        drop(held);
        assert_eq!(in_hand(), 0);
    }
}
