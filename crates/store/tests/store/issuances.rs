//! Issuances: their jobs, their lease, how they rest and end.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use zonecert_domain::issuance::{IssuanceEvent, IssuanceReason, IssuanceStatus};
use zonecert_store::issuances::{self, Lease};
use zonecert_store::orders::{self, OrderChange};
use zonecert_store::{StoreError, zone_projections};

use crate::world::{Requested, World, in_a_day, step_taken};

#[tokio::test]
async fn an_issuance_comes_with_one_job_that_names_it() {
    let world = World::new().await;
    let requested = world.requested().await;
    let jobs = world.jobs(requested).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0].key, requested.job_key(1));
    assert_eq!(jobs[0].status, "Pending");
    assert_eq!(jobs[0].payload, json!({"account_id": requested.account.0, "issuance_id": requested.issuance.0}));
    let issuance = world.issuance(requested).await;
    assert!(jobs[0].run_at <= issuance.now && issuance.next_wake_at.unwrap() <= issuance.now);
    assert_eq!((issuance.status, issuance.reason), (IssuanceStatus::Active, IssuanceReason::First));
    assert_eq!((issuance.attempts, issuance.step_failures, issuance.certificate), (0, 0, requested.certificate));
    assert!(issuance.live_order.is_none());
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_neither_issuance_nor_job() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let before: i64 = world.database.value("SELECT count(*) FROM apalis.jobs").await;
    let rolled_back = world.api.tenant_write(account, async |conn| {
        let certificate = world.insert_certificate(conn, &tenant, "app").await?;
        issuances::insert_issuance(conn, account, certificate, IssuanceReason::First, in_a_day()).await?;
        zone_projections::request_projection(conn, &tenant.zone_name).await?;
        Err::<(), _>(StoreError::Stale)
    });
    assert!(matches!(rolled_back.await, Err(StoreError::Stale)));
    let rows: i64 = world.database.value("SELECT (SELECT count(*) FROM issuances) + (SELECT count(*) FROM certificates)").await;
    assert_eq!(rows, 0);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM apalis.jobs").await, before);
}

#[tokio::test]
async fn a_job_that_is_done_does_not_swallow_the_next_wake() {
    let world = World::new().await;
    let requested = world.requested().await;
    world.database.run("UPDATE apalis.jobs SET status = 'Done'").await;
    for number in 2..=3 {
        let wake = world.worker.tenant(requested.account, async |conn| issuances::wake(conn, requested.issuance, Duration::ZERO).await);
        assert!(wake.await.unwrap());
        world.database.run("UPDATE apalis.jobs SET status = 'Done'").await;
        let keys: Vec<String> = world.jobs(requested).await.into_iter().map(|job| job.key).collect();
        assert_eq!(keys, (1..=number).map(|number| requested.job_key(number)).collect::<Vec<_>>());
    }
    // The key is what keeps a repeated send from being another job.
    let again = format!("SELECT enqueue_job('issue', '{{}}', '{}', now())", requested.job_key(3));
    world.database.run(&again).await;
    assert_eq!(world.jobs(requested).await.len(), 3);
}

#[tokio::test]
async fn wakes_at_once_get_a_number_each() {
    let world = World::new().await;
    let requested = world.requested().await;
    let wakes = (0..8)
        .map(|_| world.worker.tenant(requested.account, async |conn| issuances::wake(conn, requested.issuance, Duration::ZERO).await));
    assert!(futures::future::join_all(wakes).await.into_iter().all(|woken: Result<_, StoreError>| woken.unwrap()));
    let keys: Vec<String> = world.jobs(requested).await.into_iter().map(|job| job.key).collect();
    assert_eq!(keys, (1..=9).map(|number| requested.job_key(number)).collect::<Vec<_>>());
}

#[tokio::test]
async fn nobody_works_on_an_issuance_before_its_time() {
    let world = World::new().await;
    let requested = world.requested().await;
    let hour = Duration::from_hours(1);
    let woken = world.worker.tenant(requested.account, async |conn| issuances::wake(conn, requested.issuance, hour).await);
    assert!(woken.await.unwrap());
    let issuance = world.issuance(requested).await;
    let due = world.jobs(requested).await[1].run_at;
    let ahead = due - issuance.now;
    assert!(ahead > TimeDelta::minutes(59) && ahead <= TimeDelta::hours(1), "{ahead}");
    let apart = (issuance.next_wake_at.unwrap() - due).abs();
    assert!(apart < TimeDelta::milliseconds(1), "job and row name the same moment: {apart}");
    assert_eq!(world.try_lease(requested, "early").await, None);
    world.shift(requested, "next_wake_at = now()").await;
    assert!(world.try_lease(requested, "in time").await.is_some());
}

#[tokio::test]
async fn of_many_who_take_the_lease_at_once_one_has_it() {
    let world = World::new().await;
    let requested = world.requested().await;
    for round in 1..=5 {
        let takers = (0..8).map(|_| world.try_lease(requested, "taker"));
        let leases: Vec<Lease> = futures::future::join_all(takers).await.into_iter().flatten().collect();
        assert_eq!(leases, [Lease { account: requested.account, issuance: requested.issuance, fence: round }]);
        world.shift(requested, "lease_expires_at = NULL").await;
    }
}

#[tokio::test]
async fn another_account_cannot_take_the_lease() {
    let world = World::new().await;
    let (requested, other) = (world.requested().await, world.tenant().await);
    let stolen = world.worker.tenant(other.account, async |conn| {
        issuances::take_lease(conn, other.account, requested.issuance, "thief", Duration::from_mins(1)).await
    });
    assert_eq!(stolen.await.unwrap(), None);
    let read = world.worker.autocommit(async |conn| issuances::get_issuance(conn, other.account, requested.issuance).await).await;
    assert!(matches!(read, Err(StoreError::NotFound)));
    assert!(world.try_lease(requested, "worker").await.is_some());
}

#[tokio::test]
async fn who_has_lost_the_lease_can_write_nothing_any_more() {
    let world = World::new().await;
    let requested = world.requested().await;
    let account = requested.account;
    let stale = world.lease(requested).await;
    let (_, issuance) = world.begin_order(requested, &stale).await;
    let order = issuance.live_order.unwrap();

    assert_eq!(world.try_lease(requested, "second").await, None, "the lease has not run out");
    world.shift(requested, "lease_expires_at = now()").await;
    // A lease that has run out is still good while nobody else has taken it.
    renew(&world, stale).await.unwrap();
    let lease = world.try_take_over(requested, "second").await.unwrap();
    assert_eq!(lease.fence, stale.fence + 1);

    let guarded = world.worker.tenant(account, async |conn| issuances::guard(conn, &stale).await);
    assert!(matches!(guarded.await, Err(StoreError::Stale)));
    assert!(matches!(renew(&world, stale).await, Err(StoreError::Stale)));
    let advanced = world.held(&stale, async |conn| {
        orders::advance(conn, account, &order, zonecert_domain::order::OrderEvent::Failed, OrderChange::default(), None).await
    });
    assert!(matches!(advanced.await, Err(StoreError::Stale)));
    let ended = world.worker.tenant_write(account, async |conn| issuances::end(conn, &stale, IssuanceEvent::Failed, None).await);
    assert!(matches!(ended.await, Err(StoreError::Stale)));
    let rested = world.worker.tenant_write(account, async |conn| issuances::rest(conn, &stale, Duration::ZERO, json!({})).await);
    assert!(matches!(rested.await, Err(StoreError::Stale)));
    let released = world.worker.tenant_write(account, async |conn| issuances::release(conn, &stale, Duration::ZERO).await);
    assert!(matches!(released.await, Err(StoreError::Stale)));
    let failed = world.worker.tenant_write(account, async |conn| issuances::record_step_failed(conn, &stale, json!({})).await);
    assert!(matches!(failed.await, Err(StoreError::Stale)));

    let issuance = world.issuance(requested).await;
    assert_eq!((issuance.status, issuance.attempts, issuance.step_failures), (IssuanceStatus::Active, 0, 0));
    assert_eq!(issuance.live_order.unwrap().status, order.status);
    assert_eq!(world.column(requested, "lease_owner").await.as_deref(), Some("second"));
    assert_eq!(world.jobs(requested).await.len(), 1);
    renew(&world, lease).await.unwrap();
}

#[tokio::test]
async fn steps_that_fail_are_counted_until_one_is_taken() {
    let world = World::new().await;
    let requested = world.requested().await;
    let lease = world.lease(requested).await;
    for failures in 1..=2 {
        world
            .held(&lease, async |conn| issuances::record_step_failed(conn, &lease, json!({"code": "ca_unreachable"})).await)
            .await
            .unwrap();
        assert_eq!(world.issuance(requested).await.step_failures, failures);
    }
    assert_eq!(world.column(requested, "failure").await.as_deref(), Some(r#"{"code": "ca_unreachable"}"#));
    for _ in 0..2 {
        world.held(&lease, async |conn| step_taken(conn, &lease).await).await.unwrap();
        assert_eq!(world.issuance(requested).await.step_failures, 0);
    }
    assert_eq!(world.column(requested, "failure").await, None);
    renew(&world, lease).await.unwrap();
}

#[tokio::test]
async fn an_issuance_that_rests_gives_the_lease_back_and_sends_the_job_for_then() {
    let world = World::new().await;
    let requested = world.requested().await;
    let lease = world.lease(requested).await;
    world.held(&lease, async |conn| issuances::record_step_failed(conn, &lease, json!({})).await).await.unwrap();
    let rested = world.held(&lease, async |conn| issuances::rest(conn, &lease, Duration::from_mins(10), json!({"code": "acme_dns"})).await);
    rested.await.unwrap();

    let issuance = world.issuance(requested).await;
    assert_eq!((issuance.attempts, issuance.step_failures), (1, 0));
    let jobs = world.jobs(requested).await;
    assert_eq!(jobs.len(), 2);
    assert!(jobs[1].run_at - issuance.now > TimeDelta::minutes(9));
    assert_eq!((world.column(requested, "lease_owner").await, world.column(requested, "lease_expires_at").await), (None, None));
    assert_eq!(world.try_lease(requested, "early").await, None);
    world.shift(requested, "next_wake_at = now()").await;
    assert!(world.try_lease(requested, "in time").await.is_some());
}

#[tokio::test]
async fn an_issuance_that_has_ended_is_over_for_good() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let endings = [
        ("succeeded", IssuanceEvent::Succeeded, IssuanceStatus::Succeeded),
        ("failed", IssuanceEvent::Failed, IssuanceStatus::Failed),
        ("cancelled", IssuanceEvent::Cancelled, IssuanceStatus::Cancelled),
    ];
    for (label, event, status) in endings {
        let requested = world.request(&tenant, label).await;
        let account = tenant.account;
        let lease = world.lease(requested).await;
        let resting = world.held(&lease, async |conn| issuances::end(conn, &lease, IssuanceEvent::Rested, None).await);
        assert!(matches!(resting.await, Err(StoreError::Stale)), "a rest is no end");
        world.held(&lease, async |conn| issuances::end(conn, &lease, event, Some(json!({"code": label}))).await).await.unwrap();

        let issuance = world.issuance(requested).await;
        assert_eq!((issuance.status, issuance.next_wake_at), (status, None));
        for column in ["lease_owner", "lease_expires_at"] {
            assert_eq!(world.column(requested, column).await, None, "{column}");
        }
        assert!(world.column(requested, "finished_at").await.is_some());

        assert_eq!(world.try_lease(requested, "late").await, None);
        assert!(matches!(renew(&world, lease).await, Err(StoreError::Stale)));
        assert!(matches!(world.held(&lease, async |_| Ok(())).await, Err(StoreError::Stale)));
        for event in IssuanceEvent::ALL {
            let again = world.worker.tenant_write(account, async |conn| issuances::end(conn, &lease, event, None).await);
            assert!(matches!(again.await, Err(StoreError::Stale)), "{event:?} after {status}");
        }
        let woken = world.worker.tenant(account, async |conn| issuances::wake(conn, requested.issuance, Duration::ZERO).await);
        assert!(!woken.await.unwrap());
        assert_eq!(world.jobs(requested).await.len(), 1);
        assert_eq!(world.issuance(requested).await.status, status);
    }
}

#[tokio::test]
async fn a_certificate_has_one_live_issuance() {
    let world = World::new().await;
    let requested = world.requested().await;
    let Requested { account, certificate, .. } = requested;
    let another = async || {
        let reason = IssuanceReason::ByHand;
        world.api.tenant_write(account, async |conn| issuances::insert_issuance(conn, account, certificate, reason, in_a_day()).await).await
    };
    let refused = another().await;
    assert!(matches!(&refused, Err(error) if error.is_constraint("issuances_certificate_id_active_key")), "{refused:?}");
    let lease = world.lease(requested).await;
    world.held(&lease, async |conn| issuances::end(conn, &lease, IssuanceEvent::Failed, None).await).await.unwrap();
    another().await.unwrap();
}

async fn renew(world: &World, lease: Lease) -> Result<(), StoreError> {
    world.worker.tenant(lease.account, async |conn| issuances::renew_lease(conn, &lease, Duration::from_mins(1)).await).await
}
