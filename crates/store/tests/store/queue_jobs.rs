//! Housekeeping of the queue's tables.

use std::time::Duration;

use zonecert_store::queue_jobs;

use crate::database::{Database, Role};

#[tokio::test]
async fn only_jobs_and_workers_that_are_long_gone_are_cleared() {
    let database = Database::migrated().await;
    let day = Duration::from_hours(24);
    for worker in ["dead", "alive", "holding"] {
        let ago = if worker == "alive" { "1 h" } else { "2 days" };
        let row = format!(
            "INSERT INTO apalis.workers (id, worker_type, storage_name, last_seen) VALUES ('{worker}', 'issue', 'postgres', now() - interval '{ago}')"
        );
        database.run(&row).await;
    }
    let jobs = [
        ("done-long-ago", "Done", "2 days", "NULL"),
        ("failed-long-ago", "Failed", "2 days", "NULL"),
        ("killed-long-ago", "Killed", "2 days", "NULL"),
        ("done-just-now", "Done", "1 h", "NULL"),
        ("pending-for-long", "Pending", "2 days", "NULL"),
        ("running-for-long", "Running", "2 days", "'holding'"),
    ];
    for (key, status, ago, holder) in jobs {
        let done_at = if ["Done", "Failed", "Killed"].contains(&status) { format!("now() - interval '{ago}'") } else { "NULL".to_owned() };
        database.run(&format!("SELECT enqueue_job('issue', '{{}}', '{key}', now() - interval '{ago}')")).await;
        let change =
            format!("UPDATE apalis.jobs SET status = '{status}', done_at = {done_at}, lock_by = {holder} WHERE idempotency_key = '{key}'");
        database.run(&change).await;
    }
    let worker = database.store(Role::Worker, 1);
    let mut purged = Vec::new();
    for _ in 0..3 {
        purged.push(worker.platform(async |conn| queue_jobs::purge(conn, day, 2).await).await.unwrap());
    }
    assert_eq!(purged, [2, 1, 0]);
    let kept: Vec<String> = database.column("SELECT idempotency_key FROM apalis.jobs ORDER BY 1").await;
    assert_eq!(kept, ["done-just-now", "pending-for-long", "running-for-long"]);
    assert_eq!(database.column::<String>("SELECT id FROM apalis.workers ORDER BY 1").await, ["alive", "holding"]);
}
