//! The HTTP server.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::{HttpServer, web};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::live::listen;
use crate::{routes, trace};

/// A server that answers requests until it is stopped.
pub struct Server {
    address: SocketAddr,
    app: Arc<App>,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Answers on the listener, which is bound already, so that port 0 gives a free one. Must be called within a tokio runtime.
    ///
    /// Signals are left to the caller. TLS is the reverse proxy's.
    pub fn start(app: Arc<App>, listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (threads, patience, dashboard) = (app.settings.threads, app.settings.stop_patience, app.settings.dashboard);
        let data = web::Data::from(Arc::clone(&app));
        let factory = move || {
            actix_web::App::new()
                .app_data(data.clone())
                .configure(routes::configure)
                .configure(|config| {
                    if dashboard {
                        zonecert_dashboard::configure(config);
                    }
                })
                .wrap(NormalizePath::trim())
                .wrap(from_fn(trace::observe))
        };
        let server =
            HttpServer::new(factory).workers(threads.get()).shutdown_timeout(patience.as_secs()).disable_signals().listen(listener)?.run();
        let handle = server.handle();
        tokio::spawn(listen::run(Arc::clone(&app)));
        Ok(Self { address, app, handle, task: tokio::spawn(server) })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the server has ended. It ends by itself only when it cannot go on.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.task).await.map_err(io::Error::other)?
    }

    /// Accepts nothing more, ends live streams, lets other running requests end, and returns when the last has.
    pub async fn stop(mut self) -> io::Result<()> {
        self.app.live.close();
        self.handle.stop(true).await;
        self.ended().await
    }
}
