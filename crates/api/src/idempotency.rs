//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): whoever sends the same request with the same key again gets the answer of the
//! first one, and nothing is done twice.
//!
//! Key and answer are stored in the transaction of what the request changes, under the account's lock. So requests of one account take turns:
//! the second of two that come at once waits, and then finds the answer of the first. Only successes are stored; what was refused changed
//! nothing, and may be asked for again with the same key. Where the answer holds a secret, or before the account is known, there is no [`Idempotency`].

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, LOCATION};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;
use zonecert_domain::id::AccountId;
use zonecert_store::idempotency_keys::{self, KeptAnswer, KeyedRequest};
use zonecert_store::pool::TransactionBody;
use zonecert_store::{Connection, Store, StoreError};

use crate::auth::caller::Caller;
use crate::problem::Problem;

/// The header that names the key.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// On an answer that was given before: `true`.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

const MAX_KEY_LENGTH: usize = 255;

/// What a request that is done once says.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by `Idempotency`, which tells one that is absent from one that is no key")]
pub(crate) struct Parameters {
    /// The same request with the same key gets the first answer again, with the header `Idempotency-Replayed`, and nothing is done twice. A
    /// string (RFC 9651), or its characters without the quotes. Only successes are kept.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        min_length = 1,
        max_length = 255,
        pattern = "^[ -~]+$",
        example = "e1b6b3f0-6d0e-4a0e-9d5a-7f0f1c2d3e4f"
    )]
    idempotency_key: String,
}

/// SHA-256 of the body of a request that names a key; left by whoever reads the body.
pub(crate) struct BodyDigest(pub(crate) [u8; 32]);

/// What a request says of its key. A handler that takes one asks by [`Idempotency::of`], at the place of malformed input in the order of errors.
pub(crate) struct Idempotency(HttpRequest);

impl FromRequest for Idempotency {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(request.clone())))
    }
}

impl Idempotency {
    /// The right of the caller to do this once. Errors with 400 when the key is none.
    pub(crate) fn of(&self, caller: &Caller) -> Result<Once, Problem> {
        let request = &self.0;
        let mut values = request.headers().get_all(HEADER);
        let keyed = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => {
                let key = value.to_str().ok().and_then(parse).ok_or_else(invalid)?;
                let target = format!("{} {}?{}", request.method(), request.path(), request.query_string());
                let body = request.extensions().get::<BodyDigest>().map_or_else(|| Sha256::digest(b"").into(), |digest| digest.0);
                Some(KeyedRequest { caller: caller.actor(), key, sha256: digest(&target, &body) })
            }
            (Some(_), Some(_)) => return Err(invalid()),
        };
        Ok(Once { account: caller.account, keyed })
    }
}

/// The right to do something once, if the request names a key, and else as often as it comes.
pub(crate) struct Once {
    account: AccountId,
    keyed: Option<KeyedRequest>,
}

impl Once {
    /// Does it in a transaction to write, unless it was done before: then it gives the answer of that time.
    ///
    /// Errors: those of `work`, which has changed nothing then; 409 when the key came with another request before.
    pub(crate) async fn run<F>(self, store: &Store, work: F) -> Result<HttpResponse, Problem>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<Reply, Problem>
            + TransactionBody<&'c mut Connection, Result<Reply, Problem>, Fut: Send>
            + Send,
    {
        let Self { account, keyed } = self;
        let reply = store
            .tenant_write(account, async move |conn| {
                let Some(request) = keyed else { return work(conn).await };
                if let Some(kept) = idempotency_keys::find_answer(conn, account, &request).await? {
                    return replay(kept, &request);
                }
                let reply = work(conn).await?;
                let (status, location) = (reply.status.as_u16(), reply.location.as_deref());
                idempotency_keys::insert_answer(conn, account, &request, status, location, &reply.body).await?;
                Ok(reply)
            })
            .await?;
        Ok(reply.render())
    }

    /// The answer of an earlier time, for work that is not one transaction: looked for before it begins, while its last transaction goes through
    /// [`Once::run`].
    pub(crate) async fn find(&self, store: &Store) -> Result<Option<HttpResponse>, Problem> {
        let (account, Some(request)) = (self.account, self.keyed.clone()) else { return Ok(None) };
        let find = async move |conn: &mut Connection| match idempotency_keys::find_answer(conn, account, &request).await? {
            Some(kept) => replay(kept, &request).map(Some),
            None => Ok(None),
        };
        Ok(store.tenant::<_, Problem, _>(account, find).await?.map(Reply::render))
    }
}

/// An answer that can be kept: it holds no secret.
pub(crate) struct Reply {
    status: StatusCode,
    location: Option<String>,
    body: Vec<u8>,
    replayed: bool,
}

impl Reply {
    /// An answer whose body is `value` as JSON.
    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value).map_err(|error| Problem::caused_by(&error))?;
        Ok(Self { status, location: None, body, replayed: false })
    }

    /// The same answer, with the header `Location`.
    #[must_use]
    pub(crate) fn at(self, location: String) -> Self {
        Self { location: Some(location), ..self }
    }

    fn render(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(location) = self.location {
            response.insert_header((LOCATION, location));
        }
        if self.replayed {
            response.insert_header((REPLAYED, "true"));
        }
        response.content_type("application/json").body(self.body)
    }
}

fn replay(kept: KeptAnswer, request: &KeyedRequest) -> Result<Reply, Problem> {
    if kept.request_sha256 != request.sha256 {
        let detail = "The Idempotency-Key came with another request before; send a new key with a new request";
        return Err(Problem::conflict("idempotency_key_reused", detail));
    }
    let status = StatusCode::from_u16(kept.status)
        .map_err(|_| Problem::from(StoreError::corrupt("idempotency_keys.status", kept.status.to_string())))?;
    Ok(Reply { status, location: kept.location, body: kept.body, replayed: true })
}

fn invalid() -> Problem {
    let detail = format!("Send one Idempotency-Key of 1 to {MAX_KEY_LENGTH} printable ASCII characters, such as a random UUID");
    Problem::bad_request("idempotency_key_invalid", detail)
}

/// The key: a string as of RFC 9651 §3.3.3, or the same without its quotes, as many clients send it.
fn parse(value: &str) -> Option<String> {
    let value = value.trim_matches([' ', '\t']);
    let key = match value.strip_prefix('"') {
        Some(quoted) => unquote(quoted.strip_suffix('"')?)?,
        None => value.to_owned(),
    };
    let fits = (1..=MAX_KEY_LENGTH).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    fits.then_some(key)
}

/// A backslash stands before a quote or a backslash, and neither stands alone.
fn unquote(text: &str) -> Option<String> {
    let mut key = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => key.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
            other => key.push(other),
        }
    }
    Some(key)
}

/// What tells one request of a caller from another: method, path and query, and the body.
fn digest(target: &str, body_sha256: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(body_sha256).chain_update(target).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_with_and_without_quotes() {
        let uuid = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        for (value, key) in [
            (uuid, uuid),
            (&format!("\"{uuid}\"") as &str, uuid),
            ("  a b ", "a b"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("~", "~"),
            (r"a\b", r"a\b"),
        ] {
            assert_eq!(parse(value).as_deref(), Some(key), "{value}");
        }
        let longest = "k".repeat(MAX_KEY_LENGTH);
        assert_eq!(parse(&longest), Some(longest.clone()));
        assert_eq!(parse(&format!("\"{longest}\"")), Some(longest));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let too_long = "k".repeat(MAX_KEY_LENGTH + 1);
        for value in ["", "  ", "\"\"", "\"", "\"a", "\"a\"b\"", r#""a\""#, r#""\a""#, "é", "a\tb", "a\u{7f}", &too_long] {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }

    #[test]
    fn target_and_body_are_told_apart() {
        let body = [7; 32];
        assert_eq!(digest("a", &body), digest("a", &body));
        assert_ne!(digest("a", &body), digest("b", &body));
        assert_ne!(digest("a", &body), digest("a", &[8; 32]));
    }
}
