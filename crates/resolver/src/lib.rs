//! What the DNS says at a name: proofs of control, delegations, aliases (requirements S3.70, S3.71).
//!
//! Each look-up asks anew: whoever has just set a record wants it seen now, not when the answer "no such record" has aged.

mod answer;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

pub use answer::{Answer, Caa, Data, KeyId, Record, RecordType};

/// Patience with the servers; a second try follows.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);

/// Patience with a resolver that is asked only for a sign of life.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Patience with the whole look-up, so that nobody's request hangs on somebody's dead name servers.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks recursive DNS servers. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    resolver: TokioResolver,
    servers: String,
}

/// A resolver that cannot be made: the operating system names no servers, for one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}; name the servers in the setting of the resolvers")]
pub struct ResolverError(String);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// Asks these servers, or those of the operating system if there are none.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, ResolverError> {
        let unusable = |error: NetError| ResolverError(error.to_string());
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(unusable)?
        } else {
            let config = ResolverConfig::from_name_servers(servers.iter().copied().map(name_server).collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = ATTEMPT_TIMEOUT;
        options.attempts = 1;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let resolver = builder.build().map_err(unusable)?;
        let servers = match servers {
            [] => "the resolver of the operating system".to_owned(),
            servers => servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        Ok(Self { resolver, servers })
    }

    /// Whom it asks, for people.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// What stands at `name`, which is given without trailing dot. Aliases are followed, unless they are what is asked for.
    pub async fn look_up(&self, name: &str, record_type: RecordType) -> Answer {
        // Without the dot, the search list of the operating system would be tried as well.
        let looked_up = tokio::time::timeout(LOOK_UP_TIMEOUT, self.resolver.lookup(format!("{name}."), record_type.into())).await;
        let answer = match looked_up {
            Ok(Ok(lookup)) => Answer::from_records(lookup.answers(), record_type),
            Ok(Err(error)) => Answer::from_error(error),
            Err(_) => Answer::TimedOut,
        };
        if answer == Answer::TimedOut && !self.is_alive().await {
            return Answer::Unreachable("no answer to anything".to_owned());
        }
        answer
    }

    /// Tells a resolver that is gone from one that waits for a zone's dead name servers: every resolver knows the root, or refuses at once.
    /// Takes [`PROBE_TIMEOUT`] at the most.
    pub async fn is_alive(&self) -> bool {
        let answer = tokio::time::timeout(PROBE_TIMEOUT, self.resolver.ns_lookup(".")).await;
        !matches!(answer, Err(_) | Ok(Err(NetError::Timeout | NetError::Io(_) | NetError::NoConnections)))
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

#[cfg(test)]
mod tests;
