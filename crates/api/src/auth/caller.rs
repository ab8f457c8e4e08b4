//! Who calls, and what they may do. A handler that takes a [`Caller`] answers nobody else.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::{FromRequest, HttpMessage, HttpRequest, ResponseError, web};
use zonecert_domain::id::{AccountId, TokenId, UserId};
use zonecert_domain::plan::{Plan, PlanRefusal};
use zonecert_domain::scope::{Scope, ScopeSet};
use zonecert_store::accounts::{self, Account, AccountStatus};
use zonecert_store::api_tokens::{self, Usable};
use zonecert_store::users::{self, Role};
use zonecert_store::{Connection, StoreError};

use crate::app::App;
use crate::audit;
use crate::auth::api_token;
use crate::clock;
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::traffic::client_address;

/// Somebody with a valid credential, whose account may use the service.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenant.
    pub account: AccountId,
    /// Its plan, as of the moment at which the request came in, or of [`crate::auth::recognised::FRESH`] before.
    pub plan: Plan,
    /// A person or a program.
    pub identity: Identity,
    /// Of this request; goes into the audit log.
    pub request_id: RequestId,
    /// From where.
    pub address: IpAddr,
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

    /// Refuses to hand on more than the caller may do: a token that manages people does not make itself, by way of one of them, mightier than it is.
    pub fn check_hands_out(&self, scopes: &ScopeSet) -> Result<(), Problem> {
        let own = self.scopes();
        if scopes.is_subset(&own) {
            return Ok(());
        }
        Err(Problem::forbidden("scope_exceeds_own", format!("Nobody hands out more than they have; you have {own}")))
    }

    /// The person who has signed in: what a person does about themselves, no program does for them.
    pub fn require_person(&self) -> Result<UserId, Problem> {
        match self.identity {
            Identity::User { id, .. } => Ok(id),
            Identity::Token { .. } => Err(Problem::forbidden("person_required", "Only a person can do this; sign in by POST /auth/login")),
        }
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

/// Whether it is a scope that tokens keep on a plan without API access (requirements section 6).
pub(crate) const fn is_reading(scope: Scope) -> bool {
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
    /// Sees, downloads or takes away; or sees to the safety or the end of the account.
    Read,
    /// Makes or changes.
    Write,
}

/// Whether an account is answered: never while suspended for abuse; while payment is missing it sees, downloads, revokes and deletes
/// (requirements section 6), and sees to its passwords and its end.
pub(crate) fn check_status(status: AccountStatus, access: Access) -> Result<(), Problem> {
    let detail = match (status, access) {
        (AccountStatus::Active, _) | (AccountStatus::SuspendedPayment, Access::Read) => return Ok(()),
        (AccountStatus::SuspendedPayment, Access::Write) => "The account is suspended until it is paid for; see to its payment",
        (AccountStatus::SuspendedAbuse, _) => "The account is suspended; write to our support",
    };
    Err(Problem::forbidden("account_suspended", detail))
}

/// Whoever has lost a key or a password must be safe whether they have paid or not, and nobody has to pay to leave.
fn access(method: &Method, route: Option<&str>) -> Access {
    let route = route.unwrap_or_default();
    let may = match *method {
        Method::GET | Method::DELETE => true,
        Method::POST => route.ends_with("/revoke") || UNPAID_POSTS.contains(&route),
        Method::PUT => route == ACCOUNT_DELETION,
        _ => false,
    };
    if may { Access::Read } else { Access::Write }
}

/// A new password, and the end of all sign-ins.
const UNPAID_POSTS: [&str; 2] = ["/api/v1/me/password", "/api/v1/auth/logout-everywhere"];
const ACCOUNT_DELETION: &str = "/api/v1/account/deletion";

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
    let (address, now) = (client_address::of(request, &app.settings.traffic), Instant::now());
    let credential = bearer(request)?;
    app.rate_limiter.admit(address, credential, now)?;
    let changes = *request.method() != Method::GET;
    let trust = if changes { Trust::TheDatabase } else { Trust::AMomentAgo };
    let recognised = recognise(app, credential, address, RequestId::of(request), trust).await;
    let (caller, status) = recognised.inspect_err(|problem| {
        if problem.status_code() == StatusCode::UNAUTHORIZED {
            app.rate_limiter.count_refused(address, now);
        }
    })?;
    tracing::Span::current().record("account", tracing::field::display(caller.account));
    if changes {
        request.extensions_mut().insert(Changed(caller.account));
    }
    app.rate_limiter.count_call(request, caller.account, caller.plan, credential, now)?;
    check_status(status, access(request.method(), request.match_pattern().as_deref()))?;
    Ok(caller)
}

/// Left with a request that may have changed something of this account.
#[derive(Clone, Copy)]
pub(crate) struct Changed(pub(crate) AccountId);

/// After a request: whatever it has changed holds from the next one on.
pub(crate) fn forget_changed(request: &HttpRequest) {
    let changed = request.extensions().get::<Changed>().copied();
    if let (Some(Changed(account)), Some(app)) = (changed, request.app_data::<web::Data<App>>()) {
        app.forget(account);
    }
}

/// Whom to believe about a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The database alone: for whatever changes something.
    TheDatabase,
    /// Also what it said a moment ago ([`crate::auth::recognised::FRESH`]).
    AMomentAgo,
}

/// Whose credential this is right now, and whether their account is suspended. Counts nothing.
pub(crate) async fn recognise(
    app: &App,
    credential: &str,
    address: IpAddr,
    request_id: RequestId,
    trust: Trust,
) -> Result<(Caller, AccountStatus), Problem> {
    if let Some(digest) = api_token::parse(credential) {
        let usable = of_token(app, digest, address, &request_id, trust).await?;
        let Usable { account, token, made_by } = &*usable;
        let (identity, granted) = (Identity::Token { id: token.id, made_by: *made_by }, token.scopes.clone());
        return Ok((Caller { account: account.id, plan: account.plan, identity, request_id, address, granted }, account.status));
    }
    let (account, identity, granted) = of_user(app, credential).await?;
    Ok((Caller { account: account.id, plan: account.plan, identity, request_id, address, granted }, account.status))
}

/// RFC 6750 §2.1. The scheme's case does not matter (RFC 9110 §11.1).
pub(crate) fn bearer(request: &HttpRequest) -> Result<&str, Problem> {
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
        let user = users::find_user(conn, claims.account, claims.user).await?.ok_or_else(refused)?;
        if user.signed_out_at.is_some_and(|signed_out_at| claims.signed_in_at < signed_out_at) {
            return Err(refused());
        }
        let account = get_account(conn, claims.account).await?;
        Ok((account, Identity::User { id: user.id, role: user.role }, scopes_of(user.role)))
    };
    app.store.tenant(claims.account, body).await
}

async fn of_token(app: &App, digest: [u8; 32], address: IpAddr, request_id: &RequestId, trust: Trust) -> Result<Arc<Usable>, Problem> {
    let (now, time) = (Instant::now(), clock::now());
    if trust == Trust::AMomentAgo
        && let Some(known) = app.recognised.find_caller(&digest, address, now, time)
    {
        return Ok(known);
    }
    let question = app.recognised.ask(now);
    let usable = api_tokens::read_usable(&app.store, &digest, time).await?.ok_or_else(refused)?;
    let (account, token) = (usable.account.id, usable.token.id);
    if !usable.token.is_usable_from(address) {
        if app.rate_limiter.notes_misuse(token, now) {
            audit::record_misuse(&app.store, account, token, address, request_id).await?;
        }
        return Err(refused());
    }
    if usable.token.is_use_due(time) {
        app.store.tenant(account, async |conn| api_tokens::mark_used(conn, account, token, time).await).await?;
    }
    let usable = Arc::new(usable);
    app.recognised.keep(&question, digest, Arc::clone(&usable));
    Ok(usable)
}

/// An account that has gone is no different from a credential that was never given.
async fn get_account(conn: &mut Connection, id: AccountId) -> Result<Account, Problem> {
    accounts::get_account(conn, id).await.map_err(|error| match error {
        StoreError::NotFound => refused(),
        other => other.into(),
    })
}

/// The same for every credential that is not accepted: unknown, expired, revoked, malformed or used from elsewhere (RFC 6750 §3.1 `invalid_token`).
fn refused() -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"zonecert\", error=\"invalid_token\"");
    Problem::unauthorized("credential_invalid", "The token is unknown, expired or revoked; sign in again or use another")
        .with_header(WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_not_paid_sees_takes_away_and_stays_safe() {
        let may = |method, route| check_status(AccountStatus::SuspendedPayment, access(&method, Some(route))).is_ok();
        assert!(may(Method::GET, "/api/v1/certificates"));
        assert!(may(Method::DELETE, "/api/v1/certificates/{id}"));
        assert!(may(Method::POST, "/api/v1/certificates/{id}/revoke"));
        assert!(may(Method::POST, "/api/v1/certificates/{id}/versions/{version}/revoke"));
        assert!(may(Method::POST, "/api/v1/me/password") && may(Method::POST, "/api/v1/auth/logout-everywhere"));
        assert!(may(Method::PUT, "/api/v1/account/deletion") && may(Method::DELETE, "/api/v1/account/deletion"));
        let routes = crate::routes::all();
        for (method, path) in UNPAID_POSTS.map(|path| (Method::POST, path)).into_iter().chain([(Method::PUT, ACCOUNT_DELETION)]) {
            assert!(routes.iter().any(|route| route.method == method && route.path == path), "{method} {path} is no route");
        }
        for (method, route) in [
            (Method::POST, "/api/v1/account/deletion"),
            (Method::PUT, "/api/v1/me/password"),
            (Method::POST, "/api/v1/certificates"),
            (Method::POST, "/api/v1/certificates/{id}/renew"),
            (Method::PUT, "/api/v1/certificates/{id}/revoke"),
            (Method::PATCH, "/api/v1/certificates/{id}"),
        ] {
            assert!(!may(method.clone(), route), "{method} {route}");
        }
        assert!(check_status(AccountStatus::SuspendedAbuse, Access::Read).is_err());
    }
}
