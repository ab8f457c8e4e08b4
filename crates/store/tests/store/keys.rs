//! Private keys at rest: sealed, each to its own row and account.

use uuid::Uuid;
use zonecert_domain::id::{AccountId, KeyVersionId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::revocation::RevocationReason;
use zonecert_pki::{MasterKeys, PrivateKey, SealError};
use zonecert_store::{StoreError, private_keys, revocations};

use crate::world::{Requested, World};

async fn open_with(world: &World, masters: &MasterKeys, account: AccountId, id: KeyVersionId) -> Result<Vec<u8>, StoreError> {
    let opened = world.api.tenant(account, async |conn| private_keys::open_key_version(conn, masters, account, id).await).await;
    opened.map(|key| key.to_vec())
}

async fn open(world: &World, account: AccountId, id: KeyVersionId) -> Result<Vec<u8>, StoreError> {
    open_with(world, &world.masters, account, id).await
}

fn new_key() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap()
}

#[tokio::test]
async fn a_stored_key_opens_again_and_its_bytes_are_nowhere_in_the_database() {
    let world = World::new().await;
    let requested = world.requested().await;
    let key = new_key();
    let id = world.key_version(requested, &key).await;
    let pkcs8 = key.to_pkcs8_der().unwrap().to_vec();
    assert_eq!(open(&world, requested.account, id).await.unwrap(), pkcs8);
    let hash = world.api.tenant(requested.account, async |conn| private_keys::get_public_key_sha256(conn, requested.account, id).await);
    assert_eq!(hash.await.unwrap(), key.public_key_sha256());

    // The private number of a P-256 key in PKCS#8 begins at byte 36 and has 32 bytes (RFC 5915 §3, RFC 5958 §2).
    let private_number = &pkcs8[36..68];
    let sealed: Vec<u8> = world.database.value(&format!("SELECT sealed FROM key_versions WHERE id = '{}'", id.0)).await;
    assert!(sealed.len() > pkcs8.len());
    let tables: Vec<String> = world.database.column("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'apalis'::regnamespace)").await;
    assert!(tables.len() > 20);
    for table in tables {
        let rows: Vec<String> = world.database.column(&format!("SELECT to_jsonb(t)::text FROM {table} AS t")).await;
        for part in private_number.windows(8) {
            let hex = hex::encode(part);
            assert!(!rows.iter().any(|row| row.contains(&hex)), "{table} holds a part of the key");
        }
    }
    assert!(!sealed.windows(8).any(|window| pkcs8.windows(8).any(|part| part == window)), "a part of the key is as it was");
}

#[tokio::test]
async fn a_sealed_key_opens_only_in_its_own_row_and_account() {
    let world = World::new().await;
    let (one, other) = (world.requested().await, world.requested().await);
    let (first, second) = (world.key_version(one, &new_key()).await, world.key_version(one, &new_key()).await);
    let foreign = world.key_version(other, &new_key()).await;
    let not_authentic = |opened: &Result<Vec<u8>, StoreError>| matches!(opened, Err(StoreError::Seal(SealError::NotAuthentic)));
    let copy = async |to: KeyVersionId| {
        let statement =
            format!("UPDATE key_versions SET sealed = (SELECT sealed FROM key_versions WHERE id = '{}') WHERE id = '{}'", first.0, to.0);
        world.database.run(&statement).await;
    };

    copy(second).await;
    assert!(not_authentic(&open(&world, one.account, second).await));
    copy(foreign).await;
    assert!(not_authentic(&open(&world, other.account, foreign).await));
    // Even with the data key that it was sealed under: that one is bound to its account in turn.
    let data_key = format!(
        "UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE account_id = '{}') WHERE account_id = '{}'",
        one.account.0, other.account.0
    );
    world.database.run(&data_key).await;
    assert!(not_authentic(&open(&world, other.account, foreign).await));
    world
        .database
        .run(&format!("UPDATE key_versions SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1) WHERE id = '{}'", first.0))
        .await;
    assert!(not_authentic(&open(&world, one.account, first).await), "one bit has changed");
}

#[tokio::test]
async fn a_key_does_not_open_with_another_master_key_or_for_another_account_or_once_destroyed() {
    let world = World::new().await;
    let (one, other) = (world.requested().await, world.requested().await);
    let id = world.key_version(one, &new_key()).await;
    let namesake = MasterKeys::parse("test:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    assert!(matches!(open_with(&world, &namesake, one.account, id).await, Err(StoreError::Seal(SealError::NotAuthentic))));
    let stranger = MasterKeys::parse("other:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    assert!(matches!(open_with(&world, &stranger, one.account, id).await, Err(StoreError::Seal(SealError::UnknownMasterKey { .. }))));

    assert!(matches!(open(&world, other.account, id).await, Err(StoreError::NotFound)));
    let asked = world.api.tenant(other.account, async |conn| private_keys::open_key_version(conn, &world.masters, one.account, id).await);
    assert!(matches!(asked.await.map(drop), Err(StoreError::NotFound)));

    world.database.run(&format!("UPDATE key_versions SET sealed = NULL, destroyed_at = now() WHERE id = '{}'", id.0)).await;
    assert!(matches!(open(&world, one.account, id).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn a_certificates_key_is_made_once_and_named_like_it() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (one, other) = (world.request(&tenant, "app").await, world.request(&tenant, "other").await);
    let account = tenant.account;
    let key_of = async |requested: Requested| {
        let certificate = requested.certificate;
        let made =
            world.worker.tenant_write(account, async |conn| private_keys::get_or_insert_certificate_key(conn, account, certificate).await);
        made.await.unwrap()
    };
    let first = key_of(one).await;
    assert_eq!(key_of(one).await, first);
    // A key that keeps the name which its certificate has lost to another.
    world.database.run(&format!("UPDATE certificates SET name = 'renamed' WHERE id = '{}'", one.certificate.0)).await;
    world.database.run(&format!("UPDATE certificates SET name = 'app' WHERE id = '{}'", other.certificate.0)).await;
    let second = key_of(other).await;
    assert_ne!(first, second);
    let named: Vec<String> = world.database.column("SELECT name || ' ' || algorithm FROM private_keys ORDER BY name").await;
    assert_eq!(named, ["app ecdsa_p256", "app-2 ecdsa_p256"]);
}

#[tokio::test]
async fn a_key_that_is_kept_is_the_newest_that_was_not_destroyed() {
    let world = World::new().await;
    let requested = world.requested().await;
    let account = requested.account;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(world.key_version(requested, &new_key()).await);
    }
    let key: String = world.database.value("SELECT DISTINCT private_key_id::text FROM key_versions").await;
    let key = zonecert_domain::id::KeyId(key.parse::<Uuid>().unwrap());
    let newest = async || {
        let found = world.worker.tenant(account, async |conn| private_keys::find_newest_key_version(conn, account, key).await);
        found.await.unwrap()
    };
    assert_eq!(newest().await, Some(made[2]));
    world.database.run(&format!("UPDATE key_versions SET sealed = NULL, destroyed_at = now() WHERE id = '{}'", made[2].0)).await;
    assert_eq!(newest().await, Some(made[1]));
}

#[tokio::test]
async fn a_key_that_others_may_have_is_not_kept() {
    let world = World::new().await;
    let issued = world.issued(&world.tenant().await, "app").await;
    let Requested { account, certificate, .. } = issued.requested;
    let key: String = world.database.value("SELECT private_key_id::text FROM key_versions").await;
    let key = zonecert_domain::id::KeyId(key.parse::<Uuid>().unwrap());
    let newest = async || {
        let found = world.worker.tenant(account, async |conn| private_keys::find_newest_key_version(conn, account, key).await);
        found.await.unwrap()
    };
    assert!(newest().await.is_some());
    for (reason, kept) in [(RevocationReason::Superseded, true), (RevocationReason::KeyCompromise, false)] {
        world.database.run("DELETE FROM revocations").await;
        let request = async |conn: &mut _| revocations::request(conn, account, certificate, reason, "user_1").await;
        assert_eq!(world.api.tenant_write(account, request).await.unwrap(), 1);
        assert_eq!(newest().await.is_some(), kept, "{reason:?}");
        // Whatever has become of the wish.
        world.database.run("UPDATE revocations SET status = 'failed', next_attempt_at = NULL, finished_at = now()").await;
        assert_eq!(newest().await.is_some(), kept, "{reason:?}");
    }
}
