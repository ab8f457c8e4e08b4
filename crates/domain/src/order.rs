//! One ACME order as a state machine (RFC 8555 §7.1.6 seen from the client's side; requirements S3.20–S3.24).
//!
//! The state says what has been *recorded*. [`next_step`] says what to do now, [`OrderStatus::after`] what the record of an outcome
//! makes of it. A process may die anywhere: whoever comes next reads the state and takes the same step again, so every step can be repeated.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// What is on record about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OrderStatus {
    /// We mean to place an order; the CA may not have heard of it.
    Intended,
    /// The CA has the order, and we have its URL.
    Placed,
    /// The TXT values are written down; the zone does not yet show them.
    Presenting,
    /// The zone shows them since a moment on record; resolvers are given time.
    Propagating,
    /// The CA was told to look; its authorizations are polled.
    Validating,
    /// The CA holds every name proven.
    Authorized,
    /// The CA was sent the request; the order is polled for its certificate.
    Finalizing,
    /// Terminal: the certificate is stored as a version.
    Issued,
    /// Terminal: the CA or we gave this order up. Its issuance may place another.
    Failed,
    /// Terminal: nobody wants its certificate any more.
    Abandoned,
}

/// What is recorded after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderEvent {
    /// The CA answered newOrder with a URL.
    Placed,
    /// Authorizations were read, TXT values written down.
    ChallengesWritten,
    /// Every authorization was valid already.
    AlreadyAuthorized,
    /// The zone was read back with our values.
    Presented,
    /// The CA was told of every challenge.
    Notified,
    /// Every authorization is valid.
    Authorized,
    /// Key and certificate request are stored. Changes no state.
    Prepared,
    /// The CA has the request.
    Finalized,
    /// The certificate was checked and stored.
    Issued,
    /// The order cannot succeed any more.
    Failed,
    /// The issuance was cancelled, or its account was suspended.
    Abandoned,
}

impl OrderStatus {
    /// Every state, in the order in which an order passes through them.
    pub const ALL: [Self; 10] = [
        Self::Intended,
        Self::Placed,
        Self::Presenting,
        Self::Propagating,
        Self::Validating,
        Self::Authorized,
        Self::Finalizing,
        Self::Issued,
        Self::Failed,
        Self::Abandoned,
    ];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Placed => "placed",
            Self::Presenting => "presenting",
            Self::Propagating => "propagating",
            Self::Validating => "validating",
            Self::Authorized => "authorized",
            Self::Finalizing => "finalizing",
            Self::Issued => "issued",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether the order is over for good.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Issued | Self::Failed | Self::Abandoned)
    }

    /// The state after `event`, or `None` where the event cannot follow.
    pub const fn after(self, event: OrderEvent) -> Option<Self> {
        if self.is_terminal() {
            return None;
        }
        match (self, event) {
            (_, OrderEvent::Failed) => Some(Self::Failed),
            (_, OrderEvent::Abandoned) => Some(Self::Abandoned),
            (Self::Intended, OrderEvent::Placed) => Some(Self::Placed),
            (Self::Placed, OrderEvent::ChallengesWritten) => Some(Self::Presenting),
            (Self::Placed, OrderEvent::AlreadyAuthorized) | (Self::Validating, OrderEvent::Authorized) => Some(Self::Authorized),
            (Self::Presenting, OrderEvent::Presented) => Some(Self::Propagating),
            (Self::Propagating, OrderEvent::Notified) => Some(Self::Validating),
            (Self::Propagating | Self::Authorized, OrderEvent::Prepared) => Some(self),
            (Self::Authorized, OrderEvent::Finalized) => Some(Self::Finalizing),
            (Self::Finalizing, OrderEvent::Issued) => Some(Self::Issued),
            _ => None,
        }
    }
}

impl OrderEvent {
    /// Every event.
    pub const ALL: [Self; 11] = [
        Self::Placed,
        Self::ChallengesWritten,
        Self::AlreadyAuthorized,
        Self::Presented,
        Self::Notified,
        Self::Authorized,
        Self::Prepared,
        Self::Finalized,
        Self::Issued,
        Self::Failed,
        Self::Abandoned,
    ];

    /// The name in logs and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::ChallengesWritten => "challenges_written",
            Self::AlreadyAuthorized => "already_authorized",
            Self::Presented => "presented",
            Self::Notified => "notified",
            Self::Authorized => "authorized",
            Self::Prepared => "prepared",
            Self::Finalized => "finalized",
            Self::Issued => "issued",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the next step of an order depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderProgress {
    /// What is on record.
    pub status: OrderStatus,
    /// Since when the zone shows the TXT values.
    pub presented_at: Option<DateTime<Utc>>,
    /// Whether key and request are stored.
    pub prepared: bool,
    /// Before this moment the CA is not asked again.
    pub next_poll_at: Option<DateTime<Utc>>,
}

impl OrderProgress {
    /// Whether the CA may have been sent the certificate request: the step that sends it is the next, so that somebody may be in the middle of it, or
    /// is on record.
    pub const fn may_be_finalized(&self) -> bool {
        matches!((self.status, self.prepared), (OrderStatus::Authorized, true) | (OrderStatus::Finalizing, _))
    }
}

/// How long to wait, how often to ask (requirements S3.22, S3.23).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderTiming {
    /// From the zone's first answer with our values to telling the CA.
    pub propagation: Duration,
    /// The longest pause between two looks.
    pub poll_interval: Duration,
    /// How often one authorization, or the order, is looked at.
    pub poll_limit: u32,
}

impl Default for OrderTiming {
    fn default() -> Self {
        Self { propagation: Duration::from_secs(5), poll_interval: Duration::from_secs(2), poll_limit: 30 }
    }
}

impl OrderTiming {
    /// The pause after the look number `polls`, counted from 1: 250 ms, doubling up to the interval. What the CA asks for wins, up to a minute.
    pub fn poll_pause(&self, polls: u32, retry_after: Option<Duration>) -> Duration {
        const FIRST: Duration = Duration::from_millis(250);
        const LONGEST_ASKED_FOR: Duration = Duration::from_mins(1);
        let doubled = FIRST.saturating_mul(1 << polls.saturating_sub(1).min(10));
        retry_after.map_or(doubled.min(self.poll_interval), |asked| asked.min(LONGEST_ASKED_FOR))
    }
}

/// What to do with an order now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStep {
    /// Send newOrder.
    Place,
    /// Read the authorizations and write the TXT values down.
    WriteChallenges,
    /// Bring the zone to show the TXT values.
    Present,
    /// Make the key and the certificate request, and store both.
    Prepare,
    /// Nothing before this moment.
    Wait(DateTime<Utc>),
    /// Tell the CA to look.
    Notify,
    /// Look at the authorizations.
    PollAuthorizations,
    /// Send the request.
    Finalize,
    /// Look at the order, and fetch the certificate once it is there.
    PollOrder,
    /// The order is over.
    Nothing,
}

/// The next step of an order at `now`.
///
/// The key is made while propagation is being waited for, so that it costs nobody time; an order that skipped the wait makes it before it finalizes.
pub fn next_step(order: &OrderProgress, timing: &OrderTiming, now: DateTime<Utc>) -> OrderStep {
    let poll = |step| match order.next_poll_at {
        Some(at) if at > now => OrderStep::Wait(at),
        _ => step,
    };
    match order.status {
        OrderStatus::Intended => OrderStep::Place,
        OrderStatus::Placed => OrderStep::WriteChallenges,
        OrderStatus::Presenting => OrderStep::Present,
        OrderStatus::Propagating | OrderStatus::Authorized if !order.prepared => OrderStep::Prepare,
        OrderStatus::Propagating => {
            // The database holds a moment for this state; without one there is nothing to wait for.
            let told_at = order.presented_at.map_or(now, |presented_at| presented_at + timing.propagation);
            if told_at > now { OrderStep::Wait(told_at) } else { OrderStep::Notify }
        }
        OrderStatus::Validating => poll(OrderStep::PollAuthorizations),
        OrderStatus::Authorized => OrderStep::Finalize,
        OrderStatus::Finalizing => poll(OrderStep::PollOrder),
        OrderStatus::Issued | OrderStatus::Failed | OrderStatus::Abandoned => OrderStep::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_event() -> impl Strategy<Value = OrderEvent> {
        proptest::sample::select(OrderEvent::ALL.to_vec())
    }

    fn any_progress() -> impl Strategy<Value = OrderProgress> {
        let moment = || proptest::option::of((0..1_000i64).prop_map(|s| DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(s)));
        (proptest::sample::select(OrderStatus::ALL.to_vec()), moment(), any::<bool>(), moment())
            .prop_map(|(status, presented_at, prepared, next_poll_at)| OrderProgress { status, presented_at, prepared, next_poll_at })
    }

    proptest! {
        #[test]
        fn no_path_leaves_a_terminal_state(events in proptest::collection::vec(any_event(), 0..40)) {
            let mut status = OrderStatus::Intended;
            let mut over = false;
            for event in events {
                let next = status.after(event);
                prop_assert!(!over || next.is_none());
                status = next.unwrap_or(status);
                over |= status.is_terminal();
            }
        }

        #[test]
        fn every_live_state_has_a_step_and_every_terminal_one_has_none(progress in any_progress(), now in 0..2_000i64) {
            let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(now);
            let step = next_step(&progress, &OrderTiming::default(), now);
            prop_assert_eq!(step == OrderStep::Nothing, progress.status.is_terminal());
            if let OrderStep::Wait(until) = step {
                prop_assert!(until > now);
                let later = next_step(&progress, &OrderTiming::default(), until);
                prop_assert!(!matches!(later, OrderStep::Wait(_)), "a wait that is over is followed by an act");
            }
        }

        #[test]
        fn nothing_is_finalized_without_a_stored_request(progress in any_progress(), now in 0..2_000i64) {
            let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(now);
            if next_step(&progress, &OrderTiming::default(), now) == OrderStep::Finalize {
                prop_assert!(progress.prepared);
            }
        }
    }

    #[test]
    fn every_live_state_can_fail_be_abandoned_and_reach_issued() {
        for start in OrderStatus::ALL.into_iter().filter(|status| !status.is_terminal()) {
            assert_eq!(start.after(OrderEvent::Failed), Some(OrderStatus::Failed));
            assert_eq!(start.after(OrderEvent::Abandoned), Some(OrderStatus::Abandoned));
            let mut reached = vec![start];
            let mut next = 0;
            while next < reached.len() {
                let found: Vec<_> = OrderEvent::ALL.into_iter().filter_map(|event| reached[next].after(event)).collect();
                reached.extend(found.into_iter().filter(|status| !reached.contains(status)).collect::<std::collections::HashSet<_>>());
                next += 1;
            }
            assert!(reached.contains(&OrderStatus::Issued), "{start} never ends well");
        }
    }

    #[test]
    fn every_state_is_read_back_from_its_name() {
        for status in OrderStatus::ALL {
            assert_eq!(OrderStatus::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn looks_come_soon_at_first_and_then_at_the_interval() {
        let timing = OrderTiming::default();
        let pauses: Vec<u128> = (1..=6).map(|polls| timing.poll_pause(polls, None).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 2000, 2000]);
        assert_eq!(timing.poll_pause(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(timing.poll_pause(1, Some(Duration::from_hours(24))), Duration::from_mins(1));
        assert_eq!(timing.poll_pause(u32::MAX, None), Duration::from_secs(2));
    }
}
