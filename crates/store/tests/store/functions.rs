//! The functions of the schema: who owns them, who may call them, and what they tell.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::database::{Database, Role};
use crate::outcome::{Outcome, attempt};
use crate::tables;

/// Function, owner, whether it runs as its owner, and who may call it beside the owner.
const FUNCTIONS: [(&str, &str, bool, &str); 13] = [
    ("enqueue_job(text,jsonb,text,timestamp with time zone)", "zonecert_owner", true, "zonecert_api zonecert_worker"),
    ("lookup_api_token(bytea)", "zonecert_lookup", true, "zonecert_api"),
    ("lookup_refresh_token(bytea)", "zonecert_lookup", true, "zonecert_api"),
    ("lookup_user(text)", "zonecert_lookup", true, "zonecert_api"),
    ("orders_keep_request()", "zonecert_owner", false, ""),
    ("request_projection(text)", "zonecert_owner", true, "zonecert_api zonecert_worker"),
    ("sweep_challenge_records(text)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_delete_challenge_records(uuid[])", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_issuances(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_zone_is_hosted(text)", "zonecert_sweep", true, "zonecert_worker"),
    ("versions_immutable()", "zonecert_owner", false, ""),
    ("wake_forgotten_issuance(uuid,interval)", "zonecert_owner", false, "zonecert_worker"),
    ("wake_issuance(uuid,timestamp with time zone)", "zonecert_owner", false, "zonecert_api zonecert_worker"),
];

#[tokio::test]
async fn each_function_is_owned_and_callable_as_listed_and_has_a_fixed_search_path() {
    let database = Database::migrated().await;
    // Those of extensions are not ours.
    let query = "
        SELECT p.oid::regprocedure::text, pg_get_userbyid(proowner)::text, prosecdef, array_to_string(proconfig, ' '),
            (SELECT coalesce(string_agg(role, ' ' ORDER BY role), '') FROM unnest(ARRAY['public', 'zonecert_api', 'zonecert_worker', 'zonecert_lookup', 'zonecert_sweep']) AS role
             WHERE has_function_privilege(role, p.oid, 'EXECUTE') AND role <> pg_get_userbyid(proowner))
        FROM pg_proc AS p
        WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND classid = 'pg_proc'::regclass AND deptype = 'e')
        ORDER BY 1";
    let mut found = Vec::new();
    for row in database.admin.query(query, &[]).await.unwrap() {
        let (name, owner, definer): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        let (configuration, callers): (Option<String>, String) = (row.get(3), row.get(4));
        assert_eq!(configuration.as_deref(), Some("search_path=pg_catalog, public, pg_temp"), "{name}");
        found.push((name, owner, definer, callers));
    }
    let expected = FUNCTIONS.map(|(name, owner, definer, callers)| (name.to_owned(), owner.to_owned(), definer, callers.to_owned()));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn before_the_tenant_is_known_the_api_learns_identifiers_and_the_worker_nothing() {
    let database = Database::migrated().await;
    let (one, other) = tables::fill_two_tenants(&database).await;
    let (api, worker) = (database.connect(Role::Api).await, database.connect(Role::Worker).await);
    for account in [one, other] {
        let account = account.0;
        for (function, wanted, what) in [
            ("lookup_user", format!("'used@{account}.test'"), "user used"),
            ("lookup_refresh_token", format!("sha256('{account}refresh token')"), "refresh token"),
            ("lookup_api_token", format!("sha256('{account}api token')"), "api token"),
        ] {
            let query = format!("SELECT to_jsonb(found)::text FROM {function}({wanted}) AS found");
            let found = api.query_one(&query, &[]).await.unwrap().get::<_, String>(0);
            let id: String = database.value(&format!("SELECT md5('{account}{what}')::uuid::text")).await;
            assert_eq!(found, format!(r#"{{"id": "{id}", "account_id": "{account}"}}"#), "{function}");
            assert_eq!(attempt(&worker, &query).await, Outcome::NoGrant, "{function}");
        }
    }
    assert_eq!(attempt(&api, "SELECT FROM lookup_user('nobody@nowhere.test')").await, Outcome::Rows(0));
    assert_eq!(attempt(&api, "TABLE users").await, Outcome::Rows(0), "the look-up has left the caller no more than before");
    database.run(&format!("UPDATE users SET deleted_at = now() WHERE account_id = '{}'", one.0)).await;
    assert_eq!(attempt(&api, &format!("SELECT FROM lookup_user('used@{}.test')", one.0)).await, Outcome::Rows(0));
}

#[tokio::test]
async fn sweeps_see_every_tenant_as_the_worker_and_fail_as_the_api() {
    let database = Database::migrated().await;
    let (one, other) = tables::fill_two_tenants(&database).await;
    let (api, worker) = (database.connect(Role::Api).await, database.connect(Role::Worker).await);
    let sweeps = [
        "SELECT account_id::text FROM sweep_issuances('0', 10)",
        "SELECT value FROM sweep_challenge_records('shared.test')",
        "SELECT sweep_delete_challenge_records('{}')::text",
        "SELECT sweep_zone_is_hosted('shared.test')::text",
    ];
    let both = BTreeSet::from([one, other].map(|account| account.0.to_string()));
    for sweep in sweeps {
        assert_eq!(attempt(&api, sweep).await, Outcome::NoGrant, "{sweep}");
        let answers: BTreeSet<String> = worker.query(sweep, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        if sweep.contains("account_id") || sweep.contains("value") {
            assert_eq!(answers, both, "{sweep}");
        }
    }
    assert_eq!(attempt(&worker, "TABLE issuances").await, Outcome::Rows(0), "the sweep has left the caller no more than before");
}

#[tokio::test]
async fn a_sweep_deletes_only_records_that_nobody_wants() {
    let database = Database::migrated().await;
    let (_, wanted) = tables::fill_two_tenants(&database).await;
    database.run(&format!("UPDATE challenge_records SET unwanted_at = NULL WHERE account_id = '{}'", wanted.0)).await;
    let worker = database.connect(Role::Worker).await;
    let ids: Vec<String> = database.column("SELECT id::text FROM challenge_records").await;
    assert_eq!(ids.len(), 2);
    // The function's own condition is not the only one: its owner can do no more.
    database.run("BEGIN; SET LOCAL ROLE zonecert_sweep").await;
    assert_eq!(attempt(&database.admin, "DELETE FROM challenge_records").await, Outcome::Rows(1));
    database.run("ROLLBACK").await;
    let sweep = format!("SELECT sweep_delete_challenge_records('{{{}}}')", ids.join(","));
    assert_eq!(worker.query_one(&sweep, &[]).await.unwrap().get::<_, i64>(0), 1);
    assert_eq!(database.column::<String>("SELECT account_id::text FROM challenge_records").await, [wanted.0.to_string()]);
}

#[tokio::test]
async fn a_zone_is_hosted_while_an_account_holds_it_verified() {
    let database = Database::migrated().await;
    let account = tables::fill_tenant(&database).await;
    let name = format!("used.{}.test", account.0);
    let worker = database.connect(Role::Worker).await;
    let mut answers = Vec::new();
    for change in ["name = name", "status = 'pending'", "status = 'verified', mode = 'delegated'", "mode = 'hosted'", "deleted_at = now()"]
    {
        database.run(&format!("UPDATE zones SET {change} WHERE name = '{name}'")).await;
        let hosted = worker.query_one(&format!("SELECT sweep_zone_is_hosted('{name}')"), &[]).await.unwrap();
        answers.push(hosted.get::<_, bool>(0));
    }
    assert_eq!(answers, [true, false, false, true, false]);
}

#[tokio::test]
async fn a_job_of_another_account_cannot_be_sent_by_waking_its_issuance() {
    let database = Database::migrated().await;
    let (mine, theirs) = tables::fill_two_tenants(&database).await;
    let issuance: String = database.value(&format!("SELECT md5('{}issuance used')::uuid::text", theirs.0)).await;
    for role in [Role::Api, Role::Worker] {
        let client = database.connect(role).await;
        for account in [mine.0, Uuid::now_v7()] {
            client.batch_execute(&format!("SET zonecert.account = '{account}'")).await.unwrap();
            let woken = client.query_one(&format!("SELECT wake_issuance('{issuance}', now())"), &[]).await.unwrap();
            assert!(!woken.get::<_, bool>(0), "{role:?}");
        }
    }
    assert_eq!(database.value::<i64>("SELECT count(*) FROM apalis.jobs").await, 0);
}
