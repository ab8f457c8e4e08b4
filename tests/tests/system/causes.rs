//! What stands in the way: told before a certificate is requested, and as the reason when its issuance has failed.

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{PebbleOptions, PebbleServer, shared, wait};
use zonecert_tests::{Account, PATIENCE, System};

fn codes(findings: &Value) -> Vec<&str> {
    findings.as_array().into_iter().flatten().filter_map(|finding| finding["code"].as_str()).collect()
}

/// Waits until the certificate shows what was found about its failure.
async fn explained(account: &Account, id: &str) -> Result<Value> {
    wait::until(&format!("the failure of {id} is explained"), PATIENCE, async || {
        let error = account.certificate(id).await?["last_error"].clone();
        Ok((!codes(&error["findings"]).is_empty()).then_some(error))
    })
    .await
}

/// Another zone hides the TXT values from the CA, as a delegation elsewhere does; the customer's DNS says that it is one.
#[tokio::test]
async fn a_failure_is_explained_by_what_the_dns_says_and_the_preflight_says_it_beforehand() -> Result<()> {
    let stack = shared().await?;
    let patient = |product: Product| product.with(setting::RETRY_LADDER_SECONDS, "3600").with(setting::PROPAGATION_CHECK, "off");
    let system = System::start_with(&stack, patient).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    stack.powerdns.create_zone(&format!("hidden.{}", zone.name), &["ns1.customer.test"]).await?;
    let domain = format!("app.hidden.{}", zone.name);
    let wish = json!({ "zone_id": zone.id, "domain": domain });
    let foreseen = account.client.post("/certificates/preflight", &wish).await?.expect(200)?;
    ensure!(foreseen["ready"] == false && codes(&foreseen["findings"]) == ["zone_delegated_elsewhere"], "{foreseen}");

    let id = account.request(&zone, "app.hidden", &[]).await?;
    let error = explained(&account, &id).await?;
    ensure!(error["findings"] == foreseen["findings"], "{error}");
    ensure!(error["code"].as_str().is_some_and(|code| code.starts_with("acme_")), "the CA's own words stay: {error}");
    let seen = &error["findings"][0]["seen"][0];
    let answer = format!("{} has NS ns1.customer.test", zone.name);
    ensure!(*seen == json!({ "server": stack.customer_dns.dns_address().to_string(), "answer": answer }), "{seen}");
    let logged = account.logs(&id, "causes_found").await?;
    ensure!(logged["level"] == "warning" && logged["details"]["findings"] == error["findings"], "{logged}");
    ensure!(logged["message"].as_str().is_some_and(|message| message.contains("ns1.zonecert.test")), "{logged}");
    // The failure itself was on record first.
    let log = account.log(&id).await?;
    let position = |event: &str| log.iter().position(|entry| entry["event"] == event).with_context(|| format!("no {event}"));
    ensure!(position("attempt_failed")? < position("causes_found")?, "{log:?}");
    Ok(())
}

/// What the CA will not issue for a CAA record fails at once; the record is shown, and once it is gone, nothing stands in the way.
#[tokio::test]
async fn a_caa_record_that_forbids_is_shown_when_the_ca_has_refused() -> Result<()> {
    let stack = shared().await?;
    let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let system = System::start_at(&stack, &ca, |product| product).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let dns = &stack.customer_dns;
    let ours = setting::STACK_NAMESERVERS.map(|server| format!("{server}."));
    dns.set_rrset(&zone.name, &zone.name, "NS", &ours).await?;
    dns.set_rrset(&zone.name, &zone.name, "CAA", &["0 issue \"other-ca.test\"".to_owned()]).await?;
    let objection = ca.object("/order-plz", StatusCode::FORBIDDEN, "caa");
    let id = account.request(&zone, "app", &[]).await?;
    objection.reached(1).await?;

    let failed = account.becomes(&id, "failed").await?;
    ensure!(failed["last_error"]["code"] == "acme_caa", "{failed}");
    let error = explained(&account, &id).await?;
    ensure!(codes(&error["findings"]) == ["caa_forbids"] && error["next_attempt_at"].is_null(), "{error}");
    account.logs(&id, "causes_found").await?;

    dns.set_rrset(&zone.name, &zone.name, "CAA", &[]).await?;
    let wish = json!({ "zone_id": zone.id, "domain": format!("app.{}", zone.name) });
    let clear = account.client.post("/certificates/preflight", &wish).await?.expect(200)?;
    ensure!(clear["ready"] == true && codes(&clear["findings"]).is_empty(), "{clear}");
    let id = account.request(&zone, "app", &[]).await?;
    ensure!(account.becomes(&id, "issued").await?["last_error"].is_null());
    Ok(())
}
