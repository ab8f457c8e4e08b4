//! Pushes to a client that is not ours: in another language, with another library for what is sealed, and a certificate that nobody has signed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use zonecert_devstack::product::setting;
use zonecert_devstack::{shared, wait};
use zonecert_tests::{Account, PATIENCE, System};

/// Answers as the Cert Warden client does, and prints what it has opened. The first answers are given.
const CLIENT: &str = r#"
import base64, http.server, json, os, ssl
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

def raw(text):
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

ANSWERS = os.environ["ANSWERS"].split()

class Client(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = ANSWERS.pop(0) if ANSWERS else "open"
        if answer == "open":
            assert self.path == "/certwardenclient/api/v1/install" and self.headers["Content-Type"] == "application/json"
            sealed = raw(json.loads(body)["payload"])
            print(AESGCM(raw(os.environ["KEY"])).decrypt(sealed[:12], sealed[12:], None).decode(), flush=True)
            self.send_response(200)
        else:
            self.send_response(int(answer))
            self.send_header("Location", os.environ["ELSEWHERE"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Client)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["CERTIFICATE_KEY"])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

struct Client {
    _process: Child,
    opened: Lines<BufReader<ChildStdout>>,
}

impl Client {
    async fn start(directory: &Path, address: SocketAddr, key: &str, answers: &str, elsewhere: &str) -> Result<Self> {
        let (certificate, certificate_key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=client",
        ]);
        let made = openssl.arg("-keyout").arg(&certificate_key).arg("-out").arg(&certificate).output().await?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", CLIENT]).env("KEY", key).env("PORT", address.port().to_string()).env("ANSWERS", answers);
        python.env("ELSEWHERE", elsewhere).env("CERTIFICATE", &certificate).env("CERTIFICATE_KEY", &certificate_key);
        let mut process = python.stdout(Stdio::piped()).kill_on_drop(true).spawn().context("python3")?;
        let opened = BufReader::new(process.stdout.take().context("its output")?).lines();
        wait::until("the client listens", PATIENCE, async || Ok(TcpStream::connect(address).await.ok().map(drop))).await?;
        Ok(Self { _process: process, opened })
    }

    async fn next(&mut self) -> Result<Value> {
        let line = tokio::time::timeout(PATIENCE, self.opened.next_line()).await.context("a push")??;
        Ok(serde_json::from_str(&line.context("the client goes on")?)?)
    }
}

/// What the client should have: what a download gives, to the byte.
async fn in_use(account: &Account, id: &str) -> Result<Value> {
    let key = account.client.get(&format!("/certificates/{id}/key")).await?;
    let chain = account.client.get(&format!("/certificates/{id}/pem")).await?;
    ensure!(key.status.is_success() && chain.status.is_success());
    Ok(json!({ "key_pem": key.text, "cert_pem": chain.text }))
}

async fn newest(account: &Account, target: &str) -> Result<Value> {
    Ok(account.client.get(&format!("{target}/deliveries")).await?.expect(200)?["deliveries"][0].clone())
}

async fn delivered(account: &Account, target: &str, attempts: usize) -> Result<Value> {
    wait::until("the push is delivered", PATIENCE, async || {
        let newest = newest(account, target).await?;
        let made = newest["attempts"].as_array().map_or(0, Vec::len);
        Ok((newest["status"] == "delivered" && made == attempts).then_some(newest))
    })
    .await
}

#[tokio::test]
async fn a_client_receives_each_version_that_comes_into_use_though_it_refuses_and_redirects() -> Result<()> {
    let mut system = System::start_with(&shared().await?, |product| product.with(setting::WEBHOOK_NETWORKS, "127.0.0.1")).await?;
    let (account, zone) = system.account_with_zone("elite").await?;
    // The target is there before the first version.
    system.worker.kill().await?;
    let id = account.request(&zone, "app", &[]).await?;
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let targets = format!("/certificates/{id}/push-targets");
    let made = account.client.post(&targets, &json!({ "address": address.to_string() })).await?.expect(201)?;
    let (key, target) = (made["client_key"].as_str().context("a key")?, format!("{targets}/{}", made["id"].as_str().context("id")?));
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    elsewhere.set_nonblocking(true)?;
    let (scratch, redirect) = (tempfile::tempdir()?, format!("https://{}/", elsewhere.local_addr()?));
    let mut client = Client::start(scratch.path(), address, key, "open 401 307", &redirect).await?;
    system.worker.start().await?;

    let first = account.becomes(&id, "issued").await?;
    let pushed = client.next().await?;
    ensure!(pushed == in_use(&account, &id).await?, "another than a download gives");
    let first = first["current_version"]["id"].clone();
    ensure!(delivered(&account, &target, 1).await?["attempts"][0]["version_id"] == first);

    // A renewal, to a client that refuses it, and then leads elsewhere.
    account.client.post(&format!("/certificates/{id}/renew"), &json!({})).await?.expect(202)?;
    account.becomes(&id, "issued").await?;
    let database = system.database().await?;
    let due =
        "UPDATE webhook_deliveries SET next_attempt_at = now() - interval '11 seconds' WHERE status = 'pending' AND claimed_until IS NULL";
    let forget = "DELETE FROM apalis.jobs WHERE job_type = 'webhook' AND status = 'Done'";
    let renewed = wait::until("the push is delivered", PATIENCE, async || {
        database.batch_execute(&format!("{due}; {forget}")).await?;
        let newest = newest(&account, &target).await?;
        Ok((newest["status"] == "delivered" && newest["attempts"][0]["status"] == 401).then_some(newest))
    })
    .await?;
    ensure!(renewed["attempts"][0]["error"].as_str().is_some_and(|error| error.contains("another key")), "{renewed}");
    ensure!(renewed["attempts"][1]["status"] == 307 && renewed["attempts"].as_array().is_some_and(|all| all.len() == 3), "{renewed}");
    ensure!(elsewhere.accept().is_err(), "a redirect was followed");
    let (second, pushed_again) = (renewed["attempts"][2]["version_id"].clone(), client.next().await?);
    ensure!(second != first && pushed_again == in_use(&account, &id).await? && pushed_again != pushed);

    // Once more by hand, and then back to the first version.
    let versions = format!("/certificates/{id}/versions");
    let again = format!("{versions}/{}/post-process", second.as_str().context("a version")?);
    let answer = account.client.post(&again, &json!({})).await?.expect(202)?;
    ensure!(answer["push_target_ids"] == json!([made["id"]]), "{answer}");
    ensure!(client.next().await? == pushed_again);
    account.client.post(&format!("{versions}/{}/activate", first.as_str().context("a version")?), &json!({})).await?.expect(200)?;
    ensure!(client.next().await? == pushed);
    ensure!(account.client.post(&again, &json!({})).await?.expect(409)?["code"] == "version_not_in_use");

    let back = wait::until("it is noted", PATIENCE, async || {
        let logs = account.client.get(&format!("/certificates/{id}/logs?limit=100")).await?.expect(200)?.to_string();
        Ok((logs.matches("\"push_delivered\"").count() == 4).then_some(logs))
    })
    .await?;
    ensure!(back.contains("push_failed") && back.contains("post_processing_requested") && back.contains(&address.to_string()));
    // No secret is where it could be read.
    let kept = "SELECT coalesce(string_agg(told, ''), '') FROM (SELECT webhook_deliveries::text FROM webhook_deliveries UNION ALL SELECT events::text FROM events
         UNION ALL SELECT audit_log::text FROM audit_log) AS all_of_it (told)";
    let kept: String = database.query_one(kept, &[]).await?.get(0);
    ensure!(!kept.is_empty() && !kept.contains("BEGIN") && !kept.contains(key), "a secret was kept");
    Ok(())
}
