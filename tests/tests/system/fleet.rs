//! Many at once: everybody gets their turn, and a burst finds keys that were made before.

use anyhow::{Context as _, Result};
use zonecert_devstack::product::setting;
use zonecert_devstack::{shared, wait};
use zonecert_tests::{PATIENCE, System};

#[tokio::test]
async fn who_asks_for_one_certificate_does_not_wait_for_who_asks_for_many() -> Result<()> {
    const MANY: usize = 30;
    let stack = shared().await?;
    let mut system = System::start_with(&stack, |product| product.with(setting::WORKER_CONCURRENCY, "2")).await?;
    let (busy, other) = (system.account("elite").await?, system.account("elite").await?);
    let (busy_zone, other_zone) = (system.verified_zone(&busy).await?, system.verified_zone(&other).await?);
    system.worker.stop().await?;
    for number in 0..MANY {
        busy.request(&busy_zone, &format!("app{number}"), &[]).await?;
    }
    let single = other.request(&other_zone, "app", &[]).await?;
    system.worker.start().await?;

    other.becomes(&single, "issued").await?;
    let database = system.database().await?;
    let before = "SELECT count(*) FROM issuances AS done WHERE status = 'succeeded'
                  AND finished_at < (SELECT max(finished_at) FROM issuances WHERE account_id <> done.account_id)";
    let before: i64 = database.query_one(before, &[]).await?.get(0);
    assert!(before <= 4, "{before} of {MANY} came first");
    Ok(())
}

#[tokio::test]
async fn a_key_in_stock_serves_one_certificate_and_the_stock_is_filled_again() -> Result<()> {
    let stack = shared().await?;
    let stocked = |product: zonecert_devstack::product::Product| {
        product.with(setting::KEY_STOCK, "2").with(setting::KEY_STOCK_SECONDS, "0.2").with(setting::PROPAGATION_SECONDS, "0.1")
    };
    let system = System::start_with(&stack, stocked).await?;
    let database = system.database().await?;
    let full = async || {
        wait::until("the stock is full", PATIENCE, async || {
            let keys = database.query("SELECT public_key_sha256 FROM key_stock ORDER BY created_at", &[]).await?;
            Ok((keys.len() >= 2).then(|| keys.iter().map(|row| row.get::<_, Vec<u8>>(0)).collect::<Vec<_>>()))
        })
        .await
    };
    let first = full().await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;

    let used: Vec<u8> = database.query_one("SELECT public_key_sha256 FROM key_versions", &[]).await?.get(0);
    assert_eq!(first.first(), Some(&used), "the oldest key in stock was taken");
    let second = full().await?;
    assert!(!second.contains(&used), "a key serves once");
    let ecdsa = account
        .client
        .post("/certificates", &serde_json::json!({"zone_id": zone.id, "domain": zone.name, "key_algorithm": "ecdsa_p256"}))
        .await?
        .expect(202)?;
    account.becomes(ecdsa["id"].as_str().context("id")?, "issued").await?;
    assert_eq!(full().await?, second, "a key of another algorithm is made when it is needed");
    Ok(())
}
