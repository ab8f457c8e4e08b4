//! Workers that run: each shows that it is there, and reads whether it is to take nothing new. The platform's table.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;

use crate::schema::workers;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// A worker that has not been seen for so long is gone.
pub const GONE_AFTER: Duration = Duration::from_mins(1);

/// A worker as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = workers, check_for_backend(diesel::pg::Pg))]
pub struct SeenWorker {
    /// Unique for each start of a process.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// Where it runs.
    pub host: String,
    /// Since when.
    pub started_at: DateTime<Utc>,
    /// When it last showed itself.
    pub seen_at: DateTime<Utc>,
    /// Issuances that it was working on then.
    pub in_hand: i32,
    /// Since when it is to take nothing new.
    pub drain_requested_at: Option<DateTime<Utc>>,
    /// Since when it takes nothing, with nothing left in hand.
    pub drained_at: Option<DateTime<Utc>>,
}

/// Shows that a worker is there, with so many issuances in hand, and whether it has been drained. Returns whether it is to take nothing new.
pub async fn show(
    conn: &mut Connection,
    name: &str,
    (version, host): (&str, &str),
    in_hand: i32,
    drained: bool,
) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Bool)]
        draining: bool,
    }

    let row: Row = sql_query(
        "INSERT INTO workers (name, version, host, in_hand) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET seen_at = now(), in_hand = excluded.in_hand, drained_at = CASE WHEN $5 THEN coalesce(workers.drained_at, now()) END
         RETURNING drain_requested_at IS NOT NULL AS draining",
    )
    .bind::<sql_types::Text, _>(name)
    .bind::<sql_types::Text, _>(version)
    .bind::<sql_types::Text, _>(host)
    .bind::<sql_types::Integer, _>(in_hand)
    .bind::<sql_types::Bool, _>(drained)
    .get_result(conn)
    .await?;
    Ok(row.draining)
}

/// A worker has stopped.
pub async fn forget(conn: &mut Connection, name: &str) -> Result<(), StoreError> {
    diesel::delete(workers::table.find(name)).execute(conn).await?;
    Ok(())
}

/// Forgets those that have not been seen for `age`: they were killed.
pub async fn purge(conn: &mut Connection, age: Duration) -> Result<usize, StoreError> {
    let purged = sql_query("DELETE FROM workers WHERE seen_at < now() - make_interval(secs => $1)")
        .bind::<sql_types::Double, _>(age.as_secs_f64())
        .execute(conn)
        .await?;
    Ok(purged)
}

/// Every worker that has not been forgotten, the oldest first.
pub async fn list(conn: &mut Connection) -> Result<Vec<SeenWorker>, StoreError> {
    Ok(workers::table.order((workers::started_at, workers::name)).select(SeenWorker::as_select()).load(conn).await?)
}

/// Says that a worker is to take nothing new, or to take jobs again. Returns false where there is none of this name.
pub async fn request_drain(conn: &mut Connection, name: &str, drain: bool) -> Result<bool, StoreError> {
    let changed = sql_query(
        "UPDATE workers SET drain_requested_at = CASE WHEN $2 THEN coalesce(drain_requested_at, now()) END, drained_at = CASE WHEN $2 THEN drained_at END
         WHERE name = $1",
    )
    .bind::<sql_types::Text, _>(name)
    .bind::<sql_types::Bool, _>(drain)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}
