//! What is recorded after a failure, and how the issuance goes on: as [`zonecert_domain::issuance::after_failure`] says.

use std::time::Duration;

use serde_json::{Value, json};
use zonecert_domain::failure::{Actor, Failure};
use zonecert_domain::issuance::{Failed, IssuanceEvent, Verdict, after_failure, what_failed};
use zonecert_domain::order::OrderEvent;
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::issuances::{self, Issuance, database_now};
use zonecert_store::issuing::{self, Outcome};
use zonecert_store::orders::{self, OrderChange};
use zonecert_store::{Connection, StoreError};

use super::Run;
use super::record::{about, withdraw_challenges};

impl Run<'_> {
    /// Returns whether there is more to do here and now.
    pub(super) async fn record_failure(&self, issuance: &Issuance, failure: &Failure, reported: Failed) -> Result<bool, StoreError> {
        let failed = what_failed(failure, reported);
        // The step may have taken long: what matters is the time now.
        let now = self.worker.store.platform(async |conn| database_now(conn).await).await?;
        let counts = (issuance.attempts, issuance.step_failures);
        let verdict = after_failure(failure, failed, counts, &self.worker.settings.ladder, now, issuance.give_up_at);
        log(failure, verdict);
        match verdict {
            Verdict::RepeatStep(pause) => {
                self.record_step_failed(issuance, failure, pause).await?;
                self.worker.pause(pause).await;
                Ok(true)
            }
            Verdict::Rest(pause) => {
                self.record_rest(issuance, failure, failed, pause).await?;
                Ok(false)
            }
            Verdict::Fail => {
                self.record_failed(issuance, failure).await?;
                Ok(false)
            }
        }
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

    async fn record_rest(&self, issuance: &Issuance, failure: &Failure, failed: Failed, pause: Duration) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                if failed == Failed::Order {
                    self.fail_order(conn, issuance, failure).await?;
                }
                let next_attempt_at = database_now(conn).await? + pause;
                let outcome = Outcome::Waiting(shown(failure, next_attempt_at));
                issuances::rest(conn, &lease, pause, describe(failure)).await?;
                issuing::record_outcome(conn, lease.account, issuance.certificate, outcome).await?;
                let message = format!("{}; the next attempt is at {}", failure.detail(), next_attempt_at.format("%Y-%m-%d %H:%M:%S UTC"));
                let event = failure_event(issuance, Level::Warning, "attempt_failed", message, failure);
                events::record(conn, lease.account, event).await.map(drop)
            })
        })
        .await
    }

    async fn record_failed(&self, issuance: &Issuance, failure: &Failure) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                self.fail_order(conn, issuance, failure).await?;
                issuances::end(conn, &lease, IssuanceEvent::Failed, Some(describe(failure))).await?;
                let outcome = Outcome::Failed(shown(failure, Value::Null));
                issuing::record_outcome(conn, lease.account, issuance.certificate, outcome).await?;
                let event = failure_event(issuance, Level::Error, "issuance_failed", failure.detail().to_owned(), failure);
                events::record(conn, lease.account, event).await.map(drop)
            })
        })
        .await
    }

    async fn fail_order(&self, conn: &mut Connection, issuance: &Issuance, failure: &Failure) -> Result<(), StoreError> {
        let Some(order) = &issuance.live_order else { return Ok(()) };
        let change = OrderChange { failure: Some(describe(failure)), ..OrderChange::default() };
        orders::advance(conn, self.lease.account, order, OrderEvent::Failed, change, None).await?;
        withdraw_challenges(conn, self.lease.account, order).await
    }
}

fn failure_event(issuance: &Issuance, level: Level, event: &'static str, message: String, failure: &Failure) -> NewEvent {
    let event = about(issuance, issuance.live_order.as_ref(), event, message);
    NewEvent { level, details: describe(failure), ..event }
}

fn describe(failure: &Failure) -> Value {
    json!({ "code": failure.code.as_str(), "detail": failure.detail(), "remedy": failure.remedy() })
}

/// What the certificate shows of it.
fn shown(failure: &Failure, next_attempt_at: impl serde::Serialize) -> Value {
    let mut shown = describe(failure);
    shown["next_attempt_at"] = json!(next_attempt_at);
    shown
}

/// What only we can mend is an error in our log; all else is in the customer's.
fn log(failure: &Failure, verdict: Verdict) {
    match failure.code.actor() {
        Actor::Operator => {
            tracing::error!(code = failure.code.as_str(), detail = failure.detail(), ?verdict, "an issuance needs the operator");
        }
        Actor::Customer | Actor::Nobody => {
            tracing::warn!(code = failure.code.as_str(), detail = failure.detail(), ?verdict, "a step failed");
        }
    }
}
