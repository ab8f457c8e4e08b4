//! Private keys as resources of their own (requirements S0.4, X19). Never their material: that is read with the certificate, or by the download API.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use zonecert_domain::id::{AccountId, CertificateId, KeyId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::plan;
use zonecert_domain::scope::Scope;
use zonecert_pki::PrivateKey;
use zonecert_store::key_resources::{self, Change, KeyResource, NAME_KEY};
use zonecert_store::{Connection, StoreError, private_keys};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::certificates::{naming, wish};
use crate::faults::Faults;
use crate::openapi::values;
use crate::paging::{Cursor, KeyName, Page};
use crate::problem::Problem;
use crate::request::{Body, Id, Query, given};
use crate::route::{Access, Route};
use crate::turn;

/// Most keys that an account makes as resources. Those of its certificates are as many as these.
const MAX_KEYS: i64 = 100;

/// Making a key takes seconds of CPU at worst: one at a time, so that the other cores go on answering.
static TURN: Semaphore = Semaphore::const_new(1);

pub(crate) fn routes() -> Vec<Route> {
    let reads = Access::Scopes(&[Scope::CertificatesRead]);
    let changes = Access::Scopes(&[Scope::CertificatesWrite]);
    vec![
        Route::new(__path_list, list, reads),
        Route::new(__path_create, create, changes),
        Route::new(__path_get, get, reads),
        Route::new(__path_change, change, changes),
        Route::new(__path_delete, delete, changes),
    ]
}

/// A private key, without its material.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
struct KeyView<'a> {
    #[schema(value_type = values::KeyId)]
    id: KeyId,
    /// Unique among the account's keys and safe in a URL.
    #[schema(example = "app.your-domain.com")]
    name: &'a str,
    #[schema(value_type = values::KeyAlgorithm)]
    algorithm: KeyAlgorithm,
    /// Whether its API keys may stand in the URL, for clients that can set no header.
    api_key_via_url: bool,
    /// Made on its own and not for a certificate: it stays when certificates are deleted, and is kept at renewals.
    independent: bool,
    /// Which certificates use it.
    #[schema(value_type = Vec<values::CertificateId>)]
    certificate_ids: &'a [CertificateId],
    created_at: DateTime<Utc>,
}

impl<'a> From<&'a KeyResource> for KeyView<'a> {
    fn from(key: &'a KeyResource) -> Self {
        Self {
            id: key.id,
            name: &key.name,
            algorithm: key.algorithm,
            api_key_via_url: key.api_key_via_url,
            independent: key.is_resource,
            certificate_ids: &key.certificates,
            created_at: key.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = KeyPage)]
struct List<'a> {
    keys: Vec<KeyView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", example = "shared")]
    name: String,
    /// `rsa2048` where it is absent.
    #[schema(value_type = Option<values::KeyAlgorithm>, example = "ecdsa_p256")]
    algorithm: Option<String>,
}

/// What is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyChange)]
struct ChangeBody {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", example = "shared")]
    name: Option<String>,
    /// Whether its API keys may stand in the URL. Addresses are written down in more places than headers are.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false, example = false)]
    api_key_via_url: Option<bool>,
}

/// The account's private keys by name
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys", operation_id = "listKeys",
    params(Page),
    responses((status = 200, description = "A page of keys, without their material.", body = List)),
)]
async fn list(app: web::Data<App>, caller: Caller, query: Query<Page>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (after, limit) = query.read()?.parse::<KeyName>()?;
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        key_resources::list_keys(conn, account, after.as_ref().map(|after| after.0.as_str()), limit.to_read()).await
    };
    let mut keys = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut keys, |key| KeyName(key.name.clone()).write());
    Ok(HttpResponse::Ok().json(List { keys: keys.iter().map(KeyView::from).collect(), next_cursor }))
}

/// Make a private key
///
/// Needs a paid plan as well. Certificates can share it: name it as `private_key_id` where one is requested or changed. Certificates have keys of
/// their own without that.
#[utoipa::path(
    post, path = "/api/v1/keys", tag = "keys", operation_id = "createKey",
    request_body = NewKey,
    responses(
        (status = 201, description = "The key, without its material.", body = KeyView, headers(("Location" = String))),
        (status = 400, description = "`certificate_name_invalid`, `unknown_choice`"),
        (status = 403, description = "`paid_plan_required`: Certificate management requires paid subscription"),
        (status = 409, description = "`key_name_taken`: The account has a key with the name shared already; give another\n\
            `key_limit_reached`: The account has 100 keys of its own; delete one that is not needed any more"),
    ),
)]
async fn create(app: web::Data<App>, caller: Caller, body: Body<NewKey>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    plan::check_paid(caller.plan)?;
    let body = body.read()?;
    let mut faults = Faults::default();
    let name = faults.check(naming::check(&body.name).map(str::to_owned));
    let algorithm = faults.check(wish::algorithm("/algorithm", body.algorithm.as_deref()));
    let (name, algorithm) = faults.finish(name.zip(algorithm))?;
    // Making a key is slow, and in vain where there is no room for it.
    app.store.tenant(caller.account, async |conn| check_room(conn, caller.account, &name).await).await?;
    let key = generate(algorithm.unwrap_or_default()).await?;
    let masters = app.masters.clone();
    let work = async |conn: &mut Connection| insert(conn, &caller, &masters, &name, &key).await;
    let stored = app.store.tenant_write(caller.account, work).await?;
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/api/v1/keys/{}", stored.id))).json(KeyView::from(&stored)))
}

async fn generate(algorithm: KeyAlgorithm) -> Result<PrivateKey, Problem> {
    turn::take(&TURN, move || PrivateKey::generate(algorithm)).await?.map_err(|error| Problem::caused_by(&error))
}

async fn insert(
    conn: &mut Connection,
    caller: &Caller,
    masters: &zonecert_pki::MasterKeys,
    name: &str,
    key: &PrivateKey,
) -> Result<KeyResource, Problem> {
    let account = caller.account;
    // Again, since others were made meanwhile. The account's lock keeps the number; the names are kept by the database.
    check_room(conn, account, name).await?;
    let id = key_resources::insert_key(conn, account, name, key.algorithm()).await.map_err(|error| taken(error, name))?;
    let pkcs8 = key.to_pkcs8_der().map_err(|error| Problem::caused_by(&error))?;
    private_keys::insert_key_version(conn, masters, account, id, &pkcs8, key.public_key_sha256()).await?;
    audit::record(conn, caller, "key.created", &id.to_string(), json!({"name": name, "algorithm": key.algorithm()})).await?;
    Ok(key_resources::get_key(conn, account, id).await?)
}

/// Whether the account can have another key, with this name.
async fn check_room(conn: &mut Connection, account: AccountId, name: &str) -> Result<(), Problem> {
    if key_resources::count_resources(conn, account).await? >= MAX_KEYS {
        let detail = format!("The account has {MAX_KEYS} keys of its own; delete one that is not needed any more");
        return Err(Problem::conflict("key_limit_reached", detail));
    }
    if key_resources::has_name(conn, account, name).await? { Err(name_taken(name)) } else { Ok(()) }
}

fn taken(error: StoreError, name: &str) -> Problem {
    if error.is_constraint(NAME_KEY) { name_taken(name) } else { error.into() }
}

fn name_taken(name: &str) -> Problem {
    Problem::conflict("key_name_taken", format!("The account has a key with the name {name} already; give another"))
}

/// A private key
///
/// Without its material.
#[utoipa::path(
    get, path = "/api/v1/keys/{id}", tag = "keys", operation_id = "getKey",
    params(("id" = inline(values::KeyId), Path)),
    responses((status = 200, description = "The key, without its material.", body = KeyView)),
)]
async fn get(app: web::Data<App>, caller: Caller, id: Id<KeyId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let id = id.read()?;
    let key = app.store.tenant(caller.account, async |conn| key_resources::get_key(conn, caller.account, id).await).await?;
    Ok(HttpResponse::Ok().json(KeyView::from(&key)))
}

/// Change a private key
///
/// Its name, by which the download API finds it, and whether its API keys may stand in the URL. Needs a paid plan as well.
#[utoipa::path(
    patch, path = "/api/v1/keys/{id}", tag = "keys", operation_id = "changeKey",
    params(("id" = inline(values::KeyId), Path)),
    request_body(content = ChangeBody, example = json!({"api_key_via_url": true})),
    responses(
        (status = 200, description = "The key, without its material.", body = KeyView),
        (status = 400, description = "`certificate_name_invalid`"),
        (status = 403, description = "`paid_plan_required`: Certificate management requires paid subscription"),
        (status = 409, description = "`key_name_taken`: The account has a key with the name shared already; give another"),
    ),
)]
async fn change(app: web::Data<App>, caller: Caller, id: Id<KeyId>, body: Body<ChangeBody>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    plan::check_paid(caller.plan)?;
    let (id, body) = (id.read()?, body.read()?);
    let name = body.name.as_deref().map(naming::check).transpose()?;
    let wish = Change { name, api_key_via_url: body.api_key_via_url };
    let key = app.store.tenant_write(caller.account, async |conn| apply(conn, &caller, id, &wish).await).await?;
    Ok(HttpResponse::Ok().json(KeyView::from(&key)))
}

async fn apply(conn: &mut Connection, caller: &Caller, id: KeyId, wish: &Change<'_>) -> Result<KeyResource, Problem> {
    let account = caller.account;
    let before = key_resources::get_key(conn, account, id).await?;
    let written = key_resources::change_key(conn, account, id, wish).await;
    written.map_err(|error| taken(error, wish.name.unwrap_or_default()))?;
    let after = key_resources::get_key(conn, account, id).await?;
    if (&before.name, before.api_key_via_url) != (&after.name, after.api_key_via_url) {
        let shown = |key: &KeyResource| json!({"name": key.name, "api_key_via_url": key.api_key_via_url});
        audit::record(conn, caller, "key.changed", &id.to_string(), json!({"from": shown(&before), "to": shown(&after)})).await?;
    }
    Ok(after)
}

/// Delete a private key that nothing uses
///
/// Its material is destroyed. The key of a certificate goes with that by itself.
#[utoipa::path(
    delete, path = "/api/v1/keys/{id}", tag = "keys", operation_id = "deleteKey",
    params(("id" = inline(values::KeyId), Path)),
    responses(
        (status = 204, description = "Deleted."),
        (status = 409, description = "`key_in_use`: A certificate uses the key, or a version of one that is still valid; delete that certificate, or \
            give it another key and renew it"),
    ),
)]
async fn delete(app: web::Data<App>, caller: Caller, id: Id<KeyId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    let id = id.read()?;
    app.store.tenant_write(caller.account, async |conn| end(conn, &caller, id).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn end(conn: &mut Connection, caller: &Caller, id: KeyId) -> Result<(), Problem> {
    let key = key_resources::get_key(conn, caller.account, id).await?;
    if !key_resources::delete_unused_key(conn, caller.account, id).await? {
        let detail = "A certificate uses the key, or a version of one that is still valid; delete that certificate, or give it another key and renew it";
        return Err(Problem::conflict("key_in_use", detail));
    }
    audit::record(conn, caller, "key.deleted", &id.to_string(), json!({"name": key.name})).await?;
    Ok(())
}
