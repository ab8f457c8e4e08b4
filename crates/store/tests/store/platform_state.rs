//! The state of the platform: what is counted, for whom, and at what cost.

use zonecert_domain::issuance::IssuanceReason;
use zonecert_store::platform_state;
use zonecert_store::troubles::{self, Trouble};
use zonecert_store::{Connection, StoreError, workers};

use crate::database::{Database, Role};
use crate::tables;

const MINUTE: std::time::Duration = std::time::Duration::from_mins(1);

#[tokio::test]
async fn what_waits_rests_and_is_late_is_counted_over_all_tenants_for_every_role_that_may_ask() {
    let database = Database::migrated().await;
    tables::fill_two_tenants(&database).await;
    database
        .run(
            "UPDATE issuances SET lease_expires_at = NULL, next_wake_at = now() - interval '5 minutes' WHERE status = 'active';
             UPDATE certificates SET next_renewal_at = now() - interval '2 hours', renewal_due_at = now() - interval '1 minute', expires_at = now() + interval '3 days',
                 last_error = '{\"code\": \"acme_caa\"}';
             UPDATE mails SET sealed = '', sent_at = NULL, failed_at = NULL, created_at = now() - interval '20 minutes', next_attempt_at = now() + interval '1 hour';
             UPDATE webhook_deliveries SET next_attempt_at = now() - interval '7 minutes';
             UPDATE zone_projections SET generation = projected_generation + 1, lease_expires_at = NULL, next_wake_at = now() - interval '1 minute'",
        )
        .await;
    let count = async |table: &str| database.value::<i64>(&format!("SELECT count(*) FROM {table}")).await;
    let (issuances, certificates, mails) =
        (count("issuances WHERE status = 'active'").await, count("certificates").await, count("mails").await);
    for role in [Role::Api, Role::Worker, Role::Owner] {
        let state = database.store(role, 1).platform(async |conn| platform_state::read(conn).await).await.unwrap();
        let (due, age) = state.queues["issue"];
        assert!(same(due, issuances) && (299.0..400.0).contains(&age), "{state:?}");
        let (waiting, age) = state.queues["mail"];
        assert!(same(waiting, mails) && mails > 0 && (1_199.0..1_300.0).contains(&age), "a mail waits until it is sent: {state:?}");
        let (waiting, age) = state.queues["webhook"];
        assert!(same(waiting, 2) && (419.0..500.0).contains(&age), "{state:?}");
        assert!(same(state.renewals_due, certificates) && same(state.renewals_late["acme_caa"], certificates), "{state:?}");
        assert!(state.nearest_expiry_seconds.is_some_and(|left| (259_000.0..259_200.1).contains(&left)), "{state:?}");
        assert!(same(state.issuances_resting, 0) && same(state.issuances_running, 0), "{state:?}");
        assert_eq!(state.queues.keys().map(String::as_str).collect::<Vec<_>>(), platform_state::QUEUES);
    }
    let owner = database.store(Role::Owner, 1);
    let waiting = owner.platform(async |conn| troubles::list_waiting(conn, "webhook", 10).await).await.unwrap();
    assert!(waiting.len() == 2 && waiting.iter().all(|line| line.account.is_some()), "{waiting:?}");
    let of_others = owner.platform(async |conn| troubles::list_waiting(conn, "issue", 10).await).await.unwrap();
    assert!(of_others.iter().all(|line| line.id != waiting[0].id), "{of_others:?}");
    database.run("UPDATE issuances SET lease_expires_at = now() + interval '1 minute'; UPDATE webhook_deliveries SET claimed_until = now() + interval '1 minute'").await;
    let state = database.store(Role::Api, 1).platform(async |conn| platform_state::read(conn).await).await.unwrap();
    assert!(same(state.issuances_running, issuances) && same(state.queues["issue"].0, 0), "{state:?}");
    assert!(same(state.queues["webhook"].0, 0), "somebody is at them, however slow: {state:?}");
}

fn same(value: f64, count: i64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let count = count as f64;
    (value - count).abs() < 0.5
}

/// Ten thousand certificates that renew, and as many issuances that are over.
async fn crowd(database: &Database) {
    database
        .run(
            "SET session_replication_role = replica;
             INSERT INTO certificates (id, account_id, zone_id, name, number, domain, key_algorithm, auto_renew, status, expires_at, renewal_due_at, next_renewal_at)
             SELECT md5(n::text)::uuid, md5((n % 100)::text)::uuid, gen_random_uuid(), 'c' || n, n, n || '.test', 'rsa2048', true, 'issued', due, due, due
             FROM generate_series(1, 10000) AS n, LATERAL (SELECT now() + make_interval(hours => n) AS due) AS moments;
             INSERT INTO issuances (id, account_id, certificate_id, reason, status, give_up_at, finished_at)
             SELECT gen_random_uuid(), md5((n % 100)::text)::uuid, md5(n::text)::uuid, 'first', 'succeeded', now(), now() FROM generate_series(1, 10000) AS n;
             RESET session_replication_role;
             ANALYZE certificates; ANALYZE issuances",
        )
        .await;
}

#[tokio::test]
async fn it_reads_little_however_much_is_stored() {
    let database = Database::migrated().await;
    crowd(&database).await;
    let body: String = database.value("SELECT prosrc FROM pg_proc WHERE proname = 'sweep_platform_state'").await;
    let body = body.replace("late_after", "interval '1 hour'");
    for table in ["certificates", "issuances"] {
        database.run(&format!("VACUUM ANALYZE {table}")).await;
    }
    database.run("BEGIN; SET LOCAL ROLE zonecert_sweep").await;
    let plan: Vec<String> = database.column(&format!("EXPLAIN (ANALYZE, BUFFERS) {body}")).await;
    database.run("ROLLBACK").await;
    let text = plan.join("\n");
    for table in ["certificates", "issuances"] {
        assert!(!text.contains(&format!("Seq Scan on {table}")), "{text}");
    }
    let read = plan.iter().find_map(|line| line.trim().strip_prefix("Buffers: shared ")).unwrap_or_default();
    let pages: u32 = read.split([' ', '=']).filter_map(|word| word.parse::<u32>().ok()).sum();
    assert!((1..=60).contains(&pages), "{pages} pages: {text}");
}

#[tokio::test]
async fn the_owner_finds_what_waits_and_fails_and_whose_it_is_and_nobody_else_does() {
    let database = Database::migrated().await;
    let (one, other) = tables::fill_two_tenants(&database).await;
    database.run("UPDATE issuances SET status = 'failed', finished_at = now(), next_wake_at = NULL").await;
    let owner = database.store(Role::Owner, 2);
    let failed = owner.platform(async |conn| troubles::list_troubled(conn, Trouble::Failed, 50).await).await.unwrap();
    assert!(failed.iter().any(|(account, _)| *account == one) && failed.iter().any(|(account, _)| *account == other), "{failed:?}");
    let (account, issuance) = failed[0];
    let seen = owner.tenant(account, async |conn| troubles::get_issuance(conn, account, issuance).await).await.unwrap();
    assert!(IssuanceReason::parse(&seen.reason).is_some() && seen.status == "failed", "{seen:?}");
    let holder = owner.platform(async |conn| troubles::find_holder(conn, seen.certificate).await).await.unwrap();
    assert_eq!(holder, Some(account));
    let stuck = owner.platform(async |conn| troubles::list_troubled(conn, Trouble::Stuck(MINUTE), 50).await).await.unwrap();
    assert_eq!(stuck, []);
    for role in [Role::Api, Role::Worker] {
        let refused = database.store(role, 1).platform(async |conn| troubles::list_troubled(conn, Trouble::Failed, 50).await).await;
        assert!(matches!(refused, Err(StoreError::Database(_))), "{role:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_worker_shows_itself_is_drained_and_is_forgotten() {
    let database = Database::migrated().await;
    let (worker, owner) = (database.store(Role::Worker, 1), database.store(Role::Owner, 1));
    let show = async || worker.platform(async |conn| workers::show(conn, "worker/1", ("1.0", "host"), 3, false).await).await.unwrap();
    assert!(!show().await);
    let drain =
        async |name: &'static str, drain| owner.platform(async |conn| workers::request_drain(conn, name, drain).await).await.unwrap();
    assert!(!drain("worker/2", true).await, "there is none of this name");
    assert!(drain("worker/1", true).await && show().await);
    assert!(drain("worker/1", false).await && !show().await);
    let list = async || owner.platform(async |conn: &mut Connection| workers::list(conn).await).await.unwrap();
    assert_eq!(list().await[0].in_hand, 3);
    database.run("UPDATE workers SET seen_at = now() - interval '2 hours'").await;
    assert_eq!(worker.platform(async |conn| workers::purge(conn, MINUTE).await).await.unwrap(), 1);
    assert_eq!(list().await, []);
}
