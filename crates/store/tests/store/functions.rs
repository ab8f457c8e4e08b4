//! The functions of the schema: who owns them, who may call them, and what they tell.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::database::{Database, Role};
use crate::outcome::{Outcome, attempt};
use crate::tables;

/// Function, owner, whether it runs as its owner, and who may call it beside the owner.
const FUNCTIONS: [(&str, &str, bool, &str); 62] = [
    ("certificate_alternate(uuid)", "zonecert_owner", false, "zonecert_api zonecert_worker"),
    ("certificate_deployments(uuid,uuid)", "zonecert_owner", false, "zonecert_api zonecert_worker"),
    ("certificate_revocation(uuid,uuid)", "zonecert_owner", false, "zonecert_api zonecert_worker"),
    ("certificates_announce()", "zonecert_owner", false, ""),
    (
        "enqueue_job(text,jsonb,text,timestamp with time zone,integer)",
        "zonecert_owner",
        true,
        "zonecert_admin zonecert_api zonecert_worker",
    ),
    ("events_notify()", "zonecert_owner", false, ""),
    ("key_versions_stay_destroyed()", "zonecert_owner", false, ""),
    ("lookup_api_key(bytea)", "zonecert_lookup", true, "zonecert_api"),
    ("lookup_api_token(bytea)", "zonecert_lookup", true, "zonecert_api"),
    ("lookup_ca_budget(text,text,text,interval)", "zonecert_lookup", true, "zonecert_api zonecert_worker"),
    ("lookup_ca_pauses(text,text[],text[])", "zonecert_lookup", true, "zonecert_api zonecert_worker"),
    ("lookup_ca_uses(text,text[],text[],double precision[],uuid)", "zonecert_lookup", true, "zonecert_api zonecert_worker"),
    ("lookup_email_token(bytea)", "zonecert_lookup", true, "zonecert_api"),
    ("lookup_invitation(bytea)", "zonecert_lookup", true, "zonecert_api"),
    ("lookup_refresh_token(bytea)", "zonecert_lookup", true, "zonecert_api"),
    ("lookup_user(text)", "zonecert_lookup", true, "zonecert_admin zonecert_api"),
    ("lookup_zone_projection(text)", "zonecert_lookup", true, "zonecert_api"),
    ("next_expiry_notice(timestamp with time zone,timestamp with time zone)", "zonecert_owner", false, "zonecert_api zonecert_worker"),
    ("orders_keep_request()", "zonecert_owner", false, ""),
    ("pfx_files_end_with_their_key()", "zonecert_owner", false, ""),
    ("request_projection(text)", "zonecert_owner", true, "zonecert_admin zonecert_api zonecert_worker"),
    ("rfc3339(timestamp with time zone)", "zonecert_owner", false, "zonecert_api zonecert_worker"),
    ("sealed_under_a_live_key()", "zonecert_owner", false, ""),
    ("sweep_accounts(uuid,integer)", "zonecert_sweep", true, "zonecert_admin"),
    ("sweep_challenge_records(text)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_data_keys(text,uuid,integer)", "zonecert_sweep", true, "zonecert_keys"),
    ("sweep_delete_challenge_records(uuid[])", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_delete_zone_records(text,uuid[])", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_due_renewal_info(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_due_renewals(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_due_zone_checks(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_email_tokens(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_ended_accounts(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_expired_certificates(integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_expiry_notices(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_finished_deliveries(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_finished_mails(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_holder(uuid)", "zonecert_sweep", true, ""),
    ("sweep_idempotency_keys(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_issuances(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_mails(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_master_keys()", "zonecert_sweep", true, "zonecert_keys"),
    ("sweep_old_data_keys(timestamp with time zone,uuid,integer)", "zonecert_sweep", true, "zonecert_keys"),
    ("sweep_orders_being_proven(uuid)", "zonecert_sweep", true, ""),
    ("sweep_own_acme_accounts(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_platform_state(interval)", "zonecert_sweep", true, "zonecert_api zonecert_worker"),
    ("sweep_refresh_tokens(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_revocations(integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_troubled_issuances(boolean,interval,integer)", "zonecert_sweep", true, ""),
    ("sweep_undescribed_versions(integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_waiting(text,integer)", "zonecert_sweep", true, ""),
    ("sweep_waiting_webhooks(integer)", "zonecert_sweep", true, ""),
    ("sweep_webhook_secrets(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_webhook_state()", "zonecert_sweep", true, "zonecert_api zonecert_worker"),
    ("sweep_webhooks(interval,integer)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_zone_holder(text)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_zone_proofs(text)", "zonecert_sweep", true, "zonecert_worker"),
    ("sweep_zone_records(text)", "zonecert_sweep", true, "zonecert_worker"),
    ("uuid_v7()", "zonecert_owner", false, "zonecert_api zonecert_worker"),
    ("versions_immutable()", "zonecert_owner", false, ""),
    ("wake_forgotten_issuance(uuid,interval)", "zonecert_owner", false, "zonecert_worker"),
    ("wake_issuance(uuid,timestamp with time zone)", "zonecert_owner", false, "zonecert_admin zonecert_api zonecert_worker"),
];

#[tokio::test]
async fn each_function_is_owned_and_callable_as_listed_and_has_a_fixed_search_path() {
    let database = Database::migrated().await;
    // Those of extensions are not ours.
    let query = "
        SELECT p.oid::regprocedure::text, pg_get_userbyid(proowner)::text, prosecdef, array_to_string(proconfig, ' '),
            (SELECT coalesce(string_agg(role, ' ' ORDER BY role), '') FROM unnest(ARRAY['public', 'zonecert_api', 'zonecert_worker', 'zonecert_admin', 'zonecert_lookup', 'zonecert_sweep', 'zonecert_keys']) AS role
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
            ("lookup_api_key", format!("sha256('{account}api key')"), "api key"),
            ("lookup_email_token", format!("sha256('{account}email token')"), "email token"),
            ("lookup_invitation", format!("sha256('{account}invitation')"), "invitation"),
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
    database.run("UPDATE zones SET next_check_at = now()").await;
    let sweeps = [
        "SELECT account_id::text FROM sweep_issuances('0', 10)",
        "SELECT account_id::text FROM sweep_mails('0', 10)",
        "SELECT account_id::text FROM sweep_webhooks('0', 10)",
        "SELECT account_id::text FROM sweep_own_acme_accounts('1 hour', 10)",
        "SELECT value FROM sweep_challenge_records('shared.test')",
        "SELECT sweep_delete_challenge_records('{}')::text",
        "SELECT sweep_delete_zone_records('shared.test', '{}')::text",
        "SELECT id::text FROM sweep_zone_holder('shared.test')",
        "SELECT wanted::text FROM sweep_zone_proofs('shared.test')",
        "SELECT held::text FROM sweep_zone_records('shared.test')",
        "SELECT account_id::text FROM sweep_due_zone_checks('0', 10)",
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
async fn a_zone_has_a_holder_while_an_account_has_it_hosted_and_proven_or_has_lost_it_and_nobody_has_proven_it_since() {
    let database = Database::migrated().await;
    let (account, other) = tables::fill_two_tenants(&database).await;
    let name = format!("used.{}.test", account.0);
    let worker = database.connect(Role::Worker).await;
    let holder = async || {
        let found = worker.query(&format!("SELECT account_id::text FROM sweep_zone_holder('{name}')"), &[]).await.unwrap();
        found.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    let mine = vec![account.0.to_string()];
    for (change, held) in [
        ("name = name", true),
        ("status = 'pending'", false),
        ("status = 'verified', mode = 'delegated'", false),
        ("mode = 'hosted'", true),
        ("status = 'lost', lost_at = now() - interval '1 day'", true),
        ("deleted_at = now()", false),
        ("deleted_at = NULL", true),
    ] {
        database.run(&format!("UPDATE zones SET {change} WHERE name = '{name}'")).await;
        assert_eq!(holder().await, if held { mine.clone() } else { Vec::new() }, "{change}");
    }
    let theirs = format!("UPDATE zones SET name = '{name}', verified_at = now() WHERE name = 'used.{}.test'", other.0);
    database.run(&theirs).await;
    assert_eq!(holder().await, [other.0.to_string()]);
    database.run(&format!("UPDATE zones SET deleted_at = now() WHERE account_id = '{}'", other.0)).await;
    assert_eq!(holder().await, Vec::<String>::new(), "somebody else has proven it since");
    database.run(&format!("UPDATE zones SET lost_at = now() + interval '1 minute' WHERE account_id = '{}'", account.0)).await;
    assert_eq!(holder().await, mine);
}

#[tokio::test]
async fn the_records_of_a_zone_are_its_holders_and_what_others_have_left_behind() {
    let database = Database::migrated().await;
    let (account, other) = tables::fill_two_tenants(&database).await;
    let name = format!("used.{}.test", account.0);
    database.run(&format!("UPDATE zones SET name = '{name}', status = 'pending' WHERE name = 'used.{}.test'", other.0)).await;
    let worker = database.connect(Role::Worker).await;
    let records = async || {
        let query = format!("SELECT account_id::text, held, settled FROM sweep_zone_records('{name}') ORDER BY held DESC");
        let found = worker.query(&query, &[]).await.unwrap();
        found.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect::<Vec<(String, bool, bool)>>()
    };
    let (mine, theirs) = (account.0.to_string(), other.0.to_string());
    assert_eq!(records().await, [(mine.clone(), true, false)], "whoever waits for a proof has no say");
    database.run(&format!("UPDATE zones SET deleted_at = now() WHERE account_id = '{theirs}' AND name = '{name}'")).await;
    assert_eq!(records().await, [(mine.clone(), true, false), (theirs.clone(), false, false)]);

    let settled = async |change: &str| {
        database.run(&format!("UPDATE zone_records SET {change} WHERE account_id = '{mine}'")).await;
        records().await[0].2
    };
    assert!(!settled("refusal = 'no', refused_at = now()").await, "a change of the same minute may have come after it");
    assert!(settled("updated_at = now() - interval '2 minutes'").await);
    assert!(!settled("deleted_at = now()").await);
    assert!(!settled("deleted_at = NULL, updated_at = now() - interval '2 days', refused_at = now() - interval '25 hours'").await);

    let ids: Vec<String> = database.column(&format!("SELECT id::text FROM zone_records WHERE account_id IN ('{mine}', '{theirs}')")).await;
    let delete = format!("SELECT sweep_delete_zone_records('{name}', '{{{}}}')", ids.join(","));
    assert_eq!(worker.query_one(&delete, &[]).await.unwrap().get::<_, i64>(0), 1, "what the holder wants stays");
    assert_eq!(records().await.len(), 1);
    settled("deleted_at = now()").await;
    assert_eq!(worker.query_one(&delete, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn how_far_our_name_servers_are_is_told_to_the_holder_of_the_zone_alone() {
    let database = Database::migrated().await;
    let (mine, theirs) = tables::fill_two_tenants(&database).await;
    let (name, other) = (format!("used.{}.test", mine.0), format!("used.{}.test", theirs.0));
    // Somebody else waits for the proof of the same zone.
    database.run(&format!("UPDATE zones SET name = '{name}', status = 'pending' WHERE name = '{other}'")).await;
    database.run(&format!("SELECT request_projection('{name}')")).await;
    let api = database.connect(Role::Api).await;
    let ask = format!("SELECT FROM lookup_zone_projection('{name}')");
    assert_eq!(attempt(&api, &ask).await, Outcome::Rows(0), "nobody is asking");
    for (account, rows) in [(mine.0, 1), (theirs.0, 0), (Uuid::now_v7(), 0)] {
        api.batch_execute(&format!("SET zonecert.account = '{account}'")).await.unwrap();
        assert_eq!(attempt(&api, &ask).await, Outcome::Rows(rows), "{account}");
    }
    api.batch_execute(&format!("SET zonecert.account = '{}'", mine.0)).await.unwrap();
    for change in ["status = 'lost', lost_at = now()", "status = 'verified', mode = 'delegated'", "mode = 'hosted', deleted_at = now()"] {
        database.run(&format!("UPDATE zones SET {change} WHERE account_id = '{}' AND name = '{name}'", mine.0)).await;
        assert_eq!(attempt(&api, &ask).await, Outcome::Rows(0), "{change}");
    }
    let worker = database.connect(Role::Worker).await;
    assert_eq!(attempt(&worker, &ask).await, Outcome::NoGrant);
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
