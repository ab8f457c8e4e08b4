//! Scans read what is due by an index, however much is stored: the bodies of the functions, planned as the role that runs them.

use crate::database::Database;

/// Ten thousand certificates in issue, of which ten are due.
async fn crowd(database: &Database) {
    database
        .run(
            "SET session_replication_role = replica;
             INSERT INTO certificates (id, account_id, zone_id, name, number, domain, key_algorithm, auto_renew, status, expires_at, renewal_due_at,
                 renewal_info_due_at, expiry_notice_due_at)
             SELECT gen_random_uuid(), md5((n % 100)::text)::uuid, gen_random_uuid(), 'c' || n, n, n || '.test', 'rsa2048', true, 'issued', due, due, due, due
             FROM generate_series(1, 10000) AS n, LATERAL (SELECT now() + make_interval(hours => n - 10) AS due) AS moments;
             RESET session_replication_role;
             ANALYZE certificates",
        )
        .await;
}

/// How the statement of a function is carried out as the role that owns it.
async fn plan(database: &Database, function: &str) -> String {
    let body: String = database.value(&format!("SELECT prosrc FROM pg_proc WHERE proname = '{function}'")).await;
    let body = body.replace("put_off", "interval '10 minutes'").replace("LIMIT batch", "LIMIT 100");
    database.run("BEGIN; SET LOCAL ROLE zonecert_sweep").await;
    let plan = database.column::<String>(&format!("EXPLAIN {body}")).await.join("\n");
    database.run("ROLLBACK").await;
    plan
}

#[tokio::test]
async fn every_scan_finds_what_is_due_by_its_index() {
    let database = Database::migrated().await;
    crowd(&database).await;
    for (function, index) in [
        ("sweep_due_renewals", "certificates_renewal_due_at_idx"),
        ("sweep_due_renewal_info", "certificates_renewal_info_due_at_idx"),
        ("sweep_expiry_notices", "certificates_expiry_notice_due_at_idx"),
        ("sweep_expired_certificates", "certificates_expires_at_idx"),
    ] {
        let plan = plan(&database, function).await;
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{function}:\n{plan}");
    }
}

#[tokio::test]
async fn a_scan_of_nothing_that_is_due_reads_as_little_whether_much_or_little_is_stored() {
    let database = Database::migrated().await;
    crowd(&database).await;
    database.run("UPDATE certificates SET renewal_due_at = now() + interval '1 year' WHERE renewal_due_at <= now()").await;
    database.run("VACUUM ANALYZE certificates").await;
    database.run("BEGIN; SET LOCAL ROLE zonecert_sweep").await;
    let analyzed = "EXPLAIN (ANALYZE, BUFFERS) SELECT id FROM certificates WHERE renewal_due_at <= now() AND deleted_at IS NULL
                    ORDER BY renewal_due_at LIMIT 100 FOR UPDATE SKIP LOCKED";
    let lines: Vec<String> = database.column(analyzed).await;
    database.run("ROLLBACK").await;
    let read = lines.iter().find_map(|line| line.trim().strip_prefix("Buffers: shared ")).unwrap_or_default();
    let pages: u32 = read.split([' ', '=']).filter_map(|word| word.parse::<u32>().ok()).sum();
    assert!((1..=10).contains(&pages), "{read} for nothing: {lines:?}");
}
