//! `POST /me/password`: another password, by whoever knows the one they have.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::{AccountId, UserId};
use zonecert_store::email_tokens::{self, Purpose};
use zonecert_store::issuances::database_now;
use zonecert_store::refresh_tokens::FamilyId;
use zonecert_store::users::{self, PasswordHash, User};
use zonecert_store::{Connection, StoreError, accounts};

use super::read_password;
use super::sign_in::transport;
use super::stay::sign_out_everywhere;
use super::templates::{Template, post};
use crate::app::App;
use crate::audit;
use crate::auth::attempt::{Attempt, Verdict};
use crate::auth::caller::Caller;
use crate::auth::password::Secret;
use crate::auth::session::{Session, SessionAnswer};
use crate::problem::{FieldError, Problem};
use crate::request::Body;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PasswordChange)]
pub(super) struct Change {
    #[schema(value_type = String, format = "password", write_only, example = "four words are enough")]
    current_password: Secret,
    #[schema(value_type = String, format = "password", write_only, min_length = 12, max_length = 128, example = "four other words instead")]
    new_password: Secret,
    /// Whether the refresh token is set as an `HttpOnly`, `SameSite=Strict` cookie instead of being answered.
    #[serde(default)]
    cookie: bool,
}

/// Change one's password
///
/// Signs everybody out who has signed in with the old one, and the caller in anew.
#[utoipa::path(
    post, path = "/api/v1/me/password", tag = "people", operation_id = "changePassword",
    request_body = Change,
    responses(
        (status = 200, description = "Changed, and signed in anew.", body = SessionAnswer),
        (status = 400, description = "`wrong_password` at /current_password: The current password is wrong; who has forgotten it asks for a link \
            by POST /auth/forgot-password\n`password_too_short`, `password_too_long`"),
        (status = 429, description = "`too_many_sign_ins`: Too many sign-ins have failed; wait as long as Retry-After says, and reset the password if \
            it is forgotten"),
        (status = 503, description = "`sign_in_busy`, `database_unavailable`"),
    ),
)]
pub(super) async fn change(app: web::Data<App>, caller: Caller, body: Body<Change>) -> Result<HttpResponse, Problem> {
    let (account, id) = (caller.account, caller.require_person()?);
    let Change { current_password, new_password, cookie } = body.read()?;
    let new = read_password("/new_password", new_password)?;
    let read = async |conn: &mut Connection| -> Result<_, StoreError> {
        Ok((users::get_user(conn, account, id).await?, users::find_password(conn, account, id).await?))
    };
    let (user, stored) = app.store.tenant(account, read).await?;
    let attempt = Attempt::begin(&app, caller.address, Some(&user.email)).await?;
    if attempt.check_password(current_password, stored.clone()).await? != Verdict::Right {
        return Err(wrong_password());
    }
    let hash = app.passwords.hash(&new).await?;
    let replace = async |conn: &mut Connection| -> Result<Session, Problem> {
        // Somebody else may have been as quick.
        if users::find_password(conn, account, id).await? != stored {
            return Err(wrong_password());
        }
        let user = set_password(conn, &app, account, id, &hash).await?;
        audit::record(conn, &caller, "user.password_changed", &id.to_string(), json!({})).await?;
        let account = accounts::get_account(conn, account).await?;
        Ok(Session::open(conn, account, user, FamilyId::new(), transport(cookie)).await?)
    };
    app.store.tenant_write(account, replace).await?.answer(&app, StatusCode::OK)
}

/// Sets a password, ends every sign-in, voids every link that would set another, and tells the person by mail.
pub(super) async fn set_password(
    conn: &mut Connection,
    app: &App,
    account: AccountId,
    user: UserId,
    hash: &PasswordHash,
) -> Result<User, StoreError> {
    users::set_password(conn, account, user, hash).await?;
    let now = database_now(conn).await?;
    email_tokens::use_up(conn, account, user, Purpose::ResetPassword, now).await?;
    let user = sign_out_everywhere(conn, account, user).await?;
    post(conn, app, account, &user.email, &Template::PasswordChanged { at: now }).await?;
    Ok(user)
}

fn wrong_password() -> Problem {
    let detail = "The current password is wrong; who has forgotten it asks for a link by POST /auth/forgot-password";
    Problem::invalid(vec![FieldError::new("/current_password", "wrong_password", detail)])
}
