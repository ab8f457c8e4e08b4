//! Who calls, and what they may do. A handler that takes a [`Caller`] answers nobody else.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, web};
use zonecert_domain::id::{AccountId, TokenId, UserId};
use zonecert_domain::plan::{Plan, PlanRefusal};
use zonecert_domain::scope::{Scope, ScopeSet};
use zonecert_store::accounts::{self, Account, AccountStatus};
use zonecert_store::users::{self, Role};
use zonecert_store::{Connection, StoreError, api_tokens, lookup};

use crate::app::App;
use crate::auth::api_token;
use crate::clock;
use crate::problem::Problem;
use crate::request_id::RequestId;

/// Somebody with a valid credential, whose account may use the service.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenant.
    pub account: AccountId,
    /// Its plan, as of the moment at which the request came in.
    pub plan: Plan,
    /// A person or a program.
    pub identity: Identity,
    /// Of this request; goes into the audit log.
    pub request_id: RequestId,
    granted: ScopeSet,
}

/// A person or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Somebody who has signed in.
    User {
        /// Who.
        id: UserId,
        /// What they may do in their account.
        role: Role,
    },
    /// A program with an API token.
    Token {
        /// Which token.
        id: TokenId,
        /// The person who made it, and answers for what it makes.
        made_by: UserId,
    },
}

impl Caller {
    /// Refuses whoever does not hold the scope: 403 (RFC 6750 §3.1). A token of an account whose plan has no API access reads and
    /// downloads only (requirements section 6).
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if !self.granted.allows(scope) {
            return Err(insufficient_scope(scope, &self.identity));
        }
        if self.is_token() && !self.plan.limits().api_tokens && !is_reading(scope) {
            return Err(PlanRefusal::ApiAccessRequiresPaidPlan.into());
        }
        Ok(())
    }

    /// What the caller may do, and so may hand on.
    pub fn scopes(&self) -> ScopeSet {
        self.granted.iter().filter(|&scope| self.require(scope).is_ok()).collect()
    }

    /// The person who answers for what the caller makes.
    pub fn person(&self) -> UserId {
        match self.identity {
            Identity::User { id, .. } | Identity::Token { made_by: id, .. } => id,
        }
    }

    /// How the audit log names the caller.
    pub fn actor(&self) -> String {
        match self.identity {
            Identity::User { id, .. } => id.to_string(),
            Identity::Token { id, .. } => id.to_string(),
        }
    }

    fn is_token(&self) -> bool {
        matches!(self.identity, Identity::Token { .. })
    }
}

/// What a role may do: viewers see, and do not get at keys; members do everything but manage people, tokens and settings.
pub(crate) fn scopes_of(role: Role) -> ScopeSet {
    match role {
        Role::Owner => ScopeSet::all(),
        Role::Member => Scope::ALL.into_iter().filter(|&scope| scope != Scope::AccountAdmin).collect(),
        Role::Viewer => [Scope::CertificatesRead, Scope::ZonesRead].into_iter().collect(),
    }
}

const fn is_reading(scope: Scope) -> bool {
    matches!(scope, Scope::CertificatesRead | Scope::KeysRead | Scope::ZonesRead)
}

fn insufficient_scope(scope: Scope, identity: &Identity) -> Problem {
    let detail = match identity {
        Identity::User { role, .. } => format!("The role {role} does not include {scope}; ask an owner of the account"),
        Identity::Token { .. } => format!("The token does not have the scope {scope}; use one that does"),
    };
    let problem = Problem::forbidden("scope_missing", detail);
    match HeaderValue::from_str(&format!("Bearer realm=\"zonecert\", error=\"insufficient_scope\", scope=\"{scope}\"")) {
        Ok(challenge) => problem.with_header(WWW_AUTHENTICATE, challenge),
        Err(_) => problem,
    }
}

/// What a request is for, as far as a suspension is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Sees, downloads or takes away.
    Read,
    /// Makes or changes.
    Write,
}

/// Whether an account is answered: never while suspended for abuse; while payment is missing it sees, downloads and deletes
/// (requirements section 6).
pub(crate) fn check_status(status: AccountStatus, access: Access) -> Result<(), Problem> {
    let detail = match (status, access) {
        (AccountStatus::Active, _) | (AccountStatus::SuspendedPayment, Access::Read) => return Ok(()),
        (AccountStatus::SuspendedPayment, Access::Write) => "The account is suspended until it is paid for; see to its payment",
        (AccountStatus::SuspendedAbuse, _) => "The account is suspended; write to our support",
    };
    Err(Problem::forbidden("account_suspended", detail))
}

fn access(method: &Method) -> Access {
    if matches!(*method, Method::GET | Method::DELETE) { Access::Read } else { Access::Write }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { identify(&request).await })
    }
}

async fn identify(request: &HttpRequest) -> Result<Caller, Problem> {
    let app = request.app_data::<web::Data<App>>().ok_or_else(Problem::internal)?;
    let credential = bearer(request)?;
    let (account, identity, granted) = match api_token::parse(credential) {
        Some(digest) => of_token(app, digest).await?,
        None => of_user(app, credential).await?,
    };
    tracing::Span::current().record("account", tracing::field::display(account.id));
    check_status(account.status, access(request.method()))?;
    Ok(Caller { account: account.id, plan: account.plan, identity, granted, request_id: RequestId::of(request) })
}

/// RFC 6750 §2.1. The scheme's case does not matter (RFC 9110 §11.1).
fn bearer(request: &HttpRequest) -> Result<&str, Problem> {
    let missing = || {
        Problem::unauthorized("credential_missing", "Send an access token or an API token in the header `Authorization: Bearer <token>`")
    };
    let header = request.headers().get(AUTHORIZATION).ok_or_else(missing)?;
    let (scheme, credential) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(credential.trim()) } else { Err(missing()) }
}

async fn of_user(app: &App, credential: &str) -> Result<(Account, Identity, ScopeSet), Problem> {
    let claims = app.access_tokens.verify(credential, clock::now()).map_err(|_| refused())?;
    let body = async move |conn: &mut Connection| {
        let Some(user) = users::find_user(conn, claims.account, claims.user).await? else {
            return Err(refused());
        };
        let account = get_account(conn, claims.account).await?;
        Ok((account, Identity::User { id: user.id, role: user.role }, scopes_of(user.role)))
    };
    app.store.tenant(claims.account, body).await
}

async fn of_token(app: &App, digest: [u8; 32]) -> Result<(Account, Identity, ScopeSet), Problem> {
    let found = app.store.platform(async |conn| lookup::find_api_token(conn, &digest).await).await?;
    let (account, token) = found.ok_or_else(refused)?;
    let now = clock::now();
    let body = async move |conn: &mut Connection| {
        let Some((token, made_by)) = api_tokens::find_usable(conn, account, token, now).await? else {
            return Err(refused());
        };
        let account = get_account(conn, account).await?;
        api_tokens::mark_used(conn, account.id, &token, now).await?;
        Ok((account, Identity::Token { id: token.id, made_by }, token.scopes))
    };
    app.store.tenant(account, body).await
}

/// An account that has gone is no different from a credential that was never given.
async fn get_account(conn: &mut Connection, id: AccountId) -> Result<Account, Problem> {
    accounts::get_account(conn, id).await.map_err(|error| match error {
        StoreError::NotFound => refused(),
        other => other.into(),
    })
}

/// The same for every credential that is not accepted: unknown, expired, revoked or malformed (RFC 6750 §3.1 `invalid_token`).
fn refused() -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"zonecert\", error=\"invalid_token\"");
    Problem::unauthorized("credential_invalid", "The token is unknown, expired or revoked; sign in again or use another")
        .with_header(WWW_AUTHENTICATE, challenge)
}
