//! The files of any version that is valid, in the forms of those of the version in use (requirements S0.8).

use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};
use zonecert_domain::id::CertificateId;
use zonecert_domain::scope::Scope;

use super::version_id;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::certificates::download::{self, Files, Known, Part, Pem, Which};
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

/// Certificate, chain and private key of a version
///
/// The same files as of the version in use. Each download is noted in the audit log.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/versions/{version_id}/download", tag = "certificates", operation_id = "downloadCertificateVersion",
    params(("id" = inline(values::CertificateId), Path), ("version_id" = inline(values::VersionId), Path), Known),
    responses(
        (status = 200, description = "The three files, in PEM.", body = Files, headers(("ETag" = String))),
        (status = 304, description = "The client has it already.", headers(("ETag" = String))),
        (status = 409, description = "`version_expired`: The version has expired; take one that is valid\n\
            `version_revoked`: The version was revoked; take another"),
    ),
)]
pub(in crate::certificates) async fn json(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    caller.require(Scope::KeysRead)?;
    let which = Which::Version(version_id(&request)?);
    download::send(&request, &app, caller, id.read()?, which, Part::All).await
}

/// Leaf and chain of a version in one file
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/versions/{version_id}/pem", tag = "certificates", operation_id = "getCertificateVersionPem",
    params(("id" = inline(values::CertificateId), Path), ("version_id" = inline(values::VersionId), Path), Known),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has it already.", headers(("ETag" = String))),
        (status = 409, description = "`version_expired`: The version has expired; take one that is valid\n\
            `version_revoked`: The version was revoked; take another"),
    ),
)]
pub(in crate::certificates) async fn pem(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let which = Which::Version(version_id(&request)?);
    download::send(&request, &app, caller, id.read()?, which, Part::LeafAndChain).await
}

/// The issuers of a version, without the leaf
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/versions/{version_id}/chain", tag = "certificates", operation_id = "getCertificateVersionChain",
    params(("id" = inline(values::CertificateId), Path), ("version_id" = inline(values::VersionId), Path), Known),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has it already.", headers(("ETag" = String))),
        (status = 409, description = "`version_expired`: The version has expired; take one that is valid\n\
            `version_revoked`: The version was revoked; take another"),
    ),
)]
pub(in crate::certificates) async fn chain(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let which = Which::Version(version_id(&request)?);
    download::send(&request, &app, caller, id.read()?, which, Part::Chain).await
}

/// The private key of a version
///
/// PKCS#8 in PEM. Each download is noted in the audit log.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/versions/{version_id}/key", tag = "certificates", operation_id = "getCertificateVersionKey",
    params(("id" = inline(values::CertificateId), Path), ("version_id" = inline(values::VersionId), Path), Known),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has it already.", headers(("ETag" = String))),
        (status = 409, description = "`version_expired`: The version has expired; take one that is valid\n\
            `version_revoked`: The version was revoked; take another"),
    ),
)]
pub(in crate::certificates) async fn key(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysRead)?;
    let which = Which::Version(version_id(&request)?);
    download::send(&request, &app, caller, id.read()?, which, Part::Key).await
}
