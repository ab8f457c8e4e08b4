//! A proxy before `PostgreSQL`, which stalls and cuts connections.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Postgres;
use crate::keeper::{self, Task};

/// What goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Everything.
    Flows,
    /// Nothing, in either direction; nobody is told.
    Stalls,
    /// Nothing: every connection is cut, and so is each new one.
    Cut,
}

/// Listens until it is dropped.
pub struct DatabaseProxy {
    port: u16,
    _task: Task,
    state: watch::Sender<State>,
}

/// A connection of an older generation is cut.
#[derive(Clone, Copy)]
struct State {
    traffic: Traffic,
    generation: u64,
}

impl DatabaseProxy {
    /// Stands before this server, on a port of its own.
    pub async fn before(postgres: &Postgres) -> Result<Self> {
        let listener =
            keeper::run(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).await?.context("the proxy before PostgreSQL cannot listen")?;
        let port = listener.local_addr()?.port();
        let (state, seen) = watch::channel(State { traffic: Traffic::Flows, generation: 0 });
        let task = keeper::start_task(accept(listener, (Ipv4Addr::LOCALHOST, postgres.port()).into(), seen))?;
        Ok(Self { port, _task: task, state })
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on this goes through.
    pub fn set(&self, traffic: Traffic) {
        self.state.send_modify(|state| {
            state.traffic = traffic;
            state.generation += u64::from(traffic == Traffic::Cut);
        });
    }

    /// Cuts every connection that there is; new ones are let through.
    pub fn cut_once(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: watch::Receiver<State>) {
    // Connections are tasks of this set, so they end with the listener.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                connections.spawn(carry(client, server, state.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(client: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) {
    let begun = *state.borrow_and_update();
    if begun.traffic == Traffic::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pump(from_client, to_server, state.clone()) => {}
        () = pump(from_server, to_client, state.clone()) => {}
        _ = state.wait_for(|state| state.generation > begun.generation) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| state.traffic != Traffic::Stalls).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
