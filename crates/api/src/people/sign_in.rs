//! Registering, signing in, staying signed in, signing out (requirements section 7).

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;
use zonecert_domain::email::Email;
use zonecert_domain::id::{AccountId, UserId};
use zonecert_domain::plan::Plan;
use zonecert_store::refresh_tokens::{self, FamilyId, RefreshTokenId, Use};
use zonecert_store::{Connection, StoreError, accounts, audit_log, lookup, users};

use super::{AccountName, Author, CreateAccountError, NewAccount};
use crate::app::App;
use crate::auth::caller::{Access, check_status};
use crate::auth::password::{Password, Secret};
use crate::auth::refresh_token;
use crate::auth::session::Session;
use crate::clock;
use crate::faults::Faults;
use crate::problem::{FieldError, Problem};
use crate::request::Body;
use crate::request_id::RequestId;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    email: String,
    password: Secret,
    account_name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    email: String,
    password: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refresh {
    refresh_token: Secret,
}

impl Registration {
    fn check(self) -> Result<NewAccount, Problem> {
        let email = read_email(&self.email);
        let password = Password::parse(self.password).map_err(|error| FieldError::new("/password", error.code(), error.to_string()));
        let name = AccountName::parse(&self.account_name);
        let mut faults = Faults::default();
        let (email, password, name) = (faults.check(email), faults.check(password), faults.check(name));
        faults.finish(email.zip(password).zip(name).map(|((email, password), name)| NewAccount { email, password, name, plan: Plan::Free }))
    }
}

fn read_email(text: &str) -> Result<Email, FieldError> {
    Email::parse(text).map_err(|error| FieldError::new("/email", error.code(), error.detail()))
}

/// `POST /auth/register`: an account on the plan Free, its owner, and the owner signed in.
pub(crate) async fn register(app: web::Data<App>, request_id: RequestId, body: Body<Registration>) -> Result<HttpResponse, Problem> {
    let new = body.read()?.check()?;
    let hash = app.passwords.hash(&new.password).await?;
    let now = clock::now();
    let id = AccountId::new();
    let insert = async |conn: &mut Connection| -> Result<Session, CreateAccountError> {
        let author = Author { actor: None, request_id: Some(request_id.as_str()) };
        let (account, user) = super::insert(conn, &app.masters, id, &new, &hash, author).await?;
        Ok(Session::open(conn, account, user, FamilyId::new(), now).await?)
    };
    let session = app.store.tenant(id, insert).await?;
    session.answer(&app, StatusCode::CREATED, now)
}

/// `POST /auth/login`. An unknown address takes the same steps as a wrong password, and is answered the same.
pub(crate) async fn login(app: web::Data<App>, request_id: RequestId, body: Body<Credentials>) -> Result<HttpResponse, Problem> {
    let Credentials { email, password } = body.read()?;
    let email = read_email(&email).map_err(|error| Problem::invalid(vec![error]))?;
    let found = app.store.platform(async |conn| lookup::find_user(conn, &email).await).await?;
    let (account, user) = found.unwrap_or((AccountId(Uuid::nil()), UserId(Uuid::nil())));
    let stored = app.store.tenant(account, async |conn| users::find_password(conn, account, user).await).await?;
    if !app.passwords.verify(password, stored).await? {
        return Err(wrong_credentials());
    }
    let now = clock::now();
    let opened = app.store.tenant_write(account, async |conn| open(conn, account, user, now, &request_id).await).await;
    unless_gone(opened, wrong_credentials)?.answer(&app, StatusCode::OK, now)
}

/// `POST /auth/refresh`: the next access token, and the next refresh token. The old one is used up.
pub(crate) async fn refresh(app: web::Data<App>, request_id: RequestId, body: Body<Refresh>) -> Result<HttpResponse, Problem> {
    let (account, token) = find_token(&app, &body.read()?).await?.ok_or_else(refresh_token_refused)?;
    let now = clock::now();
    let renewed = app.store.tenant_write(account, async |conn| renew(conn, account, token, now, &request_id).await).await;
    unless_gone(renewed, refresh_token_refused)?.answer(&app, StatusCode::OK, now)
}

/// `POST /auth/logout`: ends the sign-in that the refresh token descends from. Succeeds for tokens that are no good, as RFC 7009 §2.2 has it.
pub(crate) async fn logout(app: web::Data<App>, request_id: RequestId, body: Body<Refresh>) -> Result<HttpResponse, Problem> {
    if let Some((account, token)) = find_token(&app, &body.read()?).await? {
        let now = clock::now();
        let end = async |conn: &mut Connection| -> Result<(), StoreError> {
            match refresh_tokens::revoke_family_of(conn, account, token, now).await? {
                Some(user) => note(conn, account, user, "user.signed_out", &request_id).await,
                None => Ok(()),
            }
        };
        match app.store.tenant_write(account, end).await {
            Ok(()) | Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(HttpResponse::NoContent().finish())
}

async fn find_token(app: &App, body: &Refresh) -> Result<Option<(AccountId, RefreshTokenId)>, Problem> {
    let Some(digest) = refresh_token::parse(body.refresh_token.reveal()) else { return Ok(None) };
    Ok(app.store.platform(async |conn| lookup::find_refresh_token(conn, &digest).await).await?)
}

/// What a sign-in leads to. A refusal is no error of the transaction: what was written with it stays.
type SignIn = Result<Result<Session, Problem>, StoreError>;

async fn open(conn: &mut Connection, account: AccountId, user: UserId, now: DateTime<Utc>, request_id: &RequestId) -> SignIn {
    let account = accounts::get_account(conn, account).await?;
    if let Err(suspended) = check_status(account.status, Access::Read) {
        return Ok(Err(suspended));
    }
    let user = users::mark_signed_in(conn, account.id, user, now).await?;
    note(conn, account.id, user.id, "user.signed_in", request_id).await?;
    Ok(Ok(Session::open(conn, account, user, FamilyId::new(), now).await?))
}

async fn renew(conn: &mut Connection, account: AccountId, token: RefreshTokenId, now: DateTime<Utc>, request_id: &RequestId) -> SignIn {
    let account = accounts::get_account(conn, account).await?;
    if let Err(suspended) = check_status(account.status, Access::Read) {
        return Ok(Err(suspended));
    }
    match refresh_tokens::use_refresh_token(conn, account.id, token, now).await? {
        Use::Accepted(user, family) => {
            let user = users::find_user(conn, account.id, user).await?.ok_or(StoreError::NotFound)?;
            Ok(Ok(Session::open(conn, account, user, family, now).await?))
        }
        Use::Reused(user) => {
            note(conn, account.id, user, "refresh_token.reused", request_id).await?;
            tracing::warn!(%user, "a refresh token was used twice: its family is revoked");
            Ok(Err(refresh_token_refused()))
        }
        Use::Refused => Ok(Err(refresh_token_refused())),
    }
}

async fn note(conn: &mut Connection, account: AccountId, user: UserId, action: &str, request_id: &RequestId) -> Result<(), StoreError> {
    let entry = audit_log::Entry {
        actor: &user.to_string(),
        action,
        subject: None,
        request_id: Some(request_id.as_str()),
        details: serde_json::json!({}),
    };
    audit_log::insert_entry(conn, account, &entry).await
}

/// An account or person that went away meanwhile is answered as if it had never been.
fn unless_gone(outcome: SignIn, refusal: fn() -> Problem) -> Result<Session, Problem> {
    match outcome {
        Ok(sign_in) => sign_in,
        Err(StoreError::NotFound) => Err(refusal()),
        Err(error) => Err(error.into()),
    }
}

fn wrong_credentials() -> Problem {
    Problem::unauthorized("wrong_credentials", "E-mail address or password is wrong")
}

fn refresh_token_refused() -> Problem {
    Problem::unauthorized("refresh_token_invalid", "The refresh token is unknown, expired, used or revoked; sign in again")
}
