//! Many renewals are due at once, and one of two workers after the other is killed while they are at it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use zonecert_devstack::{STORM_VARIABLE, shared, wait};
use zonecert_tests::PATIENCE;

use crate::world::World;

/// How many renew where `cargo xtask faults storm` says nothing else.
const RENEWALS: usize = 300;
/// What the plan Elite allows.
const IN_AN_ACCOUNT: usize = 100;
const BETWEEN_KILLS: Duration = Duration::from_secs(5);
/// The first dies while all are under way.
const BEFORE_THE_FIRST: Duration = Duration::from_secs(1);
/// A worker that dies leaves the zones that it was changing to its lease of 20 s.
const WITHIN: Duration = Duration::from_mins(20);
/// What is under way, a line each.
const LEFT: &str = "SELECT concat_ws(' ', 'attempts', issuances.attempts, 'failures', step_failures, issuances.failure ->> 'code', issuances.failure ->> 'detail', 'order', orders.status,
        'wakes in', extract(epoch FROM next_wake_at - now())::int, 'lease for', extract(epoch FROM lease_expires_at - now())::int)
    FROM issuances LEFT JOIN orders ON orders.issuance_id = issuances.id AND orders.finished_at IS NULL WHERE issuances.status = 'active'";
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a drill of many minutes: cargo xtask faults storm"]
async fn renewals_that_are_due_at_once_are_each_done_once_while_workers_die() -> Result<()> {
    let certificates = zonecert_devstack::number(STORM_VARIABLE)?.map_or(Ok(RENEWALS), usize::try_from)?;
    let stack = shared().await?;
    let mut world = World::with_tenants(&stack, certificates.div_ceil(IN_AN_ACCOUNT).max(2)).await?;
    let mut due = Vec::new();
    for number in 0..certificates {
        due.push(world.request(number % world.tenants.len(), &format!("s{number}"), false).await?);
    }
    let database = world.system.database().await?;
    let count = async |condition: &str| -> Result<usize> {
        let query = format!("SELECT count(*) FROM issuances WHERE {condition}");
        Ok(usize::try_from(database.query_one(&query, &[]).await?.get::<_, i64>(0))?)
    };
    // Some ten are issued in a second.
    let patience = PATIENCE.max(Duration::from_secs(u64::try_from(certificates)?));
    wait::until("all are issued", patience, async || Ok((count("status = 'succeeded'").await? == certificates).then_some(()))).await?;
    world.note_issued(&due)?;

    let since = world.now().await?;
    world.system.let_pass_for_all("61 days").await?;
    let (begun, mut next, mut kills) = (Instant::now(), Instant::now() + BEFORE_THE_FIRST, 0);
    while count("reason = 'renewal' AND status = 'succeeded'").await? < certificates {
        if begun.elapsed() > WITHIN {
            let left = database.query(LEFT, &[]).await?;
            let left: Vec<String> = left.iter().map(|row| row.get(0)).collect();
            bail!("{} of {certificates} are not renewed after {kills} kills:\n{}", left.len(), left.join("\n"));
        }
        if Instant::now() >= next {
            world.die(kills % 2 == 1).await?;
            world.start_workers().await?;
            (next, kills) = (Instant::now() + BETWEEN_KILLS, kills + 1);
        }
        wait::pause(BETWEEN_LOOKS).await;
    }
    println!("{certificates} renewed in {:.0} s, in which a worker was killed {kills} times", begun.elapsed().as_secs_f64());

    ensure!(kills > 0, "all were renewed before anybody died");
    ensure!(count("reason = 'renewal'").await? == certificates, "something was renewed twice");
    world.come_to_rest(&due, &since).await?;
    world.check(&due, &since, 0).await
}
