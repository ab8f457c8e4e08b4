//! What the API says when it cannot do what was asked: RFC 9457 problem documents. The one place that knows HTTP statuses of errors.

use std::fmt;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::mime::Mime;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::plan::PlanRefusal;
use zonecert_store::StoreError;

use crate::openapi::values;

/// The media type of a problem document (RFC 9457 §3).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The code of [`Problem::not_found`].
pub(crate) const NOT_FOUND: &str = "not_found";

/// How a client may authenticate (RFC 6750 §3).
const CHALLENGE: &str = "Bearer realm=\"zonecert\"";

/// An error as the client sees it. Never holds what is internal, and nothing secret.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    headers: HeaderMap,
}

/// What is wrong with one value of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where it stands in the body (RFC 6901), as `/sans/0`; for the query, its parameter, as `?limit`.
    #[schema(example = "/sans/0")]
    pub pointer: String,
    /// What is wrong, for programs. Stable.
    #[schema(pattern = "^[a-z][a-z0-9_]*$", example = "name_underscore")]
    pub code: &'static str,
    /// What is wrong and what to do, for a person.
    #[schema(example = "the name has an underscore, which host names do not; remove it")]
    pub detail: String,
}

impl FieldError {
    /// What is wrong with the value at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}

/// A problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document<'a> {
    #[schema(schema_with = values::about_blank)]
    r#type: &'static str,
    /// The words of the status.
    title: &'a str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// For people: what is wrong, and what to do.
    detail: &'a str,
    /// For programs. Stable.
    #[schema(pattern = "^[a-z][a-z0-9_]*$")]
    code: &'static str,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required)]
    instance: Option<&'a str>,
    /// Which values of the request are meant.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(required = false, min_items = 1)]
    errors: &'a [FieldError],
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), headers: HeaderMap::new() }
    }

    /// 400: what was sent is malformed or breaks a rule.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 400: these values break rules; there must be at least one. A fault that is alone gives the problem its own code and text.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let problem = match errors.as_slice() {
            [only] => Self::bad_request(only.code, only.detail.clone()),
            several => Self::bad_request("invalid_input", format!("{} values are invalid; `errors` names them", several.len())),
        };
        problem.with_errors(errors)
    }

    /// 401: no credential, or none that we accept.
    pub fn unauthorized(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail).with_header(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE))
    }

    /// 403: known, but not allowed.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: absent, or another account's, which answers the same to the byte.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, NOT_FOUND, "There is nothing here that this account can see")
    }

    /// 404 where requirements section 1 fixes the text. Must not depend on whether another account has it.
    pub fn absent(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 406: the client takes nothing of what is answered here.
    pub(crate) fn not_acceptable(answered: &[Mime]) -> Self {
        let answered: Vec<&str> = answered.iter().map(Mime::essence_str).collect();
        let detail =
            format!("The answer is {}, which the header Accept does not allow; allow it, or leave the header out", answered.join(" or "));
        Self::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
    }

    /// 409: does not go with what is there.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 413: the body has more bytes than we read.
    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        let detail = format!("The body has more than {limit_bytes} bytes; send less");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// 415: the body is not what we read.
    pub(crate) fn unsupported_media_type() -> Self {
        let detail = "Send the body as JSON, uncompressed, with the header `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// 429: too often; worth another try after this long, which is told in whole seconds.
    pub(crate) fn too_many_requests(code: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        let seconds = u64::try_from(retry_after.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1);
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// 503: something that we need is not to be had right now; worth another try after so many seconds.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).with_header(RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// 503: the database is older than this program.
    pub(crate) fn not_migrated() -> Self {
        Self::unavailable("database_not_migrated", "The database is older than this program; run `zonecert migrate`", 10)
    }

    /// 500: our fault. Whoever makes one has logged why.
    pub fn internal() -> Self {
        let detail = "Something went wrong on our side; it has been logged under the request id in the header X-Request-Id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
    }

    /// The problem for an answer of the framework that has a status only.
    pub(crate) fn of_status(status: StatusCode, method: &Method) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "method_not_allowed", format!("{method} does nothing here; the header Allow lists what does"))
            }
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "body_too_large", "The body has too many bytes; send less"),
            status if status.is_client_error() => {
                Self::new(status, "bad_request", "The request cannot be read; check it and send it again")
            }
            _ => Self::internal(),
        }
    }

    /// The same problem, saying which values are meant.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The same problem, with a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What a client is told.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The answer, its `instance` being the path that was asked for.
    pub(crate) fn render(&self, instance: Option<&str>) -> HttpResponse {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            instance,
            errors: &self.errors,
        };
        let mut response = HttpResponse::build(self.status);
        for header in &self.headers {
            response.insert_header(header);
        }
        response.content_type(MEDIA_TYPE).body(serde_json::to_vec(&document).unwrap_or_default())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.render(None)
    }
}

/// Logs whatever is ours to mend, once, here.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::not_found(),
            StoreError::Stale => Self::conflict("changed_meanwhile", "Somebody else changed it at the same moment; read it and try again"),
            StoreError::Unavailable(_) => {
                tracing::error!(error = chain(&error), "the database cannot be reached");
                Self::unavailable("database_unavailable", "The service cannot reach its database; try again in a few seconds", 5)
            }
            _ => Self::caused_by(&error),
        }
    }
}

impl Problem {
    /// 500 for an error of ours, which is logged here, once.
    pub(crate) fn caused_by(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = chain(error), "a request failed");
        Self::internal()
    }
}

/// 400: the one value that is wrong.
impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::invalid(vec![error])
    }
}

/// Requirements section 1: the text is the plan's own.
impl From<PlanRefusal> for Problem {
    fn from(refusal: PlanRefusal) -> Self {
        Self::forbidden(refusal.code(), refusal.detail())
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::CONTENT_TYPE;
    use serde_json::{Value, json};

    use super::*;

    async fn document(problem: &Problem) -> Value {
        let response = problem.render(Some("/api/v1/certificates"));
        assert_eq!(response.headers().get(CONTENT_TYPE).unwrap(), MEDIA_TYPE);
        serde_json::from_slice(&actix_web::body::to_bytes(response.into_body()).await.unwrap()).unwrap()
    }

    #[actix_web::test]
    async fn a_document_has_all_members() {
        let field = FieldError::new("/domain", "not_under_zone", "b is not under a");
        assert_eq!(
            document(&Problem::bad_request("domain_not_under_zone", "Domain not under zone").with_errors(vec![field])).await,
            json!({
                "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "Domain not under zone",
                "code": "domain_not_under_zone", "instance": "/api/v1/certificates",
                "errors": [{"pointer": "/domain", "code": "not_under_zone", "detail": "b is not under a"}],
            })
        );
    }

    #[actix_web::test]
    async fn a_refusal_of_the_plan_keeps_its_exact_text() {
        let document = document(&PlanRefusal::PaidPlanRequired.into()).await;
        assert_eq!(document["detail"], "Certificate management requires paid subscription");
        assert_eq!((&document["status"], &document["code"]), (&json!(403), &json!("paid_plan_required")));
    }

    #[actix_web::test]
    async fn what_the_database_says_stays_inside() {
        for error in [
            StoreError::Unavailable("no pg_hba.conf entry for host 10.0.0.7".to_owned()),
            StoreError::Constraint("users_email_key".to_owned()),
            StoreError::corrupt("accounts.plan", "gold"),
        ] {
            let text = document(&error.into()).await.to_string();
            assert!(!text.contains("pg_hba") && !text.contains("users_") && !text.contains("gold"), "{text}");
        }
    }

    #[test]
    fn an_error_of_the_store_has_its_status() {
        let status = |error: StoreError| Problem::from(error).status_code().as_u16();
        assert_eq!(status(StoreError::NotFound), 404);
        assert_eq!(status(StoreError::Stale), 409);
        assert_eq!(status(StoreError::Constraint("x".to_owned())), 500);
        let down = Problem::from(StoreError::Unavailable(String::new()));
        assert_eq!((down.status_code().as_u16(), down.code()), (503, "database_unavailable"));
        assert_eq!(down.render(None).headers().get(RETRY_AFTER).unwrap(), "5");
    }
}
