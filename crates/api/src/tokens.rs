//! API tokens of programs (requirements section 7).

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::TokenId;
use zonecert_domain::network::Network;
use zonecert_domain::plan;
use zonecert_domain::scope::{Scope, ScopeError, ScopeSet};
use zonecert_store::api_tokens::{self, ApiToken, NewApiToken};
use zonecert_store::{Connection, StoreError};

use crate::app::App;
use crate::audit;
use crate::auth::api_token;
use crate::auth::caller::Caller;
use crate::clock;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Body, Id};
use crate::route::{Access, Route};
use crate::text;

/// Most characters of a token's name.
const MAX_NAME_CHARACTERS: usize = 100;

/// Most tokens of an account that have not been revoked; keeps the list to one page.
const MAX_TOKENS: i64 = 100;

/// Most networks from which a token may be used.
const MAX_CIDRS: usize = 20;

/// No token ends later than this from now; one without an end is for those who mean it.
const MAX_LIFETIME: TimeDelta = TimeDelta::days(3650);

pub(crate) fn routes() -> Vec<Route> {
    let access = Access::Scopes(&[Scope::AccountAdmin]);
    vec![
        Route::new(__path_list, list, access),
        Route::new(__path_create, create, access),
        Route::new(__path_get, get, access),
        Route::new(__path_delete, delete, access),
    ]
}

/// A token as the API shows it, without the token.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenAnswer<'a> {
    #[schema(value_type = values::TokenId)]
    id: TokenId,
    #[schema(example = "deploy")]
    name: &'a str,
    /// How the token begins, to tell tokens apart.
    #[schema(pattern = "^zc_[A-Za-z0-9_-]{6}$", example = "zc_3q2-7w")]
    prefix: &'a str,
    #[schema(value_type = BTreeSet<values::Scope>)]
    scopes: &'a ScopeSet,
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    #[schema(required)]
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// From where it may be used; from everywhere if there are none.
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.0/24"]))]
    cidrs: &'a [Network],
}

impl<'a> From<&'a ApiToken> for TokenAnswer<'a> {
    fn from(token: &'a ApiToken) -> Self {
        Self {
            id: token.id,
            name: &token.name,
            prefix: &token.prefix,
            scopes: &token.scopes,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            created_at: token.created_at,
            cidrs: &token.cidrs,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = TokenList)]
struct ListAnswer<'a> {
    #[schema(max_items = 100)]
    tokens: Vec<TokenAnswer<'a>>,
}

/// The only answer that holds the token itself.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedToken)]
struct CreatedAnswer<'a> {
    #[serde(flatten)]
    shown: TokenAnswer<'a>,
    /// The token itself. Shown this once.
    #[schema(pattern = "^zc_[A-Za-z0-9_-]{43}$", example = "zc_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk")]
    token: &'a str,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// One line.
    #[schema(min_length = 1, max_length = 100, example = "deploy")]
    name: String,
    #[schema(value_type = Vec<values::Scope>, min_items = 1, example = json!(["certificates:read", "keys:read"]))]
    scopes: Vec<String>,
    /// Within ten years. Null for a token that does not end.
    #[serde(default)]
    #[schema(example = json!(null))]
    expires_at: Option<DateTime<Utc>>,
    /// From where it may be used; from everywhere if there are none.
    #[serde(default)]
    #[schema(max_items = 20, example = json!(["192.0.2.0/24"]))]
    cidrs: Option<Vec<String>>,
}

struct Wish {
    name: String,
    scopes: ScopeSet,
    expires_at: Option<DateTime<Utc>>,
    cidrs: Vec<Network>,
}

impl NewToken {
    fn check(self, now: DateTime<Utc>) -> Result<Wish, Problem> {
        let name = text::line("/name", &self.name, MAX_NAME_CHARACTERS);
        let scopes = ScopeSet::parse(&self.scopes).map_err(|error| {
            let pointer = match error {
                ScopeError::Empty => "/scopes".to_owned(),
                ScopeError::Unknown { index } => format!("/scopes/{index}"),
            };
            FieldError::new(pointer, error.code(), error.detail())
        });
        let mut faults = Faults::default();
        let (name, scopes, end) = (faults.check(name), faults.check(scopes), faults.check(check_end(self.expires_at, now)));
        let cidrs = check_cidrs(&self.cidrs.unwrap_or_default(), &mut faults);
        faults.finish(name.zip(scopes).zip(end).map(|((name, scopes), expires_at)| Wish { name, scopes, expires_at, cidrs }))
    }
}

/// In order, and each once.
fn check_cidrs(given: &[String], faults: &mut Faults) -> Vec<Network> {
    if given.len() > MAX_CIDRS {
        let detail = format!("Give at most {MAX_CIDRS} networks, or none for a token that may be used from everywhere");
        faults.extend([FieldError::new("/cidrs", "too_many_cidrs", detail)]);
        return Vec::new();
    }
    let read = |(index, text): (usize, &String)| {
        text.parse::<Network>().map_err(|error| {
            let detail = "Give a network as 192.0.2.0/24 or 2001:db8::/32, or a single address";
            FieldError::new(format!("/cidrs/{index}"), error.code(), detail)
        })
    };
    let mut networks: Vec<Network> = given.iter().enumerate().filter_map(|cidr| faults.check(read(cidr))).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

fn check_end(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, FieldError> {
    match expires_at {
        Some(at) if at <= now => Err(FieldError::new("/expires_at", "expires_at_past", "Give a time that is still to come")),
        Some(at) if at > now + MAX_LIFETIME => {
            Err(FieldError::new("/expires_at", "expires_at_too_far", "Give a time within ten years, or none for a token that does not end"))
        }
        end => Ok(end),
    }
}

/// API tokens that have not been revoked
///
/// Oldest first; at most 100.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", operation_id = "listTokens",
    responses((status = 200, description = "The tokens, without their secrets.", body = ListAnswer)),
)]
async fn list(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let tokens = app.store.tenant(caller.account, async |conn| api_tokens::list_api_tokens(conn, caller.account).await).await?;
    Ok(HttpResponse::Ok().json(ListAnswer { tokens: tokens.iter().map(TokenAnswer::from).collect() }))
}

/// Make an API token
///
/// Needs a paid plan as well. The token is shown in this answer and never again.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", operation_id = "createToken",
    request_body = NewToken,
    responses(
        (status = 201, description = "The token.", body = CreatedAnswer, headers(("Location" = String))),
        (status = 400, description = "`expires_at_past` at /expires_at: Give a time that is still to come\n`expires_at_too_far`\n\
            `scope_missing`, `scope_unknown`, `too_many_cidrs`, `cidr_invalid`\n{line}"),
        (status = 403, description = "`scope_exceeds_own`: Nobody hands out more than they have; you have zones:read"),
        (status = 409, description = "`token_limit_reached`: The account has 100 tokens; delete one that is not needed any more"),
    ),
)]
async fn create(app: web::Data<App>, caller: Caller, body: Body<NewToken>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    plan::check_api_tokens(caller.plan)?;
    let wish = body.read()?.check(clock::now())?;
    caller.check_hands_out(&wish.scopes)?;
    let token = api_token::generate();
    let new = NewApiToken {
        name: &wish.name,
        prefix: api_token::shown(&token),
        sha256: &token.sha256(),
        scopes: &wish.scopes,
        expires_at: wish.expires_at,
        cidrs: &wish.cidrs,
        created_by: caller.person(),
    };
    let stored = app.store.tenant_write(caller.account, async |conn| insert(conn, &caller, &new).await).await?;
    let answer = CreatedAnswer { shown: TokenAnswer::from(&stored), token: token.reveal() };
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/api/v1/tokens/{}", stored.id))).json(answer))
}

async fn insert(conn: &mut Connection, caller: &Caller, new: &NewApiToken<'_>) -> Result<ApiToken, Problem> {
    if api_tokens::count_api_tokens(conn, caller.account).await? >= MAX_TOKENS {
        let detail = format!("The account has {MAX_TOKENS} tokens; delete one that is not needed any more");
        return Err(Problem::conflict("token_limit_reached", detail));
    }
    let token = api_tokens::insert_api_token(conn, caller.account, new).await?;
    audit::record(
        conn,
        caller,
        "token.created",
        &token.id.to_string(),
        json!({ "scopes": token.scopes, "cidrs": token.cidrs, "expires_at": token.expires_at }),
    )
    .await?;
    Ok(token)
}

/// An API token
#[utoipa::path(
    get, path = "/api/v1/tokens/{id}", tag = "tokens", operation_id = "getToken",
    params(("id" = inline(values::TokenId), Path)),
    responses((status = 200, description = "The token, without its secret.", body = TokenAnswer)),
)]
async fn get(app: web::Data<App>, caller: Caller, id: Id<TokenId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let token = app.store.tenant(caller.account, async |conn| api_tokens::get_api_token(conn, caller.account, id).await).await?;
    Ok(HttpResponse::Ok().json(TokenAnswer::from(&token)))
}

/// Revoke an API token, at once
#[utoipa::path(
    delete, path = "/api/v1/tokens/{id}", tag = "tokens", operation_id = "deleteToken",
    params(("id" = inline(values::TokenId), Path)),
    responses((status = 204, description = "Revoked.")),
)]
async fn delete(app: web::Data<App>, caller: Caller, id: Id<TokenId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let revoke = async |conn: &mut Connection| -> Result<(), StoreError> {
        api_tokens::revoke_api_token(conn, caller.account, id, clock::now()).await?;
        audit::record(conn, &caller, "token.revoked", &id.to_string(), json!({})).await
    };
    app.store.tenant_write(caller.account, revoke).await?;
    Ok(HttpResponse::NoContent().finish())
}
