//! What happens to the workers and to the database in a round.

use std::time::{Duration, Instant};

use anyhow::Result;
use zonecert_devstack::product::ProductProcess;
use zonecert_devstack::{Hold, Traffic, wait};

use crate::plan::{Incident, Moment};
use crate::world::World;

/// A moment that has not come after so long does not come.
const COMES_WITHIN: Duration = Duration::from_secs(4);

/// What holds a call, for incidents in the middle of one. Made before the round begins, so that no call slips by.
pub(crate) type Trap = Option<Hold>;

impl World {
    pub(crate) fn trap(&self, incident: &Incident) -> Trap {
        match incident {
            Incident::Kill { moment: Moment::Within { server, path, done }, .. }
            | Incident::Freeze { moment: Moment::Within { server, path, done }, .. } => Some(self.hold(*server, path, *done)),
            _ => None,
        }
    }

    /// Returns whether its moment came.
    pub(crate) async fn befall(&mut self, incident: &Incident, trap: Trap, since: &str) -> Result<bool> {
        match incident {
            Incident::Kill { moment, both } => {
                if !self.comes(*moment, trap.as_ref(), since).await? {
                    return Ok(false);
                }
                self.kill(*both).await?;
                drop(trap);
                self.start_workers().await?;
            }
            Incident::Freeze { moment, pause } => {
                if !self.comes(*moment, trap.as_ref(), since).await? {
                    return Ok(false);
                }
                self.system.worker.freeze()?;
                self.may_be_forgotten += self.orders_being_placed(&name(&self.system.worker)?).await?;
                drop(trap);
                wait::pause(*pause).await;
                self.system.worker.thaw()?;
            }
            Incident::Cuts(times) => {
                for _ in 0..*times {
                    self.database.cut_once();
                    wait::pause(Duration::from_millis(300)).await;
                }
            }
            Incident::Stall { pause, then_cut } => {
                self.database.set(Traffic::Stalls);
                wait::pause(*pause).await;
                if *then_cut {
                    self.database.cut_once();
                }
                self.database.set(Traffic::Flows);
            }
            Incident::Away(pause) => {
                self.database.set(Traffic::Cut);
                wait::pause(*pause).await;
                self.database.set(Traffic::Flows);
            }
        }
        Ok(true)
    }

    async fn comes(&self, moment: Moment, trap: Option<&Hold>, since: &str) -> Result<bool> {
        match (moment, trap) {
            (Moment::Within { .. }, Some(hold)) => {
                Ok(tokio::time::timeout(COMES_WITHIN, hold.reached()).await.is_ok_and(|met| met.is_ok()))
            }
            (Moment::After(event), _) => {
                let database = self.system.database().await?;
                let begun = Instant::now();
                let query = "SELECT EXISTS (SELECT FROM events WHERE event = $1 AND at > $2::text::timestamptz)";
                while !database.query_one(query, &[&event, &since]).await?.get::<_, bool>(0) {
                    if begun.elapsed() > COMES_WITHIN {
                        return Ok(false);
                    }
                    wait::pause(Duration::from_millis(10)).await;
                }
                Ok(true)
            }
            (Moment::Within { .. }, None) => Ok(false),
        }
    }

    /// `kill -9` of the first worker, and of the other one where both are meant.
    async fn kill(&mut self, both: bool) -> Result<()> {
        self.kill_one(false).await?;
        if both { self.kill_one(true).await } else { Ok(()) }
    }

    /// `kill -9`. The leases of zones that whoever is dead has held run out at once: their 20 s are not what this is about.
    async fn kill_one(&mut self, second: bool) -> Result<()> {
        let dead = self.die(second).await?;
        let over = "UPDATE zone_projections SET lease_expires_at = now() WHERE lease_owner = $1";
        self.system.database().await?.execute(over, &[&dead]).await?;
        Ok(())
    }

    /// `kill -9` and nothing else. Returns the name of the dead.
    pub(crate) async fn die(&mut self, second: bool) -> Result<String> {
        let worker = if second { &mut self.second } else { &mut self.system.worker };
        let dead = name(worker)?;
        worker.kill().await?;
        self.may_be_forgotten += self.orders_being_placed(&dead).await?;
        Ok(dead)
    }

    pub(crate) async fn start_workers(&mut self) -> Result<()> {
        self.system.worker.start().await?;
        self.second.start().await
    }

    /// How many orders a worker may be about to place: they are on record as intended, in its hands.
    async fn orders_being_placed(&self, worker: &str) -> Result<usize> {
        let query = "SELECT count(*) FROM orders JOIN issuances ON issuances.id = issuance_id
                     WHERE orders.status = 'intended' AND lease_owner = $1";
        let orders: i64 = self.system.database().await?.query_one(query, &[&worker]).await?.get(0);
        Ok(usize::try_from(orders)?)
    }
}

/// The owner of the leases of a worker, as its log says it; nobody's where it has not yet begun.
fn name(worker: &ProductProcess) -> Result<String> {
    let log = worker.log()?;
    // A process that was killed at once has said nothing since the last one.
    let begun = log.lines().rev().find_map(|line| line.split_once("\"worker\":\"worker/").map(|(_, rest)| rest));
    Ok(format!("worker/{}", begun.and_then(|rest| rest.split('"').next()).unwrap_or_default()))
}
