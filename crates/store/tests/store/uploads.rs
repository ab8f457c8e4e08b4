//! Uploaded certificates: which of their versions is in use, and how they are counted.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::upload::Upload;
use zonecert_pki::{CertificateChain, PrivateKey};
use zonecert_store::certificates::{self, Kind, NewName};
use zonecert_store::uploads::{self, NewUpload};
use zonecert_store::{Connection, StoreError};

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
