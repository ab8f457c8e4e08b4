//! A new webhook.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::plan;
use zonecert_domain::scope::Scope;
use zonecert_domain::webhook::{Destinations, WebhookEvent};
use zonecert_pki::MasterKeys;
use zonecert_store::Connection;
use zonecert_store::webhooks::{self, NewWebhook, Webhook};

use super::MAX_WEBHOOKS;
use super::secret::Secret;
use super::view::{WebhookView, WithSecret, names};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Body;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewWebhook)]
pub(super) struct CreateBody {
    /// Where messages are sent to: `https`, at a host of the public Internet, without user name, password and fragment.
    #[schema(max_length = 2000, example = "https://hooks.your-domain.com/zonecert")]
    url: String,
    /// What it is told; everything, also what there will be in future, where there is none.
    #[serde(default)]
    #[schema(value_type = Option<Vec<values::WebhookEvent>>, required = false, example = json!(["certificate.issued", "certificate.renewed"]))]
    events: Option<Vec<String>>,
    /// Free text of one line.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200, example = json!(null))]
    description: Option<String>,
}

struct Wish {
    url: String,
    events: Vec<WebhookEvent>,
    description: Option<String>,
}

impl CreateBody {
    fn check(&self, destinations: &Destinations) -> Result<Wish, Problem> {
        let mut faults = Faults::default();
        let url = faults.check(super::url(&self.url, destinations));
        let events = faults.check(super::events(self.events.as_deref().unwrap_or_default()));
        let description = faults.check(self.description.as_deref().map(super::description).transpose());
        faults.finish(url.zip(events).zip(description).map(|((url, events), description)| Wish { url, events, description }))
    }
}

/// Make a webhook
///
/// Needs a paid plan as well. The secret is shown in this answer and never again.
#[utoipa::path(
    post, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "createWebhook",
    request_body = CreateBody,
    responses(
        (status = 201, description = "The webhook, with its secret.", body = WithSecret, headers(("Location" = String))),
        (status = 400, description = "`url_not_https` at /url: the URL must begin with https://: messages are signed, and not secret by that\n\
            `url_not_public` at /url: the host must be one of the public Internet\n\
            `url_invalid`, `url_has_credentials`, `event_unknown`\n{line}"),
        (status = 409, description = "`webhook_limit_reached`: The account has 20 webhooks; delete one that is not needed any more"),
    ),
)]
pub(super) async fn create(app: web::Data<App>, caller: Caller, body: Body<CreateBody>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    plan::check_api_tokens(caller.plan)?;
    let wish = body.read()?.check(&app.settings.webhook_destinations)?;
    let secret = Secret::generate();
    let new = NewWebhook { url: &wish.url, events: &wish.events, description: wish.description.as_deref() };
    let masters = &app.masters;
    let webhook = app.store.tenant_write(caller.account, async |conn| insert(conn, masters, &caller, &new, &secret).await).await?;
    let answer = WithSecret { shown: WebhookView::from(&webhook), secret: &secret.reveal() };
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/api/v1/webhooks/{}", webhook.id))).json(answer))
}

async fn insert(
    conn: &mut Connection,
    masters: &MasterKeys,
    caller: &Caller,
    new: &NewWebhook<'_>,
    secret: &Secret,
) -> Result<Webhook, Problem> {
    if webhooks::count_webhooks(conn, caller.account).await? >= MAX_WEBHOOKS {
        let detail = format!("The account has {MAX_WEBHOOKS} webhooks; delete one that is not needed any more");
        return Err(Problem::conflict("webhook_limit_reached", detail));
    }
    let webhook = webhooks::insert_webhook(conn, masters, caller.account, new, secret.bytes()).await?;
    // The URL may hold a secret of the receiver's.
    audit::record(conn, caller, "webhook.created", &webhook.id.to_string(), json!({ "events": names(new.events) })).await?;
    Ok(webhook)
}
