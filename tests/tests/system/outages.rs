//! Parts go away in the middle of an order and come back.

use anyhow::Result;
use zonecert_devstack::PebbleOptions;
use zonecert_devstack::Stack;
use zonecert_devstack::product::setting;
use zonecert_devstack::wait;
use zonecert_tests::System;

#[tokio::test]
async fn powerdns_away_for_twenty_seconds_heals_by_itself() -> Result<()> {
    let mut stack = Stack::temporary(PebbleOptions::default()).await?;
    let system = System::start(&stack.handle()).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let first = account.request(&zone, "first", &[]).await?;
    account.becomes(&first, "issued").await?;
    system.challenges_are_gone(&zone.name).await?;

    stack.powerdns.stop().await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.logs(&id, "step_failed").await?;
    wait::pause(std::time::Duration::from_secs(20)).await;
    stack.powerdns.start().await?;

    account.becomes(&id, "issued").await?;
    assert_eq!(stack.pebble.seen().await?.orders_for(&format!("app.{}", zone.name)).len(), 1, "the order was kept");
    system.challenges_are_gone(&zone.name).await?;
    assert_eq!(stack.powerdns.count_soa_records(&zone.name).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_ca_that_forgot_everything_gets_a_new_account_and_a_new_order() -> Result<()> {
    let mut stack = Stack::temporary(PebbleOptions::default()).await?;
    let quick_ladder = |product: zonecert_devstack::product::Product| {
        product.with(setting::PROPAGATION_SECONDS, "3").with(setting::RETRY_LADDER_SECONDS, "2")
    };
    let system = System::start_with(&stack.handle(), quick_ladder).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.logs(&id, "challenges_presented").await?;

    stack.pebble.restart().await?;

    account.becomes(&id, "issued").await?;
    let log = account.log(&id).await?;
    let failed = log.iter().find(|entry| entry["event"] == "attempt_failed").expect("the log says why there are two orders");
    assert!(failed["details"]["code"].is_string(), "{failed}");
    assert_eq!(log.iter().filter(|entry| entry["event"] == "order_begun").count(), 2);
    system.challenges_are_gone(&zone.name).await
}

#[tokio::test]
async fn the_database_away_for_a_while_costs_time_and_nothing_else() -> Result<()> {
    let stack = Stack::temporary(PebbleOptions::default()).await?;
    let mut system = System::start(&stack.handle()).await?;
    let account = system.account("elite").await?;
    let zone = system.verified_zone(&account).await?;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(account.request(&zone, &format!("app{number}"), &[]).await?);
    }
    account.logs(&ids[0], "order_placed").await?;

    // Every connection of the product is cut, again and again, for five seconds.
    let administrator = stack.postgres.connect_as_admin("postgres").await?;
    let database = system.product.database().to_owned();
    for _ in 0..10 {
        administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", &[&database]).await?;
        wait::pause(std::time::Duration::from_millis(500)).await;
    }

    for (number, id) in ids.iter().enumerate() {
        account.becomes(id, "issued").await?;
        let orders = stack.pebble.seen().await?.orders_for(&format!("app{number}.{}", zone.name)).len();
        assert_eq!(orders, 1, "app{number} was ordered {orders} times");
    }
    system.worker.check()?;
    system.api.check()?;
    system.is_ready().await?;
    system.challenges_are_gone(&zone.name).await
}
