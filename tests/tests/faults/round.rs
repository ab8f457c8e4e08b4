//! One round: a plan is drawn and carried out, everything comes to rest, and nothing was lost.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use zonecert_devstack::{Fault, Traffic};

use crate::plan::{Dice, Plan};
use crate::world::World;

/// A certificate renews at most so often in one world: CAs limit how often the same names are certified.
pub(crate) const MOST_RENEWALS: usize = 3;

/// What a round has come to, for people to read.
pub(crate) struct Played {
    pub(crate) plan: Plan,
    /// Of the strikes, how many requests each has met; of the incidents, whether their moment came.
    pub(crate) met: (Vec<usize>, Vec<bool>),
    pub(crate) seconds: f64,
}

impl World {
    pub(crate) async fn play(&mut self, seed: u64) -> Result<Played> {
        let plan = Plan::draw(seed);
        self.carry_out(&plan, seed).await.with_context(|| format!("{plan:#?}"))
    }

    async fn carry_out(&mut self, plan: &Plan, seed: u64) -> Result<Played> {
        let begun = Instant::now();
        let since = self.now().await?;
        let strikes: Vec<_> = plan.strikes.iter().map(|strike| self.strike(strike)).collect();
        let traps: Vec<_> = plan.incidents.iter().map(|incident| self.trap(incident)).collect();
        let due = self.renewals(plan, seed);
        for (number, wildcard) in plan.new.iter().enumerate() {
            let label = format!("r{seed}-{number}-{}", self.certificates.len());
            self.request(number % self.tenants.len(), &label, *wildcard).await?;
        }
        for id in &due {
            self.system.let_pass(id, "61 days").await?;
        }
        let mut came = Vec::new();
        for (incident, trap) in plan.incidents.iter().zip(traps) {
            self.watch.database_is_in_trouble(incident.is_of_the_database());
            came.push(self.befall(incident, trap, &since).await?);
        }
        self.database.set(Traffic::Flows);
        // The new faults meet the end of the old ones: nothing is lifted before work has gone on under it.
        self.start_workers().await?;
        let rested = self.come_to_rest(&due, &since).await;
        self.watch.database_is_in_trouble(false);
        let met: Vec<usize> = strikes.iter().map(zonecert_devstack::Refusal::times).collect();
        drop(strikes);
        rested?;
        let refused = refused_for_good(plan, &met);
        self.check(&due, &since, refused).await?;
        Ok(Played { plan: plan.clone(), met: (met, came), seconds: begun.elapsed().as_secs_f64() })
    }

    /// The certificates that renew in this round.
    fn renewals(&mut self, plan: &Plan, seed: u64) -> Vec<String> {
        let mut dice = Dice::new(!seed);
        let mut due: Vec<String> = Vec::new();
        for _ in 0..plan.renewals {
            let may: Vec<usize> = (0..self.certificates.len())
                .filter(|index| {
                    let certificate = &self.certificates[*index];
                    certificate.issued && certificate.renewals < MOST_RENEWALS && !due.contains(&certificate.id)
                })
                .collect();
            if may.is_empty() {
                break;
            }
            let certificate = &mut self.certificates[dice.one_of(&may)];
            certificate.renewals += 1;
            due.push(certificate.id.clone());
        }
        due
    }

    /// The database's clock, in a form that it reads again.
    pub(crate) async fn now(&self) -> Result<String> {
        Ok(self.system.database().await?.query_one("SELECT clock_timestamp()::text", &[]).await?.get(0))
    }

    /// What was issued counts as such from the next round on.
    pub(crate) fn note_issued(&mut self, ids: &[String]) -> Result<()> {
        for id in ids {
            let found = self.certificates.iter_mut().find(|certificate| certificate.id == *id);
            found.with_context(|| format!("{id} is nobody's"))?.issued = true;
        }
        ensure!(self.certificates.iter().any(|certificate| certificate.issued), "nothing was ever issued");
        Ok(())
    }
}

/// How many issuances were refused for a reason that does not heal.
fn refused_for_good(plan: &Plan, met: &[usize]) -> usize {
    let is_for_good = |fault: &Fault| matches!(fault, Fault::Problem { problem_type: "caa", .. });
    plan.strikes.iter().zip(met).filter(|(strike, _)| is_for_good(&strike.fault)).map(|(_, met)| met).sum()
}
