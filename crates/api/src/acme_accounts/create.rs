//! A new ACME account.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;
use zonecert_domain::acme_account::MAX_OWN_ACME_ACCOUNTS;
use zonecert_domain::plan;
use zonecert_domain::scope::Scope;
use zonecert_pki::MasterKeys;
use zonecert_store::Connection;
use zonecert_store::issuing::Environment;
use zonecert_store::own_acme_accounts::{self, ExternalAccount, NewOwnAcmeAccount, OwnAcmeAccount};

use super::view::AcmeAccountView;
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::auth::password::Secret;
use crate::faults::Faults;
use crate::problem::{FieldError, Problem};
use crate::request::Body;
use crate::settings::ApiSettings;
use crate::text;

const MAX_KID_CHARACTERS: usize = 200;

const MAX_HMAC_KEY_CHARACTERS: usize = 500;

/// A field that is `null` counts as absent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAcmeAccount)]
pub(super) struct CreateBody {
    /// What you call it: free text of one line.
    #[schema(min_length = 1, max_length = 100, example = "Our account at Let's Encrypt")]
    name: String,
    /// E-mail addresses that the CA may write to.
    #[schema(max_items = 5, example = json!(["certificates@your-domain.com"]))]
    contact: Option<Vec<String>>,
    /// The directory of one of the CAs of this service; that of the first for production where it is absent.
    #[schema(max_length = 2000, example = json!(null))]
    directory_url: Option<String>,
    /// The account that you have with the CA outside of ACME, where it wants one (RFC 8555 §7.3.4).
    #[schema(example = json!(null))]
    eab: Option<ExternalAccountBody>,
    /// You agree to the CA's terms of service, which its directory names. Must be true.
    #[schema(example = true)]
    terms_of_service_agreed: bool,
}

/// As the CA shows it to you.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExternalAccount)]
struct ExternalAccountBody {
    /// Its key identifier.
    #[schema(min_length = 1, max_length = 200, example = "kid-1")]
    kid: String,
    /// Its MAC key, in base64url. It is kept sealed until the account is registered, and never shown.
    #[schema(value_type = String, write_only, min_length = 1, max_length = 500, example = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")]
    hmac_key: Secret,
}

struct Wish {
    name: String,
    contact: Vec<String>,
    directory_url: String,
    external_account: Option<(String, Zeroizing<Vec<u8>>)>,
}

impl CreateBody {
    fn check(&self, settings: &ApiSettings) -> Result<Wish, Problem> {
        let mut faults = Faults::default();
        let name = faults.check(super::name(&self.name));
        let contact = super::contact(&mut faults, self.contact.as_deref().unwrap_or_default());
        let directory_url = faults.check(directory_url(self.directory_url.as_deref(), settings));
        let external_account = faults.check(self.eab.as_ref().map(external_account).transpose());
        if !self.terms_of_service_agreed {
            let detail = "Read the terms of service that the CA's directory names, and agree to them by true";
            faults.extend([FieldError::new("/terms_of_service_agreed", "terms_not_agreed", detail)]);
        }
        let wish = (|| Some(Wish { name: name?, contact: contact?, directory_url: directory_url?, external_account: external_account? }))();
        faults.finish(wish)
    }
}

fn directory_url(given: Option<&str>, settings: &ApiSettings) -> Result<String, FieldError> {
    let all = settings.authorities.iter().map(|(_, ledger)| ledger.directory_url.as_str());
    let found = match given {
        Some(given) => all.clone().find(|url| *url == given),
        None => settings.ledgers(Environment::Production).next().map(|ledger| ledger.directory_url.as_str()),
    };
    let unknown = || {
        let all: Vec<&str> = all.collect();
        FieldError::new("/directory_url", "directory_unknown", format!("Give one of {}", all.join(", ")))
    };
    found.map(str::to_owned).ok_or_else(unknown)
}

fn external_account(given: &ExternalAccountBody) -> Result<(String, Zeroizing<Vec<u8>>), FieldError> {
    let kid = text::line("/eab/kid", &given.kid, MAX_KID_CHARACTERS)?;
    let key = given.hmac_key.reveal();
    let decoded = URL_SAFE_NO_PAD.decode(key.trim().trim_end_matches('=')).ok();
    let decoded = decoded.filter(|decoded| !decoded.is_empty() && key.len() <= MAX_HMAC_KEY_CHARACTERS);
    let detail = format!("Give the MAC key as the CA shows it, in base64url, of at most {MAX_HMAC_KEY_CHARACTERS} characters");
    let mac_key = decoded.ok_or_else(|| FieldError::new("/eab/hmac_key", "hmac_key_invalid", detail))?;
    Ok((kid, Zeroizing::new(mac_key)))
}

/// Register an ACME account
///
/// Needs a paid plan as well. Answers at once with `pending`; the CA is asked by a worker. Certificates can be ordered with the account once it is `valid`.
#[utoipa::path(
    post, path = "/api/v1/acme-accounts", tag = "acme-accounts", operation_id = "createAcmeAccount",
    request_body = CreateBody,
    responses(
        (status = 201, description = "The ACME account, which is being registered.", body = AcmeAccountView, headers(("Location" = String))),
        (status = 400, description = "`directory_unknown` at /directory_url: Give one of https://acme-v02.api.letsencrypt.org/directory\n\
            `terms_not_agreed` at /terms_of_service_agreed: Read the terms of service that the CA's directory names, and agree to them by true\n\
            `hmac_key_invalid` at /eab/hmac_key: Give the MAC key as the CA shows it, in base64url, of at most 500 characters\n\
            `too_many_contacts` at /contact: Give at most 5 addresses\n{email}\n{line}"),
        (status = 403, description = "`paid_plan_required`: Certificate management requires paid subscription"),
        (status = 409, description = "`acme_account_limit_reached`: The account has 20 ACME accounts; delete one that is not needed any more"),
    ),
)]
pub(super) async fn create(app: web::Data<App>, caller: Caller, body: Body<CreateBody>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    plan::check_paid(caller.plan)?;
    let wish = body.read()?.check(&app.settings)?;
    let masters = &app.masters;
    let made = app.store.tenant_write(caller.account, async |conn| insert(conn, masters, &caller, &wish).await).await?;
    let location = format!("/api/v1/acme-accounts/{}", made.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(AcmeAccountView::from(&made)))
}

async fn insert(conn: &mut Connection, masters: &MasterKeys, caller: &Caller, wish: &Wish) -> Result<OwnAcmeAccount, Problem> {
    if own_acme_accounts::count(conn, caller.account).await? >= MAX_OWN_ACME_ACCOUNTS {
        let detail = format!("The account has {MAX_OWN_ACME_ACCOUNTS} ACME accounts; delete one that is not needed any more");
        return Err(Problem::conflict("acme_account_limit_reached", detail));
    }
    let external_account = wish.external_account.as_ref().map(|(kid, mac_key)| ExternalAccount { kid, mac_key });
    let new = NewOwnAcmeAccount { name: &wish.name, contact: &wish.contact, directory_url: &wish.directory_url, external_account };
    let made = own_acme_accounts::insert(conn, masters, caller.account, &new).await?;
    let details = json!({ "name": made.name, "contact": made.contact, "directory_url": made.directory_url, "eab_kid": made.eab_kid });
    audit::record(conn, caller, "acme_account.created", &made.id.to_string(), details).await?;
    Ok(made)
}
