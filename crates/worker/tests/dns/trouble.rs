//! `PowerDNS` is down, refuses us, or has trouble of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zonecert_devstack::{PebbleOptions, Stack};
use zonecert_domain::failure::FailureCode;
use zonecert_worker::dns::{DnsFailure, PowerDns};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_fails_everybody_soon_and_heals() -> Result<()> {
    let mut stack = Stack::temporary(PebbleOptions::default()).await?;
    let world = World::on(stack.handle()).await?;
    let projector = world.projector()?;
    let (_, generation) = world.want(&[("", "ours")]).await?;
    stack.powerdns.stop().await?;

    let asked = Instant::now();
    let outcomes = join_all((0..20).map(|_| projector.project(&world.zone, Some(generation)))).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    for outcome in outcomes {
        let failure = outcome.expect_err("the server is down");
        assert_eq!(failure.code, FailureCode::DnsProviderUnreachable);
        assert!(!failure.detail().contains("127.0.0.1"), "customers see it: {failure}");
    }
    let row = world.projection().await?;
    assert!(!row.is_through(generation) && (1..=2).contains(&row.failures), "{row:?}");
    assert_eq!(world.jobs().await?, (1, 2), "one job will try again, however many have failed");
    let error: String = world.admin.query_one("SELECT last_error FROM zone_projections WHERE dns_zone = $1", &[&world.zone]).await?.get(0);
    assert_eq!(error, "dns_provider_unreachable: our DNS server did not answer: no connection");

    stack.powerdns.start().await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.values("").await?, ["ours"]);
    assert_eq!(world.projection().await?.failures, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_api_key_is_refused_and_shown_to_nobody() -> Result<()> {
    let world = World::new().await?;
    let powerdns = PowerDns::new(&world.server().api_url().parse()?, "localhost", "not-the-key".parse()?)?;
    assert_eq!(powerdns.version().await, Err(DnsFailure::Unauthorized));
    let generation = world.request_projection().await?;
    let projector = world.projector_on(powerdns)?;
    let failure = projector.project(&world.zone, Some(generation)).await.expect_err("the key is wrong");
    assert_eq!(failure.code, FailureCode::DnsProviderRefused);
    assert!(!format!("{failure:?} {projector:?}").contains("not-the-key"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_is_known() -> Result<()> {
    let world = World::new().await?;
    let version = world.projector()?.powerdns().version().await?;
    assert_eq!(version, world.server().version().await?);
    Ok(())
}

/// A server that answers `500` as often as `failures` says and then its version; and how often it was asked.
async fn faltering(failures: usize) -> Result<(PowerDns, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?).parse()?;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let (status, body) = match counter.fetch_add(1, Ordering::SeqCst) {
                count if count < failures => ("500 Internal Server Error", r#"{"error": "database is locked"}"#),
                _ => ("200 OK", r#"{"version": "4.7.3"}"#),
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    Ok((PowerDns::new(&url, "localhost", "key".parse()?)?, asked))
}

#[tokio::test]
async fn a_server_error_is_asked_again_a_few_times() -> Result<()> {
    let (powerdns, asked) = faltering(2).await?;
    assert_eq!(powerdns.version().await.as_deref(), Ok("4.7.3"));
    assert_eq!(asked.load(Ordering::SeqCst), 3);

    let (powerdns, asked) = faltering(usize::MAX).await?;
    assert_eq!(powerdns.version().await, Err(DnsFailure::Broken(500)));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    Ok(())
}
