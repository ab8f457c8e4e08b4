//! After the faults: time is let pass, and everything comes to rest.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use zonecert_devstack::wait;
use zonecert_tests::uuid;

use crate::world::World;

const WITHIN: Duration = Duration::from_secs(75);
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Between two shifts of what is stored.
const SHIFT_EVERY: Duration = Duration::from_secs(1);

/// What is not at rest yet, one number each.
const LEFT: &str = "SELECT
    (SELECT count(*) FROM issuances WHERE status = 'active') AS issuances,
    (SELECT count(*) FROM issuances WHERE lease_owner IS NOT NULL) AS leases,
    (SELECT count(*) FROM orders WHERE status NOT IN ('issued', 'failed', 'abandoned')) AS orders,
    (SELECT count(*) FROM zone_projections WHERE projected_generation < generation) AS zones_behind,
    (SELECT count(*) FROM zone_projections WHERE lease_owner IS NOT NULL) AS zone_leases,
    (SELECT count(*) FROM challenge_records) AS challenges,
    (SELECT count(*) FROM apalis.jobs WHERE job_type IN ('issue', 'project') AND status IN ('Pending', 'Queued', 'Running')
        AND run_at <= now()) AS jobs";

impl World {
    /// Waits until nothing is under way. `due` are certificates that have to have renewed by then.
    pub(crate) async fn come_to_rest(&self, due: &[String], since: &str) -> Result<()> {
        let database = self.system.database().await?;
        let due: Vec<String> = due.iter().map(|id| uuid(id)).collect();
        let begun = Instant::now();
        let mut shifted: Option<Instant> = None;
        loop {
            let left = database.query_one(LEFT, &[]).await?;
            let mut open = String::new();
            for (index, column) in left.columns().iter().enumerate() {
                let count: i64 = left.get(index);
                if count > 0 {
                    let _ = write!(open, " {count} {}", column.name());
                }
            }
            let not_begun: i64 = database
                .query_one(
                    "SELECT count(*) FROM certificates WHERE id::text = ANY($1) AND NOT EXISTS (
                         SELECT FROM issuances WHERE certificate_id = certificates.id AND created_at > $2::text::timestamptz)",
                    &[&due, &since],
                )
                .await?
                .get(0);
            if not_begun > 0 {
                let _ = write!(open, " {not_begun} renewals");
            }
            if open.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > WITHIN {
                bail!("not at rest after {} s:{open}", WITHIN.as_secs());
            }
            if shifted.is_none_or(|at| at.elapsed() > SHIFT_EVERY) {
                self.let_waits_pass(&database, &due, since).await?;
                shifted = Some(Instant::now());
            }
            wait::pause(BETWEEN_LOOKS).await;
        }
    }

    /// What waits for a rung of the ladder, for a pause of the CA, for the sweeper's grace or for a claim waits no more.
    async fn let_waits_pass(&self, database: &tokio_postgres::Client, due: &[String], since: &str) -> Result<()> {
        database
            .batch_execute(
                "UPDATE issuances SET next_wake_at = now(), woken_at = now() - interval '1 minute'
                 WHERE status = 'active' AND (lease_expires_at IS NULL OR lease_expires_at <= now());
                 UPDATE zone_projections SET next_wake_at = now(), woken_at = now() - interval '1 minute'
                 WHERE projected_generation < generation AND (lease_expires_at IS NULL OR lease_expires_at <= now());
                 UPDATE ca_pauses SET until = now() WHERE until > now();
                 UPDATE apalis.workers SET last_seen = last_seen - interval '1 minute' WHERE last_seen < now() - interval '8 seconds'",
            )
            .await?;
        let due_again = "UPDATE certificates SET renewal_due_at = now() WHERE id::text = ANY($1) AND NOT EXISTS (
            SELECT FROM issuances WHERE certificate_id = certificates.id AND created_at > $2::text::timestamptz)";
        database.execute(due_again, &[&due, &since]).await?;
        Ok(())
    }
}
