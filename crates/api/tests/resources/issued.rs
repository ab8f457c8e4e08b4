//! Versions as the worker stores them.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::StatusCode;
use serde_json::Value;
use zonecert_devstack::product::Role;
use zonecert_domain::id::{CertificateId, KeyId, OrderId, VersionId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::{CertificateChain, PrivateKey};
use zonecert_store::{Connection, Store, StoreError, private_keys, renewal_schedule};

use crate::support::{Caller, uuid};

/// What the certificate's owner should be given.
pub(crate) struct Files {
    pub(crate) leaf: String,
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) version: String,
}

fn with_issuer(names: &[String], key: &PrivateKey) -> (String, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let leaf_key = KeyPair::from_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&leaf_key, &authority).unwrap();
    let chain = CertificateChain::parse_pem(&format!("{}{}", leaf.pem(), authority.pem())).unwrap();
    (chain.leaf_pem().to_owned(), chain.issuers_pem().to_owned())
}

/// Every name of a certificate as the API shows it, the domain first.
pub(crate) fn names(certificate: &Value) -> Vec<String> {
    let sans = certificate["sans"].as_array().unwrap().iter();
    std::iter::once(&certificate["domain"]).chain(sans).map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Gives the certificate a version with a key and an order, as the worker does: it began 10 days before now or before its end, and ends in `days`
/// days. The live issuance is over, and the certificate is `status`.
pub(crate) async fn issue(caller: &Caller<'_>, certificate: &Value, days: i64, status: &str) -> Files {
    issue_with(caller, certificate, days, Some(status)).await
}

/// The same with the other key of a dual certificate, which is RSA; nothing changes of the first.
pub(crate) async fn issue_alternate(caller: &Caller<'_>, certificate: &Value, days: i64) -> Files {
    issue_with(caller, certificate, days, None).await
}

/// Without a status it is for the other key.
async fn issue_with(caller: &Caller<'_>, certificate: &Value, days: i64, status: Option<&str>) -> Files {
    let api = caller.api;
    let key = PrivateKey::generate(if status.is_some() { KeyAlgorithm::EcdsaP256 } else { KeyAlgorithm::Rsa2048 }).unwrap();
    let other_key: Option<KeyId> =
        certificate["alternate"]["private_key_id"].as_str().filter(|_| status.is_none()).map(|id| id.parse().unwrap());
    let names = names(certificate);
    let (leaf, chain) = with_issuer(&names, &key);
    let worker = Store::open(&api.product.database_url(Role::Worker), 1, Duration::from_mins(1)).unwrap();
    let (id, account): (CertificateId, _) = (certificate["id"].as_str().unwrap().parse().unwrap(), caller.account);
    let (masters, der, hash) = (api.masters.clone(), key.to_pkcs8_der().unwrap(), key.public_key_sha256());
    let body = async move |conn: &mut Connection| {
        let key = match other_key {
            Some(key) => key,
            None => private_keys::get_or_insert_certificate_key(conn, account, id).await?,
        };
        private_keys::insert_key_version(conn, &masters, account, key, &der, hash).await
    };
    let key_version = worker.tenant_write::<_, StoreError, _>(account, body).await.unwrap();
    let (version, order) = (VersionId::new(), OrderId::new());
    let in_use = match status {
        Some(status) => format!(
            "UPDATE certificates SET status = '{status}', current_version_id = '{}', issued_at = now(), expires_at = now() + interval '{days} days'
             WHERE id = '{}'",
            version.0, id.0
        ),
        None => format!("UPDATE alternates SET version_id = '{}' WHERE certificate_id = '{}'", version.0, id.0),
    };
    api.execute(&format!(
        "INSERT INTO platform_data_keys (id, master_key_id, wrapped) VALUES (md5('ca')::uuid, 'test', '\\x00') ON CONFLICT DO NOTHING;
         INSERT INTO acme_accounts (id, directory_url, account_url, data_key_id, sealed_credentials)
             VALUES (md5('ca')::uuid, 'https://ca.test/dir', 'https://ca.test/account/1', md5('ca')::uuid, '\\x00') ON CONFLICT DO NOTHING;
         UPDATE issuances SET status = 'succeeded', next_wake_at = NULL, finished_at = now() WHERE certificate_id = '{id}' AND status = 'active';
         WITH issuance AS (INSERT INTO issuances (id, account_id, certificate_id, reason, status, give_up_at, finished_at)
             VALUES (gen_random_uuid(), '{account}', '{id}', 'by_hand', 'succeeded', now(), now()) RETURNING id)
         INSERT INTO orders (id, account_id, issuance_id, certificate_id, directory_url, acme_account_id, status, url, names, key_version_id, csr, finished_at)
             SELECT '{order}', '{account}', id, '{id}', 'https://ca.test/dir', md5('ca')::uuid, 'issued', 'https://ca.test/order/{order}', '{{{names}}}',
                 '{key_version}', '\\x00', now() FROM issuance;
         INSERT INTO versions (id, account_id, certificate_id, number, source, order_id, key_version_id, chain_pem, names, serial, fingerprint_sha256,
             issuer, subject, not_before, not_after, alternate)
         VALUES ('{version}', '{account}', '{id}', (SELECT count(*) + 1 FROM versions WHERE certificate_id = '{id}'), 'acme', '{order}', '{key_version}',
             '{leaf}{chain}', '{{{names}}}', '01ab', '{fingerprint}', 'CN=Test CA', '', least(now(), now() + interval '{days} days') - interval '10 days',
             now() + interval '{days} days', {alternate});
         {in_use}",
        alternate = status.is_none(),
        id = id.0,
        account = account.0,
        order = order.0,
        version = version.0,
        key_version = key_version.0,
        names = names.join(","),
        fingerprint = "ab".repeat(32),
    ))
    .await;
    let reschedule = async move |conn: &mut Connection| renewal_schedule::reschedule_certificate(conn, account, id).await;
    worker.tenant_write::<_, StoreError, _>(account, reschedule).await.unwrap();
    Files { leaf, chain, key: key.to_pkcs8_pem().unwrap().to_string(), version: version.to_string() }
}

/// A certificate that was issued 10 days ago for 90 days, as the API shows it.
pub(crate) async fn issued(caller: &Caller<'_>, zone: &str, domain: &str) -> Value {
    let certificate = caller.certificate(zone, domain).await;
    issue(caller, &certificate, 80, "issued").await;
    caller.get(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await.expect(StatusCode::OK)
}

/// Puts the certificate into a state that holds no slot, its issuance having ended.
pub(crate) async fn end(caller: &Caller<'_>, certificate: &Value, status: &str) {
    let id = uuid(&certificate["id"]);
    let change = format!(
        "UPDATE issuances SET status = 'failed', next_wake_at = NULL, finished_at = now() WHERE certificate_id = '{id}' AND status = 'active';
         UPDATE versions SET revoked_at = now() WHERE certificate_id = '{id}' AND '{status}' = 'revoked';
         UPDATE certificates SET status = '{status}' WHERE id = '{id}'"
    );
    caller.api.execute(&change).await;
}
