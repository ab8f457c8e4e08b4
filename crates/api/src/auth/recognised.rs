//! What was recognised a moment ago: callers by their API token, so that a program that reads much costs one look-up of its credential for many
//! requests, and polls of downloads (`docs/adr/0015-recognised-callers.md`).
//!
//! Holds no credential, only SHA-256 of them; and only what was accepted, so that a guess is looked up each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use zonecert_domain::id::AccountId;
use zonecert_store::api_tokens::Usable;

/// How long somebody is known without asking the database again: so much later, at the most, a token that is revoked elsewhere has stopped working,
/// and likewise a plan, a suspension, scopes and networks hold that were changed elsewhere. To be well below a second.
pub(crate) const FRESH: Duration = Duration::from_millis(100);

/// Most that are known at a time. Beyond it newcomers are looked up each time.
const MOST: usize = 10_000;

/// Something that the database has accepted.
pub(crate) trait Accepted {
    /// In whose account.
    fn account(&self) -> AccountId;
}

impl Accepted for Usable {
    fn account(&self) -> AccountId {
        self.account.id
    }
}

/// What this process has recognised.
pub(crate) struct Recognised<T> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    known: HashMap<[u8; 32], Known<T>>,
    /// How often something was forgotten: what was asked before is not kept after.
    forgotten: u64,
}

struct Known<T> {
    accepted: Arc<T>,
    asked_at: Instant,
}

/// What is to be had before the database is asked, and to be given back with its answer.
pub(crate) struct Question {
    asked_at: Instant,
    forgotten: u64,
}

impl Recognised<Usable> {
    /// Whose token this is, if it was looked up a moment ago and may be used now and from here.
    pub(crate) fn find_caller(&self, sha256: &[u8; 32], address: IpAddr, now: Instant, time: DateTime<Utc>) -> Option<Arc<Usable>> {
        let usable = self.find(sha256, now)?;
        let usable_now = usable.token.expires_at.is_none_or(|at| at > time) && usable.token.is_usable_from(address);
        usable_now.then_some(usable)
    }
}

impl<T: Accepted> Recognised<T> {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new(Inner { known: HashMap::new(), forgotten: 0 }) }
    }

    /// What was accepted a moment ago.
    pub(crate) fn find(&self, sha256: &[u8; 32], now: Instant) -> Option<Arc<T>> {
        self.lock().known.get(sha256).filter(|known| known.is_fresh(now)).map(|known| Arc::clone(&known.accepted))
    }

    /// To be called before the database is asked.
    pub(crate) fn ask(&self, now: Instant) -> Question {
        Question { asked_at: now, forgotten: self.lock().forgotten }
    }

    /// Keeps what the database has answered, unless something was forgotten meanwhile.
    pub(crate) fn keep(&self, question: &Question, sha256: [u8; 32], accepted: Arc<T>) {
        let mut inner = self.lock();
        if inner.forgotten != question.forgotten {
            return;
        }
        if inner.known.len() >= MOST {
            inner.known.retain(|_, known| known.is_fresh(question.asked_at));
        }
        if inner.known.len() < MOST || inner.known.contains_key(&sha256) {
            inner.known.insert(sha256, Known { accepted, asked_at: question.asked_at });
        }
    }

    /// Forgets what there is of an account in which something was changed.
    pub(crate) fn forget(&self, account: AccountId) {
        let mut inner = self.lock();
        inner.forgotten += 1;
        inner.known.retain(|_, known| known.accepted.account() != account);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Whoever panicked while holding it has left whole entries.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Known<T> {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked_at) < FRESH
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use zonecert_domain::id::{TokenId, UserId};
    use zonecert_domain::plan::Plan;
    use zonecert_domain::scope::ScopeSet;
    use zonecert_store::accounts::{Account, AccountStatus};
    use zonecert_store::api_tokens::ApiToken;

    use super::*;
    use crate::clock;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));

    /// A second is what is promised; what is asked at the end of it is still to be answered within it.
    const _: () = assert!(FRESH.as_millis() * 2 <= 1_000);

    fn usable(account: AccountId, expires_at: Option<DateTime<Utc>>, networks: &[&str]) -> Arc<Usable> {
        let now = clock::now();
        let account = Account {
            id: account,
            name: "Customer".to_owned(),
            plan: Plan::Plus,
            status: AccountStatus::Active,
            suspended_at: None,
            suspension_note: None,
            deletion_requested_at: None,
            created_at: now,
        };
        let token = ApiToken {
            id: TokenId::new(),
            name: "deploy".to_owned(),
            prefix: "zc_AAAAAA".to_owned(),
            scopes: ScopeSet::all(),
            expires_at,
            last_used_at: None,
            created_at: now,
            cidrs: networks.iter().map(|network| network.parse().unwrap()).collect(),
        };
        Arc::new(Usable { account, token, made_by: UserId::new() })
    }

    fn keep(recognised: &Recognised<Usable>, key: u8, usable: &Arc<Usable>, now: Instant) {
        recognised.keep(&recognised.ask(now), [key; 32], Arc::clone(usable));
    }

    #[test]
    fn a_caller_is_known_for_a_moment_from_when_the_database_was_asked() {
        let (recognised, start, time) = (Recognised::new(), Instant::now(), clock::now());
        keep(&recognised, 1, &usable(AccountId::new(), None, &[]), start);
        let known = |after: Duration| recognised.find_caller(&[1; 32], HERE, start + after, time).is_some();
        assert!(known(Duration::ZERO) && known(FRESH.mul_f32(0.99)));
        assert!(!known(FRESH));
        // Using it makes it no younger.
        assert!(known(FRESH / 2) && !known(FRESH));
        assert!(recognised.find_caller(&[2; 32], HERE, start, time).is_none());
    }

    #[test]
    fn its_end_and_its_networks_are_looked_at_each_time() {
        let (recognised, start, time) = (Recognised::new(), Instant::now(), clock::now());
        let end = time + TimeDelta::milliseconds(10);
        keep(&recognised, 1, &usable(AccountId::new(), Some(end), &["192.0.2.0/24"]), start);
        let known = |address: IpAddr, time: DateTime<Utc>| recognised.find_caller(&[1; 32], address, start, time).is_some();
        assert!(known(HERE, time) && known(HERE, end - TimeDelta::nanoseconds(1)));
        assert!(!known(HERE, end) && !known(THERE, time));
    }

    #[test]
    fn what_is_forgotten_was_not_known_to_anybody_who_asked_before() {
        let (recognised, start, time) = (Recognised::new(), Instant::now(), clock::now());
        let (mine, theirs) = (AccountId::new(), AccountId::new());
        keep(&recognised, 1, &usable(mine, None, &[]), start);
        keep(&recognised, 2, &usable(theirs, None, &[]), start);
        let asked = recognised.ask(start);
        recognised.forget(mine);
        let known = |key: u8| recognised.find_caller(&[key; 32], HERE, start, time).is_some();
        assert!(!known(1) && known(2));
        // The answer to a question of before the change may be of before it, too.
        recognised.keep(&asked, [1; 32], usable(mine, None, &[]));
        assert!(!known(1));
        keep(&recognised, 1, &usable(mine, None, &[]), start);
        assert!(known(1));
    }

    #[test]
    fn memory_is_bounded_and_old_callers_make_room() {
        let (recognised, start, time) = (Recognised::new(), Instant::now(), clock::now());
        let somebody = usable(AccountId::new(), None, &[]);
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            key
        };
        for number in 0..=MOST {
            recognised.keep(&recognised.ask(start), key(number), Arc::clone(&somebody));
        }
        assert_eq!(recognised.lock().known.len(), MOST);
        let later = start + FRESH;
        recognised.keep(&recognised.ask(later), key(MOST), Arc::clone(&somebody));
        assert_eq!(recognised.lock().known.len(), 1);
        assert!(recognised.find_caller(&key(MOST), HERE, later, time).is_some());
    }
}
