//! PostgreSQL itself is restarted, and stopped, in the middle of issuances. `PowerDNS` loses its zones meanwhile, since it keeps them there. And one that cuts
//! every connection.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use zonecert_devstack::{OUTAGE_VARIABLE, PebbleOptions, Stack, Traffic, number, shared, wait};
use zonecert_tests::System;

use crate::world::World;

/// Seconds that `cargo xtask test` has it stopped, and issuances under way; `cargo xtask faults outage` has 60 and 50.
const SHORT_FORM: u64 = 6;
const ISSUANCES: [usize; 2] = [10, 50];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restarts_and_stops_costs_time_and_nothing_else() -> Result<()> {
    let long = number(OUTAGE_VARIABLE)?;
    let stopped = Duration::from_secs(long.unwrap_or(SHORT_FORM));
    let issuances = ISSUANCES[usize::from(long.is_some())];
    let mut stack = Stack::temporary(PebbleOptions::default()).await?;
    let mut system = System::start(&stack.handle()).await?;
    let account = system.account("elite").await?;
    let zone = system.verified_zone(&account).await?;
    let mut ids = Vec::new();
    for number in 0..issuances {
        let wish = json!({ "zone_id": zone.id, "domain": format!("o{number}.{}", zone.name), "key_algorithm": "ecdsa_p256" });
        let certificate = account.client.post("/certificates", &wish).await?.expect(202)?;
        ids.push(certificate["id"].as_str().unwrap_or_default().to_owned());
    }

    account.logs(&ids[0], "order_placed").await?;
    stack.postgres.stop().await?;
    stack.postgres.start_again().await?;
    system.is_ready().await?;
    account.logs(&ids[1], "order_placed").await?;
    stack.postgres.stop().await?;
    // How long it is away is what this is about.
    wait::pause(stopped).await;
    stack.postgres.start_again().await?;

    let back = Instant::now();
    system.is_ready().await?;
    for id in &ids {
        account.becomes(id, "issued").await?;
    }
    println!("{issuances} issued {:.0} s after the database was back", back.elapsed().as_secs_f64());
    // None is forgotten, and none was begun beside another: who finds his proof gone with the database, and the DNS server that keeps its zones there, ends an order.
    let seen = stack.pebble.seen().await?;
    let query = "SELECT url, failure ->> 'code' FROM orders WHERE url IS NOT NULL AND names[1] = $1";
    let database = system.database().await?;
    for number in 0..issuances {
        let name = format!("o{number}.{}", zone.name);
        let known: BTreeMap<String, Option<String>> =
            database.query(query, &[&name]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
        let at_ca: BTreeSet<&str> = seen.orders_for(&name).iter().map(|order| order.url.as_str()).collect();
        assert_eq!(known.keys().map(String::as_str).collect::<BTreeSet<_>>(), at_ca, "{name}: {known:?}");
        assert_eq!(known.values().filter(|code| code.is_none()).count(), 1, "{name}: {known:?}");
        let ended_by_the_ca = |code: &String| ["acme_dns", "acme_unauthorized", "acme_incorrect_response"].contains(&code.as_str());
        assert!(known.values().flatten().all(ended_by_the_ca), "{name}: {known:?}");
    }
    // Nobody was started again, and nothing is left.
    system.worker.check()?;
    system.api.check()?;
    stack.check()?;
    system.challenges_are_gone(&zone.name).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_outlive_a_database_that_cuts_every_connection_at_once() -> Result<()> {
    let stack = shared().await?;
    let mut world = World::with_tenants(&stack, 1).await?;
    world.watch.database_is_in_trouble(true);
    world.database.set(Traffic::Cut);
    // How long it is away is what this is about: a loop that asks again without a pause asks thousands of times.
    wait::pause(Duration::from_secs(8)).await;
    world.database.set(Traffic::Flows);
    world.system.is_ready().await?;
    world.watch.database_is_in_trouble(false);

    let id = world.request(0, "after", false).await?;
    world.tenants[0].account.becomes(&id, "issued").await?;
    world.system.worker.check()?;
    world.second.check()?;
    for worker in [&world.system.worker, &world.second] {
        let failures = worker.log()?.matches("a loop of the queue ended").count();
        assert!((1..100).contains(&failures), "the loops of a worker were begun {failures} times");
    }
    Ok(())
}
