//! The files of a certificate (requirements S3.2, X6): always those of the version in use, as long as it is valid.

use actix_web::body::BoxBody;
use actix_web::http::header::{self, CacheDirective, EntityTag, Header, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{CertificateId, VersionId};
use zonecert_domain::scope::Scope;
use zonecert_pki::{CertificateChain, PrivateKey};
use zonecert_store::certificates::{self, Certificate};
use zonecert_store::versions::{self, Version};
use zonecert_store::{Connection, private_keys};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

const JSON: &str = "application/json";
const PEM: &str = "application/x-pem-file";

/// The files in one answer.
#[derive(Serialize, ToSchema)]
struct Files<'a> {
    /// The leaf.
    #[schema(pattern = "^-----BEGIN CERTIFICATE-----", example = "-----BEGIN CERTIFICATE-----\nMIID...\n-----END CERTIFICATE-----\n")]
    certificate: &'a str,
    /// The issuers.
    #[schema(pattern = "^-----BEGIN CERTIFICATE-----", example = "-----BEGIN CERTIFICATE-----\nMIIC...\n-----END CERTIFICATE-----\n")]
    chain: &'a str,
    /// PKCS#8.
    #[schema(pattern = "^-----BEGIN PRIVATE KEY-----", example = "-----BEGIN PRIVATE KEY-----\nMIIE...\n-----END PRIVATE KEY-----\n")]
    private_key: &'a str,
}

/// A file in PEM (RFC 7468).
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^-----BEGIN ")]
#[expect(dead_code, reason = "describes bytes that are sent as they are")]
struct Pem(String);

/// What a client that asks again says.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the header is read by the framework's own type")]
pub(super) struct Known {
    /// The `ETag` of the version that the client has.
    #[param(rename = "If-None-Match", required = false, example = "\"ver_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f\"")]
    if_none_match: String,
}

/// Certificate, chain and private key of the version in use
///
/// Possible as long as `downloadable` is true, whatever the status.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/download", tag = "certificates", operation_id = "downloadCertificate",
    params(("id" = inline(values::CertificateId), Path), Known),
    responses(
        (status = 200, description = "The three files, in PEM.", body = Files, headers(("ETag" = String))),
        (status = 304, description = "The client has the version in use already.", headers(("ETag" = String))),
        (status = 409, description = "`certificate_not_ready`: The certificate is not issued yet; look at its `status` again in some seconds, \
            and at its logs if it takes longer"),
    ),
)]
pub(super) async fn json(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    caller.require(Scope::KeysRead)?;
    let found = find(&request, &app, caller, id.read()?, true).await?;
    let Found::Changed(file) = found else { return Ok(found.unchanged(Holds::Key)) };
    let chain = read_chain(&file.version)?;
    let key = file.key_pem()?;
    // Escaped newlines are all that JSON adds, one byte for each line of 64; nothing is left behind by growing.
    let room = 2 * (file.version.chain_pem.len() + key.len()) + 256;
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    let files = Files { certificate: chain.leaf_pem(), chain: chain.issuers_pem(), private_key: &key };
    serde_json::to_writer(&mut *body, &files).map_err(|error| Problem::caused_by(&error))?;
    Ok(file.answer(JSON, "json", Bytes::from_owner(Wiped(body)), Holds::Key))
}

/// Leaf and chain in one file
///
/// What a TLS server is configured with, beside the key.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/pem", tag = "certificates", operation_id = "getCertificatePem",
    params(("id" = inline(values::CertificateId), Path), Known),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has the version in use already.", headers(("ETag" = String))),
        (status = 409, description = "`certificate_not_ready`: The certificate is not issued yet; look at its `status` again in some seconds, \
            and at its logs if it takes longer"),
    ),
)]
pub(super) async fn pem(request: HttpRequest, app: web::Data<App>, caller: Caller, id: Id<CertificateId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let found = find(&request, &app, caller, id.read()?, false).await?;
    let Found::Changed(file) = found else { return Ok(found.unchanged(Holds::NoKey)) };
    let body = Bytes::from(file.version.chain_pem.clone());
    Ok(file.answer(PEM, "crt", body, Holds::NoKey))
}

/// The issuers, without the leaf
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/chain", tag = "certificates", operation_id = "getCertificateChain",
    params(("id" = inline(values::CertificateId), Path), Known),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has the version in use already.", headers(("ETag" = String))),
        (status = 409, description = "`certificate_not_ready`: The certificate is not issued yet; look at its `status` again in some seconds, \
            and at its logs if it takes longer"),
    ),
)]
pub(super) async fn chain(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let found = find(&request, &app, caller, id.read()?, false).await?;
    let Found::Changed(file) = found else { return Ok(found.unchanged(Holds::NoKey)) };
    let body = Bytes::from(read_chain(&file.version)?.issuers_pem().to_owned());
    Ok(file.answer(PEM, "chain.pem", body, Holds::NoKey))
}

/// The private key of the version in use
///
/// PKCS#8 in PEM. Each download is noted in the audit log.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/key", tag = "certificates", operation_id = "getCertificateKey",
    params(("id" = inline(values::CertificateId), Path), Known),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has the version in use already.", headers(("ETag" = String))),
        (status = 409, description = "`certificate_not_ready`: The certificate is not issued yet; look at its `status` again in some seconds, \
            and at its logs if it takes longer"),
    ),
)]
pub(super) async fn key(request: HttpRequest, app: web::Data<App>, caller: Caller, id: Id<CertificateId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysRead)?;
    let found = find(&request, &app, caller, id.read()?, true).await?;
    let Found::Changed(file) = found else { return Ok(found.unchanged(Holds::Key)) };
    let key = file.key_pem()?;
    Ok(file.answer(PEM, "key", Bytes::from_owner(Wiped(Zeroizing::new(key.as_bytes().to_vec()))), Holds::Key))
}

/// What a request for a file comes to.
enum Found {
    /// The client has this version already (RFC 9110 §13.1.2).
    Unchanged(VersionId),
    Changed(File),
}

/// The version in use and, where it was asked for, its key.
struct File {
    name: String,
    version: Version,
    key_der: Option<Zeroizing<Vec<u8>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Key,
    NoKey,
}

async fn find(request: &HttpRequest, app: &web::Data<App>, caller: Caller, id: CertificateId, with_key: bool) -> Result<Found, Problem> {
    let known = header::IfNoneMatch::parse(request).unwrap_or(header::IfNoneMatch::Items(Vec::new()));
    let (account, masters) = (caller.account, app.masters.clone());
    let body = async move |conn: &mut Connection| {
        let certificate = certificates::get_certificate(conn, account, id).await?;
        let current = certificate.current_version.as_ref().filter(|_| certificate.downloadable).ok_or_else(|| not_ready(&certificate))?.id;
        if known_to_client(&known, current) {
            return Ok(Found::Unchanged(current));
        }
        let version = versions::get_version(conn, account, current).await?;
        let key_der = if with_key {
            audit::record(conn, &caller, "key.downloaded", &id.to_string(), json!({"version_id": current})).await?;
            Some(private_keys::open_key_version(conn, &masters, account, version.key_version).await?)
        } else {
            None
        };
        Ok(Found::Changed(File { name: certificate.name, version, key_der }))
    };
    app.store.tenant(account, body).await
}

fn known_to_client(known: &header::IfNoneMatch, current: VersionId) -> bool {
    let tag = EntityTag::new_strong(current.to_string());
    match known {
        header::IfNoneMatch::Any => true,
        header::IfNoneMatch::Items(tags) => tags.iter().any(|known| known.weak_eq(&tag)),
    }
}

/// Says why there is nothing to download, and what to do.
fn not_ready(certificate: &Certificate) -> Problem {
    let detail = match certificate.status {
        CertificateStatus::Pending | CertificateStatus::Validating => {
            "The certificate is not issued yet; look at its `status` again in some seconds, and at its logs if it takes longer"
        }
        CertificateStatus::Failed => "The certificate could not be issued; `last_error` says why and what to do",
        CertificateStatus::Revoked => "The certificate was revoked; renew it to have a valid one",
        CertificateStatus::Issued | CertificateStatus::Expired => "The certificate has expired; renew it to have a valid one",
    };
    Problem::conflict("certificate_not_ready", detail)
}

fn read_chain(version: &Version) -> Result<CertificateChain, Problem> {
    CertificateChain::parse_pem(&version.chain_pem).map_err(|error| Problem::caused_by(&error))
}

impl Found {
    fn unchanged(&self, holds: Holds) -> HttpResponse {
        let (Self::Unchanged(version) | Self::Changed(File { version: Version { id: version, .. }, .. })) = self;
        let mut response = HttpResponse::NotModified();
        response.insert_header(header::ETag(EntityTag::new_strong(version.to_string()))).insert_header(caching(holds));
        response.finish()
    }
}

impl File {
    /// PKCS#8.
    fn key_pem(&self) -> Result<Zeroizing<String>, Problem> {
        let der = self.key_der.as_ref().ok_or_else(Problem::internal)?;
        PrivateKey::from_pkcs8_der(der).and_then(|key| key.to_pkcs8_pem()).map_err(|error| Problem::caused_by(&error))
    }

    /// Names of certificates are safe in a header.
    fn answer(&self, content_type: &'static str, extension: &str, body: Bytes, holds: Holds) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::Ok();
        response
            .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(content_type)))
            .insert_header(header::ETag(EntityTag::new_strong(self.version.id.to_string())))
            .insert_header(caching(holds));
        if content_type == PEM {
            response.insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.{extension}\"", self.name)));
        }
        response.body(body)
    }
}

/// A key is stored by nobody on the way; the rest only by the client, who asks again each time.
fn caching(holds: Holds) -> header::CacheControl {
    header::CacheControl(match holds {
        Holds::Key => vec![CacheDirective::NoStore],
        Holds::NoKey => vec![CacheDirective::Private, CacheDirective::NoCache],
    })
}

/// Bytes that are overwritten when the answer has been sent.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
