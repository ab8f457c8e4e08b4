//! Events are numbered per account, without gaps.

use zonecert_store::StoreError;
use zonecert_store::events::{self, Level, NewEvent};

use crate::world::World;

#[tokio::test]
async fn events_of_many_writers_at_once_have_numbers_without_gaps() {
    const WRITERS: i64 = 20;
    let world = World::new().await;
    let accounts = [world.tenant().await.account, world.tenant().await.account];
    let writes = accounts.into_iter().flat_map(|account| (0..WRITERS).map(move |writer| (account, writer)));
    let numbers = futures::future::join_all(writes.map(async |(account, writer)| {
        // Both processes write: the API what was asked for, the worker what became of it.
        let store = if writer % 2 == 0 { &world.api } else { &world.worker };
        let written = store.tenant_write(account, async |conn| {
            let number = events::record(conn, account, NewEvent::info("tested", format!("writer {writer}"))).await?;
            // Every fourth thinks better of it: its number is another's.
            if writer % 4 == 3 { Err(StoreError::Stale) } else { Ok(number) }
        });
        (account, written.await)
    }))
    .await;
    for account in accounts {
        let mut kept: Vec<i64> =
            numbers.iter().filter(|(of, _)| *of == account).filter_map(|(_, number)| number.as_ref().ok().copied()).collect();
        kept.sort_unstable();
        assert_eq!(kept, (1..=WRITERS - WRITERS / 4).collect::<Vec<_>>());
        let stored = format!("SELECT number FROM events WHERE account_id = '{}' ORDER BY number", account.0);
        assert_eq!(world.database.column::<i64>(&stored).await, kept);
        // A number is given under the account's lock, so that who reads up to a number has missed none before it.
        let disordered = format!(
            "SELECT count(*) FROM events AS a JOIN events AS b USING (account_id) WHERE account_id = '{}' AND a.number < b.number AND a.at > b.at",
            account.0
        );
        assert_eq!(world.database.value::<i64>(&disordered).await, 0);
    }
}

#[tokio::test]
async fn the_log_of_a_certificate_is_read_in_pages_oldest_first() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (one, other) = (world.request(&tenant, "one").await, world.request(&tenant, "other").await);
    let account = tenant.account;
    let written = world.worker.tenant_write(account, async |conn| {
        for number in 1..=6 {
            let requested = if number % 2 == 0 { one } else { other };
            let event = NewEvent {
                level: Level::Warning,
                certificate: Some(requested.certificate),
                issuance: Some(requested.issuance),
                details: serde_json::json!({"n": number}),
                ..NewEvent::info("tested", format!("event {number}"))
            };
            assert_eq!(events::record(conn, account, event).await?, number);
        }
        Ok::<_, StoreError>(())
    });
    written.await.unwrap();
    let list = async |account, after, limit| {
        let read = world
            .api
            .tenant(tenant.account, async |conn| events::list_certificate_events(conn, account, one.certificate, after, limit).await);
        read.await.unwrap()
    };
    let all = list(account, 0, 10).await;
    assert_eq!(all.iter().map(|event| event.number).collect::<Vec<_>>(), [2, 4, 6]);
    assert_eq!(
        (all[0].level, &*all[0].event, &*all[0].message, all[0].issuance),
        (Level::Warning, "tested", "event 2", Some(one.issuance))
    );
    assert_eq!((&all[0].details, all[0].order), (&serde_json::json!({"n": 2}), None));
    assert_eq!(list(account, 2, 1).await.iter().map(|event| event.number).collect::<Vec<_>>(), [4]);
    let other_account = world.tenant().await.account;
    assert!(list(other_account, 0, 10).await.is_empty());
}

#[tokio::test]
async fn an_event_of_another_account_is_not_recorded() {
    let world = World::new().await;
    let (mine, theirs) = (world.tenant().await.account, world.tenant().await.account);
    let foisted = world.worker.tenant_write(mine, async |conn| events::record(conn, theirs, NewEvent::info("foisted", "")).await);
    assert!(matches!(foisted.await, Err(StoreError::NotFound)));
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM events").await, 0);
}
