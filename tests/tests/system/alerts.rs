//! Alerts fire where their cause is there, and not before: the cause is brought about in the real parts, the pages are read before and after, and `promtool`
//! evaluates the rules on them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::json;
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{DatabaseProxy, PebbleOptions, PebbleServer, PowerDnsProxy, Traffic, shared, unique_label, wait};
use zonecert_tests::metrics::{Page, Pages, rules_file};
use zonecert_tests::{Client, PATIENCE, System};

use super::metrics::{counts, monitored};

const OF_AN_ODD_DATABASE: [&str; 2] = ["ZonecertSchemaBehind", "ZonecertClockSkew"];
const OF_A_SLOW_DATABASE: [&str; 2] = ["ZonecertApiSlow", "ZonecertConnectionsUsedUp"];
const OF_NO_DATABASE: [&str; 3] = ["ZonecertDatabaseAway", "ZonecertApiErrors", "ZonecertQueueLoopsFail"];
const OF_NO_DNS_SERVER: [&str; 4] =
    ["ZonecertNeedsOperator", "ZonecertRenewalsOverdue", "ZonecertExpiryNear", "ZonecertCertificateExpired"];
const OF_NO_CA_AND_NO_RELAY: [&str; 3] = ["ZonecertIssuancesFail", "ZonecertCaBudgetLow", "ZonecertMailWaits"];
const OF_NO_WORKER: [&str; 4] = ["ZonecertKeyStockEmpty", "ZonecertNoWorker", "ZonecertQueueStalled", "ZonecertWebhooksWait"];
const OF_A_WORKER_THAT_DIED: [&str; 2] = ["ZonecertLeasesTakenOver", "ZonecertSweeperFinds"];

/// What the tests below cause.
const CAUSED: [&[&str]; 7] = [
    &OF_AN_ODD_DATABASE,
    &OF_A_SLOW_DATABASE,
    &OF_NO_DATABASE,
    &OF_NO_DNS_SERVER,
    &OF_NO_CA_AND_NO_RELAY,
    &OF_NO_WORKER,
    &OF_A_WORKER_THAT_DIED,
];

const API_AND_WORKER: [&str; 2] = ["api", "worker"];

/// The pages of both processes, once they are as wanted.
async fn both(system: &System, what: &str, wanted: impl Fn(&Page, &Page) -> bool) -> Result<Vec<Page>> {
    wait::until(what, PATIENCE, async || {
        let (api, worker) = (Page::of(&system.api).await?, Page::of(&system.worker).await?);
        Ok(wanted(&api, &worker).then(|| vec![api, worker]))
    })
    .await
}

#[test]
fn every_alert_is_caused_has_severity_and_summary_and_an_entry_in_the_runbook() {
    let text = std::fs::read_to_string(rules_file()).unwrap();
    let rules: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let runbook = std::fs::read_to_string(rules_file().with_file_name("../../docs/runbook.md")).unwrap();
    let mut there = BTreeSet::new();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let alert = rule["alert"].as_str().unwrap();
        assert!(there.insert(alert), "{alert} is there twice");
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{alert}");
        assert!(rule["annotations"]["summary"].as_str().unwrap().ends_with('.'), "{alert}");
        assert_eq!(rule["annotations"]["runbook"], format!("docs/runbook.md#{}", alert.to_lowercase()));
        let entry = runbook.split(&format!("\n## {alert}\n")).nth(1).unwrap_or_else(|| panic!("{alert} is not in the runbook"));
        let entry = entry.split("\n## ").next().unwrap();
        for part in ["- **Means**: ", "- **Customers notice**: ", "- **Look at**: ", "- **Do**: "] {
            assert!(entry.contains(part), "{alert}: no {part}");
        }
    }
    assert_eq!(runbook.matches("\n## Zonecert").count(), there.len(), "the runbook has an entry for no alert");
    assert_eq!(CAUSED.concat().into_iter().collect::<BTreeSet<_>>(), there, "left: what tests cause; right: what rules there are");
}

#[tokio::test]
async fn alerts_of_a_database_that_is_older_than_the_program_and_of_one_whose_clock_is_wrong() -> Result<()> {
    let system = System::start_with(&shared().await?, monitored).await?;
    let mut pages = Pages::before(&["api"], vec![Page::of(&system.api).await?]);
    let database = system.database().await?;
    let a_minute_behind = "CREATE OR REPLACE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
                           AS $$ SELECT timeofday()::timestamptz - interval '1 minute' $$";
    database.batch_execute(a_minute_behind).await?;
    pages.then(vec![
        Page::until(&system.api, "the clocks differ", |page| page.get("zonecert_clock_skew_seconds").is_some_and(|skew| skew > 50.0))
            .await?,
    ]);
    let newest = "DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)";
    database.execute(newest, &[]).await?;
    pages.then(vec![
        Page::until(&system.api, "the database is older", |page| page.get("zonecert_database_schema_current") == Some(0.0)).await?,
    ]);
    pages.fire(&OF_AN_ODD_DATABASE)
}

#[tokio::test]
async fn alerts_of_a_slow_database() -> Result<()> {
    let system = System::start_with(&shared().await?, monitored).await?;
    let (account, _zone) = system.account_with_zone("elite").await?;
    let few = [(setting::DATABASE_CONNECTIONS, "2"), (setting::DATABASE_PATIENCE_SECONDS, "0.2")];
    let narrow = system.product.serve_with(&few).await?;
    let impatient = Client::new(narrow.api_url(), Some(&account.access_token))?;
    for client in [&account.client, &impatient] {
        client.get("/certificates").await?.expect(200)?;
    }
    let mut pages = Pages::before(&["api", "narrow"], vec![Page::of(&system.api).await?, Page::of(&narrow).await?]);
    let mut lock = system.database().await?;
    let transaction = lock.transaction().await?;
    transaction.batch_execute("LOCK TABLE certificates IN ACCESS EXCLUSIVE MODE").await?;
    let calls: Vec<_> = (0..14)
        .map(|_| account.client.clone())
        .chain((0..6).map(|_| impatient.clone()))
        .map(|client| tokio::spawn(async move { client.get("/certificates").await }))
        .collect();
    let watch = system.database().await?;
    wait::until("they have waited for more than a second", PATIENCE, async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
                       AND query_start < now() - interval '1.2 seconds'";
        Ok((watch.query_one(waiting, &[]).await?.get::<_, i64>(0) >= 14).then_some(()))
    })
    .await?;
    transaction.rollback().await?;
    for call in calls {
        call.await??;
    }
    pages.then(vec![Page::of(&system.api).await?, Page::of(&narrow).await?]);
    pages.fire(&OF_A_SLOW_DATABASE)
}

#[tokio::test]
async fn alerts_of_a_database_that_is_away() -> Result<()> {
    let stack = shared().await?;
    let way = DatabaseProxy::before(&stack.postgres).await?;
    let behind = |product: Product| monitored(product).behind(&way).with(setting::DATABASE_PATIENCE_SECONDS, "0.5");
    let system = System::start_with(&stack, behind).await?;
    let account = system.account("plus").await?;
    account.client.get("/certificates").await?.expect(200)?;
    let mut pages = Pages::before(&API_AND_WORKER, both(&system, "the worker counts", |_, worker| counts(worker)).await?);
    let worker = wait::until("the loops of the queue have failed often", PATIENCE, async || {
        way.cut_once();
        let page = Page::of(&system.worker).await?;
        Ok((page.sum("zonecert_queue_loop_failures_total", &[]) > 10.0).then_some(page))
    })
    .await?;
    way.set(Traffic::Cut);
    for _ in 0..3 {
        account.client.get("/certificates").await?.expect(503)?;
    }
    let api = Page::until(&system.api, "the database is away", |page| page.get("zonecert_database_up") == Some(0.0)).await?;
    pages.then(vec![api, worker]);
    pages.fire(&OF_NO_DATABASE)
}

/// What is left to a certificate goes by, while its renewal is tried again and again.
#[tokio::test]
async fn alerts_of_renewals_while_the_dns_server_is_away() -> Result<()> {
    let stack = shared().await?;
    let way = PowerDnsProxy::before(&stack.powerdns).await?;
    let system = System::start_with(&stack, |product| {
        monitored(product)
            .with(setting::POWERDNS_URL, way.api_url())
            .with(setting::RENEWAL_SCAN_SECONDS, "1")
            .with(setting::RETRY_LADDER_SECONDS, "1,3600")
    })
    .await?;
    let (account, zone) = system.account_with_zone("pro").await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    let renews = |api: &Page, worker: &Page| api.get("zonecert_certificate_nearest_expiry_seconds").is_some() && counts(worker);
    let mut pages = Pages::before(&API_AND_WORKER, both(&system, "a certificate renews by itself", renews).await?);

    drop(way);
    system.let_pass(&id, "60 days 2 hours").await?;
    let rests = "SELECT count(*) FROM issuances WHERE next_wake_at > now() + interval '30 minutes' AND certificate_id::text = $1";
    wait::until("the renewal rests for an hour", PATIENCE, async || Ok((system.count(&id, rests).await? == 1).then_some(()))).await?;
    let overdue = |api: &Page, worker: &Page| {
        api.get(r#"zonecert_renewals_overdue{actor="operator"}"#) == Some(1.0)
            && worker.get("zonecert_certificate_nearest_expiry_seconds").is_some_and(|left| left < 30.0 * 86_400.0)
    };
    pages.then(both(&system, "the renewal is overdue", overdue).await?);

    system.let_pass(&id, "29 days").await?;
    let near = |page: &Page| page.get("zonecert_certificate_nearest_expiry_seconds").is_some_and(|left| left < 86_400.0);
    pages.then(both(&system, "the end is near", |api, worker| near(api) && near(worker)).await?);

    system.let_pass(&id, "1 day").await?;
    let expired = |_: &Page, worker: &Page| worker.get(r#"zonecert_certificates_expired_total{auto_renew="true"}"#) == Some(1.0);
    pages.then(both(&system, "it has expired", expired).await?);
    pages.fire(&OF_NO_DNS_SERVER)
}

#[tokio::test]
async fn alerts_of_a_ca_and_a_mail_relay_that_are_away() -> Result<()> {
    let stack = shared().await?;
    let mut ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::default()).await?;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let system = System::start_at(&stack, &ca, |product| {
        monitored(product).with(setting::RETRY_LADDER_SECONDS, "1").with(setting::SMTP_URL, format!("smtp://{nobody}?tls=none"))
    })
    .await?;
    let (account, zone) = system.account_with_zone("plus").await?;
    let mut pages = Pages::before(&API_AND_WORKER, both(&system, "the worker counts", |_, worker| counts(worker)).await?);

    ca.stop().await?;
    for number in 0..3 {
        account.request(&zone, &format!("app{number}"), &[]).await?;
    }
    let database = system.database().await?;
    let failing = |worker: &Page| worker.sum("zonecert_issuance_failures_total", &[r#"actor="nobody""#, r#"verdict="rest""#]) > 4.0;
    pages.then(both(&system, "attempts fail", |_, worker| failing(worker)).await?);
    // After that the account has had its share, and waits for the CA's limit.
    let nearly_all = "INSERT INTO ca_budget (directory_url, kind, subject, account_id)
                      SELECT $1, 'order', '', accounts.id FROM accounts, generate_series(1, 271) LIMIT 271";
    database.execute(nearly_all, &[&ca.directory_url()]).await?;

    let person =
        json!({ "email": format!("{}@customers.test", unique_label()), "password": "four words are enough", "account_name": "Ada" });
    Client::new(system.api.api_url(), None)?.post("/auth/register", &person).await?.expect(201)?;
    wait::until("the mail was tried, and will be in a while", PATIENCE, async || {
        let tried = "SELECT count(*) FROM mails WHERE last_error IS NOT NULL AND next_attempt_at > now()";
        Ok((database.query_one(tried, &[]).await?.get::<_, i64>(0) > 0).then_some(()))
    })
    .await?;
    database.execute("UPDATE mails SET created_at = created_at - interval '20 minutes'", &[]).await?;

    let waiting = |api: &Page, _: &Page| {
        api.get(r#"zonecert_queue_oldest_due_seconds{queue="mail"}"#) > Some(900.0)
            && api.sum("zonecert_ca_orders_left", &[&ca.directory_url()]) < 30.0
    };
    pages.then(both(&system, "mail waits, and few orders are left", waiting).await?);
    pages.fire(&OF_NO_CA_AND_NO_RELAY)
}

/// A worker dies with ten issuances in hand. Nobody comes for minutes, then another does.
#[tokio::test]
async fn alerts_of_a_worker_that_dies() -> Result<()> {
    let stack = shared().await?;
    let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let mut system =
        System::start_at(&stack, &ca, |product| monitored(product).with(setting::KEY_STOCK, "1").with(setting::KEY_STOCK_SECONDS, "0.2"))
            .await?;
    let (account, zone) = system.account_with_zone("elite").await?;
    let has = |keys| move |api: &Page, worker: &Page| [api, worker].map(|page| page.get("zonecert_key_stock_keys")) == [Some(keys); 2];
    let before = both(&system, "a key is in stock", has(1.0)).await?;
    let mut pages = Pages::before(&API_AND_WORKER, before.clone());

    // The last one has the key; with so many under way the worker makes no other.
    let (mut ids, mut held) = (Vec::new(), Vec::new());
    for number in 0..10 {
        let request = ca.hold_request(if number < 9 { "/order-plz" } else { "/chalZ/" });
        ids.push(account.request(&zone, &format!("app{number}"), &[]).await?);
        request.reached().await?;
        held.push(request);
    }
    pages.then(both(&system, "the key is used", has(0.0)).await?);

    system.worker.kill().await?;
    let hook = account.client.post("/webhooks", &json!({ "url": "https://hooks.example.com/" })).await?.expect(201)?;
    account.client.post(&format!("/webhooks/{}/test", hook["id"].as_str().context("id")?), &json!({})).await?.expect(202)?;
    // They go by, and the jobs get lost.
    let ten_minutes = "UPDATE workers SET seen_at = seen_at - interval '10 minutes';
                       UPDATE issuances SET next_wake_at = next_wake_at - interval '10 minutes', woken_at = woken_at - interval '10 minutes',
                           lease_expires_at = lease_expires_at - interval '10 minutes' WHERE status = 'active';
                       UPDATE webhook_deliveries SET next_attempt_at = next_attempt_at - interval '10 minutes';
                       DELETE FROM apalis.jobs WHERE job_type IN ('issue', 'webhook')";
    system.database().await?.batch_execute(ten_minutes).await?;
    let stalled = |page: &Page| {
        page.get(r#"zonecert_workers{state="working"}"#) == Some(0.0)
            && page.get(r#"zonecert_queue_oldest_due_seconds{queue="issue"}"#) > Some(300.0)
            && page.get(r#"zonecert_queue_oldest_due_seconds{queue="webhook"}"#) > Some(300.0)
    };
    pages.then(vec![Page::until(&system.api, "nobody works", stalled).await?, Page::default()]);
    pages.fire(&OF_NO_WORKER)?;

    drop(held);
    system.worker.start().await?;
    let found = |_: &Page, worker: &Page| {
        ["zonecert_leases_taken_over_total", "zonecert_sweeper_findings_total"]
            .iter()
            .all(|name| worker.sum(name, &[r#"of="issuance""#]) > 5.0)
    };
    let mut pages = Pages::before(&API_AND_WORKER, before);
    pages.then(both(&system, "the next worker has found what the first one left", found).await?);
    pages.fire(&OF_A_WORKER_THAT_DIED)?;
    for id in &ids {
        account.becomes(id, "issued").await?;
    }
    Ok(())
}
