//! `POST /auth/accept-invitation`: whoever holds the link joins the account and is signed in.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::email::Email;
use zonecert_domain::id::{AccountId, InvitationId};
use zonecert_store::events::NewEvent;
use zonecert_store::invitations::{self, Invitation};
use zonecert_store::issuances::database_now;
use zonecert_store::refresh_tokens::FamilyId;
use zonecert_store::users::{EMAIL_KEY, NewUser, PasswordHash, User, insert_user};
use zonecert_store::{Connection, StoreError, accounts, events, lookup};

use super::sign_in::transport;
use super::{link_refused, read_password, read_person_name, refuse_link, unless_gone};
use crate::app::App;
use crate::audit;
use crate::auth::attempt::Attempt;
use crate::auth::caller::{Access, check_status};
use crate::auth::email_token;
use crate::auth::password::{Password, Secret};
use crate::auth::session::{Session, SessionAnswer};
use crate::faults::Faults;
use crate::problem::Problem;
use crate::request::Body;
use crate::request_id::RequestId;
use crate::traffic::visitor::Visitor;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Acceptance {
    /// Of the link.
    #[schema(value_type = String, write_only, example = "zci_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk")]
    token: Secret,
    #[schema(value_type = String, format = "password", write_only, min_length = 12, max_length = 128, example = "four words are enough")]
    password: Secret,
    /// One line.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100, example = "Grace")]
    name: Option<String>,
    /// Whether the refresh token is set as an `HttpOnly`, `SameSite=Strict` cookie instead of being answered.
    #[serde(default)]
    cookie: bool,
}

struct Newcomer {
    digest: [u8; 32],
    password: Password,
    name: Option<String>,
}

impl Acceptance {
    fn check(self) -> Result<Newcomer, Problem> {
        let mut faults = Faults::default();
        let digest = faults.check(email_token::parse_invitation(self.token.reveal()).ok_or_else(link_refused));
        let password = faults.check(read_password("/password", self.password));
        let name = faults.check(self.name.as_deref().map(read_person_name).transpose());
        faults.finish(digest.zip(password).zip(name).map(|((digest, password), name)| Newcomer { digest, password, name }))
    }
}

/// Accept an invitation and sign in
///
/// With the token of the link that was sent: it proves the address.
#[utoipa::path(
    post, path = "/api/v1/auth/accept-invitation", tag = "people", operation_id = "acceptInvitation",
    request_body = Acceptance,
    responses(
        (status = 201, description = "The person is of the account, and signed in.", body = SessionAnswer),
        (status = 400, description = "`token_invalid` at /token: The link is unknown, used, replaced or expired; ask for another\n\
            `password_too_short`, `password_too_long`\n{line}"),
        (status = 403, description = "`account_suspended`: The account is suspended until it is paid for; see to its payment"),
        (status = 409, description = "`email_taken`: You sign in with this address to another account already, and an address belongs to one; \
            ask to be invited by another address"),
        (status = 429, description = "`too_many_sign_ins`: Too many sign-ins have failed; wait as long as Retry-After says, and reset the password if \
            it is forgotten"),
        (status = 503, description = "`sign_in_busy`, `database_unavailable`"),
    ),
)]
pub(super) async fn accept(
    app: web::Data<App>,
    visitor: Visitor,
    request_id: RequestId,
    body: Body<Acceptance>,
) -> Result<HttpResponse, Problem> {
    let acceptance = body.read()?;
    let transport = transport(acceptance.cookie);
    let new = acceptance.check()?;
    let attempt = Attempt::begin(&app, visitor.address, None).await?;
    let found = app.store.autocommit(async |conn| lookup::find_invitation(conn, &new.digest).await).await?;
    let (account, id) = attempt.found(found, refuse_link).await?;
    // Before the work of hashing, and again below, where nobody comes in between.
    app.store.tenant(account, async |conn| find(conn, account, id, &new).await).await?.ok_or_else(refuse_link)?;
    let hash = app.passwords.hash(&new.password).await?;
    let join = async |conn: &mut Connection| -> Result<Session, Problem> {
        let account = accounts::get_account(conn, account).await?;
        check_status(account.status, Access::Write)?;
        let invitation = find(conn, account.id, id, &new).await?.ok_or_else(refuse_link)?;
        let user = join(conn, account.id, &invitation, &new, &hash, &request_id).await?;
        Ok(Session::open(conn, account, user, FamilyId::new(), transport).await?)
    };
    unless_gone(app.store.tenant_write(account, join).await)?.answer(&app, StatusCode::CREATED)
}

async fn find(conn: &mut Connection, account: AccountId, id: InvitationId, new: &Newcomer) -> Result<Option<Invitation>, StoreError> {
    let now = database_now(conn).await?;
    invitations::find_acceptable(conn, account, id, &new.digest, now).await
}

/// The address is proven by the link.
async fn join(
    conn: &mut Connection,
    account: AccountId,
    invitation: &Invitation,
    new: &Newcomer,
    hash: &PasswordHash,
    request_id: &RequestId,
) -> Result<User, Problem> {
    let now = database_now(conn).await?;
    let email = Email::parse(&invitation.email).map_err(|_| StoreError::corrupt("invitations.email", invitation.email.as_str()))?;
    let user = NewUser { email: &email, password: hash, role: invitation.role, name: new.name.as_deref(), email_verified_at: Some(now) };
    let user = insert_user(conn, account, &user).await;
    let user = user.map_err(|error| if error.is_constraint(EMAIL_KEY) { email_taken() } else { error.into() })?;
    invitations::mark_accepted(conn, account, invitation.id, now).await?;
    let details = json!({ "invitation_id": invitation.id, "role": user.role });
    audit::record_person(conn, account, user.id, "invitation.accepted", request_id, details).await?;
    let details = json!({ "user_id": user.id, "role": user.role, "invitation_id": invitation.id });
    let message = format!("{} has joined the account as {}", user.id, user.role);
    events::record(conn, account, NewEvent { details, ..NewEvent::info("user_joined", message) }).await?;
    Ok(user)
}

/// Whoever hears this reads the mail of the address, so it tells them nothing of others.
fn email_taken() -> Problem {
    let detail =
        "You sign in with this address to another account already, and an address belongs to one; ask to be invited by another address";
    Problem::conflict("email_taken", detail)
}
