//! The orders and versions of a certificate: what was asked of the CA, what came of it, and how one goes back.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use zonecert_devstack::{shared, wait};
use zonecert_tests::{Account, PATIENCE, System, check_download};

async fn list(account: &Account, id: &str, what: &str) -> Result<Vec<Value>> {
    let page = account.client.get(&format!("/certificates/{id}/{what}")).await?.expect(200)?;
    Ok(page[what].as_array().context("a list")?.clone())
}

/// Renews by hand, and waits until there is another version.
async fn renew(account: &Account, id: &str) -> Result<()> {
    let before = list(account, id, "versions").await?.len();
    account.client.post(&format!("/certificates/{id}/renew"), &json!({})).await?.expect(202)?;
    wait::until("there is another version", PATIENCE, async || Ok((list(account, id, "versions").await?.len() > before).then_some(())))
        .await?;
    account.becomes(id, "issued").await.map(drop)
}

#[tokio::test]
async fn an_earlier_version_is_downloaded_gone_back_to_and_revoked() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &["www"]).await?;
    account.becomes(&id, "issued").await?;
    renew(&account, &id).await?;

    let (orders, versions) = (list(&account, &id, "orders").await?, list(&account, &id, "versions").await?);
    let [newer, older] = versions.as_slice() else { anyhow::bail!("{versions:?}") };
    let brought: Vec<&Value> = orders.iter().filter(|order| order["status"] == "issued").map(|order| &order["version_id"]).collect();
    assert_eq!(brought, [&newer["id"], &older["id"]]);
    assert_eq!((&newer["is_current"], &older["is_current"]), (&json!(true), &json!(false)));
    for order in orders.iter().filter(|order| order["status"] == "issued") {
        let steps = order["steps"].as_array().context("steps")?;
        let events: Vec<&str> = steps.iter().filter_map(|step| step["step"].as_str()).collect();
        assert_eq!(
            (events[..2].to_vec(), events[events.len() - 2..].to_vec()),
            (vec!["order_begun", "order_placed"], vec!["finalized", "issued"])
        );
        ensure!(events.contains(&"key_prepared") && events.len() >= 6, "{events:?}");
        let seconds: Vec<f64> = steps.iter().filter_map(|step| step["after_seconds"].as_f64()).collect();
        ensure!(seconds.is_sorted() && seconds.len() == steps.len(), "{seconds:?}");
        assert_eq!(order["key"]["algorithm"], "rsa2048");
        ensure!(order["url"].as_str().context("url")?.starts_with("https://"));
    }

    // The files of the older one are still there, and it is another certificate.
    let root = stack.pebble.root_certificate_pem().await?;
    let at = |version: &Value| format!("/certificates/{id}/versions/{}", version["id"].as_str().unwrap_or_default());
    let old = account.client.get(&format!("{}/download", at(older))).await?.expect(200)?;
    assert_eq!(check_download(&old, &root)?, ["app", "www"].map(|label| format!("{label}.{}", zone.name)));
    let in_use = async || account.client.get(&format!("/certificates/{id}/download")).await?.expect(200);
    let new = in_use().await?;
    ensure!(new["certificate"] != old["certificate"] && new["private_key"] != old["private_key"]);

    let certificate = account.client.post(&format!("{}/activate", at(older)), &json!({})).await?.expect(200)?;
    assert_eq!((&certificate["current_version"]["id"], &certificate["expires_at"]), (&older["id"], &older["not_after"]));
    assert_eq!(in_use().await?, old);
    account.logs(&id, "version_activated").await?;
    // Which lasts until the next one.
    renew(&account, &id).await?;
    let newest = list(&account, &id, "versions").await?.swap_remove(0);
    assert_eq!((&newest["number"], &newest["is_current"]), (&json!(3), &json!(true)));
    let newest_files = in_use().await?;

    // What is not in use is revoked at the CA, and what is in use stays.
    let revoked_at_the_ca = async |version: &Value| -> Result<bool> {
        Ok(stack.pebble.certificate_status(version["serial"].as_str().context("serial")?).await?["Status"] == "Revoked")
    };
    let revoke = async |version: &Value| -> Result<()> {
        account.client.post(&format!("{}/revoke", at(version)), &json!({"reason": "superseded"})).await?.expect(202)?;
        wait::until("the version is revoked", PATIENCE, async || {
            let now = account.client.get(&at(version)).await?.expect(200)?;
            Ok((now["revocation_reason"] == "superseded").then_some(()))
        })
        .await
    };
    revoke(older).await?;
    ensure!(revoked_at_the_ca(older).await? && !revoked_at_the_ca(&newest).await?);
    let certificate = account.certificate(&id).await?;
    assert_eq!((&certificate["status"], &certificate["current_version"]["id"]), (&json!("issued"), &newest["id"]));
    assert_eq!(in_use().await?, newest_files);
    let refused = account.client.get(&format!("{}/download", at(older))).await?;
    assert_eq!((refused.status.as_u16(), &refused.json()?["code"]), (409, &json!("version_revoked")));

    // Of the one in use the newest valid one takes the place.
    revoke(&newest).await?;
    let certificate = account.certificate(&id).await?;
    assert_eq!((&certificate["status"], &certificate["current_version"]["id"]), (&json!("issued"), &newer["id"]));
    assert_eq!(in_use().await?, new);
    system.challenges_are_gone(&zone.name).await
}
