//! What becomes of transactions and of the pool when connections are lost or their users go away.

use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::Integer;
use diesel_async::RunQueryDsl;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, oneshot};
use zonecert_devstack::wait;
use zonecert_domain::id::AccountId;
use zonecert_store::{Connection, Store, StoreError, api_tokens};

use crate::database::{Database, Role};
use crate::line::Line;
use crate::world::{World, now};

const SOON: Duration = Duration::from_secs(20);

/// For what is to fail. A new connection may take longer than this.
const IMPATIENT: Duration = Duration::from_millis(300);

async fn backend(conn: &mut Connection) -> Result<i32, StoreError> {
    #[derive(QueryableByName)]
    struct Backend {
        #[diesel(sql_type = Integer)]
        pid: i32,
    }
    Ok(diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result::<Backend>(conn).await?.pid)
}

/// How many sessions of the API this is true of.
async fn sessions(database: &Database, condition: &str) -> i64 {
    let count =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'zonecert_api' AND {condition}");
    database.value(&count).await
}

async fn until_sessions(database: &Database, number: i64, condition: &str) {
    let settled = async || Ok((sessions(database, condition).await == number).then_some(()));
    wait::until(&format!("{number} sessions where {condition}"), SOON, settled).await.unwrap();
}

/// Waits until the pool has a connection.
async fn until_up(store: &Store) {
    wait::until("the pool has a connection", SOON, async || Ok(store.ping().await.ok())).await.unwrap();
}

/// Opens as many connections as the pool may have, and leaves them idle.
async fn fill(store: &Store, connections: usize) {
    let all_are_open = Barrier::new(connections);
    let open = (0..connections).map(|_| store.platform(async |_| Ok::<_, StoreError>(all_are_open.wait().await.is_leader())));
    futures::future::join_all(open).await.into_iter().for_each(|opened| assert!(opened.is_ok()));
}

#[tokio::test]
async fn a_session_that_the_server_ends_in_mid_transaction_is_unavailable_and_the_pool_recovers() {
    let database = Database::migrated().await;
    let store = database.store(Role::Api, 1);
    for _ in 0..5 {
        let ended = store.platform(async |conn| {
            let pid = backend(conn).await?;
            database.value::<bool>(&format!("SELECT pg_terminate_backend({pid}, 10000)")).await;
            backend(conn).await
        });
        let ended = ended.await;
        assert!(matches!(ended, Err(StoreError::Unavailable(_))), "{ended:?}");
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_the_server_ends_in_mid_statement_is_unavailable_and_writes_nothing() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let store = world.database.store(Role::Api, 1);
    let lock = world.database.stack.postgres.connect_as_admin(&world.database.name).await.unwrap();
    lock.batch_execute("BEGIN; SELECT FROM accounts FOR UPDATE").await.unwrap();
    let waiting = "wait_event_type = 'Lock'";
    let write = store.tenant_write(account, async |_| Ok::<_, StoreError>(()));
    let terminate = async {
        until_sessions(&world.database, 1, waiting).await;
        let ended =
            format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND {waiting}");
        assert_eq!(world.database.value::<i64>(&ended).await, 1);
    };
    let (written, ()) = tokio::join!(write, terminate);
    assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");
    lock.batch_execute("COMMIT").await.unwrap();
    store.tenant_write(account, async |_| Ok::<_, StoreError>(())).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable_until_it_is_back() {
    let database = Database::migrated().await;
    let mut line = Line::to(database.stack.postgres.port()).await;
    let store = line.store(&database, 2, IMPATIENT);
    until_up(&store).await;
    let (cut, is_cut) = (oneshot::channel(), oneshot::channel());
    let cutter = async {
        cut.1.await.unwrap();
        line.cut().await;
        is_cut.0.send(()).unwrap();
    };
    let lost = store.platform(async |conn| {
        backend(conn).await?;
        cut.0.send(()).unwrap();
        is_cut.1.await.unwrap();
        backend(conn).await
    });
    let (lost, ()) = tokio::join!(lost, cutter);
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    for _ in 0..2 {
        let gone = store.ping().await;
        assert!(matches!(gone, Err(StoreError::Unavailable(_))), "{gone:?}");
    }
    line.mend().await;
    until_up(&store).await;
    // With the server back, nobody meets a connection of before.
    for _ in 0..4 {
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn connections_that_died_while_idle_are_not_handed_out() {
    const CONNECTIONS: u32 = 4;
    let database = Database::migrated().await;
    let mut line = Line::to(database.stack.postgres.port()).await;
    let store = line.store(&database, CONNECTIONS, SOON);
    fill(&store, CONNECTIONS as usize).await;
    assert_eq!(sessions(&database, "true").await, i64::from(CONNECTIONS));
    line.cut().await;
    line.mend().await;
    until_sessions(&database, 0, "true").await;
    for _ in 0..2 * CONNECTIONS {
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_that_is_dropped_in_its_middle_is_rolled_back_and_holds_nothing() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let store = world.database.store(Role::Api, 1);
    let open = "state = 'idle in transaction'";
    {
        let stuck = pin!(store.tenant_write(account, async |conn| {
            diesel::sql_query("UPDATE accounts SET name = 'changed'").execute(conn).await?;
            std::future::pending::<Result<(), StoreError>>().await
        }));
        let until_stuck = pin!(until_sessions(&world.database, 1, open));
        futures::future::select(stuck, until_stuck).await;
    }
    until_sessions(&world.database, 0, open).await;
    store.tenant_write(account, async |_| Ok::<_, StoreError>(())).await.unwrap();
    assert_eq!(world.database.value::<String>("SELECT name FROM accounts").await, "Tenant");
}

#[tokio::test]
async fn a_transaction_that_panics_is_rolled_back_and_holds_nothing() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let store = world.database.store(Role::Api, 1);
    let panicking = store.clone();
    let task = tokio::spawn(async move { panicking.tenant_write(account, async |conn| panics(conn).await).await });
    assert!(task.await.unwrap_err().is_panic());
    until_sessions(&world.database, 0, "state = 'idle in transaction'").await;
    store.tenant_write(account, async |_| Ok::<_, StoreError>(())).await.unwrap();
    assert_eq!(world.database.value::<String>("SELECT name FROM accounts").await, "Tenant");
}

async fn panics(conn: &mut Connection) -> Result<(), StoreError> {
    let changed = diesel::sql_query("UPDATE accounts SET name = 'changed'").execute(conn).await?;
    panic!("on purpose, with {changed} rows changed");
}

/// A question that is one statement, and finds nothing.
async fn ask(store: &Store) -> Result<(), StoreError> {
    api_tokens::read_usable(store, &[0; 32], now()).await.map(|found| assert!(found.is_none()))
}

#[tokio::test]
async fn questions_share_a_few_connections_beside_the_pool() {
    let database = Database::migrated().await;
    let store = database.store(Role::Api, 1);
    let (used_up, answered) = (oneshot::channel(), oneshot::channel());
    let uses_the_pool = store.platform(async |_| {
        used_up.0.send(()).unwrap();
        answered.1.await.unwrap();
        Ok::<_, StoreError>(())
    });
    let ask_all_at_once = async {
        used_up.1.await.unwrap();
        futures::future::try_join_all((0..100).map(|_| ask(&store))).await.unwrap();
        answered.0.send(()).unwrap();
    };
    let (used, ()) = tokio::join!(uses_the_pool, ask_all_at_once);
    used.unwrap();
    assert_eq!(sessions(&database, "true").await, 2, "one of the pool, and one of this thread");
}

#[tokio::test]
async fn a_question_whose_connection_is_lost_is_asked_again() {
    let database = Database::migrated().await;
    let mut line = Line::to(database.stack.postgres.port()).await;
    let store = line.store(&database, 1, SOON);
    ask(&store).await.unwrap();
    for _ in 0..3 {
        line.cut().await;
        line.mend().await;
        futures::future::try_join_all((0..20).map(|_| ask(&store))).await.unwrap();
    }
    line.cut().await;
    let gone = ask(&store).await;
    assert!(matches!(gone, Err(StoreError::Unavailable(_))), "{gone:?}");
    line.mend().await;
    ask(&store).await.unwrap();
}

#[tokio::test]
async fn a_server_that_answers_nobody_is_unavailable_to_all_who_ask_at_the_same_time() {
    let database = Database::migrated().await;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = database.url(Role::Api).replace(&format!(":{}/", database.stack.postgres.port()), &format!(":{port}/"));
    let store = Store::open(&url, 1, IMPATIENT).unwrap();
    // One after the other, the last would be answered after twice a hundred times the patience.
    let all = futures::future::join_all((0..100).map(|_| ask(&store)));
    for gone in tokio::time::timeout(SOON, all).await.unwrap() {
        assert!(matches!(gone, Err(StoreError::Unavailable(_))), "{gone:?}");
    }
}

#[tokio::test]
async fn a_pool_that_is_used_up_is_unavailable() {
    let database = Database::migrated().await;
    let store = Store::open(&database.url(Role::Api), 1, IMPATIENT).unwrap();
    until_up(&store).await;
    let used_up = store.platform(async |_| Ok::<_, StoreError>(store.ping().await)).await.unwrap();
    assert!(matches!(used_up, Err(StoreError::Unavailable(_))), "{used_up:?}");
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_store_can_be_opened_before_its_server_and_says_why_it_is_not_there() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let store = Store::open(&format!("postgres://zonecert_api:x@{free}/none"), 1, IMPATIENT).unwrap();
    let gone = store.ping().await;
    assert!(matches!(gone, Err(StoreError::Unavailable(_))), "{gone:?}");
}

#[tokio::test]
async fn a_write_needs_an_account_that_is_there() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let write = async |account| world.api.tenant_write(account, async |_| Ok::<_, StoreError>(())).await;
    write(account).await.unwrap();
    assert!(matches!(write(AccountId::new()).await, Err(StoreError::NotFound)));
    world.database.run("UPDATE accounts SET deleted_at = now()").await;
    assert!(matches!(write(account).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn the_account_of_a_transaction_is_gone_with_it() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let store = world.database.store(Role::Api, 1);
    let (account, zone) = (tenant.account, tenant.zone);
    let get = async |conn: &mut Connection| zonecert_store::zones::get_zone(conn, account, zone).await;
    for _ in 0..2 {
        assert_eq!(store.tenant(account, async |conn| get(conn).await).await.unwrap().id, zone);
        // The pool has one connection: this is the same session.
        assert!(matches!(store.platform(async |conn| get(conn).await).await, Err(StoreError::NotFound)));
        assert!(matches!(store.tenant(AccountId::new(), async |conn| get(conn).await).await, Err(StoreError::NotFound)));
        let failed = store.tenant(account, async |conn| get(conn).await.and(Err::<(), _>(StoreError::Stale)));
        assert!(matches!(failed.await, Err(StoreError::Stale)));
        assert!(matches!(store.platform(async |conn| get(conn).await).await, Err(StoreError::NotFound)));
    }
    assert_eq!(sessions(&world.database, "true").await, 1 + 1, "the pool of this test and that of its world");
}
