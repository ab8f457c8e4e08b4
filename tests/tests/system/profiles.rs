//! Certificates with a profile of the CA's and fields of the request's subject: a CA without profiles that is asked first, and one that offers two.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{PebbleOptions, PebbleServer, RenewalInfoDirectory, Seen, shared, wait};
use zonecert_tests::{Account, PATIENCE, System, subject_of_request};

const SIX_DAYS: Duration = Duration::from_hours(6 * 24);

struct Scene {
    first: PebbleServer,
    /// Its certificates live for six days.
    second: RenewalInfoDirectory,
    system: System,
    _behind_the_second: PebbleServer,
    _files: TempDir,
}

async fn scene() -> Result<Scene> {
    let stack = shared().await?;
    let first = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let short = PebbleOptions { certificate_validity: SIX_DAYS, ..PebbleOptions::unfailing() };
    let behind_the_second = PebbleServer::beside(&stack.powerdns, &short).await?;
    let second = RenewalInfoDirectory::before(&behind_the_second).await?;
    second.offer_profiles(&[("shortlived", "https://ca.test/shortlived"), ("tlsserver", "for servers")]);
    let files = tempfile::tempdir()?;
    let more_file = files.path().join("authorities.json");
    let more = json!([{
        "directory": second.directory_url(), "caa_identities": ["second-ca.test"], "limits": "off", "ca_file": second.ca_file(),
    }]);
    std::fs::write(&more_file, more.to_string())?;
    let more_file = more_file.display().to_string();
    let with_both = |product: Product| product.with(setting::MORE_AUTHORITIES_FILE, more_file).with(setting::RENEWAL_SCAN_SECONDS, "1");
    let system = System::start_at(&stack, &first, with_both).await?;
    Ok(Scene { first, second, system, _behind_the_second: behind_the_second, _files: files })
}

/// Waits until the workers have read what the CAs offer.
async fn offered(account: &Account) -> Result<Value> {
    wait::until("profiles are on offer", PATIENCE, async || {
        let answer = account.client.get("/certificates/profiles").await?.expect(200)?;
        Ok(answer["profiles"].as_array().is_some_and(|profiles| !profiles.is_empty()).then(|| answer["profiles"].clone()))
    })
    .await
}

/// Profile and subject of each order for a name, oldest first.
fn asked(seen: &Seen, name: &str) -> Result<Vec<(Option<String>, String)>> {
    let orders = seen.orders_for(name).into_iter();
    orders
        .map(|order| {
            let finalized = seen.finalizations_of(order);
            let csr = finalized.first().context("the order was finalized")?.csr_der();
            Ok((order.profile.clone(), subject_of_request(&csr)?))
        })
        .collect()
}

#[tokio::test]
async fn a_certificate_with_a_profile_goes_to_a_ca_that_offers_it_lives_as_that_says_and_renews_with_it() -> Result<()> {
    let Scene { first, second, system, .. } = &scene().await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let name = format!("app.{}", zone.name);
    let row = |name: &str, description: &str| json!({ "name": name, "description": description, "environment": "production", "directory_url": second.directory_url() });
    let both = json!([row("shortlived", "https://ca.test/shortlived"), row("tlsserver", "for servers")]);
    assert_eq!(offered(&account).await?, both);

    let subject =
        json!({ "country": "CH", "state": "Bern", "locality": "Thun", "organization": "Zürich AG", "organizational_unit": "Web" });
    let wish = json!({ "zone_id": zone.id, "domain": name, "profile": "shortlived", "subject": subject });
    let requested = account.client.post("/certificates", &wish).await?.expect(202)?;
    let id = requested["id"].as_str().context("id")?;
    account.becomes(id, "issued").await?;
    ensure!(system.holds(id, "expires_at < issued_at + interval '6 days 1 minute'").await?, "it lives as long as the profile says");
    ensure!(system.holds(id, "expires_at - next_renewal_at BETWEEN interval '2 days 23 hours' AND interval '3 days 1 hour'").await?);
    let owner = "C=CH,ST=Bern,L=Thun,O=Zürich AG,OU=Web";
    let one = (Some("shortlived".to_owned()), format!("{owner},CN={name}"));
    assert_eq!(asked(&second.seen(), &name)?, std::slice::from_ref(&one));

    system.let_pass(id, "4 days").await?;
    wait::until("it renews", PATIENCE, async || Ok((system.versions(id).await? == 2).then_some(()))).await?;
    account.becomes(id, "issued").await?;
    assert_eq!(asked(&second.seen(), &name)?, [one.clone(), one]);
    ensure!(system.holds(id, "next_renewal_at > now() + interval '2 days' AND next_renewal_at < expires_at").await?);
    let orders = account.client.get(&format!("/certificates/{id}/orders")).await?.expect(200)?;
    let profiles: Vec<&Value> = orders["orders"].as_array().context("orders")?.iter().map(|order| &order["profile"]).collect();
    assert_eq!(profiles, ["shortlived", "shortlived"]);

    // Without a profile it goes to the CA that is asked first.
    let neither = json!({ "profile": null, "subject": null });
    account.client.send(Method::PATCH, &format!("/certificates/{id}"), Some(&neither)).await?.expect(200)?;
    account.client.post(&format!("/certificates/{id}/renew"), &json!({})).await?.expect(202)?;
    wait::until("it renews", PATIENCE, async || Ok((system.versions(id).await? == 3).then_some(()))).await?;
    assert_eq!(asked(&first.seen().await?, &name)?, [(None, format!("CN={name}"))]);
    assert_eq!(second.seen().orders_for(&name).len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_profile_that_the_ca_refuses_fails_for_good_with_what_to_do() -> Result<()> {
    let Scene { first, second, system, .. } = &scene().await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    offered(&account).await?;
    // What the workers know holds for an hour.
    second.offer_profiles(&[]);
    let name = format!("app.{}", zone.name);
    let wish = json!({ "zone_id": zone.id, "domain": name, "profile": "tlsserver" });
    let requested = account.client.post("/certificates", &wish).await?.expect(202)?;
    let failed = account.becomes(requested["id"].as_str().context("id")?, "failed").await?;
    assert_eq!(failed["last_error"]["code"], "acme_invalid_profile");
    let remedy = failed["last_error"]["remedy"].as_str().context("remedy")?;
    ensure!(remedy.contains("GET /api/v1/certificates/profiles"), "{remedy}");
    ensure!(failed["last_error"]["next_attempt_at"].is_null(), "{failed}");
    ensure!(first.seen().await?.orders_for(&name).is_empty(), "it goes to no CA that offers no profiles");
    Ok(())
}
