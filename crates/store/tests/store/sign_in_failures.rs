//! Failed sign-ins are counted for all processes together, and forgotten with time.

use std::time::Duration;

use zonecert_domain::sign_in::GuessLimit;
use zonecert_store::sign_in_failures::{self, Subject};
use zonecert_store::{Store, StoreError};

use crate::database::{Database, Role};

const LIMIT: GuessLimit = GuessLimit { free: 2, longest_wait: Duration::from_hours(1) };

async fn fail(store: &Store, subject: Subject) -> u32 {
    store.platform(async |conn| sign_in_failures::record_failure(conn, subject, LIMIT).await).await.unwrap()
}

async fn wait(store: &Store, subjects: &[Subject]) -> Option<Duration> {
    store.platform(async |conn| sign_in_failures::find_wait(conn, subjects).await).await.unwrap()
}

async fn let_pass(database: &Database, interval: &str) {
    let past = |column: &str| format!("{column} = {column} - interval '{interval}'");
    let columns = ["first_failed_at", "last_failed_at", "blocked_until"].map(past).join(", ");
    database.run(&format!("UPDATE sign_in_failures SET {columns}")).await;
}

#[tokio::test]
async fn failures_beyond_the_free_ones_make_the_next_wait() {
    let database = Database::migrated().await;
    let store = database.store(Role::Api, 2);
    let (one, other) = (Subject::email("a@b.test"), Subject::email("c@d.test"));
    assert_eq!(wait(&store, &[one]).await, None);
    assert_eq!((fail(&store, one).await, fail(&store, one).await), (1, 2));
    assert_eq!(wait(&store, &[one, other]).await, None);
    for _ in 3..20 {
        fail(&store, one).await;
    }
    let long = wait(&store, &[other, one]).await.unwrap();
    assert!(long > Duration::from_mins(50) && long <= LIMIT.longest_wait, "{long:?}");
    assert_eq!(wait(&store, &[other]).await, None);
    let_pass(&database, "61 minutes").await;
    assert_eq!(wait(&store, &[one]).await, None);
    store.platform(async |conn| sign_in_failures::forget(conn, one).await).await.unwrap();
    assert_eq!(fail(&store, one).await, 1);
}

#[tokio::test]
async fn one_failure_is_forgotten_each_ten_minutes() {
    let database = Database::migrated().await;
    let store = database.store(Role::Api, 1);
    let subject = Subject::network("192.0.2.1/32".parse().unwrap());
    for expected in 1..=6 {
        assert_eq!(fail(&store, subject).await, expected);
    }
    let_pass(&database, "9 minutes").await;
    assert_eq!(fail(&store, subject).await, 7);
    let_pass(&database, "31 minutes").await;
    assert_eq!(fail(&store, subject).await, 5);
    let_pass(&database, "1 month").await;
    assert_eq!(fail(&store, subject).await, 1);
}

#[tokio::test]
async fn failures_at_the_same_moment_are_all_counted() {
    let database = Database::migrated().await;
    let stores = [database.store(Role::Api, 4), database.store(Role::Api, 4)];
    let network = Subject::network("192.0.2.1/32".parse().unwrap());
    let emails: Vec<Subject> = (0..4).map(|n| Subject::email(&format!("{n}@b.test"))).collect();
    // Each e-mail address before the network, as attempts do it: nobody waits for anybody in a circle.
    let counts = (0..40).map(async |n: usize| {
        let email = emails[n % 4];
        let counted = stores[n % 2].platform(async |conn| {
            sign_in_failures::record_failure(conn, email, LIMIT).await?;
            sign_in_failures::record_failure(conn, network, LIMIT).await
        });
        counted.await.unwrap()
    });
    let mut counted = futures::future::join_all(counts).await;
    counted.sort_unstable();
    assert_eq!(counted, (1..=40).collect::<Vec<u32>>());
    assert_eq!(database.column::<i32>("SELECT failures FROM sign_in_failures ORDER BY failures").await, [10, 10, 10, 10, 40]);
}

#[tokio::test]
async fn an_e_mail_address_is_no_network_and_nobody_reads_either() {
    let database = Database::migrated().await;
    let store = database.store(Role::Api, 1);
    fail(&store, Subject::email("192.0.2.1/32")).await;
    assert_eq!(fail(&store, Subject::network("192.0.2.1".parse().unwrap())).await, 1);
    let lengths = database.column::<i32>("SELECT length(subject) FROM sign_in_failures").await;
    assert_eq!(lengths, [32, 32]);
}

#[tokio::test]
async fn the_worker_forgets_what_is_old_a_batch_at_a_time() {
    let database = Database::migrated().await;
    let (api, worker) = (database.store(Role::Api, 1), database.store(Role::Worker, 1));
    for n in 0..5 {
        fail(&api, Subject::email(&format!("{n}@b.test"))).await;
    }
    let_pass(&database, "25 hours").await;
    let fresh = Subject::email("fresh@b.test");
    fail(&api, fresh).await;
    let purge = async || worker.platform(async |conn| sign_in_failures::purge(conn, Duration::from_hours(24), 3).await).await.unwrap();
    assert_eq!((purge().await, purge().await, purge().await), (3, 2, 0));
    assert_eq!(fail(&api, fresh).await, 2);
    let refused = worker.platform(async |conn| sign_in_failures::record_failure(conn, fresh, LIMIT).await).await;
    assert!(matches!(refused, Err(StoreError::Database(_))), "{refused:?}");
}
