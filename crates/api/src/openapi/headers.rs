//! Headers of answers. A handler names those that it sets, `headers(("Location" = String))`; here is what they are.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Header, Ref, RefOr, Response};

use super::kind::Kind;

/// A header.
struct Known {
    /// In the answer.
    name: &'static str,
    /// In the document.
    component: &'static str,
    /// A regular expression; none of a number.
    form: Option<&'static str>,
    text: &'static str,
    /// Whether each answer that names it has it.
    always: bool,
}

const HEADERS: [Known; 9] = [
    Known::always(
        "Content-Disposition",
        "ContentDisposition",
        "^attachment; filename=\"",
        "A file name: made of the certificate's name, where it is one certificate's.",
    ),
    Known::always("ETag", "ETag", "^\"", "Names the version; changes only when another version is in use."),
    Known::at_times("Idempotency-Replayed", "^true$", "On an answer that was given before to a request with the same key."),
    Known::always("Location", "Location", "^/", "The path of what was made."),
    Known::at_times(
        "RateLimit",
        "^\"(account|address|resource)\";r=[0-9]+;t=[0-9]+$",
        "How many calls are left, and in how many seconds all are.",
    ),
    Known::at_times(
        "RateLimit-Policy",
        "^\"(account|address|resource)\";q=[0-9]+;w=[0-9]+$",
        "How many calls there are, in how many seconds.",
    ),
    Known {
        name: "Retry-After",
        component: "RetryAfter",
        form: None,
        text: "Seconds after which another try is worth while.",
        always: true,
    },
    Known::always(
        "WWW-Authenticate",
        "Challenge",
        "^(Bearer|ApiKey) ",
        "How to authenticate (RFC 6750 §3); `ApiKey` is the header X-API-Key.",
    ),
    Known::always("X-Request-Id", "RequestId", "^[A-Za-z0-9._-]{1,64}$", "The name of this request; our logs carry the same."),
];

impl Known {
    const fn always(name: &'static str, component: &'static str, form: &'static str, text: &'static str) -> Self {
        Self { name, component, form: Some(form), text, always: true }
    }

    const fn at_times(name: &'static str, form: &'static str, text: &'static str) -> Self {
        Self { name, component: name, form: Some(form), text, always: false }
    }

    fn header(&self) -> Header {
        let kind = if self.form.is_some() { Type::String } else { Type::Integer };
        let schema = ObjectBuilder::new().schema_type(kind).pattern(self.form);
        // utoipa does not know that a header can be required.
        let mut more = ExtensionsBuilder::new().build();
        more.insert("required".to_owned(), json!(self.always));
        HeaderBuilder::new().schema(Some(schema)).description(Some(self.text)).extensions(Some(more)).build()
    }
}

/// All of them, for the components.
pub(super) fn all() -> BTreeMap<String, RefOr<Header>> {
    HEADERS.iter().map(|known| (known.component.to_owned(), RefOr::T(known.header()))).collect()
}

/// Adds those that every answer of a problem has.
pub(super) fn complete_problem(status: u16, response: &mut Response) {
    let by_status: &[&str] = match status {
        401 => &["WWW-Authenticate"],
        429 | 503 => &["Retry-After"],
        _ => &[],
    };
    add(response, by_status);
    add(response, &["X-Request-Id"]);
}

/// Adds those that every answer of the status and the kind has, and refers to the components.
pub(super) fn complete(status: u16, response: &mut Response, kind: &Kind) {
    if status >= 400 {
        return complete_problem(status, response);
    }
    let named: Vec<String> = response.headers.keys().cloned().collect();
    add(response, &named.iter().map(String::as_str).collect::<Vec<_>>());
    add(response, if kind.is_counted() { &["RateLimit", "RateLimit-Policy"] } else { &[] });
    add(response, if kind.is_done_once() { &["Idempotency-Replayed"] } else { &[] });
    add(response, &["X-Request-Id"]);
}

fn add(response: &mut Response, names: &[&str]) {
    for known in HEADERS.iter().filter(|known| names.contains(&known.name)) {
        response.headers.insert(known.name.to_owned(), RefOr::Ref(Ref::new(format!("#/components/headers/{}", known.component))));
    }
}
