//! New events are announced at their commit, to whoever listens.

use std::time::Duration;

use zonecert_devstack::wait;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_store::events::{self, NewEvent};
use zonecert_store::live_events::{self, Announcement, Listener};
use zonecert_store::{Store, StoreError};

use crate::line::Line;
use crate::world::World;

const SOON: Duration = Duration::from_secs(20);

async fn happen(store: &Store, account: AccountId) -> i64 {
    let written = store.tenant_write(account, async |conn| events::record(conn, account, NewEvent::info("tested", "")).await);
    written.await.unwrap()
}

async fn next(listener: &mut Listener) -> Announcement {
    tokio::time::timeout(SOON, listener.next()).await.expect("nothing was announced").unwrap()
}

#[tokio::test]
async fn each_event_is_announced_with_its_account_and_number() {
    let world = World::new().await;
    let (one, other) = (world.tenant().await.account, world.tenant().await.account);
    happen(&world.api, one).await;
    let mut listeners = [world.api.listen().await.unwrap(), world.api.listen().await.unwrap()];
    happen(&world.api, one).await;
    happen(&world.worker, other).await;
    happen(&world.worker, one).await;
    for listener in &mut listeners {
        for (account, number) in [(one, 2), (other, 1), (one, 3)] {
            assert_eq!(next(listener).await, Announcement { account, number });
        }
    }
}

#[tokio::test]
async fn what_is_rolled_back_or_unreadable_is_not_announced() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let mut listener = world.api.listen().await.unwrap();
    let thought_better = world.api.tenant_write(account, async |conn| {
        events::record(conn, account, NewEvent::info("tested", "")).await?;
        Err::<(), _>(StoreError::Stale)
    });
    assert!(thought_better.await.is_err());
    world.database.run("SELECT pg_notify('zonecert_events', 'nonsense')").await;
    happen(&world.api, account).await;
    assert_eq!(next(&mut listener).await, Announcement { account, number: 1 });
}

#[tokio::test]
async fn waiting_can_be_given_up_and_taken_up_again_and_the_connection_gives_signs_of_life() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let mut listener = world.api.listen().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), listener.next()).await.is_err());
    listener.ping().await.unwrap();
    happen(&world.api, account).await;
    // It comes in with the answer to this.
    listener.ping().await.unwrap();
    assert_eq!(next(&mut listener).await.number, 1);
}

#[tokio::test]
async fn a_lost_connection_is_told_and_another_can_be_had() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let mut line = Line::to(world.database.stack.postgres.port()).await;
    let store = line.store(&world.database, 1, SOON);
    let mut listener = store.listen().await.unwrap();
    line.cut().await;
    let lost = tokio::time::timeout(SOON, listener.next()).await.expect("the loss is not told");
    assert!(lost.is_err() && listener.ping().await.is_err(), "{lost:?}");
    let refused = store.listen().await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    happen(&world.api, account).await;
    line.mend().await;
    let mut listener = wait::until("it listens again", SOON, async || Ok(store.listen().await.ok())).await.unwrap();
    happen(&world.api, account).await;
    assert_eq!(next(&mut listener).await.number, 2);
}

#[tokio::test]
async fn events_are_read_after_a_number_by_their_account_alone() {
    let world = World::new().await;
    let (mine, theirs) = (world.tenant().await.account, world.tenant().await.account);
    for account in [mine, mine, theirs, mine] {
        happen(&world.api, account).await;
    }
    let list = async |reader, of, after, limit| {
        let read = world.api.tenant(reader, async |conn| events::list_events(conn, of, after, limit).await).await.unwrap();
        read.into_iter().map(|event| event.number).collect::<Vec<_>>()
    };
    assert_eq!(list(mine, mine, 0, 10).await, [1, 2, 3]);
    assert_eq!(list(mine, mine, 1, 1).await, [2]);
    assert_eq!(list(mine, theirs, 0, 10).await, [0; 0]);
    let latest = async |reader, of| world.api.tenant(reader, async |conn| events::latest_number(conn, of).await).await;
    assert_eq!((latest(mine, mine).await.unwrap(), latest(theirs, theirs).await.unwrap()), (3, 1));
    assert!(matches!(latest(mine, theirs).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn the_state_of_certificates_is_read_by_their_account_while_they_are_there() {
    let world = World::new().await;
    let (tenant, stranger) = (world.tenant().await, world.tenant().await);
    let (one, two) = (world.certificate(&tenant, "one").await, world.certificate(&tenant, "two").await);
    let ids = [one, two, CertificateId::new()];
    let list = async |account| world.api.tenant(account, async |conn| live_events::list_states(conn, account, &ids).await).await.unwrap();
    let states = list(tenant.account).await;
    assert_eq!((states.len(), states[&one].status), (2, CertificateStatus::Pending));
    assert_eq!(states[&one].domain, format!("one.{}", tenant.zone_name));
    assert!(list(stranger.account).await.is_empty());
    world.database.run(&format!("UPDATE certificates SET deleted_at = now() WHERE id = '{}'", one.0)).await;
    assert_eq!(list(tenant.account).await.into_keys().collect::<Vec<_>>(), [two]);
}
