//! Moments and schedules, case by case.

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
    // Evenly over what is left of it beside the time that a renewal may need: of many seeds about as many in each quarter.
    let quarter = |seed| (moment(seed) - window.start).num_seconds() * 4 / (2 * DAY - 7200);
    let mut counts = [0_u32; 4];
    for seed in 0..4000_u128 {
        counts[usize::try_from(quarter(seed)).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}

#[test]
fn nobody_renews_so_late_in_a_window_that_it_may_be_over_before_it_is_done() {
    for (length, last) in [(40, 36), (600, 540), (DAY, DAY - 7200), (14 * DAY, 14 * DAY - 7200)] {
        let window = AriWindow { start: at(0), end: at(length) };
        let latest = (0..2000_u128).map(|seed| renewal_moment(at(-DAY), at(30 * DAY), Some(window), seed)).max().unwrap();
        assert!(latest < at(last) && latest > at(last - last / 20 - 1), "{length}: {latest}");
    }
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

/// A certificate of 90 days from the epoch on, which wants to renew and may.
fn facts() -> RenewalFacts {
    RenewalFacts {
        wished: true,
        in_plan: true,
        standing: Standing::Good,
        zone: ZoneStanding::Verified,
        validity: Some((at(0), at(90 * DAY - 1))),
        ari: None,
        issuance_is_live: false,
        failed_at: None,
        renewed_at: None,
        activated_at: None,
        seed: 7,
        alternate: None,
    }
}

const RENEWAL: i64 = 60 * DAY - 1;

#[test]
fn what_may_renew_is_due_at_its_moment_and_not_while_an_issuance_is_live() {
    let planned = RenewalSchedule { next_renewal_at: Some(at(RENEWAL)), due_at: Some(at(RENEWAL)), blocked_by: None };
    assert_eq!(schedule(&facts(), at(DAY)), planned);
    assert_eq!(schedule(&facts(), at(70 * DAY)), planned, "a moment that is past stays what it is");
    let live = RenewalFacts { issuance_is_live: true, ..facts() };
    assert_eq!(schedule(&live, at(DAY)), RenewalSchedule { due_at: None, ..planned });
}

#[test]
fn what_the_other_key_lacks_is_due_at_once_and_a_day_after_it_failed_and_moves_no_renewal() {
    let missing = RenewalFacts { alternate: Some(AlternateFacts::default()), ..facts() };
    let planned = schedule(&missing, at(DAY));
    assert_eq!((planned.next_renewal_at, planned.due_at), (Some(at(RENEWAL)), Some(at(0))));
    let failed = RenewalFacts { alternate: Some(AlternateFacts { failed_at: Some(at(DAY)) }), ..facts() };
    let planned = schedule(&failed, at(DAY));
    assert_eq!((planned.next_renewal_at, planned.due_at), (Some(at(RENEWAL)), Some(at(2 * DAY))));
    let late = RenewalFacts { alternate: Some(AlternateFacts { failed_at: Some(at(RENEWAL)) }), ..facts() };
    assert_eq!(schedule(&late, at(RENEWAL)).due_at, Some(at(RENEWAL)), "the renewal of both does not wait for it");
    for none in [RenewalFacts { issuance_is_live: true, ..missing }, RenewalFacts { wished: false, ..missing }] {
        assert_eq!(schedule(&none, at(DAY)).due_at, None);
    }
}

#[test]
fn what_failed_for_good_is_tried_again_a_day_later_and_shows_the_moment_that_is_past() {
    let failed = RenewalFacts { failed_at: Some(at(65 * DAY)), ..facts() };
    let planned = schedule(&failed, at(65 * DAY));
    assert_eq!((planned.next_renewal_at, planned.due_at), (Some(at(RENEWAL)), Some(at(66 * DAY))));
    let failed_early = RenewalFacts { failed_at: Some(at(DAY)), ..facts() };
    assert_eq!(schedule(&failed_early, at(DAY)).due_at, Some(at(RENEWAL)), "a renewal by hand failed before its time");
}

#[test]
fn after_a_failure_for_good_a_quarter_of_what_is_left_is_waited_a_day_at_most_and_ten_minutes_at_least() {
    const HOUR: i64 = 3_600;
    for (left, pause) in [
        (60 * DAY, DAY),
        (30 * DAY, DAY),
        (4 * DAY, DAY),
        (3 * DAY, 18 * HOUR),
        (6 * HOUR, 90 * 60),
        (40 * 60, 600),
        (60, 600),
        (-DAY, 600),
    ] {
        assert_eq!(pause_after_failure(at(0), at(left)), TimeDelta::seconds(pause), "{left} s left");
    }
    // A certificate of six hours, half of which are left when its renewal fails, is tried three times more at least, all while it is valid.
    let (mut failed, not_after, mut tries) = (3 * HOUR, 6 * HOUR, 0);
    loop {
        let facts = RenewalFacts { validity: Some((at(0), at(not_after))), failed_at: Some(at(failed)), ..facts() };
        let due = schedule(&facts, at(failed)).due_at.unwrap();
        if due > at(not_after) {
            break;
        }
        (failed, tries) = ((due - at(0)).num_seconds(), tries + 1);
    }
    assert!((3..20).contains(&tries), "{tries}");
}

#[test]
fn without_a_wish_or_a_valid_version_there_is_nothing_to_schedule() {
    for nothing in [RenewalFacts { wished: false, in_plan: false, ..facts() }, RenewalFacts { validity: None, ..facts() }] {
        assert_eq!(schedule(&nothing, at(DAY)), RenewalSchedule::default());
    }
    assert_eq!(schedule(&facts(), at(90 * DAY)), RenewalSchedule::default(), "expired");
}

#[test]
fn whatever_stands_in_the_way_is_named_and_nothing_is_due() {
    for (blocked, block) in [
        (RenewalFacts { in_plan: false, zone: ZoneStanding::Lost, ..facts() }, RenewalBlock::Plan),
        (RenewalFacts { zone: ZoneStanding::Lost, ..facts() }, RenewalBlock::ZoneLost),
        (RenewalFacts { zone: ZoneStanding::Deleted, ..facts() }, RenewalBlock::ZoneDeleted),
        (RenewalFacts { standing: Standing::Abusive, in_plan: false, ..facts() }, RenewalBlock::Suspended),
    ] {
        assert_eq!(schedule(&blocked, at(DAY)), RenewalSchedule { blocked_by: Some(block), ..RenewalSchedule::default() });
    }
}

#[test]
fn without_payment_renewals_go_on_for_14_days() {
    let unpaid_since = |day: i64| RenewalFacts { standing: Standing::Unpaid(at(day * DAY)), ..facts() };
    assert_eq!(schedule(&unpaid_since(50), at(50 * DAY)).due_at, Some(at(RENEWAL)));
    assert_eq!(schedule(&unpaid_since(40), at(40 * DAY)).blocked_by, Some(RenewalBlock::Suspended));
    assert_eq!(schedule(&unpaid_since(50), at(65 * DAY)).blocked_by, Some(RenewalBlock::Suspended), "one that is overdue");
}

#[test]
fn a_ca_whose_window_is_always_past_gets_one_renewal_a_day_and_no_more() {
    let past = Some(AriWindow { start: at(-2 * DAY), end: at(-DAY) });
    let first = RenewalFacts { ari: past, ..facts() };
    assert_eq!(schedule(&first, at(60)).due_at, Some(at(1)), "what was requested is replaced at once");
    let renewed = RenewalFacts { renewed_at: Some(at(60)), ..first };
    let planned = schedule(&renewed, at(120));
    assert_eq!((planned.next_renewal_at, planned.due_at), (Some(at(DAY + 60)), Some(at(DAY + 60))));
    // The moment by the lifetime is never put off by this.
    let short = RenewalFacts { validity: Some((at(0), at(DAY - 1))), ..renewed };
    assert_eq!(schedule(&short, at(120)).due_at, Some(at(DAY / 2 - 1)));
    assert_eq!(schedule(&RenewalFacts { renewed_at: Some(at(60)), ..facts() }, at(120)), schedule(&facts(), at(120)));
}

#[test]
fn what_somebody_went_back_to_is_kept_for_a_day_and_then_renews_as_it_is_due() {
    let past = Some(AriWindow { start: at(-2 * DAY), end: at(-DAY) });
    let went_back = |day: i64| RenewalFacts { activated_at: Some(at(day * DAY)), ..facts() };
    for ari in [None, past] {
        let planned = schedule(&RenewalFacts { ari, ..went_back(70) }, at(70 * DAY));
        assert_eq!((planned.next_renewal_at, planned.due_at), (Some(at(71 * DAY)), Some(at(71 * DAY))), "its moment is past already");
    }
    assert_eq!(schedule(&went_back(10), at(10 * DAY)), schedule(&facts(), at(10 * DAY)), "its moment is to come");
    // What ends within days is not let run out.
    let late = RenewalFacts { activated_at: Some(at(88 * DAY)), ..facts() };
    assert_eq!(schedule(&late, at(88 * DAY)).due_at, Some(at(88 * DAY) + TimeDelta::seconds(2 * DAY - 1) / 4));
}

#[test]
fn every_block_has_a_reason_and_a_remedy_of_its_own() {
    for block in RenewalBlock::ALL {
        assert!(block.remedy().ends_with('.') && !block.reason().is_empty(), "{block:?}");
        assert_eq!(RenewalBlock::ALL.into_iter().filter(|other| other.remedy() == block.remedy()).count(), 1);
    }
}

#[test]
fn every_block_is_read_back_from_its_name() {
    for block in RenewalBlock::ALL {
        assert_eq!(RenewalBlock::parse(block.as_str()), Some(block));
    }
    assert_eq!(RenewalBlock::parse("Plan"), None);
}
