//! A receiver of webhooks on loopback, which answers what a test tells it to; and a DNS server for its names, which may change its mind.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Notify;

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Received {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        &found.unwrap_or_else(|| panic!("no {name}: {:?}", self.headers)).1
    }
}

/// What is answered to one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Status line, headers and body: `200 OK`, `Retry-After: 5`.
    Say(&'static str, Vec<String>, Vec<u8>),
    /// Nothing, until the client has gone.
    Hang,
    /// Nothing: the connection is closed.
    Close,
}

/// Listens until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    replies: Mutex<VecDeque<Reply>>,
    connections: Mutex<usize>,
    came: Notify,
}

impl Receiver {
    /// Takes everything, until it is told otherwise.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let (address, state) = (listener.local_addr()?, Arc::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                *state.connections.lock().unwrap() += 1;
                tokio::spawn(async move {
                    // A client that breaks off has its reason.
                    let _ = state.converse(stream).await;
                });
            }
        });
        Ok(Self { address, state, task })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next requests are answered so, one after the other; those after them with 204.
    pub(crate) fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.replies.lock().unwrap().extend(replies);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Connections that were made to it, whatever came over them.
    pub(crate) fn connections(&self) -> usize {
        *self.state.connections.lock().unwrap()
    }

    /// Resolves once so many requests have come.
    pub(crate) async fn has_received(&self, requests: usize) {
        while self.received().len() < requests {
            self.state.came.notified().await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn converse(&self, stream: TcpStream) -> Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            if stream.read_line(&mut header).await? == 0 || header == "\r\n" {
                break;
            }
            let (name, value) = header.split_once(':').context("a header")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").map_or(Ok(0), |(_, value)| value.parse())?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        self.received.lock().unwrap().push(Received { line: line.trim_end().to_owned(), headers, body: String::from_utf8(body)? });
        self.came.notify_one();
        let reply = self.replies.lock().unwrap().pop_front().unwrap_or(Reply::Say("204 No Content", Vec::new(), Vec::new()));
        match reply {
            Reply::Say(status, headers, body) => {
                let headers: String = headers.iter().flat_map(|header| [header.as_str(), "\r\n"]).collect();
                let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
                stream.flush().await?;
            }
            Reply::Hang => {
                stream.read_u8().await?;
            }
            Reply::Close => {}
        }
        Ok(())
    }
}

/// Answers for a name whose first label is `a` with the first of these lists, with the second for `b`, and so on; for any other name with the first at the first
/// look, with the second at the second, and with the last from then on.
pub(crate) struct FickleDns {
    pub(crate) address: SocketAddr,
    looks: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl FickleDns {
    pub(crate) async fn start(answers: Vec<Vec<IpAddr>>) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, looks) = (socket.local_addr()?, Arc::new(Mutex::new(0)));
        let counted = Arc::clone(&looks);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                if let Some(answer) = answer(&buffer[..length], &answers, &counted) {
                    let _ = socket.send_to(&answer, client).await;
                }
            }
        });
        Ok(Self { address, looks, task })
    }

    /// How often A records were asked for.
    pub(crate) fn looks(&self) -> usize {
        *self.looks.lock().unwrap()
    }
}

impl Drop for FickleDns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 1035 §4.1. A and AAAA records of a list are answered by their type; a look is counted by what is asked for A.
fn answer(question: &[u8], answers: &[Vec<IpAddr>], looks: &Mutex<usize>) -> Option<Vec<u8>> {
    let name_ends = 12 + question.get(12..)?.iter().position(|&byte| byte == 0)?;
    let asked = question.get(12..name_ends + 5)?;
    let record_type = u16::from_be_bytes([*question.get(name_ends + 1)?, *question.get(name_ends + 2)?]);
    let mut looks = looks.lock().unwrap();
    if record_type == 1 {
        *looks += 1;
    }
    let list = match question.get(12..14)? {
        [1, letter] => usize::from(letter.to_ascii_lowercase().checked_sub(b'a')?),
        _ => looks.saturating_sub(1),
    };
    let list = list.min(answers.len() - 1);
    let records: Vec<Vec<u8>> = answers[list]
        .iter()
        .filter_map(|address| match (address, record_type) {
            (IpAddr::V4(address), 1) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), 28) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut message = question.get(..2)?.to_vec();
    message.extend([0x81, 0x80, 0, 1]);
    message.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    message.extend([0, 0, 0, 0]);
    message.extend(asked);
    for data in records {
        // The name that was asked for, class IN, for no time.
        message.extend([0xc0, 12]);
        message.extend(record_type.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0]);
        message.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        message.extend(data);
    }
    Some(message)
}
