//! The server of the port: one thread, apart from those that answer the API.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::{App, HttpServer, web};

use super::{Monitoring, pages};

/// A scrape is answered within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers until the process ends.
pub struct MonitoringServer {
    address: SocketAddr,
}

impl MonitoringServer {
    /// Answers on the listener, which is bound already. Must be called within a tokio runtime. It goes on to the end of the process, so that a stop can be
    /// watched.
    pub fn start(monitoring: &Monitoring, listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let data = web::Data::new(monitoring.clone());
        let factory = move || App::new().app_data(data.clone()).configure(pages::configure);
        let server = HttpServer::new(factory).workers(1).client_request_timeout(PATIENCE).disable_signals().listen(listener)?.run();
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the port of metrics has ended");
            }
        });
        Ok(Self { address })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
