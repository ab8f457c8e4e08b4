//! How many calls an account may make, by its plan, and an address from which nobody is known to call.

use std::num::NonZeroU32;
use std::str::FromStr;

use crate::plan::Plan;

/// So many calls at once, and as many again in so many seconds: a bucket that calls are taken from and that fills evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls in a full bucket.
    pub calls: NonZeroU32,
    /// Seconds in which an empty bucket is full again.
    pub seconds: NonZeroU32,
}

impl Rate {
    const fn new(calls: u32, seconds: u32) -> Self {
        match (NonZeroU32::new(calls), NonZeroU32::new(seconds)) {
            (Some(calls), Some(seconds)) => Self { calls, seconds },
            _ => Self { calls: NonZeroU32::MIN, seconds: NonZeroU32::MIN },
        }
    }
}

/// The rates of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// An account on the plan Free.
    pub free: Rate,
    /// On Plus.
    pub plus: Rate,
    /// On Pro.
    pub pro: Rate,
    /// On Elite.
    pub elite: Rate,
    /// A subscriber's network ([`crate::network::Network::of_subscriber`]): calls that need no credential, and, apart from them, credentials that were
    /// not accepted.
    pub address: Rate,
}

impl Default for RateLimits {
    /// Every paid plan can have 50 requests under way at once, and as many again.
    fn default() -> Self {
        Self {
            free: Rate::new(50, 10),
            plus: Rate::new(100, 10),
            pro: Rate::new(150, 10),
            elite: Rate::new(200, 10),
            address: Rate::new(400, 20),
        }
    }
}

impl RateLimits {
    /// The rate of an account.
    pub const fn of(&self, plan: Plan) -> Rate {
        match plan {
            Plan::Free => self.free,
            Plan::Plus => self.plus,
            Plan::Pro => self.pro,
            Plan::Elite => self.elite,
        }
    }
}

/// A text that does not say rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give calls and the seconds for as many again, for free, plus, pro, elite and address, as in elite=200/10,address=400/20; or off")]
pub struct RateLimitsError;

impl FromStr for RateLimits {
    type Err = RateLimitsError;

    /// Reads `elite=200/10,address=400/20`; what is not named keeps its default.
    fn from_str(text: &str) -> Result<Self, RateLimitsError> {
        let mut limits = Self::default();
        for part in text.split(',') {
            let (name, rate) = part.trim().split_once('=').ok_or(RateLimitsError)?;
            let rate = parse_rate(rate).ok_or(RateLimitsError)?;
            match name {
                "free" => limits.free = rate,
                "plus" => limits.plus = rate,
                "pro" => limits.pro = rate,
                "elite" => limits.elite = rate,
                "address" => limits.address = rate,
                _ => return Err(RateLimitsError),
            }
        }
        Ok(limits)
    }
}

fn parse_rate(text: &str) -> Option<Rate> {
    let (calls, seconds) = text.split_once('/')?;
    let calls = calls.parse::<NonZeroU32>().ok().filter(|calls| calls.get() <= 1_000_000)?;
    let seconds = seconds.parse::<NonZeroU32>().ok().filter(|seconds| seconds.get() <= 86_400)?;
    Some(Rate { calls, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_plan_allows_more_and_every_paid_one_fifty_calls_at_once_twice() {
        let limits = RateLimits::default();
        for pair in Plan::ALL.windows(2) {
            let (smaller, larger) = (limits.of(pair[0]), limits.of(pair[1]));
            assert!(smaller.calls < larger.calls && smaller.seconds == larger.seconds, "{pair:?}");
            assert!(larger.calls.get() >= 100, "{pair:?}");
        }
    }

    #[test]
    fn rates_are_read_and_the_others_keep_their_default() {
        let default = RateLimits::default();
        assert_eq!("free=50/10,plus=100/10,pro=150/10,elite=200/10,address=400/20".parse(), Ok(default));
        let changed = RateLimits { elite: Rate::new(1, 86_400), address: Rate::new(1_000_000, 3), ..default };
        assert_eq!("elite=1/86400, address=1000000/3".parse(), Ok(changed));
        for text in [
            "",
            "off",
            "elite",
            "elite=5",
            "elite=0/5",
            "elite=5/0",
            "elite=1000001/5",
            "elite=5/86401",
            "gold=5/60",
            "elite=5/60,",
            "elite=5/6/7",
        ] {
            assert_eq!(text.parse::<RateLimits>(), Err(RateLimitsError), "{text}");
        }
    }
}
