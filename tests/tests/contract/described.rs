//! A client that holds every answer to the description.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;
use jsonschema::Validator;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

/// The API, with its description.
pub(crate) struct Described {
    document: Value,
    base: String,
    http: reqwest::Client,
    seen: Mutex<BTreeSet<String>>,
}

/// An answer that is as described.
pub(crate) struct Answer {
    call: String,
    status: u16,
    headers: HeaderMap,
    body: Value,
}

/// An operation of the description.
pub(crate) struct Operation<'a> {
    pub(crate) method: Method,
    /// With `{id}`.
    pub(crate) path: &'a str,
    pub(crate) described: &'a Value,
}

impl Described {
    pub(crate) fn new(base: &str) -> Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi.yaml");
        let mut document: Value = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
        close(&mut document);
        Ok(Self { document, base: base.to_owned(), http: reqwest::Client::builder().build()?, seen: Mutex::default() })
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.call(Method::GET, path, token, &[], None).await
    }

    pub(crate) async fn delete(&self, path: &str, token: Option<&str>) -> Answer {
        self.call(Method::DELETE, path, token, &[], None).await
    }

    /// A body that is accepted must be one that the description allows. `Null` sends none.
    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let sent = (!body.is_null()).then(|| body.to_string().into_bytes());
        let headers: &[(&str, &str)] = if sent.is_some() { &[("content-type", "application/json")] } else { &[] };
        let answer = self.call(Method::POST, path, token, headers, sent).await;
        if answer.status < 300 && !body.is_null() {
            let schema = self.operation(&Method::POST, path).described.pointer("/requestBody/content/application~1json/schema");
            self.hold(schema.unwrap_or_else(|| panic!("{}: takes a body, and none is described", answer.call)), body, &answer.call);
        }
        answer
    }

    /// Any call of an operation that is described.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let answer = self.send(method.clone(), path, token, headers, body).await;
        let operation = self.operation(&method, path);
        let status = answer.status.to_string();
        let response =
            operation.described["responses"].get(&status).unwrap_or_else(|| panic!("{} is not described: {}", answer.call, answer.body));
        self.check(self.resolve(response), &answer);
        self.seen.lock().unwrap().insert(format!("{method} {} {status}", operation.path));
        answer
    }

    /// The same for what is not described.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = match media_type(&headers) {
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
            let header = self.resolve(header);
            let found = answer.headers.get(name.as_str()).and_then(|value| value.to_str().ok());
            assert!(found.is_some() || header["required"] != true, "{call}: the header {name} is missing");
            if let Some(found) = found {
                let number = found.parse::<i64>().map(Value::from);
                let value = if header["schema"]["type"] == "integer" { number.unwrap() } else { found.into() };
                self.hold(&header["schema"], &value, &format!("{call}: {name}"));
            }
        }
        let Some(content) = response["content"].as_object() else {
            assert!(answer.body.is_null(), "{call}: a body, where none is described: {}", answer.body);
            return;
        };
        let media_type = media_type(&answer.headers).unwrap_or_else(|| panic!("{call}: no media type"));
        let described = content.get(&media_type).unwrap_or_else(|| panic!("{call}: {media_type} is not described"));
        self.hold(&described["schema"], &answer.body, call);
    }

    fn hold(&self, schema: &Value, instance: &Value, call: &str) {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        let validator: Validator =
            jsonschema::options().with_draft(jsonschema::Draft::Draft202012).should_validate_formats(true).build(&schema).unwrap();
        let faults: String =
            validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect::<Vec<_>>().join("\n");
        assert!(faults.is_empty(), "{call} is not as described:\n{faults}\n{instance:#}");
    }

    fn operation(&self, method: &Method, path: &str) -> Operation<'_> {
        let path = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (there, here): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
            there.len() == here.len() && there.iter().zip(here).all(|(there, here)| there.starts_with('{') || *there == here)
        };
        let found = self.operations().into_iter().find(|operation| operation.method == *method && fits(operation.path));
        found.unwrap_or_else(|| panic!("{method} {path} is not described"))
    }

    /// Every operation.
    pub(crate) fn operations(&self) -> Vec<Operation<'_>> {
        let mut operations = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                if let Some(described) = item.get(method.as_str().to_lowercase()) {
                    operations.push(Operation { method, path, described });
                }
            }
        }
        operations
    }

    /// What is described and has not been answered.
    pub(crate) fn not_seen(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let described = self.operations().into_iter().flat_map(|operation| {
            let statuses = operation.described["responses"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            statuses.into_iter().map(move |status| format!("{} {} {status}", operation.method, operation.path))
        });
        let not_seen: BTreeSet<String> = described.filter(|described| !seen.contains(described)).collect();
        not_seen.into_iter().collect()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.document.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }
}

impl Operation<'_> {
    /// Whether it wants a credential.
    pub(crate) fn is_secured(&self) -> bool {
        self.described.get("security").is_none()
    }

    /// Whether it takes a body.
    pub(crate) fn takes_body(&self) -> bool {
        self.described.get("requestBody").is_some()
    }

    /// Its path with an identifier that nobody has.
    pub(crate) fn unknown_path(&self) -> String {
        let kind = match self.path.split('/').nth(3) {
            Some("tokens") => "tok",
            Some("zones") => "zone",
            _ => "cert",
        };
        self.path.replace("{id}", &format!("{kind}_{}", "0".repeat(32)))
    }
}

impl Answer {
    /// The body, if the status is this one.
    pub(crate) fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.call, self.body);
        self.body
    }

    /// A header that must be there.
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.call));
        value.to_str().unwrap().to_owned()
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_owned())
}

/// A client takes fields that it does not know. Here each of them is a fault: of the description.
fn close(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let is_schema =
                object.get("properties").is_some_and(Value::is_object) && object.get("type").is_some_and(|kind| kind == "object");
            if is_schema {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            object.iter_mut().for_each(|(_, inner): (_, &mut Value)| close(inner));
        }
        Value::Array(array) => array.iter_mut().for_each(close),
        _ => {}
    }
}
