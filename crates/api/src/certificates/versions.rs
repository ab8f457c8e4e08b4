//! The versions of a certificate: list, show, revoke one, and go back to one (requirements S0.2, S0.8).

pub(super) mod files;
pub(super) mod post_process;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::{CertificateId, KeyId, KeyVersionId, OrderId, VersionId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::DnsName;
use zonecert_domain::revocation::{RevocationReason, RevocationStatus};
use zonecert_domain::scope::Scope;
use zonecert_store::certificates::{self, Certificate, Kind};
use zonecert_store::version_history::{self, Position, RecordedVersion};
use zonecert_store::{Connection, StoreError, revocations, uploads, versions_in_use};

use super::details::DetailsView;
use super::download;
use super::revoke::{self, RevocationBody};
use super::view::{CertificateView, RevocationView};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::paging::{Cursor, Page};
use crate::problem::Problem;
use crate::request::{Id, OptionalBody, Query, id_in_path};

#[derive(Serialize, ToSchema)]
#[schema(as = VersionPage)]
struct List<'a> {
    versions: Vec<VersionView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// A version: immutable but for its revocation. Never with a key.
#[derive(Serialize, ToSchema)]
#[schema(as = Version)]
struct VersionView<'a> {
    #[schema(value_type = values::VersionId)]
    id: VersionId,
    /// Counted for the certificate.
    #[schema(minimum = 1, example = 2)]
    number: i32,
    /// Whether it is the one in use.
    #[schema(example = true)]
    is_current: bool,
    /// Whether it is neither expired nor revoked.
    #[schema(example = true)]
    downloadable: bool,
    #[schema(value_type = values::VersionSource)]
    source: &'a str,
    /// The order that brought it; null for one that was uploaded.
    #[schema(value_type = Option<values::OrderId>, required)]
    order_id: Option<OrderId>,
    /// Of the CA that was asked for it; null for one that was uploaded.
    #[schema(required, example = "https://acme-v02.api.letsencrypt.org/directory")]
    directory_url: Option<&'a str>,
    key: KeyView,
    /// The names in it. Those of the certificate are what its next version has.
    #[schema(value_type = Vec<String>, example = json!(["app.your-domain.com", "www.your-domain.com"]))]
    names: &'a [String],
    /// In hexadecimal digits.
    #[schema(example = "03a1b2c3d4e5f60718293a4b5c6d7e8f9012")]
    serial: &'a str,
    /// Of the leaf, in hexadecimal digits.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    fingerprint_sha256: &'a str,
    #[schema(example = "CN=R11,O=Let's Encrypt,C=US")]
    issuer: &'a str,
    /// Empty where it names its holder by its names alone.
    #[schema(example = "CN=app.your-domain.com")]
    subject: &'a str,
    /// What it says beside names and validity; null where it cannot be read.
    #[schema(required)]
    x509: Option<DetailsView<'a>>,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
    issued_at: DateTime<Utc>,
    #[schema(required, example = json!(null))]
    revoked_at: Option<DateTime<Utc>>,
    /// Null while it is not revoked.
    #[schema(value_type = Option<values::RevocationReason>, required, example = json!(null))]
    revocation_reason: Option<RevocationReason>,
    /// The latest wish to have it revoked.
    #[schema(required)]
    revocation: Option<RevocationView>,
}

/// A private key, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyOfVersion)]
pub(super) struct KeyView {
    #[schema(value_type = values::KeyId)]
    pub(super) id: KeyId,
    /// Another one each time that new material is made for the key.
    #[schema(value_type = values::KeyVersionId)]
    pub(super) version_id: KeyVersionId,
    /// Null where it is none of those that are offered.
    #[schema(value_type = Option<values::KeyAlgorithm>, required)]
    pub(super) algorithm: Option<KeyAlgorithm>,
}

impl<'a> VersionView<'a> {
    fn new(version: &'a RecordedVersion) -> Self {
        Self {
            id: version.id,
            number: version.number,
            is_current: version.is_current,
            downloadable: version.is_valid,
            source: &version.source,
            order_id: version.order,
            directory_url: version.directory_url.as_deref(),
            key: KeyView { id: version.key, version_id: version.key_version, algorithm: version.key_algorithm },
            names: &version.names,
            serial: &version.serial,
            fingerprint_sha256: &version.fingerprint_sha256,
            issuer: &version.issuer,
            subject: &version.subject,
            x509: version.details.as_ref().map(DetailsView::from),
            not_before: version.not_before,
            not_after: version.not_after,
            issued_at: version.created_at,
            revoked_at: version.revoked_at,
            revocation_reason: version.revocation_reason,
            revocation: version.revocation.map(RevocationView::from),
        }
    }
}

/// The versions of a certificate
///
/// Newest first, whatever has become of them.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/versions", tag = "certificates", operation_id = "listCertificateVersions",
    params(("id" = inline(values::CertificateId), Path), Page),
    responses((status = 200, description = "A page of versions.", body = List)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller, id: Id<CertificateId>, query: Query<Page>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (account, id) = (caller.account, id.read()?);
    let (after, limit) = query.read()?.parse::<Position>()?;
    let body = async move |conn: &mut Connection| {
        certificates::get_certificate(conn, account, id).await?;
        version_history::list_versions(conn, account, id, after, limit.to_read()).await
    };
    let mut rows = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut rows, |last| Position { number: last.number }.write());
    Ok(HttpResponse::Ok().json(List { versions: rows.iter().map(VersionView::new).collect(), next_cursor }))
}

/// A version of a certificate
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/versions/{version_id}", tag = "certificates", operation_id = "getCertificateVersion",
    params(("id" = inline(values::CertificateId), Path), ("version_id" = inline(values::VersionId), Path)),
    responses((status = 200, description = "The version.", body = VersionView)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<CertificateId>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (id, version, account) = (id.read()?, version_id(&request)?, caller.account);
    let body = async move |conn: &mut Connection| version_history::get_version(conn, account, id, version).await;
    let version = app.store.tenant::<_, StoreError, _>(account, body).await?;
    Ok(HttpResponse::Ok().json(VersionView::new(&version)))
}

/// Have the CA revoke one version
///
/// The others stay as they are. Where it was the one in use, the newest of those that are valid, and that nobody has asked to have revoked, takes its place
/// once the CA has confirmed. On every plan, and while payment is missing.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/versions/{version_id}/revoke", tag = "certificates", operation_id = "revokeCertificateVersion",
    params(("id" = inline(values::CertificateId), Path), ("version_id" = inline(values::VersionId), Path), idempotency::Parameters),
    request_body = Option<RevocationBody>,
    responses(
        (status = 202, description = "The CA is being asked.", body = VersionView),
        (status = 400, description = "`unknown_choice` at /reason: Give one of unspecified, key_compromise, affiliation_changed, superseded, \
            cessation_of_operation"),
        (status = 409, description = "`nothing_to_revoke`: The version is expired or revoked already, so there is nothing to revoke"),
    ),
)]
pub(super) async fn revoke(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<CertificateId>,
    request: HttpRequest,
    body: OptionalBody<RevocationBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    let (id, version, once) = (id.read()?, version_id(&request)?, idempotency.of(&caller)?);
    let reason = body.read()?.unwrap_or_default().reason()?;
    let work = async move |conn: &mut Connection| {
        let version = request_revocation(conn, &caller, id, version, reason).await?;
        Reply::json(StatusCode::ACCEPTED, &VersionView::new(&version))
    };
    once.run(&app.store, work).await
}

async fn request_revocation(
    conn: &mut Connection,
    caller: &Caller,
    certificate: CertificateId,
    id: VersionId,
    reason: RevocationReason,
) -> Result<RecordedVersion, Problem> {
    let account = caller.account;
    let version = version_history::get_version(conn, account, certificate, id).await?;
    if !revocations::request_version(conn, account, certificate, id, reason, &caller.actor()).await? {
        return Err(nothing_to_revoke(&version));
    }
    let details = json!({"reason": reason, "versions": 1, "version_id": id});
    audit::record(conn, caller, revoke::ACTION, &certificate.to_string(), details).await?;
    Ok(version_history::get_version(conn, account, certificate, id).await?)
}

fn nothing_to_revoke(version: &RecordedVersion) -> Problem {
    let is_asked = version.revocation.is_some_and(|revocation| revocation.status == RevocationStatus::Active);
    let detail = if is_asked {
        "The CA is being asked to revoke it already; `revocation` of the version says how far that is"
    } else if version.is_valid {
        "No CA of ours has issued the version, so there is none that could revoke it"
    } else {
        "The version is expired or revoked already, so there is nothing to revoke"
    };
    Problem::conflict("nothing_to_revoke", detail)
}

/// Go back to a version
///
/// From now on it is the one that is retrieved, until the next one is issued: then that is. The certificate renews as this version is due: `next_renewal_at`
/// says when. That is a day from now at the earliest, or after a quarter of the time that is left where it ends within days; to stay with it for longer, set
/// `auto_renew` to false. What is being issued already goes on. Nothing is revoked. The version in use is answered as it is. Of a dual certificate, a version
/// takes the place of the one with the same key.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/versions/{version_id}/activate", tag = "certificates", operation_id = "activateCertificateVersion",
    params(("id" = inline(values::CertificateId), Path), ("version_id" = inline(values::VersionId), Path), idempotency::Parameters),
    responses(
        (status = 200, description = "The certificate, which has the version in use.", body = CertificateView),
        (status = 409, description = "`version_expired`: The version has expired; take one that is valid\n\
            `version_revoked`: The version was revoked, or is to be; take another\n\
            `version_names_differ`: The version is for other names than the certificate has now; change its `sans` back first, or renew it\n\
            `certificate_not_ready`: The certificate has expired; renew it to have a valid one"),
    ),
)]
pub(super) async fn activate(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<CertificateId>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    let (id, version, once) = (id.read()?, version_id(&request)?, idempotency.of(&caller)?);
    let work = async move |conn: &mut Connection| {
        let certificate = put_in_use(conn, &caller, id, version).await?;
        Reply::json(StatusCode::OK, &CertificateView::new(&certificate))
    };
    once.run(&app.store, work).await
}

async fn put_in_use(conn: &mut Connection, caller: &Caller, id: CertificateId, version: VersionId) -> Result<Certificate, Problem> {
    let account = caller.account;
    let certificate = certificates::get_certificate(conn, account, id).await?;
    let version = version_history::get_version(conn, account, id, version).await?;
    check_valid(&version)?;
    if version.is_current {
        return Ok(certificate);
    }
    if version.is_unwanted {
        return Err(Problem::conflict(
            "version_revoked",
            "Somebody has asked to have the version revoked, or its key is compromised; take another",
        ));
    }
    let is_managed = certificate.kind == Kind::Managed;
    if is_managed && !has_names_of(&version, &certificate) {
        let detail = "The version is for other names than the certificate has now; change its `sans` back first, or renew it";
        return Err(Problem::conflict("version_names_differ", detail));
    }
    if is_managed && !certificate.status.holds_slot() {
        return Err(download::not_ready(&certificate));
    }
    versions_in_use::activate(conn, account, id, version.usable(), &caller.actor()).await?;
    if !is_managed {
        uploads::take_names(conn, account, id, version.id).await?;
    }
    let of_other_key = certificate.alternate.as_ref().and_then(|alternate| alternate.version.as_ref());
    let left = if version.is_alternate { of_other_key } else { certificate.current_version.as_ref() }.map(|version| version.id);
    let details = json!({"version_id": version.id, "version_left": left});
    audit::record(conn, caller, "certificate.version_activated", &id.to_string(), details).await?;
    Ok(certificates::get_certificate(conn, account, id).await?)
}

/// Exactly those, in any order.
fn has_names_of(version: &RecordedVersion, certificate: &Certificate) -> bool {
    let has = |name: &DnsName| version.names.iter().any(|there| there == name.as_str());
    version.names.len() == certificate.names.len() && certificate.names.iter().all(has)
}

/// Says why nothing is done with a version that is over.
pub(super) fn check_valid(version: &RecordedVersion) -> Result<VersionId, Problem> {
    if version.is_valid {
        return Ok(version.id);
    }
    Err(if version.revoked_at.is_some() {
        Problem::conflict("version_revoked", "The version was revoked; take another")
    } else {
        Problem::conflict("version_expired", "The version has expired; take one that is valid")
    })
}

/// The identifier in the path; 404 if it is none, as no such thing can be there.
fn version_id(request: &HttpRequest) -> Result<VersionId, Problem> {
    id_in_path(request, "version_id")
}
