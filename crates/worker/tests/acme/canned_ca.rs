//! A CA that answers what a test tells it to: for what Pebble cannot be brought to do.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::USER_AGENT;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use zonecert_worker::acme::AcmeSettings;

use crate::self_signed::self_signed;

/// What is answered to a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// An answer.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The connection ends without one.
    BreakOff,
    /// Nothing, for ever.
    Silence,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Answer { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    pub(crate) fn page(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: vec![("content-type", "text/html".to_owned())], body: body.to_owned() }
    }

    /// A problem document of this type, without its namespace (RFC 8555 §6.7).
    pub(crate) fn problem(status: u16, problem_type: &str, detail: &str) -> Self {
        Self::json(status, &json!({"type": format!("urn:ietf:params:acme:error:{problem_type}"), "detail": detail}))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

/// The CA. All goes well with it until a test says otherwise, path by path.
pub(crate) struct CannedCa {
    state: Arc<State>,
    ca_file: NamedTempFile,
}

struct State {
    base: String,
    replies: Mutex<HashMap<String, Reply>>,
    requests: Mutex<Vec<(String, Bytes)>>,
}

impl CannedCa {
    pub(crate) async fn start() -> Result<Self> {
        let (tls, ca_file) = self_signed()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base = format!("https://{}", listener.local_addr()?);
        let state = Arc::new(State { base, replies: Mutex::default(), requests: Mutex::default() });
        tokio::spawn(listen(listener, tls, Arc::clone(&state)));
        Ok(Self { state, ca_file })
    }

    /// Settings of a client that trusts this CA.
    pub(crate) fn settings(&self) -> AcmeSettings {
        AcmeSettings { ca_file: Some(self.ca_file.path().to_owned()), ..AcmeSettings::new(self.url("/dir")) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.state.base)
    }

    /// Answers `reply` at `path` from now on.
    pub(crate) fn answer(&self, path: &str, reply: Reply) {
        self.state.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// Answers an order in this state at `/order/<number>`.
    pub(crate) fn answer_order(&self, number: u32, status: &str) {
        self.answer(&format!("/order/{number}"), Reply::json(200, &self.state.order(number, status)));
    }

    /// Answers an authorization at `/authz/<number>`: its own state, and that of its challenge of this type.
    pub(crate) fn answer_authorization(&self, number: u32, status: &str, challenge_type: &str, challenge_status: &str) {
        let reply = Reply::json(200, &self.state.authorization(number, status, challenge_type, challenge_status));
        self.answer(&format!("/authz/{number}"), reply);
    }

    /// How often `path` was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.state.requests.lock().unwrap().iter().filter(|(asked, _)| asked == path).count()
    }

    /// Protected header and payload of the last signed request to `path` (RFC 7515 §7.2.2).
    pub(crate) fn last_signed(&self, path: &str) -> (Value, Value) {
        let requests = self.state.requests.lock().unwrap();
        let (_, body) = requests.iter().rev().find(|(asked, _)| asked == path).expect("it was asked for");
        let body: Value = serde_json::from_slice(body).unwrap();
        let part = |name: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body[name].as_str().unwrap()).unwrap()).unwrap();
        (part("protected"), part("payload"))
    }
}

impl State {
    fn reply(&self, path: &str) -> Reply {
        if let Some(reply) = self.replies.lock().unwrap().get(path) {
            return reply.clone();
        }
        let (kind, number) = path.trim_start_matches('/').split_once('/').unwrap_or((path, "1"));
        let number = number.parse().unwrap_or(1);
        match kind {
            "/dir" => {
                let url = |path: &str| format!("{}{path}", self.base);
                let urls = json!({
                    "newNonce": url("/nonce"), "newAccount": url("/new-account"), "newOrder": url("/new-order"), "revokeCert": url("/revoke"),
                    "keyChange": url("/key-change"),
                });
                Reply::json(200, &urls)
            }
            "/nonce" | "/revoke" | "/key-change" => Reply::page(200, ""),
            "/new-account" => Reply::json(201, &json!({"status": "valid"})).with("location", format!("{}/account/1", self.base)),
            "/new-order" => Reply::json(201, &self.order(1, "pending")).with("location", format!("{}/order/1", self.base)),
            "order" => Reply::json(200, &self.order(number, "pending")),
            "authz" => Reply::json(200, &self.authorization(number, "pending", "dns-01", "pending")),
            "challenge" => Reply::json(200, &self.challenge(number, "dns-01", "processing")),
            "finalize" => Reply::json(200, &self.order(number, "processing")),
            _ => Reply::problem(404, "malformed", "no such resource"),
        }
    }

    fn order(&self, number: u32, status: &str) -> Value {
        json!({
            "status": status,
            "identifiers": [{"type": "dns", "value": "app.example.com"}],
            "authorizations": [format!("{}/authz/{number}", self.base)],
            "finalize": format!("{}/finalize/{number}", self.base),
            "certificate": format!("{}/certificate/{number}", self.base),
        })
    }

    fn authorization(&self, number: u32, status: &str, challenge_type: &str, challenge_status: &str) -> Value {
        json!({
            "status": status,
            "identifier": {"type": "dns", "value": "app.example.com"},
            "challenges": [self.challenge(number, challenge_type, challenge_status)],
        })
    }

    fn challenge(&self, number: u32, challenge_type: &str, status: &str) -> Value {
        json!({"type": challenge_type, "status": status, "url": format!("{}/challenge/{number}", self.base), "token": "evaGxfADs6pSRb2LAv9IZ"})
    }
}

async fn listen(listener: TcpListener, tls: TlsAcceptor, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, Arc::clone(&state)));
            // A connection that is broken off, by either side, is what some tests are about.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: http::Request<Incoming>, state: Arc<State>) -> Result<http::Response<Full<Bytes>>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    state.requests.lock().unwrap().push((path.clone(), body));
    match state.reply(&path) {
        Reply::BreakOff => Err(std::io::ErrorKind::ConnectionReset.into()),
        Reply::Silence => {
            let never: Infallible = std::future::pending().await;
            match never {}
        }
        Reply::Answer { .. } if !agent.starts_with("zonecert/") => {
            Ok(http::Response::builder().status(418).body(Full::from(format!("who is {agent:?}?"))).unwrap())
        }
        Reply::Answer { status, headers, body } => {
            let response = http::Response::builder().status(status).header("replay-nonce", "bm9uY2U");
            let response = headers.into_iter().fold(response, |response, (name, value)| response.header(name, value));
            Ok(response.body(Full::from(body)).unwrap())
        }
    }
}
