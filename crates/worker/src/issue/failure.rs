//! What is recorded after a failure, and how the issuance goes on: as [`zonecert_domain::issuance::after_failure`] says.

use std::sync::PoisonError;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use zonecert_domain::failure::{Actor, Failure, FailureCode};
use zonecert_domain::issuance::{Failed, IssuanceEvent, Verdict, after_failure, what_failed};
use zonecert_domain::moment;
use zonecert_domain::order::OrderEvent;
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::failures::{describe, shown_limited};
use zonecert_store::issuances::{self, Issuance, database_now};
use zonecert_store::issuing::Outcome;
use zonecert_store::orders::OrderChange;
use zonecert_store::{Connection, StoreError, ca_budget};

use super::record::about;
use super::{Run, Unexplained, spending};
use crate::metrics::Ending;

impl Run<'_> {
    /// `unproven` are the names whose authorization has failed. Returns whether there is more to do here and now.
    pub(super) async fn record_failure(
        &self,
        issuance: &Issuance,
        failure: &Failure,
        reported: Failed,
        unproven: &[String],
    ) -> Result<bool, StoreError> {
        if issuance.cancel_requested_at.is_some() {
            return self.record_cancel_failure(issuance, failure).await;
        }
        let failed = what_failed(failure, reported);
        // The step may have taken long: what matters is the time now.
        let now = self.worker.store.autocommit(async |conn| database_now(conn).await).await?;
        let counts = (issuance.attempts, issuance.step_failures);
        let verdict = after_failure(failure, failed, counts, &self.worker.settings.ladder, now, issuance.give_up_at);
        log(failure, verdict);
        self.worker.metrics.failed(failure, verdict);
        let shown = match verdict {
            Verdict::RepeatStep(pause) => return self.repeat_step(issuance, failure, pause).await,
            Verdict::Rest(pause) => self.record_rest(issuance, failure, (failed, unproven), pause).await?,
            Verdict::Fail => self.record_failed(issuance, failure, unproven, None).await?,
        };
        *self.unexplained.lock().unwrap_or_else(PoisonError::into_inner) = Unexplained::of(issuance, failure, verdict, shown);
        Ok(false)
    }

    /// Returns that there is more to do here and now.
    pub(super) async fn repeat_step(&self, issuance: &Issuance, failure: &Failure, pause: Duration) -> Result<bool, StoreError> {
        self.record_step_failed(issuance, failure, pause).await?;
        self.worker.pause(pause).await;
        Ok(true)
    }

    async fn record_step_failed(&self, issuance: &Issuance, failure: &Failure, pause: Duration) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                issuances::record_step_failed(conn, &lease, describe(failure)).await?;
                let message = format!("{}; the step is repeated in {} s", failure.detail(), pause.as_secs_f64());
                let event = failure_event(issuance, Level::Warning, "step_failed", message, failure);
                events::record(conn, lease.account, event).await.map(drop)
            })
        })
        .await
    }

    /// Returns what people are shown of it, as does [`Self::record_failed`].
    pub(super) async fn record_rest(
        &self,
        issuance: &Issuance,
        failure: &Failure,
        (failed, unproven): (Failed, &[String]),
        pause: Duration,
    ) -> Result<Value, StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                if failed == Failed::Order {
                    self.fail_order(conn, issuance, failure, unproven).await?;
                }
                let next_attempt_at = held.now + pause;
                let limited = failure.code == FailureCode::AcmeRateLimited;
                let shown = shown_limited(failure, Some(next_attempt_at), limited.then_some(next_attempt_at));
                issuances::rest(conn, &lease, pause, describe(failure)).await?;
                self.record_outcome(conn, issuance.certificate, Outcome::Waiting(shown.clone())).await?;
                let message = format!("{}; the next attempt is at {}", failure.detail(), moment::shown(next_attempt_at));
                let event = failure_event(issuance, Level::Warning, "attempt_failed", message, failure);
                events::record(conn, lease.account, event).await?;
                Ok(shown)
            })
        })
        .await
    }

    /// `limited_until` is when the CA would take an order again, where that is why.
    pub(super) async fn record_failed(
        &self,
        issuance: &Issuance,
        failure: &Failure,
        unproven: &[String],
        limited_until: Option<DateTime<Utc>>,
    ) -> Result<Value, StoreError> {
        let lease = self.lease;
        let shown = shown_limited(failure, None, limited_until);
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                self.fail_order(conn, issuance, failure, unproven).await?;
                issuances::end(conn, &lease, IssuanceEvent::Failed, Some(describe(failure))).await?;
                self.record_outcome(conn, issuance.certificate, Outcome::Failed(shown.clone())).await?;
                let event = failure_event(issuance, Level::Error, "issuance_failed", failure.detail().to_owned(), failure);
                events::record(conn, lease.account, event).await.map(drop)
            })
        })
        .await?;
        self.worker.metrics.ended(issuance.reason, Ending::Failed);
        Ok(shown)
    }

    async fn fail_order(
        &self,
        conn: &mut Connection,
        issuance: &Issuance,
        failure: &Failure,
        unproven: &[String],
    ) -> Result<(), StoreError> {
        let Some(order) = &issuance.live_order else { return Ok(()) };
        spending::record_unproven(conn, self.lease.account, order, unproven).await?;
        if failure.code == FailureCode::CertificateRejected {
            // The CA counts it all the same.
            ca_budget::keep_certificate(conn, order.id).await?;
        } else {
            let refused = failure.code.acme_type().is_some() && failure.code != FailureCode::AcmeServerInternal;
            spending::give_back(conn, order, refused).await?;
        }
        let change = OrderChange { failure: Some(describe(failure)), ..OrderChange::default() };
        self.end_order(conn, order, OrderEvent::Failed, change).await
    }
}

pub(super) fn failure_event(issuance: &Issuance, level: Level, event: &'static str, message: String, failure: &Failure) -> NewEvent {
    let event = about(issuance, issuance.live_order.as_ref(), event, message);
    NewEvent { level, details: describe(failure), ..event }
}

/// What only we can mend is an error in our log; all else is in the customer's.
pub(super) fn log(failure: &Failure, verdict: Verdict) {
    match failure.code.actor() {
        Actor::Operator => {
            tracing::error!(code = failure.code.as_str(), detail = failure.detail(), ?verdict, "an issuance needs the operator");
        }
        Actor::Customer | Actor::Nobody => {
            tracing::warn!(code = failure.code.as_str(), detail = failure.detail(), ?verdict, "a step failed");
        }
    }
}
