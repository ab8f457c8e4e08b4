//! API tokens of programs (requirements section 7).

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zonecert_domain::id::TokenId;
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
use crate::problem::{FieldError, Problem};
use crate::request::{Body, Id};
use crate::text;

/// Most characters of a token's name.
const MAX_NAME_CHARACTERS: usize = 100;

/// Most tokens of an account that have not been revoked; keeps the list to one page.
const MAX_TOKENS: i64 = 100;

/// No token ends later than this from now; one without an end is for those who mean it.
const MAX_LIFETIME: TimeDelta = TimeDelta::days(3650);

/// A token as the API shows it, without the token.
#[derive(Serialize)]
pub(crate) struct TokenAnswer<'a> {
    id: TokenId,
    name: &'a str,
    prefix: &'a str,
    scopes: &'a ScopeSet,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
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
        }
    }
}

#[derive(Serialize)]
struct ListAnswer<'a> {
    tokens: Vec<TokenAnswer<'a>>,
}

/// The only answer that holds the token itself.
#[derive(Serialize)]
struct CreatedAnswer<'a> {
    #[serde(flatten)]
    shown: TokenAnswer<'a>,
    token: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

struct Wish {
    name: String,
    scopes: ScopeSet,
    expires_at: Option<DateTime<Utc>>,
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
        faults.finish(name.zip(scopes).zip(end).map(|((name, scopes), expires_at)| Wish { name, scopes, expires_at }))
    }
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

/// `GET /tokens`: those that have not been revoked, oldest first.
pub(crate) async fn list(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let tokens = app.store.tenant(caller.account, async |conn| api_tokens::list_api_tokens(conn, caller.account).await).await?;
    Ok(HttpResponse::Ok().json(ListAnswer { tokens: tokens.iter().map(TokenAnswer::from).collect() }))
}

/// `POST /tokens`: makes a token and shows it, this once.
pub(crate) async fn create(app: web::Data<App>, caller: Caller, body: Body<NewToken>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    plan::check_api_tokens(caller.plan)?;
    let wish = body.read()?.check(clock::now())?;
    if !wish.scopes.is_subset(&caller.scopes()) {
        let detail = format!("Nobody hands out more than they have; you have {}", caller.scopes());
        return Err(Problem::forbidden("scope_exceeds_own", detail));
    }
    let token = api_token::generate();
    let new = NewApiToken {
        name: &wish.name,
        prefix: api_token::shown(&token),
        sha256: &token.sha256(),
        scopes: &wish.scopes,
        expires_at: wish.expires_at,
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
    audit::record(conn, caller, "token.created", &token.id.to_string(), json!({ "scopes": token.scopes })).await?;
    Ok(token)
}

/// `GET /tokens/{id}`.
pub(crate) async fn get(app: web::Data<App>, caller: Caller, id: Id<TokenId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let token = app.store.tenant(caller.account, async |conn| api_tokens::get_api_token(conn, caller.account, id).await).await?;
    Ok(HttpResponse::Ok().json(TokenAnswer::from(&token)))
}

/// `DELETE /tokens/{id}`: ends a token at once.
pub(crate) async fn delete(app: web::Data<App>, caller: Caller, id: Id<TokenId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let revoke = async |conn: &mut Connection| -> Result<(), StoreError> {
        api_tokens::revoke_api_token(conn, caller.account, id, clock::now()).await?;
        audit::record(conn, &caller, "token.revoked", &id.to_string(), json!({})).await
    };
    app.store.tenant_write(caller.account, revoke).await?;
    Ok(HttpResponse::NoContent().finish())
}
