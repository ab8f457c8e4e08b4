//! What a request carries: a JSON body, a query, the identifier in its path.
//!
//! The framework extracts a handler's arguments side by side, but requirements S3.53 fixes which error comes first: the credential's, the
//! plan's, and only then the input's. So these three hold their error back until the handler asks by `read`.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};
use zeroize::Zeroizing;

use crate::problem::{FieldError, Problem};

/// More of a body is not read.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A JSON body. `T` says `#[serde(deny_unknown_fields)]`, so that a misspelt field is an error that names it.
pub struct Body<T>(Result<T, Problem>);

impl<T> Body<T> {
    /// The value, or what is wrong with it: 400, 413 or 415.
    pub fn read(self) -> Result<T, Problem> {
        self.0
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Infallible>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move { Ok(Self(read_json(&request, payload).await)) })
    }
}

/// The query of the URL. `T` says `#[serde(deny_unknown_fields)]`.
pub struct Query<T>(Result<T, Problem>);

impl<T> Query<T> {
    /// The value, or what is wrong with it: 400.
    pub fn read(self) -> Result<T, Problem> {
        self.0
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parsed = web::Query::<T>::from_query(request.query_string()).map(web::Query::into_inner);
        ready(Ok(Self(parsed.map_err(|error| Problem::bad_request("invalid_query", shorten(error.to_string()))))))
    }
}

/// The identifier `{id}` in the path.
pub struct Id<T>(Option<T>);

impl<T> Id<T> {
    /// The identifier; 404 if it is none of this kind, as no such thing can be there.
    pub fn read(self) -> Result<T, Problem> {
        self.0.ok_or_else(Problem::not_found)
    }
}

impl<T: FromStr> FromRequest for Id<T> {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(request.match_info().get("id").and_then(|text| text.parse().ok()))))
    }
}

async fn read_json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, Problem> {
    if !is_plain_json(request) {
        return Err(Problem::unsupported_media_type());
    }
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let bytes = collect(payload, announced.unwrap_or(0)).await?;
    check_is_object(&bytes)?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| describe(error.path(), error.inner()))
}

/// Malformed JSON is told before anything else is said of it. An array is refused here, since serde would take it for an object whose
/// fields come in order.
fn check_is_object(json: &[u8]) -> Result<(), Problem> {
    serde_json::from_slice::<IgnoredAny>(json).map_err(|error| malformed(&error))?;
    if json.trim_ascii_start().first() == Some(&b'{') {
        return Ok(());
    }
    Err(Problem::invalid(vec![FieldError::new("", "wrong_type", "The body must be a JSON object, in braces")]))
}

fn is_plain_json(request: &HttpRequest) -> bool {
    let json =
        request.mime_type().ok().flatten().is_some_and(|mime| {
            mime.essence_str() == "application/json" && mime.get_param("charset").is_none_or(|charset| charset == "utf-8")
        });
    json && request.headers().get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

/// The body may hold a password, so the buffer is wiped, and large enough from the start to leave no copy behind by growing.
async fn collect(mut payload: Payload, announced_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    if announced_bytes > MAX_BODY_BYTES {
        return Err(Problem::too_large(MAX_BODY_BYTES));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(announced_bytes.max(1024)));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("body_incomplete", "The body broke off; send the request again"))?;
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Problem::too_large(MAX_BODY_BYTES));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::bad_request("malformed_json", format!("The body is not JSON: {}", shorten(error.to_string())))
}

fn describe(path: &Path, error: &serde_json::Error) -> Problem {
    if error.classify() != Category::Data {
        return malformed(error);
    }
    let text = error.to_string();
    let text = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    let pointer = pointer(path);
    // serde tells these apart by their words alone; a test holds it to them.
    let named = |kind: &str| text.strip_prefix(kind).and_then(|rest| rest.strip_prefix(" field `")?.split('`').next());
    let field = if let Some(name) = named("missing") {
        FieldError::new(format!("{pointer}/{}", escape(name)), "required", "This field is required")
    } else if let Some(name) = named("duplicate") {
        FieldError::new(format!("{pointer}/{}", escape(name)), "duplicate_field", "This field is there twice; send it once")
    } else if named("unknown").is_some() {
        FieldError::new(pointer, "unknown_field", shorten(text.to_owned()))
    } else if text.starts_with("invalid type: ") {
        FieldError::new(pointer, "wrong_type", shorten(text.to_owned()))
    } else {
        FieldError::new(pointer, "invalid_value", shorten(text.to_owned()))
    };
    Problem::invalid(vec![field])
}

/// RFC 6901.
fn pointer(path: &Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escape(key)),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The texts of parsers repeat what was sent.
fn shorten(mut text: String) -> String {
    const MAX_CHARS: usize = 300;
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
