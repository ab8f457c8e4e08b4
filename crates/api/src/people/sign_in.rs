//! Registering and signing in (requirements section 7).

use std::net::IpAddr;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, UserId};
use zonecert_domain::plan::Plan;
use zonecert_store::issuances::database_now;
use zonecert_store::refresh_tokens::{FamilyId, Transport};
use zonecert_store::{Connection, StoreError, accounts, lookup, users};

use super::{AccountName, Author, CreateAccountError, NewAccount, read_email, read_password, verification};
use crate::app::App;
use crate::audit;
use crate::auth::attempt::{Attempt, Verdict};
use crate::auth::caller::{Access, check_status};
use crate::auth::password::Secret;
use crate::auth::session::{Session, SessionAnswer};
use crate::faults::Faults;
use crate::problem::Problem;
use crate::request::Body;
use crate::request_id::RequestId;
use crate::traffic::visitor::Visitor;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    #[schema(format = "email", max_length = 254, example = "ada@your-domain.com")]
    email: String,
    #[schema(value_type = String, format = "password", write_only, min_length = 12, max_length = 128, example = "four words are enough")]
    password: Secret,
    /// One line.
    #[schema(min_length = 1, max_length = 200, example = "Ada & Co")]
    account_name: String,
    /// Whether the refresh token is set as an `HttpOnly`, `SameSite=Strict` cookie instead of being answered.
    #[serde(default)]
    cookie: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    #[schema(format = "email", max_length = 254, example = "ada@your-domain.com")]
    email: String,
    #[schema(value_type = String, format = "password", write_only, example = "four words are enough")]
    password: Secret,
    /// Whether the refresh token is set as an `HttpOnly`, `SameSite=Strict` cookie instead of being answered.
    #[serde(default)]
    cookie: bool,
}

impl Registration {
    fn check(self) -> Result<NewAccount, Problem> {
        let mut faults = Faults::default();
        let email = faults.check(read_email(&self.email));
        let password = faults.check(read_password("/password", self.password));
        let name = faults.check(AccountName::parse(&self.account_name));
        faults.finish(email.zip(password).zip(name).map(|((email, password), name)| NewAccount { email, password, name, plan: Plan::Free }))
    }
}

/// How the refresh token of a new sign-in travels, as `cookie` in the body says (requirements X20).
pub(super) const fn transport(cookie: bool) -> Transport {
    if cookie { Transport::Cookie } else { Transport::Body }
}

/// Make an account and sign in
///
/// Makes an account on the plan Free with its owner, and signs the owner in. A link to confirm the address is sent. A plan is given by the operator.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "people", operation_id = "register",
    request_body = Registration,
    responses(
        (status = 201, description = "The account was made.", body = SessionAnswer),
        (status = 400, description = "`password_too_short` at /password: the password is too short; use at least 12 characters, for instance \
            four words\n`password_too_long`\n{email}\n{line}"),
        (status = 409, description = "`email_taken` at /email: Somebody signs in with this address already; sign in, or use another"),
        (status = 503, description = "`sign_in_busy`, `database_unavailable`"),
    ),
)]
pub(super) async fn register(
    app: web::Data<App>,
    _: Visitor,
    request_id: RequestId,
    body: Body<Registration>,
) -> Result<HttpResponse, Problem> {
    let wish = body.read()?;
    let transport = transport(wish.cookie);
    let new = wish.check()?;
    let hash = app.passwords.hash(&new.password).await?;
    let id = AccountId::new();
    let insert = async |conn: &mut Connection| -> Result<Session, CreateAccountError> {
        let author = Author { actor: None, request_id: Some(request_id.as_str()) };
        let (account, user) = super::insert(conn, &app.masters, id, &new, &hash, author).await?;
        let now = database_now(conn).await?;
        verification::send_link(conn, &app, id, &user, now).await?;
        Ok(Session::open(conn, account, user, FamilyId::new(), transport).await?)
    };
    app.store.tenant(id, insert).await?.answer(&app, StatusCode::CREATED)
}

/// Sign in
///
/// An unknown address is answered the same as a wrong password.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "people", operation_id = "login",
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in. The access token is good for 15 minutes, the refresh token for 30 days and one use.",
            body = SessionAnswer),
        (status = 400, description = "{email}"),
        (status = 401, description = "`wrong_credentials`: E-mail address or password is wrong"),
        (status = 403, description = "`account_suspended`: The account is suspended; write to our support"),
        (status = 429, description = "`too_many_sign_ins`: Too many sign-ins have failed; wait as long as Retry-After says, and reset the password if \
            it is forgotten"),
        (status = 503, description = "`sign_in_busy`, `database_unavailable`"),
    ),
)]
pub(super) async fn login(
    app: web::Data<App>,
    visitor: Visitor,
    request_id: RequestId,
    body: Body<Credentials>,
) -> Result<HttpResponse, Problem> {
    let Credentials { email, password, cookie } = body.read()?;
    let email = read_email(&email)?;
    let attempt = Attempt::begin(&app, visitor.address, Some(email.folded())).await?;
    let found = app.store.autocommit(async |conn| lookup::find_user(conn, &email).await).await?;
    let (account, user) = found.unwrap_or((AccountId(Uuid::nil()), UserId(Uuid::nil())));
    let stored = app.store.tenant(account, async |conn| users::find_password(conn, account, user).await).await?;
    if let Verdict::Wrong { failures } = attempt.check_password(password, stored.clone()).await? {
        note_failure(&app, found, visitor.address, failures, request_id);
        return Err(wrong_credentials());
    }
    let sign_in = SigningIn { account, user, transport: transport(cookie), address: visitor.address, request_id };
    let open = async |conn: &mut Connection| -> SignIn {
        // Whoever was right about a password that has been changed meanwhile is not let in.
        if users::find_password(conn, account, user).await? != stored {
            return Ok(Err(wrong_credentials()));
        }
        open(conn, &sign_in).await
    };
    unless_gone(app.store.tenant_write(account, open).await, wrong_credentials)?.answer(&app, StatusCode::OK)
}

/// Notes the first, second, fourth, eighth, … failure in the audit log of whoever it was about. After the answer, whose time would tell otherwise that
/// the address is known.
fn note_failure(app: &web::Data<App>, found: Option<(AccountId, UserId)>, address: IpAddr, failures: u32, request_id: RequestId) {
    let Some((account, user)) = found.filter(|_| failures.is_power_of_two()) else { return };
    let app = web::Data::clone(app);
    actix_web::rt::spawn(async move {
        if let Err(error) = audit::record_failed_sign_in(&app.store, account, user, address, failures, &request_id).await {
            tracing::warn!(%error, %user, "a failed sign-in could not be noted in the audit log");
        }
    });
}

/// Whoever signs in, from where, and how the refresh token travels.
struct SigningIn {
    account: AccountId,
    user: UserId,
    transport: Transport,
    address: IpAddr,
    request_id: RequestId,
}

/// What a sign-in leads to. A refusal is no error of the transaction: what was written with it stays.
pub(super) type SignIn = Result<Result<Session, Problem>, StoreError>;

async fn open(conn: &mut Connection, sign_in: &SigningIn) -> SignIn {
    let account = accounts::get_account(conn, sign_in.account).await?;
    if let Err(suspended) = check_status(account.status, Access::Read) {
        return Ok(Err(suspended));
    }
    let now = database_now(conn).await?;
    let user = users::mark_signed_in(conn, account.id, sign_in.user, now).await?;
    let details = json!({ "address": sign_in.address });
    audit::record_person(conn, account.id, user.id, "user.signed_in", &sign_in.request_id, details).await?;
    Ok(Ok(Session::open(conn, account, user, FamilyId::new(), sign_in.transport).await?))
}

/// An account or person that went away meanwhile is answered as if it had never been.
pub(super) fn unless_gone(outcome: SignIn, refusal: fn() -> Problem) -> Result<Session, Problem> {
    match outcome {
        Ok(sign_in) => sign_in,
        Err(StoreError::NotFound) => Err(refusal()),
        Err(error) => Err(error.into()),
    }
}

fn wrong_credentials() -> Problem {
    Problem::unauthorized("wrong_credentials", "E-mail address or password is wrong")
}
