//! What a CA allows in a time, how much of it is used, and when there is room again (requirements section 6). The numbers are those of Let's Encrypt,
//! August 2026.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);

/// What is spent is kept on record for a little longer.
const LONGEST_WINDOW: Duration = WEEK;

/// An account goes on while it has used less than so many times what is left for all: something is left for whoever comes next, however much one asks for.
const SHARE: u32 = 3;

/// So many in so long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaLimit {
    /// What is counted.
    pub kind: CaLimitKind,
    /// How many.
    pub most: u32,
    /// In how long.
    pub window: Duration,
}

/// What a CA counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaLimitKind {
    /// New orders, by one account at the CA: ours.
    Order,
    /// Certificates for new sets of names under one registered domain.
    RegisteredDomain,
    /// Certificates for exactly the same names.
    ExactNames,
    /// Authorizations of one name that failed.
    FailedAuthorization,
}

impl CaLimitKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Order, Self::RegisteredDomain, Self::ExactNames, Self::FailedAuthorization];

    /// The name in the API, in settings and in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::RegisteredDomain => "registered_domain",
            Self::ExactNames => "exact_names",
            Self::FailedAuthorization => "failed_authorization",
        }
    }

    /// How much of it Let's Encrypt allows.
    pub const fn limit(self) -> CaLimit {
        let (most, window) = match self {
            Self::Order => (300, HOUR.saturating_mul(3)),
            Self::RegisteredDomain => (50, WEEK),
            Self::ExactNames => (5, WEEK),
            Self::FailedAuthorization => (5, HOUR),
        };
        CaLimit { kind: self, most, window }
    }
}

/// What one CA allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaLimits([Option<CaLimit>; 4]);

impl Default for CaLimits {
    /// Those of Let's Encrypt.
    fn default() -> Self {
        Self(CaLimitKind::ALL.map(|kind| Some(kind.limit())))
    }
}

impl CaLimits {
    /// Of a CA that limits nothing.
    pub const OFF: Self = Self([None; 4]);

    /// The limit of this kind, where there is one.
    pub fn get(&self, kind: CaLimitKind) -> Option<CaLimit> {
        self.0.into_iter().flatten().find(|limit| limit.kind == kind)
    }
}

/// A text that does not say limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "give how many in so many seconds, up to 604800, for order, registered_domain, exact_names and failed_authorization, as in order=300/10800,exact_names=off; or off"
)]
pub struct CaLimitsError;

impl FromStr for CaLimits {
    type Err = CaLimitsError;

    /// Reads `order=300/10800,exact_names=off`; what is not named keeps its default. `off` is no limit at all.
    fn from_str(text: &str) -> Result<Self, CaLimitsError> {
        if text.trim() == "off" {
            return Ok(Self::OFF);
        }
        let mut limits = Self::default();
        for part in text.split(',') {
            let (name, limit) = part.trim().split_once('=').ok_or(CaLimitsError)?;
            let index = CaLimitKind::ALL.iter().position(|kind| kind.as_str() == name).ok_or(CaLimitsError)?;
            limits.0[index] = match limit {
                "off" => None,
                limit => Some(parse_limit(CaLimitKind::ALL[index], limit).ok_or(CaLimitsError)?),
            };
        }
        Ok(limits)
    }
}

fn parse_limit(kind: CaLimitKind, text: &str) -> Option<CaLimit> {
    let (most, seconds) = text.split_once('/')?;
    let most = most.parse().ok().filter(|most| (1..=1_000_000).contains(most))?;
    let window = Duration::from_secs(seconds.parse().ok()?);
    (Duration::ZERO < window && window <= LONGEST_WINDOW).then_some(CaLimit { kind, most, window })
}

impl fmt::Display for CaLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in CaLimitKind::ALL.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match self.get(kind) {
                Some(limit) => write!(f, "{comma}{}={}/{}", kind.as_str(), limit.most, limit.window.as_secs())?,
                None => write!(f, "{comma}{}=off", kind.as_str())?,
            }
        }
        Ok(())
    }
}

/// One use of what is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaUse {
    /// When.
    pub at: DateTime<Utc>,
    /// Whether by the account that asks.
    pub ours: bool,
}

/// When an account may use what is limited once more, `ahead` others of its own having done so before; none where that is now. The CA's limit holds for all
/// accounts together. Of orders, and of a registered domain that others use as well, an account has no more than its share: it goes on while it has used less
/// than three times what is left.
pub fn room_at(limit: CaLimit, uses: &[CaUse], ahead: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut counted: Vec<CaUse> = uses.iter().copied().filter(|one| one.at + limit.window > now).collect();
    counted.sort_unstable_by_key(|one| one.at);
    let shared = match limit.kind {
        CaLimitKind::Order => true,
        CaLimitKind::RegisteredDomain => counted.iter().any(|one| !one.ours),
        CaLimitKind::ExactNames | CaLimitKind::FailedAuthorization => false,
    };
    let mut ours = count(counted.iter().filter(|one| one.ours).count());
    for gone in 0..=counted.len() {
        if gone > 0 && counted[gone - 1].ours {
            ours -= 1;
        }
        let left = limit.most.saturating_sub(count(counted.len() - gone)).saturating_sub(ahead);
        let within_share = !shared || ours.saturating_add(ahead) < left.saturating_mul(SHARE);
        if left > 0 && within_share {
            return gone.checked_sub(1).map(|last| counted[last].at + limit.window);
        }
    }
    // So many of ours are ahead that all of it is used up once more before.
    Some(now + limit.window)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// How much of a limit is used, by all tenants together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaBudget {
    /// The limit.
    pub limit: CaLimit,
    /// The registered domain or the name that it is about; none where it is our account at the CA or exactly these names.
    pub subject: Option<String>,
    /// How many were used in the time up to now.
    pub used: u32,
    /// When there is room for the account that asks, where there is none now.
    pub free_at: Option<DateTime<Utc>>,
}

impl CaBudget {
    /// How many are left, for all together.
    pub const fn remaining(&self) -> u32 {
        self.limit.most.saturating_sub(self.used)
    }
}

/// What a CA's refusal to take more is about, as far as its words tell (RFC 8555 §6.6 has none for programs). `names` are those of the order and their
/// registered domains.
pub fn limited_kind<'a>(detail: &str, names: impl IntoIterator<Item = &'a str>) -> Option<(CaLimitKind, Option<&'a str>)> {
    let detail = detail.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    let quoted = || names.into_iter().find(|name| detail.contains(&format!("\"{name}\"")) || detail.contains(&format!("'{name}'")));
    if says(&["exact set", "duplicate certificate"]) {
        Some((CaLimitKind::ExactNames, None))
    } else if says(&["failed authorization", "failed validation"]) {
        quoted().map(|name| (CaLimitKind::FailedAuthorization, Some(name)))
    } else if says(&["certificates"]) {
        quoted().map(|name| (CaLimitKind::RegisteredDomain, Some(name)))
    } else if says(&["new orders"]) {
        Some((CaLimitKind::Order, None))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn uses(ours: &[i64], others: &[i64]) -> Vec<CaUse> {
        let of = |moments: &[i64], ours| moments.iter().map(move |&seconds| CaUse { at: at(seconds), ours }).collect::<Vec<_>>();
        [of(ours, true), of(others, false)].concat()
    }

    #[test]
    fn the_limits_are_those_of_the_requirements() {
        let hours = CaLimitKind::ALL.map(|kind| (kind.limit().most, kind.limit().window.as_secs() / 3600));
        assert_eq!(hours, [(300, 3), (50, 168), (5, 168), (5, 1)]);
        let default = "order=300/10800,registered_domain=50/604800,exact_names=5/604800,failed_authorization=5/3600";
        assert_eq!(CaLimits::default().to_string(), default);
        assert_eq!(default.parse(), Ok(CaLimits::default()));
    }

    #[test]
    fn limits_are_read_and_those_not_named_keep_their_default() {
        let changed: CaLimits = "order=10/60, exact_names=off".parse().unwrap();
        assert_eq!(changed.get(CaLimitKind::Order).map(|limit| (limit.most, limit.window.as_secs())), Some((10, 60)));
        assert_eq!(changed.get(CaLimitKind::ExactNames), None);
        assert_eq!(changed.get(CaLimitKind::RegisteredDomain), Some(CaLimitKind::RegisteredDomain.limit()));
        assert_eq!("off".parse(), Ok(CaLimits::OFF));
        assert_eq!(changed.to_string().parse(), Ok(changed));
        for text in
            ["", "order", "order=", "order=5", "order=0/5", "order=5/0", "order=5/604801", "orders=5/60", "order=5/60,", "order=-1/5"]
        {
            assert_eq!(text.parse::<CaLimits>(), Err(CaLimitsError), "{text}");
        }
    }

    #[test]
    fn more_than_all_leaves_nothing() {
        let budget = |used| CaBudget { limit: CaLimitKind::ExactNames.limit(), subject: None, used, free_at: None };
        assert_eq!([0, 4, 5, 9].map(|used| budget(used).remaining()), [5, 1, 0, 0]);
    }

    #[test]
    fn there_is_room_again_when_the_oldest_use_is_no_longer_counted() {
        let limit = CaLimitKind::ExactNames.limit();
        let week = 604_800;
        assert_eq!(room_at(limit, &uses(&[-4, -3, -2, -1], &[]), 0, at(0)), None);
        assert_eq!(room_at(limit, &uses(&[-5, -4, -3, -2, -1], &[]), 0, at(0)), Some(at(week - 5)));
        assert_eq!(room_at(limit, &uses(&[-6, -5, -4, -3, -2, -1], &[]), 0, at(0)), Some(at(week - 5)));
        assert_eq!(room_at(limit, &uses(&[-week, -4, -3, -2, -1], &[]), 0, at(0)), None);
        // Whoever waits behind one of the same account waits for the next that is free.
        assert_eq!(room_at(limit, &uses(&[-5, -4, -3, -2, -1], &[]), 1, at(0)), Some(at(week - 4)));
        assert_eq!(room_at(limit, &uses(&[-5], &[]), 9, at(0)), Some(at(week)));
    }

    #[test]
    fn one_account_leaves_a_share_to_the_others() {
        let limit = CaLimitKind::Order.limit();
        let many = |count: i64| (1..=count).map(|second| -second).collect::<Vec<_>>();
        assert_eq!(room_at(limit, &uses(&many(224), &[]), 0, at(0)), None);
        assert!(room_at(limit, &uses(&many(225), &[]), 0, at(0)).is_some());
        // Whoever comes next is not held up by it, and the CA's limit holds for all.
        assert_eq!(room_at(limit, &uses(&[], &many(299)), 0, at(0)), None);
        assert!(room_at(limit, &uses(&[], &many(300)), 0, at(0)).is_some());
        // A registered domain that nobody else uses is wholly its own.
        let domain = CaLimitKind::RegisteredDomain.limit();
        assert_eq!(room_at(domain, &uses(&many(49), &[]), 0, at(0)), None);
        assert!(room_at(domain, &uses(&many(48), &[-1]), 0, at(0)).is_some());
    }

    proptest! {
        #[test]
        fn at_the_moment_that_is_told_there_is_room(
            kind in proptest::sample::select(CaLimitKind::ALL.to_vec()), most in 1..20_u32, ours in proptest::collection::vec(-99..0_i64, 0..30),
            others in proptest::collection::vec(-99..0_i64, 0..30),
        ) {
            let limit = CaLimit { kind, most, window: Duration::from_mins(1) };
            let uses = uses(&ours, &others);
            if let Some(moment) = room_at(limit, &uses, 0, at(0)) {
                prop_assert!(moment > at(0) && moment <= at(60));
                prop_assert_eq!(room_at(limit, &uses, 0, moment), None);
            }
        }
    }

    #[test]
    fn the_words_of_a_refusal_say_what_it_is_about() {
        let names = ["www.example.com", "example.com"];
        let kind = |detail: &str| limited_kind(detail, names);
        assert_eq!(kind("too many new orders (300) from this account in the last 3h0m0s"), Some((CaLimitKind::Order, None)));
        let domain = "too many certificates (50) already issued for \"example.com\" in the last 168h0m0s";
        assert_eq!(kind(domain), Some((CaLimitKind::RegisteredDomain, Some("example.com"))));
        let exact = "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s";
        assert_eq!(kind(exact), Some((CaLimitKind::ExactNames, None)));
        let failed = "too many failed authorizations (5) for \"www.example.com\" in the last 1h0m0s";
        assert_eq!(kind(failed), Some((CaLimitKind::FailedAuthorization, Some("www.example.com"))));
        assert_eq!(kind("too many certificates (50) already issued for \"other.com\""), None);
        assert_eq!(kind("Service busy; retry later."), None);
    }
}
