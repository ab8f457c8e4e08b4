//! A proxy before the HTTP API of a `PowerDNS`, for faults on the way.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::PowerDns;
use crate::answer::{self, Answer};
use crate::fault::Fault;
use crate::http_client;
use crate::interference::{Hold, Refusal, Shared};
use crate::keeper::{self, Task};

/// Listens until it is dropped. Requests are named by method and path: `PATCH /api/v1/servers/localhost/zones/example.test.`
pub struct PowerDnsProxy {
    port: u16,
    _task: Task,
    interference: Shared,
}

impl PowerDnsProxy {
    /// Stands before this server, on a port of its own.
    pub async fn before(powerdns: &PowerDns) -> Result<Self> {
        let listener =
            keeper::run(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).await?.context("the proxy before PowerDNS cannot listen")?;
        let port = listener.local_addr()?.port();
        let interference = Shared::default();
        let server = Arc::new(Server { url: powerdns.api_url(), client: http_client::plain()?, interference: Arc::clone(&interference) });
        let task = keeper::start_task(accept(listener, server))?;
        Ok(Self { port, _task: task, interference })
    }

    /// `http://127.0.0.1:<port>`, without the path `/api/v1`.
    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Holds back the next request that begins so (`PATCH /api/…`).
    pub fn hold_request(&self, begin: &str) -> Hold {
        self.interference.hold_request(begin)
    }

    /// Holds back the answer to the next request that begins so: it was done, and the client does not know.
    pub fn hold_answer(&self, begin: &str) -> Hold {
        self.interference.hold_answer(begin)
    }

    /// Has the next `times` requests that begin so suffer this, while what is returned lives.
    pub fn strike(&self, begin: &str, fault: Fault, times: usize) -> Refusal {
        self.interference.strike(begin, fault, times)
    }
}

struct Server {
    url: String,
    client: reqwest::Client,
    interference: Shared,
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    // Connections are tasks of this set, so they end with the listener.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve(stream, Arc::clone(&server)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, server: Arc<Server>) {
    let answer = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move {
            let answered = server.answer(request).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|error| answer::text(StatusCode::BAD_GATEWAY, format!("{error:#}\n"))))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

impl Server {
    async fn answer(&self, request: http::Request<Incoming>) -> Result<Answer> {
        let (head, body) = request.into_parts();
        let name = format!("{} {}", head.method, head.uri.path());
        let body = body.collect().await?.to_bytes();
        if let Some(refusal) = self.interference.before(&name).await {
            return Ok(refusal);
        }
        let sent = self.client.request(head.method, format!("{}{}", self.url, head.uri)).headers(head.headers).body(body).send().await;
        let sent = sent.context("PowerDNS does not answer")?;
        let (status, headers) = (sent.status(), sent.headers().clone());
        let bytes = sent.bytes().await.context("PowerDNS broke off its answer")?;
        let answered = answer::passed_on(status, headers, bytes);
        Ok(self.interference.after(&name, answered).await.0)
    }
}
