//! Buckets of tokens, one for each caller, in memory: a call takes a token, and tokens come back with time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zonecert_domain::rate_limit::Rate;

/// Most buckets that are not full. Beyond it newcomers are not counted: what is short then is memory, and not for one of them.
const MOST: usize = 100_000;

/// As often, at most, full buckets are looked for when there is no room.
const SWEEP: Duration = Duration::from_secs(1);

/// How large a bucket is, and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// How long a token takes to come back.
    pub(crate) token: Duration,
    /// Tokens in a full bucket.
    pub(crate) burst: u32,
}

impl From<Rate> for Quota {
    fn from(rate: Rate) -> Self {
        Self { token: Duration::from_secs(rate.seconds.get().into()) / rate.calls.get(), burst: rate.calls.get() }
    }
}

impl Quota {
    fn whole(self) -> Duration {
        self.token * self.burst
    }
}

/// A bucket for each key. A full one takes no room.
pub(crate) struct Buckets<K> {
    inner: Mutex<Inner<K>>,
}

struct Inner<K> {
    /// When each bucket will be full again, if nobody takes any more (a generic cell rate algorithm).
    full_at: HashMap<K, Instant>,
    swept_at: Option<Instant>,
}

/// How a bucket is after a token was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// Tokens that are left.
    pub(crate) remaining: u32,
    /// How long until it is full again.
    pub(crate) full_in: Duration,
}

/// The bucket is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Empty {
    /// How long until there is a token again.
    pub(crate) wait: Duration,
    /// How long until it is full again.
    pub(crate) full_in: Duration,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new(Inner { full_at: HashMap::new(), swept_at: None }) }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&self, key: K, quota: impl Into<Quota>, now: Instant) -> Result<Level, Empty> {
        let quota = quota.into();
        let (token, whole) = (quota.token, quota.whole());
        let mut inner = self.lock();
        let full_in = inner.full_at.get(&key).map_or(Duration::ZERO, |at| at.saturating_duration_since(now)) + token;
        if full_in > whole {
            return Err(Empty { wait: full_in.saturating_sub(whole), full_in: full_in.saturating_sub(token) });
        }
        if inner.has_room(&key, now) {
            inner.full_at.insert(key, now + full_in);
        }
        Ok(Level { remaining: tokens(whole.saturating_sub(full_in), token), full_in })
    }

    /// How long until there is a token; takes none.
    pub(crate) fn wait(&self, key: &K, quota: impl Into<Quota>, now: Instant) -> Option<Duration> {
        let quota = quota.into();
        let full_in = self.lock().full_at.get(key).map_or(Duration::ZERO, |at| at.saturating_duration_since(now)) + quota.token;
        full_in.checked_sub(quota.whole()).filter(|wait| !wait.is_zero())
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        // Whoever panicked while holding it has left whole entries.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Inner<K> {
    fn has_room(&mut self, key: &K, now: Instant) -> bool {
        if self.full_at.len() < MOST || self.full_at.contains_key(key) {
            return true;
        }
        if self.swept_at.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP) {
            self.swept_at = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        self.full_at.len() < MOST
    }
}

fn tokens(time: Duration, token: Duration) -> u32 {
    u32::try_from(time.as_nanos() / token.as_nanos().max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(calls: u32, seconds: u32) -> Rate {
        Rate { calls: calls.try_into().unwrap(), seconds: seconds.try_into().unwrap() }
    }

    #[test]
    fn a_burst_is_let_through_and_then_as_many_as_come_back() {
        let (buckets, rate, start) = (Buckets::new(), rate(3, 30), Instant::now());
        for remaining in [2, 1, 0] {
            assert_eq!(buckets.take("a", rate, start).unwrap().remaining, remaining);
        }
        let empty = Empty { wait: Duration::from_secs(10), full_in: Duration::from_secs(30) };
        assert_eq!(buckets.take("a", rate, start), Err(empty));
        // Whoever is refused loses nothing by asking.
        assert_eq!(buckets.take("a", rate, start), Err(empty));
        assert_eq!(buckets.wait(&"a", rate, start), Some(empty.wait));
        let later = start + Duration::from_secs(10);
        assert_eq!(buckets.wait(&"a", rate, later), None);
        assert_eq!(buckets.take("a", rate, later).unwrap().remaining, 0);
        assert!(buckets.take("a", rate, later).is_err());
        assert_eq!(buckets.take("b", rate, later).unwrap().remaining, 2);
        let much_later = start + Duration::from_mins(10);
        assert_eq!(buckets.take("a", rate, much_later), Ok(Level { remaining: 2, full_in: Duration::from_secs(10) }));
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_loses_no_token() {
        let (buckets, rate, start) = (Buckets::new(), rate(999, 7), Instant::now());
        assert_eq!((0..2_000).filter(|_| buckets.take((), rate, start).is_ok()).count(), 999);
        let (buckets, fast) = (Buckets::new(), self::rate(1_000_000, 1));
        assert_eq!(buckets.take((), fast, start).unwrap().remaining, 999_999);
    }

    #[test]
    fn memory_is_bounded_and_full_buckets_make_room() {
        let (buckets, rate, start) = (Buckets::new(), rate(2, 2), Instant::now());
        for key in 0..MOST {
            buckets.take(key, rate, start).unwrap();
        }
        // No room: the newcomer is let through, and those that are known are counted on.
        for _ in 0..5 {
            assert_eq!(buckets.take(MOST, rate, start).unwrap().remaining, 1);
        }
        buckets.take(0, rate, start).unwrap();
        assert!(buckets.take(0, rate, start).is_err());
        assert_eq!(buckets.lock().full_at.len(), MOST);
        let later = start + Duration::from_millis(1_500);
        buckets.take(MOST, rate, later).unwrap();
        assert_eq!(buckets.take(MOST, rate, later).unwrap().remaining, 0);
        assert_eq!(buckets.lock().full_at.len(), 2);
    }
}
