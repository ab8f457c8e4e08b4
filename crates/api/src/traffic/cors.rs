//! Which web pages may call the API from a browser (Fetch standard, "HTTP extensions"). Browsers ask; programs need none of this.

use std::fmt;
use std::str::FromStr;

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use url::Url;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// What pages may send beyond what browsers let them send everywhere.
const REQUEST_HEADERS: &str =
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, X-API-Key, X-Request-Id";

/// What pages may read beyond what browsers let them read everywhere.
const EXPOSED_HEADERS: &str = "Allow, Content-Disposition, ETag, Idempotency-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id";

/// How long browsers remember what a preflight told them. Chromium's limit.
const MAX_AGE_SECONDS: &str = "7200";

/// Where a web page comes from, as browsers write it: `https://dashboard.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin; give scheme and host, and the port where it is not the scheme's, as in https://dashboard.example")]
pub struct OriginError(String);

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let error = || OriginError(text.to_owned());
        let url = Url::parse(text).map_err(|_| error())?;
        // Anything more than an origin, or one that is written in another way, would never equal what browsers send.
        let written = url.origin().ascii_serialization();
        let is_one = matches!(url.scheme(), "http" | "https") && !text.contains('*');
        if is_one && written == text { Ok(Self(written)) } else { Err(error()) }
    }
}

impl Origin {
    /// As it stands in the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The answer to a browser that asks beforehand, without a credential, whether a page may send a request. None if that is not what is asked, or if it
/// may not: then nothing of this protocol is answered, which browsers take for a no.
pub(crate) fn preflight(origins: &[Origin], method: &Method, headers: &HeaderMap) -> Option<HttpResponse> {
    if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    listed(origins, headers)?;
    let answer = HttpResponse::NoContent()
        .insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS))
        .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS))
        .insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS))
        .finish();
    Some(answer)
}

/// Lets the page that has asked read the answer, whatever it says, if its origin is listed. Says in any case that this depends on the origin.
pub(crate) fn set_headers(origins: &[Origin], request: &HeaderMap, answer: &mut HeaderMap) {
    if origins.is_empty() {
        return;
    }
    answer.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = listed(origins, request) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
}

fn listed<'a>(origins: &[Origin], headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
    headers.get(ORIGIN).filter(|origin| origins.iter().any(|listed| listed.0.as_bytes() == origin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for text in ["https://dashboard.example", "http://127.0.0.1:5173", "https://xn--bcher-kva.example:8443", "http://[::1]:3000"] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "*",
            "null",
            "dashboard.example",
            "https://dashboard.example/",
            "https://dashboard.example/app",
            "https://dashboard.example:443",
            "https://Dashboard.example",
            "https://*.example",
            "https://user@dashboard.example",
            "https://bücher.example",
            "ftp://dashboard.example",
            "file:///",
            " https://dashboard.example",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(OriginError(text.to_owned())));
        }
    }
}
