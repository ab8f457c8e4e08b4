//! What messages are signed with (Standard Webhooks): made here, sealed, and shown once.

use actix_web::{HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde_json::json;
use zeroize::Zeroizing;
use zonecert_domain::id::WebhookId;
use zonecert_domain::scope::Scope;
use zonecert_store::webhooks::{self, Webhook};
use zonecert_store::{Connection, StoreError};

use super::view::{WebhookView, WithSecret};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

/// So long messages are signed with the secret before as well.
const OVERLAP: TimeDelta = TimeDelta::hours(24);

/// A new secret. Wiped when dropped.
pub(super) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub(super) fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// The key itself, which is what is sealed and signed with.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// As people are shown it.
    pub(super) fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("whsec_{}", STANDARD.encode(self.0.as_slice())))
    }
}

/// Make a new secret
///
/// From now on messages are signed with it, and for 24 hours with the one before as well, so that receivers can be changed in between. One that was to end
/// already ends at once. The secret is shown in this answer and never again.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/rotate-secret", tag = "webhooks", operation_id = "rotateWebhookSecret",
    params(("id" = inline(values::WebhookId), Path)),
    responses((status = 200, description = "The webhook, with its new secret.", body = WithSecret)),
)]
pub(super) async fn rotate(app: web::Data<App>, caller: Caller, id: Id<WebhookId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let (id, secret, masters) = (id.read()?, Secret::generate(), &app.masters);
    let body = async |conn: &mut Connection| -> Result<Webhook, StoreError> {
        let webhook = webhooks::rotate_secret(conn, masters, caller.account, id, secret.bytes(), OVERLAP).await?;
        audit::record(conn, &caller, "webhook.secret_rotated", &id.to_string(), json!({})).await?;
        Ok(webhook)
    };
    let webhook = app.store.tenant_write(caller.account, body).await?;
    let answer = WithSecret { shown: WebhookView::from(&webhook), secret: &secret.reveal() };
    Ok(HttpResponse::Ok().json(answer))
}
