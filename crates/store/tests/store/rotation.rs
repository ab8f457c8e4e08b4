//! Master keys are rotated and data keys replaced while everything runs, and no secret is lost on the way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use zonecert_domain::id::{AccountId, KeyVersionId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::{MasterKeys, PrivateKey, SealError};
use zonecert_store::mails::{self, MailText, NewMail};
use zonecert_store::re_seal::{self, ReSealed};
use zonecert_store::{Store, StoreError, acme_accounts, key_stock, master_keys, private_keys};

use crate::database::Role;
use crate::outcome::{Outcome, attempt};
use crate::tables;
use crate::world::{DIRECTORY, Requested, World};

/// The key of [`World`].
const OLD: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "new:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const ALGORITHM: KeyAlgorithm = KeyAlgorithm::EcdsaP256;

fn masters(keys: &[&str]) -> MasterKeys {
    MasterKeys::parse(&keys.join(",")).unwrap()
}

/// Secrets of two accounts and of the platform.
struct Secrets {
    keys: Vec<(AccountId, KeyVersionId, Vec<u8>)>,
    requested: Vec<Requested>,
}

impl Secrets {
    async fn make(world: &World) -> Self {
        let (mut keys, mut requested) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let one = world.requested().await;
            for _ in 0..3 {
                keys.push(new_key(world, one).await);
            }
            let text = MailText { subject: "Subject".to_owned(), body: "secret".to_owned() };
            let mail = NewMail { recipient: "ada@customer.test", template: "verify_email", text: &text };
            let insert =
                world.api.tenant_write(one.account, async |conn| mails::insert_mail(conn, &world.masters, one.account, &mail).await);
            insert.await.unwrap();
            requested.push(one);
        }
        let key = PrivateKey::generate(ALGORITHM).unwrap();
        let (pkcs8, hash) = (key.to_pkcs8_der().unwrap(), key.public_key_sha256());
        let of_platform = world.worker.platform(async |conn| {
            let account =
                acme_accounts::insert_acme_account(conn, &world.masters, DIRECTORY, "https://ca.test/account", b"credentials").await?;
            acme_accounts::insert_next_credentials(conn, &world.masters, account.id, b"next credentials").await?;
            key_stock::insert(conn, &world.masters, ALGORITHM, &pkcs8, hash).await
        });
        of_platform.await.unwrap();
        Self { keys, requested }
    }

    /// Each of them opens with these master keys, and is what it was. Changes nothing.
    async fn open(&self, world: &World, masters: &MasterKeys) -> Result<(), StoreError> {
        for (account, id, pkcs8) in &self.keys {
            assert_eq!(&open(&world.api, masters, *account, *id).await?, pkcs8);
        }
        for one in &self.requested {
            let account = one.account;
            let id: String = world.database.value(&format!("SELECT id::text FROM mails WHERE account_id = '{}'", account.0)).await;
            let id = mails::MailId(id.parse().unwrap());
            world.database.run("UPDATE mails SET next_attempt_at = now()").await;
            let read = async |conn: &mut _| {
                let mail = mails::claim_mail(conn, account, id, &[Duration::ZERO]).await?.ok_or(StoreError::NotFound)?;
                mails::open_mail(conn, masters, account, &mail).await.map(|text| text.body.clone())
            };
            assert_eq!(world.worker.tenant(account, read).await?, "secret");
        }
        let found = world.worker.platform(async |conn| acme_accounts::find_acme_account(conn, masters, DIRECTORY).await).await?;
        let found = found.unwrap();
        assert_eq!(**found.credentials, *b"credentials");
        let next = world.worker.platform(async |conn| acme_accounts::find_next_credentials(conn, masters, found.id).await).await?;
        assert_eq!(**next.unwrap(), *b"next credentials");
        Ok(())
    }
}

async fn new_key(world: &World, requested: Requested) -> (AccountId, KeyVersionId, Vec<u8>) {
    let key = PrivateKey::generate(ALGORITHM).unwrap();
    let id = world.key_version(requested, &key).await;
    (requested.account, id, key.to_pkcs8_der().unwrap().to_vec())
}

async fn open(store: &Store, masters: &MasterKeys, account: AccountId, id: KeyVersionId) -> Result<Vec<u8>, StoreError> {
    let opened = store.tenant(account, async |conn| private_keys::open_key_version(conn, masters, account, id).await).await;
    opened.map(|key| key.to_vec())
}

async fn now(world: &World) -> DateTime<Utc> {
    world.api.platform(async |conn| zonecert_store::issuances::database_now(conn).await).await.unwrap()
}

fn is_unknown<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Seal(SealError::UnknownMasterKey { .. })))
}

#[tokio::test]
async fn after_a_rotation_everything_opens_with_the_new_master_key_alone() {
    let world = World::new().await;
    let secrets = Secrets::make(&world).await;
    let owner = world.database.store(Role::Owner, 2);
    let both = masters(&[NEW, OLD]);
    let rotation = master_keys::rotate(&owner, &both).await.unwrap();
    assert_eq!((rotation.accounts, rotation.platform, rotation.failures.len()), (2, 1, 0));
    assert_eq!(rotation.wrapped_by, BTreeMap::from([("new".to_owned(), 3)]));
    secrets.open(&world, &masters(&[NEW])).await.unwrap();
    assert!(is_unknown(&secrets.open(&world, &masters(&[OLD])).await));

    let again = master_keys::rotate(&owner, &both).await.unwrap();
    assert_eq!((again.accounts, again.platform), (0, 0), "there is nothing left to be done");
    let back = master_keys::rotate(&owner, &masters(&[OLD, NEW])).await.unwrap();
    assert_eq!((back.accounts, back.platform), (2, 1));
    secrets.open(&world, &masters(&[OLD])).await.unwrap();
}

#[tokio::test]
async fn a_data_key_that_does_not_unwrap_is_told_and_left_alone_and_the_others_go_on() {
    let world = World::new().await;
    let secrets = Secrets::make(&world).await;
    let owner = world.database.store(Role::Owner, 2);
    let (damaged, ended) = (secrets.requested[0].account, world.tenant().await.account);
    world
        .database
        .run(&format!("UPDATE data_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE account_id = '{}'", damaged.0))
        .await;
    world.database.run(&format!("UPDATE data_keys SET wrapped = NULL, destroyed_at = now() WHERE account_id = '{}'", ended.0)).await;
    let rotation = master_keys::rotate(&owner, &masters(&[NEW, OLD])).await.unwrap();
    assert_eq!((rotation.accounts, rotation.platform, rotation.failures.len()), (1, 1, 1), "{:?}", rotation.failures);
    assert_eq!(rotation.wrapped_by["test"], 1, "the old master key is still needed, by what cannot be opened");
    let of_ended = format!("SELECT wrapped IS NULL AND master_key_id = 'test' FROM data_keys WHERE account_id = '{}'", ended.0);
    assert!(world.database.value::<bool>(&of_ended).await, "what has ended stays ended");

    world
        .database
        .run(&format!("UPDATE data_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE account_id = '{}'", damaged.0))
        .await;
    assert_eq!(master_keys::rotate(&owner, &masters(&[NEW, OLD])).await.unwrap().accounts, 1);
    secrets.open(&world, &masters(&[NEW])).await.unwrap();
}

#[tokio::test]
async fn accounts_that_are_made_during_a_rotation_and_two_rotations_at_once_lose_nothing() {
    let world = World::new().await;
    let secrets = Secrets::make(&world).await;
    let owner = world.database.store(Role::Owner, 4);
    let both = masters(&[NEW, OLD]);
    let tenants = join_all((0..20).map(|_| world.tenant()));
    let (one, other, tenants) = tokio::join!(master_keys::rotate(&owner, &both), master_keys::rotate(&owner, &both), tenants);
    assert_eq!(one.unwrap().platform + other.unwrap().platform, 1, "each is wrapped anew once");
    // The API was still told to wrap with the old one: what it made meanwhile is found by the next run.
    assert!(master_keys::rotate(&owner, &both).await.unwrap().accounts <= 20);
    secrets.open(&world, &masters(&[NEW])).await.unwrap();
    let left = world.database.value::<i64>("SELECT count(*) FROM data_keys WHERE master_key_id <> 'new'").await;
    assert_eq!((left, tenants.len()), (0, 20));
}

async fn data_keys_left(world: &World) -> (i64, i64) {
    let live = world.database.value("SELECT count(*) FROM data_keys WHERE wrapped IS NOT NULL").await;
    (live, world.database.value("SELECT count(*) FROM platform_data_keys").await)
}

/// Everything, as `re-seal --all`.
async fn re_seal_all(owner: &Store, masters: &MasterKeys, before: DateTime<Utc>) -> Result<Vec<ReSealed>, StoreError> {
    let mut done = vec![re_seal::re_seal_platform(owner, masters, before).await?];
    for account in re_seal::list_accounts(owner, before, None).await? {
        done.push(re_seal::re_seal_account(owner, masters, account, before).await?);
    }
    Ok(done)
}

#[tokio::test]
async fn new_data_keys_take_over_all_that_the_old_ones_have_sealed_and_the_old_ones_are_destroyed() {
    let world = World::new().await;
    let secrets = Secrets::make(&world).await;
    let owner = world.database.store(Role::Owner, 2);
    let before = now(&world).await;
    let old: Vec<String> = world.database.column("SELECT id::text FROM data_keys UNION SELECT id::text FROM platform_data_keys").await;
    let done = re_seal_all(&owner, &world.masters, before).await.unwrap();
    let counts: Vec<_> = done.iter().map(|done| (done.secrets, done.destroyed, done.failures.len())).collect();
    assert_eq!(counts, [(3, 1, 0), (4, 1, 0), (4, 1, 0)]);
    secrets.open(&world, &world.masters).await.unwrap();
    assert_eq!(data_keys_left(&world).await, (2, 1));
    let used = "SELECT data_key_id::text FROM key_versions UNION SELECT data_key_id::text FROM mails
                UNION SELECT data_key_id::text FROM acme_accounts UNION SELECT next_data_key_id::text FROM acme_accounts
                UNION SELECT data_key_id::text FROM key_stock";
    let used: Vec<String> = world.database.column(used).await;
    assert!(used.iter().all(|id| !old.contains(id)), "{used:?}");
    let taken = world.worker.platform(async |conn| key_stock::take(conn, &world.masters, ALGORITHM).await).await.unwrap();
    assert!(taken.is_some_and(|key| key.is_ok()), "keys in stock were sealed anew, too");
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'data_key.replaced' AND actor = 'operator'";
    assert_eq!(world.database.value::<i64>(audited).await, 2);

    assert!(re_seal::list_accounts(&owner, before, None).await.unwrap().is_empty(), "a second run of the same finds nothing");
    assert_eq!(re_seal::re_seal_platform(&owner, &world.masters, before).await.unwrap().secrets, 0);
}

#[tokio::test]
async fn a_run_that_is_cut_off_anywhere_leaves_everything_readable_and_is_taken_up_again() {
    let world = World::new().await;
    let secrets = Secrets::make(&world).await;
    let before = now(&world).await;
    let mut cut_off = 0;
    for microseconds in (0..40).map(|step| 500 * step) {
        // A pool of its own: the connection of whoever is cut off ends with it, like that of a process that was killed.
        let owner = world.database.store(Role::Owner, 1);
        let run = re_seal_all(&owner, &world.masters, before);
        cut_off += usize::from(tokio::time::timeout(Duration::from_micros(microseconds), run).await.is_err());
        drop(owner);
        secrets.open(&world, &world.masters).await.unwrap();
    }
    assert!(cut_off > 0, "every run came to its end");
    let owner = world.database.store(Role::Owner, 1);
    re_seal_all(&owner, &world.masters, before).await.unwrap();
    secrets.open(&world, &world.masters).await.unwrap();
    assert_eq!(data_keys_left(&world).await, (2, 1));
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM data_keys").await, 4, "each got one new data key");
}

#[tokio::test]
async fn whoever_reads_and_writes_while_data_keys_are_replaced_notices_nothing() {
    let world = World::new().await;
    let secrets = Secrets::make(&world).await;
    let owner = world.database.store(Role::Owner, 2);
    let over = AtomicBool::new(false);
    let requested = secrets.requested[0];
    let write = async {
        let mut written = Vec::new();
        while !over.load(Ordering::Relaxed) {
            written.push(new_key(&world, requested).await);
        }
        written
    };
    let read = async {
        let mut read = 0;
        while !over.load(Ordering::Relaxed) {
            for (account, id, pkcs8) in &secrets.keys {
                assert_eq!(&open(&world.api, &world.masters, *account, *id).await.unwrap(), pkcs8);
                read += 1;
            }
        }
        read
    };
    let replace = async {
        for _ in 0..10 {
            let before = now(&world).await;
            let done = re_seal_all(&owner, &world.masters, before).await.unwrap();
            assert!(done.iter().all(|done| done.failures.is_empty()), "{done:?}");
        }
        over.store(true, Ordering::Relaxed);
    };
    let (written, read, ()) = tokio::join!(write, read, replace);
    assert!(!written.is_empty() && read > 0);
    for (account, id, pkcs8) in written {
        assert_eq!(open(&world.api, &world.masters, account, id).await.unwrap(), pkcs8);
    }
    secrets.open(&world, &world.masters).await.unwrap();
}

#[tokio::test]
async fn what_does_not_open_keeps_its_data_key_and_is_told() {
    let world = World::new().await;
    let secrets = Secrets::make(&world).await;
    let owner = world.database.store(Role::Owner, 2);
    let (account, damaged, _) = &secrets.keys[1];
    let flip = format!("UPDATE key_versions SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1) WHERE id = '{}'", damaged.0);
    world.database.run(&flip).await;
    let before = now(&world).await;
    let done = re_seal::re_seal_account(&owner, &world.masters, *account, before).await.unwrap();
    assert_eq!((done.secrets, done.destroyed), (3, 0));
    assert_eq!(done.failures.len(), 1);
    assert!(done.failures[0].0.contains(&damaged.0.to_string()), "{:?}", done.failures);

    // Restored from a backup, it opens, and the next run can end what this one began.
    world.database.run(&flip).await;
    secrets.open(&world, &world.masters).await.unwrap();
    let done = re_seal::re_seal_account(&owner, &world.masters, *account, before).await.unwrap();
    assert_eq!((done.secrets, done.destroyed, done.failures.len()), (1, 1, 0));
    secrets.open(&world, &world.masters).await.unwrap();
}

#[tokio::test]
async fn the_database_refuses_what_is_sealed_under_a_data_key_that_is_gone() {
    let world = World::new().await;
    let requested = world.requested().await;
    let (account, id, pkcs8) = new_key(&world, requested).await;
    let old: String = world.database.value("SELECT data_key_id::text FROM key_versions").await;
    let before = now(&world).await;
    re_seal::re_seal_account(&world.database.store(Role::Owner, 1), &world.masters, account, before).await.unwrap();
    for role in [Role::Worker, Role::Owner] {
        let client = world.database.connect(role).await;
        client.batch_execute(&format!("SET zonecert.account = '{}'", account.0)).await.unwrap();
        let refused = Outcome::Refused(tokio_postgres::error::SqlState::INTEGRITY_CONSTRAINT_VIOLATION);
        let copy = format!(
            "INSERT INTO key_versions (id, account_id, private_key_id, data_key_id, sealed, public_key_sha256)
             SELECT gen_random_uuid(), account_id, private_key_id, '{old}', sealed, public_key_sha256 FROM key_versions"
        );
        assert_eq!(attempt(&client, &copy).await, refused, "{role:?}");
        assert_eq!(attempt(&client, &format!("UPDATE key_versions SET data_key_id = '{old}'")).await, refused, "{role:?}");
    }
    assert_eq!(open(&world.api, &world.masters, account, id).await.unwrap(), pkcs8);
}

#[tokio::test]
async fn every_table_that_is_sealed_under_a_data_key_is_sealed_anew() {
    let world = World::new().await;
    let (of_accounts, of_platform) = re_seal::tables();
    for (referred, known) in [("data_keys", of_accounts), ("platform_data_keys", of_platform)] {
        let referring = format!(
            "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND confrelid = '{referred}'::regclass ORDER BY 1"
        );
        assert_eq!(world.database.column::<String>(&referring).await, known, "{referred}");
    }
}

#[tokio::test]
async fn whoever_rotates_has_stepped_down_to_a_role_that_may_do_just_that() {
    let world = World::new().await;
    let (one, other) = tables::fill_two_tenants(&world.database).await;
    let owner = world.database.connect(Role::Owner).await;
    owner.batch_execute(&format!("SET zonecert.account = '{}'; SET ROLE zonecert_keys", one.0)).await.unwrap();
    assert_eq!(attempt(&owner, "SELECT FROM data_keys").await, Outcome::Rows(2));
    assert_eq!(
        attempt(&owner, &format!("UPDATE data_keys SET master_key_id = 'x' WHERE account_id = '{}'", other.0)).await,
        Outcome::Rows(0)
    );
    for forbidden in [
        "SELECT FROM certificates",
        "SELECT FROM users",
        "DELETE FROM key_versions",
        "UPDATE key_versions SET destroyed_at = now()",
        "DELETE FROM data_keys",
        "UPDATE data_keys SET account_id = account_id",
        "DELETE FROM acme_accounts",
        "INSERT INTO key_stock (id) VALUES (gen_random_uuid())",
    ] {
        assert_eq!(attempt(&owner, forbidden).await, Outcome::NoGrant, "{forbidden}");
    }
    for role in [Role::Api, Role::Worker] {
        let client = world.database.connect(role).await;
        assert!(client.batch_execute("SET ROLE zonecert_keys").await.is_err(), "{role:?}");
    }
}
