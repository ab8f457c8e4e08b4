//! The name of a request: on its answer, in every line that it logs, and in the audit log.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use uuid::Uuid;

/// The header that carries it, both ways.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Names a request. Made here, or the client's own if it is 1 to 64 letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The client's, if it is fit to be logged, or a new one.
    pub(crate) fn accept_or_make(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(|text| is_fit(text));
        Self(given.map_or_else(|| Uuid::now_v7().simple().to_string().into(), Into::into))
    }

    /// That of this request.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(|| Self::accept_or_make(request.headers()))
    }

    /// As it stands in the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_fit(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromRequest for RequestId {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn of(header: &'static [u8]) -> RequestId {
        let headers = [(HEADER, HeaderValue::from_bytes(header).unwrap())].into_iter().collect();
        RequestId::accept_or_make(&headers)
    }

    #[test]
    fn a_fit_one_of_the_client_is_kept() {
        for given in ["a", "0198c5f4-7e5b-7c2a-9d4e-1c2b3a4d5e6f", "job_7.retry-2", &"x".repeat(64)] {
            assert_eq!(of(given.to_owned().leak().as_bytes()).as_str(), given);
        }
    }

    #[test]
    fn an_unfit_one_is_replaced() {
        for given in [&b""[..], b"two words", b"a\"b", b"\xffabc", b"x\tlevel=error", &[b'x'; 65]] {
            let made = of(given);
            assert!(is_fit(made.as_str()) && made.as_str().as_bytes() != given, "{made}");
        }
        assert_ne!(RequestId::accept_or_make(&HeaderMap::new()), RequestId::accept_or_make(&HeaderMap::new()));
    }
}
