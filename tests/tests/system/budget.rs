//! Orders wait for what a CA allows, and people are told until when.

use anyhow::{Context as _, Result};
use serde_json::json;
use zonecert_devstack::product::setting;
use zonecert_devstack::{shared, wait};
use zonecert_tests::{PATIENCE, System};

/// A moment of the past for what was spent, and the present for who waits for it: the sweeper sends the job.
const THREE_HOURS_PASS: &str = "UPDATE ca_budget SET at = at - interval '3 hours';
    UPDATE issuances SET next_wake_at = now(), woken_at = now() - interval '1 minute' WHERE status = 'active'";

#[tokio::test]
async fn an_order_waits_for_room_that_is_told_and_goes_on_by_itself() -> Result<()> {
    let stack = shared().await?;
    let limited = |product: zonecert_devstack::product::Product| product.with(setting::CA_LIMITS, "order=1/10800");
    let system = System::start_with(&stack, limited).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let first = account.request(&zone, "first", &[]).await?;
    account.becomes(&first, "issued").await?;

    let second = account.request(&zone, "second", &[]).await?;
    account.logs(&second, "budget_spent").await?;
    let waiting = account.certificate(&second).await?;
    assert_eq!(waiting["status"], "pending");
    let error = &waiting["last_error"];
    assert_eq!(error["code"], "ca_budget_spent");
    let until = error["rate_limited_until"].as_str().context("rate_limited_until")?;
    assert_eq!(error["next_attempt_at"], until);
    let wish = json!({ "zone_id": zone.id, "domain": format!("third.{}", zone.name) });
    let preflight = account.client.post("/certificates/preflight", &wish).await?.expect(200)?;
    assert_eq!(preflight["rate_limited_until"], until, "{preflight}");
    assert!(stack.pebble.seen().await?.orders_for(&format!("second.{}", zone.name)).is_empty(), "the CA was not asked");

    system.database().await?.batch_execute(THREE_HOURS_PASS).await?;
    account.becomes(&second, "issued").await?;
    Ok(())
}

#[tokio::test]
async fn many_that_are_requested_at_once_place_no_more_orders_than_there_is_room_for_and_leave_others_a_share() -> Result<()> {
    let stack = shared().await?;
    // One account goes on while it has used less than three times what is left: to 6 of 8.
    let limited = |product: zonecert_devstack::product::Product| product.with(setting::CA_LIMITS, "order=8/10800");
    let mut system = System::start_with(&stack, limited).await?;
    let (busy, other) = (system.account("pro").await?, system.account("plus").await?);
    let (busy_zone, other_zone) = (system.verified_zone(&busy).await?, system.verified_zone(&other).await?);
    system.worker.stop().await?;
    let mut many = Vec::new();
    for number in 0..12 {
        many.push(busy.request(&busy_zone, &format!("app{number}"), &[]).await?);
    }
    system.worker.start().await?;

    let count = async |status: &str| -> Result<usize> {
        let mut count = 0;
        for id in &many {
            let certificate = busy.certificate(id).await?;
            let waits = certificate["last_error"]["code"] == "ca_budget_spent";
            count += usize::from(if status == "waits" { waits } else { certificate["status"] == status });
        }
        Ok(count)
    };
    wait::until("six are issued and six wait", PATIENCE, async || {
        Ok((count("issued").await? == 6 && count("waits").await? == 6).then_some(()))
    })
    .await?;
    let single = other.request(&other_zone, "app", &[]).await?;
    other.becomes(&single, "issued").await?;
    assert_eq!(count("issued").await?, 6);

    system.database().await?.batch_execute(THREE_HOURS_PASS).await?;
    wait::until("the others follow", PATIENCE, async || Ok((count("issued").await? == 12).then_some(()))).await
}
