//! One DNS question to one server: no cache, no search list, no recursion.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hickory_resolver::proto::op::{Edns, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Large enough that no answer in a test is cut (RFC 6891 §6.2.5).
const ANSWER_BYTES: u16 = 4096;

pub(crate) async fn ask(server: SocketAddr, name: &str, record_type: RecordType) -> Result<Message> {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_str(name).with_context(|| format!("{name} is not a DNS name"))?, record_type));
    let mut edns = Edns::new();
    edns.set_max_payload(ANSWER_BYTES);
    question.set_edns(edns);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // A connected socket receives from that server only, and learns of a closed port at once.
    socket.connect(server).await?;
    socket.send(&question.to_vec()?).await?;
    let mut buffer = vec![0; usize::from(ANSWER_BYTES)];
    let received = timeout(ANSWER_WITHIN, socket.recv(&mut buffer)).await;
    let length = received.with_context(|| format!("{server} did not answer"))?.with_context(|| format!("{server} does not answer"))?;
    let answer = Message::from_vec(&buffer[..length])?;
    ensure!(answer.metadata.id == question.metadata.id, "{server} answered another question");
    Ok(answer)
}

/// Like [`ask`], where "no such name" is an answer and every other failure is an error.
pub(crate) async fn look_up(server: SocketAddr, name: &str, record_type: RecordType) -> Result<Message> {
    let answer = ask(server, name, record_type).await?;
    let code = answer.metadata.response_code;
    ensure!(matches!(code, ResponseCode::NoError | ResponseCode::NXDomain), "{server} answered {code} for {name} {record_type}");
    Ok(answer)
}
