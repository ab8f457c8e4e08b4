//! Lists and searches read the tenant's own rows by its index, however much others have: counted by `PostgreSQL` itself while the real functions run as
//! the API's role, under row-level security.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use uuid::Uuid;
use zonecert_devstack::wait;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, OrderId, VersionId, ZoneId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_store::certificates::{self, Filter, Fingerprint, Position};
use zonecert_store::{Connection, Store, StoreError, order_history, version_history};

use crate::database::{Database, Role};
use crate::world::now;

/// Certificates of the tenant who asks; each has two names.
const MINE: i64 = 30;

/// Versions of each certificate; an order has brought each.
const VERSIONS: i64 = 4;

/// Two hundred tenants with as many certificates each.
async fn crowd(database: &Database) -> AccountId {
    database
        .run(&format!(
            "SET session_replication_role = replica;
             INSERT INTO accounts (id, name, plan) SELECT md5(a::text)::uuid, 'Tenant', 'elite' FROM generate_series(1, 200) AS a;
             INSERT INTO certificates (id, account_id, zone_id, name, number, domain, key_algorithm, auto_renew, status, created_at, expires_at)
             SELECT md5(a || '-' || n)::uuid, md5(a::text)::uuid, md5('zone' || a)::uuid, 'c' || n, n, 'c' || n || '.t' || a || '.test', 'rsa2048', true, 'issued',
                 now() - make_interval(mins => n), now() + make_interval(days => n) FROM generate_series(1, 200) AS a, generate_series(1, {MINE}) AS n;
             INSERT INTO certificate_names (account_id, certificate_id, position, name, reversed_name)
             SELECT account_id, id, position, prefix || domain, 'test.' || number || prefix FROM certificates, (VALUES (0, ''), (1, 'www.')) AS names (position, prefix);
             INSERT INTO issuances (id, account_id, certificate_id, reason, status, give_up_at, finished_at)
             SELECT md5('i' || id || n)::uuid, account_id, id, 'first', 'succeeded', now(), now() FROM certificates, generate_series(1, {VERSIONS}) AS n;
             INSERT INTO key_versions (id, account_id, private_key_id, data_key_id, sealed, public_key_sha256)
             SELECT md5('k' || id || n)::uuid, account_id, md5('k' || id)::uuid, md5('d')::uuid, '', '' FROM certificates, generate_series(1, {VERSIONS}) AS n;
             INSERT INTO orders (id, account_id, issuance_id, certificate_id, directory_url, acme_account_id, status, url, names, key_version_id, csr, created_at, finished_at)
             SELECT md5('o' || id || n)::uuid, account_id, md5('i' || id || n)::uuid, id, 'https://ca.test/dir', md5('a')::uuid, 'issued', id || '/' || n, '{{}}',
                 md5('k' || id || n)::uuid, '', now() + make_interval(mins => n), now() FROM certificates, generate_series(1, {VERSIONS}) AS n;
             INSERT INTO events (account_id, number, level, event, message, certificate_id, order_id)
             SELECT account_id, row_number() OVER (PARTITION BY account_id), 'info', 'order_begun', '', certificate_id, id FROM orders;
             INSERT INTO versions (id, account_id, certificate_id, number, source, order_id, key_version_id, chain_pem, names, serial, fingerprint_sha256, issuer,
                 subject, not_before, not_after, fingerprint_sha1)
             SELECT md5('v' || id || n)::uuid, account_id, id, n, 'acme', md5('o' || id || n)::uuid, md5('k' || id || n)::uuid, '', '{{}}', md5('s' || id || n), md5('f' || id || n), '', '', now(),
                 now() + interval '1 day', md5('g' || id || n) FROM certificates, generate_series(1, {VERSIONS}) AS n;
             INSERT INTO revocations (id, account_id, certificate_id, version_id, order_id, certificate_der, not_after, reason, requested_by, status, next_attempt_at, finished_at)
             SELECT md5('r' || id)::uuid, account_id, certificate_id, id, order_id, '', not_after, 0, '', 'succeeded', NULL, now() FROM versions WHERE number = 1;
             RESET session_replication_role"
        ))
        .await;
    // Where rows are not known to be visible to everybody, the planner looks at those at the ends of an index, and they would count.
    let settled = async || {
        database.run("VACUUM ANALYZE").await;
        let visible = format!("SELECT bool_and(relallvisible = relpages) FROM pg_class WHERE relname IN ({LISTED}, {HISTORY})");
        Ok(database.value::<bool>(&visible).await.then_some(()))
    };
    wait::until("every row is visible to everybody", Duration::from_mins(1), settled).await.unwrap();
    AccountId(uuid(database, "7").await)
}

async fn uuid(database: &Database, of: &str) -> Uuid {
    database.value::<String>(&format!("SELECT md5('{of}')::uuid::text")).await.parse().unwrap()
}

/// The tables that lists of certificates are made of, and those that orders and versions are made of.
const LISTED: &str = "'certificates', 'certificate_names'";
const HISTORY: &str = "'certificates', 'versions', 'orders', 'issuances', 'key_versions', 'revocations', 'events'";

/// What the API asks, as its role.
#[derive(Debug)]
enum Question {
    Versions(CertificateId, Option<version_history::Position>),
    Version(CertificateId, VersionId),
    Orders(CertificateId, Option<order_history::Position>),
    Order(CertificateId, OrderId),
    List(Box<Filter>, Option<Position>),
    Usage,
    Read(CertificateId),
}

fn list(filter: Filter, after: Option<Position>) -> Question {
    Question::List(Box::new(filter), after)
}

/// Returns how many rows were found.
async fn ask(store: &Store, account: AccountId, question: Question) -> usize {
    let limit = MINE + 1;
    match question {
        Question::Versions(id, after) => {
            let list = async move |conn: &mut Connection| version_history::list_versions(conn, account, id, after, limit).await;
            store.tenant(account, list).await.unwrap().len()
        }
        Question::Version(id, version) => {
            let get = async move |conn: &mut Connection| version_history::get_version(conn, account, id, version).await;
            store.tenant(account, get).await.map(|_| 1).unwrap()
        }
        Question::Orders(id, after) => {
            let list = async move |conn: &mut Connection| order_history::list_orders(conn, account, id, after, limit).await;
            store.tenant(account, list).await.unwrap().iter().map(|order| order.steps.len()).sum()
        }
        Question::Order(id, order) => {
            let get = async move |conn: &mut Connection| order_history::get_order(conn, account, id, order).await;
            store.tenant(account, get).await.unwrap().steps.len()
        }
        Question::List(filter, after) => {
            let list = async move |conn: &mut Connection| certificates::list_certificates(conn, account, &filter, after, limit).await;
            store.tenant(account, list).await.unwrap().len()
        }
        Question::Usage => {
            let usage = async move |conn: &mut Connection| certificates::get_usage(conn, account).await;
            usize::try_from(store.tenant::<_, StoreError, _>(account, usage).await.unwrap().1.slots).unwrap()
        }
        Question::Read(id) => certificates::read_certificate(store, account, id).await.map(|_| 1).unwrap(),
    }
}

/// How often these tables are read from end to end by a question, and how many rows of them by an index.
async fn cost(database: &Database, account: AccountId, tables: &str, question: Question) -> (usize, i64, i64) {
    // A connection may keep what it has counted for a while, and would report what filled the tables after the reset.
    database.run("SELECT pg_stat_force_next_flush()").await;
    database.run("SELECT pg_stat_reset()").await;
    let store = database.store(Role::Api, 1);
    let found = ask(&store, account, question).await;
    drop(store);
    // A connection reports what it has read when it ends.
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'zonecert_api'";
    while database.value::<i64>(connected).await > 0 {
        tokio::task::yield_now().await;
    }
    let tables = format!("FROM pg_stat_user_tables WHERE relname IN ({tables})");
    let scans = database.value::<i64>(&format!("SELECT sum(seq_scan)::bigint {tables}")).await;
    (found, scans, database.value::<i64>(&format!("SELECT sum(idx_tup_fetch)::bigint {tables}")).await)
}

#[tokio::test]
async fn no_question_reads_more_than_the_tenants_own_rows() {
    let database = Database::migrated().await;
    let account = crowd(&database).await;
    let (zone, middle) = (ZoneId(uuid(&database, "zone7").await), CertificateId(uuid(&database, "7-15").await));
    let micros = format!("SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM certificates WHERE id = '{}'", middle.0);
    let created_at = DateTime::from_timestamp_micros(database.value::<i64>(&micros).await).unwrap();
    let filter = Filter::default;
    let mine = usize::try_from(MINE).unwrap();
    for (question, expected) in [
        (list(filter(), None), mine),
        (list(filter(), Some(Position { created_at, id: middle })), mine - 15),
        (list(Filter { statuses: vec![CertificateStatus::Issued], ..filter() }, None), mine),
        (list(Filter { statuses: vec![CertificateStatus::Failed, CertificateStatus::Revoked], ..filter() }, None), 0),
        (list(Filter { zone: Some(zone), ..filter() }, None), mine),
        (list(Filter { name: Some("c7".to_owned()), ..filter() }, None), 1),
        (list(Filter { text: Some("www.c7.".to_owned()), ..filter() }, None), 1),
        (list(Filter { text: Some("t7.test".to_owned()), ..filter() }, None), mine),
        (list(Filter { text: Some("nowhere".to_owned()), ..filter() }, None), 0),
        (list(Filter { expiring_before: Some(now() + TimeDelta::hours(36)), ..filter() }, None), 1),
        (list(Filter { key_algorithms: vec![KeyAlgorithm::Rsa2048], ..filter() }, None), mine),
        (list(Filter { key_algorithms: vec![KeyAlgorithm::EcdsaP256], ..filter() }, None), 0),
        (Question::Usage, mine),
        (Question::Read(middle), 1),
    ] {
        let asked = format!("{question:?}");
        let (found, scans, read) = cost(&database, account, LISTED, question).await;
        assert_eq!((found, scans), (expected, 0), "{asked}");
        // Each certificate, and each of its two names twice: to look for the text, and to show them.
        assert!(read <= 5 * MINE, "{read} rows for {asked}");
    }

    let (version, order) = (format!("v{}2", middle.0), format!("o{}2", middle.0));
    let (version, order) = (VersionId(uuid(&database, &version).await), OrderId(uuid(&database, &order).await));
    let written = async |column: &str| database.value::<String>(&format!("SELECT {column} FROM versions WHERE id = '{}'", version.0)).await;
    for wanted in [
        Filter { serial: Some(written("serial").await), ..filter() },
        Filter { fingerprint: Some(Fingerprint::Sha1(written("fingerprint_sha1").await)), ..filter() },
        Filter { fingerprint: Some(Fingerprint::Sha256(written("fingerprint_sha256").await)), ..filter() },
    ] {
        let asked = format!("{wanted:?}");
        let (found, scans, read) = cost(&database, account, "'certificates', 'versions'", list(wanted, None)).await;
        assert_eq!((found, scans), (1, 0), "{asked}");
        assert!(read <= VERSIONS, "{read} rows for {asked}");
    }

    let micros = format!("SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM orders WHERE id = '{}'", order.0);
    let begun_at = DateTime::from_timestamp_micros(database.value::<i64>(&micros).await).unwrap();
    let all = usize::try_from(VERSIONS).unwrap();
    for (question, expected) in [
        (Question::Versions(middle, None), all),
        (Question::Versions(middle, Some(version_history::Position { number: 3 })), 2),
        (Question::Version(middle, version), 1),
        (Question::Orders(middle, None), all),
        (Question::Orders(middle, Some(order_history::Position { created_at: begun_at, id: order })), 1),
        (Question::Order(middle, order), 1),
    ] {
        let asked = format!("{question:?}");
        let (found, scans, read) = cost(&database, account, HISTORY, question).await;
        assert_eq!((found, scans), (expected, 0), "{asked}");
        // Of this certificate alone, each row of each table a few times.
        assert!(read <= 12 * VERSIONS, "{read} rows for {asked}");
    }
}
