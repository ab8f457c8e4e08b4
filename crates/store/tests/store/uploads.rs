//! Uploaded certificates: which of their versions is in use, and how they are counted.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::upload::Upload;
use zonecert_pki::{CertificateChain, PrivateKey};
use zonecert_store::certificates::{self, Kind, NewName};
use zonecert_store::uploads::{self, NewUpload};
use zonecert_store::{Connection, StoreError, versions};

use crate::world::World;

/// A self-signed certificate for one name, valid from the first day of one year to that of another.
fn upload(name: &str, years: (i32, i32)) -> Upload {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let signer = KeyPair::from_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    let chain = CertificateChain::parse_pem(&params.self_signed(&signer).unwrap().pem()).unwrap();
    Upload { chain, key, warnings: Vec::new() }
}

#[tokio::test]
async fn a_version_that_is_not_valid_now_takes_nobodys_place() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let masters = &world.masters;
    let (expired, valid) = (upload("expired.example.test", (2020, 2021)), upload("valid.example.test", (2020, 4000)));
    let future = upload("future.example.test", (3999, 4000));
    let work = async move |conn: &mut Connection| {
        let new = NewUpload { name: NewName::Derived("app"), label: None, upload: &expired };
        let id = uploads::insert_upload(conn, masters, account, &new).await?;
        let mut seen = vec![certificates::get_certificate(conn, account, id).await?];
        for upload in [&valid, &expired, &future] {
            uploads::add_version(conn, masters, account, id, upload).await?;
            seen.push(certificates::get_certificate(conn, account, id).await?);
        }
        Ok((seen, uploads::count_uploads(conn, account).await?, certificates::count_slots(conn, account).await?))
    };
    let (seen, uploads, slots) = world.api.tenant_write::<_, StoreError, _>(account, work).await.unwrap();
    assert!(seen.iter().all(|certificate| certificate.kind == Kind::Uploaded && certificate.next_renewal_at.is_none()));
    let states: Vec<_> = seen.iter().map(|certificate| (certificate.status, certificate.domain())).collect();
    let valid = (CertificateStatus::Issued, "valid.example.test");
    assert_eq!(states, [(CertificateStatus::Expired, "expired.example.test"), valid, valid, valid]);
    assert_eq!((uploads, slots), (1, 0));
}

#[tokio::test]
async fn what_stands_in_older_versions_is_stored_once_for_every_tenant() {
    let world = World::new().await;
    let masters = &world.masters;
    let mut ids = Vec::new();
    for name in ["one.example.test", "other.example.test"] {
        let (account, upload) = (world.tenant().await.account, upload(name, (2020, 4000)));
        let work = async move |conn: &mut Connection| {
            uploads::insert_upload(conn, masters, account, &NewUpload { name: NewName::Derived("app"), label: None, upload: &upload }).await
        };
        ids.push((account, world.api.tenant_write::<_, StoreError, _>(account, work).await.unwrap()));
    }
    let details = async || {
        let mut all = Vec::new();
        for &(account, id) in &ids {
            let certificate = certificates::read_certificate(&world.api, account, id).await.unwrap();
            all.push(certificate.current_version.unwrap().details);
        }
        all
    };
    let before = details().await;
    assert!(before.iter().all(Option::is_some));
    let none = world.worker.autocommit(async |conn| versions::list_undescribed(conn, 10).await).await.unwrap();
    assert!(none.is_empty(), "a version is stored with what stands in it");

    // As they were stored before.
    world.run_replica("UPDATE versions SET details = NULL, fingerprint_sha1 = NULL, side = NULL").await;
    assert!(details().await.iter().all(Option::is_none));
    let found = world.worker.autocommit(async |conn| versions::list_undescribed(conn, 10).await).await.unwrap();
    assert_eq!(found.iter().map(|(account, _)| *account).collect::<Vec<_>>(), ids.iter().map(|(account, _)| *account).collect::<Vec<_>>());
    for (account, version) in found {
        world.worker.tenant::<_, StoreError, _>(account, async |conn| versions::describe(conn, account, version).await).await.unwrap();
    }
    assert_eq!(details().await, before);
    let sides: i64 = world
        .database
        .value("SELECT count(*) FROM versions WHERE side = 'server' AND fingerprint_sha1 = details->>'sha1_fingerprint_hex'")
        .await;
    assert_eq!(sides, 2);
}

#[tokio::test]
async fn a_version_that_cannot_be_read_is_looked_at_once() {
    let world = World::new().await;
    let issued = world.issued(&world.tenant().await, "app").await;
    world.run_replica("UPDATE versions SET chain_pem = '', details = NULL, fingerprint_sha1 = NULL, side = NULL").await;
    let undescribed = async || world.worker.autocommit(async |conn| versions::list_undescribed(conn, 10).await).await.unwrap();
    let account = issued.requested.account;
    assert_eq!(undescribed().await, [(account, issued.version)]);
    world.worker.tenant::<_, StoreError, _>(account, async |conn| versions::describe(conn, account, issued.version).await).await.unwrap();
    assert!(undescribed().await.is_empty());
    let certificate = certificates::read_certificate(&world.api, account, issued.requested.certificate).await.unwrap();
    assert_eq!(certificate.current_version.unwrap().details, None);
}
