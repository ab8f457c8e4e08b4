//! Our account at the CA gets another key while everything runs (`zonecert admin roll-acme-key`).

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use zonecert_devstack::product::{Product, Role, setting};
use zonecert_devstack::{PebbleOptions, PebbleServer, shared, wait};
use zonecert_tests::{PATIENCE, System, uuid};

use crate::rotation::issue;

/// Path of Pebble 2.4.0.
const KEY_CHANGE_PATH: &str = "/rollover-account-key";

const COMMAND: [&str; 3] = ["admin", "roll-acme-key", "--json"];

async fn roll(system: &System, args: &[&str]) -> Result<Value> {
    let said = system.product.run(Role::Owner, &[&COMMAND, args].concat()).await?;
    serde_json::from_str(&said).with_context(|| said.clone())
}

/// Our account as it is on record.
struct OnRecord {
    account_url: String,
    sealed: Vec<u8>,
    /// Whether a change has begun and is not on record as done.
    is_changing: bool,
    has_changed: bool,
}

async fn on_record(system: &System) -> Result<OnRecord> {
    let query =
        "SELECT account_url, sealed_credentials, sealed_next_credentials IS NOT NULL, key_changed_at IS NOT NULL FROM acme_accounts";
    let row = system.database().await?.query_one(query, &[]).await?;
    Ok(OnRecord { account_url: row.get(0), sealed: row.get(1), is_changing: row.get(2), has_changed: row.get(3) })
}

async fn number(system: &System, query: &str) -> Result<i64> {
    Ok(system.database().await?.query_one(query, &[]).await?.get(0))
}

#[tokio::test]
async fn the_key_changes_while_certificates_are_issued_and_no_order_fails_for_it() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let second = system.product.work().await?;
    let (account, zone) = system.account_with_zone("elite").await?;
    let before = issue(&account, &zone, "before", &AtomicBool::new(true)).await?;
    let old = on_record(&system).await?;

    let over = AtomicBool::new(false);
    let change = async {
        let said = roll(&system, &["--wait-seconds", "30"]).await?;
        over.store(true, Ordering::Relaxed);
        anyhow::Ok(said)
    };
    let (said, ..) = tokio::try_join!(
        change,
        issue(&account, &zone, "a", &over),
        issue(&account, &zone, "b", &over),
        issue(&account, &zone, "c", &over),
    )?;
    let changed = json!({
        "directory": stack.pebble.directory_url(), "outcome": "changed", "account_url": old.account_url, "orders_left": 0,
    });
    assert_eq!(said["accounts"], json!([changed]), "one account, though it serves both environments");
    let new = on_record(&system).await?;
    assert_eq!((&new.account_url, new.is_changing, new.has_changed), (&old.account_url, false, true));
    assert_ne!(new.sealed, old.sealed);

    let after = account.request(&zone, "after", &[]).await?;
    account.becomes(&after, "issued").await?;
    // The account that has ordered it revokes it.
    account.client.post(&format!("/certificates/{}/revoke", before[0]), &json!({})).await?.expect(202)?;
    account.becomes(&before[0], "revoked").await?;
    let failures = "SELECT (SELECT count(*) FROM orders WHERE status <> 'issued') + (SELECT count(*) FROM issuances WHERE attempts > 0)
        + (SELECT count(*) FROM events WHERE event IN ('step_failed', 'attempt_failed'))";
    assert_eq!(number(&system, failures).await?, 0);
    assert_eq!(number(&system, "SELECT count(*) FROM ca_pauses").await?, 0);
    let logs = [system.worker.log()?, second.log()?];
    assert!(logs.iter().any(|log| log.contains("our account has another key by now")), "nobody had it open");
    assert!(logs.iter().all(|log| !log.contains("\"ERROR\"")), "{logs:?}");
    Ok(())
}

/// Runs the command, and kills it once the CA has taken the new key.
async fn kill_after_the_yes(system: &System, ca: &PebbleServer) -> Result<()> {
    let hold = ca.hold_answer(KEY_CHANGE_PATH);
    tokio::select! {
        said = roll(system, &["--wait-seconds", "30"]) => bail!("it was not killed: {said:?}"),
        reached = hold.reached() => reached?,
    }
    Ok(())
}

#[tokio::test]
async fn a_command_that_was_killed_after_the_cas_yes_finishes_when_it_is_run_again() -> Result<()> {
    let stack = shared().await?;
    let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let mut system = System::start_at(&stack, &ca, |product| product).await?;
    let (account, zone) = system.account_with_zone("plus").await?;
    let before = account.request(&zone, "before", &[]).await?;
    account.becomes(&before, "issued").await?;
    system.worker.stop().await?;
    let old = on_record(&system).await?;
    kill_after_the_yes(&system, &ca).await?;
    let begun = on_record(&system).await?;
    assert!(begun.is_changing && !begun.has_changed && begun.sealed == old.sealed);

    let said = roll(&system, &["--directory", &ca.directory_url()]).await?;
    let finished = json!({ "directory": ca.directory_url(), "outcome": "finished", "account_url": old.account_url });
    assert_eq!(said["accounts"], json!([finished]));
    let new = on_record(&system).await?;
    assert_eq!((&new.account_url, new.is_changing, new.has_changed), (&old.account_url, false, true));
    system.worker.start().await?;
    let after = account.request(&zone, "after", &[]).await?;
    account.becomes(&after, "issued").await?;
    Ok(())
}

#[tokio::test]
async fn workers_finish_what_a_killed_command_has_begun_and_orders_wait_no_longer_than_its_pause() -> Result<()> {
    let stack = shared().await?;
    let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let system = System::start_at(&stack, &ca, |product| product).await?;
    let (account, zone) = system.account_with_zone("plus").await?;
    let before = account.request(&zone, "before", &[]).await?;
    account.becomes(&before, "issued").await?;
    let old = on_record(&system).await?;
    kill_after_the_yes(&system, &ca).await?;

    let during = account.request(&zone, "during", &[]).await?;
    account.logs(&during, "order_placed").await?;
    let new = on_record(&system).await?;
    assert_eq!((&new.account_url, new.is_changing, new.has_changed), (&old.account_url, false, true));
    let looks = format!("SELECT wake_seq FROM issuances WHERE certificate_id = '{}'", uuid(&during));
    let first = number(&system, &looks).await?;
    wait::until("it is looked at again and again", PATIENCE, async || Ok((number(&system, &looks).await? > first + 2).then_some(())))
        .await?;
    ensure!(account.log(&during).await?.iter().all(|entry| entry["event"] != "challenges_written"), "a TXT value was written down");
    system.database().await?.batch_execute("UPDATE ca_pauses SET until = now() WHERE kind = 'key_change'").await?;
    account.becomes(&during, "issued").await?;
    Ok(())
}

#[tokio::test]
async fn an_order_that_is_not_waited_for_is_placed_anew_by_itself() -> Result<()> {
    let slow = |product: Product| product.with(setting::PROPAGATION_SECONDS, "8").with(setting::RETRY_LADDER_SECONDS, "1");
    let system = System::start_with(&shared().await?, slow).await?;
    let (account, zone) = system.account_with_zone("plus").await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.logs(&id, "challenges_presented").await?;
    let said = roll(&system, &["--wait-seconds", "0"]).await?;
    assert_eq!((&said["accounts"][0]["outcome"], &said["accounts"][0]["orders_left"]), (&json!("changed"), &json!(1)), "{said}");
    account.logs(&id, "attempt_failed").await?;
    account.becomes(&id, "issued").await?;
    let orders = "SELECT string_agg(status, ' ' ORDER BY created_at) FROM orders";
    let orders: String = system.database().await?.query_one(orders, &[]).await?.get(0);
    assert_eq!(orders, "failed issued");
    system.challenges_are_gone(&zone.name).await
}

#[tokio::test]
async fn a_ca_that_says_no_leaves_the_old_key_and_the_command_says_what_to_do() -> Result<()> {
    let stack = shared().await?;
    let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let system = System::start_at(&stack, &ca, |product| product).await?;
    let url = ca.directory_url();
    let none = roll(&system, &["--wait-seconds", "0"]).await?;
    assert_eq!(none["accounts"][0]["outcome"], "no_account", "{none}");
    ensure!(roll(&system, &["--directory", &url]).await.is_err(), "that account was asked for");
    let unknown = roll(&system, &["--directory", "https://elsewhere.test/dir"]).await;
    ensure!(unknown.is_err_and(|error| format!("{error:#}").contains("as it is set for the workers")));

    let (account, zone) = system.account_with_zone("plus").await?;
    let before = account.request(&zone, "before", &[]).await?;
    account.becomes(&before, "issued").await?;
    let old = on_record(&system).await?;
    let objection = ca.object(KEY_CHANGE_PATH, StatusCode::FORBIDDEN, "unauthorized");
    let said = system.product.run_anyway(Role::Owner, &[&COMMAND[..], &["--directory", &url]].concat()).await?;
    let said: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    ensure!(objection.times() == 1 && said["accounts"][0]["outcome"] == "failed", "{said}");
    ensure!(said["accounts"][0]["error"].as_str().is_some_and(|error| error.contains("do it again")), "{said}");
    let now = on_record(&system).await?;
    assert_eq!((now.sealed, now.has_changed), (old.sealed, false));
    assert_eq!(number(&system, "SELECT count(*) FROM ca_pauses").await?, 0, "nobody waits for it");
    let after = account.request(&zone, "after", &[]).await?;
    account.becomes(&after, "issued").await?;
    let again = roll(&system, &["--directory", &url]).await?;
    assert_eq!(again["accounts"][0]["outcome"], "changed", "{again}");
    Ok(())
}
