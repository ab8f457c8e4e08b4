//! What the CA says of renewals: whom it is asked about, and what its answers change.

use std::time::Duration;

use chrono::TimeDelta;
use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_domain::renewal::AriWindow;
use zonecert_store::renewal_info::{self, Said, VersionInUse};

use crate::renewals::{events, get, issued, moment, tenant_on};
use crate::world::{DIRECTORY, Requested, World, now};

const PUT_OFF: Duration = Duration::from_mins(10);
const SIX_HOURS: Duration = Duration::from_hours(6);

async fn claim(world: &World) -> Vec<(AccountId, CertificateId)> {
    world.worker.platform(async |conn| renewal_info::claim_due(conn, PUT_OFF, 10).await).await.unwrap()
}

async fn in_use(world: &World, Requested { account, certificate, .. }: Requested) -> Option<VersionInUse> {
    world.worker.tenant(account, async |conn| renewal_info::find_version_in_use(conn, account, certificate).await).await.unwrap()
}

async fn say(world: &World, requested: Requested, version: &VersionInUse, said: &Said) {
    let Requested { account, certificate, .. } = requested;
    let recorded = world
        .worker
        .tenant_write(account, async |conn| renewal_info::record_said(conn, account, certificate, version, said, SIX_HOURS).await);
    recorded.await.unwrap();
}

/// From so many days from now on, for two days.
fn in_days(days: i64) -> Said {
    let start = now() + TimeDelta::days(days);
    Said { window: Some(AriWindow { start, end: start + TimeDelta::days(2) }), explanation_url: Some("https://ca.test/why".to_owned()) }
}

#[tokio::test]
async fn every_valid_version_is_asked_about_by_one_scanner_and_no_other() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "plus").await;
    let valid = issued(&world, &tenant, "valid", 1).await;
    // Nothing renews by itself on Plus, and people are told all the same when the CA would.
    let found = in_use(&world, valid).await.unwrap();
    assert_eq!((&*found.directory_url, found.window, found.failures), (DIRECTORY, None, 0));
    let claims = futures::future::join_all((0..4).map(|_| claim(&world))).await;
    assert_eq!(claims.concat(), [(valid.account, valid.certificate)]);

    let stranger = world.tenant().await.account;
    let theirs = world.worker.tenant(stranger, async |conn| renewal_info::find_version_in_use(conn, stranger, valid.certificate).await);
    assert!(theirs.await.unwrap().is_none());
    for change in ["UPDATE versions SET revoked_at = now(), revocation_reason = 4", "UPDATE certificates SET deleted_at = now()"] {
        world
            .database
            .run("UPDATE versions SET revoked_at = NULL, revocation_reason = NULL; UPDATE certificates SET deleted_at = NULL")
            .await;
        assert!(in_use(&world, valid).await.is_some());
        world.database.run(change).await;
        assert!(in_use(&world, valid).await.is_none(), "{change}");
    }
    let expired = issued(&world, &tenant, "expired", 91).await;
    assert!(in_use(&world, expired).await.is_none());
    let Requested { account, certificate, .. } = expired;
    world.worker.tenant_write(account, async |conn| renewal_info::stop_asking(conn, account, certificate).await).await.unwrap();
    assert_eq!(moment(&world, expired, "renewal_info_due_at").await, None);
}

#[tokio::test]
async fn a_window_moves_the_renewal_and_a_notable_move_is_told_once() {
    let world = World::new().await;
    let requested = issued(&world, &tenant_on(&world, "pro").await, "app", 1).await;
    let by_lifetime = get(&world, requested).await.next_renewal_at;
    let said = in_days(10);
    for _ in 0..2 {
        let version = in_use(&world, requested).await.unwrap();
        say(&world, requested, &version, &said).await;
    }
    let window = said.window.unwrap();
    let planned = get(&world, requested).await.next_renewal_at.unwrap();
    assert!(window.start - TimeDelta::seconds(1) <= planned && planned < window.end, "{planned}");
    assert_eq!(moment(&world, requested, "renewal_due_at").await, Some(planned));
    assert_eq!(events(&world, requested).await, ["renewal_moved"]);
    let next = moment(&world, requested, "renewal_info_due_at").await.unwrap();
    assert!((next - now() - TimeDelta::hours(6)).abs() < TimeDelta::minutes(1));
    let shown: bool = world
        .database
        .value("SELECT renewal_info_explanation_url = 'https://ca.test/why' AND renewal_info_checked_at <= now() FROM certificates")
        .await;
    assert!(shown);
    let told: bool = world
        .database
        .value("SELECT details -> 'window' ? 'start' AND details ->> 'explanation_url' = 'https://ca.test/why' FROM events WHERE event = 'renewal_moved'")
        .await;
    assert!(told);

    let version = in_use(&world, requested).await.unwrap();
    say(&world, requested, &version, &Said { window: None, explanation_url: None }).await;
    assert_eq!(get(&world, requested).await.next_renewal_at, by_lifetime, "a CA that says nothing any more leaves it to the lifetime");
}

#[tokio::test]
async fn a_window_that_is_over_makes_the_renewal_due_now() {
    let world = World::new().await;
    let requested = issued(&world, &tenant_on(&world, "pro").await, "app", 20).await;
    let version = in_use(&world, requested).await.unwrap();
    say(&world, requested, &version, &in_days(-5)).await;
    assert!(moment(&world, requested, "renewal_due_at").await.unwrap() <= now());
}

#[tokio::test]
async fn failures_are_counted_and_change_nothing_else() {
    let world = World::new().await;
    let requested = issued(&world, &tenant_on(&world, "pro").await, "app", 1).await;
    let Requested { account, certificate, .. } = requested;
    let version = in_use(&world, requested).await.unwrap();
    say(&world, requested, &version, &in_days(10)).await;
    let planned = get(&world, requested).await.next_renewal_at;
    for failures in 1..=2 {
        let failed = world
            .worker
            .tenant_write(account, async |conn| renewal_info::record_failure(conn, account, certificate, version.id, SIX_HOURS).await);
        failed.await.unwrap();
        assert_eq!(in_use(&world, requested).await.unwrap().failures, failures);
    }
    assert_eq!(get(&world, requested).await.next_renewal_at, planned);
    say(&world, requested, &in_use(&world, requested).await.unwrap(), &in_days(10)).await;
    assert_eq!(in_use(&world, requested).await.unwrap().failures, 0);
}

#[tokio::test]
async fn an_answer_about_another_version_changes_nothing() {
    let world = World::new().await;
    let requested = issued(&world, &tenant_on(&world, "pro").await, "app", 1).await;
    let version = in_use(&world, requested).await.unwrap();
    let late = VersionInUse { id: zonecert_domain::id::VersionId::new(), ..version };
    let before = (get(&world, requested).await.next_renewal_at, moment(&world, requested, "renewal_info_due_at").await);
    say(&world, requested, &late, &in_days(10)).await;
    let Requested { account, certificate, .. } = requested;
    let failed =
        world.worker.tenant_write(account, async |conn| renewal_info::record_failure(conn, account, certificate, late.id, SIX_HOURS).await);
    failed.await.unwrap();
    assert_eq!((get(&world, requested).await.next_renewal_at, moment(&world, requested, "renewal_info_due_at").await), before);
    assert_eq!(in_use(&world, requested).await.unwrap().failures, 0);
    assert_eq!(events(&world, requested).await, [""; 0]);
}
