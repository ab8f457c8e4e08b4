//! Certificates are revoked at the CA, whatever goes wrong on the way.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::product::setting;
use zonecert_devstack::{Pebble, PebbleOptions, PebbleServer, StackHandle, shared, wait};
use zonecert_tests::{Account, PATIENCE, System, Zone, uuid};

/// One that can be held. It rejects no nonce, so that what is held is what was meant.
async fn own_ca(stack: &StackHandle) -> Result<PebbleServer> {
    PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await
}

async fn serial(system: &System, id: &str) -> Result<String> {
    let query = "SELECT serial FROM versions WHERE certificate_id::text = $1 ORDER BY number DESC LIMIT 1";
    Ok(system.database().await?.query_one(query, &[&uuid(id)]).await?.get(0))
}

async fn is_revoked(pebble: &Pebble, serial: &str) -> Result<bool> {
    Ok(pebble.certificate_status(serial).await?["Status"] == "Revoked")
}

/// `status attempts reason` of the revocation of a certificate.
async fn revocation(system: &System, id: &str) -> Result<String> {
    let query = "SELECT status || ' ' || attempts || ' ' || reason FROM revocations WHERE certificate_id::text = $1";
    Ok(system.database().await?.query_one(query, &[&uuid(id)]).await?.get(0))
}

async fn revocation_is(system: &System, id: &str, expected: &str) -> Result<()> {
    let mut last = String::new();
    let is = wait::until(&format!("the revocation is {expected:?}"), PATIENCE, async || {
        last = revocation(system, id).await?;
        Ok((last == expected).then_some(()))
    })
    .await;
    is.with_context(|| format!("it is {last:?}"))
}

/// How many keys of a certificate can still be opened.
async fn keys(system: &System, id: &str) -> Result<i64> {
    let query = "SELECT count(*) FROM key_versions JOIN versions ON versions.key_version_id = key_versions.id
                 WHERE certificate_id::text = $1 AND sealed IS NOT NULL";
    system.count(id, query).await
}

async fn revoke(account: &Account, id: &str, reason: &str) -> Result<Value> {
    let answer = account.client.post(&format!("/certificates/{id}/revoke"), &json!({ "reason": reason })).await?;
    ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.text);
    answer.json()
}

async fn delete_and_revoke(account: &Account, id: &str) -> Result<()> {
    let answer = account.client.send(Method::DELETE, &format!("/certificates/{id}?revoke=true"), None).await?;
    ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.text);
    Ok(())
}

async fn issued(account: &Account, zone: &Zone, label: &str) -> Result<String> {
    let id = account.request(zone, label, &[]).await?;
    account.becomes(&id, "issued").await?;
    Ok(id)
}

#[tokio::test]
async fn a_certificate_is_revoked_at_the_ca_and_renewed_afterwards() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = issued(&account, &zone, "app").await?;
    let serial = serial(&system, &id).await?;
    ensure!(!is_revoked(&stack.pebble, &serial).await?);

    revoke(&account, &id, "superseded").await?;
    let certificate = account.becomes(&id, "revoked").await?;

    assert_eq!(certificate["downloadable"], false);
    assert_eq!(certificate["next_renewal_at"], Value::Null);
    ensure!(is_revoked(&stack.pebble, &serial).await?);
    ensure!(stack.pebble.certificate_status(&serial).await?["Reason"] == 4);
    assert_eq!(revocation(&system, &id).await?, "succeeded 1 4");
    let events: Vec<Value> = account.log(&id).await?;
    let events: Vec<&str> = events.iter().rev().take(2).filter_map(|entry| entry["event"].as_str()).collect();
    assert_eq!(events, ["revoked", "revocation_requested"]);
    assert_eq!(keys(&system, &id).await?, 1, "the key of a certificate that was not deleted stays");
    issued(&account, &zone, "app").await.context("the domain is free again")?;
    Ok(())
}

#[tokio::test]
async fn killed_between_the_cas_yes_and_the_record_of_it_it_is_asked_again_and_done() -> Result<()> {
    let stack = shared().await?;
    let ca = own_ca(&stack).await?;
    let mut system = System::start_at(&stack, &ca, |product| product).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = issued(&account, &zone, "app").await?;
    let serial = serial(&system, &id).await?;

    let held = ca.hold_answer("/revoke-cert");
    revoke(&account, &id, "key_compromise").await?;
    held.reached().await?;
    system.worker.kill().await?;
    held.release();
    ensure!(is_revoked(&ca, &serial).await?, "the CA has revoked it");
    ensure!(revocation(&system, &id).await? == "active 1 1", "and we do not know it");
    system.worker.start().await?;

    account.becomes(&id, "revoked").await?;
    assert_eq!(revocation(&system, &id).await?, "succeeded 2 1");
    Ok(())
}

#[tokio::test]
async fn a_ca_in_trouble_is_asked_again_and_the_key_of_a_deleted_certificate_stays_until_it_has_confirmed() -> Result<()> {
    let stack = shared().await?;
    let ca = own_ca(&stack).await?;
    let system = System::start_at(&stack, &ca, |product| product.with(setting::RETRY_LADDER_SECONDS, "1")).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = issued(&account, &zone, "app").await?;
    let serial = serial(&system, &id).await?;

    let trouble = ca.refuse("/revoke-cert", StatusCode::INTERNAL_SERVER_ERROR);
    delete_and_revoke(&account, &id).await?;
    trouble.reached(2).await?;
    ensure!(account.client.get(&format!("/certificates/{id}")).await?.status == 404, "it is hidden at once");
    assert_eq!(keys(&system, &id).await?, 1);
    let again = issued(&account, &zone, "app").await.context("slot, domain and name are free at once")?;
    ensure!(!is_revoked(&ca, &serial).await?);
    drop(trouble);

    wait::until("it is revoked", PATIENCE, async || Ok(is_revoked(&ca, &serial).await?.then_some(()))).await?;
    wait::until("its key is destroyed", PATIENCE, async || Ok((keys(&system, &id).await? == 0).then_some(()))).await?;
    assert_eq!(account.certificate(&again).await?["status"], "issued");
    assert_eq!(keys(&system, &again).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_reason_that_the_ca_does_not_take_is_left_out_and_a_refusal_is_final() -> Result<()> {
    let stack = shared().await?;
    let ca = own_ca(&stack).await?;
    let system = System::start_at(&stack, &ca, |product| product).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let (one, other) = (issued(&account, &zone, "one").await?, issued(&account, &zone, "other").await?);

    let objection = ca.object("/revoke-cert", StatusCode::BAD_REQUEST, "badRevocationReason");
    revoke(&account, &one, "affiliation_changed").await?;
    objection.reached(1).await?;
    account.becomes(&one, "revoked").await?;
    assert_eq!(revocation(&system, &one).await?, "succeeded 1 0");
    ensure!(is_revoked(&ca, &serial(&system, &one).await?).await?);

    // Neither our account nor the key is taken for the owner's.
    let objections = [0, 1].map(|_| ca.object("/revoke-cert", StatusCode::FORBIDDEN, "unauthorized"));
    revoke(&account, &other, "key_compromise").await?;
    for objection in objections {
        objection.reached(1).await?;
    }
    revocation_is(&system, &other, "failed 1 1").await?;
    let failed = account.logs(&other, "revocation_failed").await?;
    ensure!(failed["level"] == "error" && failed["details"]["code"] == "revocation_refused", "{failed}");
    ensure!(failed["details"]["detail"] == "the test objects" && failed["details"]["remedy"].is_string(), "{failed}");
    assert_eq!(account.certificate(&other).await?["status"], "issued");
    // It can be wished for again.
    revoke(&account, &other, "key_compromise").await?;
    account.becomes(&other, "revoked").await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_an_account_that_was_lost_is_revoked_by_its_own_key() -> Result<()> {
    let stack = shared().await?;
    let mut system = System::start(&stack).await?;
    let account = system.account("elite").await?;
    let zone = system.verified_zone(&account).await?;
    let mut certificates = Vec::new();
    for algorithm in ["rsa2048", "rsa3072", "ecdsa_p256", "ecdsa_p384"] {
        let domain = format!("{}.{}", algorithm.replace('_', "-"), zone.name);
        let wish = json!({ "zone_id": zone.id, "domain": domain, "key_algorithm": algorithm });
        let certificate = account.client.post("/certificates", &wish).await?.expect(202)?;
        let id = certificate["id"].as_str().context("id")?.to_owned();
        account.becomes(&id, "issued").await?;
        certificates.push(id);
    }
    system.worker.stop().await?;
    system.database().await?.execute("UPDATE acme_accounts SET lost_at = now()", &[]).await?;
    system.worker.start().await?;

    for id in &certificates {
        revoke(&account, id, "cessation_of_operation").await?;
    }
    for id in &certificates {
        account.becomes(id, "revoked").await?;
        ensure!(is_revoked(&stack.pebble, &serial(&system, id).await?).await?, "{id}");
        assert_eq!(revocation(&system, id).await?, "succeeded 1 5");
    }
    // Without its key, and with an account that has never proven the name, nothing is left to be tried.
    let orphan = issued(&account, &zone, "orphan").await?;
    system.worker.stop().await?;
    let database = system.database().await?;
    database.batch_execute("UPDATE acme_accounts SET lost_at = now(); UPDATE key_versions SET sealed = NULL, destroyed_at = now() WHERE sealed IS NOT NULL").await?;
    system.worker.start().await?;
    revoke(&account, &orphan, "unspecified").await?;
    revocation_is(&system, &orphan, "failed 1 0").await?;
    let failure: String = database.query_one("SELECT failure::text FROM revocations WHERE status = 'failed'", &[]).await?.get(0);
    let failure: Value = serde_json::from_str(&failure)?;
    ensure!(failure["code"] == "revocation_refused" && failure["remedy"].is_string(), "{failure}");
    account.logs(&orphan, "revocation_failed").await?;
    assert_eq!(account.certificate(&orphan).await?["status"], "issued", "what the CA has not revoked is valid");
    Ok(())
}

#[tokio::test]
async fn nobody_revokes_another_accounts_certificate() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let (owner, stranger) = (system.account("pro").await?, system.account("pro").await?);
    let zone = system.verified_zone(&owner).await?;
    let id = issued(&owner, &zone, "app").await?;

    let query = "SELECT replace(orders.id::text, '-', ''), replace(versions.id::text, '-', ''), replace(issuance_id::text, '-', '')
                 FROM orders JOIN versions ON versions.order_id = orders.id";
    let row = system.database().await?.query_one(query, &[]).await?;
    let (order, version, issuance): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    for named in [id.clone(), format!("cert_{order}"), format!("cert_{version}"), format!("cert_{issuance}"), format!("order_{order}")] {
        let asked = stranger.client.post(&format!("/certificates/{named}/revoke"), &json!({ "reason": "key_compromise" })).await?;
        ensure!(asked.status == 404, "{named}: {} {}", asked.status, asked.text);
        let asked = stranger.client.send(Method::DELETE, &format!("/certificates/{named}?revoke=true"), None).await?;
        ensure!(asked.status == 404, "{named}: {} {}", asked.status, asked.text);
    }
    let wished: i64 = system.database().await?.query_one("SELECT count(*) FROM revocations", &[]).await?.get(0);
    assert_eq!(wished, 0);
    ensure!(!is_revoked(&stack.pebble, &serial(&system, &id).await?).await?);
    assert_eq!(owner.certificate(&id).await?["status"], "issued");
    Ok(())
}

#[tokio::test]
async fn an_account_in_arrears_may_revoke_and_delete() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let (one, other) = (issued(&account, &zone, "one").await?, issued(&account, &zone, "other").await?);
    let (first, second) = (serial(&system, &one).await?, serial(&system, &other).await?);
    system
        .database()
        .await?
        .execute("UPDATE accounts SET status = 'suspended_payment', suspended_at = now() - interval '60 days'", &[])
        .await?;

    revoke(&account, &one, "affiliation_changed").await?;
    delete_and_revoke(&account, &other).await?;

    account.becomes(&one, "revoked").await?;
    wait::until("the other is revoked", PATIENCE, async || Ok(is_revoked(&stack.pebble, &second).await?.then_some(()))).await?;
    ensure!(is_revoked(&stack.pebble, &first).await?);
    wait::until("the key is destroyed", PATIENCE, async || Ok((keys(&system, &other).await? == 0).then_some(()))).await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_runs_out_before_the_ca_has_confirmed_needs_no_revocation() -> Result<()> {
    let stack = shared().await?;
    let ca = own_ca(&stack).await?;
    let system = System::start_at(&stack, &ca, |product| product.with(setting::RETRY_LADDER_SECONDS, "1")).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = issued(&account, &zone, "app").await?;
    let trouble = ca.refuse("/revoke-cert", StatusCode::SERVICE_UNAVAILABLE);
    delete_and_revoke(&account, &id).await?;
    trouble.reached(1).await?;
    system.database().await?.execute("UPDATE revocations SET not_after = now()", &[]).await?;
    let database = system.database().await?;
    wait::until("the revocation has run out", PATIENCE, async || {
        let status: String = database.query_one("SELECT status FROM revocations", &[]).await?.get(0);
        Ok((status == "expired").then_some(()))
    })
    .await?;
    assert_eq!(keys(&system, &id).await?, 0);
    Ok(())
}
