//! How often the CA is asked when to renew a certificate (RFC 9773 §4.3), and what of its answer people are told.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::failure::{Failure, FailureCode};
use crate::renewal::mix;

/// A `Retry-After` below counts as this (RFC 9773 §4.3.2).
pub const SHORTEST_PAUSE: Duration = Duration::from_mins(1);

/// A `Retry-After` above counts as this: every certificate is asked about at least twice a day (requirements section 6).
pub const LONGEST_PAUSE: Duration = Duration::from_hours(12);

/// What a CA that says nothing gets, and what follows an error that will not pass soon (RFC 9773 §4.3.3).
pub const USUAL_PAUSE: Duration = Duration::from_hours(6);

/// A renewal that moves by less is nothing to tell people about.
const NOTABLE_MOVE: TimeDelta = TimeDelta::hours(1);

/// The pause before the CA is asked again, after an answer that asked for `retry_after`.
///
/// Shortened by 2 to 10 percent, by `seed` (the certificate's UUID as a number): what became due together drifts apart, and what is asked
/// twice a day stays so although somebody has to come by first.
pub fn pause_after_answer(retry_after: Option<Duration>, seed: u128) -> Duration {
    let asked_for = retry_after.unwrap_or(USUAL_PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    let share = u32::try_from(mix(seed) >> 32).unwrap_or(0);
    let kept = 0.90 + 0.08 * f64::from(share) / f64::from(u32::MAX);
    asked_for.mul_f64(kept).max(SHORTEST_PAUSE)
}

/// The pause before the CA is asked again, after `failures` attempts in a row that brought nothing, this one included: 1, 2, 4, … minutes up to
/// [`USUAL_PAUSE`] for what may pass soon, and that at once for what will not. `Retry-After` wins where it is longer.
pub fn pause_after_failure(failures: u32, failure: &Failure, seed: u128) -> Duration {
    let doubled = SHORTEST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(USUAL_PAUSE);
    let wanted = if passes_soon(failure.code) { doubled } else { USUAL_PAUSE };
    pause_after_answer(Some(wanted.max(failure.retry_after.unwrap_or_default())), seed)
}

/// Whether it is one of the temporary errors of RFC 9773 §4.3.3, or an answer that made no sense, which §4.2 counts as none.
const fn passes_soon(code: FailureCode) -> bool {
    matches!(
        code,
        FailureCode::CaUnreachable | FailureCode::CaMalformedAnswer | FailureCode::AcmeServerInternal | FailureCode::AcmeRateLimited
    )
}

/// Whether a renewal moved so far that it is an event.
pub fn is_notable_move(before: DateTime<Utc>, after: DateTime<Utc>) -> bool {
    (after - before).abs() >= NOTABLE_MOVE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(code: FailureCode) -> Failure {
        Failure::new(code, "no")
    }

    /// Within the jitter of this many seconds.
    fn is_about(pause: Duration, seconds: u64) -> bool {
        let wanted = Duration::from_secs(seconds);
        (wanted * 9 / 10..=wanted).contains(&pause)
    }

    #[test]
    fn the_ca_says_how_often_within_limits() {
        for (retry_after, seconds) in
            [(None, 21_600), (Some(0), 60), (Some(59), 60), (Some(3600), 3600), (Some(86_400), 43_200), (Some(u64::MAX), 43_200)]
        {
            let pause = pause_after_answer(retry_after.map(Duration::from_secs), 7);
            assert!(is_about(pause, seconds) && pause >= SHORTEST_PAUSE, "{retry_after:?}: {pause:?}");
        }
    }

    #[test]
    fn what_may_pass_soon_is_tried_again_soon_and_ever_later() {
        for code in [FailureCode::CaUnreachable, FailureCode::AcmeServerInternal, FailureCode::CaMalformedAnswer] {
            for (failures, minutes) in [(1, 1), (2, 2), (3, 4), (6, 32), (9, 256), (10, 360), (1000, 360)] {
                let pause = pause_after_failure(failures, &failure(code), 7);
                assert!(is_about(pause, minutes * 60) || pause == SHORTEST_PAUSE && minutes == 1, "{code} {failures}: {pause:?}");
            }
        }
        let asked = failure(FailureCode::AcmeRateLimited).with_retry_after(Some(Duration::from_hours(2)));
        assert!(is_about(pause_after_failure(1, &asked, 7), 7200));
    }

    #[test]
    fn what_will_not_pass_soon_is_left_for_six_hours() {
        for code in [FailureCode::OrderLost, FailureCode::AcmeMalformed, FailureCode::AcmeUnauthorized] {
            assert!(is_about(pause_after_failure(1, &failure(code), 7), 21_600), "{code}");
        }
    }

    #[test]
    fn a_move_of_an_hour_is_told() {
        let (moment, hour) = (DateTime::UNIX_EPOCH, TimeDelta::hours(1));
        assert!(is_notable_move(moment, moment + hour) && is_notable_move(moment + hour, moment));
        assert!(!is_notable_move(moment, moment + hour - TimeDelta::seconds(1)));
    }

    proptest! {
        #[test]
        fn every_certificate_is_asked_about_twice_a_day(retry_after in proptest::option::of(0..u64::MAX), seed: u128) {
            let pause = pause_after_answer(retry_after.map(Duration::from_secs), seed);
            prop_assert!(pause >= SHORTEST_PAUSE && pause <= LONGEST_PAUSE * 98 / 100);
        }
    }

    #[test]
    fn what_is_asked_together_drifts_apart() {
        let pauses: std::collections::BTreeSet<u64> = (0..1000).map(|seed| pause_after_answer(None, seed).as_secs()).collect();
        assert!(pauses.len() > 400, "{}", pauses.len());
    }
}
