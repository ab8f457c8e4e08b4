//! Push targets: Cert Warden clients to which the version in use is pushed (requirements S0.5, docs/adr/0030-push.md).

pub(super) mod change;
pub(super) mod create;
pub(super) mod deliveries;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::{CertificateId, PushTargetId};
use zonecert_domain::push;
use zonecert_domain::scope::Scope;
use zonecert_domain::webhook::Destinations;
use zonecert_pki::seal::ClientKey;
use zonecert_store::push_targets::{self, PushTarget};
use zonecert_store::{Connection, StoreError, certificates};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::Id;

/// Most push targets of a certificate; keeps the list to one page, and what a renewal has to write within bounds.
const MAX_PUSH_TARGETS: usize = 10;

/// A Cert Warden client to which the version in use is pushed, without its key.
#[derive(Serialize, ToSchema)]
#[schema(as = PushTarget)]
pub(super) struct PushTargetView {
    #[schema(value_type = values::PushTargetId)]
    id: PushTargetId,
    /// Where the client listens.
    #[schema(example = "web1.your-domain.com:5055")]
    address: String,
    /// Whether anything is pushed to it.
    enabled: bool,
    /// Since when each attempt has failed. Null once one has come through.
    #[schema(required, example = json!(null))]
    failing_since: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<&PushTarget> for PushTargetView {
    fn from(target: &PushTarget) -> Self {
        Self {
            id: target.id,
            address: push::address(&target.url),
            enabled: target.enabled,
            failing_since: target.failing_since,
            created_at: target.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = PushTargetList)]
struct List {
    #[schema(max_items = 10)]
    push_targets: Vec<PushTargetView>,
}

/// The URL as it is stored.
fn url(given: &str, destinations: &Destinations) -> Result<String, FieldError> {
    let url = destinations.parse_address(given).map_err(|error| FieldError::new("/address", error.code(), error.to_string()))?;
    Ok(url.into())
}

fn client_key(given: &str) -> Result<ClientKey, FieldError> {
    ClientKey::parse(given).ok_or_else(|| {
        let detail = "Give the client's CW_CLIENT_AES_KEY_BASE64: 32 bytes in base64url without padding, which are 43 characters";
        FieldError::new("/client_key", "client_key_invalid", detail)
    })
}

/// One target for each address: a second one would only push twice.
fn check_address_is_free(targets: &[PushTarget], url: &str, but: Option<PushTargetId>) -> Result<(), Problem> {
    if targets.iter().any(|target| target.url == url && Some(target.id) != but) {
        let detail = "The certificate has a push target at this address already; change that one";
        return Err(Problem::conflict("push_target_exists", detail));
    }
    Ok(())
}

/// Push targets of a certificate
///
/// Oldest first; at most 10.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/push-targets", tag = "certificates", operation_id = "listPushTargets",
    params(("id" = inline(values::CertificateId), Path)),
    responses((status = 200, description = "The push targets, without their keys.", body = List)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller, id: Id<CertificateId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (account, id) = (caller.account, id.read()?);
    let body = async move |conn: &mut Connection| {
        certificates::get_certificate(conn, account, id).await?;
        push_targets::list_push_targets(conn, account, id).await
    };
    let targets = app.store.tenant::<_, StoreError, _>(account, body).await?;
    Ok(HttpResponse::Ok().json(List { push_targets: targets.iter().map(PushTargetView::from).collect() }))
}

/// A push target
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/push-targets/{target_id}", tag = "certificates", operation_id = "getPushTarget",
    params(("id" = inline(values::CertificateId), Path), ("target_id" = inline(values::PushTargetId), Path)),
    responses((status = 200, description = "The push target, without its key.", body = PushTargetView)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<CertificateId>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (account, id, target) = (caller.account, id.read()?, target_id(&request)?);
    let body = async move |conn: &mut Connection| push_targets::get_push_target(conn, account, id, target).await;
    let target = app.store.tenant::<_, StoreError, _>(account, body).await?;
    Ok(HttpResponse::Ok().json(PushTargetView::from(&target)))
}

/// Delete a push target
///
/// With its key and all its deliveries. What is being pushed at this moment may still arrive.
#[utoipa::path(
    delete, path = "/api/v1/certificates/{id}/push-targets/{target_id}", tag = "certificates", operation_id = "deletePushTarget",
    params(("id" = inline(values::CertificateId), Path), ("target_id" = inline(values::PushTargetId), Path)),
    responses((status = 204, description = "Deleted.")),
)]
pub(super) async fn delete(
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    let (account, id, target) = (caller.account, id.read()?, target_id(&request)?);
    let body = async move |conn: &mut Connection| -> Result<(), StoreError> {
        push_targets::delete_push_target(conn, account, id, target).await?;
        audit::record(conn, &caller, "push_target.deleted", &target.to_string(), json!({"certificate_id": id})).await
    };
    app.store.tenant_write(account, body).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The identifier in the path; 404 if it is none, as no such thing can be there.
fn target_id(request: &HttpRequest) -> Result<PushTargetId, Problem> {
    request.match_info().get("target_id").and_then(|text| text.parse().ok()).ok_or_else(Problem::not_found)
}
