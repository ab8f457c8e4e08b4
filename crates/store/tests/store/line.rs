//! The way to the server, which can be interrupted.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use zonecert_store::Store;

use crate::database::{Database, Role};

/// A line to the server that can be cut, as when the server stops or a firewall forgets.
pub(crate) struct Line {
    address: SocketAddr,
    server: SocketAddr,
    carrier: Option<JoinHandle<()>>,
}

impl Line {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, server) = (listener.local_addr().unwrap(), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Self { address, server, carrier: Some(tokio::spawn(carry(listener, server))) }
    }

    pub(crate) fn store(&self, database: &Database, connections: u32, patience: Duration) -> Store {
        let url = database.url(Role::Api).replace(&format!(":{}/", self.server.port()), &format!(":{}/", self.address.port()));
        Store::open(&url, connections, patience).unwrap()
    }

    /// Ends every connection and takes no new one.
    pub(crate) async fn cut(&mut self) {
        let carrier = self.carrier.take().unwrap();
        carrier.abort();
        assert!(carrier.await.unwrap_err().is_cancelled());
    }

    pub(crate) async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.carrier = Some(tokio::spawn(carry(listener, self.server)));
    }
}

async fn carry(listener: TcpListener, server: SocketAddr) {
    let mut links = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        links.spawn(async move {
            let mut far = TcpStream::connect(server).await.unwrap();
            // Whatever ends the one side ends the other.
            drop(copy_bidirectional(&mut near, &mut far).await);
        });
    }
}
