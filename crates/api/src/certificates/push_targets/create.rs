//! A new push target.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;
use zonecert_domain::id::CertificateId;
use zonecert_domain::scope::Scope;
use zonecert_domain::{plan, push};
use zonecert_pki::MasterKeys;
use zonecert_pki::seal::ClientKey;
use zonecert_store::push_targets::{self, PushTarget};
use zonecert_store::{Connection, certificates};

use super::{MAX_PUSH_TARGETS, PushTargetView, check_address_is_free};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::{Body, Id};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPushTarget)]
pub(in crate::certificates) struct CreateBody {
    /// Host of the client, and its port where that is not 5055: a host of the public Internet.
    #[schema(min_length = 1, max_length = 259, example = "web1.your-domain.com:5055")]
    address: String,
    /// The client's `CW_CLIENT_AES_KEY_BASE64`, where it has one: 32 bytes in base64url without padding. Without it one is made.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$", example = json!(null))]
    client_key: Option<String>,
}

/// With its key, in the answer to whoever has just had it made.
#[derive(Serialize, ToSchema)]
#[schema(as = PushTargetWithKey)]
struct WithKey<'a> {
    #[serde(flatten)]
    shown: PushTargetView,
    /// The key that was made, for the client's `CW_CLIENT_AES_KEY_BASE64`; null where it was given. Shown this once.
    #[schema(required, pattern = "^[A-Za-z0-9_-]{43}$", example = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")]
    client_key: Option<&'a str>,
}

/// Make a push target
///
/// From now on each version that comes into use is pushed to the client within seconds, with its private key, sealed under the client's key: so it needs
/// the scope `keys:read` as well, and a paid plan. The version in use now is pushed by `POST …/versions/{version_id}/post-process`.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/push-targets", tag = "certificates", operation_id = "createPushTarget",
    params(("id" = inline(values::CertificateId), Path)),
    request_body = CreateBody,
    responses(
        (status = 201, description = "The push target, with the key if one was made.", body = WithKey, headers(("Location" = String))),
        (status = 400, description = "`address_invalid`, `address_not_public`\n\
            `client_key_invalid` at /client_key: Give the client's CW_CLIENT_AES_KEY_BASE64: 32 bytes in base64url without padding, which are 43 characters"),
        (status = 409, description = "`push_target_exists`: The certificate has a push target at this address already; change that one\n\
            `push_target_limit_reached`: The certificate has 10 push targets; delete one that is not needed any more"),
    ),
)]
pub(in crate::certificates) async fn create(
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    body: Body<CreateBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    caller.require(Scope::KeysRead)?;
    plan::check_api_tokens(caller.plan)?;
    let (id, CreateBody { address, client_key }) = (id.read()?, body.read()?);
    let given = client_key.map(Zeroizing::new);
    let mut faults = Faults::default();
    let url = faults.check(super::url(&address, &app.settings.webhook_destinations));
    let key = faults.check(given.as_deref().map(|key| super::client_key(key)).transpose());
    let (url, key) = faults.finish(url.zip(key))?;
    let (key, is_made) = match key {
        Some(key) => (key, false),
        None => (ClientKey::generate().map_err(|error| Problem::caused_by(&error))?, true),
    };
    let masters = &app.masters;
    let target = app.store.tenant_write(caller.account, async |conn| insert(conn, masters, &caller, id, &url, &key).await).await?;
    let location = format!("/api/v1/certificates/{id}/push-targets/{}", target.id);
    let revealed = is_made.then(|| key.reveal());
    let answer = WithKey { shown: PushTargetView::from(&target), client_key: revealed.as_ref().map(|key| key.as_str()) };
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(answer))
}

async fn insert(
    conn: &mut Connection,
    masters: &MasterKeys,
    caller: &Caller,
    certificate: CertificateId,
    url: &str,
    key: &ClientKey,
) -> Result<PushTarget, Problem> {
    let account = caller.account;
    certificates::get_certificate(conn, account, certificate).await?;
    let targets = push_targets::list_push_targets(conn, account, certificate).await?;
    check_address_is_free(&targets, url, None)?;
    if targets.len() >= MAX_PUSH_TARGETS {
        let detail = format!("The certificate has {MAX_PUSH_TARGETS} push targets; delete one that is not needed any more");
        return Err(Problem::conflict("push_target_limit_reached", detail));
    }
    let target = push_targets::insert_push_target(conn, masters, account, certificate, url, key.bytes()).await?;
    let details = json!({"certificate_id": certificate, "address": push::address(url)});
    audit::record(conn, caller, "push_target.created", &target.id.to_string(), details).await?;
    Ok(target)
}
