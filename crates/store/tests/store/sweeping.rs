//! Issuances and zones that nobody looks after, and who wakes them.

use std::collections::BTreeSet;
use std::time::Duration;

use zonecert_domain::id::{AccountId, IssuanceId};
use zonecert_domain::issuance::IssuanceEvent;
use zonecert_store::zone_projections::{self, Generation};
use zonecert_store::{StoreError, issuances};

use crate::world::{Requested, World};

const GRACE: Duration = Duration::from_hours(1);

/// Makes the issuance look as if its job had got lost two hours ago.
const FORGOTTEN: &str = "next_wake_at = now() - interval '2 h', woken_at = now() - interval '2 h'";

async fn list(world: &World, batch: i32) -> Vec<(AccountId, IssuanceId)> {
    world.worker.platform(async |conn| issuances::list_forgotten(conn, GRACE, batch).await).await.unwrap()
}

async fn wake(world: &World, account: AccountId, issuance: IssuanceId) -> bool {
    world.worker.tenant(account, async |conn| issuances::wake_forgotten(conn, issuance, GRACE).await).await.unwrap()
}

#[tokio::test]
async fn only_what_is_due_unattended_and_long_since_woken_is_forgotten() {
    let world = World::new().await;
    let (one, other) = (world.tenant().await, world.tenant().await);
    let cases = [
        (true, "lost", FORGOTTEN),
        (
            true,
            "lease-over",
            "next_wake_at = now() - interval '2 h', woken_at = now() - interval '2 h', lease_owner = 'dead', lease_expires_at = now()",
        ),
        (false, "fresh", "next_wake_at = now()"),
        (false, "within-grace", "next_wake_at = now() - interval '2 h', woken_at = now() - interval '30 min'"),
        (false, "not-due", "next_wake_at = now() + interval '1 h', woken_at = now() - interval '2 h'"),
        (
            false,
            "held",
            "next_wake_at = now() - interval '2 h', woken_at = now() - interval '2 h', lease_owner = 'x', lease_expires_at = now() + interval '1 h'",
        ),
        (false, "over", "next_wake_at = NULL, woken_at = now() - interval '2 h', status = 'failed', finished_at = now()"),
    ];
    let mut expected = BTreeSet::new();
    let mut all = Vec::new();
    for tenant in [&one, &other] {
        for (forgotten, label, row) in cases {
            let requested = world.request(tenant, label).await;
            world.shift(requested, row).await;
            if forgotten {
                expected.insert((requested.account, requested.issuance));
            }
            all.push((requested, forgotten, label));
        }
    }
    let found = list(&world, 100).await;
    assert_eq!(found.len(), expected.len());
    assert_eq!(BTreeSet::from_iter(found), expected);
    assert_eq!(list(&world, 3).await.len(), 3);

    for (requested, forgotten, label) in all {
        let Requested { account, issuance, .. } = requested;
        let stranger = if account == one.account { other.account } else { one.account };
        assert!(!wake(&world, stranger, issuance).await, "{label}: woken by another account");
        assert_eq!(wake(&world, account, issuance).await, forgotten, "{label}");
        assert!(!wake(&world, account, issuance).await, "{label}: woken twice");
        assert_eq!(world.jobs(requested).await.len(), if forgotten { 2 } else { 1 }, "{label}");
    }
    assert_eq!(list(&world, 100).await, []);
}

#[tokio::test]
async fn many_sweepers_at_once_send_one_job() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let mut forgotten = Vec::new();
    for number in 0..5 {
        let requested = world.request(&tenant, &format!("app{number}")).await;
        world.shift(requested, FORGOTTEN).await;
        forgotten.push(requested);
    }
    let sweep = async || {
        let mut woken = 0;
        for (account, issuance) in list(&world, 100).await {
            woken += u32::from(wake(&world, account, issuance).await);
        }
        woken
    };
    let woken: u32 = futures::future::join_all((0..8).map(|_| sweep())).await.into_iter().sum();
    assert_eq!(woken, 5);
    for requested in forgotten {
        let keys: Vec<String> = world.jobs(requested).await.into_iter().map(|job| job.key).collect();
        assert_eq!(keys, [requested.job_key(1), requested.job_key(2)]);
    }
}

#[tokio::test]
async fn the_oldest_are_swept_first() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let mut issuances = Vec::new();
    for hours in [2, 9, 5] {
        let requested = world.request(&tenant, &format!("h{hours}")).await;
        let moment = format!("now() - interval '{hours} h'");
        world.shift(requested, &format!("next_wake_at = {moment}, woken_at = {moment}")).await;
        issuances.push((tenant.account, requested.issuance));
    }
    assert_eq!(list(&world, 2).await, [issuances[1], issuances[2]]);
}

#[tokio::test]
async fn a_sweep_that_fails_leaves_the_issuance_to_the_next() {
    let world = World::new().await;
    let requested = world.requested().await;
    world.shift(requested, FORGOTTEN).await;
    let failed = world.worker.tenant(requested.account, async |conn| {
        assert!(issuances::wake_forgotten(conn, requested.issuance, GRACE).await?);
        Err::<(), _>(StoreError::Stale)
    });
    assert!(failed.await.is_err());
    assert_eq!(list(&world, 1).await, [(requested.account, requested.issuance)]);

    let lease = world.lease(requested).await;
    assert!(!wake(&world, requested.account, requested.issuance).await, "somebody has come by meanwhile");
    world.held(&lease, async |conn| issuances::end(conn, &lease, IssuanceEvent::Cancelled, None).await).await.unwrap();
    assert!(!wake(&world, requested.account, requested.issuance).await);
}

#[tokio::test]
async fn one_job_takes_out_of_a_zone_what_many_leave_in_it_at_the_same_time() {
    let world = World::new().await;
    let (zone, delay) = ("many.example.test", Duration::from_hours(1));
    let jobs = async || -> i64 {
        let query = format!("SELECT count(*) FROM apalis.jobs WHERE job_type = 'project' AND idempotency_key LIKE '{zone}:%'");
        world.database.value(&query).await
    };
    let within = async || {
        world.worker.platform(async |conn| zone_projections::request_projection_within(conn, zone, delay).await).await.unwrap();
    };
    within().await;
    within().await;
    assert_eq!(jobs().await, 1);
    // What is about to be looked at may not be seen any more, and whoever waits for a change does not wait for others.
    world.database.run(&format!("UPDATE zone_projections SET woken_at = now() + interval '1 min' WHERE dns_zone = '{zone}'")).await;
    within().await;
    assert_eq!(jobs().await, 2);
    let generation = world.worker.platform(async |conn| zone_projections::request_projection(conn, zone).await).await.unwrap();
    assert_eq!((generation, jobs().await), (Generation(4), 3));
}

#[tokio::test]
async fn a_change_that_its_maker_was_to_project_is_found_by_the_sweeper_after_the_grace() {
    let world = World::new().await;
    let zone = "raised.example.test";
    let raise = async || world.worker.platform(async |conn| zone_projections::raise_generation(conn, zone).await).await.unwrap();
    let forgotten =
        async |grace| world.worker.platform(async |conn| zone_projections::list_forgotten(conn, grace, 10).await).await.unwrap();
    raise().await;
    let jobs: i64 = world.database.value("SELECT count(*) FROM apalis.jobs WHERE job_type = 'project'").await;
    assert_eq!((jobs, forgotten(GRACE).await.len()), (0, 0));
    world.database.run("UPDATE zone_projections SET woken_at = now() - interval '2 h', next_wake_at = now() - interval '2 h'").await;
    assert_eq!(forgotten(GRACE).await, [zone]);
    raise().await;
    assert!(forgotten(GRACE).await.is_empty(), "somebody is about to");
    assert_eq!(forgotten(Duration::ZERO).await, [zone]);
}
