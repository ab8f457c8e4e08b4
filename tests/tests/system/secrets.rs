//! Nothing secret is written down in the clear.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use zonecert_devstack::product::{Role, setting};
use zonecert_devstack::{shared, unique_label};
use zonecert_tests::{Client, System};

#[tokio::test]
async fn neither_the_database_nor_any_log_holds_a_key_a_password_or_a_token() -> Result<()> {
    let stack = shared().await?;
    let loud = "info,zonecert=trace,zonecert_api=trace,zonecert_store=trace,zonecert_worker=trace,zonecert_domain=trace,zonecert_pki=trace";
    let system = System::start_with(&stack, |product| product.with(setting::LOG, loud)).await?;

    // A person who registers, signs in wrongly and rightly, refreshes and signs out; an operator's account with a token and a certificate.
    let anonymous = Client::new(system.api.api_url(), None)?;
    let password = format!("correct horse {}", unique_label());
    let email = format!("{}@customers.test", unique_label());
    let person = json!({ "email": email, "password": password, "account_name": "Shop" });
    let registered = anonymous.post("/auth/register", &person).await?.expect(201)?;
    let wrong = format!("wrong horse {}", unique_label());
    anonymous.post("/auth/login", &json!({ "email": email, "password": wrong })).await?.expect(401)?;
    let login = anonymous.post("/auth/login", &json!({ "email": email, "password": password })).await?.expect(200)?;
    let refreshed = anonymous.post("/auth/refresh", &json!({ "refresh_token": login["refresh_token"] })).await?.expect(200)?;
    let account = system.account("elite").await?;
    let scopes = ["certificates:read", "certificates:write", "keys:read", "zones:read", "zones:write"];
    let token = account.client.post("/tokens", &json!({ "name": "deploy", "scopes": scopes })).await?.expect(201)?;
    let token = token["token"].as_str().context("token")?.to_owned();
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &["www"]).await?;
    account.becomes(&id, "issued").await?;
    let by_token = Client::new(system.api.api_url(), Some(&token))?;
    let download = by_token.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
    let key = by_token.get(&format!("/certificates/{id}/key")).await?;
    ensure!(key.text.starts_with("-----BEGIN PRIVATE KEY-----"), "the key is PEM");
    let query_string = format!("/certificates?token={token}");
    by_token.get(&query_string).await?;

    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).context("a text");
    let key_line = key.text.lines().nth(1).context("a line of the key")?.to_owned();
    let mut secrets = vec![
        ("private key", key_line),
        ("password", password),
        ("wrong password", wrong),
        ("operator's password", account.password.clone()),
        ("API token", token),
        ("access token", account.access_token.clone()),
    ];
    for (what, answer) in [("registration", &registered), ("login", &login), ("refresh", &refreshed)] {
        secrets.push((what, text(&answer["access_token"])?));
        secrets.push((what, text(&answer["refresh_token"])?));
    }
    for role in [Role::Api, Role::Worker] {
        for name in [setting::API_DB_PASSWORD, setting::WORKER_DB_PASSWORD, setting::POWERDNS_API_KEY] {
            secrets.push((name, system.product.environment(role)[name].clone()));
        }
    }
    let master_keys = std::fs::read_to_string(&system.product.environment(Role::Api)[setting::MASTER_KEYS_FILE])?;
    secrets.push(("master key", master_keys.trim().split_once(':').context("id:key")?.1.to_owned()));

    let dump = dump(&system)?;
    ensure!(dump.contains(&zone.name) && dump.contains(&id.trim_start_matches("cert_")[..8]), "the dump holds what was stored");
    let (api_log, worker_log) = (system.api.log()?, system.worker.log()?);
    ensure!(api_log.contains("/api/v1/auth/login"), "the API logs its requests");
    ensure!(worker_log.contains("DEBUG"), "the worker logs at trace");
    for (place, held) in [("database", &dump), ("log of the API", &api_log), ("log of the worker", &worker_log)] {
        ensure!(!held.contains("PRIVATE KEY"), "the {place} holds a private key");
        for (what, secret) in &secrets {
            ensure!(!held.contains(secret.as_str()), "the {place} holds the {what}");
        }
    }
    // What is binary in the database is dumped as hexadecimal: the key's DER must not be there either.
    let der = decode_base64(&key.text.lines().filter(|line| !line.starts_with('-')).collect::<String>())?;
    // In RSA-2048 the private exponent; before it stands the modulus, which is public.
    let hexadecimal = hex::encode(&der[400..432]);
    ensure!(!dump.contains(&hexadecimal), "the database holds the key as bytes");
    ensure!(download["private_key"] == key.text.as_str(), "both ways of reading the key agree");
    Ok(())
}

fn dump(system: &System) -> Result<String> {
    let output = Command::new("pg_dump").arg("--inserts").arg(system.product.database_url(Role::Owner)).output().context("pg_dump")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // Row-level security binds the owner too; the superuser sees all.
    let url = system.product.stack().postgres.admin_url_of(system.product.database());
    let output = Command::new("pg_dump").args(["--inserts", &url]).output().context("pg_dump")?;
    ensure!(output.status.success(), "pg_dump failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn decode_base64(text: &str) -> Result<Vec<u8>> {
    let mut child = Command::new("openssl")
        .args(["base64", "-d", "-A"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().context("stdin")?, text.as_bytes())?;
    Ok(child.wait_with_output()?.stdout)
}
