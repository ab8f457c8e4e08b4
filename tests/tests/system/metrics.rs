//! Readiness beside the page of metrics, of API and worker.

use anyhow::Result;
use serde_json::Value;
use zonecert_devstack::product::{Product, ProductProcess, setting};
use zonecert_devstack::{shared, wait};
use zonecert_tests::{PATIENCE, System};

/// With a page of metrics for each process.
pub(crate) fn monitored(product: Product) -> Product {
    product.with(setting::METRICS_LISTEN, "127.0.0.1:0")
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
