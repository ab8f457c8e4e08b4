//! Loopback ports: the same as last time where they are still free, else random ones.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};

use crate::layout::{self, Layout};

/// Below the range that Linux hands out by itself (32768 and up), so that no outgoing connection or `bind` to port 0 can take a port
/// between our look and the start of the process it is meant for.
const RANGE: std::ops::Range<u16> = 20_000..32_768;

pub(crate) struct Ports {
    file: PathBuf,
    chosen: Mutex<BTreeMap<String, u16>>,
}

impl Ports {
    pub(crate) fn load(layout: &Layout) -> Result<Self> {
        let file = layout.root().join("ports.json");
        let chosen = Mutex::new(layout::find_json(&file)?.unwrap_or_default());
        Ok(Self { file, chosen })
    }

    /// A port that is free for TCP and UDP on 127.0.0.1 just now.
    pub(crate) fn pick(&self, name: &str) -> Result<u16> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let as_before = chosen.remove(name).filter(|port| is_free(*port));
        let port = as_before
            .or_else(|| {
                let candidates = (0..1000).map(|_| rand::random_range(RANGE));
                candidates.into_iter().find(|port| !chosen.values().any(|taken| taken == port) && is_free(*port))
            })
            .with_context(|| format!("no free loopback port between {} and {} for {name}", RANGE.start, RANGE.end))?;
        chosen.insert(name.to_owned(), port);
        layout::write_json(&self.file, &*chosen)?;
        Ok(port)
    }

    /// Drops a port that proved taken, so that the next [`Ports::pick`] answers another one.
    pub(crate) fn forget(&self, part: &str) {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Whether `error` (with the log lines it quotes) says that another process took the port in between.
pub(crate) fn says_port_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").to_lowercase().contains("address already in use")
}
