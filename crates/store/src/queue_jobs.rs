//! Housekeeping of the queue's own tables, which apalis never clears. What is due is never read from them.

use std::time::Duration;

use diesel::sql_types;
use diesel_async::RunQueryDsl;

use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// Sends a job that no change calls for but the time. Whoever comes first with a key sends it, the others do nothing.
pub async fn enqueue(conn: &mut Connection, queue: &str, payload: &serde_json::Value, key: &str) -> Result<(), StoreError> {
    sql_query("SELECT enqueue_job($1, $2, $3, now())")
        .bind::<sql_types::Text, _>(queue)
        .bind::<sql_types::Jsonb, _>(payload)
        .bind::<sql_types::Text, _>(key)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes jobs that ended longer than `age` ago, at most `batch`, and queue workers that have not been seen for as long and hold no job.
/// Returns how many jobs went.
pub async fn purge(conn: &mut Connection, age: Duration, batch: i32) -> Result<usize, StoreError> {
    let jobs = sql_query(
        "DELETE FROM apalis.jobs WHERE id IN (
            SELECT id FROM apalis.jobs WHERE status IN ('Done', 'Failed', 'Killed') AND coalesce(done_at, run_at) < now() - make_interval(secs => $1)
            LIMIT $2)",
    )
    .bind::<sql_types::Double, _>(age.as_secs_f64())
    .bind::<sql_types::Integer, _>(batch)
    .execute(conn)
    .await?;
    sql_query(
        "DELETE FROM apalis.workers WHERE last_seen < now() - make_interval(secs => $1)
            AND NOT EXISTS (SELECT FROM apalis.jobs WHERE jobs.lock_by = workers.id)",
    )
    .bind::<sql_types::Double, _>(age.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(jobs)
}
