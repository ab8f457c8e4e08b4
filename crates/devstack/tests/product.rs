//! The product's processes on a stack.

use std::time::Duration;

use anyhow::{Result, bail};
use zonecert_devstack::product::{Role, setting};
use zonecert_devstack::{Product, shared, wait};

async fn health(api_url: &str) -> Result<u16> {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only(Vec::<reqwest::Certificate>::new()).build()?;
    Ok(client.get(format!("{api_url}/healthz")).send().await?.status().as_u16())
}

#[tokio::test]
async fn api_and_worker_run_and_can_be_killed_and_started_again() -> Result<()> {
    let product = Product::fresh(&shared().await?).await?;
    let (mut api, mut worker) = (product.serve().await?, product.work().await?);
    assert_eq!(health(api.api_url()).await?, 200);
    let first_run_is_logged = async || Ok(worker.log()?.contains("the worker takes jobs").then_some(()));
    wait::until("the worker takes jobs", Duration::from_secs(30), first_run_is_logged).await?;
    let before = (api.pid(), worker.pid());
    api.kill().await?;
    worker.kill().await?;
    assert!(health(api.api_url()).await.is_err());
    api.start().await?;
    worker.start().await?;
    assert_eq!(health(api.api_url()).await?, 200);
    assert!(api.pid() != before.0 && worker.pid() != before.1);
    let both_runs_are_logged = async || Ok((worker.log()?.matches("the worker takes jobs").count() == 2).then_some(()));
    wait::until("the worker takes jobs again", Duration::from_secs(30), both_runs_are_logged).await?;
    worker.check()?;
    worker.stop().await?;
    api.stop().await
}

#[tokio::test]
async fn one_process_can_be_both() -> Result<()> {
    let product = Product::fresh(&shared().await?).await?;
    let mut all = product.all().await?;
    assert_eq!(health(all.api_url()).await?, 200);
    all.stop().await
}

#[tokio::test]
async fn each_fresh_product_has_a_database_of_its_own() -> Result<()> {
    let stack = shared().await?;
    let (one, other) = (Product::fresh(&stack).await?, Product::fresh(&stack).await?);
    let created = one.create_account("a@zonecert.test", &zonecert_devstack::random_password(), "pro").await?;
    assert_eq!(created["account"]["plan"], "pro");
    for (product, expected) in [(&one, 1), (&other, 0)] {
        let admin = stack.postgres.connect_as_admin(product.database()).await?;
        assert_eq!(admin.query_one("SELECT count(*) FROM accounts", &[]).await?.get::<_, i64>(0), expected);
    }
    Ok(())
}

#[tokio::test]
async fn what_a_command_complains_about_is_in_the_error() -> Result<()> {
    let product = Product::fresh(&shared().await?).await?;
    match product.run(Role::Owner, &["admin", "set-plan", "nobody@zonecert.test", "pro"]).await {
        Ok(answer) => bail!("a plan was set for nobody: {answer}"),
        Err(error) => assert!(format!("{error:#}").contains("nobody signs in with nobody@zonecert.test"), "{error:#}"),
    }
    let product = product.with(setting::LISTEN, "nowhere");
    match product.serve().await {
        Ok(_) => bail!("the API listens nowhere"),
        Err(error) => assert!(format!("{error:#}").contains(setting::LISTEN), "{error:#}"),
    }
    Ok(())
}
