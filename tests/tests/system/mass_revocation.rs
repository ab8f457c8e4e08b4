//! A drill: the CA is about to revoke all that it has issued, and says so by moving every window (RFC 9773). Each certificate is replaced inside its window, not all of them at
//! its beginning, and nobody else has to wait for it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{RenewalInfoAnswer, RenewalInfoDirectory, shared, wait};
use zonecert_tests::{PATIENCE, System};

/// In two accounts.
const EACH: usize = 20;
/// Longer than the CA would give anybody less than 24 hours; long enough for a busy machine.
const WINDOW_SECONDS: i32 = 40;

#[tokio::test]
async fn every_certificate_that_the_ca_is_about_to_revoke_is_replaced_in_time_and_others_do_not_wait() -> Result<()> {
    let stack = shared().await?;
    let ca = RenewalInfoDirectory::before(&stack.pebble).await?;
    let settings = |product: Product| {
        product
            .at_ca(ca.directory_url(), ca.ca_file())
            .with(setting::RENEWAL_SCAN_SECONDS, "1")
            .with(setting::PROPAGATION_SECONDS, "0.1")
            .with(setting::WORKER_CONCURRENCY, "8")
    };
    let system = System::start_with(&stack, settings).await?;
    let database = system.database().await?;
    let mut names = Vec::new();
    for _ in 0..2 {
        let account = system.account("elite").await?;
        let zone = system.verified_zone(&account).await?;
        for number in 0..EACH {
            // Keys are not what this is about.
            let domain = format!("app{number}.{}", zone.name);
            let wish = serde_json::json!({"zone_id": zone.id, "domain": domain, "key_algorithm": "ecdsa_p256"});
            account.client.post("/certificates", &wish).await?.expect(202)?;
            names.push(domain);
        }
    }
    let all = i64::try_from(names.len())?;
    let count = async |condition: &str| -> Result<i64> {
        let query = format!("SELECT count(*) FROM certificates WHERE {condition}");
        Ok(database.query_one(&query, &[]).await?.get(0))
    };
    wait::until("all are issued", PATIENCE, async || Ok((count("status = 'issued'").await? == all).then_some(()))).await?;

    // Whoever is still being asked about would have the answer of before recorded after the question that follows.
    let asked = "renewal_info_checked_at IS NOT NULL OR renewal_info_failures > 0";
    wait::until("the CA was asked about all", PATIENCE, async || Ok((count(asked).await? == all).then_some(()))).await?;

    let row = database
        .query_one(
            "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                 to_char(now() AT TIME ZONE 'UTC' + make_interval(secs => $1), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
            &[&f64::from(WINDOW_SECONDS)],
        )
        .await?;
    let (start, end): (String, String) = (row.get(0), row.get(1));
    let explanation_url = Some("https://ca.test/incident".to_owned());
    ca.answer(RenewalInfoAnswer::Window { start: start.clone(), end: end.clone(), explanation_url, retry_after: Some("3600".to_owned()) });
    database.execute("UPDATE certificates SET renewal_info_due_at = now()", &[]).await?;

    // Somebody else comes in the middle of it, and is served while the others are still at it.
    wait::until("a quarter is replaced", PATIENCE, async || Ok((replaced(&database).await? >= all / 4).then_some(()))).await?;
    let other = system.account("plus").await?;
    let zone = system.verified_zone(&other).await?;
    let id = other.request(&zone, "app", &[]).await?;
    other.becomes(&id, "issued").await?;
    ensure!(replaced(&database).await? < all, "whoever came in the middle was served after everybody else");

    wait::until("all are replaced", PATIENCE, async || Ok((replaced(&database).await? == all).then_some(()))).await?;
    let late = format!("SELECT count(*) FROM issuances WHERE reason = 'renewal' AND NOT finished_at BETWEEN '{start}' AND '{end}'");
    let late: i64 = database.query_one(&late, &[]).await?.get(0);
    ensure!(late == 0, "{late} were replaced outside of their window");
    let fullest = format!(
        "SELECT max(count) FROM (SELECT count(*) FROM issuances WHERE reason = 'renewal'
             GROUP BY width_bucket(extract(epoch FROM created_at - '{start}'::timestamptz)::float8, 0, {WINDOW_SECONDS}, 5)) AS fifths"
    );
    let fullest: i64 = database.query_one(&fullest, &[]).await?.get(0);
    ensure!(fullest <= all / 2, "{fullest} of {all} began in one fifth of the window");
    let seen = ca.seen();
    for name in names {
        let orders = seen.orders_for(&name);
        let [_, replacement] = orders.as_slice() else { anyhow::bail!("{name}: {orders:?}") };
        replacement.replaces.as_ref().with_context(|| format!("the order for {name} does not say what it replaces"))?;
    }
    ensure!(count("status <> 'issued'").await? == 0);
    wait::until("the CA is asked about the new ones, and they are left alone", Duration::from_secs(30), async || {
        let left = count("renewal_info_start IS NOT NULL AND renewal_due_at > now() + interval '23 hours'").await?;
        Ok((left >= all).then_some(()))
    })
    .await
}

async fn replaced(database: &tokio_postgres::Client) -> Result<i64> {
    let done = "SELECT count(*) FROM issuances WHERE reason = 'renewal' AND status = 'succeeded'";
    Ok(database.query_one(done, &[]).await?.get(0))
}
