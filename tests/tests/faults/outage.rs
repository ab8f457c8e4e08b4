//! PostgreSQL itself is restarted, and stopped, in the middle of issuances. `PowerDNS` loses its zones meanwhile, since it keeps them there.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use zonecert_devstack::{OUTAGE_VARIABLE, PebbleOptions, Stack, number, wait};
use zonecert_tests::System;

/// Seconds that `cargo xtask test` has it stopped, and issuances under way; `cargo xtask faults --outage` has 60 and 50.
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
    let seen = stack.pebble.seen().await?;
    for number in 0..issuances {
        let orders = seen.orders_for(&format!("o{number}.{}", zone.name)).len();
        assert_eq!(orders, 1, "o{number} was ordered {orders} times");
    }
    // Nobody was started again, and nothing is left.
    system.worker.check()?;
    system.api.check()?;
    stack.check()?;
    system.challenges_are_gone(&zone.name).await
}
