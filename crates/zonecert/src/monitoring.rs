//! The port for operators' programs, beside whatever the process does.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result};
use zonecert_api::{Monitoring, MonitoringServer};
use zonecert_store::Store;

use crate::serve::write_address;
use crate::settings::ca::CaArgs;
use crate::settings::database::DatabaseArgs;
use crate::settings::monitoring::{MonitoringArgs, Wanted};

/// Of its own, so that the page answers when all others are in use.
const CONNECTIONS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(3);

/// Opens the port where it is wanted. What is to be on its page is added by whoever has it.
pub(crate) fn start(args: &MonitoringArgs, default_port: u16, database: &DatabaseArgs, ca: &CaArgs) -> Result<Monitoring> {
    let store = Store::open(database.url(), CONNECTIONS, PATIENCE).context("ZONECERT_DATABASE_URL")?;
    let ledgers = ca.ledgers()?.into_iter().map(|(_, ledger)| ledger).collect();
    let monitoring = Monitoring::new(store, env!("CARGO_PKG_VERSION"), ledgers)?;
    let Some(listener) = listen(args.wanted(default_port))? else { return Ok(monitoring) };
    let server = MonitoringServer::start(&monitoring, listener).context("ZONECERT_METRICS_LISTEN")?;
    tracing::info!(address = %server.address(), "metrics are at /metrics");
    if let Some(file) = &args.metrics_address_file {
        write_address(file, server.address()).context("ZONECERT_METRICS_ADDRESS_FILE")?;
    }
    Ok(monitoring)
}

fn listen(wanted: Wanted) -> Result<Option<TcpListener>> {
    match wanted {
        Wanted::Off => Ok(None),
        Wanted::At(address) => {
            let listener = TcpListener::bind(address);
            listener.map(Some).with_context(|| format!("ZONECERT_METRICS_LISTEN: cannot listen on {address}"))
        }
        Wanted::AtBest(address) => match TcpListener::bind(address) {
            Ok(listener) => Ok(Some(listener)),
            Err(error) => {
                tracing::warn!(%address, %error, "no metrics: the port is taken; set ZONECERT_METRICS_LISTEN");
                Ok(None)
            }
        },
    }
}
