//! Invitations: an owner asks somebody into the account, by mail.
//!
//! Whether the address is known elsewhere plays no part before whoever holds the link has shown it: an invitation must not tell whose addresses we know.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::email::Email;
use zonecert_domain::id::InvitationId;
use zonecert_domain::scope::Scope;
use zonecert_store::accounts::Account;
use zonecert_store::events::NewEvent;
use zonecert_store::invitations::{self, Invitation, Link};
use zonecert_store::issuances::database_now;
use zonecert_store::users::{self, Role, User};
use zonecert_store::{Connection, StoreError, accounts, events};

use super::answers::InvitationAnswer;
use super::read_email;
use super::templates::{Template, post};
use super::users::read_role;
use super::verification::{time_until, until_room};
use crate::app::App;
use crate::audit;
use crate::auth::caller::{Caller, scopes_of};
use crate::auth::email_token::{self, INVITATION_LIFETIME};
use crate::auth::opaque::OpaqueToken;
use crate::clock;
use crate::faults::Faults;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Body, Id};

/// Most people of an account, those who are invited included; keeps the list to one page.
const MAX_PEOPLE: i64 = 100;

/// Most invitations of an account within a day, whatever becomes of them: they go to people who have not asked for our mail.
const MAX_A_DAY: usize = 50;

/// Between two mails of one invitation.
const PAUSE: TimeDelta = TimeDelta::minutes(10);

#[derive(Serialize, ToSchema)]
#[schema(as = InvitationList)]
struct ListAnswer<'a> {
    #[schema(max_items = 100)]
    invitations: Vec<InvitationAnswer<'a>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInvitation {
    #[schema(format = "email", max_length = 254, example = "grace@your-domain.com")]
    email: String,
    #[schema(value_type = values::Role)]
    role: String,
}

impl NewInvitation {
    fn check(&self) -> Result<(Email, Role), Problem> {
        let mut faults = Faults::default();
        let (email, role) = (faults.check(read_email(&self.email)), faults.check(read_role(&self.role)));
        faults.finish(email.zip(role))
    }
}

/// Open invitations
///
/// Those that were neither accepted nor taken back, oldest first.
#[utoipa::path(
    get, path = "/api/v1/invitations", tag = "people", operation_id = "listInvitations",
    responses((status = 200, description = "The invitations.", body = ListAnswer)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let open = app.store.tenant(caller.account, async |conn| invitations::list_open_invitations(conn, caller.account).await).await?;
    let now = clock::now();
    Ok(HttpResponse::Ok().json(ListAnswer { invitations: open.iter().map(|open| InvitationAnswer::new(open, now)).collect() }))
}

/// An open invitation
#[utoipa::path(
    get, path = "/api/v1/invitations/{id}", tag = "people", operation_id = "getInvitation",
    params(("id" = inline(values::InvitationId), Path)),
    responses((status = 200, description = "The invitation.", body = InvitationAnswer)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<InvitationId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let open = app.store.tenant(caller.account, async |conn| invitations::get_open_invitation(conn, caller.account, id).await).await?;
    Ok(HttpResponse::Ok().json(InvitationAnswer::new(&open, clock::now())))
}

/// Invite somebody into the account
///
/// Sends them a link that is good for seven days. Who invites has confirmed their own address.
#[utoipa::path(
    post, path = "/api/v1/invitations", tag = "people", operation_id = "invite",
    params(idempotency::Parameters),
    request_body = NewInvitation,
    responses(
        (status = 201, description = "The invitation.", body = InvitationAnswer, headers(("Location" = String))),
        (status = 400, description = "`role_unknown` at /role: Give one of owner, member, viewer\n{email}"),
        (status = 403, description = "`scope_exceeds_own`: Nobody hands out more than they have; you have zones:read\n\
            `email_not_verified`: Confirm your own e-mail address before you invite others; POST /me/verify-email sends the link again"),
        (status = 409, description = "`invitation_open` at /email: This address is invited already; send the invitation again by \
            POST /invitations/{id}/resend, or take it back first\n\
            `already_in_account`: Somebody of the account signs in with this address; change their role instead\n\
            `people_limit_reached`: The account has 100 people, those invited included; take somebody out, or an invitation back"),
        (status = 429, description = "`too_many_mails`: 50 invitations were made within a day; make more tomorrow"),
    ),
)]
pub(super) async fn create(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    body: Body<NewInvitation>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let (email, role) = body.read()?.check()?;
    caller.check_hands_out(&scopes_of(role))?;
    let make = async |conn: &mut Connection| -> Result<Reply, Problem> {
        let made = invite(conn, &app, &caller, &email, role).await?;
        let reply = Reply::json(StatusCode::CREATED, &InvitationAnswer::new(&made, made.sent_at))?;
        Ok(reply.at(format!("/api/v1/invitations/{}", made.id)))
    };
    idempotency.of(&caller)?.run(&app.store, make).await
}

/// Send an invitation again
///
/// The new link is good for seven days from now; the one before is void.
#[utoipa::path(
    post, path = "/api/v1/invitations/{id}/resend", tag = "people", operation_id = "resendInvitation",
    params(("id" = inline(values::InvitationId), Path), idempotency::Parameters),
    responses(
        (status = 200, description = "The invitation.", body = InvitationAnswer),
        (status = 403, description = "`scope_exceeds_own`: Nobody hands out more than they have; you have zones:read\n`email_not_verified`"),
        (status = 429, description = "`too_many_mails`: It was sent less than 10 minutes ago; give it the time to arrive"),
    ),
)]
pub(super) async fn resend(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<InvitationId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let send = async |conn: &mut Connection| -> Result<Reply, Problem> {
        let sent = send_again(conn, &app, &caller, id).await?;
        Reply::json(StatusCode::OK, &InvitationAnswer::new(&sent, sent.sent_at))
    };
    idempotency.of(&caller)?.run(&app.store, send).await
}

/// Take an invitation back
///
/// Its link is void.
#[utoipa::path(
    delete, path = "/api/v1/invitations/{id}", tag = "people", operation_id = "deleteInvitation",
    params(("id" = inline(values::InvitationId), Path)),
    responses((status = 204, description = "Taken back.")),
)]
pub(super) async fn delete(app: web::Data<App>, caller: Caller, id: Id<InvitationId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let revoke = async |conn: &mut Connection| -> Result<(), StoreError> {
        let now = database_now(conn).await?;
        invitations::revoke_invitation(conn, caller.account, id, now).await?;
        note(conn, &caller, "invitation.revoked", "invitation_revoked", id, "was taken back").await
    };
    app.store.tenant_write(caller.account, revoke).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn invite(conn: &mut Connection, app: &App, caller: &Caller, email: &Email, role: Role) -> Result<Invitation, Problem> {
    let account = accounts::get_account(conn, caller.account).await?;
    let inviter = get_inviter(conn, caller).await?;
    if users::has_address(conn, account.id, email).await? {
        return Err(Problem::conflict(
            "already_in_account",
            "Somebody of the account signs in with this address; change their role instead",
        ));
    }
    let now = database_now(conn).await?;
    invitations::revoke_expired(conn, account.id, email, now).await?;
    check_room(conn, &account, now).await?;
    let token = email_token::generate_invitation();
    let link = Link { sha256: &token.sha256(), sent_at: now, expires_at: now + INVITATION_LIFETIME };
    let made = invitations::insert_invitation(conn, account.id, email, role, inviter.id, link).await;
    let made = made.map_err(|error| if error.is_constraint(invitations::OPEN_KEY) { is_open() } else { error.into() })?;
    send(conn, app, &account, &inviter, &made, email.as_str(), &token).await?;
    note(conn, caller, "invitation.created", "invitation_created", made.id, "was sent").await?;
    Ok(made)
}

async fn send_again(conn: &mut Connection, app: &App, caller: &Caller, id: InvitationId) -> Result<Invitation, Problem> {
    let account = accounts::get_account(conn, caller.account).await?;
    let inviter = get_inviter(conn, caller).await?;
    let open = invitations::get_open_invitation(conn, account.id, id).await?;
    caller.check_hands_out(&scopes_of(open.role))?;
    let now = database_now(conn).await?;
    if now < open.sent_at + PAUSE {
        let detail = format!("It was sent less than {} minutes ago; give it the time to arrive", PAUSE.num_minutes());
        return Err(Problem::too_many_requests("too_many_mails", detail, time_until(open.sent_at + PAUSE, now)));
    }
    let token = email_token::generate_invitation();
    let link = Link { sha256: &token.sha256(), sent_at: now, expires_at: now + INVITATION_LIFETIME };
    let sent = invitations::replace_link(conn, account.id, id, link).await?;
    send(conn, app, &account, &inviter, &sent, &sent.email, &token).await?;
    note(conn, caller, "invitation.resent", "invitation_resent", id, "was sent again").await?;
    Ok(sent)
}

/// Who invites: somebody who has proven to receive mail themselves, so that nobody has us write to strangers without having shown an address.
async fn get_inviter(conn: &mut Connection, caller: &Caller) -> Result<User, Problem> {
    let inviter = users::get_user(conn, caller.account, caller.person()).await?;
    if inviter.email_verified_at.is_some() {
        return Ok(inviter);
    }
    let detail = "Confirm your own e-mail address before you invite others; POST /me/verify-email sends the link again";
    Err(Problem::forbidden("email_not_verified", detail))
}

async fn check_room(conn: &mut Connection, account: &Account, now: DateTime<Utc>) -> Result<(), Problem> {
    let people = users::count_users(conn, account.id).await? + invitations::count_open_invitations(conn, account.id).await?;
    if people >= MAX_PEOPLE {
        let detail = format!("The account has {MAX_PEOPLE} people, those invited included; take somebody out, or an invitation back");
        return Err(Problem::conflict("people_limit_reached", detail));
    }
    let day = TimeDelta::days(1);
    let made = invitations::list_made_since(conn, account.id, now - day).await?;
    match until_room(&made, MAX_A_DAY, day, now) {
        None => Ok(()),
        Some(wait) => {
            let detail = format!("{MAX_A_DAY} invitations were made within a day; make more tomorrow");
            Err(Problem::too_many_requests("too_many_mails", detail, wait))
        }
    }
}

fn is_open() -> Problem {
    let field = FieldError::new(
        "/email",
        "invitation_open",
        "This address is invited already; send the invitation again by POST /invitations/{id}/resend, or take it back first",
    );
    Problem::conflict("invitation_open", field.detail.clone()).with_errors(vec![field])
}

async fn send(
    conn: &mut Connection,
    app: &App,
    account: &Account,
    inviter: &User,
    invitation: &Invitation,
    recipient: &str,
    token: &OpaqueToken,
) -> Result<(), StoreError> {
    let template = Template::Invitation {
        account: &account.name,
        inviter: &inviter.email,
        role: invitation.role,
        token,
        expires_at: invitation.expires_at,
    };
    post(conn, app, account.id, recipient, &template).await
}

/// In the audit log and among the events, without the address: whoever sees events need not see who is invited.
async fn note(
    conn: &mut Connection,
    caller: &Caller,
    action: &str,
    event: &'static str,
    id: InvitationId,
    what: &str,
) -> Result<(), StoreError> {
    audit::record(conn, caller, action, &id.to_string(), json!({})).await?;
    let event = NewEvent { details: json!({ "invitation_id": id }), ..NewEvent::info(event, format!("Invitation {id} {what}")) };
    events::record(conn, caller.account, event).await?;
    Ok(())
}
