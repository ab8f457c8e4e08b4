//! A client that knows nothing but HTTP and JSON.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// The server closes connections that nobody has used for five seconds, maybe while a request is on its way there.
const KEPT: Duration = Duration::from_secs(2);

/// Calls the API under `/api/v1`, with or without a token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// What the API answered.
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as text.
    pub text: String,
}

impl Client {
    /// `api_url` without a path; `token` is an access token or an API token.
    pub fn new(api_url: &str, token: Option<&str>) -> Result<Self> {
        // Fails when it is installed already, by another client of the same process.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().pool_idle_timeout(KEPT).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, base: format!("{api_url}/api/v1"), token: token.map(str::to_owned) })
    }

    /// GET of a path below `/api/v1`.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// POST of a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Any method.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("no answer for {path}"))?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }
}

impl Answer {
    /// The body as JSON, if the status is this one.
    pub fn expect(self, status: u16) -> Result<Value> {
        ensure!(self.status.as_u16() == status, "status {} where {status} was expected: {}", self.status, self.text);
        if self.text.is_empty() { Ok(Value::Null) } else { self.json() }
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.text).with_context(|| format!("not JSON: {}", self.text))
    }
}
