//! What is spent at a CA: counted for all tenants together, and forgotten after the longest time that a CA counts.

use std::time::Duration;

use zonecert_domain::ca_limits::{CaLimitKind, CaLimits};
use zonecert_domain::id::{AccountId, OrderId};
use zonecert_store::ca_budget::{self, Charge, Ledger, Spending, Spent};
use zonecert_store::{StoreError, ca_pauses};

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

fn ledger(limits: &str) -> Ledger {
    Ledger { directory_url: DIRECTORY.to_owned(), limits: limits.parse::<CaLimits>().unwrap() }
}

/// Charges an order for these names.
async fn charge(world: &World, account: AccountId, ca: &Ledger, names: &[String], replaces: bool) -> Result<OrderId, Spent> {
    charge_as(world, account, ca, &Charge { order: OrderId::new(), names, replaces, renewal: false, overdraws: false, own_account: false })
        .await
}

async fn charge_as(world: &World, account: AccountId, ca: &Ledger, charge: &Charge<'_>) -> Result<OrderId, Spent> {
    let charged = world.worker.tenant_write(account, async |conn| ca_budget::charge(conn, account, ca, charge).await).await;
    charged.unwrap().map_or(Ok(charge.order), Err)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_charge_at_the_same_moment_never_spend_more_than_there_is() {
    let world = World::new().await;
    let ca = ledger("order=10/10800");
    let mut accounts = Vec::new();
    for _ in 0..4 {
        accounts.push(world.tenant().await.account);
    }
    let names = |number: usize| vec![format!("n{number}.example.test")];
    let all = futures::future::join_all((0..40).map(|number| {
        let (world, ca, account) = (&world, &ca, accounts[number % accounts.len()]);
        async move { charge(world, account, ca, &names(number), false).await }
    }));
    let charged = all.await;
    assert_eq!(charged.iter().filter(|charged| charged.is_ok()).count(), 10);
    for refused in charged.iter().filter_map(|charged| charged.as_ref().err()) {
        assert_eq!(refused.kind, Some(CaLimitKind::Order));
    }
    assert_eq!(count(&world, DIRECTORY, Spending::Order, WEEK).await, 10);
}

#[tokio::test]
async fn a_charge_is_kept_or_given_back_by_what_happens() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let ca = ledger("order=2/10800,exact_names=1/604800");
    let names = ["a.example.test".to_owned()];
    let write = async |order: OrderId, never_placed: bool| {
        world.worker.tenant_write(account, async |conn| ca_budget::give_back(conn, order, never_placed).await).await.unwrap();
    };
    let spent = async || {
        (count(&world, DIRECTORY, Spending::Order, WEEK).await, count(&world, DIRECTORY, Spending::ExactNames(&names), WEEK).await)
    };
    let refused = charge(&world, account, &ca, &names, false).await.unwrap();
    assert_eq!(spent().await, (1, 1));
    write(refused, true).await;
    assert_eq!(spent().await, (0, 0), "the CA has refused it");
    let failed = charge(&world, account, &ca, &names, false).await.unwrap();
    write(failed, false).await;
    assert_eq!(spent().await, (1, 0), "it was placed, and has brought nothing");
    let issued = charge(&world, account, &ca, &names, false).await.unwrap();
    let kept = world.worker.tenant_write(account, async |conn| ca_budget::keep_certificate(conn, issued).await).await;
    assert!(kept.unwrap());
    assert_eq!(charge(&world, account, &ca, &names, false).await.unwrap_err().kind, Some(CaLimitKind::ExactNames));
    // A replacement is exempt (RFC 9773 §5), and nothing is charged for it.
    charge(&world, account, &ca, &names, true).await.unwrap();
    assert_eq!(spent().await, (2, 1));
    // What only our count says can be left to the CA; the orders of our own account are counted exactly.
    let last = Charge { order: OrderId::new(), names: &names, replaces: false, renewal: true, overdraws: true, own_account: false };
    let orders = charge_as(&world, account, &ca, &last).await.unwrap_err();
    assert_eq!((orders.kind, orders.is_estimate()), (Some(CaLimitKind::Order), false));
    let ca = ledger("order=off,exact_names=1/604800");
    assert!(charge(&world, account, &ca, &names, false).await.unwrap_err().is_estimate());
    charge_as(&world, account, &ca, &last).await.unwrap();
    assert_eq!(spent().await, (3, 2));
}

#[tokio::test]
async fn what_a_ca_has_said_keeps_everybody_from_asking_for_the_same() {
    let world = World::new().await;
    let (account, other) = (world.tenant().await.account, world.tenant().await.account);
    let ca = ledger("off");
    let pause = async |kind: &str, subject: &str| {
        let hour = Duration::from_hours(1);
        world.worker.platform(async |conn| ca_pauses::record(conn, DIRECTORY, kind, subject, hour).await).await.unwrap();
    };
    let (here, elsewhere) = (["a.example.test".to_owned()], ["a.other.test".to_owned()]);
    pause("registered_domain", "example.test").await;
    charge(&world, account, &ca, &elsewhere, false).await.unwrap();
    charge(&world, account, &ca, &here, true).await.unwrap();
    for account in [account, other] {
        assert_eq!(charge(&world, account, &ca, &here, false).await.unwrap_err().kind, None);
    }
    // A registered domain is limited for new sets of names: no renewal waits for it.
    let renewal = Charge { order: OrderId::new(), names: &here, replaces: false, renewal: true, overdraws: false, own_account: false };
    charge_as(&world, account, &ca, &renewal).await.unwrap();
    pause(ca_pauses::SERVICE, "").await;
    charge(&world, other, &ca, &elsewhere, true).await.unwrap_err();
    world.database.run("UPDATE ca_pauses SET until = now() - interval '1 second'").await;
    charge(&world, other, &ca, &here, false).await.unwrap();
    assert_eq!(world.worker.platform(async |conn| ca_pauses::purge(conn).await).await.unwrap(), 2);
}

#[tokio::test]
async fn of_all_that_find_a_ca_away_one_tries_it_again() {
    let world = World::new().await;
    let minute = Duration::from_mins(1);
    let may = async || world.worker.platform(async |conn| ca_pauses::find_outage(conn, DIRECTORY, minute).await).await.unwrap().is_none();
    assert!(may().await);
    world.worker.platform(async |conn| ca_pauses::record_outage(conn, DIRECTORY, minute).await).await.unwrap();
    assert!(!may().await);
    world.database.run("UPDATE ca_pauses SET until = now() - interval '1 second'").await;
    assert!(may().await);
    assert!(!may().await, "somebody is at it");
    world.worker.platform(async |conn| ca_pauses::record_answered(conn, DIRECTORY).await).await.unwrap();
    assert!(may().await);
}
