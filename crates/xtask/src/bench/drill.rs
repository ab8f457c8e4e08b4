//! `cargo xtask bench drill`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use zonecert_devstack::product::setting;
use zonecert_devstack::{RenewalInfoAnswer, RenewalInfoDirectory, wait};

use super::fleet::world::World;
use super::release;
use crate::certificate::{Show, issue};
use crate::report::say;
use crate::workspace;

/// Others who ask for a certificate meanwhile.
const NEWCOMERS: u32 = 10;
const PARTS: usize = 10;

#[derive(Args)]
#[command(
    about = "Drill: the CA is about to revoke every certificate and moves their windows to now (RFC 9773)",
    long_about = "Drill: the CA is about to revoke every certificate and moves the windows of all of them to now (RFC 9773), on a stack of its own under .dev/bench-drill. Prints how \
the renewals are spread over the window, and how long others wait who ask for a certificate meanwhile. Fails when a certificate is replaced outside of its window, or twice."
)]
pub(super) struct Drill {
    /// How many certificates
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    count: u32,
    /// Length of the window, in seconds
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(30..=86_400))]
    window: u32,
    /// Use this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl Drill {
    pub(super) async fn run(&self) -> Result<()> {
        let binary = release::binary(self.binary.as_deref()).await?;
        let world = World::start(binary, &workspace::dev("bench-drill")?).await?;
        let ca = RenewalInfoDirectory::before(&world.stack.pebble).await?;
        let ca_file = ca.ca_file().display().to_string();
        let world = world.with(setting::ACME_DIRECTORY, ca.directory_url()).with(setting::ACME_CA_FILE, ca_file);
        world.issue(self.count).await?;
        let mut api = world.product.serve().await?;
        let (newcomer, zone) = world.tenant(&api, "newcomer").await?;
        let mut workers = [world.product.work().await?, world.product.work().await?];

        let (start, end) = self.move_windows(&world, &ca).await?;
        say(&format!("the CA asks for all {} certificates to be replaced between {start} and {end}", self.count));
        let begun = Instant::now();
        let mut waits = Vec::new();
        for number in 0..NEWCOMERS {
            let at = Duration::from_secs(u64::from(self.window)) * (2 * number + 1) / (2 * NEWCOMERS);
            wait::pause(at.saturating_sub(begun.elapsed())).await;
            let (_, seconds) = issue(&newcomer, &zone, &format!("n{number}.newcomer.test"), &[], Show::Nothing).await?;
            waits.push(seconds);
        }
        let replaced = "SELECT count(*) FROM issuances WHERE reason = 'renewal' AND status = 'succeeded'";
        world.wait_for(replaced, i64::from(self.count)).await?;
        let outcome = self.outcome(&world, &start, &end).await?;
        for worker in &mut workers {
            worker.stop().await?;
        }
        api.stop().await?;
        drop(ca);
        world.stack.stop().await?;

        waits.sort_by(f64::total_cmp);
        println!(
            "
{} certificates replaced in a window of {} s, 2 workers
  begun in each tenth of it: {:?}
  the last was done {:.1} s before its end; {} outside of it, {} replaced more than once
  {NEWCOMERS} others who asked meanwhile waited {:.2} s (median), {:.2} s at the most",
            self.count,
            self.window,
            outcome.tenths,
            outcome.seconds_left,
            outcome.outside,
            outcome.twice,
            super::median(&waits),
            waits.last().context("nobody asked")?,
        );
        ensure!(outcome.outside == 0 && outcome.twice == 0, "not every certificate was replaced once, inside of its window");
        Ok(())
    }

    /// What the CA says from now on, and everybody asks it.
    async fn move_windows(&self, world: &World, ca: &RenewalInfoDirectory) -> Result<(String, String)> {
        let window = "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                          to_char(now() AT TIME ZONE 'UTC' + make_interval(secs => $1), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
        let row = world.database.query_one(window, &[&f64::from(self.window)]).await?;
        let (start, end): (String, String) = (row.get(0), row.get(1));
        ca.answer(RenewalInfoAnswer::Window {
            start: start.clone(),
            end: end.clone(),
            explanation_url: Some("https://ca.test/incident".to_owned()),
            retry_after: Some("3600".to_owned()),
        });
        world.database.execute("UPDATE certificates SET renewal_info_due_at = now()", &[]).await?;
        Ok((start, end))
    }

    async fn outcome(&self, world: &World, start: &str, end: &str) -> Result<Outcome> {
        let query = format!(
            "SELECT count(*) FILTER (WHERE NOT finished_at BETWEEN '{start}' AND '{end}'), count(*) - count(DISTINCT certificate_id),
                 extract(epoch FROM '{end}'::timestamptz - max(finished_at))::float8
             FROM issuances WHERE reason = 'renewal'"
        );
        let row = world.database.query_one(&query, &[]).await?;
        let buckets = format!(
            "SELECT width_bucket(extract(epoch FROM created_at - '{start}'::timestamptz)::float8, 0, {}, {PARTS}), count(*) FROM issuances
             WHERE reason = 'renewal' GROUP BY 1",
            self.window
        );
        let mut tenths = [0_i64; PARTS];
        for bucket in world.database.query(&buckets, &[]).await? {
            let place = usize::try_from(bucket.get::<_, i32>(0))?.clamp(1, PARTS) - 1;
            tenths[place] += bucket.get::<_, i64>(1);
        }
        Ok(Outcome { outside: row.get(0), twice: row.get(1), seconds_left: row.get(2), tenths })
    }
}

struct Outcome {
    outside: i64,
    twice: i64,
    seconds_left: f64,
    /// How many renewals began in each tenth of the window.
    tenths: [i64; PARTS],
}
