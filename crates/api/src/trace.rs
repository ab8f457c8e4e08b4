//! Around every request: its name, its span, its line in the log, the headers of its answer, and problems for errors of the framework.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use tracing::{Instrument, Span, field};

use crate::app::App;
use crate::auth::caller;
use crate::downloads;
use crate::problem::Problem;
use crate::request_id::{self, RequestId};
use crate::traffic::{cors, rate_limit};

/// On every answer that does not set them itself. What the API says is data of one tenant: nobody stores, frames or runs it.
const HEADERS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];

pub(crate) async fn observe(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let id = RequestId::accept_or_make(request.headers());
    let span = tracing::info_span!("request", request_id = %id, account = field::Empty);
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let path = downloads::shown(request.path(), request.match_info().as_str()).into_owned();
    // HEAD is GET without the body, which the server leaves out by itself (RFC 9110 §9.3.2).
    if method == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    let app = request.app_data::<web::Data<App>>().cloned();
    let origins = app.as_ref().map_or(&[][..], |app| &app.settings.traffic.cors_origins);
    let answer = match cors::preflight(origins, &method, request.headers()) {
        Some(answer) => request.into_response(answer),
        None => next.call(request).instrument(span.clone()).await?.map_into_boxed_body(),
    };
    let (request, answer) = answer.into_parts();
    caller::forget_changed(&request);
    let code = problem_code(&answer);
    let mut answer =
        if answer.status().is_client_error() || answer.status().is_server_error() { as_problem(answer, &method, &path) } else { answer };
    set_headers(answer.headers_mut(), &id);
    rate_limit::set_headers(&request, answer.headers_mut());
    cors::set_headers(origins, request.headers(), answer.headers_mut());
    let answer = ServiceResponse::new(request, answer);
    let route = answer.request().match_pattern();
    log(&span, &method, &answer, route.as_deref(), code, started);
    if let Some(app) = app {
        app.metrics.answered(&method, route.as_deref(), answer.status(), started.elapsed());
    }
    Ok(answer)
}

fn problem_code(answer: &HttpResponse) -> Option<&'static str> {
    answer.error().and_then(|error| error.as_error::<Problem>()).map(Problem::code)
}

/// Fills in where a problem happened, and puts one in the place of the framework's own errors, which have no body or plain text.
fn as_problem(answer: HttpResponse, method: &Method, path: &str) -> HttpResponse {
    if let Some(problem) = answer.error().and_then(|error| error.as_error::<Problem>()) {
        return problem.render(Some(path));
    }
    if answer.error().is_none() && answer.headers().contains_key(CONTENT_TYPE) {
        return answer;
    }
    let mut problem = Problem::of_status(answer.status(), method);
    if let Some(allow) = answer.headers().get(ALLOW) {
        problem = problem.with_header(ALLOW, with_head(allow));
    }
    problem.render(Some(path))
}

/// The framework knows of GET alone.
fn with_head(allow: &HeaderValue) -> HeaderValue {
    let Ok(methods) = allow.to_str() else { return allow.clone() };
    let gets = methods.split(',').any(|method| method.trim() == "GET");
    let with_head = gets.then(|| HeaderValue::from_str(&format!("{methods}, HEAD")).ok()).flatten();
    with_head.unwrap_or_else(|| allow.clone())
}

fn set_headers(headers: &mut HeaderMap, id: &RequestId) {
    for (name, value) in HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(request_id::HEADER, id);
    }
}

/// The route and never the path or the query, where clients may have put a key (requirements S1.3); of the path, the identifier alone.
fn log(span: &Span, method: &Method, answer: &ServiceResponse<BoxBody>, route: Option<&str>, code: Option<&str>, started: Instant) {
    let subject = answer.request().match_info().get("id").filter(|text| is_identifier(text));
    tracing::info!(
        parent: span,
        %method,
        route = route.unwrap_or("none"),
        subject,
        status = answer.status().as_u16(),
        code,
        elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
}

/// `cert_` and 32 hexadecimal digits, or alike: no secret of ours has this form.
fn is_identifier(text: &str) -> bool {
    text.split_once('_').is_some_and(|(prefix, digits)| {
        prefix.bytes().all(|b| b.is_ascii_lowercase()) && digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}
