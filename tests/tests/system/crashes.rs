//! Workers are killed: whoever comes next goes on with the same order.

use anyhow::Result;
use zonecert_devstack::PebbleOptions;
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{Stack, StackHandle};
use zonecert_devstack::{shared, wait};
use zonecert_tests::{Account, PATIENCE, System, Zone, check_download, uuid};

#[tokio::test]
async fn killed_during_propagation_the_same_order_completes() -> Result<()> {
    let stack = shared().await?;
    let mut system = System::start_with(&stack, |product| product.with(setting::PROPAGATION_SECONDS, "3")).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;

    let id = account.request(&zone, "app", &["www"]).await?;
    account.logs(&id, "key_prepared").await?;
    system.worker.kill().await?;
    assert_eq!(order_status(&system, &id).await?, "propagating");

    system.worker.start().await?;
    issued_with_one_order(&system, &stack, &account, &zone, &id).await
}

#[tokio::test]
async fn killed_during_polling_the_same_order_completes() -> Result<()> {
    let stack = Stack::temporary(PebbleOptions::default()).await?;
    let handle = stack.handle();
    let unchecked = |product: Product| product.with(setting::PROPAGATION_SECONDS, "2").with(setting::PROPAGATION_CHECK, "off");
    let mut system = System::start_with(&handle, unchecked).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;

    let id = account.request(&zone, "app", &["www"]).await?;
    account.logs(&id, "key_prepared").await?;
    // The CA cannot finish its look-up while our DNS server stands still: the order stays with the polls until we let it go on.
    let dns = stack.powerdns.pid().expect("PowerDNS runs");
    signal(dns, "STOP")?;
    account.logs(&id, "ca_notified").await?;
    system.worker.kill().await?;
    let status = order_status(&system, &id).await?;
    signal(dns, "CONT")?;
    assert_eq!(status, "validating");

    system.worker.start().await?;
    issued_with_one_order(&system, &handle, &account, &zone, &id).await
}

#[tokio::test]
async fn killed_again_and_again_nothing_is_lost() -> Result<()> {
    let stack = shared().await?;
    let mut system = System::start_with(&stack, |product| product.with(setting::LEASE_SECONDS, "1")).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    for event in ["order_placed", "challenges_written", "challenges_presented", "key_prepared", "ca_notified", "authorized", "finalized"] {
        account.logs(&id, event).await?;
        system.worker.kill().await?;
        system.worker.start().await?;
    }
    issued_with_one_order(&system, &stack, &account, &zone, &id).await
}

#[tokio::test]
async fn stopped_in_an_orderly_way_the_work_is_handed_over_at_once() -> Result<()> {
    let stack = shared().await?;
    // With such a lease only a hand-over, and no expiry, lets another worker go on in time.
    let slow = |product: zonecert_devstack::product::Product| {
        product.with(setting::PROPAGATION_SECONDS, "3").with(setting::LEASE_SECONDS, "600").with(setting::SWEEP_INTERVAL_SECONDS, "600")
    };
    let mut system = System::start_with(&stack, slow).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.logs(&id, "key_prepared").await?;

    system.worker.restart().await?;

    anyhow::ensure!(!system.worker.log()?.contains("the grace is over"), "it did not end by itself");
    issued_with_one_order(&system, &stack, &account, &zone, &id).await
}

/// Issued in the end, by one order that was finalized once, and with a key that fits.
async fn issued_with_one_order(system: &System, stack: &StackHandle, account: &Account, zone: &Zone, id: &str) -> Result<()> {
    account.becomes(id, "issued").await?;
    let download = account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
    check_download(&download, &stack.pebble.root_certificate_pem().await?)?;
    let seen = stack.pebble.seen().await?;
    let orders = seen.orders_for(&format!("app.{}", zone.name));
    assert_eq!(orders.len(), 1, "the CA saw {orders:?}");
    let requests: std::collections::HashSet<&str> =
        seen.finalizations_of(orders[0]).iter().map(|finalization| finalization.csr.as_str()).collect();
    assert_eq!(requests.len(), 1, "an order is finalized with one request, however often");
    system.challenges_are_gone(&zone.name).await?;
    no_lease_is_left(system).await
}

async fn no_lease_is_left(system: &System) -> Result<()> {
    let database = system.database().await?;
    wait::until("no lease is left", PATIENCE, async || {
        let query = "SELECT (SELECT count(*) FROM issuances WHERE lease_owner IS NOT NULL)
            + (SELECT count(*) FROM zone_projections WHERE lease_owner IS NOT NULL OR projected_generation < generation)";
        let left: i64 = database.query_one(query, &[]).await?.get(0);
        Ok((left == 0).then_some(()))
    })
    .await
}

async fn order_status(system: &System, certificate: &str) -> Result<String> {
    let query = "SELECT orders.status FROM orders WHERE certificate_id::text = $1 ORDER BY created_at DESC LIMIT 1";
    Ok(system.database().await?.query_one(query, &[&uuid(certificate)]).await?.get(0))
}

fn signal(pid: u32, name: &str) -> Result<()> {
    let done = std::process::Command::new("kill").args([format!("-{name}"), pid.to_string()]).status()?;
    anyhow::ensure!(done.success(), "kill -{name} {pid} failed");
    Ok(())
}
