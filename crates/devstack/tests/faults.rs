//! What a client sees of the faults that our proxies put in.

use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Certificate;
use serde_json::Value;
use tokio_postgres::{Client, NoTls};
use zonecert_devstack::{DatabaseProxy, Fault, PowerDnsProxy, Traffic, shared};

const A_WHILE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn an_answer_is_refused_spoilt_or_broken_off_as_often_as_was_said() -> Result<()> {
    let stack = shared().await?;
    let proxy = PowerDnsProxy::before(&stack.powerdns).await?;
    let client = reqwest::Client::builder().no_proxy().tls_certs_only(Vec::<Certificate>::new()).build()?;
    let url = format!("{}/api/v1/servers/localhost", proxy.api_url());
    let get = async || client.get(&url).header("X-API-Key", stack.powerdns.api_key()).send().await;
    ensure!(get().await?.json::<Value>().await?["id"] == "localhost", "what nothing strikes passes");

    let refusal = proxy.strike("GET /api/v1", Fault::Refused { status: 429, retry_after: Some(7) }, 2);
    for _ in 0..2 {
        let refused = get().await?;
        ensure!(refused.status() == 429 && refused.headers()["retry-after"] == "7");
    }
    ensure!(get().await?.status() == 200 && refusal.times() == 2);

    let _fault = proxy.strike("GET /api/v1", Fault::DoneButAnswered(500), 1);
    ensure!(get().await?.status() == 500);
    let _fault = proxy.strike("GET /api/v1", Fault::Malformed, 1);
    ensure!(get().await?.json::<Value>().await.is_err());
    let _fault = proxy.strike("GET /api/v1", Fault::BrokenOff, 1);
    let broken_off = get().await?;
    ensure!(broken_off.status() == 200 && broken_off.text().await.is_err(), "its beginning comes, and its end does not");
    let others = proxy.strike("PATCH /api/v1", Fault::BrokenOff, 1);
    ensure!(get().await?.status() == 200 && others.times() == 0);
    Ok(())
}

#[tokio::test]
async fn connections_to_the_database_stall_go_on_and_are_cut() -> Result<()> {
    let stack = shared().await?;
    let proxy = DatabaseProxy::before(&stack.postgres).await?;
    let url = stack.postgres.admin_url().replace(&format!(":{}/", stack.postgres.port()), &format!(":{}/", proxy.port()));
    let client = connect(&url).await?;
    client.execute("SELECT 1", &[]).await?;

    proxy.set(Traffic::Stalls);
    ensure!(tokio::time::timeout(A_WHILE, client.execute("SELECT 1", &[])).await.is_err(), "nothing comes");
    proxy.set(Traffic::Flows);
    client.execute("SELECT 1", &[]).await?;

    proxy.cut_once();
    ensure!(client.execute("SELECT 1", &[]).await.is_err());
    let client = connect(&url).await?;
    proxy.set(Traffic::Cut);
    ensure!(client.execute("SELECT 1", &[]).await.is_err() && connect(&url).await.is_err());
    proxy.set(Traffic::Flows);
    connect(&url).await?.execute("SELECT 1", &[]).await?;
    Ok(())
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with the client, or says at its next call what has happened.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
