//! Who the operator is: whoever holds one of the tokens whose SHA-256 the setting names.

use std::future::{Ready, ready};
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, web};
use zonecert_domain::id::AccountId;
use zonecert_store::Store;

use super::actions::Actor;
use crate::app::App;
use crate::auth::opaque::{self, OpaqueToken};
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::traffic::client_address;

const PREFIX: &str = "zca_";

/// How the operator's calls get in, and where they work.
pub struct OperatorAccess {
    /// The database as `zonecert_admin`.
    pub store: Store,
    /// The tokens that are accepted, so that one can be replaced without a gap.
    pub tokens: Vec<OperatorToken>,
}

/// An operator's token, as a setting holds it: its SHA-256, so that whoever reads the setting cannot call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorToken([u8; 32]);

/// Why a text is not the SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 in 64 hexadecimal digits; make a token and its SHA-256 with `zonecert admin new-token`")]
pub struct OperatorTokenError;

impl OperatorToken {
    /// A new token in the clear, to be kept by whoever calls, and what the setting holds.
    pub fn generate() -> (String, Self) {
        let token = OpaqueToken::generate(PREFIX);
        (token.reveal().to_owned(), Self(token.sha256()))
    }

    /// Reads the SHA-256 in hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, OperatorTokenError> {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(text.trim(), &mut sha256).map_err(|_| OperatorTokenError)?;
        Ok(Self(sha256))
    }

    /// The SHA-256 in hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

/// The operator, calling.
pub(super) struct Operator {
    /// The database as the operator's role.
    pub(super) store: Store,
    app: web::Data<App>,
    request_id: RequestId,
}

impl Operator {
    /// Whom the audit logs of accounts name.
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor { request_id: Some(self.request_id.as_str()) }
    }

    /// After something of an account was changed: it holds from the next request on.
    pub(super) fn has_changed(&self, account: AccountId) {
        self.app.forget(account);
    }
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(identify(request))
    }
}

/// The same answer for a wrong token, for none, and where the operator's API is off.
fn identify(request: &HttpRequest) -> Result<Operator, Problem> {
    let app = request.app_data::<web::Data<App>>().ok_or_else(Problem::internal)?;
    let access = app.operators.as_ref().ok_or_else(refused)?;
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(refused)?;
    let (scheme, token) = header.split_once(' ').ok_or_else(refused)?;
    let (address, now) = (client_address::of(request, &app.settings.traffic), Instant::now());
    app.rate_limiter.admit(address, token, now)?;
    let given = opaque::sha256_of(PREFIX, token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"));
    if !given.is_some_and(|given| access.tokens.contains(&OperatorToken(given))) {
        app.rate_limiter.count_refused(address, now);
        return Err(refused());
    }
    Ok(Operator { store: access.store.clone(), app: app.clone(), request_id: RequestId::of(request) })
}

fn refused() -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"zonecert-admin\"");
    let detail = "This is for the operator of the service; send an operator's token in the header `Authorization: Bearer <token>`";
    Problem::unauthorized("operator_credential_required", detail).with_header(WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_sha256_alone() {
        let (token, stored) = OperatorToken::generate();
        assert!(token.starts_with("zca_"));
        assert_eq!(opaque::sha256_of(PREFIX, &token).map(OperatorToken), Some(stored));
        assert_eq!(OperatorToken::parse(&format!(" {}\n", stored.to_hex().to_uppercase())), Ok(stored));
        for text in ["", "abc", token.as_str(), &stored.to_hex()[1..]] {
            assert_eq!(OperatorToken::parse(text), Err(OperatorTokenError), "{text}");
        }
    }
}
