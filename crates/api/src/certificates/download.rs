//! The files of a certificate (requirements S3.2, X6): those of the version in use, as long as it is valid. Those of others are sent by the same code
//! ([`super::versions::files`]).

use actix_web::http::header::{self, CacheDirective, EntityTag, Header, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, VersionId};
use zonecert_domain::key::KeyType;
use zonecert_domain::scope::Scope;
use zonecert_pki::{CertificateChain, PrivateKey};
use zonecert_store::certificates::{self, Certificate};
use zonecert_store::versions::{self, Version};
use zonecert_store::{Connection, private_keys, version_history};

use super::versions::check_valid;
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Id, Query};
use crate::text;

const JSON: &str = "application/json";
/// The media type of PEM, as Cert Warden has it too.
pub(crate) const PEM: &str = "application/x-pem-file";

/// Which of the versions in use is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Of a dual certificate: the version with a key of this type. Where it is absent, the version with the first key.
    #[param(value_type = Option<values::KeyType>, inline)]
    key_type: Option<String>,
}

impl Wanted {
    fn key_type(&self) -> Result<Option<KeyType>, FieldError> {
        key_type(self.key_type.as_deref())
    }
}

pub(super) fn key_type(given: Option<&str>) -> Result<Option<KeyType>, FieldError> {
    text::choice("?key_type", given, &KeyType::ALL, KeyType::as_str)
}

/// The files in one answer.
#[derive(Serialize, ToSchema)]
pub(super) struct Files<'a> {
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
pub(crate) struct Pem(String);

/// What a client that asks again says.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the header is read by the framework's own type")]
pub(crate) struct Known {
    /// The `ETag` of the version that the client has.
    #[param(rename = "If-None-Match", required = false, example = "\"ver_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f\"")]
    if_none_match: String,
}

/// Certificate, chain and private key of the version in use
///
/// Possible as long as `downloadable` is true, whatever the status.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/download", tag = "certificates", operation_id = "downloadCertificate",
    params(("id" = inline(values::CertificateId), Path), Known, Wanted),
    responses(
        (status = 200, description = "The three files, in PEM.", body = Files, headers(("ETag" = String))),
        (status = 304, description = "The client has the version in use already.", headers(("ETag" = String))),
        (status = 400, description = "`unknown_choice` at ?key_type: Give one of rsa, ecdsa"),
        (status = 409, description = "`certificate_not_ready`: The certificate is not issued yet; look at its `status` again in some seconds, \
            and at its logs if it takes longer\n\
            `no_version_of_key_type`: The certificate has no valid version with a key of the type ecdsa; `alternate` says what is known of its other key"),
    ),
)]
pub(super) async fn json(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    query: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    caller.require(Scope::KeysRead)?;
    let wanted = query.read()?.key_type()?;
    send(&request, &app, caller, id.read()?, Which::InUse(wanted), Part::All).await
}

/// Leaf and chain in one file
///
/// What a TLS server is configured with, beside the key.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/pem", tag = "certificates", operation_id = "getCertificatePem",
    params(("id" = inline(values::CertificateId), Path), Known, Wanted),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has the version in use already.", headers(("ETag" = String))),
        (status = 400, description = "`unknown_choice` at ?key_type: Give one of rsa, ecdsa"),
        (status = 409, description = "`certificate_not_ready`: The certificate is not issued yet; look at its `status` again in some seconds, \
            and at its logs if it takes longer\n\
            `no_version_of_key_type`: The certificate has no valid version with a key of the type ecdsa; `alternate` says what is known of its other key"),
    ),
)]
pub(super) async fn pem(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    query: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let wanted = query.read()?.key_type()?;
    send(&request, &app, caller, id.read()?, Which::InUse(wanted), Part::LeafAndChain).await
}

/// The issuers, without the leaf
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/chain", tag = "certificates", operation_id = "getCertificateChain",
    params(("id" = inline(values::CertificateId), Path), Known, Wanted),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has the version in use already.", headers(("ETag" = String))),
        (status = 400, description = "`unknown_choice` at ?key_type: Give one of rsa, ecdsa"),
        (status = 409, description = "`certificate_not_ready`: The certificate is not issued yet; look at its `status` again in some seconds, \
            and at its logs if it takes longer\n\
            `no_version_of_key_type`: The certificate has no valid version with a key of the type ecdsa; `alternate` says what is known of its other key"),
    ),
)]
pub(super) async fn chain(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    query: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let wanted = query.read()?.key_type()?;
    send(&request, &app, caller, id.read()?, Which::InUse(wanted), Part::Chain).await
}

/// The private key of the version in use
///
/// PKCS#8 in PEM. Each download is noted in the audit log.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/key", tag = "certificates", operation_id = "getCertificateKey",
    params(("id" = inline(values::CertificateId), Path), Known, Wanted),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has the version in use already.", headers(("ETag" = String))),
        (status = 400, description = "`unknown_choice` at ?key_type: Give one of rsa, ecdsa"),
        (status = 409, description = "`certificate_not_ready`: The certificate is not issued yet; look at its `status` again in some seconds, \
            and at its logs if it takes longer\n\
            `no_version_of_key_type`: The certificate has no valid version with a key of the type ecdsa; `alternate` says what is known of its other key"),
    ),
)]
pub(super) async fn key(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    query: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysRead)?;
    let wanted = query.read()?.key_type()?;
    send(&request, &app, caller, id.read()?, Which::InUse(wanted), Part::Key).await
}

/// Whose files are sent.
#[derive(Clone, Copy)]
pub(super) enum Which {
    /// Of a dual certificate the version with its first key, unless one with a key of this type is wanted.
    InUse(Option<KeyType>),
    Version(VersionId),
}

/// What is sent of a version.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// In JSON.
    All,
    LeafAndChain,
    Chain,
    Key,
}

impl Part {
    fn holds_key(self) -> bool {
        matches!(self, Self::All | Self::Key)
    }

    /// How the name of the file ends. JSON is no file.
    fn extension(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::LeafAndChain => Some("crt"),
            Self::Chain => Some("chain.pem"),
            Self::Key => Some("key"),
        }
    }

    /// A key in it is overwritten when it has been sent.
    fn of(self, file: &File) -> Result<Bytes, Problem> {
        Ok(match self {
            Self::All => Bytes::from_owner(file.to_json()?),
            Self::LeafAndChain => Bytes::from(file.version.chain_pem.clone()),
            Self::Chain => Bytes::from(read_chain(&file.version)?.issuers_pem().to_owned()),
            Self::Key => Bytes::from_owner(file.key_pem()?),
        })
    }
}

/// What a request for a file comes to.
enum Found {
    /// The client has this version already (RFC 9110 §13.1.2).
    Unchanged(VersionId),
    Changed(File),
}

/// The version and, where it was asked for, its key.
struct File {
    name: String,
    version: Version,
    key_der: Option<Zeroizing<Vec<u8>>>,
}

/// Answers a part of a version that is valid, or that the client has it.
pub(super) async fn send(
    request: &HttpRequest,
    app: &App,
    caller: Caller,
    id: CertificateId,
    which: Which,
    part: Part,
) -> Result<HttpResponse, Problem> {
    let file = match find(request, app, caller, id, which, part).await? {
        Found::Unchanged(version) => return Ok(head(HttpResponse::NotModified(), version, part).finish()),
        Found::Changed(file) => file,
    };
    let body = part.of(&file)?;
    let mut response = head(HttpResponse::Ok(), file.version.id, part);
    if let Some(extension) = part.extension() {
        // Names of certificates are safe in a header.
        let disposition = format!("attachment; filename=\"{}.{extension}\"", file.name);
        response
            .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(PEM)))
            .insert_header((header::CONTENT_DISPOSITION, disposition));
    } else {
        response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(JSON)));
    }
    Ok(response.body(body))
}

fn head(mut response: HttpResponseBuilder, version: VersionId, part: Part) -> HttpResponseBuilder {
    response.insert_header(header::ETag(EntityTag::new_strong(version.to_string()))).insert_header(caching(part));
    response
}

async fn find(request: &HttpRequest, app: &App, caller: Caller, id: CertificateId, which: Which, part: Part) -> Result<Found, Problem> {
    let known = if_none_match(request);
    let (account, masters) = (caller.account, app.masters.clone());
    let body = async move |conn: &mut Connection| {
        let certificate = certificates::get_certificate(conn, account, id).await?;
        let wanted = match which {
            Which::InUse(key_type) => in_use(conn, account, &certificate, key_type).await?,
            Which::Version(version) => check_valid(&version_history::get_version(conn, account, id, version).await?)?,
        };
        if known_to_client(&known, wanted) {
            return Ok(Found::Unchanged(wanted));
        }
        let version = versions::get_version(conn, account, wanted).await?;
        let key_der = if part.holds_key() {
            audit::record(conn, &caller, "key.downloaded", &id.to_string(), json!({"version_id": wanted})).await?;
            Some(private_keys::open_key_version(conn, &masters, account, version.key_version).await?)
        } else {
            None
        };
        Ok(Found::Changed(File { name: certificate.name, version, key_der }))
    };
    app.store.tenant(account, body).await
}

/// The version in use, if it is valid; of the two of a dual certificate the one with a key of this type.
pub(super) async fn in_use(
    conn: &mut Connection,
    account: AccountId,
    certificate: &Certificate,
    key_type: Option<KeyType>,
) -> Result<VersionId, Problem> {
    let current = certificate.current_version.as_ref().filter(|_| certificate.downloadable);
    let Some(key_type) = key_type else { return current.map(|version| version.id).ok_or_else(|| not_ready(certificate)) };
    let other = certificate.alternate.as_ref().filter(|alternate| alternate.downloadable).and_then(|alternate| alternate.version.as_ref());
    if current.is_none() && other.is_none() {
        return Err(not_ready(certificate));
    }
    for version in current.into_iter().chain(other) {
        // The algorithm of the certificate is that of its next key.
        let chain = read_chain(&versions::get_version(conn, account, version.id).await?)?;
        if chain.key_algorithm().is_some_and(|algorithm| algorithm.key_type() == key_type) {
            return Ok(version.id);
        }
    }
    let detail =
        format!("The certificate has no valid version with a key of the type {key_type}; `alternate` says what is known of its other key");
    Err(Problem::conflict("no_version_of_key_type", detail))
}

fn known_to_client(known: &header::IfNoneMatch, version: VersionId) -> bool {
    is_known(known, &EntityTag::new_strong(version.to_string()))
}

/// What the client says that it has (RFC 9110 §13.1.2); nothing where it cannot be read.
pub(crate) fn if_none_match(request: &HttpRequest) -> header::IfNoneMatch {
    header::IfNoneMatch::parse(request).unwrap_or(header::IfNoneMatch::Items(Vec::new()))
}

/// Whether the client has what this tag names (RFC 9110 §13.1.2).
pub(crate) fn is_known(known: &header::IfNoneMatch, tag: &EntityTag) -> bool {
    match known {
        header::IfNoneMatch::Any => true,
        header::IfNoneMatch::Items(tags) => tags.iter().any(|known| known.weak_eq(tag)),
    }
}

/// Says why there is nothing to download, and what to do.
pub(super) fn not_ready(certificate: &Certificate) -> Problem {
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

impl File {
    /// PKCS#8.
    fn key_pem(&self) -> Result<Zeroizing<String>, Problem> {
        let der = self.key_der.as_ref().ok_or_else(Problem::internal)?;
        PrivateKey::from_pkcs8_der(der).and_then(|key| key.to_pkcs8_pem()).map_err(|error| Problem::caused_by(&error))
    }

    fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let (chain, key) = (read_chain(&self.version)?, self.key_pem()?);
        // Escaped newlines are all that JSON adds, one byte for each line of 64; nothing is left behind by growing.
        let room = 2 * (self.version.chain_pem.len() + key.len()) + 256;
        let mut json = Zeroizing::new(Vec::with_capacity(room));
        let files = Files { certificate: chain.leaf_pem(), chain: chain.issuers_pem(), private_key: &key };
        serde_json::to_writer(&mut *json, &files).map_err(|error| Problem::caused_by(&error))?;
        Ok(json)
    }
}

/// A key is stored by nobody on the way; the rest only by the client, who asks again each time.
fn caching(part: Part) -> header::CacheControl {
    header::CacheControl(if part.holds_key() {
        vec![CacheDirective::NoStore]
    } else {
        vec![CacheDirective::Private, CacheDirective::NoCache]
    })
}
