//! Staying signed in, and signing out: here, and everywhere.

use actix_web::http::StatusCode;
use actix_web::http::header::SET_COOKIE;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::{AccountId, UserId};
use zonecert_store::issuances::database_now;
use zonecert_store::refresh_tokens::{self, RefreshTokenId, Use};
use zonecert_store::users::User;
use zonecert_store::{Connection, StoreError, accounts, lookup, users};

use super::sign_in::{SignIn, unless_gone};
use crate::app::App;
use crate::audit;
use crate::auth::attempt::Attempt;
use crate::auth::caller::{Access, Caller, check_status};
use crate::auth::password::Secret;
use crate::auth::session::{Session, SessionAnswer};
use crate::auth::{cookie, refresh_token};
use crate::problem::Problem;
use crate::request::OptionalBody;
use crate::request_id::RequestId;
use crate::traffic::visitor::Visitor;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Refresh)]
pub(super) struct Refresh {
    /// Absent or null where it travels as a cookie.
    #[serde(default)]
    #[schema(value_type = Option<String>, write_only, example = "zcr_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk")]
    refresh_token: Option<Secret>,
}

/// A refresh token as it came in.
struct Presented {
    token: Secret,
    by_cookie: bool,
}

/// The token of the body, or else of the cookie, which no other site makes use of.
fn present(app: &App, request: &HttpRequest, body: Option<Refresh>) -> Result<Option<Presented>, Problem> {
    if let Some(token) = body.and_then(|body| body.refresh_token) {
        return Ok(Some(Presented { token, by_cookie: false }));
    }
    match cookie::read(request) {
        Some(token) => {
            cookie::check_same_origin(request, &app.settings)?;
            Ok(Some(Presented { token, by_cookie: true }))
        }
        None => Ok(None),
    }
}

/// Exchange a refresh token for the next pair
///
/// A refresh token is good for one use. A second use revokes every token that descends from the same sign-in (RFC 9700 §4.14.2). It is sent in the
/// body, or by a browser as the cookie: then nothing else need be sent. The next one travels as the one before.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "people", operation_id = "refresh",
    request_body = Option<Refresh>,
    responses(
        (status = 200, description = "The next access token and the next refresh token.", body = SessionAnswer),
        (status = 401, description = "`refresh_token_invalid`: The refresh token is missing, unknown, expired, used or revoked; sign in again"),
        (status = 403, description = "`account_suspended`: The account is suspended; write to our support\n\
            `cross_origin_request`: The cookie is accepted from pages of this service alone; programs send `refresh_token` in the body"),
        (status = 429, description = "`too_many_sign_ins`: Too many sign-ins have failed; wait as long as Retry-After says, and reset the password if \
            it is forgotten"),
        (status = 503, description = "`database_unavailable`"),
    ),
)]
pub(super) async fn refresh(
    app: web::Data<App>,
    visitor: Visitor,
    request: HttpRequest,
    request_id: RequestId,
    body: OptionalBody<Refresh>,
) -> Result<HttpResponse, Problem> {
    let presented = present(&app, &request, body.read()?)?.ok_or_else(refresh_token_refused)?;
    let attempt = Attempt::begin(&app, visitor.address, None).await?;
    let session = exchange(&app, &attempt, &presented, &request_id).await.map_err(|problem| {
        let is_over = presented.by_cookie && problem.code() == REFUSED;
        if is_over { cookie::clear_with(problem, &app.settings) } else { problem }
    })?;
    session.answer(&app, StatusCode::OK)
}

/// End a sign-in
///
/// Revokes the refresh token and all that descend from the same sign-in. Succeeds for tokens that are no good (RFC 7009 §2.2). The token is sent as
/// for the exchange; a cookie is taken away.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "people", operation_id = "logout",
    request_body = Option<Refresh>,
    responses(
        (status = 204, description = "Ended."),
        (status = 403, description = "`cross_origin_request`: The cookie is accepted from pages of this service alone; programs send \
            `refresh_token` in the body"),
        (status = 503, description = "`database_unavailable`"),
    ),
)]
pub(super) async fn logout(
    app: web::Data<App>,
    _: Visitor,
    request: HttpRequest,
    request_id: RequestId,
    body: OptionalBody<Refresh>,
) -> Result<HttpResponse, Problem> {
    let presented = present(&app, &request, body.read()?)?;
    let found = match &presented {
        Some(presented) => find_token(&app, presented).await?,
        None => None,
    };
    if let Some((account, token)) = found {
        let end = async |conn: &mut Connection| -> Result<(), StoreError> {
            let now = database_now(conn).await?;
            match refresh_tokens::revoke_family_of(conn, account, token, now).await? {
                Some(user) => audit::record_person(conn, account, user, "user.signed_out", &request_id, json!({})).await,
                None => Ok(()),
            }
        };
        match app.store.tenant_write(account, end).await {
            Ok(()) | Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut answer = HttpResponse::NoContent();
    if presented.is_some_and(|presented| presented.by_cookie) {
        answer.insert_header((SET_COOKIE, cookie::clear(&app.settings)));
    }
    Ok(answer.finish())
}

/// End every sign-in of the caller
///
/// This one too, at once. API tokens are not sign-ins.
#[utoipa::path(
    post, path = "/api/v1/auth/logout-everywhere", tag = "people", operation_id = "logoutEverywhere",
    responses((status = 204, description = "Ended.")),
)]
pub(super) async fn logout_everywhere(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    let (account, id) = (caller.account, caller.require_person()?);
    let end = async |conn: &mut Connection| -> Result<(), StoreError> {
        sign_out_everywhere(conn, account, id).await?;
        audit::record(conn, &caller, "user.signed_out_everywhere", &id.to_string(), json!({})).await
    };
    app.store.tenant_write(account, end).await?;
    Ok(HttpResponse::NoContent().insert_header((SET_COOKIE, cookie::clear(&app.settings))).finish())
}

/// Voids every access token and refresh token of a person. The transaction must hold the account's lock.
pub(super) async fn sign_out_everywhere(conn: &mut Connection, account: AccountId, user: UserId) -> Result<User, StoreError> {
    let now = database_now(conn).await?;
    refresh_tokens::revoke_all_of(conn, account, user, now).await?;
    users::mark_signed_out(conn, account, user, now).await
}

async fn find_token(app: &App, presented: &Presented) -> Result<Option<(AccountId, RefreshTokenId)>, Problem> {
    let Some(digest) = refresh_token::parse(presented.token.reveal()) else { return Ok(None) };
    Ok(app.store.autocommit(async |conn| lookup::find_refresh_token(conn, &digest).await).await?)
}

async fn exchange(app: &App, attempt: &Attempt<'_>, presented: &Presented, request_id: &RequestId) -> Result<Session, Problem> {
    let (account, token) = attempt.found(find_token(app, presented).await?, refresh_token_refused).await?;
    let renewed = app.store.tenant_write(account, async |conn| renew(conn, account, token, request_id).await).await;
    unless_gone(renewed, refresh_token_refused)
}

async fn renew(conn: &mut Connection, account: AccountId, token: RefreshTokenId, request_id: &RequestId) -> SignIn {
    let account = accounts::get_account(conn, account).await?;
    if let Err(suspended) = check_status(account.status, Access::Read) {
        return Ok(Err(suspended));
    }
    let now = database_now(conn).await?;
    match refresh_tokens::use_refresh_token(conn, account.id, token, now).await? {
        Use::Accepted(user, family, transport) => {
            let user = users::get_user(conn, account.id, user).await?;
            Ok(Ok(Session::open(conn, account, user, family, transport).await?))
        }
        Use::Reused(user) => {
            audit::record_person(conn, account.id, user, "refresh_token.reused", request_id, json!({})).await?;
            tracing::warn!(%user, "a refresh token was used twice: its family is revoked");
            Ok(Err(refresh_token_refused()))
        }
        Use::Refused => Ok(Err(refresh_token_refused())),
    }
}

const REFUSED: &str = "refresh_token_invalid";

fn refresh_token_refused() -> Problem {
    Problem::unauthorized(REFUSED, "The refresh token is missing, unknown, expired, used or revoked; sign in again")
}
