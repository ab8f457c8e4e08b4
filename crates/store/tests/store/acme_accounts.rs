//! Another key for our account at a CA: stored before the CA hears of it, then put in the place of the old one.

use std::time::Duration;

use uuid::Uuid;
use zonecert_pki::SealError;
use zonecert_store::acme_accounts::{self, AcmeAccount};
use zonecert_store::{Store, StoreError, ca_pauses};

use crate::database::Role;
use crate::outcome::{Outcome, attempt};
use crate::world::{DIRECTORY, World};

async fn account(world: &World) -> AcmeAccount {
    let inserted = world.worker.platform(async |conn| {
        acme_accounts::insert_acme_account(conn, &world.masters, DIRECTORY, "https://ca.test/account", b"old").await
    });
    inserted.await.unwrap()
}

async fn found(world: &World) -> AcmeAccount {
    let found = world.worker.platform(async |conn| acme_accounts::find_acme_account(conn, &world.masters, DIRECTORY).await).await;
    found.unwrap().unwrap()
}

async fn next(world: &World, id: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
    let next = world.worker.platform(async |conn| acme_accounts::find_next_credentials(conn, &world.masters, id).await).await?;
    Ok(next.map(|next| next.to_vec()))
}

async fn insert_next(store: &Store, world: &World, id: Uuid, credentials: &[u8]) -> Result<Vec<u8>, StoreError> {
    let stored = store.platform(async |conn| acme_accounts::insert_next_credentials(conn, &world.masters, id, credentials).await).await?;
    Ok(stored.to_vec())
}

async fn promote(store: &Store, world: &World, id: Uuid, credentials: &[u8]) -> Result<bool, StoreError> {
    store.platform(async |conn| acme_accounts::promote_next_credentials(conn, &world.masters, id, credentials).await).await
}

#[tokio::test]
async fn the_next_credentials_wait_beside_those_in_use_until_they_take_their_place() {
    let world = World::new().await;
    let owner = world.database.store(Role::Owner, 2);
    let account = account(&world).await;
    assert_eq!((next(&world, account.id).await.unwrap(), account.key_changed_at), (None, None));
    assert!(!promote(&owner, &world, account.id, b"new").await.unwrap(), "there is nothing to put in its place");

    assert_eq!(insert_next(&owner, &world, account.id, b"new").await.unwrap(), b"new");
    assert_eq!(insert_next(&owner, &world, account.id, b"other").await.unwrap(), b"new", "what was begun is gone on with");
    assert_eq!((found(&world).await.credentials.as_slice(), next(&world, account.id).await.unwrap()), (&b"old"[..], Some(b"new".to_vec())));

    // The operator's command and a worker that has met the change.
    let (one, other) = tokio::join!(promote(&owner, &world, account.id, b"new"), promote(&world.worker, &world, account.id, b"new"));
    assert_eq!(usize::from(one.unwrap()) + usize::from(other.unwrap()), 1);
    let changed = found(&world).await;
    assert_eq!(
        (changed.id, changed.account_url.as_str(), changed.credentials.as_slice()),
        (account.id, "https://ca.test/account", &b"new"[..])
    );
    assert!(changed.key_changed_at.is_some());
    assert_eq!(next(&world, account.id).await.unwrap(), None);

    // Whoever is late with the change before does not put a key in place that the CA may not know.
    insert_next(&owner, &world, account.id, b"newer").await.unwrap();
    assert!(!promote(&owner, &world, account.id, b"new").await.unwrap());
    assert_eq!(
        (found(&world).await.credentials.as_slice(), next(&world, account.id).await.unwrap()),
        (&b"new"[..], Some(b"newer".to_vec()))
    );
    assert!(promote(&owner, &world, account.id, b"newer").await.unwrap());
    assert!(found(&world).await.key_changed_at > changed.key_changed_at);
}

#[tokio::test]
async fn an_account_that_is_lost_gets_no_next_credentials() {
    let world = World::new().await;
    let id = account(&world).await.id;
    world.worker.platform(async |conn| acme_accounts::mark_acme_account_lost(conn, id).await).await.unwrap();
    assert!(matches!(insert_next(&world.worker, &world, id, b"new").await, Err(StoreError::Stale)));
}

#[tokio::test]
async fn credentials_that_were_moved_from_one_column_to_the_other_do_not_open() {
    let world = World::new().await;
    let id = account(&world).await.id;
    insert_next(&world.worker, &world, id, b"new").await.unwrap();
    let is_closed = |error: Option<StoreError>| matches!(error, Some(StoreError::Seal(SealError::NotAuthentic)));
    // As whoever can write to the database, but has no master key.
    let swap = "UPDATE acme_accounts SET sealed_credentials = sealed_next_credentials, sealed_next_credentials = sealed_credentials,
                data_key_id = next_data_key_id, next_data_key_id = data_key_id";
    world.database.run(swap).await;
    let current = world.worker.platform(async |conn| acme_accounts::find_acme_account(conn, &world.masters, DIRECTORY).await).await;
    assert!(is_closed(current.err()));
    assert!(is_closed(next(&world, id).await.err()));
    assert!(is_closed(promote(&world.worker, &world, id, b"new").await.err()));
    world.database.run(swap).await;
    assert_eq!((found(&world).await.credentials.as_slice(), next(&world, id).await.unwrap()), (&b"old"[..], Some(b"new".to_vec())));
    let half = attempt(&world.database.admin, "UPDATE acme_accounts SET next_data_key_id = NULL").await;
    assert_eq!(half, Outcome::Constraint("acme_accounts_sealed_next_credentials_check".to_owned()), "sealed under what?");
}

#[tokio::test]
async fn orders_that_are_being_proven_are_counted_for_the_owner_of_the_database_alone() {
    let world = World::new().await;
    let owner = world.database.store(Role::Owner, 1);
    let id = account(&world).await.id;
    let mut orders = Vec::new();
    for status in ["intended", "placed", "presenting", "propagating", "validating", "authorized"] {
        let requested = world.requested().await;
        let lease = world.lease(requested).await;
        let (order, _) = world.begin_order(requested, &lease).await;
        let placed = format!(
            "UPDATE orders SET status = '{status}', url = 'https://ca.test/order/' || id, acme_account_id = '{id}', presented_at = now() WHERE id = '{}'",
            order.0
        );
        world.database.run(&placed).await;
        orders.push(order);
    }
    let count =
        async |account: Uuid| owner.platform(async |conn| acme_accounts::count_orders_being_proven(conn, account).await).await.unwrap();
    assert_eq!((count(id).await, count(Uuid::now_v7()).await), (3, 0));
    world.database.run(&format!("UPDATE orders SET status = 'failed', finished_at = now() WHERE id = '{}'", orders[3].0)).await;
    assert_eq!(count(id).await, 2);
    for role in [Role::Api, Role::Worker] {
        let client = world.database.connect(role).await;
        assert_eq!(attempt(&client, &format!("SELECT sweep_orders_being_proven('{id}')")).await, Outcome::NoGrant, "{role:?}");
    }
}

/// As a worker asks in the middle of an order.
async fn is_changing(world: &World, directory: &str) -> bool {
    let account = world.tenant().await.account;
    world.worker.tenant(account, async |conn| ca_pauses::is_key_changing(conn, directory).await).await.unwrap()
}

#[tokio::test]
async fn a_key_is_about_to_change_until_that_is_over_or_its_time_is() {
    let world = World::new().await;
    let owner = world.database.store(Role::Owner, 1);
    let minute = Duration::from_mins(1);
    let begin = async || owner.platform(async |conn| ca_pauses::record_key_change(conn, DIRECTORY, minute).await).await.unwrap();
    begin().await;
    assert!(is_changing(&world, DIRECTORY).await && !is_changing(&world, "https://other.test/dir").await);
    let other = world.worker.platform(async |conn| ca_pauses::record(conn, DIRECTORY, ca_pauses::SERVICE, "", minute).await);
    other.await.unwrap();
    owner.platform(async |conn| ca_pauses::record_key_changed(conn, DIRECTORY).await).await.unwrap();
    assert!(!is_changing(&world, DIRECTORY).await);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM ca_pauses").await, 1, "what the CA has asked for stays");

    begin().await;
    world.database.run("UPDATE ca_pauses SET until = now() WHERE kind = 'key_change'").await;
    assert!(!is_changing(&world, DIRECTORY).await, "whoever has begun it was killed");
}
