//! Lists and shows webhooks.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::id::WebhookId;
use zonecert_domain::scope::Scope;
use zonecert_store::webhooks;

use super::view::WebhookView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookList)]
struct List<'a> {
    #[schema(max_items = 20)]
    webhooks: Vec<WebhookView<'a>>,
}

/// The account's webhooks
///
/// Oldest first; at most 20.
#[utoipa::path(
    get, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "listWebhooks",
    responses((status = 200, description = "The webhooks, without their secrets.", body = List)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let webhooks = app.store.tenant(caller.account, async |conn| webhooks::list_webhooks(conn, caller.account).await).await?;
    Ok(HttpResponse::Ok().json(List { webhooks: webhooks.iter().map(WebhookView::from).collect() }))
}

/// A webhook
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "getWebhook",
    params(("id" = inline(values::WebhookId), Path)),
    responses((status = 200, description = "The webhook, without its secret.", body = WebhookView)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<WebhookId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let webhook = app.store.tenant(caller.account, async |conn| webhooks::get_webhook(conn, caller.account, id).await).await?;
    Ok(HttpResponse::Ok().json(WebhookView::from(&webhook)))
}
