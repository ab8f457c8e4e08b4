//! The TLS-terminating proxy before Pebble.
//!
//! Pebble 2.4.0 locks up when a newOrder and a request that reads authorizations run at the same time. So newOrder has Pebble for itself:
//! it takes the write half of a lock and every other signed request the read half. `Host` passes through, so that all URLs that
//! Pebble hands out lead to the proxy.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::header::LOCATION;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Certificate;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::renewal_info::Script;
use super::seen::Seen;
use crate::answer::{self, Answer, AnswerBody};
use crate::interference::Shared;
use crate::keeper::{self, Task};

/// Answers [`Seen`] as JSON.
pub(super) const SEEN_PATH: &str = "/devstack/seen";
/// Paths of Pebble 2.4.0.
pub(super) const NEW_ORDER_PATH: &str = "/order-plz";
const FINALIZE_PATH: &str = "/finalize-order/";
/// Above Pebble's longest answer, below every client's patience.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(20);

type Request = http::Request<Incoming>;

/// A proxy that listens. Dropping it closes the port and cuts every connection.
pub(super) struct Proxy {
    port: u16,
    _task: Task,
}

/// What stands behind a proxy, and what is kept of what goes through.
pub(super) struct Behind<'a> {
    /// Port of Pebble, or of another proxy before it.
    pub(super) port: u16,
    /// PEM root of its HTTPS.
    pub(super) ca_file: &'a Path,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) interference: Shared,
    /// What is answered in place of Pebble, if anything is.
    pub(super) script: Option<Arc<Mutex<Script>>>,
}

struct Upstream {
    address: SocketAddr,
    client: reqwest::Client,
    turn: RwLock<()>,
    seen: Arc<Mutex<Seen>>,
    interference: Shared,
    script: Option<Arc<Mutex<Script>>>,
}

impl Proxy {
    /// Listens on `port` of 127.0.0.1 (0: any).
    pub(super) async fn start(port: u16, tls: Arc<ServerConfig>, behind: Behind<'_>) -> Result<Self> {
        let pem = std::fs::read(behind.ca_file)?;
        let client = reqwest::Client::builder()
            .no_proxy()
            // HTTP/2 has no Host to pass through.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(UPSTREAM_TIMEOUT)
            .tcp_nodelay(true)
            .tls_certs_only([Certificate::from_pem(&pem)?])
            .build()?;
        let Behind { port: behind_port, seen, interference, script, .. } = behind;
        let upstream =
            Upstream { address: (Ipv4Addr::LOCALHOST, behind_port).into(), client, turn: RwLock::new(()), seen, interference, script };
        let listener = keeper::run(TcpListener::bind((Ipv4Addr::LOCALHOST, port))).await?;
        let listener = listener.with_context(|| format!("the proxy cannot listen on port {port}: address already in use"))?;
        let port = listener.local_addr()?.port();
        let task = keeper::start_task(accept(listener, TlsAcceptor::from(tls), Arc::new(upstream)))?;
        Ok(Self { port, _task: task })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, upstream: Arc<Upstream>) {
    // Connections are tasks of this set, so they end with the listener.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve(stream, tls.clone(), Arc::clone(&upstream)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, upstream: Arc<Upstream>) {
    // Without this the last piece of an answer waits 40 ms for an acknowledgement.
    let _ = stream.set_nodelay(true);
    // A handshake or connection that the client breaks off concerns the client only.
    let Ok(stream) = tls.accept(stream).await else { return };
    let answer = service_fn(move |request| {
        let upstream = Arc::clone(&upstream);
        async move { Ok::<_, Infallible>(upstream.answer(request).await.unwrap_or_else(|error| bad_gateway(&error))) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

impl Upstream {
    async fn answer(self: Arc<Self>, request: Request) -> Result<Answer> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if path == SEEN_PATH {
            let json = serde_json::to_vec(&*self.seen.lock().unwrap_or_else(PoisonError::into_inner))?;
            return Ok(Response::new(AnswerBody::from(Bytes::from(json))));
        }
        let body = body.collect().await?.to_bytes();
        // Nobody's turn is taken up by a request that is held.
        if let Some(refusal) = self.interference.before(&path).await {
            return Ok(refusal);
        }
        // On a task of its own: where the client goes away, its turn lasts until Pebble has answered all the same.
        let forwarded = tokio::spawn({
            let (upstream, path) = (Arc::clone(&self), path.clone());
            async move { upstream.forward(head, body, &path).await }
        });
        let answer = forwarded.await.context("the proxy lost a request")??;
        let order = (path == NEW_ORDER_PATH).then(|| answer.headers().get(LOCATION).cloned()).flatten();
        let (answer, as_it_was) = self.interference.after(&path, answer).await;
        if let Some(order) = order.filter(|_| !as_it_was) {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.answer_lost(order.to_str().unwrap_or_default());
        }
        Ok(answer)
    }

    async fn forward(&self, head: http::request::Parts, body: Bytes, path: &str) -> Result<Answer> {
        let is_new_order = head.method == Method::POST && path == NEW_ORDER_PATH;
        let (mut _alone, mut _beside_others) = (None, None);
        if is_new_order {
            _alone = Some(self.turn.write().await);
        } else if head.method == Method::POST {
            _beside_others = Some(self.turn.read().await);
        }
        let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
        if let Some(answer) = self.script().and_then(|mut script| script.answer_instead(&head.method, path, &body)) {
            return Ok(answer);
        }
        let url = format!("https://{}{}", self.address, head.uri);
        let sent = self.client.request(head.method, url).headers(head.headers).body(body.clone()).send().await;
        let answer = sent.context("Pebble does not answer")?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut answered = answer.bytes().await.context("Pebble broke off its answer")?;
        if let Some(script) = self.script().filter(|_| status.is_success()) {
            answered = script.complete(path, &host, &body, answered);
        }

        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if is_new_order && status == StatusCode::CREATED {
            let location = headers.get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
            seen.record_order(location, &body, &answered);
        } else if path.starts_with(FINALIZE_PATH) {
            seen.record_finalization(format!("https://{host}{path}"), &body, status.as_u16());
        }
        drop(seen);

        Ok(answer::passed_on(status, headers, answered))
    }

    fn script(&self) -> Option<MutexGuard<'_, Script>> {
        Some(self.script.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn bad_gateway(error: &anyhow::Error) -> Answer {
    answer::text(StatusCode::BAD_GATEWAY, format!("{error:#}\n"))
}
