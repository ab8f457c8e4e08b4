//! Does somebody read the mail of the address that they have given? Who has not proven that uses the service all the same, and invites nobody.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::AccountId;
use zonecert_store::email_tokens::{self, NewEmailToken, Purpose};
use zonecert_store::issuances::database_now;
use zonecert_store::users::User;
use zonecert_store::{Connection, StoreError, accounts, lookup, users};

use super::templates::{MAX_LINKS_AN_HOUR, Template, post};
use super::{refuse_link, unless_gone};
use crate::app::App;
use crate::audit;
use crate::auth::attempt::Attempt;
use crate::auth::caller::{Access, Caller, check_status};
use crate::auth::email_token::{self, VERIFICATION_LIFETIME};
use crate::auth::password::Secret;
use crate::idempotency::{self, Idempotency, Reply};
use crate::problem::Problem;
use crate::request::Body;
use crate::request_id::RequestId;
use crate::traffic::visitor::Visitor;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EmailVerification)]
pub(super) struct Verification {
    /// Of the link.
    #[schema(value_type = String, write_only, example = "zce_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk")]
    token: Secret,
}

/// What happens now, for people.
#[derive(Serialize, ToSchema)]
pub(super) struct OnItsWay {
    #[schema(example = "A link is on its way")]
    pub(super) detail: &'static str,
}

/// Sends a person a link that confirms their address.
pub(super) async fn send_link(
    conn: &mut Connection,
    app: &App,
    account: AccountId,
    user: &User,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let token = email_token::generate();
    let expires_at = now + VERIFICATION_LIFETIME;
    let new = NewEmailToken { user: user.id, purpose: Purpose::VerifyEmail, email: &user.email, sha256: &token.sha256(), expires_at };
    email_tokens::insert_email_token(conn, account, &new).await?;
    post(conn, app, account, &user.email, &Template::VerifyEmail { token: &token, expires_at }).await
}

/// Confirm an address
///
/// With the token of the link that was sent there.
#[utoipa::path(
    post, path = "/api/v1/auth/verify-email", tag = "people", operation_id = "verifyEmail",
    request_body = Verification,
    responses(
        (status = 204, description = "Confirmed."),
        (status = 400, description = "`token_invalid` at /token: The link is unknown, used, replaced or expired; ask for another"),
        (status = 403, description = "`account_suspended`: The account is suspended; write to our support"),
        (status = 429, description = "`too_many_sign_ins`: Too many sign-ins have failed; wait as long as Retry-After says, and reset the password if \
            it is forgotten"),
        (status = 503, description = "`database_unavailable`"),
    ),
)]
pub(super) async fn verify(
    app: web::Data<App>,
    visitor: Visitor,
    request_id: RequestId,
    body: Body<Verification>,
) -> Result<HttpResponse, Problem> {
    let digest = email_token::parse(body.read()?.token.reveal()).ok_or_else(refuse_link)?;
    let attempt = Attempt::begin(&app, visitor.address, None).await?;
    let found = app.store.autocommit(async |conn| lookup::find_email_token(conn, &digest).await).await?;
    let (account, token) = attempt.found(found, refuse_link).await?;
    let confirm = async |conn: &mut Connection| -> Result<(), Problem> {
        check_status(accounts::get_account(conn, account).await?.status, Access::Read)?;
        let now = database_now(conn).await?;
        let user = email_tokens::find_owner(conn, account, token, Purpose::VerifyEmail, now).await?.ok_or_else(refuse_link)?;
        email_tokens::use_up(conn, account, user, Purpose::VerifyEmail, now).await?;
        users::mark_email_verified(conn, account, user, now).await?;
        Ok(audit::record_person(conn, account, user, "user.email_verified", &request_id, json!({})).await?)
    };
    unless_gone(app.store.tenant_write(account, confirm).await)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Send the link that confirms the address again
#[utoipa::path(
    post, path = "/api/v1/me/verify-email", tag = "people", operation_id = "sendVerification",
    params(idempotency::Parameters),
    responses(
        (status = 202, description = "A mail is on its way.", body = OnItsWay),
        (status = 409, description = "`email_already_verified`: The address is confirmed already; there is nothing to do"),
        (status = 429, description = "`too_many_mails`: 5 links were sent within an hour; look for them in the mail, also among what was taken \
            for spam"),
    ),
)]
pub(super) async fn send_again(app: web::Data<App>, caller: Caller, idempotency: Idempotency) -> Result<HttpResponse, Problem> {
    let (account, id) = (caller.account, caller.require_person()?);
    let send = async |conn: &mut Connection| -> Result<Reply, Problem> {
        let user = users::get_user(conn, account, id).await?;
        if user.email_verified_at.is_some() {
            return Err(Problem::conflict("email_already_verified", "The address is confirmed already; there is nothing to do"));
        }
        let now = database_now(conn).await?;
        check_pace(conn, account, &user, now).await?;
        send_link(conn, &app, account, &user, now).await?;
        audit::record(conn, &caller, "user.verification_sent", &id.to_string(), json!({})).await?;
        Reply::json(StatusCode::ACCEPTED, &OnItsWay { detail: "A link is on its way; it confirms the address" })
    };
    idempotency.of(&caller)?.run(&app.store, send).await
}

/// The address may be somebody else's, who has not asked for our mail.
async fn check_pace(conn: &mut Connection, account: AccountId, user: &User, now: DateTime<Utc>) -> Result<(), Problem> {
    let hour = TimeDelta::hours(1);
    let made = email_tokens::list_made_since(conn, account, user.id, Purpose::VerifyEmail, now - hour).await?;
    match until_room(&made, MAX_LINKS_AN_HOUR, hour, now) {
        None => Ok(()),
        Some(wait) => {
            let detail = format!(
                "{MAX_LINKS_AN_HOUR} links were sent within an hour; look for them in the mail, also among what was taken for spam"
            );
            Err(Problem::too_many_requests("too_many_mails", detail, wait))
        }
    }
}

/// How long until fewer than `most` of these moments, oldest first, lie within the window that ends now. `None` if it is so already.
pub(super) fn until_room(made: &[DateTime<Utc>], most: usize, window: TimeDelta, now: DateTime<Utc>) -> Option<Duration> {
    let last_to_leave = made.len().checked_sub(most)?;
    made.get(last_to_leave).map(|&at| time_until(at + window, now))
}

/// How long until then.
pub(super) fn time_until(then: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (then - now).to_std().unwrap_or_default()
}
