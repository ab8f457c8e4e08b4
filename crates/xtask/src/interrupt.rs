//! Ctrl-C and SIGTERM.

use std::future::Future;

use anyhow::{Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::report::say;

/// The error of what was not finished because of a signal.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Listens from its making on: a signal then no longer ends the process by itself.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Does `work`, or drops it at a signal: what it holds is then ended in order.
    pub(crate) async fn unless<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = Box::pin(work);
        tokio::select! {
            result = &mut work => return result,
            () = self.wait() => {}
        }
        say("interrupted");
        drop(work);
        bail!(Interrupted)
    }
}
