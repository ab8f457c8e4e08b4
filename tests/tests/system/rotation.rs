//! The keys that seal all others are changed while everything runs; and what was moved in the database does not open.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use zonecert_devstack::product::{Product, Role, setting};
use zonecert_devstack::{StackHandle, shared, write_private};
use zonecert_tests::{Account, Client, System, check_download, uuid};

const SECOND: &str = "second:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The key that a product on a stack begins with, as `ID:KEY`.
fn first_key(product: &Product) -> Result<String> {
    Ok(std::fs::read_to_string(keys_file(product))?.lines().next().context("a master key")?.to_owned())
}

fn keys_file(product: &Product) -> String {
    product.environment(Role::Api)[setting::MASTER_KEYS_FILE].clone()
}

/// What processes that start from now on are given.
fn set_keys(product: &Product, keys: &[&str]) -> Result<()> {
    write_private(keys_file(product).as_ref(), &keys.join(","))
}

/// The same account at another API.
fn at(api_url: &str, account: &Account) -> Result<Client> {
    Client::new(api_url, Some(&account.access_token))
}

async fn admin(system: &System, args: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&system.product.run(Role::Owner, &[&["admin"], args].concat()).await?)?)
}

/// Each file of every certificate, again and again until it is over: always there, always the same key. Returns how many were read.
async fn download(client: &Client, ids: &[String], over: &AtomicBool) -> Result<usize> {
    let mut keys = vec![String::new(); ids.len()];
    let mut read = 0;
    while !over.load(Ordering::Relaxed) {
        for (id, known) in ids.iter().zip(&mut keys) {
            let key = client.get(&format!("/certificates/{id}/key")).await?;
            ensure!(key.status == 200, "{id}: {}", key.text);
            if known.is_empty() {
                known.clone_from(&key.text);
            }
            ensure!(*known == key.text, "{id} has another key");
            read += 1;
        }
    }
    Ok(read)
}

/// Requests certificates and waits for each, until it is over.
pub(crate) async fn issue(account: &Account, zone: &zonecert_tests::Zone, name: &str, over: &AtomicBool) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    while !over.load(Ordering::Relaxed) || ids.is_empty() {
        let id = account.request(zone, &format!("{name}{}", ids.len()), &[]).await?;
        account.becomes(&id, "issued").await?;
        ids.push(id);
    }
    Ok(ids)
}

async fn all_download(client: &Client, ids: &[String], stack: &StackHandle) -> Result<()> {
    let root = stack.pebble.root_certificate_pem().await?;
    for id in ids {
        let file = client.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
        check_download(&file, &root)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_master_key_is_changed_and_data_keys_are_replaced_while_certificates_are_issued_and_downloaded() -> Result<()> {
    let stack = shared().await?;
    // First of all, every process knows the key that is to come.
    let system = System::start_with(&stack, |product| {
        let first = first_key(&product).unwrap_or_default();
        let both = set_keys(&product, &[&first, SECOND]);
        assert!(both.is_ok(), "{both:?}");
        product.with(setting::PROPAGATION_SECONDS, "0.1").with(setting::KEY_STOCK, "3").with(setting::KEY_STOCK_SECONDS, "0.2")
    })
    .await?;
    let first = first_key(&system.product)?.split(',').next().context("the first key")?.to_owned();
    let account = system.account("elite").await?;
    let zone = system.verified_zone(&account).await?;
    let mut ids = issue(&account, &zone, "before", &AtomicBool::new(true)).await?;

    // Then it comes first: some processes wrap with the one and some with the other for a while.
    set_keys(&system.product, &[SECOND, &first])?;
    let (next_api, mut next_worker) = tokio::try_join!(system.product.serve(), system.product.work())?;
    let over = AtomicBool::new(false);
    let (old, new) = (account.client.clone(), at(next_api.api_url(), &account)?);
    let change = async {
        let rotated = admin(&system, &["rotate-keys"]).await?;
        ensure!(rotated["master_key"] == "second" && rotated["failures"] == json!([]), "{rotated}");
        ensure!(rotated["wrapped_anew"]["accounts"] == 1 && rotated["wrapped_anew"]["platform"].as_u64() > Some(0), "{rotated}");
        ensure!(rotated["may_be_removed"] == json!(["devstack"]), "{rotated}");
        let again = admin(&system, &["rotate-keys"]).await?;
        ensure!(again["wrapped_anew"] == json!({"accounts": 0, "platform": 0}), "{again}");
        let one = admin(&system, &["re-seal", &account.email]).await?;
        ensure!(one["accounts"] == 1 && one["data_keys_destroyed"] == 1 && one["failures"] == json!([]), "{one}");
        let everything = admin(&system, &["re-seal", "--all"]).await?;
        ensure!(everything["failures"] == json!([]) && everything["sealed_anew"].as_u64() > Some(0), "{everything}");
        let moment = everything["before"].as_str().context("before")?.to_owned();
        let continued = admin(&system, &["re-seal", "--all", "--before", &moment]).await?;
        ensure!(continued["accounts"] == 0 && continued["sealed_anew"] == 0, "{continued}");
        over.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let (read_old, read_new, issued, ()) =
        tokio::try_join!(download(&old, &ids, &over), download(&new, &ids, &over), issue(&account, &zone, "during", &over), change)?;
    ensure!(read_old > 0 && read_new > 0 && !issued.is_empty());
    ids.extend(issued);

    // The old processes go, and with them whoever wraps with the old key; then the key itself.
    let System { product, mut api, mut worker } = system;
    tokio::try_join!(api.stop(), worker.stop(), next_worker.stop())?;
    drop(next_api);
    set_keys(&product, &[SECOND])?;
    let (api, worker) = tokio::try_join!(product.serve(), product.work())?;
    let account = Account { client: at(api.api_url(), &account)?, ..account };
    all_download(&account.client, &ids, &stack).await?;
    let after = account.request(&zone, "after", &[]).await?;
    account.becomes(&after, "issued").await?;
    for log in [api.log()?, worker.log()?] {
        ensure!(!log.contains("\"ERROR\""), "{log}");
    }
    Ok(())
}

/// Three certificates: one of them in another account.
async fn three(system: &System) -> Result<([Account; 2], [String; 3])> {
    let (one, other) = (system.account("plus").await?, system.account("plus").await?);
    let (zone, foreign) = (system.verified_zone(&one).await?, system.verified_zone(&other).await?);
    let ids = [one.request(&zone, "a", &[]).await?, one.request(&zone, "b", &[]).await?, other.request(&foreign, "c", &[]).await?];
    one.becomes(&ids[0], "issued").await?;
    one.becomes(&ids[1], "issued").await?;
    other.becomes(&ids[2], "issued").await?;
    Ok(([one, other], ids))
}

#[tokio::test]
async fn a_private_key_that_was_moved_to_another_row_or_account_is_given_to_nobody() -> Result<()> {
    let stack = shared().await?;
    let system = System::start_with(&stack, |product| product.with(setting::PROPAGATION_SECONDS, "0.1")).await?;
    let ([one, other], [a, b, c]) = three(&system).await?;
    let database = system.database().await?;
    let version = |id: &str| format!("(SELECT key_version_id FROM versions WHERE certificate_id = '{}')", uuid(id));
    let key = async |account: &Account, id: &str| account.client.get(&format!("/certificates/{id}/key")).await;
    let before = [key(&one, &a).await?.text, key(&one, &b).await?.text, key(&other, &c).await?.text];

    // As whoever can write to the database, but has no master key.
    for (mine, theirs, account, foreign) in [(&a, &b, &one, &one), (&a, &c, &one, &other)] {
        let swap = format!(
            "UPDATE key_versions SET sealed = (SELECT sealed FROM key_versions AS others WHERE others.id = CASE key_versions.id WHEN {0} THEN {1} ELSE {0} END)
             WHERE id IN ({0}, {1})",
            version(mine),
            version(theirs)
        );
        ensure!(database.execute(&swap, &[]).await? == 2);
        for (account, id) in [(account, mine), (foreign, theirs)] {
            for path in ["key", "download"] {
                let refused = account.client.get(&format!("/certificates/{id}/{path}")).await?;
                ensure!(refused.status == 500, "{path}: {}", refused.text);
                ensure!(!refused.text.contains("PRIVATE KEY") && !refused.text.contains("seal"), "{}", refused.text);
            }
            let pem = account.client.get(&format!("/certificates/{id}/pem")).await?;
            ensure!(pem.status == 200, "the certificate itself is not sealed: {}", pem.text);
        }
        let errors = system.api.log()?.lines().filter(|line| line.contains("ERROR") && line.contains("moved to another row")).count();
        ensure!(errors >= 4, "each refusal is an error in the log of the API, for the operator");
        ensure!(database.execute(&swap, &[]).await? == 2, "back again");
    }
    // A refused key was not downloaded: the audit log tells of those that were.
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'key.downloaded'";
    ensure!(database.query_one(audited, &[]).await?.get::<_, i64>(0) == 3);

    // Nothing else was harmed: every key is what it was, and the certificates renew.
    let after = [key(&one, &a).await?.text, key(&one, &b).await?.text, key(&other, &c).await?.text];
    ensure!(before == after, "back in their rows they open");
    one.client.post(&format!("/certificates/{a}/renew"), &json!({})).await?.expect(202)?;
    one.becomes(&a, "issued").await?;
    all_download(&one.client, &[a, b], &stack).await?;
    all_download(&other.client, &[c], &stack).await
}
