//! The DNS as the CA sees it: our `PowerDNS` for the zones that it has, the customer's for all others, aliases followed from one to the other.
//!
//! A recursive resolver would begin at the root, which knows nothing of zones under `.test`. This one asks the two servers in turn, as if every zone
//! that ours has were delegated to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::dns;
use crate::keeper::{self, Task};
use crate::ports::{self, Ports};

const ATTEMPTS: usize = 3;
/// Of a chain of aliases.
const MOST_ALIASES: usize = 8;
/// What a client takes that does not say otherwise (RFC 1035 §4.2.1), and the most that we send.
const LEAST_BYTES: u16 = 512;
const MOST_BYTES: u16 = 4096;

/// Listens by UDP until it is dropped.
pub(crate) struct Resolver {
    address: SocketAddr,
    _task: Task,
}

impl Resolver {
    /// The first of `servers` that has a zone answers for it.
    pub(crate) async fn start(ports: &Ports, servers: Vec<SocketAddr>) -> Result<Self> {
        let servers: Arc<[SocketAddr]> = servers.into();
        for attempt in 1.. {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.pick("resolver")?));
            let bound = keeper::run(UdpSocket::bind(address)).await?.with_context(|| format!("the resolver cannot listen on {address}"));
            match bound {
                Ok(socket) => return Ok(Self { address, _task: keeper::start_task(serve(socket, servers))? }),
                Err(error) if attempt < ATTEMPTS && ports::says_port_taken(&error) => ports.forget("resolver"),
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop ends by its attempts")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(socket: UdpSocket, servers: Arc<[SocketAddr]>) {
    let socket = Arc::new(socket);
    // Answers are tasks of this set, so they end with the listener.
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; usize::from(MOST_BYTES)];
    loop {
        tokio::select! {
            Ok((length, client)) = socket.recv_from(&mut buffer) => {
                // What is no question gets no answer.
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                let (socket, servers) = (Arc::clone(&socket), Arc::clone(&servers));
                answers.spawn(async move {
                    if let Some(answer) = answer(&question, &servers).await {
                        let _ = socket.send_to(&answer, client).await;
                    }
                });
            }
            Some(_) = answers.join_next() => {}
        }
    }
}

async fn answer(question: &Message, servers: &[SocketAddr]) -> Option<Vec<u8>> {
    let query = question.queries.first()?;
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.add_query(query.clone());
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    match resolve(query, servers).await {
        Ok(found) => {
            answer.metadata.response_code = found.metadata.response_code;
            answer.answers = found.answers;
            answer.authorities = found.authorities;
        }
        Err(_) => answer.metadata.response_code = ResponseCode::ServFail,
    }
    let most = question.edns.as_ref().map_or(LEAST_BYTES, |edns| edns.max_payload().clamp(LEAST_BYTES, MOST_BYTES));
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= usize::from(most) { Some(bytes) } else { answer.truncate().to_vec().ok() }
}

/// All records on the way from the name to the end of its aliases.
async fn resolve(query: &Query, servers: &[SocketAddr]) -> Result<Message> {
    let mut name = query.name().clone();
    let mut on_the_way = Vec::new();
    for _ in 0..MOST_ALIASES {
        let mut found = ask(servers, &name, query.query_type()).await?;
        let next = alias_at_the_end(&found, &name, query.query_type());
        on_the_way.append(&mut found.answers);
        let Some(next) = next else {
            found.answers = on_the_way;
            return Ok(found);
        };
        name = next;
    }
    anyhow::bail!("{} has too many aliases", query.name())
}

async fn ask(servers: &[SocketAddr], name: &Name, record_type: RecordType) -> Result<Message> {
    let mut last = None;
    for server in servers {
        let found = dns::ask(*server, &name.to_ascii(), record_type).await?;
        if found.metadata.response_code != ResponseCode::Refused {
            return Ok(found);
        }
        last = Some(found);
    }
    last.context("there is no server to ask")
}

/// Where the aliases of an answer lead, unless it has what was asked for.
fn alias_at_the_end(found: &Message, name: &Name, record_type: RecordType) -> Option<Name> {
    if record_type == RecordType::CNAME || found.answers.iter().any(|record| record.record_type() == record_type) {
        return None;
    }
    let mut end = name.clone();
    // As many steps as there are records: aliases that lead in a circle end here too.
    for _ in &found.answers {
        let alias = found.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == end => Some(target.0.clone()),
            _ => None,
        });
        match alias {
            Some(target) => end = target,
            None => break,
        }
    }
    (end != *name).then_some(end)
}
