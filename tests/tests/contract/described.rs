//! A client that holds every answer to the description, and remembers which it has had.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use super::document::Document;

/// The API at one address.
#[derive(Clone)]
pub(crate) struct Described {
    pub(crate) document: Arc<Document>,
    base: String,
    http: reqwest::Client,
    seen: Arc<Mutex<BTreeSet<String>>>,
}

/// A request to be sent.
#[derive(Clone)]
pub(crate) struct Request {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    json: Option<Value>,
    body: Option<Vec<u8>>,
}

/// An answer that is as described.
pub(crate) struct Answer {
    call: String,
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), json: None, body: None }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(crate) fn by(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A body that is accepted must be one that the description allows.
    pub(crate) fn json(self, body: Value) -> Self {
        let bytes = body.to_string().into_bytes();
        Self { json: Some(body), ..self.body("application/json", bytes) }
    }

    pub(crate) fn body(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(body.into()), ..self.header("content-type", media_type) }
    }
}

impl Described {
    pub(crate) fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().build().unwrap();
        Self { document: Arc::new(Document::read()), base: base.to_owned(), http, seen: Arc::default() }
    }

    /// The same at another address.
    pub(crate) fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// The answer, which must be described.
    pub(crate) async fn answer(&self, request: Request) -> Answer {
        let (method, path, json) = (request.method.clone(), request.path.clone(), request.json.clone());
        let answer = self.send(request).await;
        let operation = self.document.operation(&method, &path);
        let response = operation.response(answer.status).unwrap_or_else(|| panic!("{} is not described: {}", answer.call, answer.body));
        self.check(response, &answer);
        if let Some(body) = json.filter(|_| answer.status < 300) {
            let schema = operation.body_schema().unwrap_or_else(|| panic!("{}: takes a body, and none is described", answer.call));
            self.document.hold(schema, &body, &answer.call);
        }
        self.seen.lock().unwrap().insert(format!("{} {}", operation.name(), answer.status));
        answer
    }

    /// The same, and its status must be this one.
    pub(crate) async fn expect(&self, status: u16, request: Request) -> Value {
        self.answer(request).await.is(status)
    }

    /// Does it with a key, and again, and another thing with the same key. `other` is a query that makes it another.
    pub(crate) async fn once(&self, status: u16, request: Request, other: &str) -> Value {
        let keyed = request.header("idempotency-key", zonecert_devstack::unique_label());
        let first = self.answer(keyed.clone()).await.is(status);
        let again = self.answer(keyed.clone()).await;
        assert_eq!(again.header("idempotency-replayed"), "true", "{}", again.call);
        assert_eq!(again.body, first, "{}", again.call);
        let other = Request { path: format!("{}?{other}", keyed.path), ..keyed };
        assert_eq!(self.answer(other).await.is(409)["code"], "idempotency_key_reused", "{}", again.call);
        first
    }

    /// Any call, described or not.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        let Request { method, path, headers, body, .. } = request;
        let mut sending = self.http.request(method.clone(), format!("{}{path}", self.base));
        for (name, value) in headers {
            sending = sending.header(name, value);
        }
        if let Some(body) = body {
            sending = sending.body(body);
        }
        let mut response = sending.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let media_type = media_type(&headers);
        let text = match media_type.as_deref() {
            // Goes on for as long as anybody listens.
            Some("text/event-stream") => {
                let mut stream = Vec::new();
                let wants_events = path.contains("last_event_id");
                while stream.is_empty() || (wants_events && !stream.windows(6).any(|part| part == b"data: ")) {
                    stream.extend(response.chunk().await.unwrap().expect("the stream has ended"));
                }
                String::from_utf8(stream).unwrap()
            }
            _ => response.text().await.unwrap(),
        };
        let body = match media_type {
            Some(json) if json.ends_with("json") => {
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}"))
            }
            Some(_) => Value::String(text),
            None => {
                assert!(text.is_empty(), "{method} {path}: a body without a media type: {text}");
                Value::Null
            }
        };
        Answer { call: format!("{method} {path} {status}"), status, headers, body }
    }

    fn check(&self, response: &Value, answer: &Answer) {
        let call = &answer.call;
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let header = self.document.resolve(header);
            let found = answer.headers.get(name.as_str()).and_then(|value| value.to_str().ok());
            assert!(found.is_some() || header["required"] != true, "{call}: the header {name} is missing");
            let Some(found) = found else { continue };
            let number = found.parse::<i64>().map(Value::from);
            let value = if header["schema"]["type"] == "integer" { number.unwrap() } else { found.into() };
            self.document.hold(&header["schema"], &value, &format!("{call}: {name}"));
        }
        let Some(content) = response["content"].as_object() else {
            assert!(answer.body.is_null(), "{call}: a body, where none is described: {}", answer.body);
            return;
        };
        let media_type = media_type(&answer.headers).unwrap_or_else(|| panic!("{call}: no media type"));
        let described = content.get(&media_type).unwrap_or_else(|| panic!("{call}: {media_type} is not described"));
        self.document.hold(&described["schema"], &answer.body, call);
    }

    /// What is described and has not been answered.
    pub(crate) fn not_seen(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let described = self
            .document
            .operations()
            .flat_map(|operation| operation.statuses().map(move |status| format!("{} {status}", operation.name())).collect::<Vec<_>>());
        described.filter(|described| !seen.contains(described)).collect()
    }
}

impl Answer {
    /// The body, if the status is this one.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.call, self.body);
        self.body
    }

    /// A header that must be there.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.call));
        value.to_str().unwrap().to_owned()
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_owned())
}
