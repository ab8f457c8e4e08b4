//! What is spent at a CA: counted for all tenants together, and forgotten after the longest time that a CA counts.

use std::time::Duration;

use zonecert_store::StoreError;
use zonecert_store::ca_budget::{self, Spending};

use crate::world::{DIRECTORY, World};

const WEEK: Duration = Duration::from_hours(7 * 24);

async fn count(world: &World, directory: &str, spending: Spending<'_>, since: Duration) -> i64 {
    let by_api = world.api.platform(async |conn| ca_budget::count(conn, directory, &spending, since).await).await.unwrap();
    let by_worker = world.worker.platform(async |conn| ca_budget::count(conn, directory, &spending, since).await).await.unwrap();
    assert_eq!(by_api, by_worker);
    by_api
}

#[tokio::test]
async fn what_tenants_have_spent_is_counted_together_by_directory_kind_and_subject() {
    let world = World::new().await;
    let names = ["b.example.test", "a.example.test"].map(str::to_owned);
    let reversed = ["a.example.test", "b.example.test"].map(str::to_owned);
    let many: Vec<String> = (0..100).map(|number| format!("{}.{number}.example.test", "x".repeat(60))).collect();
    for _ in 0..2 {
        let account = world.tenant().await.account;
        let spent = [
            Spending::Order,
            Spending::RegisteredDomain("example.test"),
            Spending::ExactNames(&names),
            Spending::ExactNames(&many),
            Spending::FailedAuthorization("a.example.test"),
        ];
        let recorded = world.worker.tenant_write(account, async |conn| ca_budget::record(conn, account, DIRECTORY, &spent).await);
        recorded.await.unwrap();
    }
    for spending in [
        Spending::Order,
        Spending::RegisteredDomain("example.test"),
        Spending::ExactNames(&reversed),
        Spending::ExactNames(&many),
        Spending::FailedAuthorization("a.example.test"),
    ] {
        assert_eq!(count(&world, DIRECTORY, spending, WEEK).await, 2, "{spending:?}");
        assert_eq!(count(&world, "https://other.test/dir", spending, WEEK).await, 0, "{spending:?}");
    }
    for other in
        [Spending::RegisteredDomain("a.example.test"), Spending::FailedAuthorization("example.test"), Spending::ExactNames(&names[..1])]
    {
        assert_eq!(count(&world, DIRECTORY, other, WEEK).await, 0, "{other:?}");
    }
}

#[tokio::test]
async fn what_was_spent_long_ago_counts_no_more_and_is_forgotten() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    for _ in 0..3 {
        let recorded =
            world.worker.tenant_write(account, async |conn| ca_budget::record(conn, account, DIRECTORY, &[Spending::Order]).await);
        recorded.await.unwrap();
    }
    world.database.run("UPDATE ca_budget SET at = now() - interval '4 hours' WHERE id <= 2").await;
    world.database.run("UPDATE ca_budget SET at = now() - interval '9 days' WHERE id = 1").await;
    assert_eq!(count(&world, DIRECTORY, Spending::Order, Duration::from_hours(3)).await, 1);
    assert_eq!(count(&world, DIRECTORY, Spending::Order, WEEK).await, 2);
    let purge = async || world.worker.platform(async |conn| ca_budget::purge(conn, ca_budget::KEEP, 10).await).await.unwrap();
    assert_eq!((purge().await, purge().await), (1, 0));
    assert_eq!(count(&world, DIRECTORY, Spending::Order, Duration::from_hours(9 * 24)).await, 2);
}

#[tokio::test]
async fn nothing_spent_is_written_where_the_transaction_fails() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let failed = world.worker.tenant_write(account, async |conn| {
        ca_budget::record(conn, account, DIRECTORY, &[Spending::Order]).await?;
        Err::<(), _>(StoreError::Stale)
    });
    assert!(failed.await.is_err());
    assert_eq!(count(&world, DIRECTORY, Spending::Order, WEEK).await, 0);
}
