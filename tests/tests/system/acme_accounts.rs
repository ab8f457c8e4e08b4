//! ACME accounts of customers: registered at a CA, certificates ordered, renewed and revoked with them, and deactivated in the end.

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{PebbleOptions, PebbleServer, StackHandle, shared, wait};
use zonecert_tests::{Account, PATIENCE, System, Zone};

const MAC_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// Path of Pebble 2.4.0.
const NEW_ACCOUNT_PATH: &str = "/sign-me-up";

fn quick(product: Product) -> Product {
    product.with(setting::RENEWAL_SCAN_SECONDS, "1")
}

/// A CA that is asked first, and one that wants accounts bound.
async fn start(stack: &StackHandle) -> Result<(PebbleServer, PebbleServer, System, TempDir)> {
    let bound = PebbleOptions { external_account: Some(("kid-1".to_owned(), MAC_KEY.to_owned())), ..PebbleOptions::unfailing() };
    let first = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let second = PebbleServer::beside(&stack.powerdns, &bound).await?;
    let files = tempfile::tempdir()?;
    let more_file = files.path().join("authorities.json");
    let more = json!([{
        "directory": second.directory_url(), "caa_identities": ["second-ca.test"], "limits": "off", "ca_file": second.ca_file(),
    }]);
    std::fs::write(&more_file, more.to_string())?;
    let more_file = more_file.display().to_string();
    let system = System::start_at(stack, &first, |product| quick(product).with(setting::MORE_AUTHORITIES_FILE, more_file)).await?;
    Ok((first, second, system, files))
}

async fn register(account: &Account, more: Value) -> Result<String> {
    let mut wish = json!({ "name": "ours", "contact": ["ops@customer.example"], "terms_of_service_agreed": true });
    for (field, value) in more.as_object().context("fields")? {
        wish[field] = value.clone();
    }
    let made = account.client.post("/acme-accounts", &wish).await?.expect(201)?;
    Ok(made["id"].as_str().context("id")?.to_owned())
}

async fn becomes(account: &Account, id: &str, status: &str) -> Result<Value> {
    wait::until(&format!("{id} is {status}"), PATIENCE, async || {
        let own = account.client.get(&format!("/acme-accounts/{id}")).await?.expect(200)?;
        Ok((own["status"] == status && own["next_attempt_at"].is_null()).then_some(own))
    })
    .await
}

async fn request_with(account: &Account, zone: &Zone, label: &str, own: &str) -> Result<String> {
    let wish = json!({ "zone_id": zone.id, "domain": format!("{label}.{}", zone.name), "acme_account_id": own });
    let certificate = account.client.post("/certificates", &wish).await?.expect(202)?;
    Ok(certificate["id"].as_str().context("id")?.to_owned())
}

#[tokio::test]
async fn certificates_are_ordered_renewed_and_revoked_with_ones_own_account_which_is_deactivated_in_the_end() -> Result<()> {
    let stack = shared().await?;
    let (first, _second, system, _files) = start(&stack).await?;
    let (account, zone) = system.account_with_zone("pro").await?;
    let own = register(&account, json!({})).await?;
    let shown = becomes(&account, &own, "valid").await?;
    ensure!(shown["directory_url"] == json!(first.directory_url()), "{shown}");
    let certificate = request_with(&account, &zone, "app", &own).await?;
    let issued = account.becomes(&certificate, "issued").await?;
    ensure!(issued["acme_account_id"] == json!(own), "{issued}");

    account.client.post(&format!("/certificates/{certificate}/renew"), &json!({})).await?.expect(202)?;
    let orders = wait::until("renewed", PATIENCE, async || {
        let page = account.client.get(&format!("/certificates/{certificate}/orders")).await?.expect(200)?;
        let orders = page["orders"].as_array().context("orders")?.clone();
        Ok((orders.len() == 2 && orders.iter().all(|order| order["status"] == "issued")).then_some(orders))
    })
    .await?;
    ensure!(orders.iter().all(|order| order["acme_account_id"] == json!(own)), "{orders:?}");
    let database = system.database().await?;
    let row = database.query_one("SELECT count(*), bool_and(is_own) FROM acme_accounts", &[]).await?;
    ensure!(row.get::<_, i64>(0) == 1 && row.get::<_, bool>(1), "no account of ours was needed");
    let spent: i64 = database.query_one("SELECT count(*) FROM ca_budget WHERE kind = 'order'", &[]).await?.get(0);
    ensure!(spent == 0, "what the CA allows us is as it was");

    let contact = json!({ "contact": ["second@customer.example"] });
    account.client.send(Method::PATCH, &format!("/acme-accounts/{own}"), Some(&contact)).await?.expect(200)?;
    becomes(&account, &own, "valid").await?;
    let told: Vec<String> = database.query_one("SELECT registered_contact FROM own_acme_accounts", &[]).await?.get(0);
    ensure!(told == ["second@customer.example"], "{told:?}");

    let serial = account.certificate(&certificate).await?["current_version"]["serial"].as_str().context("serial")?.to_owned();
    account.client.post(&format!("/certificates/{certificate}/revoke"), &json!({})).await?.expect(202)?;
    account.becomes(&certificate, "revoked").await?;
    ensure!(first.certificate_status(&serial).await?["Status"] == "Revoked");

    // Back to ours, which is made at its first use.
    let back = json!({ "acme_account_id": null });
    account.client.send(Method::PATCH, &format!("/certificates/{certificate}"), Some(&back)).await?.expect(200)?;
    let ours = account.request(&zone, "ours", &[]).await?;
    account.becomes(&ours, "issued").await?;
    wait::until("nothing of it is under way", PATIENCE, async || {
        let deleted = account.client.send(Method::DELETE, &format!("/acme-accounts/{own}"), None).await?;
        Ok((deleted.status == StatusCode::NO_CONTENT).then_some(()))
    })
    .await?;
    ensure!(account.client.get(&format!("/acme-accounts/{own}")).await?.status == StatusCode::NOT_FOUND);
    let id = own.trim_start_matches("acme_");
    wait::until("the CA was told", PATIENCE, async || {
        let over = "SELECT own.status = 'deactivated' AND own.last_error IS NULL AND sealed_credentials IS NULL
            FROM own_acme_accounts AS own JOIN acme_accounts USING (id) WHERE replace(id::text, '-', '') = $1";
        Ok(database.query_one(over, &[&id]).await?.get::<_, bool>(0).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_ca_that_wants_accounts_bound_takes_one_that_is_and_says_why_it_does_not_take_another() -> Result<()> {
    let stack = shared().await?;
    let (_first, second, system, _files) = start(&stack).await?;
    let (account, zone) = system.account_with_zone("plus").await?;
    let at_second = json!({ "directory_url": second.directory_url() });
    let unbound = register(&account, at_second.clone()).await?;
    let failed = becomes(&account, &unbound, "failed").await?;
    ensure!(failed["last_error"]["code"] == "acme_external_account_required", "{failed}");

    let mut bound = at_second;
    bound["eab"] = json!({ "kid": "kid-1", "hmac_key": MAC_KEY });
    let own = register(&account, bound).await?;
    becomes(&account, &own, "valid").await?;
    let certificate = request_with(&account, &zone, "app", &own).await?;
    account.becomes(&certificate, "issued").await?;
    let issued = account.logs(&certificate, "issued").await?;
    ensure!(issued["details"]["directory"] == json!(second.directory_url()), "{issued}");
    let logs = [system.worker.log()?, system.api.log()?];
    ensure!(logs.iter().all(|log| !log.contains(MAC_KEY)));
    Ok(())
}

/// The CA has registered it, and nobody has heard so.
#[tokio::test]
async fn a_worker_that_is_killed_between_key_and_registration_leaves_one_account() -> Result<()> {
    let stack = shared().await?;
    let (first, _second, mut system, _files) = start(&stack).await?;
    let account = system.account("plus").await?;
    let hold = first.hold_answer(NEW_ACCOUNT_PATH);
    let own = register(&account, json!({})).await?;
    tokio::time::timeout(PATIENCE, hold.reached()).await.context("the CA is asked")??;
    system.worker.kill().await?;
    drop(hold);
    let database = system.database().await?;
    let key = "SELECT sealed_credentials, account_url FROM acme_accounts WHERE is_own";
    let row = database.query_one(key, &[]).await?;
    ensure!(row.get::<_, Option<String>>(1).is_none(), "nobody has heard of it");
    // Its claim goes by.
    database.batch_execute("UPDATE own_acme_accounts SET next_attempt_at = now(), claimed_until = NULL").await?;
    system.worker.start().await?;
    becomes(&account, &own, "valid").await?;
    let rows = database.query(key, &[]).await?;
    match rows.as_slice() {
        [one] if one.get::<_, Option<String>>(1).is_some() => Ok(()),
        rows => bail!("{} accounts on record", rows.len()),
    }
}
