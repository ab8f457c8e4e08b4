//! Whether the name servers of our zones show a value, each of them: seen, not hoped for, before the CA is told to look (RFC 8555 §8.4).
//!
//! `PowerDNS` answers its API before its secondaries have the change. A server that answers has to show the value; one that does not answer is left out, since resolvers leave
//! it out too.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_resolver::{Answer, Data, RecordType, Resolver};

const DNS_PORT: u16 = 53;

/// Patience with one server: it is asked for what it has itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who is asked whether a value is there. Reads `nameservers`, `off`, or addresses with ports, comma separated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Nobody: the wait before the CA is told is all.
    Unchecked,
    /// These servers.
    At(Vec<SocketAddr>),
    /// The name servers of our zones, at the addresses that the resolvers know.
    OfNameServers,
}

impl FromStr for Visibility {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read =
            |address: &str| address.trim().parse().map_err(|_| format!("{address:?} is neither `nameservers` nor `off` nor ADDRESS:PORT"));
        match text {
            "off" => Ok(Self::Unchecked),
            "nameservers" => Ok(Self::OfNameServers),
            addresses => addresses.split(',').map(read).collect::<Result<_, _>>().map(Self::At),
        }
    }
}

impl Visibility {
    /// Which of the servers answer, and which do not; none where nobody is asked. Each is asked for its own idea of `name_servers`' first name: that it answers is
    /// what matters.
    pub async fn answering(&self, resolver: &Resolver, name_servers: &[String]) -> Result<Option<(Vec<String>, Vec<String>)>, Failure> {
        if matches!(self, Self::Unchecked) {
            return Ok(None);
        }
        let servers = self.servers(resolver, name_servers).await?;
        let alive = join_all(servers.iter().map(|server| server.resolver.is_alive())).await;
        let (answering, silent): (Vec<_>, Vec<_>) = servers.iter().zip(alive).partition(|(_, alive)| *alive);
        let addresses = |servers: Vec<(&Server, bool)>| servers.into_iter().map(|(server, _)| server.address.to_string()).collect();
        Ok(Some((addresses(answering), addresses(silent))))
    }

    /// The servers to be asked; none where nobody is. `name_servers` are the names of ours.
    pub(crate) async fn servers(&self, resolver: &Resolver, name_servers: &[String]) -> Result<Vec<Server>, Failure> {
        match self {
            Self::Unchecked => Ok(Vec::new()),
            Self::At(addresses) => addresses.iter().copied().map(Server::new).collect(),
            Self::OfNameServers => find_addresses(resolver, name_servers).await?.into_iter().map(Server::new).collect(),
        }
    }
}

/// A name server that is asked for what it has itself.
pub(crate) struct Server {
    address: SocketAddr,
    resolver: Resolver,
}

impl Server {
    fn new(address: SocketAddr) -> Result<Self, Failure> {
        let resolver = Resolver::new(&[address]).map_err(|error| unseen(error.to_string()))?;
        Ok(Self { address, resolver })
    }
}

/// Looks once at every server for these TXT values, each behind its name without trailing dot. How many servers show them all, or what stands in the way.
pub(crate) async fn look(servers: &[Server], values: &[(String, String)]) -> Result<usize, Failure> {
    let looks = join_all(servers.iter().map(|server| look_at(&server.resolver, values))).await;
    let mut shown = 0;
    let mut missing = String::new();
    let mut silent = String::new();
    for (Server { address, .. }, look) in servers.iter().zip(looks) {
        match look {
            Look::Shown => shown += 1,
            Look::Missing(what) => drop(write!(missing, "; {address}: {what}")),
            Look::Silent => drop(write!(silent, "; {address} does not answer")),
        }
    }
    if missing.is_empty() && (shown > 0 || servers.is_empty()) {
        if !silent.is_empty() {
            tracing::warn!(silent = silent.trim_start_matches("; "), "a name server was left out");
        }
        return Ok(shown);
    }
    Err(unseen(format!("the name servers do not show the validation record yet{missing}{silent}")))
}

enum Look {
    Shown,
    Missing(String),
    Silent,
}

async fn look_at(resolver: &Resolver, values: &[(String, String)]) -> Look {
    let mut names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let asked = try_join_all(names.iter().map(|name| async {
        match tokio::time::timeout(PATIENCE, resolver.look_up(name, RecordType::Txt)).await {
            Err(_) | Ok(Answer::TimedOut | Answer::Unreachable(_)) => Err(()),
            Ok(answer) => Ok((*name, answer)),
        }
    }));
    let Ok(answers) = asked.await else { return Look::Silent };
    for (name, answer) in answers {
        let wanted = values.iter().filter(|(at, _)| at == name).map(|(_, value)| value.as_str());
        if wanted.clone().any(|wanted| !answer.texts().any(|text| text == wanted)) {
            return Look::Missing(answer.describe(name, RecordType::Txt));
        }
    }
    Look::Shown
}

async fn find_addresses(resolver: &Resolver, names: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let questions = names.iter().flat_map(|name| [(name, RecordType::A), (name, RecordType::Aaaa)]);
    let answers = join_all(questions.map(|(name, kind)| resolver.look_up(name, kind))).await;
    let addresses: BTreeSet<IpAddr> = answers
        .iter()
        .flat_map(Answer::records)
        .filter_map(|record| if let Data::Address(address) = &record.data { Some(*address) } else { None })
        .collect();
    if addresses.is_empty() {
        return Err(unseen(format!("no address of our name servers is known: {}", names.join(", "))));
    }
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address, DNS_PORT)).collect())
}

fn unseen(detail: String) -> Failure {
    Failure::new(FailureCode::PropagationUnseen, detail)
}
