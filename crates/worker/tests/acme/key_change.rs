//! Another key for our account: what is sent, what becomes of each answer, and who goes on with it.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio_postgres::Client;
use zonecert_devstack::{Pebble, PebbleOptions, PebbleServer, unique_label};
use zonecert_domain::failure::FailureCode;
use zonecert_store::Store;
use zonecert_store::acme_accounts::{self, AcmeAccount};
use zonecert_worker::acme::{AcmeDirectory, AcmeSettings, KeyChangeError};

use crate::canned_ca::{CannedCa, Reply};
use crate::database::{fresh, master_keys, stack};

/// Path of Pebble 2.4.0.
const KEY_CHANGE_PATH: &str = "/rollover-account-key";

fn open(settings: AcmeSettings, store: &Store) -> Result<AcmeDirectory> {
    Ok(AcmeDirectory::new(settings, store.clone(), Arc::new(master_keys('k')))?)
}

fn at(pebble: &Pebble) -> AcmeSettings {
    AcmeSettings { ca_file: Some(pebble.ca_file().to_owned()), ..AcmeSettings::new(pebble.directory_url()) }
}

async fn account(store: &Store, directory_url: &str) -> Result<AcmeAccount> {
    let masters = master_keys('k');
    let found = store.platform(async |conn| acme_accounts::find_acme_account(conn, &masters, directory_url).await).await?;
    found.context("an account")
}

async fn next_credentials(store: &Store, account: &AcmeAccount) -> Result<Option<Vec<u8>>> {
    let (masters, id) = (master_keys('k'), account.id);
    let next = store.platform(async |conn| acme_accounts::find_next_credentials(conn, &masters, id).await).await?;
    Ok(next.map(|next| next.to_vec()))
}

fn names() -> [String; 1] {
    [format!("{}.example.test", unique_label())]
}

async fn txt_values(directory: &AcmeDirectory, order_url: &str) -> Result<Vec<Option<String>>> {
    Ok(directory.authorizations(order_url).await?.into_iter().map(|authorization| authorization.txt_value).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_keeps_its_orders_and_whoever_has_it_open_goes_on_with_the_new_key_and_nobody_with_the_old_one() -> Result<()> {
    let stack = stack().await?;
    let database = fresh(&stack).await?;
    let (worker, operator) = (open(at(&stack.pebble), &database.store)?, open(at(&stack.pebble), &database.store)?);
    let url = stack.pebble.directory_url();
    let order = worker.new_order(&names()).await?;
    let (old, old_values) = (account(&database.store, &url).await?, txt_values(&worker, &order.url).await?);
    let admin = stack.postgres.connect_as_admin(&database.name).await?;
    let old_row = admin.query_one("SELECT sealed_credentials FROM acme_accounts", &[]).await?;

    operator.change_key().await?;
    let new = account(&database.store, &url).await?;
    assert_eq!((new.id, &new.account_url), (old.id, &old.account_url));
    assert!(new.key_changed_at.is_some() && *new.credentials != *old.credentials);
    assert_eq!(next_credentials(&database.store, &new).await?, None);

    let new_values = txt_values(&worker, &order.url).await?;
    assert_ne!(new_values, old_values, "a TXT value is made of the account's key (RFC 8555 §8.1)");
    assert_eq!(new_values, txt_values(&open(at(&stack.pebble), &database.store)?, &order.url).await?);
    assert_eq!(worker.new_order(&names()).await?.acme_account_id, old.id);

    // As after a backup of before was restored.
    let restored = "UPDATE acme_accounts SET sealed_credentials = $1";
    admin.execute(restored, &[&old_row.get::<_, Vec<u8>>(0)]).await?;
    let late = open(at(&stack.pebble), &database.store)?;
    let refused = late.new_order(&names()).await.expect_err("the CA knows the account by another key");
    assert_eq!(refused.code, FailureCode::AcmeMalformed, "{refused}");
    assert!(matches!(late.change_key().await, Err(KeyChangeError::Ca(failure)) if failure.code == FailureCode::AcmeMalformed));
    Ok(())
}

/// Begins a change, and is gone as soon as it has come so far.
async fn cut_off(directory: &AcmeDirectory, reached: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        changed = directory.change_key() => bail!("it was not cut off: {changed:?}"),
        reached = reached => reached,
    }
}

async fn is_begun(admin: &Client) -> Result<bool> {
    Ok(admin.query_one("SELECT sealed_next_credentials IS NOT NULL FROM acme_accounts", &[]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_cut_off_after_the_cas_yes_has_lost_nothing_and_the_next_signature_finishes_it() -> Result<()> {
    let stack = stack().await?;
    let database = fresh(&stack).await?;
    let admin = stack.postgres.connect_as_admin(&database.name).await?;
    let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let (worker, operator) = (open(at(&ca), &database.store)?, open(at(&ca), &database.store)?);
    let order = worker.new_order(&names()).await?;
    let old = account(&database.store, &ca.directory_url()).await?;
    for by_worker in [true, false] {
        let hold = ca.hold_answer(KEY_CHANGE_PATH);
        cut_off(&operator, hold.reached()).await?;
        hold.release();
        assert!(is_begun(&admin).await?, "the key is on record before the CA hears of it");
        if by_worker {
            worker.order(&order.url).await?;
        } else {
            ensure!(operator.finish_key_change().await?, "the operator's command, run again");
        }
        assert!(!is_begun(&admin).await? && !operator.finish_key_change().await?);
        assert_eq!(account(&database.store, &ca.directory_url()).await?.account_url, old.account_url);
        assert_eq!(worker.new_order(&names()).await?.acme_account_id, old.id);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_cut_off_before_the_ca_has_heard_of_it_goes_on_with_the_same_key() -> Result<()> {
    let stack = stack().await?;
    let database = fresh(&stack).await?;
    let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let directory = open(at(&ca), &database.store)?;
    let order = directory.new_order(&names()).await?;
    let hold = ca.hold_request(KEY_CHANGE_PATH);
    cut_off(&directory, hold.reached()).await?;
    let old = account(&database.store, &ca.directory_url()).await?;
    let next = next_credentials(&database.store, &old).await?.context("it is on record")?;
    ensure!(!directory.finish_key_change().await?, "the CA does not know of it");
    directory.order(&order.url).await?;
    hold.release();

    directory.change_key().await?;
    let new = account(&database.store, &ca.directory_url()).await?;
    assert_eq!((new.account_url.as_str(), new.credentials.as_slice()), (old.account_url.as_str(), next.as_slice()));
    directory.order(&order.url).await?;
    Ok(())
}

fn part(jws: &Value, name: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jws[name].as_str().context("a part")?)?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_key_signs_inside_of_what_the_old_one_signs() -> Result<()> {
    let ca = CannedCa::start().await?;
    let database = fresh(&stack().await?).await?;
    let directory = open(ca.settings(), &database.store)?;
    assert!(matches!(directory.change_key().await, Err(KeyChangeError::NoAccount)));
    directory.account().await?;
    let (made, _) = ca.last_signed("/new-account");
    directory.change_key().await?;

    let (outer, inner) = ca.last_signed("/key-change");
    assert_eq!(outer, json!({ "alg": "ES256", "kid": ca.url("/account/1"), "nonce": "bm9uY2U", "url": ca.url("/key-change") }));
    let (header, payload) = (part(&inner, "protected")?, part(&inner, "payload")?);
    assert_eq!((&header["alg"], &header["url"]), (&json!("ES256"), &json!(ca.url("/key-change"))));
    assert!(header.get("nonce").is_none() && header.get("kid").is_none(), "{header}");
    assert_eq!(payload["account"], ca.url("/account/1"));
    for coordinate in ["x", "y"] {
        assert_eq!(payload["oldKey"][coordinate], made["jwk"][coordinate], "the key that the account was made with");
        assert_ne!(header["jwk"][coordinate], made["jwk"][coordinate]);
    }
    // The next one begins with the key that has come.
    directory.change_key().await?;
    let (_, again) = ca.last_signed("/key-change");
    assert_eq!(part(&again, "payload")?["oldKey"], header["jwk"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_leaves_the_old_key_and_an_answer_that_got_lost_may_have_been_a_yes() -> Result<()> {
    let ca = CannedCa::start().await?;
    let database = fresh(&stack().await?).await?;
    let directory = open(ca.settings(), &database.store)?;
    directory.account().await?;
    let known = Reply::json(200, &json!({ "status": "valid" }));
    let unknown = Reply::problem(400, "accountDoesNotExist", "who are you?");
    ca.answer("/new-account", unknown.clone());
    for (reply, code, requests) in [
        (Reply::problem(400, "badNonce", "unacceptable nonce"), FailureCode::AcmeBadNonce, 3),
        (Reply::problem(400, "malformed", "what?"), FailureCode::AcmeMalformed, 1),
        (Reply::page(409, "").with("location", ca.url("/account/2")), FailureCode::AcmeUnknownProblem, 1),
        (Reply::page(503, "<html>busy</html>"), FailureCode::CaMalformedAnswer, 1),
        (Reply::BreakOff, FailureCode::CaUnreachable, 1),
    ] {
        let before = ca.count("/key-change");
        ca.answer("/key-change", reply);
        match directory.change_key().await {
            Err(KeyChangeError::Ca(failure)) => assert_eq!(failure.code, code, "{failure}"),
            other => bail!("{code}: {other:?}"),
        }
        assert_eq!(ca.count("/key-change") - before, requests, "{code}");
        assert_eq!(account(&database.store, directory.directory_url()).await?.key_changed_at, None);
    }
    // Somebody else's account cannot have it.
    ca.answer("/new-account", known.clone().with("location", ca.url("/account/2")));
    assert!(matches!(directory.finish_key_change().await, Err(KeyChangeError::Ca(_))));
    ca.answer("/new-account", known.with("location", ca.url("/account/1")));
    directory.change_key().await?;
    assert!(account(&database.store, directory.directory_url()).await?.key_changed_at.is_some());

    let without = json!({"newNonce": ca.url("/nonce"), "newAccount": ca.url("/new-account"), "newOrder": ca.url("/new-order")});
    ca.answer("/dir", Reply::json(200, &without));
    assert!(matches!(directory.change_key().await, Err(KeyChangeError::NotOffered)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_signed_once_more_where_the_key_has_changed_and_no_oftener() -> Result<()> {
    let ca = CannedCa::start().await?;
    let database = fresh(&stack().await?).await?;
    let (worker, operator) = (open(ca.settings(), &database.store)?, open(ca.settings(), &database.store)?);
    for (status, problem_type) in [(400, "malformed"), (401, "unauthorized"), (403, "unauthorized"), (400, "accountDoesNotExist")] {
        worker.account().await?;
        operator.change_key().await?;
        ca.answer("/order/1", Reply::problem(status, problem_type, "no"));
        for requests in [2, 1] {
            let before = ca.count("/order/1");
            worker.order(&ca.url("/order/1")).await.expect_err("the CA says no");
            assert_eq!(ca.count("/order/1") - before, requests, "{problem_type}");
        }
    }
    Ok(())
}
