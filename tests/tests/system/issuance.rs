//! Certificates come about.

use anyhow::{Context as _, Result};
use serde_json::json;
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{PebbleOptions, PebbleServer, shared};
use zonecert_tests::{System, check_download};

#[tokio::test]
async fn a_certificate_is_requested_issued_downloaded_and_leaves_no_txt_behind() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("elite").await?;
    let zone = system.verified_zone(&account).await?;

    let id = account.request(&zone, "app", &["www"]).await?;
    let certificate = account.becomes(&id, "issued").await?;

    let names = [format!("app.{}", zone.name), format!("www.{}", zone.name)];
    assert_eq!(certificate["domain"], names[0]);
    assert_eq!(certificate["sans"], json!([names[1]]));
    assert_eq!(certificate["downloadable"], true);
    assert!(certificate["issued_at"].is_string() && certificate["expires_at"].is_string());
    let download = account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
    assert_eq!(check_download(&download, &stack.pebble.root_certificate_pem().await?)?, names);
    let pem = account.client.get(&format!("/certificates/{id}/pem")).await?;
    assert_eq!(pem.text, format!("{}{}", download["certificate"].as_str().unwrap(), download["chain"].as_str().unwrap()));
    system.challenges_are_gone(&zone.name).await?;
    assert_eq!(stack.powerdns.count_soa_records(&zone.name).await?, 1);

    let events: Vec<String> = account.log(&id).await?.iter().map(|entry| entry["event"].as_str().unwrap().to_owned()).collect();
    let expected = [
        "certificate_requested",
        "order_begun",
        "order_placed",
        "challenges_written",
        "challenges_presented",
        "key_prepared",
        "ca_notified",
        "authorized",
        "finalized",
        "issued",
    ];
    assert_eq!(events, expected);
    Ok(())
}

#[tokio::test]
async fn a_wildcard_and_its_apex_are_proven_at_one_name() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("elite").await?;
    let zone = system.verified_zone(&account).await?;

    let wish = json!({ "zone_id": zone.id, "domain": zone.name, "wildcard": true, "key_algorithm": "ecdsa_p256" });
    let certificate = account.client.post("/certificates", &wish).await?.expect(202)?;
    let id = certificate["id"].as_str().unwrap();
    account.becomes(id, "issued").await?;

    let download = account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
    let names = check_download(&download, &stack.pebble.root_certificate_pem().await?)?;
    assert_eq!(names, [format!("*.{}", zone.name), zone.name.clone()]);
    system.challenges_are_gone(&zone.name).await
}

#[tokio::test]
async fn twenty_at_once_in_one_zone_are_all_issued_beside_a_foreign_txt() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("elite").await?;
    let zone = system.verified_zone(&account).await?;
    // The zone has to be there before somebody else can write to it.
    let first = account.request(&zone, "first", &[]).await?;
    account.becomes(&first, "issued").await?;
    let foreign_name = format!("_acme-challenge.{}", zone.name);
    stack.powerdns.add_txt(&zone.name, &foreign_name, "somebody-elses-value").await?;

    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(account.request(&zone, &format!("host{number}"), &["*.wild"]).await?);
        let apex = json!({ "zone_id": zone.id, "domain": format!("app{number}.{}", zone.name), "sans": [zone.name] });
        let apex = account.client.post("/certificates", &apex).await?.expect(202)?;
        ids.push(apex["id"].as_str().unwrap().to_owned());
    }
    for id in &ids {
        account.becomes(id, "issued").await?;
    }

    let mut left = Vec::new();
    let gone = zonecert_devstack::wait::until("only the foreign value is left", zonecert_tests::PATIENCE, async || {
        left = stack.powerdns.challenge_values(&zone.name).await?;
        Ok((left.len() == 1).then_some(()))
    })
    .await;
    assert!(gone.is_ok() && left[0] == (format!("{foreign_name}."), "somebody-elses-value".to_owned()), "left: {left:?}");
    assert_eq!(stack.powerdns.count_soa_records(&zone.name).await?, 1);
    assert_eq!(stack.powerdns.resolve_soa_count(&zone.name).await?, 1);
    Ok(())
}

#[tokio::test]
async fn three_workers_place_one_order() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let (_second, _third) = tokio::try_join!(system.product.work(), system.product.work())?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;

    let id = account.request(&zone, "app", &[]).await?;
    let certificate = account.becomes(&id, "issued").await?;

    let seen = stack.pebble.seen().await?;
    let orders = seen.orders_for(&format!("app.{}", zone.name));
    assert_eq!(orders.len(), 1);
    // Auto-renewal is Pro's default: 30 days before the end of a certificate of 90 days.
    assert!(certificate["next_renewal_at"].is_string(), "{certificate}");
    Ok(())
}

#[tokio::test]
async fn a_ca_that_knows_its_customers_from_elsewhere_issues_to_an_account_that_is_bound() -> Result<()> {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let stack = shared().await?;
    let options = PebbleOptions { external_account: Some(("customer-1".to_owned(), KEY.to_owned())), ..PebbleOptions::default() };
    let ca = PebbleServer::beside(&stack.powerdns, &options).await?;
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("mac-key");
    std::fs::write(&file, format!("{KEY}\n"))?;
    let file = file.to_str().context("a path in UTF-8")?;
    let bound = |product: Product| product.with(setting::ACME_EAB_KEY_ID, "customer-1").with(setting::ACME_EAB_MAC_KEY_FILE, file);
    let system = System::start_at(&stack, &ca, bound).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    system.challenges_are_gone(&zone.name).await
}
