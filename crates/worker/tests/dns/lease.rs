//! One holder at a time changes a zone, and who has stalled changes nothing any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use zonecert_devstack::wait;
use zonecert_store::zone_projections::{self as projections, ZoneLease};
use zonecert_store::{Store, StoreError};
use zonecert_worker::dns::PowerDns;

use crate::world::World;

const TTL: Duration = Duration::from_mins(5);

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
        store.platform(async |conn| projections::record_projected(conn, &stalled, generation, None).await.map(drop)).await,
        store.platform(async |conn| projections::record_failure(conn, &stalled, "late", TTL).await).await,
        store.platform(async |conn| projections::release_lease(conn, &stalled).await).await,
    ];
    assert!(stale.iter().all(|outcome| matches!(outcome, Err(StoreError::Stale))), "{stale:?}");
    let row = world.projection().await?;
    assert!(!row.is_through(generation) && !row.created_by_us && row.failures == 0, "{row:?}");
    assert_eq!(world.jobs().await?, (0, 1));

    let now = store.platform(async |conn| projections::record_projected(conn, &holder, generation, None).await).await?;
    assert_eq!(now, generation);
    store.platform(async |conn| projections::release_lease(conn, &holder).await).await?;
    assert!(take(store, zone, "third").await?.is_some(), "it was given back");
    Ok(())
}

/// The way to `PowerDNS`, which opens once for each permit; and how many have come to it.
async fn gate(world: &World) -> Result<(PowerDns, Arc<Semaphore>, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = world.server().api_url().trim_start_matches("http://").to_owned();
    let url = format!("http://{}", listener.local_addr()?).parse()?;
    let (permits, come) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, counter) = (Arc::clone(&permits), Arc::clone(&come));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (gate, server) = (Arc::clone(&gate), server.clone());
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                gate.acquire().await?.forget();
                tokio::io::copy_bidirectional(&mut client, &mut TcpStream::connect(server).await?).await?;
                anyhow::Ok(())
            });
        }
    });
    Ok((PowerDns::new(&url, "localhost", world.server().api_key().parse()?)?, permits, come))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_who_lost_the_lease_while_reading_writes_nothing() -> Result<()> {
    let world = World::new().await?;
    world.server().create_zone(&world.zone, &["ns.elsewhere.test."]).await?;
    let (_, generation) = world.want(&[("", "ours")]).await?;
    let (powerdns, permits, come) = gate(&world).await?;
    let (projector, zone) = (world.projector_on(powerdns)?, world.zone.clone());
    let stalled = tokio::spawn(async move { projector.project(&zone, Some(generation)).await });
    let look = async || Ok((come.load(Ordering::SeqCst) == 1).then_some(()));
    wait::until("the holder reads the zone", Duration::from_secs(10), look).await?;

    expire(&world).await?;
    let holder = take(&world.store, &world.zone, "other").await?.context("it ran out")?;
    permits.add_permits(100);
    let seen = async || Ok((permits.available_permits() < 100).then_some(()));
    wait::until("the zone was read", Duration::from_secs(10), seen).await?;
    // It goes on by what the other one says, which here is not even true.
    world.store.platform(async |conn| projections::record_projected(conn, &holder, generation, None).await).await?;
    stalled.await??;

    assert_eq!(world.values("").await?, Vec::<String>::new());
    assert_eq!(come.load(Ordering::SeqCst), 1, "nothing was sent after the first look");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_dead_process_is_waited_for_and_taken_over() -> Result<()> {
    let world = World::new().await?;
    let (_, generation) = world.want(&[("", "ours")]).await?;
    take(&world.store, &world.zone, "dead").await?.context("the lease is free")?;
    let projector = world.projector()?;
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
    let projector = world.projector()?;
    let mut waiting = Box::pin(projector.project(&world.zone, Some(generation)));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err());

    world.store.platform(async |conn| projections::record_projected(conn, &lease, generation, None).await).await?;
    waiting.await?;
    assert!(world.server().find_zone(&world.zone).await?.is_none(), "the other one's word is taken for it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_gives_up_does_not_stop_the_change() -> Result<()> {
    let world = World::new().await?;
    let (_, generation) = world.want(&[("", "ours")]).await?;
    let projector = world.projector()?;
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
    let (store, zone, grace) = (&world.store, world.zone.as_str(), Duration::from_mins(1));
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

    world.projector()?.project(zone, None).await?;
    world.admin.execute(shift, &[&zone]).await?;
    assert_eq!(forgotten().await?, Vec::<String>::new(), "it is through");
    Ok(())
}
