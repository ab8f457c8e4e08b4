//! Who projects a zone when: callers of one process queue up, processes take turns by the durable lease.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tracing::Instrument as _;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::retry::step_backoff;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::zone_projections::{self, Generation, ZoneLease, ZoneProjection};
use zonecert_store::{Store, StoreError};

use super::failure::DnsFailure;
use super::holder::{Holder, LEASE, Refused, Trouble};
use super::nameservers::NameServers;
use super::powerdns::PowerDns;
use super::zone::fqdn;
use crate::wait::pause;

/// Between two looks at a lease that another process holds.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// How long a lease of another process is waited for: three times as long as a dead process can keep it.
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two jobs for a zone that has failed more often than [`step_backoff`] has an answer for.
const SLOW_BACKOFF: Duration = Duration::from_mins(1);

/// Brings zones in `PowerDNS` to what the rows say. One per process; cheap to clone.
#[derive(Clone)]
pub struct Projector(Arc<Inner>);

struct Inner {
    store: Store,
    powerdns: PowerDns,
    nameservers: NameServers,
    challenge_zone: Option<ZoneName>,
    owner: String,
    /// Counts leases that were taken over from somebody who did not give them back.
    taken_over: OnceLock<IntCounter>,
    queues: Mutex<HashMap<String, Weak<Queue>>>,
}

/// Callers of this process that want the same zone.
type Queue = tokio::sync::Mutex<Option<Attempt>>;

/// The last attempt of this process, if it failed.
struct Attempt {
    began: Instant,
    trouble: Trouble,
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("owner", &self.0.owner).field("powerdns", &self.0.powerdns).finish_non_exhaustive()
    }
}

impl Projector {
    /// `store` is opened as the worker's role; `owner` says to people who holds a lease; zones that we make have `nameservers`. The challenge zone, if
    /// there is one, is the platform's own: it is made where it is missing, and no account's rows have a say in it.
    pub fn new(
        store: Store,
        powerdns: PowerDns,
        nameservers: NameServers,
        challenge_zone: Option<ZoneName>,
        owner: impl Into<String>,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            powerdns,
            nameservers,
            challenge_zone,
            owner: owner.into(),
            taken_over: OnceLock::new(),
            queues: Mutex::default(),
        }))
    }

    /// Has leases counted that are taken over from somebody who did not give them back. The first to call this has them.
    pub(crate) fn count_taken_over(&self, counter: IntCounter) {
        let _ = self.0.taken_over.set(counter);
    }

    /// Where the challenges of delegated zones are written (requirements S3.71).
    pub fn challenge_zone(&self) -> Option<&ZoneName> {
        self.0.challenge_zone.as_ref()
    }

    /// Has the challenge zone made where nobody has asked for it yet, so that it can be delegated to us before the first order needs it.
    pub async fn request_challenge_zone(&self) -> Result<(), StoreError> {
        let Some(zone) = self.challenge_zone() else { return Ok(()) };
        let requested = self.0.store.platform(async |conn| {
            if zone_projections::find_projection(conn, zone.as_str()).await?.is_none() {
                zone_projections::request_projection(conn, zone.as_str()).await?;
            }
            Ok::<_, StoreError>(())
        });
        requested.await
    }

    /// What a zone is pointed at that we host.
    pub fn nameservers(&self) -> &NameServers {
        &self.0.nameservers
    }

    /// The client, for whoever wants to know whether `PowerDNS` is up.
    pub fn powerdns(&self) -> &PowerDns {
        &self.0.powerdns
    }

    /// Brings the zone to hold what the rows say, at least as of the generation `at_least`, or of this moment: the records that are wanted and
    /// none that is not, foreign ones untouched, one SOA, all of it read back. The zone is made where an account holds it and `PowerDNS`
    /// does not have it, and deleted where nobody does any more and we have made it.
    ///
    /// Returns at once when that has been done, and waits for another process that is about to. The rows must have been committed. A failure
    /// is on record, and a job is on its way that tries again; the caller may well do so before.
    ///
    /// Errors: `dns_provider_unreachable`, `dns_provider_refused`, `dns_provider_mismatch`, `zone_missing_at_provider`, `zone_lost`,
    /// `database_unavailable`, `internal`.
    pub async fn project(&self, dns_zone: &str, at_least: Option<Generation>) -> Result<(), Failure> {
        self.settle(dns_zone, at_least, None).await
    }

    /// Like [`Self::project`] for somebody to whom only `names` matter: a name of somebody else's that `PowerDNS` refuses to change is
    /// no failure.
    pub async fn project_names(&self, dns_zone: &str, at_least: Option<Generation>, names: &[String]) -> Result<(), Failure> {
        self.settle(dns_zone, at_least, Some(names)).await
    }

    async fn settle(&self, dns_zone: &str, at_least: Option<Generation>, names: Option<&[String]>) -> Result<(), Failure> {
        let arrived = Instant::now();
        let mut turn = self.0.queue(dns_zone).lock_owned().await;
        // An attempt that began after we came has read our rows too: its failure is ours. So however many wait for a server that is down,
        // all are told after two attempts.
        if let Some(last) = turn.as_ref().filter(|last| last.began >= arrived) {
            return judge(Some(&last.trouble), names);
        }
        let (inner, dns_zone) = (Arc::clone(&self.0), dns_zone.to_owned());
        let span = tracing::info_span!("project", dns_zone);
        // A task of its own: a caller who is cancelled must not leave a change half made and the lease to run out.
        let task = async move {
            let began = Instant::now();
            let trouble = inner.attempt(&dns_zone, at_least).await.err();
            if let Some(trouble) = &trouble {
                tracing::warn!(failure = %trouble.failure(), ?trouble, "zone could not be projected");
            }
            *turn = trouble.map(|trouble| Attempt { began, trouble });
            turn
        };
        match tokio::spawn(task.instrument(span)).await {
            Ok(turn) => judge(turn.as_ref().map(|attempt| &attempt.trouble), names),
            Err(error) => Err(Failure::new(FailureCode::Internal, format!("the projection ended early: {error}"))),
        }
    }
}

impl Inner {
    fn queue(&self, dns_zone: &str) -> Arc<Queue> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(dns_zone).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(Queue::default());
        queues.insert(dns_zone.to_owned(), Arc::downgrade(&queue));
        queue
    }

    async fn attempt(&self, dns_zone: &str, mut at_least: Option<Generation>) -> Result<(), Trouble> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(projection) = self.store.autocommit(async |conn| zone_projections::find_projection(conn, dns_zone).await).await?
            else {
                // Nobody has ever wanted anything to be there.
                return Ok(());
            };
            if projection.is_through(*at_least.get_or_insert(projection.generation)) {
                return Ok(());
            }
            let (owner, asked) = (&self.owner, Instant::now());
            let lease = self.store.autocommit(async |conn| zone_projections::take_lease_from(conn, dns_zone, owner, LEASE).await).await?;
            match lease {
                Some((lease, previous_owner)) => {
                    self.note_taken_over(previous_owner.as_deref());
                    match self.hold(&lease, asked, &projection).await {
                        Err(Trouble::LeaseLost) => tracing::warn!(fence = lease.fence, "the lease was lost; whoever has it goes on"),
                        ended => return ended,
                    }
                }
                None => pause(BETWEEN_LOOKS).await,
            }
            if Instant::now() >= deadline {
                return Err(DnsFailure::Unreachable("another worker has been changing the zone for too long").into());
            }
        }
    }

    fn note_taken_over(&self, previous_owner: Option<&str>) {
        let Some(previous_owner) = previous_owner else { return };
        tracing::warn!(previous_owner, "took over a zone whose lease had run out");
        if let Some(counter) = self.taken_over.get() {
            counter.inc();
        }
    }

    async fn hold(&self, lease: &ZoneLease, taken: Instant, projection: &ZoneProjection) -> Result<(), Trouble> {
        let platform = self.challenge_zone.as_ref().is_some_and(|zone| zone.as_str() == lease.dns_zone);
        let holder = Holder {
            store: &self.store,
            powerdns: &self.powerdns,
            nameservers: &self.nameservers,
            lease,
            renewed: Mutex::new(taken),
            platform,
        };
        let outcome = holder.run().await;
        let ended = match &outcome {
            Err(Trouble::LeaseLost) => Ok(()),
            Ok(()) => self.store.autocommit(async |conn| zone_projections::release_lease(conn, lease).await).await,
            Err(trouble) => {
                let (error, delay) = (trouble.failure().to_string(), step_backoff(projection.failures + 1).unwrap_or(SLOW_BACKOFF));
                self.store.platform(async |conn| zone_projections::record_failure(conn, lease, &error, delay).await).await
            }
        };
        match ended {
            // What was done is done, and what failed has failed, whoever holds the lease by now.
            Ok(()) | Err(StoreError::Stale) => {}
            Err(error) => tracing::warn!(%error, "the lease could not be given back; it runs out by itself"),
        }
        outcome
    }
}

/// What the last attempt means to somebody to whom only `names` matter.
fn judge(trouble: Option<&Trouble>, names: Option<&[String]>) -> Result<(), Failure> {
    match (trouble, names) {
        (None, _) => Ok(()),
        (Some(Trouble::Names(Refused { names: refused, .. })), Some(names)) if !names.iter().any(|name| refused.contains(&fqdn(name))) => {
            Ok(())
        }
        (Some(trouble), _) => Err(trouble.failure()),
    }
}
