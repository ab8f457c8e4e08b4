//! An ACME account as clients see it: never with a key.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::id::AcmeAccountId;
use zonecert_store::own_acme_accounts::OwnAcmeAccount;

use crate::openapi::values;

/// An account that you have at a CA (RFC 8555 §7.1.2).
#[derive(Serialize, ToSchema)]
#[schema(as = AcmeAccount)]
pub(super) struct AcmeAccountView<'a> {
    #[schema(value_type = values::AcmeAccountId)]
    id: AcmeAccountId,
    #[schema(example = "Our account at Let's Encrypt")]
    name: &'a str,
    /// E-mail addresses that the CA may write to.
    #[schema(value_type = Vec<String>, example = json!(["certificates@your-domain.com"]))]
    contact: &'a [String],
    /// Of the CA.
    #[schema(example = "https://acme-v02.api.letsencrypt.org/directory")]
    directory_url: &'a str,
    /// The key identifier of the external account that it is bound to.
    #[schema(required, example = json!(null))]
    eab_kid: Option<&'a str>,
    #[schema(value_type = values::AcmeAccountStatus)]
    status: &'static str,
    /// What the CA has said last, where it has not done what it was asked for.
    #[schema(value_type = Option<AcmeAccountError>, required)]
    last_error: Option<&'a serde_json::Value>,
    /// When the CA is asked next; null where there is nothing to ask for.
    #[schema(required, example = json!(null))]
    next_attempt_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

/// Why the CA has not done it, as the worker has stored it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is passed on as it is stored")]
struct AcmeAccountError {
    /// What went wrong, for programs.
    #[schema(pattern = "^[a-z][a-z0-9_]*$", example = "acme_external_account_required")]
    code: String,
    /// What was said about it, by the CA or us.
    #[schema(example = "The request must include a value for the externalAccountBinding field")]
    detail: String,
    /// What you can do.
    #[schema(example = "Register another ACME account with what the CA asks for, such as an external account.")]
    remedy: String,
}

impl<'a> From<&'a OwnAcmeAccount> for AcmeAccountView<'a> {
    fn from(account: &'a OwnAcmeAccount) -> Self {
        Self {
            id: account.id,
            name: &account.name,
            contact: &account.contact,
            directory_url: &account.directory_url,
            eab_kid: account.eab_kid.as_deref(),
            status: account.status.as_str(),
            last_error: account.last_error.as_ref(),
            next_attempt_at: account.next_attempt_at,
            created_at: account.created_at,
        }
    }
}
