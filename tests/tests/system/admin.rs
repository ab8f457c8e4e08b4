//! `zonecert admin`: what waits and fails is seen, pushed on and ended; a worker is drained; the doctor finds what is wrong.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zonecert_devstack::product::{Product, Role, setting};
use zonecert_devstack::{shared, wait};
use zonecert_tests::{PATIENCE, System};

/// Runs a command of the operator's that prints JSON.
async fn admin(product: &Product, arguments: &[&str]) -> Result<Value> {
    let arguments: Vec<&str> = ["admin"].into_iter().chain(arguments.iter().copied()).chain(["--json"]).collect();
    let said = product.run(Role::Owner, &arguments).await?;
    serde_json::from_str(&said).with_context(|| format!("{arguments:?} printed {said}"))
}

#[tokio::test]
async fn what_waits_is_shown_with_its_age_and_whose_it_is() -> Result<()> {
    let mut system = System::start(&shared().await?).await?;
    let (account, zone) = system.account_with_zone("elite").await?;
    system.worker.stop().await?;
    let id = account.request(&zone, "app", &[]).await?;
    let queue = admin(&system.product, &["queue"]).await?;
    assert_eq!((&queue["queues"]["issue"]["due"], &queue["workers"]["working"]), (&1.0.into(), &0.0.into()), "{queue}");
    let waiting = &queue["waiting"][0];
    assert!(waiting["id"].as_str().is_some_and(|id| id.starts_with("iss_")) && waiting["account_id"].is_string(), "{queue}");
    let text = system.product.run(Role::Owner, &["admin", "queue"]).await?;
    assert!(text.contains("issue    1    ") && text.contains("0 working"), "{text}");

    system.worker.start().await?;
    account.becomes(&id, "issued").await?;
    let queue = admin(&system.product, &["queue"]).await?;
    assert_eq!(queue["queues"]["issue"]["due"], 0.0, "{queue}");
    Ok(())
}

#[tokio::test]
async fn an_issuance_that_rests_is_listed_retried_and_cancelled() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let dead = |product: Product| {
        product.with(setting::ACME_DIRECTORY, format!("https://{free}/directory")).with(setting::RETRY_LADDER_SECONDS, "3600")
    };
    let system = System::start_with(&shared().await?, dead).await?;
    let (account, zone) = system.account_with_zone("elite").await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.logs(&id, "attempt_failed").await?;
    let stuck = admin(&system.product, &["issuances"]).await?;
    let issuance = &stuck["issuances"][0];
    assert_eq!((&issuance["certificate_id"], &issuance["attempts"]), (&id.as_str().into(), &1.into()), "{stuck}");
    assert!(issuance["failure"]["code"].is_string() && issuance["domain"] == format!("app.{}", zone.name), "{stuck}");

    let retried = admin(&system.product, &["retry", issuance["id"].as_str().context("id")?]).await?;
    assert_eq!(retried["issuance_id"], issuance["id"]);
    wait::until("another attempt has failed", PATIENCE, async || {
        let stuck = admin(&system.product, &["issuances"]).await?;
        Ok((stuck["issuances"][0]["attempts"] == 2).then_some(()))
    })
    .await?;
    admin(&system.product, &["cancel", &id]).await?;
    account.logs(&id, "issuance_cancelled").await?;
    account.becomes(&id, "failed").await?;
    ensure!(admin(&system.product, &["cancel", &id]).await.is_err(), "nothing is left to be cancelled");
    let audit = account.client.get("/audit").await?.expect(200)?.to_string();
    assert!(audit.contains("issuance.retried") && audit.contains("issuance.cancel_requested") && audit.contains("operator"), "{audit}");

    let begun = admin(&system.product, &["retry", &id]).await?;
    assert_ne!(begun["issuance_id"], issuance["id"], "another one was begun");
    let unknown = admin(&system.product, &["retry", "cert_00000000000000000000000000000000"]).await;
    assert!(unknown.is_err_and(|error| format!("{error:#}").contains("there is no cert_")));
    Ok(())
}

#[tokio::test]
async fn a_drained_worker_finishes_what_it_has_and_takes_nothing_new_until_it_is_taken_back() -> Result<()> {
    let slow = |product: Product| product.with(setting::PROPAGATION_SECONDS, "4");
    let mut system = System::start_with(&shared().await?, slow).await?;
    let (account, zone) = system.account_with_zone("elite").await?;
    let first = account.request(&zone, "first", &[]).await?;
    account.logs(&first, "key_prepared").await?;
    let workers = admin(&system.product, &["workers"]).await?;
    let name = workers["workers"][0]["name"].as_str().context("name")?.to_owned();
    assert_eq!(workers["workers"][0]["state"], "working");

    let drained = admin(&system.product, &["drain", &name, "--wait-seconds", "60"]).await?;
    assert_eq!((&drained["drained"], &drained["in_hand"]), (&true.into(), &0.into()));
    account.becomes(&first, "issued").await?;
    let orders = system.count(&first, "SELECT count(*) FROM orders WHERE certificate_id::text = $1").await?;
    assert_eq!(orders, 1);
    wait::until("the worker says that it is drained", PATIENCE, async || {
        Ok(system.worker.log()?.contains("drained: nothing is in hand").then_some(()))
    })
    .await?;

    let second = account.request(&zone, "second", &[]).await?;
    wait::until("it has waited for three seconds", PATIENCE, async || {
        let queue = admin(&system.product, &["queue"]).await?;
        Ok((queue["queues"]["issue"]["oldest_due_seconds"].as_f64() > Some(3.0)).then_some(()))
    })
    .await?;
    assert_eq!(account.certificate(&second).await?["status"], "pending");
    admin(&system.product, &["drain", &name, "--off"]).await?;
    account.becomes(&second, "issued").await?;

    admin(&system.product, &["drain", &name]).await?;
    system.worker.stop().await?;
    let workers = admin(&system.product, &["workers"]).await?;
    assert_eq!(workers["workers"], serde_json::json!([]), "one that has stopped is gone");
    Ok(())
}

fn verdict<'a>(said: &'a Value, name: &str) -> &'a Value {
    let checks = said["checks"].as_array().into_iter().flatten();
    checks.into_iter().find(|check| check["name"] == name).map_or(&Value::Null, |check| &check["verdict"])
}

#[tokio::test]
async fn the_doctor_finds_a_healthy_service_well() -> Result<()> {
    let system = System::start(&shared().await?).await?;
    let (account, zone) = system.account_with_zone("elite").await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    let said = admin(&system.product, &["doctor"]).await?;
    assert_eq!(said["well"], true, "{said:#}");
    for name in [
        "database",
        "migrations",
        "row-level security",
        "roles",
        "master keys",
        "clock",
        "queues",
        "workers",
        "CA",
        "PowerDNS",
        "resolver",
        "name servers",
    ] {
        assert_eq!(verdict(&said, name), "well", "{name}: {said:#}");
    }
    Ok(())
}

#[tokio::test]
async fn the_doctor_names_each_thing_that_is_wrong_with_a_remedy_and_ends_with_1() -> Result<()> {
    let mut system = System::start(&shared().await?).await?;
    system.account_with_zone("elite").await?;
    system.worker.stop().await?;
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let keys = tempfile::NamedTempFile::new()?;
    std::fs::write(keys.path(), "other:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
    system.database().await?.batch_execute("ALTER TABLE zones NO FORCE ROW LEVEL SECURITY").await?;
    let product = system
        .product
        .with(setting::MASTER_KEYS_FILE, keys.path().display().to_string())
        .with(setting::ACME_DIRECTORY, format!("https://{free}/directory"))
        .with(setting::POWERDNS_URL, format!("http://{free}"))
        .with(setting::RESOLVER, free.to_string())
        .with(setting::PROPAGATION_CHECK, free.to_string())
        .with(setting::SMTP_URL, format!("smtp://{free}?tls=none"));
    let failed = product.run(Role::Owner, &["admin", "doctor"]).await;
    let Err(error) = failed else { anyhow::bail!("the doctor finds nothing wrong") };
    let text = format!("{error:#}");
    assert!(text.contains("exit status: 1"), "{text}");
    let said = product.run_anyway(Role::Owner, &["admin", "doctor", "--json"]).await?;
    let said: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    assert_eq!(said["well"], false);
    for name in ["row-level security", "master keys", "workers", "CA", "PowerDNS", "resolver", "name servers", "mail"] {
        assert_eq!(verdict(&said, name), "wrong", "{name}: {said:#}");
    }
    for check in said["checks"].as_array().context("checks")?.iter().filter(|check| check["verdict"] == "wrong") {
        assert!(check["remedy"].as_str().is_some_and(|remedy| remedy.len() > 10), "{check}");
    }
    Ok(())
}
