//! A webhook as clients see it: never its secret, but where that is made.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::id::WebhookId;
use zonecert_domain::webhook::WebhookEvent;
use zonecert_store::webhooks::Webhook;

use crate::openapi::values;

/// A webhook, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(super) struct WebhookView<'a> {
    #[schema(value_type = values::WebhookId)]
    id: WebhookId,
    #[schema(example = "https://hooks.your-domain.com/zonecert")]
    url: &'a str,
    /// What it is told; everything, also what there will be in future, where there is none.
    #[schema(value_type = Vec<values::WebhookEvent>)]
    events: Vec<&'static str>,
    #[schema(required, example = json!(null))]
    description: Option<&'a str>,
    /// Whether it is told anything.
    enabled: bool,
    #[schema(required, example = json!(null))]
    disabled_at: Option<DateTime<Utc>>,
    #[schema(value_type = Option<values::WebhookDisabledReason>, required, example = json!(null))]
    disabled_reason: Option<&'static str>,
    /// Since when each attempt has failed; after three days it is disabled. Null once one has come through.
    #[schema(required, example = json!(null))]
    failing_since: Option<DateTime<Utc>>,
    /// Until when messages are signed with the secret before as well. Null where there is none.
    #[schema(required, example = json!(null))]
    old_secret_valid_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl<'a> From<&'a Webhook> for WebhookView<'a> {
    fn from(webhook: &'a Webhook) -> Self {
        Self {
            id: webhook.id,
            url: &webhook.url,
            events: names(&webhook.events),
            description: webhook.description.as_deref(),
            enabled: webhook.disabled.is_none(),
            disabled_at: webhook.disabled.map(|(at, _)| at),
            disabled_reason: webhook.disabled.map(|(_, reason)| reason.as_str()),
            failing_since: webhook.failing_since,
            old_secret_valid_until: webhook.old_secret_until,
            created_at: webhook.created_at,
        }
    }
}

/// With its secret, in the answer to whoever has just had it made.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub(super) struct WithSecret<'a> {
    #[serde(flatten)]
    pub(super) shown: WebhookView<'a>,
    /// What messages are signed with: `whsec_` and 32 bytes in base64. Shown this once.
    #[schema(pattern = "^whsec_[A-Za-z0-9+/]{43}=$", example = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")]
    pub(super) secret: &'a str,
}

pub(super) fn names(events: &[WebhookEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.as_str()).collect()
}
