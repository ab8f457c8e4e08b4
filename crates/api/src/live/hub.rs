//! Who in this process waits for the events of which account.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use zonecert_domain::id::AccountId;

/// Wakes the streams of an account. Says only that there may be something new: what it is, each stream reads for itself, as fast as its client takes it.
pub(crate) struct Hub {
    streams_per_account: usize,
    accounts: Mutex<HashMap<AccountId, Waiting>>,
    closed: watch::Sender<bool>,
}

struct Waiting {
    news: watch::Sender<()>,
    streams: usize,
}

/// A stream's place. Given up when it is dropped.
pub(crate) struct Seat {
    hub: Arc<Hub>,
    account: AccountId,
    news: watch::Receiver<()>,
}

impl Hub {
    pub(crate) fn new(streams_per_account: usize) -> Self {
        Self { streams_per_account, accounts: Mutex::default(), closed: watch::channel(false).0 }
    }

    /// A place for one stream more, unless the account has as many as it may.
    pub(crate) fn join(self: &Arc<Self>, account: AccountId) -> Option<Seat> {
        let mut accounts = self.lock();
        let waiting = accounts.entry(account).or_insert_with(|| Waiting { news: watch::channel(()).0, streams: 0 });
        if waiting.streams >= self.streams_per_account {
            return None;
        }
        waiting.streams += 1;
        Some(Seat { hub: Arc::clone(self), account, news: waiting.news.subscribe() })
    }

    /// Wakes the streams of this account.
    pub(crate) fn wake(&self, account: AccountId) {
        if let Some(waiting) = self.lock().get(&account) {
            waiting.news.send_replace(());
        }
    }

    /// Wakes all streams: announcements may have been missed.
    pub(crate) fn wake_all(&self) {
        self.lock().values().for_each(|waiting| waiting.news.send_replace(()));
    }

    /// Ends all streams, for the process ends. Their clients connect anew, to another.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Returns when the process is about to end.
    pub(crate) async fn until_closed(&self) {
        // The sender is here, so that this ends by the value alone.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Waiting>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Returns when there may be something new since the last call.
    pub(crate) async fn news(&mut self) {
        // The sender lives as long as this place.
        let _ = self.news.changed().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut accounts = self.hub.lock();
        if let Some(waiting) = accounts.get_mut(&self.account) {
            waiting.streams -= 1;
            if waiting.streams == 0 {
                accounts.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_account_has_so_many_places_and_gets_them_back() {
        let hub = Arc::new(Hub::new(2));
        let (account, other) = (AccountId::new(), AccountId::new());
        let (one, two) = (hub.join(account), hub.join(account));
        assert!(one.is_some() && two.is_some() && hub.join(account).is_none());
        assert!(hub.join(other).is_some());
        drop(one);
        assert!(hub.join(account).is_some());
        drop(two);
        assert!(hub.lock().is_empty());
    }

    #[tokio::test]
    async fn only_the_streams_of_the_account_are_woken_once_for_any_number_of_events() {
        let hub = Arc::new(Hub::new(2));
        let (account, other) = (AccountId::new(), AccountId::new());
        let (mut mine, mut theirs) = (hub.join(account).unwrap(), hub.join(other).unwrap());
        assert!(mine.news().now_or_never().is_none());
        hub.wake(account);
        hub.wake(account);
        mine.news().await;
        assert!(mine.news().now_or_never().is_none());
        assert!(theirs.news().now_or_never().is_none());
        hub.wake_all();
        mine.news().await;
        theirs.news().await;
    }

    #[tokio::test]
    async fn closing_is_seen_by_whoever_looks_before_or_after() {
        let hub = Arc::new(Hub::new(2));
        let mut early = Box::pin(hub.until_closed());
        assert!(early.as_mut().now_or_never().is_none());
        hub.close();
        early.await;
        hub.until_closed().await;
    }
}
