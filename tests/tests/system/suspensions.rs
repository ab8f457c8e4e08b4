//! An account is suspended in the middle of an order, and taken back.

use anyhow::{Result, ensure};
use zonecert_devstack::product::{Role, setting};
use zonecert_devstack::{shared, wait};
use zonecert_tests::{Account, PATIENCE, System};

async fn suspend(system: &System, account: &Account, reason: &str) -> Result<()> {
    system.product.run(Role::Owner, &["admin", "suspend", "--reason", reason, &account.email]).await.map(drop)
}

async fn resume(system: &System, account: &Account) -> Result<()> {
    system.product.run(Role::Owner, &["admin", "resume", &account.email]).await.map(drop)
}

async fn is_so(system: &System, what: &str, id: &str, condition: &str) -> Result<()> {
    wait::until(what, PATIENCE, async || Ok(system.holds(id, condition).await?.then_some(()))).await
}

#[tokio::test]
async fn for_abuse_the_txt_values_go_the_work_stops_and_goes_on_after_it() -> Result<()> {
    let stack = shared().await?;
    let system = System::start_with(&stack, |product| product.with(setting::PROPAGATION_SECONDS, "3")).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.logs(&id, "challenges_presented").await?;

    suspend(&system, &account, "abuse").await?;
    let rests = "status = 'pending' AND last_error ->> 'code' = 'account_suspended' AND EXISTS (SELECT FROM issuances
        WHERE certificate_id = certificates.id AND status = 'active' AND lease_owner IS NULL AND next_wake_at > now() + interval '23 hours')";
    is_so(&system, "the issuance rests", &id, rests).await?;
    system.challenges_are_gone(&zone.name).await?;
    let abandoned = "SELECT count(*) FROM orders WHERE status = 'abandoned' AND certificate_id::text = $1";
    ensure!(system.count(&id, abandoned).await? == 1);
    ensure!(account.client.get(&format!("/certificates/{id}")).await?.status == 403, "nothing answers");

    resume(&system, &account).await?;
    let issued = account.becomes(&id, "issued").await?;
    ensure!(issued["last_error"].is_null(), "{issued}");
    let log = account.log(&id).await?;
    ensure!(log.iter().filter(|entry| entry["event"] == "issuance_suspended").count() == 1, "told once: {log:?}");
    ensure!(stack.pebble.seen().await?.orders_for(&format!("app.{}", zone.name)).len() == 2, "a new order, and the old one left");
    Ok(())
}

#[tokio::test]
async fn without_payment_an_order_under_way_ends_well_and_no_other_begins_before_it_is_there() -> Result<()> {
    let stack = shared().await?;
    let mut system = System::start_with(&stack, |product| product.with(setting::PROPAGATION_SECONDS, "2")).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let under_way = account.request(&zone, "app", &[]).await?;
    account.logs(&under_way, "challenges_presented").await?;
    system.worker.stop().await?;
    let waiting = account.request(&zone, "www", &[]).await?;
    suspend(&system, &account, "payment").await?;
    system.worker.start().await?;

    account.becomes(&under_way, "issued").await?;
    is_so(&system, "the other rests", &waiting, "status = 'pending' AND last_error ->> 'code' = 'account_suspended'").await?;
    ensure!(stack.pebble.seen().await?.orders_for(&format!("www.{}", zone.name)).is_empty());
    ensure!(account.certificate(&waiting).await?["last_error"]["remedy"].is_string(), "what is suspended for payment can be read");

    resume(&system, &account).await?;
    account.becomes(&waiting, "issued").await?;
    Ok(())
}

#[tokio::test]
async fn a_renewal_of_an_account_suspended_for_abuse_is_called_off_and_begins_anew_after_it() -> Result<()> {
    let stack = shared().await?;
    let system =
        System::start_with(&stack, |product| product.with(setting::PROPAGATION_SECONDS, "3").with(setting::RENEWAL_SCAN_SECONDS, "1"))
            .await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    system.let_pass(&id, "61 days").await?;
    account.becomes(&id, "validating").await?;

    suspend(&system, &account, "abuse").await?;
    is_so(&system, "the renewal is called off", &id, "status = 'issued' AND renewal_blocked_by = 'suspended' AND renewal_due_at IS NULL")
        .await?;
    system.challenges_are_gone(&zone.name).await?;

    resume(&system, &account).await?;
    wait::until("it renews", PATIENCE, async || Ok((system.versions(&id).await? == 2).then_some(()))).await?;
    account.becomes(&id, "issued").await?;
    Ok(())
}
