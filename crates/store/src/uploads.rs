//! Certificates that customers bring with their keys (requirements S2.3, S3.52, X12).

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, VersionId};
use zonecert_domain::name::DnsName;
use zonecert_pki::CertificateChain;
use zonecert_pki::seal::MasterKeys;
use zonecert_pki::upload::Upload;

use crate::certificates::{self, Kind, NewName, is_upload, undeleted};
use crate::issuances::database_now;
use crate::issuing::{Issued, record_issued};
use crate::schema::{certificate_names, certificates as table, private_keys as keys_table, versions as versions_table};
use crate::{Connection, StoreError, private_keys, versions, versions_in_use};

/// Longest text that stands for the domain of a certificate without a DNS name.
const MAX_DOMAIN_CHARS: usize = 253;

/// An uploaded certificate that is to be added.
#[derive(Clone, Copy)]
pub struct NewUpload<'a> {
    /// How it is called.
    pub name: NewName<'a>,
    /// Free text.
    pub label: Option<&'a str>,
    /// Its first version.
    pub upload: &'a Upload,
}

/// Adds an uploaded certificate with its first version. The transaction must be one to write ([`crate::Store::tenant_write`]), which makes a derived name
/// and a count of uploads beside it safe.
///
/// Errors with the constraint [`certificates::NAME_KEY`] when a given name is taken.
pub async fn insert_upload(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    new: &NewUpload<'_>,
) -> Result<CertificateId, StoreError> {
    let id = CertificateId::new();
    let (name, number) = certificates::next_name_and_number(conn, account, new.name).await?;
    diesel::insert_into(table::table)
        .values((
            table::id.eq(id.0),
            table::account_id.eq(account.0),
            table::source.eq(Kind::Uploaded.stored()),
            table::domain.eq(name.clone()),
            table::name.eq(name),
            table::number.eq(number),
            table::label.eq(new.label),
            table::key_algorithm.eq(new.upload.key.algorithm().as_str()),
            table::auto_renew.eq(false),
            table::status.eq(CertificateStatus::Issued.as_str()),
        ))
        .execute(conn)
        .await?;
    add_version(conn, masters, account, id, new.upload).await?;
    Ok(id)
}

/// Adds a version to an uploaded certificate and puts it in use; but where it is not valid now and another one is, that stays in use. The transaction
/// must be one to write.
pub async fn add_version(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    certificate: CertificateId,
    upload: &Upload,
) -> Result<VersionId, StoreError> {
    let now = database_now(conn).await?;
    let other = versions_in_use::find_newest_usable(conn, account, certificate, false, now).await?;
    let key = private_keys::get_or_insert_certificate_key(conn, account, certificate).await?;
    let pkcs8 = upload.key.to_pkcs8_der().map_err(|error| StoreError::corrupt("private key", error.to_string()))?;
    let key_version = private_keys::insert_key_version(conn, masters, account, key, &pkcs8, upload.key.public_key_sha256()).await?;
    let version = versions::insert_uploaded_version(conn, account, certificate, key_version, &upload.chain).await?;
    let is_valid = upload.chain.not_before() <= now && now <= upload.chain.not_after();
    if is_valid || other.is_none() {
        let algorithm = upload.key.algorithm().as_str();
        diesel::update(undeleted(account, certificate)).set(table::key_algorithm.eq(algorithm)).execute(conn).await?;
        diesel::update(keys_table::table.filter(keys_table::account_id.eq(account.0).and(keys_table::id.eq(key.0))))
            .set(keys_table::algorithm.eq(algorithm))
            .execute(conn)
            .await?;
        set_names(conn, account, certificate, &upload.chain).await?;
        record_issued(conn, account, certificate, Issued { version, not_after: upload.chain.not_after() }).await?;
    }
    Ok(version)
}

/// Gives an uploaded certificate the names of one of its versions.
pub async fn take_names(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: VersionId,
) -> Result<(), StoreError> {
    let chain_pem: String = versions_table::table
        .filter(versions_table::account_id.eq(account.0).and(versions_table::certificate_id.eq(certificate.0)))
        .filter(versions_table::id.eq(version.0))
        .select(versions_table::chain_pem)
        .first(conn)
        .await?;
    let chain = CertificateChain::parse_pem(&chain_pem).map_err(|error| StoreError::corrupt("versions.chain_pem", error.to_string()))?;
    set_names(conn, account, certificate, &chain).await
}

async fn set_names(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    chain: &CertificateChain,
) -> Result<(), StoreError> {
    let common_name = chain.common_name();
    let texts: Vec<String> = match chain.dns_names() {
        [] => common_name.iter().map(|name| name.to_ascii_lowercase()).collect(),
        names => names.to_vec(),
    };
    let mut names: Vec<DnsName> = Vec::new();
    for name in DnsName::readable(&texts) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let shown = |text: &String| !text.is_empty() && text.chars().count() <= MAX_DOMAIN_CHARS && !text.chars().any(char::is_control);
    let domain = names.as_slice().first().map(|name| name.as_str().to_owned()).or(common_name.filter(shown));
    if let Some(domain) = domain {
        diesel::update(undeleted(account, certificate)).set(table::domain.eq(domain)).execute(conn).await?;
    }
    let of_certificate = certificate_names::account_id.eq(account.0).and(certificate_names::certificate_id.eq(certificate.0));
    diesel::delete(certificate_names::table.filter(of_certificate)).execute(conn).await?;
    if names.is_empty() { Ok(()) } else { certificates::insert_names(conn, account, certificate, &names).await }
}

/// How many uploaded certificates the account has (requirements S3.52). To add one, count in a transaction to write.
pub async fn count_uploads(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    Ok(table::table.filter(table::account_id.eq(account.0).and(is_upload())).count().get_result(conn).await?)
}
