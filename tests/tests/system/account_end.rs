//! The end of an account, thirty days after its owner has asked for it.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::json;
use zonecert_devstack::product::setting;
use zonecert_devstack::{PebbleOptions, PebbleServer, shared, wait};
use zonecert_tests::{Account, Client, PATIENCE, System, uuid};

async fn ask_for_the_end(account: &Account, revoke_certificates: bool) -> Result<()> {
    let wish = json!({ "password": account.password, "revoke_certificates": revoke_certificates });
    let answer = account.client.send(Method::PUT, "/account/deletion", Some(&wish)).await?;
    ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.text);
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_an_account_that_has_ended_and_others_go_on() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let (account, other) = (system.account("elite").await?, system.account("elite").await?);
    let (zone, others_zone) = (system.verified_zone(&account).await?, system.verified_zone(&other).await?);
    let id = account.request(&zone, "app", &[]).await?;
    let others = other.request(&others_zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    other.becomes(&others, "issued").await?;
    let token = account.client.post("/tokens", &json!({ "name": "deploy", "scopes": ["certificates:read"] })).await?.expect(201)?;
    let by_token = Client::new(system.api.api_url(), Some(token["token"].as_str().context("token")?))?;
    let database = system.database().await?;
    let serial: String = database.query_one("SELECT serial FROM versions WHERE certificate_id::text = $1", &[&uuid(&id)]).await?.get(0);

    ask_for_the_end(&account, true).await?;
    account.becomes(&id, "revoked").await.context("revocation does not wait for the end")?;
    ensure!(stack.pebble.certificate_status(&serial).await?["Status"] == "Revoked");
    // For thirty days all goes on.
    let second = account.request(&zone, "second", &[]).await?;
    account.becomes(&second, "issued").await?;
    by_token.get("/certificates").await?.expect(200)?;

    database.execute("UPDATE accounts SET deletion_requested_at = deletion_requested_at - interval '30 days' WHERE deletion_requested_at IS NOT NULL", &[]).await?;

    wait::until("the account has ended", PATIENCE, async || {
        let ended: i64 = database.query_one("SELECT count(*) FROM accounts WHERE deleted_at IS NOT NULL", &[]).await?.get(0);
        Ok((ended == 1).then_some(()))
    })
    .await?;
    let sealed: i64 = database
        .query_one("SELECT (SELECT count(*) FROM key_versions WHERE sealed IS NOT NULL) + (SELECT count(*) FROM data_keys WHERE wrapped IS NOT NULL)", &[])
        .await?
        .get(0);
    assert_eq!(sealed, 2, "the other account's data key and key");
    let anonymous = Client::new(system.api.api_url(), None)?;
    let person = json!({ "email": account.email, "password": account.password });
    anonymous.post("/auth/login", &person).await?.expect(401)?;
    for client in [&by_token, &account.client] {
        let refused = client.get("/certificates").await?;
        ensure!(refused.status == 401, "{}: {}", refused.status, refused.text);
    }
    wait::until("its zone is gone from PowerDNS", PATIENCE, async || {
        Ok(stack.powerdns.find_zone(&zone.name).await?.is_none().then_some(()))
    })
    .await?;
    // Its address is free for a new account.
    let person = json!({ "email": account.email, "password": account.password, "account_name": "Again" });
    anonymous.post("/auth/register", &person).await?.expect(201)?;
    other.client.get(&format!("/certificates/{others}/download")).await?.expect(200)?;
    ensure!(stack.powerdns.find_zone(&others_zone.name).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn an_owner_who_has_changed_their_mind_in_time_loses_nothing() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    let database = system.database().await?;

    ask_for_the_end(&account, false).await?;
    database.execute("UPDATE accounts SET deletion_requested_at = deletion_requested_at - interval '29 days'", &[]).await?;
    account.client.send(Method::DELETE, "/account/deletion", None).await?.expect(200)?;
    database.execute("UPDATE accounts SET deletion_requested_at = deletion_requested_at - interval '30 days'", &[]).await?;
    // A sweep and more passes: what comes after it was not swept up.
    let second = account.request(&zone, "second", &[]).await?;
    account.becomes(&second, "issued").await?;
    account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
    Ok(())
}

/// The CA issues for an account that is just ending: what it has made is revoked, without any secret of the account.
#[tokio::test]
async fn an_account_that_ends_while_the_ca_issues_is_closed_once_that_is_revoked() -> Result<()> {
    let stack = shared().await?;
    let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let system = System::start_at(&stack, &ca, |product| product.with(setting::LEASE_SECONDS, "2")).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let held = ca.hold_answer("/finalize-order/");
    account.request(&zone, "app", &[]).await?;
    held.reached().await?;

    ask_for_the_end(&account, false).await?;
    let database = system.database().await?;
    database.execute("UPDATE accounts SET deletion_requested_at = deletion_requested_at - interval '30 days'", &[]).await?;
    wait::until("its keys are destroyed", PATIENCE, async || {
        let destroyed = "SELECT count(*) FROM accounts WHERE destroyed_at IS NOT NULL";
        let destroyed: i64 = database.query_one(destroyed, &[]).await?.get(0);
        Ok((destroyed == 1).then_some(()))
    })
    .await?;
    held.release();

    wait::until("the account is closed", PATIENCE, async || {
        let closed: i64 = database.query_one("SELECT count(*) FROM accounts WHERE deleted_at IS NOT NULL", &[]).await?.get(0);
        Ok((closed == 1).then_some(()))
    })
    .await?;
    let query = "SELECT details ->> 'serial' FROM events WHERE event = 'late_certificate'";
    let serial: String = database.query_one(query, &[]).await?.get(0);
    ensure!(ca.certificate_status(&serial).await?["Status"] == "Revoked");
    let versions: i64 = database.query_one("SELECT count(*) FROM versions", &[]).await?.get(0);
    assert_eq!(versions, 0);
    wait::until("its zone is gone from PowerDNS", PATIENCE, async || {
        Ok(stack.powerdns.find_zone(&zone.name).await?.is_none().then_some(()))
    })
    .await
}
