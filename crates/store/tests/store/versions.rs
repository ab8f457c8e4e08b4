//! Versions: numbered, and immutable but for their revocation.

use rcgen::{CertificateParams, KeyPair};
use tokio_postgres::error::SqlState;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::order::OrderEvent;
use zonecert_pki::{CertificateChain, PrivateKey};
use zonecert_store::orders::{self, OrderChange};
use zonecert_store::{StoreError, versions};

use crate::database::{Database, Role};
use crate::outcome::{Outcome, attempt};
use crate::tables;
use crate::world::World;

#[tokio::test]
async fn nothing_of_a_version_can_be_changed_but_its_revocation() {
    let database = Database::migrated().await;
    let account = tables::fill_tenant(&database).await;
    // What stands in them is added once, to those that were stored without.
    database.run("UPDATE versions SET details = '{}', fingerprint_sha1 = 'a9', side = 'server'").await;
    let before: Vec<String> = database.column("SELECT to_jsonb(versions)::text FROM versions ORDER BY id").await;
    let columns = "SELECT column_name::text, data_type::text FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'versions'";
    let worker = database.connect(Role::Worker).await;
    worker.batch_execute(&format!("SET zonecert.account = '{}'", account.0)).await.unwrap();
    let mut immutable = 0;
    for row in database.admin.query(columns, &[]).await.unwrap() {
        let (column, kind): (String, String) = (row.get(0), row.get(1));
        if ["revoked_at", "revocation_reason"].contains(&&*column) {
            continue;
        }
        let other = match &*kind {
            "uuid" => "gen_random_uuid()".to_owned(),
            "text" => format!("{column} || 'x'"),
            "integer" => format!("{column} + 1"),
            "timestamp with time zone" => format!("{column} + interval '1 s'"),
            "boolean" => format!("NOT {column}"),
            "jsonb" => "'null'".to_owned(),
            "ARRAY" => format!("{column} || 'x'::text"),
            other => panic!("how to change a {other}?"),
        };
        let change = format!("UPDATE versions SET {column} = {other}");
        for client in [&worker, &database.admin] {
            assert_eq!(attempt(client, &change).await, Outcome::Refused(SqlState::INTEGRITY_CONSTRAINT_VIOLATION), "{change}");
        }
        immutable += 1;
    }
    assert!(immutable >= 19);
    assert_eq!(database.column::<String>("SELECT to_jsonb(versions)::text FROM versions ORDER BY id").await, before);

    assert_eq!(attempt(&worker, "DELETE FROM versions").await, Outcome::NoGrant);
    assert_eq!(attempt(&worker, "UPDATE versions SET revoked_at = now(), revocation_reason = 4").await, Outcome::Rows(2));
}

#[tokio::test]
async fn a_chain_that_was_brought_becomes_the_next_version() {
    let world = World::new().await;
    let requested = world.requested().await;
    let (account, certificate) = (requested.account, requested.certificate);
    let lease = world.lease(requested).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let key_version = world.key_version(requested, &key).await;
    let signer = KeyPair::from_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
    let names = ["app.example.test".to_owned(), "www.example.test".to_owned()];
    let pem = CertificateParams::new(names.clone()).unwrap().self_signed(&signer).unwrap().pem();
    let chain = CertificateChain::parse_pem(&pem).unwrap();

    let mut made = Vec::new();
    for number in 1..=2 {
        let (order, issuance) = world.begin_order(requested, &lease).await;
        let stored =
            world.held(&lease, async |conn| versions::insert_issued_version(conn, account, certificate, order, key_version, &chain).await);
        let version = stored.await.unwrap();
        let row = format!("SELECT number FROM versions WHERE id = '{}'", version.0);
        assert_eq!(world.database.value::<i32>(&row).await, number);
        let doubled =
            world.held(&lease, async |conn| versions::insert_issued_version(conn, account, certificate, order, key_version, &chain).await);
        let doubled = doubled.await;
        assert!(matches!(&doubled, Err(error) if error.is_constraint("versions_order_id_key")), "an order brings one version: {doubled:?}");
        let live = issuance.live_order.unwrap();
        let over =
            world.held(&lease, async |conn| orders::advance(conn, account, &live, OrderEvent::Failed, OrderChange::default(), None).await);
        over.await.unwrap();
        made.push(version);
    }

    let read = world.api.tenant(account, async |conn| versions::get_version(conn, account, made[0]).await).await.unwrap();
    assert_eq!((read.id, read.key_version, &*read.chain_pem), (made[0], key_version, &*chain.full_pem()));
    assert_eq!((read.not_after, read.revoked_at, read.newest().revoked), (chain.not_after(), None, false));
    assert_eq!(world.database.column::<Vec<String>>("SELECT names FROM versions").await, [names.clone(), names]);

    let other = world.tenant().await.account;
    for asked in [other, account] {
        let hidden = world.api.tenant(other, async |conn| versions::get_version(conn, asked, made[0]).await).await;
        assert!(matches!(hidden, Err(StoreError::NotFound)));
    }
}
