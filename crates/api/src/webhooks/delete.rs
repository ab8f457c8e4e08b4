//! Deletes a webhook.

use actix_web::{HttpResponse, web};
use serde_json::json;
use zonecert_domain::id::WebhookId;
use zonecert_domain::scope::Scope;
use zonecert_store::{Connection, StoreError, webhooks};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

/// Delete a webhook
///
/// With its secrets and all its deliveries. What is being sent at this moment may still arrive.
#[utoipa::path(
    delete, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "deleteWebhook",
    params(("id" = inline(values::WebhookId), Path)),
    responses((status = 204, description = "Deleted.")),
)]
pub(super) async fn delete(app: web::Data<App>, caller: Caller, id: Id<WebhookId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let body = async |conn: &mut Connection| -> Result<(), StoreError> {
        webhooks::delete_webhook(conn, caller.account, id).await?;
        audit::record(conn, &caller, "webhook.deleted", &id.to_string(), json!({})).await
    };
    app.store.tenant_write(caller.account, body).await?;
    Ok(HttpResponse::NoContent().finish())
}
