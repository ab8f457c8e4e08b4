//! Changes a push target.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;
use zonecert_domain::id::CertificateId;
use zonecert_domain::push;
use zonecert_domain::scope::Scope;
use zonecert_store::Connection;
use zonecert_store::push_targets::{self, PushTarget, PushTargetChange};

use super::{PushTargetView, check_address_is_free, target_id};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::{Body, Id, given};

/// What is absent stays as it is.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PushTargetChange)]
pub(in crate::certificates) struct ChangeBody {
    /// What is on its way goes to the new one.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 259, example = "web1.your-domain.com:5055")]
    address: Option<String>,
    /// The client's new `CW_CLIENT_AES_KEY_BASE64`: 32 bytes in base64url without padding. What is on its way is sealed under it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]{43}$", example = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")]
    client_key: Option<String>,
    /// `false` ends what is on its way, and nothing more is pushed. `true` begins anew with the next version that comes into use.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false, example = true)]
    enabled: Option<bool>,
}

/// Change a push target
///
/// Needs the scope `keys:read` as well: the private key goes to wherever the target is.
#[utoipa::path(
    patch, path = "/api/v1/certificates/{id}/push-targets/{target_id}", tag = "certificates", operation_id = "changePushTarget",
    params(("id" = inline(values::CertificateId), Path), ("target_id" = inline(values::PushTargetId), Path)),
    request_body(content = ChangeBody, example = json!({"enabled": true})),
    responses(
        (status = 200, description = "The push target, without its key.", body = PushTargetView),
        (status = 400, description = "`address_invalid`, `address_not_public`, `client_key_invalid`"),
        (status = 409, description = "`push_target_exists`: The certificate has a push target at this address already; change that one"),
    ),
)]
pub(in crate::certificates) async fn change(
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    request: HttpRequest,
    body: Body<ChangeBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    caller.require(Scope::KeysRead)?;
    let (id, target) = (id.read()?, target_id(&request)?);
    let ChangeBody { address, client_key, enabled } = body.read()?;
    let given = client_key.map(Zeroizing::new);
    let mut faults = Faults::default();
    let url = faults.check(address.as_deref().map(|address| super::url(address, &app.settings.webhook_destinations)).transpose());
    let key = faults.check(given.as_deref().map(|key| super::client_key(key)).transpose());
    let (url, key) = faults.finish(url.zip(key))?;
    let (masters, account) = (&app.masters, caller.account);
    let body = async |conn: &mut Connection| -> Result<PushTarget, Problem> {
        if let Some(url) = &url {
            let targets = push_targets::list_push_targets(conn, account, id).await?;
            check_address_is_free(&targets, url, Some(target))?;
        }
        let change = PushTargetChange { url: url.as_deref(), key: key.as_ref().map(zonecert_pki::seal::ClientKey::bytes), enabled };
        let changed = push_targets::change_push_target(conn, masters, account, id, target, &change).await?;
        let details = json!({
            "certificate_id": id, "address": url.as_deref().map(push::address), "client_key_changed": key.is_some(), "enabled": enabled});
        audit::record(conn, &caller, "push_target.changed", &target.to_string(), details).await?;
        Ok(changed)
    };
    let changed = app.store.tenant_write(account, body).await?;
    Ok(HttpResponse::Ok().json(PushTargetView::from(&changed)))
}
