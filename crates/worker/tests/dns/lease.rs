//! One holder at a time changes a zone, and who has stalled changes nothing any more.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use zonecert_store::zone_projections::{self as projections, ZoneLease};
use zonecert_store::{Store, StoreError};

use crate::world::World;

const TTL: Duration = Duration::from_secs(300);

async fn take(store: &Store, zone: &str, owner: &str) -> Result<Option<ZoneLease>, StoreError> {
    store.platform(async |conn| projections::take_lease(conn, zone, owner, TTL).await).await
}

async fn expire(world: &World) -> Result<()> {
    let expire = "UPDATE zone_projections SET lease_expires_at = now() - interval '1 second' WHERE dns_zone = $1";
    assert_eq!(world.admin.execute(expire, &[&world.zone]).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_who_stalled_records_nothing_any_more() -> Result<()> {
    let world = World::new().await?;
    let (store, zone) = (&world.store, world.zone.as_str());
    let generation = world.request_projection().await?;
    let stalled = take(store, zone, "stalled").await?.context("the lease is free")?;
    assert_eq!(take(store, zone, "other").await?, None, "it is held");
    store.platform(async |conn| projections::renew_lease(conn, &stalled, TTL).await).await?;

    expire(&world).await?;
    let holder = take(store, zone, "other").await?.context("it ran out")?;

    let stale = [
        store.platform(async |conn| projections::renew_lease(conn, &stalled, TTL).await).await,
        store.platform(async |conn| projections::record_created_by_us(conn, &stalled, true).await).await,
        store.platform(async |conn| projections::record_projected(conn, &stalled, generation).await.map(drop)).await,
        store.platform(async |conn| projections::record_failure(conn, &stalled, "late", TTL).await).await,
        store.platform(async |conn| projections::release_lease(conn, &stalled).await).await,
    ];
    assert!(stale.iter().all(|outcome| matches!(outcome, Err(StoreError::Stale))), "{stale:?}");
    let row = world.projection().await?;
    assert!(!row.is_through(generation) && !row.created_by_us && row.failures == 0, "{row:?}");
    assert_eq!(world.jobs().await?, (0, 1));

    let now = store.platform(async |conn| projections::record_projected(conn, &holder, generation).await).await?;
    assert_eq!(now, generation);
    store.platform(async |conn| projections::release_lease(conn, &holder).await).await?;
    assert!(take(store, zone, "third").await?.is_some(), "it was given back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_dead_process_is_waited_for_and_taken_over() -> Result<()> {
    let world = World::new().await?;
    let (_, generation) = world.want(&[("", "ours")]).await?;
    take(&world.store, &world.zone, "dead").await?.context("the lease is free")?;
    let projector = world.projector().await?;
    let mut waiting = Box::pin(projector.project(&world.zone, Some(generation)));
    // Long enough for several looks; PowerDNS is not touched meanwhile.
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut waiting).await.is_err());
    assert!(world.server().find_zone(&world.zone).await?.is_none());

    expire(&world).await?;
    waiting.await?;
    assert_eq!(world.values("").await?, ["ours"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_another_process_is_told_when_it_is_through() -> Result<()> {
    let world = World::new().await?;
    let generation = world.request_projection().await?;
    let lease = take(&world.store, &world.zone, "other").await?.context("the lease is free")?;
    let projector = world.projector().await?;
    let mut waiting = Box::pin(projector.project(&world.zone, Some(generation)));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err());

    world.store.platform(async |conn| projections::record_projected(conn, &lease, generation).await).await?;
    waiting.await?;
    assert!(world.server().find_zone(&world.zone).await?.is_none(), "the other one's word is taken for it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_gives_up_does_not_stop_the_change() -> Result<()> {
    let world = World::new().await?;
    let (_, generation) = world.want(&[("", "ours")]).await?;
    let projector = world.projector().await?;
    {
        let mut call = Box::pin(projector.project(&world.zone, Some(generation)));
        assert!(futures::poll!(&mut call).is_pending());
    }
    world.until("the zone is through", |row| row.is_through(generation)).await?;
    assert_eq!(world.values("").await?, ["ours"]);
    projector.project(&world.zone, Some(world.request_projection().await?)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_sweepers_send_one_job() -> Result<()> {
    let world = World::new().await?;
    let (store, zone, grace) = (&world.store, world.zone.as_str(), Duration::from_secs(60));
    let forgotten = async || store.platform(async |conn| projections::list_forgotten(conn, grace, 100).await).await;
    world.request_projection().await?;
    assert_eq!(forgotten().await?, Vec::<String>::new(), "its job may still come");

    let shift = "UPDATE zone_projections SET woken_at = now() - interval '2 minutes' WHERE dns_zone = $1";
    world.admin.execute(shift, &[&zone]).await?;
    let lease = take(store, zone, "worker").await?.context("the lease is free")?;
    assert_eq!(forgotten().await?, Vec::<String>::new(), "somebody works on it");
    store.platform(async |conn| projections::release_lease(conn, &lease).await).await?;
    assert_eq!(forgotten().await?, [zone]);

    let sent = try_join_all((0..16).map(async |_| {
        let woken = store.platform(async |conn| projections::wake_forgotten(conn, zone, grace).await).await?;
        Ok::<_, StoreError>(usize::from(woken))
    }));
    assert_eq!(sent.await?.into_iter().sum::<usize>(), 1);
    assert_eq!(world.jobs().await?, (0, 2));
    assert_eq!(forgotten().await?, Vec::<String>::new());

    world.projector().await?.project(zone, None).await?;
    world.admin.execute(shift, &[&zone]).await?;
    assert_eq!(forgotten().await?, Vec::<String>::new(), "it is through");
    Ok(())
}
