//! `cargo xtask bench scan`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use reqwest::StatusCode;
use tokio_postgres::Client;

use super::median;
use super::service::Service;
use crate::api::{Api, text};
use crate::report::say;

/// Certificates that are due, however many are stored.
const DUE: u32 = 100;
const EMAIL: &str = "scan@zonecert.test";
const FEW: u32 = 1_000;
const PER_TENANT: u32 = 100;
/// What a scan may cost more among many than among few.
const ALLOWED: f64 = 1.3;
const PAGE: u32 = 25;
const LAST_PAGE: u32 = 400;

#[derive(Args)]
#[command(
    about = "Measure a scan for due renewals with a thousand and with a million certificates stored, and the first and the 400th page of a list",
    long_about = "Measure a scan for due renewals with a thousand and with a million certificates stored, of which 100 are due, and the first and the 400th page of a list, on a \
stack of its own under .dev/bench-scan. Fails when the scan costs more than 1.3 times as much among many, or reads the table from end to end."
)]
pub(super) struct Scan {
    /// How many certificates are stored in the end
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(20_000..=10_000_000))]
    certificates: u32,
    /// How often each is measured
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    rounds: u32,
    /// Use this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl Scan {
    pub(super) async fn measure(&self) -> Result<()> {
        let service = Service::start(self.binary.as_deref(), "bench-scan", EMAIL).await?;
        let database = service.connect().await?;

        insert_tenants(&database, 0, FEW).await?;
        let among_few = self.scan(&database).await?;
        say(&format!("{FEW} certificates stored: a scan takes {among_few:.3} ms"));
        // One account has enough for all pages.
        insert_of_account(&database, PAGE * LAST_PAGE).await?;
        insert_tenants(&database, FEW, self.certificates - PAGE * LAST_PAGE).await?;
        let stored: i64 = database.query_one("SELECT count(*) FROM certificates", &[]).await?.get(0);
        say(&format!("{stored} certificates stored"));
        let among_many = self.scan(&database).await?;
        let plan = explain(&database).await?;
        let (first, last) = self.list(&service.api).await?;
        service.stop().await?;

        let ratio = among_many / among_few;
        println!(
            "
A scan that finds {DUE} due renewals, median of {} rounds
  {FEW:>9} certificates stored   {among_few:.3} ms
  {stored:>9} certificates stored   {among_many:.3} ms
  ratio {ratio:.2} (at most {ALLOWED})

{plan}

The list of one account with {} certificates, {PAGE} a page
  page 1     {first:.2} ms
  page {LAST_PAGE}   {last:.2} ms
  ratio {:.2}",
            self.rounds,
            PAGE * LAST_PAGE,
            last / first,
        );
        ensure!(plan.contains("certificates_renewal_due_at_idx") && !plan.contains("Seq Scan"), "the scan does not use its index");
        ensure!(ratio <= ALLOWED, "a scan costs {ratio:.2} times as much among many as among few");
        Ok(())
    }

    /// Milliseconds of one scan, whose claims are taken back.
    async fn scan(&self, database: &Client) -> Result<f64> {
        database.batch_execute("VACUUM ANALYZE certificates").await?;
        let mut times = Vec::new();
        for _ in 0..=self.rounds {
            database.batch_execute("BEGIN; SET LOCAL ROLE zonecert_worker").await?;
            let begun = Instant::now();
            let found = database.query("SELECT account_id, id FROM sweep_due_renewals(interval '10 minutes', 100)", &[]).await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            database.batch_execute("ROLLBACK").await?;
            ensure!(found.len() == DUE as usize, "{} were due", found.len());
        }
        Ok(middle(times))
    }

    /// Milliseconds of the first page and of the last, asked for in turns.
    async fn list(&self, api: &Api) -> Result<(f64, f64)> {
        let first = format!("/certificates?limit={PAGE}");
        let mut last = first.clone();
        for _ in 1..LAST_PAGE {
            let page = api.get(&last).await?.expect(StatusCode::OK)?;
            last = format!("{first}&cursor={}", text(&page, "next_cursor")?);
        }
        let (mut of_first, mut of_last) = (Vec::new(), Vec::new());
        for _ in 0..=self.rounds {
            for (path, times) in [(&first, &mut of_first), (&last, &mut of_last)] {
                let begun = Instant::now();
                let page = api.get(path).await?.expect(StatusCode::OK)?;
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
                ensure!(page["certificates"].as_array().is_some_and(|page| page.len() == PAGE as usize), "a page is not full");
            }
        }
        Ok((middle(of_first), middle(of_last)))
    }
}

/// The median, without the first: that one fills caches.
fn middle(mut times: Vec<f64>) -> f64 {
    times.remove(0);
    times.sort_by(f64::total_cmp);
    median(&times)
}

/// Certificates of tenants with a hundred each, those numbered from `from` on to before `to`. The first hundred are due.
async fn insert_tenants(database: &Client, from: u32, to: u32) -> Result<()> {
    insert(
        database,
        &format!(
            "SELECT md5('c' || n)::uuid AS id, md5('a' || n / {PER_TENANT})::uuid AS account_id, n + 1 AS number, 'c' || n || '.t' || n / {PER_TENANT} || '.test' AS domain,
                 CASE WHEN n < {DUE} THEN now() - make_interval(secs => n + 1) ELSE now() + make_interval(mins => n % 80000 + 60) END AS due
             FROM generate_series({from}, {to} - 1) AS n"
        ),
    )
    .await
    .with_context(|| format!("certificates {from} to {to}"))
}

async fn insert_of_account(database: &Client, count: u32) -> Result<()> {
    insert(
        database,
        &format!(
            "SELECT md5('m' || n)::uuid AS id, (SELECT account_id FROM users WHERE email = '{EMAIL}') AS account_id, n AS number, 'm' || n || '.mine.test' AS domain,
                 now() + make_interval(mins => n % 80000 + 60) AS due
             FROM generate_series(1, {count}) AS n"
        ),
    )
    .await
}

async fn insert(database: &Client, rows: &str) -> Result<()> {
    let statements = format!(
        "SET session_replication_role = replica;
         CREATE TEMPORARY TABLE new AS {rows};
         INSERT INTO certificates (id, account_id, zone_id, name, number, domain, key_algorithm, auto_renew, status, created_at, issued_at, expires_at, next_renewal_at, renewal_due_at,
             renewal_info_due_at)
         SELECT id, account_id, md5(account_id::text)::uuid, 'c' || number, number, domain, 'rsa2048', true, 'issued', now() - make_interval(secs => number), now(),
             due + interval '30 days', due, due, due FROM new;
         INSERT INTO certificate_names (account_id, certificate_id, position, name, reversed_name) SELECT account_id, id, 0, domain, reverse(domain) FROM new;
         DROP TABLE new;
         RESET session_replication_role"
    );
    Ok(database.batch_execute(&statements).await?)
}

/// How the statement of the scan is carried out, as the role that owns it.
async fn explain(database: &Client) -> Result<String> {
    let body: String = database.query_one("SELECT prosrc FROM pg_proc WHERE proname = 'sweep_due_renewals'", &[]).await?.get(0);
    let body = body.replace("put_off", "interval '10 minutes'").replace("LIMIT batch", "LIMIT 100");
    database.batch_execute("BEGIN; SET LOCAL ROLE zonecert_sweep").await?;
    let lines = database.query(&format!("EXPLAIN (COSTS OFF) {body}"), &[]).await?;
    database.batch_execute("ROLLBACK").await?;
    Ok(lines.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n"))
}
