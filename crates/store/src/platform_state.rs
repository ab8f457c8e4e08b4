//! The service as a whole, in numbers: what operators watch (`docs/adr/0021-monitoring.md`). No tenant is entered, and nothing says whose a number is.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;

use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// A renewal is late that has not been through so long after its moment.
pub const LATE_AFTER: Duration = Duration::from_hours(1);

/// Rows are counted up to this many; more is as bad.
pub const MOST_COUNTED: u32 = 10_000;

/// What waits to be done, by the name of its queue.
pub const QUEUES: [&str; 5] = ["issue", "mail", "project", "revoke", "webhook"];

/// Numbers of this moment. Counts stop at [`MOST_COUNTED`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlatformState {
    /// Due and not begun, for each of [`QUEUES`]: how many, and for how many seconds the oldest. A mail counts from when it was written until it is sent.
    /// Messages to webhooks count where nobody is at their webhook: a slow receiver's backlog is its owner's.
    pub queues: BTreeMap<String, (f64, f64)>,
    /// Issuances that a worker holds.
    pub issuances_running: f64,
    /// Issuances that wait for their next attempt.
    pub issuances_resting: f64,
    /// Certificates whose renewal is due and not begun.
    pub renewals_due: f64,
    /// Certificates whose renewal is [`LATE_AFTER`] behind its moment, by the code of what stands in the way, which is empty where nothing has failed.
    pub renewals_late: BTreeMap<String, f64>,
    /// Seconds until the first certificate expires of those that renew by themselves; none where there are none.
    pub nearest_expiry_seconds: Option<f64>,
    /// Private keys made in advance.
    pub key_stock: f64,
    /// Workers that were seen within the last minute and take jobs.
    pub workers_working: f64,
    /// The same, of those that take nothing new.
    pub workers_draining: f64,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

/// Reads it in one statement, at a cost that does not grow with what is stored. Runs with or without a tenant, as the API's, the worker's or the owner's role.
pub async fn read(conn: &mut Connection) -> Result<PlatformState, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Text)]
        measure: String,
        #[diesel(sql_type = sql_types::Text)]
        label: String,
        #[diesel(sql_type = sql_types::Double)]
        value: f64,
    }

    let query = "SELECT measure, label, value FROM sweep_platform_state(make_interval(secs => $1))
         UNION ALL SELECT measure, label, value FROM sweep_webhook_state()";
    let rows: Vec<Row> = sql_query(query).bind::<sql_types::Double, _>(LATE_AFTER.as_secs_f64()).load(conn).await?;
    let mut state = PlatformState::default();
    for Row { measure, label, value } in rows {
        match (measure.as_str(), label.as_str()) {
            ("queue_due", _) => state.queues.entry(label).or_default().0 = value,
            ("queue_age", _) => state.queues.entry(label).or_default().1 = value.max(0.0),
            ("issuances", "running") => state.issuances_running = value,
            ("issuances", "resting") => state.issuances_resting = value,
            ("renewals_due", _) => state.renewals_due = value,
            ("renewals_late", _) => drop(state.renewals_late.insert(label, value)),
            ("nearest_expiry", _) => state.nearest_expiry_seconds = Some(value),
            ("key_stock", _) => state.key_stock = value,
            ("workers", "working") => state.workers_working = value,
            ("workers", "draining") => state.workers_draining = value,
            ("clock", _) => state.now = moment(value)?,
            _ => return Err(StoreError::corrupt("sweep_platform_state", format!("{measure} {label}"))),
        }
    }
    Ok(state)
}

fn moment(seconds: f64) -> Result<DateTime<Utc>, StoreError> {
    let read = Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|since| DateTime::UNIX_EPOCH.checked_add_signed(chrono::TimeDelta::from_std(since).ok()?));
    read.ok_or_else(|| StoreError::corrupt("sweep_platform_state.clock", seconds.to_string()))
}
