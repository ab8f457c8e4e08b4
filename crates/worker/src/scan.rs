//! What nobody asks for but the time: looked for once per tick over any number of workers (`docs/adr/0014-scans.md`).
//!
//! At each tick every worker sends one job for each [`Scan`], with the tick in its key, so that one of them is kept. Whoever takes it claims what is
//! due in batches until nothing is left. The cost grows with what is due, never with what is stored.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::Mutex;
use zonecert_store::{StoreError, issuances, queue_jobs};

use crate::queue::SCAN;
use crate::worker::Worker;
use crate::{expiry, expiry_notices, own_acme_accounts, renewal_info, renewals};

/// Certificates that are claimed at a time.
pub(crate) const BATCH: i32 = 100;

/// A claim of something that the CA is asked about, and that a worker took to its grave, is taken up again after this.
pub(crate) const CLAIM: Duration = Duration::from_mins(10);

/// The end of a tick is waited for at least so long, so that a clock that creeps over it is not asked again and again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scan {
    /// Certificates whose renewal is due.
    Renewals,
    /// Certificates about whose renewal the CA is to be asked.
    RenewalInfo,
    /// Certificates that have expired.
    Expiry,
    /// Certificates of which it is to be told that they end.
    ExpiryNotices,
    /// ACME accounts of customers about which a CA is to be asked for something.
    AcmeAccounts,
}

impl Scan {
    /// Every scan.
    pub const ALL: [Self; 5] = [Self::Renewals, Self::RenewalInfo, Self::Expiry, Self::ExpiryNotices, Self::AcmeAccounts];

    /// The name in logs and in the key of its job.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Renewals => "renewal-scan",
            Self::RenewalInfo => "renewal-info-scan",
            Self::Expiry => "expiry-scan",
            Self::ExpiryNotices => "expiry-notice-scan",
            Self::AcmeAccounts => "acme-account-scan",
        }
    }
}

/// The payload of the job [`SCAN`].
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct ScanJob {
    /// What to look for.
    pub scan: Scan,
}

/// One turn for each scan: while one is under way in this process, another tick finds it taken care of.
#[derive(Default)]
pub(crate) struct Turns([Mutex<()>; Scan::ALL.len()]);

/// Sends the jobs of every tick until the worker stops.
pub async fn run(worker: &Worker) {
    while !worker.is_stopping() {
        let pause = match send_tick(worker).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "the jobs of this tick could not be sent; the next tick comes by itself");
                worker.settings.scan_interval
            }
        };
        worker.pause(pause).await;
    }
}

/// Sends the jobs of the tick that is now by the database's clock, unless somebody has. Returns how long it is until the next.
pub async fn send_tick(worker: &Worker) -> Result<Duration, StoreError> {
    let interval = worker.settings.scan_interval;
    let now = worker
        .store
        .platform(async |conn| {
            let now = issuances::database_now(conn).await?;
            let (tick, _) = tick(now, interval);
            for scan in Scan::ALL {
                queue_jobs::enqueue(conn, SCAN, &json!(ScanJob { scan }), &format!("{}:{tick}", scan.as_str())).await?;
            }
            Ok::<_, StoreError>(now)
        })
        .await?;
    Ok(tick(now, interval).1)
}

/// The number of the tick at `now`, and how long it is until the next.
fn tick(now: DateTime<Utc>, interval: Duration) -> (i64, Duration) {
    let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let now = now.timestamp_millis();
    let left = interval - now.rem_euclid(interval);
    (now.div_euclid(interval), Duration::from_millis(left.unsigned_abs()).max(SHORTEST_PAUSE))
}

/// Looks once for all that is due, unless this process is at it. What cannot be done now is left to a later tick.
pub async fn look(worker: &Worker, scan: Scan) -> Result<(), StoreError> {
    let Ok(_turn) = worker.scans.0[scan as usize].try_lock() else { return Ok(()) };
    match scan {
        Scan::Renewals => renewals::look(worker).await,
        Scan::RenewalInfo => renewal_info::look(worker).await,
        Scan::Expiry => expiry::look(worker).await,
        Scan::ExpiryNotices => expiry_notices::look(worker).await,
        Scan::AcmeAccounts => own_acme_accounts::look(worker).await,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_job_that_is_sent_for_an_acme_account_is_one_of_the_scans() {
        use zonecert_store::own_acme_accounts::{QUEUE, SCAN as WANTED};
        assert_eq!((QUEUE, json!({ "scan": WANTED })), (SCAN, json!(ScanJob { scan: Scan::AcmeAccounts })));
    }

    #[test]
    fn a_tick_has_one_number_from_its_beginning_to_the_next() {
        let minute = Duration::from_mins(1);
        let at = |milliseconds| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(milliseconds);
        assert_eq!(tick(at(0), minute), (0, minute));
        assert_eq!(tick(at(59_000), minute), (0, Duration::from_secs(1)));
        assert_eq!(tick(at(60_000), minute), (1, minute));
        assert_eq!(tick(at(59_999), minute).1, SHORTEST_PAUSE, "the clock is not asked again at once");
        assert_eq!(tick(at(-1), minute).0, -1);
        assert_eq!(tick(at(5), Duration::ZERO), (5, SHORTEST_PAUSE));
    }
}
