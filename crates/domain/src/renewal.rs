//! When a certificate renews (requirements section 6, S3.5; RFC 9773).

use chrono::{DateTime, TimeDelta, Utc};

/// The longest time before expiry at which a certificate renews.
const LONGEST_LEAD: TimeDelta = TimeDelta::days(30);

/// Certificates that last less than this renew at half their time, all others with a third of it left.
const SHORT_LIFETIME: TimeDelta = TimeDelta::days(10);

/// What the CA suggests (RFC 9773 §4.2): a renewal at a random moment between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AriWindow {
    /// The earliest moment.
    pub start: DateTime<Utc>,
    /// The moment before which it should have been renewed.
    pub end: DateTime<Utc>,
}

/// The moment at which a certificate renews: always later than `not_before` and earlier than `not_after`, so that a certificate
/// just issued is never due and a due one is still valid.
///
/// Where the CA offers a window that is usable, `seed` picks a moment in it: the same for the same seed, and evenly spread over
/// seeds (give the certificate's UUID as a number). A window that ends before it begins, or begins at or after expiry, counts as none
/// (RFC 9773 §4.2 leaves these to the client); one that is over before the certificate began means at once.
///
/// Without a window: `not_after` − min(30 days, lifetime / 3), and half the lifetime for certificates of under 10 days. Both
/// ends belong to the lifetime (RFC 5280 §4.1.2.5), so that a certificate of 90 days, whose `not_after` is 90 days less one second after
/// `not_before`, renews exactly 30 days before it expires.
///
/// A certificate whose validity holds no moment between its ends is never served (chains are checked before they are stored); it gets `not_after`.
pub fn renewal_moment(not_before: DateTime<Utc>, not_after: DateTime<Utc>, ari: Option<AriWindow>, seed: u128) -> DateTime<Utc> {
    let validity = not_after - not_before;
    if validity < TimeDelta::nanoseconds(2) {
        return not_after;
    }
    let usable = ari.filter(|window| window.start < window.end && window.start < not_after);
    let wanted = match usable {
        Some(window) => pick(window.start, window.end.min(not_after), seed),
        None => not_after - lead(validity + TimeDelta::seconds(1)),
    };
    if wanted >= not_after {
        return not_before + validity / 2;
    }
    if wanted <= not_before {
        return not_before + TimeDelta::seconds(1).min(validity / 2);
    }
    wanted
}

/// How long before expiry a certificate of this lifetime renews.
fn lead(lifetime: TimeDelta) -> TimeDelta {
    if lifetime < SHORT_LIFETIME { lifetime / 2 } else { LONGEST_LEAD.min(lifetime / 3) }
}

/// A moment in `[start, end)`, in whole seconds from its start.
fn pick(start: DateTime<Utc>, end: DateTime<Utc>, seed: u128) -> DateTime<Utc> {
    let seconds = (end - start).num_seconds().max(0);
    let share = (u128::from(seconds.unsigned_abs()) * u128::from(mix(seed))) >> u64::BITS;
    start + TimeDelta::seconds(i64::try_from(share).unwrap_or(0))
}

/// Spreads the bits of identifiers that begin alike over 64 (the finalizer of splitmix64, once for each half).
fn mix(seed: u128) -> u64 {
    let finalize = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let bytes = seed.to_be_bytes();
    let (high, low) = bytes.split_at(8);
    let half = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    finalize(finalize(half(high).wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ half(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// The lead of a certificate whose lifetime, both ends included, is so many seconds.
    fn lead_of(lifetime_seconds: i64) -> TimeDelta {
        let (not_before, not_after) = (at(1_000_000), at(1_000_000 + lifetime_seconds - 1));
        not_after - renewal_moment(not_before, not_after, None, 7)
    }

    #[test]
    fn a_90_day_certificate_renews_exactly_30_days_before_expiry() {
        assert_eq!(lead_of(90 * DAY), TimeDelta::days(30));
        // Some CAs count one second more.
        assert_eq!(lead_of(90 * DAY + 1), TimeDelta::days(30));
    }

    #[test]
    fn longer_ones_renew_30_days_before_expiry_too() {
        assert_eq!(lead_of(398 * DAY), TimeDelta::days(30));
        assert_eq!(lead_of(5 * 365 * DAY), TimeDelta::days(30));
    }

    #[test]
    fn a_45_day_certificate_renews_with_a_third_of_its_time_left() {
        assert_eq!(lead_of(45 * DAY), TimeDelta::days(15));
        assert_eq!(lead_of(10 * DAY), TimeDelta::hours(80));
    }

    #[test]
    fn a_6_day_certificate_renews_at_half_its_time() {
        assert_eq!(lead_of(6 * DAY), TimeDelta::days(3));
        assert_eq!(lead_of(160 * 3600), TimeDelta::hours(80));
    }

    #[test]
    fn a_window_of_the_ca_wins_and_the_same_seed_picks_the_same_moment() {
        let (not_before, not_after) = (at(0), at(90 * DAY));
        let window = AriWindow { start: at(58 * DAY), end: at(60 * DAY) };
        let moment = |seed| renewal_moment(not_before, not_after, Some(window), seed);
        assert_eq!(moment(42), moment(42));
        assert_ne!(moment(42), moment(43));
        // Evenly: of many seeds about as many in each half, and each quarter is met.
        let quarter = |seed| (moment(seed) - window.start).num_seconds() / (DAY / 2);
        let mut counts = [0_u32; 4];
        for seed in 0..4000_u128 {
            counts[usize::try_from(quarter(seed)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn identifiers_made_in_the_same_moment_are_spread_as_well() {
        // UUIDv7: the upper 48 bits are the time.
        let window = AriWindow { start: at(0), end: at(DAY) };
        let early = (0..1000_u128)
            .map(|n| (0x0198_c5d2_0000_u128 << 80) | (7 << 76) | n)
            .filter(|seed| renewal_moment(at(-DAY), at(2 * DAY), Some(window), *seed) < at(DAY / 2))
            .count();
        assert!((420..580).contains(&early), "{early}");
    }

    #[test]
    fn an_unusable_window_counts_as_none() {
        let (not_before, not_after) = (at(0), at(90 * DAY - 1));
        let expected = not_after - TimeDelta::days(30);
        for (start, end) in [(60 * DAY, 60 * DAY), (61 * DAY, 60 * DAY), (90 * DAY - 1, 95 * DAY), (100 * DAY, 101 * DAY)] {
            let window = AriWindow { start: at(start), end: at(end) };
            assert_eq!(renewal_moment(not_before, not_after, Some(window), 7), expected, "{start} {end}");
        }
    }

    #[test]
    fn a_window_that_is_over_means_at_once() {
        // What a CA answers when it is about to revoke: a window that ended before now, for a new certificate before it began.
        let window = AriWindow { start: at(-7200), end: at(-3600) };
        assert_eq!(renewal_moment(at(0), at(90 * DAY), Some(window), 7), at(1));
    }

    #[test]
    fn an_empty_validity_gets_its_end() {
        assert_eq!(renewal_moment(at(5), at(5), None, 7), at(5));
        assert_eq!(renewal_moment(at(9), at(5), None, 7), at(5));
    }

    proptest! {
        #[test]
        fn the_moment_lies_strictly_inside_the_validity(
            begin in -1_000_000_000..4_000_000_000_i64,
            lifetime in 1..40_000_000_i64,
            window in proptest::option::of((-50_000_000..50_000_000_i64, -5_000_000..5_000_000_i64)),
            seed: u128,
        ) {
            let (not_before, not_after) = (at(begin), at(begin + lifetime));
            let ari = window.map(|(offset, length)| AriWindow { start: at(begin + offset), end: at(begin + offset + length) });
            let moment = renewal_moment(not_before, not_after, ari, seed);
            prop_assert!(not_before < moment && moment < not_after);
            prop_assert_eq!(moment, renewal_moment(not_before, not_after, ari, seed));
        }

        #[test]
        fn a_usable_window_holds_the_moment(start in 1..1_000_000_i64, length in 1..1_000_000_i64, seed: u128) {
            let window = AriWindow { start: at(start), end: at(start + length) };
            let moment = renewal_moment(at(0), at(2_000_001), Some(window), seed);
            prop_assert!(window.start <= moment && moment < window.end);
        }

        #[test]
        fn at_least_a_third_and_at_most_half_of_a_short_lifetime_is_left(lifetime in 2..(90 * DAY)) {
            let left = lead_of(lifetime);
            let lifetime = TimeDelta::seconds(lifetime);
            prop_assert!(left * 3 + TimeDelta::seconds(3) >= lifetime && left * 2 <= lifetime + TimeDelta::seconds(1));
        }

        #[test]
        fn nothing_renews_more_than_30_days_ahead(lifetime in 2..(10 * 365 * DAY)) {
            prop_assert!(lead_of(lifetime) <= TimeDelta::days(30));
        }
    }
}
