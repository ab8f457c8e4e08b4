//! How guessing at sign-ins is slowed down: a few failures are free, each one after them doubles the wait.

use std::str::FromStr;
use std::time::Duration;

/// One failure is forgotten each time that this long has passed since the last.
pub const FORGET_ONE_AFTER: Duration = Duration::from_mins(10);

/// How many failures are free, and how long the longest wait is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuessLimit {
    /// Failures that cost no wait.
    pub free: u32,
    /// No wait is longer.
    pub longest_wait: Duration,
}

/// The limits of sign-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInLimits {
    /// For an e-mail address, whether anybody has it or not. Short, so that nobody can lock somebody else out.
    pub email: GuessLimit,
    /// For a subscriber's network ([`crate::network::Network::of_subscriber`]).
    pub address: GuessLimit,
}

impl Default for SignInLimits {
    fn default() -> Self {
        Self {
            email: GuessLimit { free: 5, longest_wait: Duration::from_mins(1) },
            address: GuessLimit { free: 20, longest_wait: Duration::from_mins(15) },
        }
    }
}

impl GuessLimit {
    /// How long the next try has to wait after so many failures: 1 s after the first that is not free, then twice as long each.
    pub fn wait(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            None | Some(0) => Duration::ZERO,
            Some(excess) => Duration::from_secs(1_u64.checked_shl(excess - 1).unwrap_or(u64::MAX)).min(self.longest_wait),
        }
    }
}

/// A text that does not say limits of sign-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give failures that are free and seconds of the longest wait, up to 86400, as in email=5/60,address=20/900")]
pub struct SignInLimitsError;

impl FromStr for SignInLimits {
    type Err = SignInLimitsError;

    /// Reads `email=5/60,address=20/900`; what is not named keeps its default.
    fn from_str(text: &str) -> Result<Self, SignInLimitsError> {
        let mut limits = Self::default();
        for part in text.split(',') {
            let (name, limit) = part.trim().split_once('=').ok_or(SignInLimitsError)?;
            let limit = parse_limit(limit).ok_or(SignInLimitsError)?;
            match name {
                "email" => limits.email = limit,
                "address" => limits.address = limit,
                _ => return Err(SignInLimitsError),
            }
        }
        Ok(limits)
    }
}

fn parse_limit(text: &str) -> Option<GuessLimit> {
    let (free, longest) = text.split_once('/')?;
    let longest = longest.parse().ok().filter(|seconds| (1..=86_400).contains(seconds))?;
    Some(GuessLimit { free: free.parse().ok()?, longest_wait: Duration::from_secs(longest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_once_the_free_failures_are_used_up() {
        let SignInLimits { email, address } = SignInLimits::default();
        let waits = |limit: GuessLimit, failures: &[u32]| failures.iter().map(|&n| limit.wait(n).as_secs()).collect::<Vec<_>>();
        assert_eq!(waits(email, &[0, 1, 5, 6, 7, 8, 11, 12, 13, u32::MAX]), [0, 0, 0, 1, 2, 4, 32, 60, 60, 60]);
        assert_eq!(waits(address, &[20, 21, 29, 30, 31, 100, u32::MAX]), [0, 1, 256, 512, 900, 900, 900]);
    }

    #[test]
    fn limits_are_read_and_the_others_keep_their_default() {
        let default = SignInLimits::default();
        assert_eq!("email=5/60,address=20/900".parse(), Ok(default));
        let address = GuessLimit { free: 1_000_000, longest_wait: Duration::from_secs(1) };
        assert_eq!("address=1000000/1".parse(), Ok(SignInLimits { address, ..default }));
        for text in ["", "email", "email=5", "email=5/0", "email=-1/60", "email=5/86401", "user=5/60", "email=5/60,"] {
            assert_eq!(text.parse::<SignInLimits>(), Err(SignInLimitsError), "{text}");
        }
    }
}
