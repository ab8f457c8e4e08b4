//! The TLS-terminating proxy before Pebble.
//!
//! Pebble 2.4.0 locks up when a newOrder and a request that reads authorizations run at the same time. So newOrder has Pebble for itself:
//! it takes the write half of a lock and every other signed request the read half. `Host` passes through, so that all URLs that
//! Pebble hands out lead to the proxy.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::header::{CONNECTION, CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Certificate;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::RwLock;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::seen::Seen;
use crate::keeper;

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
    task: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Upstream {
    address: SocketAddr,
    client: reqwest::Client,
    turn: RwLock<()>,
    seen: Arc<Mutex<Seen>>,
}

impl Proxy {
    /// Listens on `port` of 127.0.0.1 (0: any) and answers the port.
    pub(super) async fn start(port: u16, tls: Arc<ServerConfig>, pebble_port: u16, ca_file: &Path, seen: Arc<Mutex<Seen>>) -> Result<Self> {
        let pem = std::fs::read(ca_file)?;
        let client = reqwest::Client::builder()
            .no_proxy()
            // HTTP/2 has no Host to pass through.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(UPSTREAM_TIMEOUT)
            .tcp_nodelay(true)
            .tls_certs_only([Certificate::from_pem(&pem)?])
            .build()?;
        let upstream = Upstream { address: (Ipv4Addr::LOCALHOST, pebble_port).into(), client, turn: RwLock::new(()), seen };
        let listener = keeper::run(TcpListener::bind((Ipv4Addr::LOCALHOST, port))).await?;
        let listener = listener.with_context(|| format!("the proxy cannot listen on port {port}: address already in use"))?;
        let task = keeper::start_task(accept(listener, TlsAcceptor::from(tls), Arc::new(upstream)))?;
        Ok(Self { task })
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
    async fn answer(&self, request: Request) -> Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if path == SEEN_PATH {
            let json = serde_json::to_vec(&*self.seen.lock().unwrap_or_else(PoisonError::into_inner))?;
            return Ok(Response::new(Full::from(json)));
        }
        let body = body.collect().await?.to_bytes();
        let is_new_order = head.method == Method::POST && path == NEW_ORDER_PATH;
        let (mut _alone, mut _beside_others) = (None, None);
        if is_new_order {
            _alone = Some(self.turn.write().await);
        } else if head.method == Method::POST {
            _beside_others = Some(self.turn.read().await);
        }
        let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
        let url = format!("https://{}{}", self.address, head.uri);
        let sent = self.client.request(head.method, url).headers(head.headers).body(body.clone()).send().await;
        let answer = sent.context("Pebble does not answer")?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        let answered = answer.bytes().await.context("Pebble broke off its answer")?;

        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if is_new_order && status == StatusCode::CREATED {
            let location = headers.get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
            seen.record_order(location, &body, &answered);
        } else if path.starts_with(FINALIZE_PATH) {
            seen.record_finalization(format!("https://{host}{path}"), &body, status.as_u16());
        }
        drop(seen);

        for hop_by_hop in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(hop_by_hop);
        }
        let mut response = Response::new(Full::from(answered));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}

fn bad_gateway(error: &anyhow::Error) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{error:#}\n")));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
