//! API keys of certificates and of private keys (requirements S1.2, S0.7): made, listed and retired. What they open is in [`crate::downloads`].

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::{ApiKeyId, CertificateId, KeyId};
use zonecert_domain::scope::Scope;
use zonecert_store::api_keys::{self, ApiKey, NewApiKey, Resource};
use zonecert_store::{Connection, StoreError, certificates, key_resources};

use crate::app::App;
use crate::audit;
use crate::auth::api_key;
use crate::auth::caller::Caller;
use crate::certificates::key_choice;
use crate::clock;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::{Id, id_in_path};
use crate::route::{Access, Route};

pub(crate) fn routes() -> Vec<Route> {
    let reads = Access::Scopes(&[Scope::CertificatesRead]);
    let changes = Access::Scopes(&[Scope::CertificatesWrite]);
    // Whoever makes a key of a private key can download that.
    let opens_keys = Access::Scopes(&[Scope::CertificatesWrite, Scope::KeysRead]);
    vec![
        Route::new(__path_list_of_certificate, list_of_certificate, reads),
        Route::new(__path_create_of_certificate, create_of_certificate, changes),
        Route::new(__path_delete_of_certificate, delete_of_certificate, changes),
        Route::new(__path_list_of_key, list_of_key, reads),
        Route::new(__path_create_of_key, create_of_key, opens_keys),
        Route::new(__path_delete_of_key, delete_of_key, changes),
    ]
}

/// An API key as the API shows it, without the key.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct ApiKeyAnswer<'a> {
    #[schema(value_type = values::ApiKeyId)]
    id: ApiKeyId,
    /// How the key begins, to tell keys apart.
    #[schema(pattern = "^zck_[A-Za-z0-9_-]{6}$", example = "zck_3q2-7w")]
    prefix: &'a str,
    #[schema(required)]
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl<'a> From<&'a ApiKey> for ApiKeyAnswer<'a> {
    fn from(key: &'a ApiKey) -> Self {
        Self { id: key.id, prefix: &key.prefix, last_used_at: key.last_used_at, created_at: key.created_at }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeyList)]
struct ListAnswer<'a> {
    #[schema(max_items = 2)]
    api_keys: Vec<ApiKeyAnswer<'a>>,
}

/// The only answer that holds the key itself.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedApiKey)]
struct CreatedAnswer<'a> {
    #[serde(flatten)]
    shown: ApiKeyAnswer<'a>,
    /// The key itself. Shown this once.
    #[schema(pattern = "^zck_[A-Za-z0-9_-]{43}$", example = "zck_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk")]
    api_key: &'a str,
}

/// API keys of a certificate
///
/// Those that are valid, oldest first: at most two.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/api-keys", tag = "certificates", operation_id = "listCertificateApiKeys",
    params(("id" = inline(values::CertificateId), Path)),
    responses((status = 200, description = "The API keys, without their secrets.", body = ListAnswer)),
)]
async fn list_of_certificate(app: web::Data<App>, caller: Caller, id: Id<CertificateId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    list(&app, &caller, Resource::Certificate(id.read()?)).await
}

/// API keys of a private key
///
/// Those that are valid, oldest first: at most two.
#[utoipa::path(
    get, path = "/api/v1/keys/{id}/api-keys", tag = "keys", operation_id = "listKeyApiKeys",
    params(("id" = inline(values::KeyId), Path)),
    responses((status = 200, description = "The API keys, without their secrets.", body = ListAnswer)),
)]
async fn list_of_key(app: web::Data<App>, caller: Caller, id: Id<KeyId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    list(&app, &caller, Resource::PrivateKey(id.read()?)).await
}

async fn list(app: &App, caller: &Caller, resource: Resource) -> Result<HttpResponse, Problem> {
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        check_is_there(conn, caller, resource).await?;
        api_keys::list_api_keys(conn, account, resource).await
    };
    let keys = app.store.tenant::<_, StoreError, _>(account, body).await?;
    Ok(HttpResponse::Ok().json(ListAnswer { api_keys: keys.iter().map(ApiKeyAnswer::from).collect() }))
}

/// Make an API key of a certificate
///
/// It opens the certificate's files in the download API, without its private key. It is shown in this answer and never again. To replace one: make
/// the next, change the clients, delete the older.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/api-keys", tag = "certificates", operation_id = "createCertificateApiKey",
    params(("id" = inline(values::CertificateId), Path)),
    responses(
        (status = 201, description = "The API key.", body = CreatedAnswer, headers(("Location" = String))),
        (status = 409, description = "`api_key_limit_reached`: Two API keys are valid already; delete the older one first"),
    ),
)]
async fn create_of_certificate(app: web::Data<App>, caller: Caller, id: Id<CertificateId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    let id = id.read()?;
    create(&app, &caller, Resource::Certificate(id), &format!("/api/v1/certificates/{id}/api-keys")).await
}

/// Make an API key of a private key
///
/// It opens the private key in the download API. Certificates that use the key keep it from now on (`key_policy`), since key and certificate may be
/// fetched one after the other. The API key is shown in this answer and never again.
#[utoipa::path(
    post, path = "/api/v1/keys/{id}/api-keys", tag = "keys", operation_id = "createKeyApiKey",
    params(("id" = inline(values::KeyId), Path)),
    responses(
        (status = 201, description = "The API key.", body = CreatedAnswer, headers(("Location" = String))),
        (status = 409, description = "`api_key_limit_reached`: Two API keys are valid already; delete the older one first"),
    ),
)]
async fn create_of_key(app: web::Data<App>, caller: Caller, id: Id<KeyId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    caller.require(Scope::KeysRead)?;
    let id = id.read()?;
    create(&app, &caller, Resource::PrivateKey(id), &format!("/api/v1/keys/{id}/api-keys")).await
}

async fn create(app: &App, caller: &Caller, resource: Resource, path: &str) -> Result<HttpResponse, Problem> {
    let key = api_key::generate();
    let new = NewApiKey { resource, prefix: api_key::shown(&key), sha256: &key.sha256(), created_by: caller.person() };
    let stored = app.store.tenant_write(caller.account, async |conn| insert(conn, caller, &new).await).await?;
    let answer = CreatedAnswer { shown: ApiKeyAnswer::from(&stored), api_key: key.reveal() };
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("{path}/{}", stored.id))).json(answer))
}

async fn insert(conn: &mut Connection, caller: &Caller, new: &NewApiKey<'_>) -> Result<ApiKey, Problem> {
    let account = caller.account;
    check_is_there(conn, caller, new.resource).await?;
    let there = api_keys::list_api_keys(conn, account, new.resource).await?;
    if i64::try_from(there.len()).unwrap_or(i64::MAX) >= api_keys::MOST {
        return Err(Problem::conflict("api_key_limit_reached", "Two API keys are valid already; delete the older one first"));
    }
    let key = api_keys::insert_api_key(conn, account, new).await?;
    audit::record(conn, caller, "api_key.created", &key.id.to_string(), details(new.resource)).await?;
    if let Resource::PrivateKey(id) = new.resource {
        let kept = key_resources::keep_key(conn, account, id).await?;
        key_choice::note_kept(conn, account, &kept, "it can be fetched apart from the certificate").await?;
    }
    Ok(key)
}

/// Retire an API key of a certificate, at once
#[utoipa::path(
    delete, path = "/api/v1/certificates/{id}/api-keys/{api_key_id}", tag = "certificates", operation_id = "deleteCertificateApiKey",
    params(("id" = inline(values::CertificateId), Path), ("api_key_id" = inline(values::ApiKeyId), Path)),
    responses((status = 204, description = "Retired.")),
)]
async fn delete_of_certificate(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    delete(&app, &caller, Resource::Certificate(id.read()?), api_key_id(&request)?).await
}

/// Retire an API key of a private key, at once
#[utoipa::path(
    delete, path = "/api/v1/keys/{id}/api-keys/{api_key_id}", tag = "keys", operation_id = "deleteKeyApiKey",
    params(("id" = inline(values::KeyId), Path), ("api_key_id" = inline(values::ApiKeyId), Path)),
    responses((status = 204, description = "Retired.")),
)]
async fn delete_of_key(request: HttpRequest, app: web::Data<App>, caller: Caller, id: Id<KeyId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    delete(&app, &caller, Resource::PrivateKey(id.read()?), api_key_id(&request)?).await
}

async fn delete(app: &App, caller: &Caller, resource: Resource, id: ApiKeyId) -> Result<HttpResponse, Problem> {
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        check_is_there(conn, caller, resource).await?;
        api_keys::revoke_api_key(conn, account, resource, id, clock::now()).await?;
        audit::record(conn, caller, "api_key.revoked", &id.to_string(), details(resource)).await
    };
    app.store.tenant_write::<_, StoreError, _>(account, body).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn api_key_id(request: &HttpRequest) -> Result<ApiKeyId, Problem> {
    id_in_path(request, "api_key_id")
}

async fn check_is_there(conn: &mut Connection, caller: &Caller, resource: Resource) -> Result<(), StoreError> {
    match resource {
        Resource::Certificate(id) => certificates::get_certificate(conn, caller.account, id).await.map(drop),
        Resource::PrivateKey(id) => key_resources::get_key(conn, caller.account, id).await.map(drop),
    }
}

fn details(resource: Resource) -> serde_json::Value {
    match resource {
        Resource::Certificate(id) => json!({"certificate_id": id}),
        Resource::PrivateKey(id) => json!({"private_key_id": id}),
    }
}
