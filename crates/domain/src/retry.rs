//! When what failed is tried again (requirements section 6).
//!
//! Two rhythms: [`step_backoff`] in place, seconds apart, while a part does not answer; and the [`RetryLadder`] between the
//! orders of an issuance, minutes to a day apart, for failures that can heal.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A `Retry-After` beyond this is cut to it: a slip of the CA must not park an issuance for a year.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// The last attempt begins this long before the moment of giving up, so that it has time to end well.
pub const LAST_ATTEMPT_MARGIN: TimeDelta = TimeDelta::minutes(10);

const LONGEST_RUNG: Duration = Duration::from_hours(7 * 24);

/// How often [`step_backoff`] waits in place.
const STEP_ATTEMPTS: u32 = 6;

/// The waits after the first, second, … failed attempt: none shorter than the one before it, and the last one repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryLadder(Vec<Duration>);

/// What follows a failed attempt that can heal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again at this moment.
    At(DateTime<Utc>),
    /// No attempt fits any more before the moment of giving up.
    GiveUp,
}

/// A text that is not a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a retry ladder; give 1 to 32 waits in seconds, from 1 to 604800 and none shorter than the one before, separated by commas, such as 60,600,6000,86400"
)]
pub struct LadderError;

impl Default for RetryLadder {
    /// 1 min, 10 min, 100 min, then daily.
    fn default() -> Self {
        Self([60, 600, 6_000, 86_400].map(Duration::from_secs).to_vec())
    }
}

impl RetryLadder {
    /// The moment of the next attempt, after `failed_attempts` of them have failed, the one that ended `now` included.
    ///
    /// `Retry-After` wins where it is the longer wait, up to [`LONGEST_RETRY_AFTER`]. A rung that leads past `give_up_at`
    /// becomes one last attempt [`LAST_ATTEMPT_MARGIN`] before it; a `Retry-After` is never undercut like that. Attempts are never closer to each
    /// other than the first rung, so giving up is reached after finitely many.
    pub fn next(&self, failed_attempts: u32, retry_after: Option<Duration>, now: DateTime<Utc>, give_up_at: DateTime<Utc>) -> Next {
        let index = usize::try_from(failed_attempts.saturating_sub(1)).unwrap_or(usize::MAX).min(self.0.len() - 1);
        let asked_for = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let wanted = now + self.0[index].max(asked_for);
        let last = give_up_at - LAST_ATTEMPT_MARGIN;
        let earliest = now + self.0[0].max(asked_for);
        if earliest > last { Next::GiveUp } else { Next::At(wanted.min(last)) }
    }

    /// The waits.
    pub fn rungs(&self) -> &[Duration] {
        &self.0
    }
}

impl FromStr for RetryLadder {
    type Err = LadderError;

    /// Reads seconds separated by commas, as the setting has them: `60,600,6000,86400`.
    fn from_str(text: &str) -> Result<Self, LadderError> {
        let rung = |part: &str| {
            let wait = Duration::from_secs(part.trim().parse().ok()?);
            (Duration::ZERO < wait && wait <= LONGEST_RUNG).then_some(wait)
        };
        let rungs: Vec<Duration> = text.split(',').take(33).map(rung).collect::<Option<_>>().ok_or(LadderError)?;
        if rungs.len() <= 32 && rungs.is_sorted() { Ok(Self(rungs)) } else { Err(LadderError) }
    }
}

impl fmt::Display for RetryLadder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rung) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", rung.as_secs())?;
        }
        Ok(())
    }
}

/// The wait in place before a step is tried again that could not reach a part (CA, DNS server, database): 1, 2, 4, 8, 16 and
/// 30 s after 1 to 6 failures in a row, 61 s in all. `None` after that: the ladder takes over.
pub fn step_backoff(consecutive_failures: u32) -> Option<Duration> {
    match consecutive_failures {
        0 => Some(Duration::ZERO),
        1..=STEP_ATTEMPTS => Some(Duration::from_secs((1 << (consecutive_failures - 1)).min(30))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// All moments of attempts after the first one at 0, each of which fails at once.
    fn attempts(ladder: &RetryLadder, retry_after: Option<Duration>, give_up_at: DateTime<Utc>) -> Vec<i64> {
        let mut moments = Vec::new();
        let mut now = at(0);
        for failed in 1.. {
            match ladder.next(failed, retry_after, now, give_up_at) {
                Next::At(moment) => now = moment,
                Next::GiveUp => break,
            }
            moments.push(now.timestamp());
        }
        moments
    }

    #[test]
    fn the_ladder_climbs_and_its_last_rung_repeats() {
        let first = [60, 660, 6_660, 93_060, 179_460, 265_860];
        assert_eq!(attempts(&RetryLadder::default(), None, at(30 * 86_400))[..6], first);
    }

    #[test]
    fn a_first_issuance_has_a_last_attempt_before_its_day_is_over() {
        assert_eq!(attempts(&RetryLadder::default(), None, at(86_400)), [60, 660, 6_660, 86_400 - 600]);
    }

    #[test]
    fn a_renewal_is_tried_until_shortly_before_expiry() {
        let moments = attempts(&RetryLadder::default(), None, at(10 * 86_400));
        assert_eq!(moments.last(), Some(&(10 * 86_400 - 600)));
        assert_eq!(moments.len(), 3 + 9 + 1);
    }

    #[test]
    fn retry_after_wins_where_it_is_longer_and_is_bounded() {
        let ladder = RetryLadder::default();
        let next = |retry_after| ladder.next(2, Some(secs(retry_after)), at(0), at(90 * 86_400));
        assert_eq!(next(10), Next::At(at(600)));
        assert_eq!(next(3_600), Next::At(at(3_600)));
        assert_eq!(next(u64::MAX), Next::At(at(86_400)));
    }

    #[test]
    fn a_retry_after_past_the_end_is_not_undercut() {
        let ladder = RetryLadder::default();
        assert_eq!(ladder.next(1, Some(secs(7_200)), at(0), at(7_000)), Next::GiveUp);
        assert_eq!(ladder.next(4, None, at(0), at(7_000)), Next::At(at(6_400)));
    }

    #[test]
    fn nothing_is_tried_at_or_after_the_end() {
        let ladder = RetryLadder::default();
        for now in [at(86_400), at(86_400 - 600), at(86_400 - 659), at(100_000)] {
            assert_eq!(ladder.next(1, None, now, at(86_400)), Next::GiveUp);
        }
        assert_eq!(ladder.next(1, None, at(86_400 - 660), at(86_400)), Next::At(at(86_400 - 600)));
    }

    #[test]
    fn a_ladder_is_read_from_a_setting_and_written_back() {
        assert_eq!("60,600,6000,86400".parse(), Ok(RetryLadder::default()));
        assert_eq!(RetryLadder::default().to_string(), "60,600,6000,86400");
        assert_eq!(" 1 , 2 ".parse::<RetryLadder>().unwrap().rungs(), [secs(1), secs(2)]);
        let too_many = vec!["1"; 33].join(",");
        for text in ["", ",", "60,", "0", "60,0", "600,60", "-1", "1.5", "1m", "604801", "99999999999999999999", &too_many] {
            assert_eq!(text.parse::<RetryLadder>(), Err(LadderError), "{text}");
        }
    }

    #[test]
    fn a_step_waits_six_times_in_place_and_then_leaves_it_to_the_ladder() {
        let waits: Vec<_> = (0..8).map(step_backoff).collect();
        let expected = [Some(0), Some(1), Some(2), Some(4), Some(8), Some(16), Some(30), None];
        assert_eq!(waits, expected.map(|wait| wait.map(secs)));
        assert_eq!(step_backoff(u32::MAX), None);
    }

    proptest! {
        #[test]
        fn every_ladder_gives_up_and_never_hurries(
            mut rungs in proptest::collection::vec(1..10_000_u64, 1..6),
            retry_after in proptest::option::of(0..200_000_u64),
            end in 0..1_000_000_i64,
        ) {
            rungs.sort_unstable();
            let ladder: RetryLadder = rungs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",").parse().unwrap();
            let mut now = at(0);
            let pause = secs(retry_after.unwrap_or(0)).min(LONGEST_RETRY_AFTER).max(secs(rungs[0]));
            for failed in 1..=1_000_001 {
                prop_assert!(failed <= 1_000_000, "never gave up");
                match ladder.next(failed, retry_after.map(secs), now, at(end)) {
                    Next::GiveUp => break,
                    Next::At(moment) => {
                        prop_assert!(moment >= now + pause && moment <= at(end) - LAST_ATTEMPT_MARGIN);
                        now = moment;
                    }
                }
            }
        }

        #[test]
        fn any_ladder_is_read_back_from_its_text(mut rungs in proptest::collection::vec(1..=604_800_u64, 1..=32)) {
            rungs.sort_unstable();
            let text = rungs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let ladder: RetryLadder = text.parse().unwrap();
            prop_assert_eq!(ladder.to_string(), text);
        }
    }
}
