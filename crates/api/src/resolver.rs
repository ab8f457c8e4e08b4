//! The DNS client that looks for proofs of control: TXT records of customers' zones.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;

use crate::settings::SettingsError;

/// Patience with the servers; a second try follows.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);

/// Patience with a resolver that is asked only for a sign of life.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Patience with the whole look-up, so that nobody's request hangs on somebody's dead name servers.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// What was seen at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TxtAnswer {
    /// These TXT values; at least one. The strings of one record are joined, as everybody reads them (RFC 7208 §3.3).
    Values(Vec<String>),
    /// No such name (NXDOMAIN), and for how many seconds a resolver may go on saying so (RFC 2308 §5).
    NoSuchName(Option<u32>),
    /// The name is there and has no TXT record, and for how many seconds a resolver may go on saying so.
    NoTxt(Option<u32>),
    /// Nobody answered in time.
    TimedOut,
    /// An answer that says that it could not be found out, in the words of DNS: `SERVFAIL`.
    Refused(String),
    /// The DNS servers that we ask cannot be reached: the operator's to mend.
    Unreachable(String),
}

/// Asks these servers, or those of the operating system if there are none.
pub(crate) fn build(servers: &[SocketAddr]) -> Result<TokioResolver, SettingsError> {
    let unusable = |error: NetError| SettingsError::Resolvers(error.to_string());
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio().map_err(unusable)?
    } else {
        let config = ResolverConfig::from_name_servers(servers.iter().copied().map(name_server).collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = ATTEMPT_TIMEOUT;
    options.attempts = 1;
    // Whoever has just set a record wants it seen now, not when the answer "no such record" has aged.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(unusable)
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

/// What stands as TXT at `name`, which is given without trailing dot.
pub(crate) async fn look_up_txt(resolver: &TokioResolver, name: &str) -> TxtAnswer {
    // Without the dot, the search list of the operating system would be tried as well.
    let looked_up = tokio::time::timeout(LOOK_UP_TIMEOUT, resolver.txt_lookup(format!("{name}."))).await;
    let answer = match looked_up {
        Ok(Ok(lookup)) => {
            let values: Vec<String> = lookup.answers().iter().filter_map(|record| txt(&record.data)).collect();
            if values.is_empty() { TxtAnswer::NoTxt(None) } else { TxtAnswer::Values(values) }
        }
        Ok(Err(error)) => failed(error),
        Err(_) => TxtAnswer::TimedOut,
    };
    if answer == TxtAnswer::TimedOut && !is_alive(resolver).await {
        return TxtAnswer::Unreachable("no answer to anything".to_owned());
    }
    answer
}

/// Tells a resolver that is gone from one that waits for a zone's dead name servers: every resolver knows the root, or refuses at once.
async fn is_alive(resolver: &TokioResolver) -> bool {
    let answer = tokio::time::timeout(PROBE_TIMEOUT, resolver.ns_lookup(".")).await;
    !matches!(answer, Err(_) | Ok(Err(NetError::Timeout | NetError::Io(_) | NetError::NoConnections)))
}

fn txt(data: &RData) -> Option<String> {
    let RData::TXT(txt) = data else { return None };
    Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
}

fn failed(error: NetError) -> TxtAnswer {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => TxtAnswer::NoSuchName(none.negative_ttl),
            ResponseCode::NoError => TxtAnswer::NoTxt(none.negative_ttl),
            code => TxtAnswer::Refused(word(code)),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => TxtAnswer::Refused(word(code)),
        NetError::Timeout => TxtAnswer::TimedOut,
        other => TxtAnswer::Unreachable(other.to_string()),
    }
}

/// The mnemonic of a response code (RFC 6895 §2.3).
fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("response code {}", u16::from(other)),
    }
}

#[cfg(test)]
mod tests;
