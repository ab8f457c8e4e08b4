//! Connections that many questions use at the same time: each is sent when it is asked, without waiting for the answers to those before (pipelining).
//!
//! Only for questions that are one short statement and change nothing. Such a statement is a transaction of its own, so that none is in the way of another,
//! and one that was lost with its connection is asked again.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use crate::{Connection, StoreError, pool};

/// More would be no faster: each is one process of `PostgreSQL`.
const MOST: usize = 8;

/// As many connections as there are cores. A thread uses the same one each time, so that it speaks to the database without waking another thread.
pub(crate) struct SharedConnections {
    slots: Box<[Slot]>,
}

#[derive(Default)]
struct Slot {
    connection: Mutex<Option<Arc<Connection>>>,
    /// Held by whoever connects, so that nobody else does.
    connecting: tokio::sync::Mutex<()>,
}

impl SharedConnections {
    /// None is opened before it is needed.
    pub(crate) fn new() -> Self {
        let number = available_parallelism().map_or(1, NonZeroUsize::get).min(MOST);
        Self { slots: (0..number).map(|_| Slot::default()).collect() }
    }

    /// The connection of this thread, opened anew unless it is there. Waited for up to `patience`.
    pub(crate) async fn get(&self, url: &str, patience: Duration) -> Result<Arc<Connection>, StoreError> {
        let slot = self.slot();
        if let Some(connection) = slot.find() {
            return Ok(connection);
        }
        let connect = async {
            let _turn = slot.connecting.lock().await;
            if let Some(connection) = slot.find() {
                return Ok(connection);
            }
            let connection = Arc::new(pool::connect(url).await?);
            *slot.lock() = Some(Arc::clone(&connection));
            Ok(connection)
        };
        let late = |_| StoreError::Unavailable("the database did not answer in time".to_owned());
        tokio::time::timeout(patience, connect).await.map_err(late)?
    }

    /// Uses this connection no more: it is lost.
    pub(crate) fn discard(&self, lost: &Arc<Connection>) {
        for slot in &self.slots {
            slot.lock().take_if(|connection| Arc::ptr_eq(connection, lost));
        }
    }

    fn slot(&self) -> &Slot {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static THREAD: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed)));
        &self.slots[THREAD.get() % self.slots.len()]
    }
}

impl Slot {
    fn find(&self) -> Option<Arc<Connection>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Connection>>> {
        // Whoever panicked while holding it has left a connection or none.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
