//! What a request carries: a JSON body, a query, the identifier in its path.
//!
//! The framework extracts a handler's arguments side by side, but requirements S3.53 fixes which error comes first: the credential's, the
//! plan's, and only then the input's. So these three hold their error back until the handler asks by `read`.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures::StreamExt;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::idempotency::{self, BodyDigest};
use crate::problem::{FieldError, Problem};

const JSON: &str = "application/json";

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
        Box::pin(async move { Ok(Self(read_json(&request, payload, MAX_BODY_BYTES).await)) })
    }
}

/// A JSON body, or none at all: no bytes, whether or not they would be JSON.
pub struct OptionalBody<T>(Result<Option<T>, Problem>);

impl<T> OptionalBody<T> {
    /// The value, if there is a body, or what is wrong with it: 400, 413 or 415.
    pub fn read(self) -> Result<Option<T>, Problem> {
        self.0
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for OptionalBody<T> {
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Infallible>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move { Ok(Self(read_optional_json(&request, payload).await)) })
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
        ready(Ok(Self(parsed.map_err(|error| invalid_query(&error.to_string())))))
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
        ready(Ok(Self(find_id(request, "id"))))
    }
}

/// The identifier in the path that is not `{id}`; 404 if it is none of this kind.
pub(crate) fn id_in_path<T: FromStr>(request: &HttpRequest, parameter: &str) -> Result<T, Problem> {
    find_id(request, parameter).ok_or_else(Problem::not_found)
}

fn find_id<T: FromStr>(request: &HttpRequest, parameter: &str) -> Option<T> {
    request.match_info().get(parameter).and_then(|text| text.parse().ok())
}

async fn read_optional_json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<Option<T>, Problem> {
    let is_json = is_plain(request, JSON);
    if request.headers().contains_key(CONTENT_TYPE) && !is_json {
        return Err(Problem::unsupported_media_type());
    }
    let bytes = read_bytes(request, payload, MAX_BODY_BYTES).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if is_json { parse_json(&bytes).map(Some) } else { Err(Problem::unsupported_media_type()) }
}

/// A JSON object of at most so many bytes.
pub(crate) async fn read_json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload, max_bytes: usize) -> Result<T, Problem> {
    if !is_plain(request, JSON) {
        return Err(Problem::unsupported_media_type());
    }
    parse_json(&read_bytes(request, payload, max_bytes).await?)
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    check_is_object(bytes)?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| describe(error.path(), error.inner()))
}

/// A text of this media type, in UTF-8 and of at most so many bytes.
pub(crate) async fn read_text(request: &HttpRequest, payload: Payload, media_type: &str, max_bytes: usize) -> Result<String, Problem> {
    if !is_plain(request, media_type) {
        return Err(Problem::unsupported_media_type());
    }
    let bytes = read_bytes(request, payload, max_bytes).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::bad_request("text_not_utf8", "The body is not UTF-8; send it in UTF-8"))?;
    Ok(text.to_owned())
}

async fn read_bytes(request: &HttpRequest, payload: Payload, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let bytes = collect(payload, announced.unwrap_or(0), max_bytes).await?;
    if request.headers().contains_key(idempotency::HEADER) {
        request.extensions_mut().insert(BodyDigest(Sha256::digest(&bytes).into()));
    }
    Ok(bytes)
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

/// Of this media type, in UTF-8 where it says so, and not compressed.
fn is_plain(request: &HttpRequest, media_type: &str) -> bool {
    let fits = request.mime_type().ok().flatten().is_some_and(|mime| {
        mime.essence_str() == media_type && mime.get_param("charset").is_none_or(|charset| charset == "utf-8" || charset == "us-ascii")
    });
    fits && request.headers().get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

/// The body may hold a password, so the buffer is wiped, and large enough from the start to leave no copy behind by growing.
async fn collect(mut payload: Payload, announced_bytes: usize, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    if announced_bytes > max_bytes {
        return Err(Problem::too_large(max_bytes));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(announced_bytes.max(1024)));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("body_incomplete", "The body broke off; send the request again"))?;
        if bytes.len() + chunk.len() > max_bytes {
            return Err(Problem::too_large(max_bytes));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// serde tells what is wrong by its words alone; a test holds it to them.
fn invalid_query(text: &str) -> Problem {
    let text = text.strip_prefix("Query deserialize error: ").unwrap_or(text);
    let named = |kind: &str| text.strip_prefix(kind).and_then(|rest| rest.strip_prefix(" field `")?.split('`').next());
    let (name, detail) = if let Some(name) = named("unknown") {
        let known = text.split_once("expected ").map_or("none", |(_, known)| known);
        (Some(name), format!("`{name}` is no parameter here; there is {known}"))
    } else if let Some(name) = named("duplicate") {
        (Some(name), format!("`{name}` is there twice; give it once"))
    } else {
        (None, format!("The query cannot be read: {text}"))
    };
    let detail = shorten(detail);
    let errors = name.map(|name| FieldError::new(format!("?{}", shorten(name.to_owned())), "invalid_query", detail.clone()));
    Problem::bad_request("invalid_query", detail).with_errors(errors.into_iter().collect())
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

/// Of a body's field: tells one that is `null` from one that is absent.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
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
