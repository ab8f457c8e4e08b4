//! Changes a webhook.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::WebhookId;
use zonecert_domain::scope::Scope;
use zonecert_domain::webhook::Destinations;
use zonecert_store::webhooks::{self, Webhook, WebhookChange};
use zonecert_store::{Connection, StoreError};

use super::view::{WebhookView, names};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::{Body, Id, given};

/// What is absent stays as it is; only `description` can be `null`, which takes it away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookChange)]
pub(super) struct ChangeBody {
    /// What is on its way goes to the new one.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, max_length = 2000, example = "https://hooks.your-domain.com/zonecert")]
    url: Option<String>,
    /// All that it is told from now on; an empty list for everything.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<values::WebhookEvent>, required = false)]
    events: Option<Vec<String>>,
    /// Free text of one line.
    #[expect(clippy::option_option, reason = "absent and null mean different things in a change (RFC 7396)")]
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, example = json!(null))]
    description: Option<Option<String>>,
    /// `false` ends what is on its way, and nothing more is written down for it. `true` begins anew; what was missed meanwhile is not told.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false, example = true)]
    enabled: Option<bool>,
}

impl ChangeBody {
    fn check(&self, destinations: &Destinations) -> Result<WebhookChange, Problem> {
        let mut faults = Faults::default();
        let url = faults.check(self.url.as_deref().map(|url| super::url(url, destinations)).transpose());
        let events = faults.check(self.events.as_deref().map(super::events).transpose());
        let described = self.description.as_ref().map(|text| text.as_deref().map(super::description).transpose()).transpose();
        let description = faults.check(described);
        let change = url.zip(events).zip(description);
        faults.finish(change.map(|((url, events), description)| WebhookChange { url, events, description, enabled: self.enabled }))
    }
}

/// Change a webhook
#[utoipa::path(
    patch, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "changeWebhook",
    params(("id" = inline(values::WebhookId), Path)),
    request_body(content = ChangeBody, example = json!({"enabled": true})),
    responses(
        (status = 200, description = "The webhook.", body = WebhookView),
        (status = 400, description = "`url_invalid`, `url_not_https`, `url_has_credentials`, `url_not_public`, `event_unknown`\n{line}"),
    ),
)]
pub(super) async fn change(
    app: web::Data<App>,
    caller: Caller,
    id: Id<WebhookId>,
    body: Body<ChangeBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let (id, change) = (id.read()?, body.read()?.check(&app.settings.webhook_destinations)?);
    let body = async |conn: &mut Connection| -> Result<Webhook, StoreError> {
        let webhook = webhooks::change_webhook(conn, caller.account, id, &change).await?;
        // The URL may hold a secret of the receiver's.
        let events = change.events.as_deref().map(names);
        let details = json!({ "url_changed": change.url.is_some(), "events": events, "enabled": change.enabled });
        audit::record(conn, &caller, "webhook.changed", &id.to_string(), details).await?;
        Ok(webhook)
    };
    let webhook = app.store.tenant_write(caller.account, body).await?;
    Ok(HttpResponse::Ok().json(WebhookView::from(&webhook)))
}
