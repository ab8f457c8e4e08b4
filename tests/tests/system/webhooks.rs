//! Webhooks, from the change of a certificate to a receiver: the example of the README, in another language, which verifies each signature by itself.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as PortFinder};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use zonecert_devstack::product::setting;
use zonecert_devstack::{Product, shared, wait};
use zonecert_tests::{Account, PATIENCE, System};

/// The program that stands in the README.
fn example() -> Result<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    let part = readme.split("<!-- webhook-receiver -->").nth(1).context("the README has an example receiver")?;
    let code = part.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    Ok(code.context("it is in Python")?.to_owned())
}

fn free_address() -> Result<SocketAddr> {
    Ok(PortFinder::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

async fn start_example(address: SocketAddr, secret: &str) -> Result<Child> {
    let mut python = Command::new("python3");
    python.args(["-c", &example()?]).env("WEBHOOK_SECRET", secret).env("PORT", address.port().to_string());
    let child = python.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().context("python3")?;
    wait::until("the receiver listens", PATIENCE, async || Ok(TcpStream::connect(address).await.ok().map(drop))).await?;
    Ok(child)
}

fn to_loopback(product: Product) -> Product {
    product.with(setting::WEBHOOK_NETWORKS, "127.0.0.1")
}

async fn webhook(account: &Account, address: SocketAddr) -> Result<(String, String)> {
    let made = account.client.post("/webhooks", &json!({ "url": format!("http://{address}/") })).await?.expect(201)?;
    Ok((made["id"].as_str().context("id")?.to_owned(), made["secret"].as_str().context("secret")?.to_owned()))
}

/// Oldest first.
async fn deliveries(account: &Account, webhook: &str) -> Result<Vec<Value>> {
    let page = account.client.get(&format!("/webhooks/{webhook}/deliveries?limit=100")).await?.expect(200)?;
    let mut deliveries = page["deliveries"].as_array().context("deliveries")?.clone();
    deliveries.reverse();
    Ok(deliveries)
}

async fn all_delivered(account: &Account, webhook: &str) -> Result<Vec<Value>> {
    wait::until("all messages are delivered", PATIENCE, async || {
        let deliveries = deliveries(account, webhook).await?;
        Ok(deliveries.iter().all(|delivery| delivery["status"] == "delivered").then_some(deliveries))
    })
    .await
}

/// The receiver is down while the first messages are written.
#[tokio::test]
async fn the_life_of_a_certificate_is_told_to_the_readmes_receiver_though_it_was_down_at_first() -> Result<()> {
    let system = System::start_with(&shared().await?, to_loopback).await?;
    let (account, zone) = system.account_with_zone("elite").await?;
    let address = free_address()?;
    let (hook, secret) = webhook(&account, address).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    wait::until("an attempt has failed", PATIENCE, async || {
        Ok(deliveries(&account, &hook).await?.iter().any(|delivery| !delivery["last_error"].is_null()).then_some(()))
    })
    .await?;

    let mut receiver = start_example(address, &secret).await?;
    let mut lines = BufReader::new(receiver.stdout.take().context("its output")?).lines();
    let database = system.database().await?;
    // Time goes by: each is due again, and the sweeper finds them.
    wait::until("nothing waits", PATIENCE, async || {
        let due = "UPDATE webhook_deliveries SET next_attempt_at = now() - interval '11 seconds' WHERE status = 'pending' AND claimed_until IS NULL";
        database.batch_execute(&format!("{due}; DELETE FROM apalis.jobs WHERE job_type = 'webhook' AND status = 'Done'")).await?;
        Ok(deliveries(&account, &hook).await?.iter().all(|delivery| delivery["status"] == "delivered").then_some(()))
    })
    .await?;
    account.client.post(&format!("/certificates/{id}/renew"), &json!({})).await?.expect(202)?;
    account.becomes(&id, "issued").await?;
    // Messages go on to be signed with the secret before.
    account.client.post(&format!("/webhooks/{hook}/rotate-secret"), &json!({})).await?.expect(200)?;
    let revoked = account.client.post(&format!("/certificates/{id}/revoke"), &json!({ "reason": "superseded" })).await?;
    ensure!(revoked.status.is_success(), "{}", revoked.text);
    account.becomes(&id, "revoked").await?;
    let deleted = account.client.send(Method::DELETE, &format!("/certificates/{id}"), None).await?;
    ensure!(deleted.status.is_success(), "{}", deleted.text);

    let delivered = all_delivered(&account, &hook).await?;
    let expected =
        ["requested", "validating", "issued", "validating", "renewed", "revoked", "deleted"].map(|word| format!("certificate.{word}"));
    let types: Vec<&str> = delivered.iter().filter_map(|delivery| delivery["event"].as_str()).collect();
    ensure!(types == expected, "{types:?}");
    for (number, delivery) in (1..).zip(&delivered) {
        ensure!(delivery["body"]["data"]["sequence"] == number && delivery["certificate_id"] == json!(id), "{delivery}");
    }
    // The receiver has verified each, and has had each once.
    let mut arrived = Vec::new();
    while arrived.len() < expected.len() {
        arrived.push(lines.next_line().await?.context("the receiver goes on")?);
    }
    arrived.sort();
    let mut wanted = expected.to_vec();
    wanted.sort();
    ensure!(arrived == wanted, "{arrived:?}");

    // What is not signed, or not by us, it refuses; what it has had it takes and does nothing.
    let last = delivered.last().context("a delivery")?;
    let forged = |signature: &'static str, at: i64| {
        let request = reqwest::Client::new().post(format!("http://{address}/")).header("webhook-id", "dlv_1");
        request.header("webhook-timestamp", at).header("webhook-signature", signature).body(last["body"].to_string()).send()
    };
    ensure!(forged("v1,AAAA", 1_800_000_000).await?.status() == StatusCode::UNAUTHORIZED);
    account
        .client
        .post(&format!("/webhooks/{hook}/deliveries/{}/replay", last["id"].as_str().context("id")?), &json!({}))
        .await?
        .expect(202)?;
    let replayed = all_delivered(&account, &hook).await?;
    ensure!(replayed.last().is_some_and(|delivery| delivery["attempts"].as_array().is_some_and(|attempts| attempts.len() >= 2)));
    account.client.post(&format!("/webhooks/{hook}/test"), &json!({})).await?.expect(202)?;
    ensure!(lines.next_line().await?.as_deref() == Some("webhook.test"), "the replay did nothing twice");
    receiver.kill().await?;
    Ok(())
}

/// Reads a request and answers nothing yet.
async fn read_request(listener: &TcpListener) -> Result<(TcpStream, String)> {
    let (mut stream, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.context("a request")??;
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            length.is_some_and(|length| body.len() >= length)
        });
        if whole || read == 0 {
            return Ok((stream, text.into_owned()));
        }
    }
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

#[tokio::test]
async fn a_worker_that_is_killed_in_the_middle_of_a_delivery_leaves_it_to_the_next_which_sends_the_same() -> Result<()> {
    let mut system = System::start_with(&shared().await?, to_loopback).await?;
    let account = system.account("plus").await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (hook, _) = webhook(&account, listener.local_addr()?).await?;
    let test = account.client.post(&format!("/webhooks/{hook}/test"), &json!({})).await?.expect(202)?;
    let (held, first) = read_request(&listener).await?;
    system.worker.kill().await?;
    drop(held);
    system.worker.start().await?;
    // Its claim goes by.
    let gone_by = "UPDATE webhook_deliveries SET next_attempt_at = next_attempt_at - interval '41 seconds', claimed_until = claimed_until - interval '41 seconds'";
    ensure!(system.database().await?.execute(gone_by, &[]).await? == 1);
    let (mut stream, second) = read_request(&listener).await?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await?;
    drop(stream);
    let delivered = all_delivered(&account, &hook).await?;
    let ids: BTreeSet<&str> = [&first, &second].into_iter().map(|request| header(request, "webhook-id")).collect();
    ensure!(ids == BTreeSet::from([test["id"].as_str().context("id")?]), "{ids:?}");
    let body = |request: &str| request.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    ensure!(body(&first) == body(&second) && body(&first).is_some_and(|body| body.contains("webhook.test")));
    ensure!(delivered.len() == 1 && delivered[0]["status"] == "delivered", "{delivered:?}");
    Ok(())
}

/// The end of a certificate comes nearer.
#[tokio::test]
async fn the_end_of_a_certificate_is_told_by_the_scan() -> Result<()> {
    let system = System::start_with(&shared().await?, |product| to_loopback(product).with(setting::RENEWAL_SCAN_SECONDS, "1")).await?;
    let (account, zone) = system.account_with_zone("plus").await?;
    let (hook, _) = webhook(&account, free_address()?).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    let database = system.database().await?;
    for days in [30, 14, 7, 1] {
        let nearer = format!(
            "UPDATE certificates SET issued_at = now() - interval '90 days', expires_at = now() + interval '{days} days' - interval '1 hour',
                expiry_notice_due_at = now()"
        );
        database.batch_execute(&nearer).await?;
        let told = wait::until("it is told", PATIENCE, async || {
            let last = deliveries(&account, &hook).await?.into_iter().rfind(|delivery| delivery["event"] == "certificate.expiring");
            Ok(last.filter(|delivery| delivery["body"]["data"]["days_left"] == days))
        })
        .await?;
        ensure!(told["certificate_id"] == json!(id), "{told}");
    }
    Ok(())
}
