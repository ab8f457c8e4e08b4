//! One wish for a version of a certificate, with its retries.
//!
//! An issuance places one ACME order after another until one of them brings a certificate, a failure is final, or it is time to give up.
//! Between attempts it rests on a rung of the retry ladder ([`crate::retry`]).

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::failure::{Failure, FailureClass, FailureCode};
use crate::order::{self, OrderProgress, OrderStep, OrderTiming};
use crate::retry::{Next, RetryLadder, step_backoff};

/// Why there is an issuance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuanceReason {
    /// The certificate is new.
    First,
    /// Its time had come.
    Renewal,
    /// Somebody asked for it.
    ByHand,
    /// The version in use was revoked or has to be replaced.
    Replacement,
}

impl IssuanceReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::First, Self::Renewal, Self::ByHand, Self::Replacement];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Renewal => "renewal",
            Self::ByHand => "by_hand",
            Self::Replacement => "replacement",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// The state of an issuance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuanceStatus {
    /// Being worked on, or resting until the next attempt.
    Active,
    /// Terminal: it brought a version.
    Succeeded,
    /// Terminal: it will not be tried again.
    Failed,
    /// Terminal: its result was not wanted any more, since its certificate was deleted, or a renewal is not wished or not allowed any more.
    Cancelled,
}

/// What is recorded about an issuance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuanceEvent {
    /// An order failed or a step could not be taken, and another attempt will be made.
    Rested,
    /// An order brought a version.
    Succeeded,
    /// A failure was final, or it was time to give up.
    Failed,
    /// The certificate was deleted, or a renewal is not wished or not allowed any more.
    Cancelled,
}

impl IssuanceStatus {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Active, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether the issuance is over for good.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Active)
    }

    /// The state after `event`, or `None` where the event cannot follow.
    pub const fn after(self, event: IssuanceEvent) -> Option<Self> {
        match (self, event) {
            (Self::Active, IssuanceEvent::Rested) => Some(Self::Active),
            (Self::Active, IssuanceEvent::Succeeded) => Some(Self::Succeeded),
            (Self::Active, IssuanceEvent::Failed) => Some(Self::Failed),
            (Self::Active, IssuanceEvent::Cancelled) => Some(Self::Cancelled),
            _ => None,
        }
    }
}

impl IssuanceEvent {
    /// Every event.
    pub const ALL: [Self; 4] = [Self::Rested, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The name in logs and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rested => "rested",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for IssuanceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the next step of an issuance depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuanceProgress {
    /// What is on record.
    pub status: IssuanceStatus,
    /// No step is taken before this moment.
    pub next_wake_at: Option<DateTime<Utc>>,
    /// Whether nobody wants its result any more.
    pub cancel_requested: bool,
    /// The order that is not over, if there is one.
    pub live_order: Option<OrderProgress>,
}

/// What to do with an issuance now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuanceStep {
    /// Nothing before this moment.
    Wait(DateTime<Utc>),
    /// Check that zone and plan still allow it, and write down the intent of an order.
    BeginOrder,
    /// Take this step of the live order.
    Order(OrderStep),
    /// Nobody wants it any more, and the CA cannot have made anything of it: take the TXT values out, leave the order.
    Cancel,
    /// Nobody wants it any more, but the CA may have been sent the request: look at the order first, and have revoked what it has brought.
    LookBeforeCancel,
    /// The issuance is over.
    Nothing,
}

/// The next step of an issuance at `now`.
pub fn next_step(issuance: &IssuanceProgress, timing: &OrderTiming, now: DateTime<Utc>) -> IssuanceStep {
    if issuance.status.is_terminal() {
        return IssuanceStep::Nothing;
    }
    match (issuance.next_wake_at, &issuance.live_order) {
        (Some(at), _) if at > now => IssuanceStep::Wait(at),
        (_, Some(order)) if issuance.cancel_requested && order.may_be_finalized() => match order.next_poll_at {
            Some(at) if at > now => IssuanceStep::Wait(at),
            _ => IssuanceStep::LookBeforeCancel,
        },
        _ if issuance.cancel_requested => IssuanceStep::Cancel,
        (_, None) => IssuanceStep::BeginOrder,
        (_, Some(order)) => match order::next_step(order, timing, now) {
            OrderStep::Wait(until) => IssuanceStep::Wait(until),
            OrderStep::Nothing => IssuanceStep::BeginOrder,
            step => IssuanceStep::Order(step),
        },
    }
}

/// What has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// A step could not be taken; the order is as it was.
    Step,
    /// The order cannot succeed any more.
    Order,
}

/// How an issuance goes on after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same step again, after this pause. The order stays.
    RepeatStep(Duration),
    /// The attempt has failed; the next one after this pause, with the same order if it is not over.
    Rest(Duration),
    /// The issuance has failed for good.
    Fail,
}

/// What a failure has ended: some of them say of an order that it is over, whatever the step was.
pub const fn what_failed(failure: &Failure, reported: Failed) -> Failed {
    match failure.code {
        FailureCode::OrderLost
        | FailureCode::OrderExpired
        | FailureCode::OrderInvalid
        | FailureCode::OrderTimeout
        | FailureCode::AuthorizationTimeout
        | FailureCode::CertificateRejected
        | FailureCode::AcmeAccountDoesNotExist
        | FailureCode::AcmeOrderNotReady
        | FailureCode::AcmeAlreadyReplaced => Failed::Order,
        _ => match failure.class() {
            FailureClass::Final => Failed::Order,
            FailureClass::Heal => reported,
        },
    }
}

/// How an issuance goes on after `failure` at `now`.
///
/// A step that could not be taken is repeated in place for about a minute; then, and whenever an order is over, the ladder decides. `attempts` and
/// `step_failures` are those on record, this failure not yet counted.
pub fn after_failure(
    failure: &Failure,
    failed: Failed,
    (attempts, step_failures): (u32, u32),
    ladder: &RetryLadder,
    now: DateTime<Utc>,
    give_up_at: DateTime<Utc>,
) -> Verdict {
    if failure.class() == FailureClass::Final {
        return Verdict::Fail;
    }
    try_again(failure, failed, (attempts, step_failures), ladder, now, give_up_at)
}

/// How an issuance goes on that nobody wants any more, after `failure` of a look at its order at `now`; [`Verdict::Fail`] leaves the order.
///
/// Whatever the CA answers, it is asked again for as long as a certificate of this order could be of use to anybody, unless it does not know the
/// order: a look too many costs little, a certificate that nobody knows of costs more.
pub fn after_cancel_failure(
    failure: &Failure,
    counts: (u32, u32),
    ladder: &RetryLadder,
    now: DateTime<Utc>,
    give_up_at: DateTime<Utc>,
) -> Verdict {
    match failure.code {
        FailureCode::OrderLost => Verdict::Fail,
        // The CA takes its time: no reason to look every few seconds for ever.
        FailureCode::OrderTimeout => try_again(failure, Failed::Order, counts, ladder, now, give_up_at),
        _ => try_again(failure, Failed::Step, counts, ladder, now, give_up_at),
    }
}

fn try_again(
    failure: &Failure,
    failed: Failed,
    (attempts, step_failures): (u32, u32),
    ladder: &RetryLadder,
    now: DateTime<Utc>,
    give_up_at: DateTime<Utc>,
) -> Verdict {
    if failed == Failed::Step
        && let Some(pause) = step_backoff(step_failures + 1)
    {
        let pause = pause.max(failure.retry_after.unwrap_or_default());
        // A longer wait than the first rung is a rest: nobody should hold the issuance meanwhile.
        if pause <= ladder.rungs()[0] && now + pause < give_up_at {
            return Verdict::RepeatStep(pause);
        }
    }
    match ladder.next(attempts + 1, failure.retry_after, now, give_up_at) {
        Next::At(at) => Verdict::Rest((at - now).to_std().unwrap_or_default()),
        Next::GiveUp => Verdict::Fail,
    }
}

/// When an issuance stops trying: a first one after 24 h, a renewal when there is nothing valid left to renew (requirements section 6).
/// `expires_at` is the end of the version in use. A renewal that begins after or shortly before it gets the 24 h of a first one.
pub fn give_up_at(started_at: DateTime<Utc>, expires_at: Option<DateTime<Utc>>) -> DateTime<Utc> {
    let at_least = started_at + TimeDelta::hours(24);
    expires_at.map_or(at_least, |expiry| expiry.max(at_least))
}

/// Until when the order of an issuance that was cancelled is looked after: the longest life of a certificate that a CA may have made of it.
pub fn cancel_gives_up_at(cancelled_at: DateTime<Utc>) -> DateTime<Utc> {
    cancelled_at + TimeDelta::days(90)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::order::{OrderEvent, OrderStatus};

    proptest! {
        #[test]
        fn no_path_leaves_a_terminal_state(events in proptest::collection::vec(proptest::sample::select(IssuanceEvent::ALL.to_vec()), 0..20)) {
            let mut status = IssuanceStatus::Active;
            let mut ended = None;
            for event in events {
                status = status.after(event).unwrap_or(status);
                if let Some(ended) = ended {
                    prop_assert_eq!(status, ended);
                }
                ended = ended.or_else(|| status.is_terminal().then_some(status));
            }
        }

        #[test]
        fn every_active_issuance_has_a_next_step(
            status in proptest::sample::select(IssuanceStatus::ALL.to_vec()),
            wake in proptest::option::of(0..1_000i64),
            order_status in proptest::option::of(proptest::sample::select(OrderStatus::ALL.to_vec())),
            prepared in any::<bool>(),
            cancel_requested in any::<bool>(),
            now in 0..2_000i64,
        ) {
            let moment = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
            let live_order = order_status
                .map(|status| OrderProgress { status, presented_at: Some(moment(1)), prepared, next_poll_at: Some(moment(2)) });
            let progress = IssuanceProgress { status, next_wake_at: wake.map(moment), cancel_requested, live_order };
            let step = next_step(&progress, &OrderTiming::default(), moment(now));
            prop_assert_eq!(step == IssuanceStep::Nothing, status.is_terminal());
            prop_assert!(!matches!(step, IssuanceStep::Order(OrderStep::Nothing | OrderStep::Wait(_))));
            if cancel_requested {
                prop_assert!(!matches!(step, IssuanceStep::BeginOrder | IssuanceStep::Order(_)), "nothing of it goes on: {:?}", step);
            } else {
                prop_assert!(!matches!(step, IssuanceStep::Cancel | IssuanceStep::LookBeforeCancel));
            }
        }

        #[test]
        fn an_order_that_the_ca_may_have_been_sent_the_request_of_is_never_left_without_a_look(
            events in proptest::collection::vec(proptest::sample::select(OrderEvent::ALL.to_vec()), 0..40),
            cancelled_after in 0..40_usize,
        ) {
            let mut order = OrderProgress { status: OrderStatus::Intended, presented_at: None, prepared: false, next_poll_at: None };
            for event in events.into_iter().take(cancelled_after) {
                let Some(next) = order.status.after(event) else { continue };
                order.status = next;
                order.prepared |= event == OrderEvent::Prepared;
            }
            let now = DateTime::UNIX_EPOCH;
            let wanted = IssuanceProgress { status: IssuanceStatus::Active, next_wake_at: Some(now), cancel_requested: false, live_order: Some(order) };
            // The step that somebody may be in the middle of, and what they may have recorded of it already.
            let sends_the_request = next_step(&wanted, &OrderTiming::default(), now) == IssuanceStep::Order(OrderStep::Finalize);
            let was_sent = order.status == OrderStatus::Finalizing;
            let cancelled = IssuanceProgress { cancel_requested: true, ..wanted };
            let expected = if sends_the_request || was_sent { IssuanceStep::LookBeforeCancel } else { IssuanceStep::Cancel };
            prop_assert_eq!(next_step(&cancelled, &OrderTiming::default(), now), expected, "{:?}", order);
        }
    }

    #[test]
    fn a_cancelled_order_is_asked_for_until_the_ca_does_not_know_it_or_nothing_of_it_could_be_of_use() {
        let (start, ladder) = (DateTime::UNIX_EPOCH, RetryLadder::default());
        let give_up_at = cancel_gives_up_at(start);
        assert_eq!(give_up_at, start + TimeDelta::days(90));
        let after = |code, counts, now| after_cancel_failure(&Failure::new(code, "no"), counts, &ladder, now, give_up_at);
        // What would be final for an order that somebody wants is not for this one.
        for code in [FailureCode::AcmeMalformed, FailureCode::CaUnreachable, FailureCode::AcmeServerInternal] {
            assert_eq!(after(code, (0, 0), start), Verdict::RepeatStep(Duration::from_secs(1)), "{code}");
            assert_eq!(after(code, (3, 6), start), Verdict::Rest(Duration::from_hours(24)), "{code}");
            assert_eq!(after(code, (9, 6), give_up_at), Verdict::Fail, "{code}");
        }
        assert_eq!(after(FailureCode::OrderTimeout, (0, 0), start), Verdict::Rest(Duration::from_mins(1)));
        assert_eq!(after(FailureCode::OrderLost, (0, 0), start), Verdict::Fail);
    }

    #[test]
    fn a_step_is_repeated_in_place_and_then_the_ladder_takes_over_with_the_same_order() {
        let (start, ladder) = (DateTime::UNIX_EPOCH, RetryLadder::default());
        let give_up_at = give_up_at(start, None);
        let failure = Failure::new(FailureCode::DnsProviderUnreachable, "connection refused");
        let verdicts: Vec<Verdict> =
            (0..8).map(|failures| after_failure(&failure, Failed::Step, (0, failures), &ladder, start, give_up_at)).collect();
        let repeats = [1, 2, 4, 8, 16, 30].map(|seconds| Verdict::RepeatStep(Duration::from_secs(seconds)));
        assert_eq!(verdicts[..6], repeats);
        assert_eq!(verdicts[6..], [Verdict::Rest(Duration::from_mins(1)); 2]);
    }

    #[test]
    fn an_order_that_is_over_rests_on_the_ladder_until_it_is_time_to_give_up() {
        let (start, ladder) = (DateTime::UNIX_EPOCH, RetryLadder::default());
        let give_up_at = give_up_at(start, None);
        let failure = Failure::new(FailureCode::AcmeDns, "no TXT record");
        let mut now = start;
        let mut rests = Vec::new();
        while let Verdict::Rest(pause) =
            after_failure(&failure, Failed::Order, (u32::try_from(rests.len()).unwrap(), 0), &ladder, now, give_up_at)
        {
            now += pause;
            rests.push(pause.as_secs() / 60);
        }
        assert_eq!(rests[..3], [1, 10, 100]);
        assert!(now < give_up_at && rests.len() < 6, "{rests:?}");
    }

    #[test]
    fn a_final_failure_and_a_lost_order_end_the_order_whatever_the_step_was() {
        let final_failure = Failure::new(FailureCode::AcmeCaa, "CAA record forbids issuance");
        assert_eq!(what_failed(&final_failure, Failed::Step), Failed::Order);
        let lost = Failure::new(FailureCode::OrderLost, "no such order");
        assert_eq!(what_failed(&lost, Failed::Step), Failed::Order);
        let unreachable = Failure::new(FailureCode::CaUnreachable, "connection refused");
        assert_eq!(what_failed(&unreachable, Failed::Step), Failed::Step);
        let ladder = RetryLadder::default();
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(after_failure(&final_failure, Failed::Order, (0, 0), &ladder, now, give_up_at(now, None)), Verdict::Fail);
    }

    #[test]
    fn a_long_retry_after_is_a_rest_and_not_a_pause() {
        let ladder = RetryLadder::default();
        let now = DateTime::UNIX_EPOCH;
        let failure = Failure::new(FailureCode::AcmeRateLimited, "too many").with_retry_after(Some(Duration::from_hours(1)));
        let verdict = after_failure(&failure, Failed::Step, (0, 0), &ladder, now, give_up_at(now, None));
        assert_eq!(verdict, Verdict::Rest(Duration::from_hours(1)));
    }

    #[test]
    fn a_first_issuance_gives_up_after_a_day_and_a_renewal_at_expiry() {
        let start = DateTime::UNIX_EPOCH;
        assert_eq!(give_up_at(start, None), start + TimeDelta::hours(24));
        assert_eq!(give_up_at(start, Some(start + TimeDelta::days(30))), start + TimeDelta::days(30));
        assert_eq!(give_up_at(start, Some(start - TimeDelta::days(1))), start + TimeDelta::hours(24));
    }

    #[test]
    fn every_state_and_reason_is_read_back_from_its_name() {
        for status in IssuanceStatus::ALL {
            assert_eq!(IssuanceStatus::parse(status.as_str()), Some(status));
        }
        for reason in IssuanceReason::ALL {
            assert_eq!(IssuanceReason::parse(reason.as_str()), Some(reason));
        }
    }
}
