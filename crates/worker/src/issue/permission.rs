//! Whether an issuance may still place an order: looked at again when the job runs (requirements section 6), since plan, standing, zone and
//! wish may not be what they were.

use std::time::Duration;

use serde_json::json;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::issuance::{IssuanceEvent, IssuanceReason};
use zonecert_domain::order::OrderEvent;
use zonecert_domain::renewal::{RenewalBlock, ZoneStanding};
use zonecert_store::accounts::AccountStatus;
use zonecert_store::events::{self, Level};
use zonecert_store::failures::{describe, shown};
use zonecert_store::issuances::{self, Issuance};
use zonecert_store::issuing::{Outcome, Subject};
use zonecert_store::orders::OrderChange;
use zonecert_store::{Connection, StoreError, renewal_schedule};

use super::failure::failure_event;
use super::record::about;
use super::{Run, StepError, spending};

/// Whoever ends a suspension wakes what waits; this is for a wake that got lost.
const LOOK_WHILE_SUSPENDED: Duration = Duration::from_hours(24);

/// What keeps an issuance from placing an order.
pub(super) enum Obstacle {
    /// A renewal by itself that is not wished any more, or that something stands in the way of. The scan begins another once it may.
    CallOff(Option<RenewalBlock>),
    /// What somebody has asked for waits until the account is in good standing again.
    Suspended,
    /// What somebody has asked for will not be done.
    Refuse(Failure),
}

impl Run<'_> {
    pub(super) async fn find_obstacle(&self, issuance: &Issuance, subject: &Subject) -> Result<Option<Obstacle>, StepError> {
        if issuance.reason != IssuanceReason::Renewal {
            return Ok(obstacle_to_request(subject));
        }
        if !subject.auto_renew {
            return Ok(Some(Obstacle::CallOff(None)));
        }
        let (account, certificate) = (self.lease.account, issuance.certificate);
        let block = self.worker.store.tenant(account, async |conn| renewal_schedule::find_block(conn, account, certificate).await).await?;
        Ok(block.map(|block| Obstacle::CallOff(Some(block))))
    }

    /// Ends a renewal that is not to be. A valid version stays in use, and the certificate shows what stands in the way.
    pub(super) async fn record_called_off(&self, issuance: &Issuance, block: Option<RenewalBlock>) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                self.call_off(conn, issuance, block).await
            })
        })
        .await
    }

    /// The account is suspended: the TXT values go, and no step is taken. What somebody has asked for rests until the suspension is over; a renewal by
    /// itself ends, and the scan begins another then. So does what was for the other key of a dual certificate, which must not keep the first from renewing.
    pub(super) async fn record_suspended(&self, issuance: &Issuance) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                if issuance.reason == IssuanceReason::Renewal || issuance.alternate {
                    return self.call_off(conn, issuance, Some(RenewalBlock::Suspended)).await;
                }
                self.abandon_order(conn, issuance, false).await?;
                let failure = Failure::new(FailureCode::AccountSuspended, "the account is suspended");
                issuances::stand_by(conn, &lease, LOOK_WHILE_SUSPENDED, describe(&failure)).await?;
                let outcome = Outcome::Waiting(shown(&failure, None));
                self.record_outcome(conn, issuance.certificate, outcome).await?;
                if issuance.failure_code.as_deref() == Some(failure.code.as_str()) {
                    return Ok(());
                }
                let message = "the account is suspended; this goes on when it no longer is".to_owned();
                let event = failure_event(issuance, Level::Warning, "issuance_suspended", message, &failure);
                events::record(conn, lease.account, event).await.map(drop)
            })
        })
        .await
    }

    async fn call_off(&self, conn: &mut Connection, issuance: &Issuance, block: Option<RenewalBlock>) -> Result<(), StoreError> {
        let account = self.lease.account;
        self.abandon_order(conn, issuance, false).await?;
        issuances::end(conn, &self.lease, IssuanceEvent::Cancelled, None).await?;
        self.record_outcome(conn, issuance.certificate, Outcome::Cancelled).await?;
        let reason = block.map_or("it is not wished any more", RenewalBlock::reason);
        let mut event =
            about(issuance, issuance.live_order.as_ref(), "renewal_called_off", format!("the renewal was called off: {reason}"));
        if let Some(block) = block {
            event.level = Level::Warning;
            event.details = json!({ "code": block.as_str(), "detail": block.reason(), "remedy": block.remedy() });
        }
        events::record(conn, account, event).await.map(drop)
    }

    /// The order is left to the CA, which forgets it, and its TXT values go. `refused` says that the CA never had it.
    pub(super) async fn abandon_order(&self, conn: &mut Connection, issuance: &Issuance, refused: bool) -> Result<(), StoreError> {
        let Some(order) = &issuance.live_order else { return Ok(()) };
        spending::give_back(conn, order, refused).await?;
        self.end_order(conn, order, OrderEvent::Abandoned, OrderChange::default()).await
    }
}

/// What keeps an issuance that somebody has asked for from placing an order. One that has an order goes on with it.
fn obstacle_to_request(subject: &Subject) -> Option<Obstacle> {
    let refuse = |code, detail: &str| Some(Obstacle::Refuse(Failure::new(code, detail)));
    if subject.account.status != AccountStatus::Active {
        return Some(Obstacle::Suspended);
    }
    match subject.zone_standing {
        ZoneStanding::Verified => {}
        ZoneStanding::Lost => return refuse(FailureCode::ZoneLost, &format!("the zone {} is not verified in this account", subject.zone)),
        ZoneStanding::Deleted => {
            return refuse(FailureCode::ZoneDeleted, &format!("the zone {} was deleted from this account", subject.zone));
        }
    }
    let limits = subject.account.plan.limits();
    if !limits.paid {
        return refuse(FailureCode::PlanForbids, "the plan no longer includes certificates");
    }
    if !limits.wildcard && subject.names.iter().any(|name| name.starts_with("*.")) {
        return refuse(FailureCode::PlanForbids, "the plan no longer includes wildcard certificates");
    }
    None
}
