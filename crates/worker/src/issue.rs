//! The job `issue`: brings one issuance as far as it will go now.
//!
//! Takes the lease, then repeats: load, let [`zonecert_domain::issuance::next_step`] decide, take that step through a port while holding no
//! database connection, record the outcome in one transaction behind the fence. Whoever is killed anywhere in between leaves a row from which the
//! next worker goes on with the same ACME order.

mod aliases;
mod authority;
mod cancel;
mod failure;
mod findings;
mod permission;
mod places;
mod record;
mod spending;
mod steps;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Instrument;
use zonecert_domain::failure::Failure;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId};
use zonecert_domain::issuance::{Failed, IssuanceStep, next_step};
use zonecert_store::StoreError;
use zonecert_store::accounts::AccountStatus;
use zonecert_store::ca_budget::Spent;
use zonecert_store::issuances::{self, Issuance, Lease};
use zonecert_store::issuing::Subject;

use crate::expiry;
use crate::metrics::step_name;
use crate::worker::Worker;
use findings::Unexplained;

/// A wait of up to this long is sat out; for a longer one the lease goes back and a job is sent for then.
const LONGEST_WAIT_IN_PLACE: Duration = Duration::from_secs(15);

/// Whoever waits for room at a challenge name, or for another key of our account, looks again after this; nobody's place is taken up meanwhile.
const PAUSE_FOR_A_TURN: Duration = Duration::from_secs(1);

const PAUSE_WHILE_DATABASE_IS_AWAY: Duration = Duration::from_millis(500);

/// The payload of the job.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct IssueJob {
    /// The tenant, as the bare UUID.
    pub account_id: uuid::Uuid,
    /// The issuance, as the bare UUID.
    pub issuance_id: uuid::Uuid,
}

/// Why a step was not taken.
enum StepError {
    /// The outside said no.
    Failure(Failure, Failed),
    /// The CA did not find the proof of these names: the order is over.
    Unproven(Failure, Vec<String>),
    /// The account is suspended: nothing is begun.
    Suspended,
    /// Our database did, or the lease is gone.
    Store(StoreError),
    /// The CA's limits leave no room for an order.
    Spent(Spent),
    /// As many values stand at one of its challenge names as there is room for, or our account's key is about to change: others first.
    Turn,
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure, Failed::Step)
    }
}

/// One issuance in the hands of this worker.
struct Run<'a> {
    worker: &'a Worker,
    lease: Lease,
    /// What is asked for, as it was when it was last read.
    subject: Mutex<Option<Arc<Subject>>>,
    /// A failure that is to be looked into once the lease is given back.
    unexplained: Mutex<Option<Unexplained>>,
    /// What is to be counted once the transaction is through that has noticed it.
    expired: Mutex<Option<Expired>>,
}

/// A certificate whose end was noticed.
struct Expired {
    certificate: CertificateId,
    auto_renew: bool,
}

/// Works on an issuance until it is over, rests, or is somebody else's. Does nothing when it is not due or another worker holds it.
pub async fn run(worker: &Worker, job: IssueJob) -> Result<(), StoreError> {
    let (account, issuance) = (AccountId(job.account_id), IssuanceId(job.issuance_id));
    let ttl = worker.settings.lease;
    let taken =
        worker.store.tenant(account, async |conn| issuances::take_lease_from(conn, account, issuance, &worker.name, ttl).await).await?;
    let Some((lease, previous_owner)) = taken else {
        tracing::debug!(%account, %issuance, "nothing to do: not due, over, or in other hands");
        return Ok(());
    };
    if let Some(previous_owner) = previous_owner {
        tracing::warn!(%account, %issuance, previous_owner, "took over an issuance whose lease had run out");
        worker.metrics.issuance_taken_over();
    }
    let run = Run { worker, lease, subject: Mutex::default(), unexplained: Mutex::default(), expired: Mutex::default() };
    let _in_hand = Arc::clone(&worker.in_hand);
    let span = tracing::info_span!("issue", %account, %issuance, fence = lease.fence, certificate = tracing::field::Empty, order = tracing::field::Empty);
    async {
        let done = tokio::select! {
            done = run.go_on() => done,
            () = run.keep_lease() => {
                tracing::warn!("the lease was lost; whoever has it goes on");
                worker.metrics.lease_lost();
                Ok(())
            }
        };
        let unexplained = run.unexplained.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(unexplained) = unexplained.filter(|_| !worker.is_stopping()) {
            unexplained.explain(worker, account).await;
        }
        done
    }
    .instrument(span)
    .await
}

impl Run<'_> {
    async fn go_on(&self) -> Result<(), StoreError> {
        let mut resumed = false;
        loop {
            match self.take_next_step(&mut resumed).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(StoreError::Stale) => {
                    tracing::warn!("the issuance has moved on in other hands");
                    return Ok(());
                }
                // What the outside has done is on record by now (see `persist`), and a step that is not can be taken again.
                Err(StoreError::Unavailable(reason)) if !self.worker.is_stopping() => {
                    tracing::warn!(reason, "the database is away; going on once it is back");
                    self.worker.pause(PAUSE_WHILE_DATABASE_IS_AWAY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns whether there is more to do here and now.
    async fn take_next_step(&self, resumed: &mut bool) -> Result<bool, StoreError> {
        if self.worker.is_stopping() {
            return self.hand_over(Duration::ZERO).await;
        }
        let issuance = self.load().await?;
        let cancelled = issuance.cancel_requested_at.is_some();
        if issuance.account_status == AccountStatus::SuspendedAbuse && !cancelled && !issuance.status.is_terminal() {
            self.record_suspended(&issuance).await?;
            return Ok(false);
        }
        if !*resumed && issuance.live_order.is_some() && !cancelled {
            // The order may have rested: people see that it is under way again.
            self.record_running(&issuance).await?;
        }
        *resumed = true;
        let step = next_step(&issuance.progress(), &self.worker.settings.timing, issuance.now);
        let (name, started) = (step_name(&step), Instant::now());
        let taken = match step {
            IssuanceStep::Nothing => return Ok(false),
            IssuanceStep::Wait(until) => {
                let pause = (until - issuance.now).to_std().unwrap_or_default();
                if pause > LONGEST_WAIT_IN_PLACE {
                    return self.hand_over(pause).await;
                }
                self.worker.pause(pause).await;
                return Ok(true);
            }
            IssuanceStep::BeginOrder => {
                tracing::debug!("beginning an order");
                self.begin_order(&issuance).await
            }
            IssuanceStep::Order(step) => match &issuance.live_order {
                Some(order) => {
                    tracing::debug!(?step, status = %order.status, "taking a step");
                    self.take_order_step(&issuance, order, step).await
                }
                None => return Err(StoreError::Stale),
            },
            IssuanceStep::Cancel => {
                tracing::debug!("cancelling");
                self.cancel(&issuance).await
            }
            IssuanceStep::LookBeforeCancel => match &issuance.live_order {
                Some(order) => {
                    tracing::debug!(status = %order.status, "looking at an order that nobody wants any more");
                    self.look_before_cancel(&issuance, order).await
                }
                None => return Err(StoreError::Stale),
            },
        };
        if let Some(name) = name {
            self.worker.metrics.step_taken(name, started);
        }
        match taken {
            Ok(()) => Ok(true),
            Err(StepError::Store(error)) => Err(error),
            Err(StepError::Turn) => self.hand_over(PAUSE_FOR_A_TURN).await,
            Err(StepError::Suspended) => self.record_suspended(&issuance).await.map(|()| false),
            Err(StepError::Spent(spent)) => self.record_spent(&issuance, &spent).await.map(|()| false),
            Err(StepError::Failure(failure, failed)) => self.record_failure(&issuance, &failure, failed, &[]).await,
            Err(StepError::Unproven(failure, names)) => self.record_failure(&issuance, &failure, Failed::Order, &names).await,
        }
    }

    async fn load(&self) -> Result<Issuance, StoreError> {
        let (account, id) = (self.lease.account, self.lease.issuance);
        let issuance = self.worker.store.autocommit(async |conn| issuances::get_issuance(conn, account, id).await).await?;
        let span = tracing::Span::current();
        span.record("certificate", tracing::field::display(issuance.certificate));
        if let Some(order) = &issuance.live_order {
            span.record("order", tracing::field::display(order.id));
        }
        Ok(issuance)
    }

    /// Records something, however long the database is away: what the outside has done must not be forgotten. The fence tells whether
    /// it is still ours to record.
    async fn persist<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            let outcome = attempt().await;
            let expired = self.expired.lock().unwrap_or_else(PoisonError::into_inner).take();
            match outcome {
                Err(StoreError::Unavailable(reason)) if !self.worker.is_stopping() => {
                    tracing::warn!(reason, "the database is away; what happened is recorded once it is back");
                    self.worker.pause(PAUSE_WHILE_DATABASE_IS_AWAY).await;
                }
                Ok(recorded) => {
                    if let Some(Expired { certificate, auto_renew }) = expired {
                        expiry::count(self.worker, self.lease.account, certificate, auto_renew);
                    }
                    return Ok(recorded);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the lease back; the next worker takes the next step after `delay`.
    async fn hand_over(&self, delay: Duration) -> Result<bool, StoreError> {
        let lease = self.lease;
        self.worker
            .store
            .tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                issuances::release(conn, &lease, delay).await
            })
            .await?;
        tracing::debug!(?delay, "handed over");
        Ok(false)
    }

    /// Renews the lease again and again; returns once somebody else has it. While the database is away nobody can take it over, and nothing
    /// can be recorded without it, so that there is no reason to stop for that.
    async fn keep_lease(&self) {
        let ttl = self.worker.settings.lease;
        let lease = self.lease;
        loop {
            crate::wait::pause(ttl / 3).await;
            match self.worker.store.tenant(lease.account, async |conn| issuances::renew_lease(conn, &lease, ttl).await).await {
                Ok(()) => {}
                Err(StoreError::Stale) => return,
                Err(error) => tracing::warn!(%error, "the lease could not be renewed yet"),
            }
        }
    }
}
