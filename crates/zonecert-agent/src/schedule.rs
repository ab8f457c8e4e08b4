//! When a certificate is asked for again.

use std::time::Duration;

/// After the first failure; doubled by each that follows.
const FIRST_RETRY: Duration = Duration::from_mins(1);

/// However long the API or the configuration asks to wait.
pub(crate) const LONGEST: Duration = Duration::from_hours(24);

/// The pause after a round. `failures` is how many in a row have failed, `luck` a random number from 0 to 1, so that a thousand servers do not ask in the
/// same second. `Retry-After` is kept to.
pub(crate) fn pause_after(interval: Duration, failures: u32, retry_after: Option<Duration>, luck: f64) -> Duration {
    let backoff = |failures: u32| FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures - 1)).min(interval);
    let base = if failures == 0 { interval } else { backoff(failures) };
    let spread = base.mul_f64(0.9 + 0.2 * luck).min(LONGEST);
    spread.max(retry_after.unwrap_or_default().min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn what_goes_well_is_repeated_after_the_interval_give_or_take_a_tenth() {
        assert_eq!(pause_after(HOUR, 0, None, 0.0), Duration::from_mins(54));
        assert_eq!(pause_after(HOUR, 0, None, 0.5), HOUR);
        assert_eq!(pause_after(HOUR, 0, None, 1.0), Duration::from_mins(66));
        assert_eq!(pause_after(LONGEST, 0, None, 1.0), LONGEST, "a report that is older than a day and an hour is not believed");
    }

    #[test]
    fn what_fails_is_repeated_soon_and_then_less_and_less_often() {
        let pauses: Vec<u64> = (1..9).map(|failures| pause_after(HOUR, failures, None, 0.5).as_secs()).collect();
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(pause_after(HOUR, u32::MAX, None, 0.5), HOUR);
    }

    #[test]
    fn whoever_is_told_to_wait_waits_but_not_for_ever() {
        assert_eq!(pause_after(HOUR, 1, Some(Duration::from_mins(5)), 0.5), Duration::from_mins(5));
        assert_eq!(pause_after(HOUR, 1, Some(Duration::from_secs(1)), 0.5), Duration::from_mins(1));
        assert_eq!(pause_after(HOUR, 1, Some(Duration::MAX), 0.5), Duration::from_hours(24));
    }
}
