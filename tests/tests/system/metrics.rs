//! The page of metrics and readiness beside it, of API and worker.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use zonecert_devstack::product::{Product, ProductProcess, setting};
use zonecert_devstack::{shared, unique_label, wait};
use zonecert_tests::metrics::{Page, dashboard_file, names_in, promtool, rules_file};
use zonecert_tests::{Account, PATIENCE, System, Zone};

/// With a page of metrics for each process.
pub(crate) fn monitored(product: Product) -> Product {
    product.with(setting::METRICS_LISTEN, "127.0.0.1:0").with(setting::CA_LIMITS, "order=300/10800")
}

/// A worker shows what it counts once it has all its parts.
pub(crate) fn counts(worker: &Page) -> bool {
    worker.names().contains("zonecert_worker_taking_jobs")
}

async fn readiness(process: &ProductProcess) -> Result<(u16, String, Value)> {
    let url = wait::until("the page is there", PATIENCE, async || Ok(process.metrics_url())).await?;
    let response = reqwest::get(format!("{url}/readyz")).await?;
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    Ok((response.status().as_u16(), kind, response.json().await?))
}

#[tokio::test]
async fn a_process_is_ready_while_the_database_is_there_and_as_new_as_the_program() -> Result<()> {
    let system = System::start_with(&shared().await?, monitored).await?;
    let processes = [&system.api, &system.worker];
    for process in processes {
        assert_eq!(readiness(process).await?.0, 200);
    }
    let database = system.database().await?;
    let newest = "DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)";
    database.execute(newest, &[]).await?;
    for process in processes {
        let (status, kind, problem) = readiness(process).await?;
        assert_eq!((status, kind.as_str(), &problem["code"]), (503, "application/problem+json", &"database_not_migrated".into()));
    }
    system.close_database().await?;
    for process in processes {
        let (status, kind, problem) = readiness(process).await?;
        assert_eq!((status, kind.as_str(), &problem["code"]), (503, "application/problem+json", &"database_unavailable".into()));
    }
    Ok(())
}

/// A certificate that renews by itself, issued.
async fn issued(system: &System) -> Result<(Account, Zone, String)> {
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let wish = json!({ "zone_id": zone.id, "domain": format!("app.{}", zone.name), "auto_renew": true });
    let certificate = account.client.post("/certificates", &wish).await?.expect(202)?;
    let id = certificate["id"].as_str().context("id")?.to_owned();
    account.becomes(&id, "issued").await?;
    Ok((account, zone, id))
}

/// What a histogram is called in the text format.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

#[tokio::test]
async fn every_metric_that_rules_and_dashboard_name_is_on_a_page_and_the_dashboard_shows_all() -> Result<()> {
    let system = System::start_with(&shared().await?, monitored).await?;
    let (rules, dashboard) = (std::fs::read_to_string(rules_file())?, std::fs::read_to_string(dashboard_file())?);
    let fresh = [Page::of(&system.api).await?, Page::until(&system.worker, "the worker counts", counts).await?];
    for counter in names_in(&rules).into_iter().filter(|name| name.ends_with("_total")) {
        let values: Vec<f64> = fresh.iter().filter(|page| page.names().contains(counter)).map(|page| page.sum(counter, &[])).collect();
        ensure!(!values.is_empty() && values.iter().all(|value| *value == 0.0), "{counter} is not there at 0: {values:?}");
    }

    issued(&system).await?;
    let renews = |page: &Page| page.get("zonecert_certificate_nearest_expiry_seconds").is_some();
    let api = Page::until(&system.api, "a certificate renews by itself", renews).await?;
    let took = |page: &Page| page.sum("zonecert_issuance_seconds_count", &[]) > 0.0;
    let worker = Page::until(&system.worker, "an issuance was timed", took).await?;
    let there: BTreeSet<&str> = api.names().into_iter().chain(worker.names()).collect();
    for (file, text) in [("alerts.yml", &rules), ("dashboard.json", &dashboard)] {
        let missing: Vec<&str> = names_in(text).into_iter().filter(|name| !there.contains(name)).collect();
        ensure!(missing.is_empty(), "{file} names what is on no page: {missing:?}");
    }
    let shown: BTreeSet<&str> = names_in(&dashboard).into_iter().map(family).collect();
    let unseen: Vec<&str> = there.into_iter().filter(|name| !shown.contains(family(name))).collect();
    ensure!(unseen.is_empty(), "the dashboard does not show {unseen:?}");
    Ok(())
}

/// Whoever asks, and for what, makes no series: labels are words of ours, templates of routes, and what the operator has set.
#[tokio::test]
async fn pages_are_well_formed_and_no_label_comes_from_a_customer() -> Result<()> {
    let system = System::start_with(&shared().await?, monitored).await?;
    let (account, zone, id) = issued(&system).await?;
    let made_up = unique_label();
    for (method, path) in [
        ("GET", format!("/certificates/{id}")),
        ("GET", format!("/zones/{}/records?name={made_up}", zone.id)),
        ("GET", format!("/{made_up}")),
        ("BREW", "/certificates".to_owned()),
    ] {
        account.client.send(Method::from_bytes(method.as_bytes())?, &path, None).await?;
    }
    let described: Value = serde_saphyr::from_str(&std::fs::read_to_string(rules_file().with_file_name("../../openapi.yaml"))?)?;
    let routes = described["paths"].as_object().context("paths")?;
    let directory = system.product.stack().pebble.directory_url();
    let bare = |id: &str| id.rsplit('_').next().unwrap_or_default().to_owned();
    let customers = [account.email, bare(&zone.id), zone.name, bare(&id), made_up];
    let is_word = |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    for process in [&system.api, &system.worker] {
        let page = Page::of(process).await?;
        promtool(&["check", "metrics"], &page.text)?;
        for (label, values) in page.labels() {
            for value in values {
                let is_known = match label {
                    "route" => value == "none" || routes.contains_key(value),
                    "directory" => value == directory,
                    "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                    "version" => value == described["info"]["version"],
                    _ => is_word(value),
                };
                ensure!(is_known, "{label}: {value}");
            }
        }
        for customer in &customers {
            let is_there = page.text.contains(customer) || page.text.replace('-', "").contains(customer);
            ensure!(!is_there, "{customer} is on the page");
        }
        for name in page.names().into_iter().filter(|name| !name.ends_with("_bucket")) {
            let series = page.series().into_keys().filter(|series| series.split('{').next() == Some(name)).count();
            ensure!(series <= 250, "{name} has {series} series");
        }
    }
    Ok(())
}
