//! The end of an issuance that nobody wants any more: its TXT values go, its order is left, and what the CA has made of it all the same is
//! revoked and never stored (requirements X8).

use serde_json::json;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::issuance::{Failed, IssuanceEvent, Verdict, after_cancel_failure};
use zonecert_domain::order::OrderEvent;
use zonecert_domain::revocation::RevocationReason;
use zonecert_pki::PkiError;
use zonecert_pki::chain::CertificateChain;
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::issuances::{self, Issuance, database_now};
use zonecert_store::issuing::Outcome;
use zonecert_store::orders::{Order, OrderChange};
use zonecert_store::revocations::{self, NewRevocation};
use zonecert_store::{Connection, StoreError, ca_budget, private_keys};

use super::record::about;
use super::{Run, StepError};
use crate::acme::OrderStatus;
use crate::metrics::Ending;

/// A certificate that came when nobody wanted it any more.
struct Late {
    chain: CertificateChain,
    leaf_der: Vec<u8>,
}

impl Run<'_> {
    /// Looks at an order that the CA may have been sent the request of, before it is left.
    pub(super) async fn look_before_cancel(&self, issuance: &Issuance, order: &Order) -> Result<(), StepError> {
        let (directory, url) = (self.directory(order)?, super::steps::order_url(order)?);
        let answer = directory.order(url).await?;
        match answer.status {
            OrderStatus::Valid => {
                let late = Late::read(&directory.certificate(url).await?)?;
                Ok(self.record_cancelled(issuance, Some(late)).await?)
            }
            OrderStatus::Invalid => Ok(self.record_cancelled(issuance, None).await?),
            // Whoever had the issuance before may be about to send the request, until they notice that it is not theirs any more.
            OrderStatus::Pending | OrderStatus::Ready if self.others_have_noticed(issuance) => {
                Ok(self.record_cancelled(issuance, None).await?)
            }
            OrderStatus::Processing if order.polls + 1 >= self.worker.settings.timing.poll_limit => {
                let detail = format!("the CA was still busy with the order after {} looks", order.polls + 1);
                Err(Failure::new(FailureCode::OrderTimeout, detail).into())
            }
            OrderStatus::Pending | OrderStatus::Ready | OrderStatus::Processing => self.look_again(order, &answer).await,
        }
    }

    fn others_have_noticed(&self, issuance: &Issuance) -> bool {
        issuance.cancel_requested_at.is_none_or(|cancelled_at| issuance.now >= cancelled_at + self.worker.settings.lease)
    }

    /// Leaves the order and ends the issuance, with all that follows from it in one transaction.
    pub(super) async fn cancel(&self, issuance: &Issuance) -> Result<(), StepError> {
        Ok(self.record_cancelled(issuance, None).await?)
    }

    async fn record_cancelled(&self, issuance: &Issuance, late: Option<Late>) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                if let (Some(late), Some(order)) = (&late, &issuance.live_order) {
                    self.revoke_late(conn, issuance, order, late).await?;
                    ca_budget::keep_certificate(conn, order.id).await?;
                    self.end_order(conn, order, OrderEvent::Abandoned, OrderChange::default()).await?;
                } else {
                    self.abandon_order(conn, issuance, false).await?;
                }
                issuances::end(conn, &lease, IssuanceEvent::Cancelled, None).await?;
                self.record_outcome(conn, issuance.certificate, Outcome::Cancelled).await?;
                private_keys::destroy_unused(conn, lease.account, issuance.certificate).await?;
                let message = "the issuance was cancelled".to_owned();
                events::record(conn, lease.account, about(issuance, issuance.live_order.as_ref(), "issuance_cancelled", message)).await?;
                Ok(())
            })
        })
        .await?;
        self.worker.metrics.ended(issuance.reason, Ending::Cancelled);
        tracing::info!(late = late.is_some(), "cancelled");
        Ok(())
    }

    async fn revoke_late(&self, conn: &mut Connection, issuance: &Issuance, order: &Order, late: &Late) -> Result<(), StoreError> {
        let reason = RevocationReason::CessationOfOperation;
        let not_after = late.chain.not_after();
        let wish = NewRevocation {
            certificate: issuance.certificate,
            version: None,
            order: order.id,
            leaf_der: &late.leaf_der,
            not_after,
            reason,
        };
        revocations::insert(conn, self.lease.account, &wish, "system").await?;
        let message =
            "the CA has issued a certificate that nobody wants any more; it is not kept, and the CA is asked to revoke it".to_owned();
        let mut event = NewEvent { level: Level::Warning, ..about(issuance, Some(order), "late_certificate", message) };
        event.details = json!({ "serial": late.chain.serial_hex(), "not_after": not_after, "reason": reason });
        events::record(conn, self.lease.account, event).await?;
        Ok(())
    }

    /// Returns whether there is more to do here and now.
    pub(super) async fn record_cancel_failure(&self, issuance: &Issuance, failure: &Failure) -> Result<bool, StoreError> {
        let now = self.worker.store.autocommit(async |conn| database_now(conn).await).await?;
        let counts = (issuance.attempts, issuance.step_failures);
        let verdict = after_cancel_failure(failure, counts, &self.worker.settings.ladder, now, issuance.give_up_at);
        super::failure::log(failure, verdict);
        self.worker.metrics.failed(failure, verdict);
        match verdict {
            Verdict::RepeatStep(pause) => self.repeat_step(issuance, failure, pause).await,
            Verdict::Rest(pause) => self.record_rest(issuance, failure, (Failed::Step, &[]), pause).await.map(|_| false),
            Verdict::Fail => self.record_cancelled(issuance, None).await.map(|()| false),
        }
    }
}

impl Late {
    fn read(pem: &str) -> Result<Self, Failure> {
        let unreadable = |error: PkiError| Failure::new(FailureCode::CertificateRejected, error.to_string());
        let chain = CertificateChain::parse_pem(pem).map_err(unreadable)?;
        let leaf_der = chain.leaf_der().map_err(unreadable)?;
        Ok(Self { chain, leaf_der })
    }
}
