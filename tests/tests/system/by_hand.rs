//! What somebody changes of a certificate is in its next version, which they need not wait for.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use zonecert_devstack::{shared, wait};
use zonecert_tests::{Account, PATIENCE, System, check_download};

async fn change(account: &Account, id: &str, body: Value) -> Result<Value> {
    account.client.send(Method::PATCH, &format!("/certificates/{id}"), Some(&body)).await?.expect(200)
}

/// Renews by hand, and returns what is downloaded from then on.
async fn renew(account: &Account, id: &str) -> Result<Value> {
    let before = account.certificate(id).await?["current_version"]["id"].clone();
    account.client.send(Method::POST, &format!("/certificates/{id}/renew"), None).await?.expect(202)?;
    wait::until("there is another version", PATIENCE, async || {
        let now = account.certificate(id).await?;
        Ok((now["current_version"]["id"] != before).then_some(()))
    })
    .await?;
    account.becomes(id, "issued").await?;
    account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)
}

/// A key on P-256 in PEM is far shorter than any RSA key.
fn is_elliptic(download: &Value) -> Result<bool> {
    Ok(download["private_key"].as_str().context("private_key")?.len() < 400)
}

#[tokio::test]
async fn names_and_key_that_were_changed_are_those_of_the_next_version() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &["www"]).await?;
    let first = account.becomes(&id, "issued").await?;
    ensure!(!is_elliptic(&account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)?)?);

    let wish = json!({ "sans": [format!("api.{}", zone.name)], "key_algorithm": "ecdsa_p256", "key_policy": "keep" });
    let changed = change(&account, &id, wish).await?;
    ensure!(changed["current_version"] == first["current_version"] && changed["status"] == "issued", "{changed}");

    let root = stack.pebble.root_certificate_pem().await?;
    let second = renew(&account, &id).await?;
    let names = ["api", "app"].map(|label| format!("{label}.{}", zone.name));
    assert_eq!(check_download(&second, &root)?, names);
    ensure!(is_elliptic(&second)?, "another algorithm takes another key, whatever is kept");
    assert_eq!(account.certificate(&id).await?["current_version"]["names"].as_array().map(Vec::len), Some(2));
    let third = renew(&account, &id).await?;
    ensure!(third["certificate"] != second["certificate"] && third["private_key"] == second["private_key"], "the key is kept");

    let log: Vec<Value> = account.log(&id).await?.into_iter().map(|entry| entry["event"].clone()).collect();
    assert_eq!(log.iter().filter(|event| **event == "renewal_requested").count(), 2);
    assert_eq!(log.iter().filter(|event| **event == "certificate_changed").count(), 1);
    system.challenges_are_gone(&zone.name).await
}

#[tokio::test]
async fn a_key_that_others_may_have_is_replaced_even_where_it_is_kept() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    change(&account, &id, json!({ "key_policy": "keep" })).await?;
    let kept = renew(&account, &id).await?;

    account.client.post(&format!("/certificates/{id}/revoke"), &json!({ "reason": "key_compromise" })).await?.expect(202)?;
    account.becomes(&id, "revoked").await?;
    let replaced = renew(&account, &id).await?;
    ensure!(replaced["private_key"] != kept["private_key"], "the key that others may have is in use again");
    check_download(&replaced, &stack.pebble.root_certificate_pem().await?)?;
    Ok(())
}

#[tokio::test]
async fn an_order_that_waits_to_be_placed_is_placed_on_request() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let wish = json!({ "zone_id": zone.id, "domain": zone.name, "place_order": false });
    let created = account.client.post("/certificates", &wish).await?.expect(201)?;
    let id = created["id"].as_str().context("id")?;
    ensure!(stack.pebble.seen().await?.orders_for(&zone.name).is_empty());
    let download = renew(&account, id).await?;
    assert_eq!(check_download(&download, &stack.pebble.root_certificate_pem().await?)?, [zone.name]);
    Ok(())
}
