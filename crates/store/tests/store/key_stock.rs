//! The stock of private keys: each key is taken once, by one, and opens nowhere but in its row.

use std::collections::HashSet;

use futures::future::join_all;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::PrivateKey;
use zonecert_store::key_stock;

use crate::world::World;

const ALGORITHM: KeyAlgorithm = KeyAlgorithm::EcdsaP256;

async fn add(world: &World) -> PrivateKey {
    let key = PrivateKey::generate(ALGORITHM).unwrap();
    let (pkcs8, hash, masters) = (key.to_pkcs8_der().unwrap(), key.public_key_sha256(), &world.masters);
    world.worker.platform(async |conn| key_stock::insert(conn, masters, ALGORITHM, &pkcs8, hash).await).await.unwrap();
    key
}

async fn take(world: &World, algorithm: KeyAlgorithm) -> Option<Vec<u8>> {
    let masters = &world.masters;
    let taken = world.worker.platform(async |conn| key_stock::take(conn, masters, algorithm).await).await.unwrap();
    taken.map(|key| key.unwrap().to_vec())
}

#[tokio::test]
async fn callers_at_the_same_time_get_different_keys_and_then_none() {
    let world = World::new().await;
    for _ in 0..4 {
        add(&world).await;
    }
    assert_eq!(world.worker.platform(async |conn| key_stock::count(conn, ALGORITHM).await).await.unwrap(), 4);
    assert_eq!(take(&world, KeyAlgorithm::Rsa2048).await, None, "another algorithm");
    let taken: Vec<Vec<u8>> = join_all((0..4).map(|_| take(&world, ALGORITHM))).await.into_iter().flatten().collect();
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), taken.len());
    // Whoever met a row that was being taken may have got none; what is left is there for the next.
    for _ in taken.len()..4 {
        assert!(take(&world, ALGORITHM).await.is_some_and(|key| !taken.contains(&key)));
    }
    assert_eq!(take(&world, ALGORITHM).await, None);
}

#[tokio::test]
async fn the_oldest_key_comes_first_and_is_the_one_that_was_stored() {
    let world = World::new().await;
    let first = add(&world).await;
    add(&world).await;
    assert_eq!(take(&world, ALGORITHM).await.unwrap(), first.to_pkcs8_der().unwrap().to_vec());
}

#[tokio::test]
async fn a_sealed_key_does_not_open_in_another_row_and_does_not_stand_in_the_way() {
    let world = World::new().await;
    add(&world).await;
    world.database.run("UPDATE key_stock SET id = gen_random_uuid()").await;
    let next = add(&world).await;
    let masters = &world.masters;
    let moved = world.worker.platform(async |conn| key_stock::take(conn, masters, ALGORITHM).await).await.unwrap();
    assert!(moved.is_some_and(|key| key.is_err()), "it opened");
    assert_eq!(take(&world, ALGORITHM).await.unwrap(), next.to_pkcs8_der().unwrap().to_vec());
}
