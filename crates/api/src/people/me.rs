//! `GET` and `PATCH /me`: whose credential is this, what may it do, and what are they called?

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::scope::ScopeSet;
use zonecert_store::{Connection, StoreError, accounts, api_tokens, users};

use super::answers::{AccountAnswer, UserAnswer};
use super::read_person_name;
use crate::app::App;
use crate::audit;
use crate::auth::caller::{Caller, Identity};
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::{Body, given};
use crate::tokens::TokenAnswer;

#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
struct MeAnswer<'a> {
    account: AccountAnswer<'a>,
    /// The person; null for a program.
    #[schema(required)]
    user: Option<UserAnswer<'a>>,
    /// The token; null for a person.
    #[schema(required)]
    token: Option<TokenAnswer<'a>>,
    /// What the credential may do.
    #[schema(value_type = BTreeSet<values::Scope>)]
    scopes: ScopeSet,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PersonChange)]
pub(super) struct Change {
    /// One line. Absent: as it is. Null: none.
    #[expect(clippy::option_option, reason = "absent and null mean different things in a change (RFC 7396)")]
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100, example = "Ada")]
    name: Option<Option<String>>,
}

/// Whose credential this is and what it may do
#[utoipa::path(
    get, path = "/api/v1/me", tag = "people", operation_id = "getMe",
    responses((status = 200, description = "The account, and the person or the token.", body = MeAnswer)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    answer(&app, &caller).await
}

/// Change what somebody says of themselves
#[utoipa::path(
    patch, path = "/api/v1/me", tag = "people", operation_id = "changeMe",
    request_body = Change,
    responses(
        (status = 200, description = "The account and the person.", body = MeAnswer),
        (status = 400, description = "`nothing_to_change`: Give what is to change: `name`\n{line}"),
    ),
)]
pub(super) async fn change(app: web::Data<App>, caller: Caller, body: Body<Change>) -> Result<HttpResponse, Problem> {
    let (account, id) = (caller.account, caller.require_person()?);
    let Some(name) = body.read()?.name else {
        return Err(Problem::bad_request("nothing_to_change", "Give what is to change: `name`"));
    };
    let name = name.as_deref().map(read_person_name).transpose()?;
    let set = async |conn: &mut Connection| -> Result<(), StoreError> {
        users::set_name(conn, account, id, name.as_deref()).await?;
        audit::record(conn, &caller, "user.renamed", &id.to_string(), json!({})).await
    };
    app.store.tenant_write(account, set).await?;
    answer(&app, &caller).await
}

async fn answer(app: &App, caller: &Caller) -> Result<HttpResponse, Problem> {
    let (account, identity) = (caller.account, caller.identity);
    let read = async move |conn: &mut Connection| -> Result<_, StoreError> {
        let (user, token) = match identity {
            Identity::User { id, .. } => (users::find_user(conn, account, id).await?, None),
            Identity::Token { id, .. } => (None, Some(api_tokens::get_api_token(conn, account, id).await?)),
        };
        Ok((accounts::get_account(conn, account).await?, user, token))
    };
    let (account, user, token) = app.store.tenant(account, read).await?;
    Ok(HttpResponse::Ok().json(MeAnswer {
        account: AccountAnswer::from(&account),
        user: user.as_ref().map(UserAnswer::from),
        token: token.as_ref().map(TokenAnswer::from),
        scopes: caller.scopes(),
    }))
}
