//! The port for operators' programs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

/// Where `serve` and `all` have it unless it is set.
pub(crate) const API_PORT: u16 = 9464;
/// Where `work` has it unless it is set: both may run on one machine.
pub(crate) const WORKER_PORT: u16 = 9465;

/// Metrics and readiness.
#[derive(Args)]
#[command(next_help_heading = "Monitoring")]
pub(crate) struct MonitoringArgs {
    /// Address and port of /metrics (Prometheus), /healthz and /readyz; port 0 takes a free one; `off` for none. Asks for no credential: for loopback or a network
    /// of your own. Without it 127.0.0.1:9464, and 127.0.0.1:9465 for `work`.
    #[arg(long, env = "ZONECERT_METRICS_LISTEN", value_name = "ZONECERT_METRICS_LISTEN", value_parser = choice)]
    metrics_listen: Option<Choice>,
    /// A file that gets this address once it is there.
    #[arg(long, env = "ZONECERT_METRICS_ADDRESS_FILE", value_name = "ZONECERT_METRICS_ADDRESS_FILE")]
    pub(crate) metrics_address_file: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Choice {
    Off,
    At(SocketAddr),
}

/// Where the port is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nowhere.
    Off,
    /// There, or the process does not start.
    At(SocketAddr),
    /// There, unless somebody else is there: nobody has asked for it.
    AtBest(SocketAddr),
}

impl MonitoringArgs {
    /// Where it is to be; at `default_port` of loopback where nothing is set.
    pub(crate) fn wanted(&self, default_port: u16) -> Wanted {
        match self.metrics_listen {
            Some(Choice::Off) => Wanted::Off,
            Some(Choice::At(address)) => Wanted::At(address),
            None => Wanted::AtBest(SocketAddr::from((Ipv4Addr::LOCALHOST, default_port))),
        }
    }
}

fn choice(text: &str) -> Result<Choice, String> {
    if text == "off" {
        return Ok(Choice::Off);
    }
    text.parse().map(Choice::At).map_err(|_| "neither ADDRESS:PORT nor `off`".to_owned())
}
