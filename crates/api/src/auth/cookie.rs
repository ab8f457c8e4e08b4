//! The refresh token as a cookie, for browsers (requirements X20): no script reads it, and no other site makes use of it.

use actix_web::HttpRequest;
use actix_web::http::header::{COOKIE, HeaderValue, ORIGIN, SET_COOKIE};
use url::Url;

use crate::auth::opaque::OpaqueToken;
use crate::auth::password::Secret;
use crate::auth::refresh_token;
use crate::problem::Problem;
use crate::settings::ApiSettings;

const NAME: &str = "zonecert_refresh";

/// Sent back to sign-in alone.
const PATH: &str = "/api/v1/auth";

/// What browsers say of themselves, and scripts cannot (Fetch Metadata §2.2).
const SEC_FETCH_SITE: &str = "Sec-Fetch-Site";

/// The header that sets the cookie.
pub(crate) fn set(token: &OpaqueToken, settings: &ApiSettings) -> HeaderValue {
    header(token.reveal(), refresh_token::LIFETIME.num_seconds(), settings)
}

/// The header that takes it away.
pub(crate) fn clear(settings: &ApiSettings) -> HeaderValue {
    header("", 0, settings)
}

/// A problem that takes the cookie away: it is no good any more.
pub(crate) fn clear_with(problem: Problem, settings: &ApiSettings) -> Problem {
    problem.with_header(SET_COOKIE, clear(settings))
}

fn header(value: &str, max_age_seconds: i64, settings: &ApiSettings) -> HeaderValue {
    let secure = if settings.public_url.starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!("{NAME}={value}; Path={PATH}; Max-Age={max_age_seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut header = HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

/// The refresh token that the browser has sent (RFC 6265 §4.2.1).
pub(crate) fn read(request: &HttpRequest) -> Option<Secret> {
    let pairs = request.headers().get_all(COOKIE).filter_map(|header| header.to_str().ok()).flat_map(|header| header.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='));
    values.find(|value| !value.is_empty()).map(|value| Secret::new(value.to_owned()))
}

/// Refuses what another site has made a browser send. `SameSite=Strict` keeps the cookie from it already; this holds where that does not: for older
/// browsers, and for other names under one registered domain.
pub(crate) fn check_same_origin(request: &HttpRequest, settings: &ApiSettings) -> Result<(), Problem> {
    let says = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if says(SEC_FETCH_SITE) == Some("same-origin") || says(ORIGIN.as_str()).is_some_and(|origin| is_ours(origin, settings)) {
        return Ok(());
    }
    let detail = "The cookie is accepted from pages of this service alone; programs send `refresh_token` in the body";
    Err(Problem::forbidden("cross_origin_request", detail))
}

/// Ours, or one that the operator trusts with what people may do (`ZONECERT_CORS_ORIGINS`).
fn is_ours(origin: &str, settings: &ApiSettings) -> bool {
    settings.traffic.cors_origins.iter().any(|listed| listed.as_str() == origin)
        || [&settings.public_url, &settings.dashboard_url].into_iter().any(|url| origin_of(url).as_deref() == Some(origin))
}

/// RFC 6454 §6.2.
fn origin_of(url: &str) -> Option<String> {
    let origin = Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_and_no_default_port() {
        assert_eq!(origin_of("https://API.zonecert.test:443/prefix").as_deref(), Some("https://api.zonecert.test"));
        assert_eq!(origin_of("http://127.0.0.1:8080").as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(origin_of("mailto:a@b.test"), None);
        assert_eq!(origin_of("null"), None);
    }
}
