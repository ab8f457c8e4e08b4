//! PKCS#12 files at rest: sealed, moved to new data keys, and gone with the key that is in them.

use zonecert_domain::id::KeyVersionId;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::pfx::Encryption;
use zonecert_pki::{PfxFile, PrivateKey};
use zonecert_store::{StoreError, certificates, pfx_files, private_keys, re_seal};

use crate::database::Role;
use crate::world::{Issued, World, chain, now};

const PASSWORD: &str = "correct horse";

async fn issued(world: &World) -> (Issued, PfxFile) {
    let tenant = world.tenant().await;
    let issued = world.issued(&tenant, "app").await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    (issued, PfxFile::make(&chain(&key), &key, "app", PASSWORD, Encryption::Aes256).unwrap())
}

async fn insert(world: &World, issued: &Issued, key_version: KeyVersionId, file: &PfxFile) -> Result<(), StoreError> {
    let account = issued.requested.account;
    let insert = world.api.tenant_write(account, async |conn| {
        pfx_files::insert_pfx_file(conn, &world.masters, account, issued.version, key_version, file).await
    });
    insert.await.map(drop)
}

async fn find(world: &World, issued: &Issued, encryption: Encryption, password: &str) -> Option<Vec<u8>> {
    let account = issued.requested.account;
    let find = world
        .api
        .tenant(account, async |conn| pfx_files::find_pfx_file(conn, &world.masters, account, issued.version, encryption, password).await);
    find.await.unwrap().map(|kept| kept.der.to_vec())
}

#[tokio::test]
async fn a_file_is_found_by_version_encryption_and_password_also_under_a_new_data_key() {
    let world = World::new().await;
    let (issued, file) = issued(&world).await;
    insert(&world, &issued, issued.key_version, &file).await.unwrap();
    assert_eq!(find(&world, &issued, Encryption::Aes256, PASSWORD).await.as_deref(), Some(file.der()));
    assert_eq!(find(&world, &issued, Encryption::TripleDes, PASSWORD).await, None);
    assert_eq!(find(&world, &issued, Encryption::Aes256, "battery staple").await, None);

    let owner = world.database.store(Role::Owner, 2);
    let moved = re_seal::re_seal_account(&owner, &world.masters, issued.requested.account, now()).await.unwrap();
    assert_eq!((moved.secrets, moved.destroyed, moved.failures.len()), (2, 1, 0), "the key and the file");
    assert_eq!(find(&world, &issued, Encryption::Aes256, PASSWORD).await.as_deref(), Some(file.der()));
}

#[tokio::test]
async fn a_file_goes_with_its_key_and_none_is_kept_of_a_key_that_has_gone() {
    let world = World::new().await;
    let (issued, file) = issued(&world).await;
    let (account, certificate) = (issued.requested.account, issued.requested.certificate);
    insert(&world, &issued, issued.key_version, &file).await.unwrap();
    let destroy = async |conn: &mut _| {
        certificates::mark_deleted(conn, account, certificate).await?;
        private_keys::destroy_unused(conn, account, certificate).await
    };
    // The worker destroys keys as well as the API, and may do no more to these files than this.
    assert_eq!(world.worker.tenant_write(account, destroy).await.unwrap(), 1);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM pfx_files").await, 0);
    let late = insert(&world, &issued, issued.key_version, &file).await;
    assert!(matches!(late, Err(StoreError::NotFound)), "{late:?}");
}
