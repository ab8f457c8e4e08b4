//! When control of a zone is looked at again, and when it is lost (requirements section 6).
//!
//! A verified zone is looked at every day. Once its proof is found missing, it is looked for again sooner; only when it has been missing
//! [`CHECKS_TO_LOSE`] times in a row, over more than a week, is the zone lost. Trouble of the DNS says nothing about control, and loses no zone.

use chrono::{DateTime, TimeDelta, Utc};

/// Between two looks at a zone whose proof is there.
pub const INTERVAL: TimeDelta = TimeDelta::hours(24);

/// After the first, second, … look in a row that found no proof; [`INTERVAL`] after those that follow.
const AFTER_MISSING: [TimeDelta; 2] = [TimeDelta::hours(1), TimeDelta::hours(6)];

/// After a look that could not find out.
const AFTER_TROUBLE: TimeDelta = TimeDelta::hours(1);

/// So many looks in a row without a proof lose a zone: 7 days and 7 hours from the first to the last.
pub const CHECKS_TO_LOSE: u32 = 10;

/// A lost zone whose proof comes back within this time is verified again by itself.
pub const REGAIN_WITHIN: TimeDelta = TimeDelta::days(30);

/// What a look at a zone has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The account controls the zone.
    Proof,
    /// The DNS says that the proof is not there.
    NoProof,
    /// The DNS did not say.
    Trouble,
}

/// What a look means to a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the account's, as before.
    Held,
    /// The proof is missing, now for the `failed_checks`-th time in a row.
    Missing {
        /// How often in a row, this look included.
        failed_checks: u32,
        /// After how many more it is lost.
        left: u32,
    },
    /// It is lost with this look.
    Lost,
    /// It was lost, and the proof is there again.
    Regained,
    /// It was lost, and stays so.
    StillLost,
    /// Nothing has become known.
    Unclear,
}

/// What follows from a look at a zone at `now`, and when the next one is due: never, for a zone that was lost too long ago.
///
/// `lost_at` is when the zone was lost, `failed_checks` how many looks before this one have found no proof, in a row.
pub fn after_check(lost_at: Option<DateTime<Utc>>, failed_checks: u32, seen: Seen, now: DateTime<Utc>) -> (Verdict, Option<DateTime<Utc>>) {
    if let Some(lost_at) = lost_at {
        let verdict = if seen == Seen::Proof { Verdict::Regained } else { Verdict::StillLost };
        let next = now + INTERVAL;
        return (verdict, (verdict == Verdict::Regained || next <= lost_at + REGAIN_WITHIN).then_some(next));
    }
    match seen {
        Seen::Proof => (Verdict::Held, Some(now + INTERVAL)),
        Seen::Trouble => (Verdict::Unclear, Some(now + AFTER_TROUBLE)),
        Seen::NoProof if failed_checks + 1 >= CHECKS_TO_LOSE => (Verdict::Lost, Some(now + INTERVAL)),
        Seen::NoProof => {
            let wait = AFTER_MISSING.get(failed_checks as usize).copied().unwrap_or(INTERVAL);
            let failed_checks = failed_checks + 1;
            (Verdict::Missing { failed_checks, left: CHECKS_TO_LOSE - failed_checks }, Some(now + wait))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    /// Looks again and again at the moments that follow, and says when the zone was lost.
    fn lose(seen: impl Fn(u32) -> Seen) -> Option<TimeDelta> {
        let (mut now, mut failed_checks) = (start(), 0);
        for look in 0..1_000 {
            let (verdict, next) = after_check(None, failed_checks, seen(look), now);
            match verdict {
                Verdict::Lost => return Some(now - start()),
                Verdict::Missing { failed_checks: failed, left } => {
                    assert_eq!(failed + left, CHECKS_TO_LOSE);
                    failed_checks = failed;
                }
                Verdict::Held => failed_checks = 0,
                Verdict::Unclear => {}
                Verdict::Regained | Verdict::StillLost => panic!("it was not lost"),
            }
            now = next.unwrap();
        }
        None
    }

    #[test]
    fn a_zone_without_its_proof_is_lost_after_a_week_and_not_before() {
        assert_eq!(lose(|_| Seen::NoProof), Some(TimeDelta::days(7) + TimeDelta::hours(7)));
    }

    #[test]
    fn trouble_of_the_dns_loses_no_zone_and_only_puts_it_off() {
        assert_eq!(lose(|_| Seen::Trouble), None);
        assert_eq!(lose(|look| if look % 2 == 0 { Seen::Trouble } else { Seen::NoProof }), Some(TimeDelta::hours(7 * 25 + 10)));
    }

    #[test]
    fn one_proof_begins_the_count_anew() {
        assert_eq!(lose(|look| if look % 9 == 8 { Seen::Proof } else { Seen::NoProof }), None);
    }

    #[test]
    fn a_verified_zone_is_looked_at_daily_and_sooner_once_its_proof_is_missing() {
        let wait = |failed_checks, seen| after_check(None, failed_checks, seen, start()).1.unwrap() - start();
        assert_eq!(wait(0, Seen::Proof), TimeDelta::hours(24));
        assert_eq!(wait(9, Seen::Proof), TimeDelta::hours(24));
        let missing: Vec<i64> = (0..4).map(|failed| wait(failed, Seen::NoProof).num_hours()).collect();
        assert_eq!(missing, [1, 6, 24, 24]);
        assert_eq!(wait(3, Seen::Trouble), TimeDelta::hours(1));
    }

    #[test]
    fn a_lost_zone_comes_back_with_its_proof_for_thirty_days() {
        let look = |days: i64, seen| after_check(Some(start()), CHECKS_TO_LOSE, seen, start() + TimeDelta::days(days));
        let next = |days: i64| Some(start() + TimeDelta::days(days));
        assert_eq!(look(29, Seen::Proof), (Verdict::Regained, next(30)));
        assert_eq!(look(30, Seen::Proof), (Verdict::Regained, next(31)), "it is verified, and so looked at again");
        for seen in [Seen::NoProof, Seen::Trouble] {
            assert_eq!(look(1, seen), (Verdict::StillLost, next(2)));
            assert_eq!(look(29, seen), (Verdict::StillLost, next(30)));
            assert_eq!(look(30, seen), (Verdict::StillLost, None));
        }
    }
}
