//! Issuance fails: for a reason that is told, leaving nothing behind, and never without an end.

use anyhow::Result;
use zonecert_devstack::product::setting;
use zonecert_devstack::{shared, wait};
use zonecert_tests::{PATIENCE, System};

/// A zone below ours in the same DNS server hides our TXT values from the CA: the order fails, the attempt is repeated, and in the end given up.
#[tokio::test]
async fn a_name_that_cannot_be_proven_fails_with_reason_and_remedy_and_its_txt_is_removed() -> Result<()> {
    let stack = shared().await?;
    let system =
        System::start_with(&stack, |product| product.with(setting::RETRY_LADDER_SECONDS, "2").with(setting::PROPAGATION_CHECK, "off"))
            .await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    stack.powerdns.create_zone(&format!("hidden.{}", zone.name), &["ns1.customer.test"]).await?;

    let id = account.request(&zone, "app.hidden", &[]).await?;
    account.logs(&id, "attempt_failed").await?;
    let waiting = account.certificate(&id).await?;
    assert!(waiting["last_error"]["code"].is_string() && waiting["last_error"]["remedy"].is_string(), "{waiting}");
    // A day passes: there is no time left for another attempt.
    let database = system.database().await?;
    database.execute("UPDATE issuances SET give_up_at = now() WHERE status = 'active'", &[]).await?;
    let failed = account.becomes(&id, "failed").await?;

    assert_eq!(failed["downloadable"], false);
    assert!(failed["last_error"]["detail"].is_string(), "{failed}");
    let log = account.log(&id).await?;
    // What was seen in the DNS is added when it is known.
    assert_eq!(log.iter().rfind(|entry| entry["event"] != "causes_found").unwrap()["event"], "issuance_failed");
    system.challenges_are_gone(&zone.name).await?;
    let download = account.client.get(&format!("/certificates/{id}/download")).await?;
    assert_eq!(download.status, 409);
    // A certificate that failed gives slot and domain back.
    let again = account.request(&zone, "app.hidden", &[]).await?;
    assert_ne!(again, id);
    Ok(())
}

#[tokio::test]
async fn nothing_is_ordered_in_a_zone_that_is_lost() -> Result<()> {
    let stack = shared().await?;
    let mut system = System::start(&stack).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    system.worker.stop().await?;
    let id = account.request(&zone, "app", &[]).await?;
    system.database().await?.execute("UPDATE zones SET status = 'lost'", &[]).await?;
    system.worker.start().await?;

    let failed = account.becomes(&id, "failed").await?;
    assert_eq!(failed["last_error"]["code"], "zone_lost");
    Ok(())
}

/// The plan is looked at again when the job runs.
#[tokio::test]
async fn an_account_that_has_lost_its_plan_gets_no_new_order() -> Result<()> {
    let stack = shared().await?;
    let mut system = System::start(&stack).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    system.worker.stop().await?;
    let id = account.request(&zone, "app", &[]).await?;
    system.product.run(zonecert_devstack::product::Role::Owner, &["admin", "set-plan", &account.email, "free"]).await?;
    system.worker.start().await?;

    let failed = account.becomes(&id, "failed").await?;
    assert_eq!(failed["last_error"]["code"], "plan_forbids");
    assert!(stack.pebble.seen().await?.orders_for(&format!("app.{}", zone.name)).is_empty());
    Ok(())
}

/// A worker that has lost its job to nobody: the sweeper finds the issuance, and sends one job.
#[tokio::test]
async fn an_issuance_whose_job_got_lost_is_found() -> Result<()> {
    let stack = shared().await?;
    let mut system = System::start(&stack).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    system.worker.stop().await?;
    let id = account.request(&zone, "app", &[]).await?;
    let database = system.database().await?;
    database.execute("DELETE FROM apalis.jobs WHERE job_type = 'issue'", &[]).await?;
    database.execute("UPDATE issuances SET woken_at = woken_at - interval '1 minute'", &[]).await?;
    system.worker.start().await?;

    account.becomes(&id, "issued").await?;
    wait::until("one job was sent", PATIENCE, async || {
        let sent: i64 = database.query_one("SELECT count(*) FROM apalis.jobs WHERE job_type = 'issue'", &[]).await?.get(0);
        Ok((sent == 1).then_some(()))
    })
    .await
}
