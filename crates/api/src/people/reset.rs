//! A new password for whoever has forgotten the old one, and reads their mail.

use actix_web::{HttpResponse, web};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::{AccountId, UserId};
use zonecert_store::email_tokens::{self, EmailTokenId, NewEmailToken, Purpose};
use zonecert_store::issuances::database_now;
use zonecert_store::sign_in_failures::{self, Subject};
use zonecert_store::{Connection, StoreError, accounts, lookup, users};

use super::password::set_password;
use super::templates::{MAX_LINKS_AN_HOUR, Template, post};
use super::verification::OnItsWay;
use super::{link_refused, read_email, read_password, refuse_link, unless_gone};
use crate::app::App;
use crate::audit;
use crate::auth::attempt::Attempt;
use crate::auth::caller::{Access, check_status};
use crate::auth::email_token::{self, RESET_LIFETIME};
use crate::auth::password::{Password, Secret};
use crate::faults::Faults;
use crate::problem::Problem;
use crate::request::Body;
use crate::request_id::RequestId;
use crate::traffic::visitor::Visitor;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForgottenPassword)]
pub(super) struct Forgotten {
    #[schema(format = "email", max_length = 254, example = "ada@your-domain.com")]
    email: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PasswordReset)]
pub(super) struct Reset {
    /// Of the link.
    #[schema(value_type = String, write_only, example = "zce_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk")]
    token: Secret,
    #[schema(value_type = String, format = "password", write_only, min_length = 12, max_length = 128, example = "four other words instead")]
    new_password: Secret,
}

impl Reset {
    fn check(self) -> Result<([u8; 32], Password), Problem> {
        let mut faults = Faults::default();
        let digest = faults.check(email_token::parse(self.token.reveal()).ok_or_else(link_refused));
        let password = faults.check(read_password("/new_password", self.new_password));
        faults.finish(digest.zip(password))
    }
}

/// Ask for a link for a new password
///
/// The same answer for every address, before anything is done for one that is known: neither its words nor its time tell.
#[utoipa::path(
    post, path = "/api/v1/auth/forgot-password", tag = "people", operation_id = "forgotPassword",
    request_body = Forgotten,
    responses(
        (status = 202, description = "If somebody signs in with this address, a mail is on its way there.", body = OnItsWay),
        (status = 400, description = "{email}"),
        (status = 503, description = "`database_unavailable`"),
    ),
)]
pub(super) async fn forgot(app: web::Data<App>, _: Visitor, request_id: RequestId, body: Body<Forgotten>) -> Result<HttpResponse, Problem> {
    let email = read_email(&body.read()?.email)?;
    let found = app.store.autocommit(async |conn| lookup::find_user(conn, &email).await).await?;
    if let Some((account, user)) = found {
        // Should the process end before it is done, nobody was promised more than a mail, and they ask again.
        actix_web::rt::spawn(async move {
            let sent = app.store.tenant_write(account, async |conn| send_link(conn, &app, account, user, &request_id).await).await;
            match sent {
                Ok(()) | Err(StoreError::NotFound) => {}
                Err(error) => tracing::error!(%account, %user, %error, "no link for a new password could be sent"),
            }
        });
    }
    let detail = "If somebody signs in with this address, a link for a new password is on its way there";
    Ok(HttpResponse::Accepted().json(OnItsWay { detail }))
}

async fn send_link(conn: &mut Connection, app: &App, account: AccountId, user: UserId, request_id: &RequestId) -> Result<(), StoreError> {
    if check_status(accounts::get_account(conn, account).await?.status, Access::Read).is_err() {
        return Ok(());
    }
    let now = database_now(conn).await?;
    let made = email_tokens::list_made_since(conn, account, user, Purpose::ResetPassword, now - TimeDelta::hours(1)).await?;
    if made.len() >= MAX_LINKS_AN_HOUR {
        tracing::info!(%account, %user, "no more links for a new password are sent within this hour");
        return Ok(());
    }
    let user = users::get_user(conn, account, user).await?;
    let token = email_token::generate();
    let expires_at = now + RESET_LIFETIME;
    let new = NewEmailToken { user: user.id, purpose: Purpose::ResetPassword, email: &user.email, sha256: &token.sha256(), expires_at };
    email_tokens::insert_email_token(conn, account, &new).await?;
    audit::record_person(conn, account, user.id, "user.password_reset_requested", request_id, json!({})).await?;
    post(conn, app, account, &user.email, &Template::ResetPassword { token: &token, expires_at }).await
}

/// Set a new password
///
/// With the token of the link that was sent, once. Signs out everywhere.
#[utoipa::path(
    post, path = "/api/v1/auth/reset-password", tag = "people", operation_id = "resetPassword",
    request_body = Reset,
    responses(
        (status = 204, description = "Set."),
        (status = 400, description = "`token_invalid` at /token: The link is unknown, used, replaced or expired; ask for another\n\
            `password_too_short`, `password_too_long`"),
        (status = 403, description = "`account_suspended`: The account is suspended; write to our support"),
        (status = 429, description = "`too_many_sign_ins`: Too many sign-ins have failed; wait as long as Retry-After says, and reset the password if \
            it is forgotten"),
        (status = 503, description = "`sign_in_busy`, `database_unavailable`"),
    ),
)]
pub(super) async fn reset(
    app: web::Data<App>,
    visitor: Visitor,
    request_id: RequestId,
    body: Body<Reset>,
) -> Result<HttpResponse, Problem> {
    let (digest, password) = body.read()?.check()?;
    let attempt = Attempt::begin(&app, visitor.address, None).await?;
    let found = app.store.autocommit(async |conn| lookup::find_email_token(conn, &digest).await).await?;
    let (account, token) = attempt.found(found, refuse_link).await?;
    // Before the work of hashing, and again below, where nobody comes in between.
    app.store.tenant(account, async |conn| find_owner(conn, account, token).await).await?.ok_or_else(refuse_link)?;
    let hash = app.passwords.hash(&password).await?;
    let replace = async |conn: &mut Connection| -> Result<(), Problem> {
        check_status(accounts::get_account(conn, account).await?.status, Access::Read)?;
        let user = find_owner(conn, account, token).await?.ok_or_else(refuse_link)?;
        let now = database_now(conn).await?;
        users::mark_email_verified(conn, account, user, now).await?;
        let user = set_password(conn, &app, account, user, &hash).await?;
        // Whoever was kept from signing in by the guesses of others is let in.
        sign_in_failures::forget(conn, Subject::email(&user.email)).await?;
        Ok(audit::record_person(conn, account, user.id, "user.password_reset", &request_id, json!({})).await?)
    };
    unless_gone(app.store.tenant_write(account, replace).await)?;
    Ok(HttpResponse::NoContent().finish())
}

async fn find_owner(conn: &mut Connection, account: AccountId, token: EmailTokenId) -> Result<Option<UserId>, StoreError> {
    let now = database_now(conn).await?;
    email_tokens::find_owner(conn, account, token, Purpose::ResetPassword, now).await
}
