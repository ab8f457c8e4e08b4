//! A client of the REST API, as a customer would write one.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::{Value, json};

/// One API with one credential.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    bearer: Option<String>,
    client: Client,
}

/// Status and JSON body of an answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    request: String,
}

impl Api {
    /// `base` is `http://127.0.0.1:<port>`.
    pub(crate) fn new(base: &str) -> Result<Self> {
        // Loopback HTTP only: no proxy, and no roots of the system.
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(15)).tls_certs_only(Vec::<Certificate>::new()).build()?;
        Ok(Self { base: base.to_owned(), bearer: None, client })
    }

    /// The same API with an access token or an API token.
    pub(crate) fn with_bearer(&self, token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), ..self.clone() }
    }

    /// Signs somebody in, and answers their access token.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Result<String> {
        let login = self.post("/auth/login", &json!({"email": email, "password": password})).await?.expect(StatusCode::OK)?;
        text(&login, "access_token")
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// GET of something that is not JSON.
    pub(crate) async fn get_text(&self, path: &str) -> Result<String> {
        let (status, text) = self.exchange(Method::GET, path, None).await?;
        if !status.is_success() {
            bail!("GET {path} answered {status}: {text}");
        }
        Ok(text)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let request = format!("{method} {path}");
        let (status, text) = self.exchange(method, path, body).await?;
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        Ok(Answer { status, body, request })
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, String)> {
        let mut request = self.client.request(method.clone(), format!("{}/api/v1{path}", self.base));
        if let Some(token) = &self.bearer {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}: the API does not answer"))?;
        Ok((answer.status(), answer.text().await?))
    }
}

impl Answer {
    /// The body, if the status is `expected`.
    pub(crate) fn expect(self, expected: StatusCode) -> Result<Value> {
        if self.status != expected {
            bail!("{} answered {} where {expected} was expected: {}", self.request, self.status, self.body);
        }
        Ok(self.body)
    }
}

/// A string of a JSON object.
///
/// # Errors
/// When it is missing, with the object's other fields but not their values: one may be secret.
pub(crate) fn text(object: &Value, field: &str) -> Result<String> {
    let present = || object.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default();
    object[field].as_str().map(str::to_owned).with_context(|| format!("the API answered no string {field:?} (but: {})", present()))
}
