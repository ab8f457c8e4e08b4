//! When a certificate renews (requirements section 6, S3.5; RFC 9773).

use chrono::{DateTime, TimeDelta, Utc};

/// The longest time before expiry at which a certificate renews.
const LONGEST_LEAD: TimeDelta = TimeDelta::days(30);

/// Certificates that last less than this renew at half their time, all others with a third of it left.
const SHORT_LIFETIME: TimeDelta = TimeDelta::days(10);

/// Of a window of the CA's, this part at its end is left to the renewal itself: whoever begins at the last moment is done too late. When the CA is about to revoke all of
/// its certificates, too late is without a valid one.
const PART_FOR_RENEWING: i32 = 10;

/// No renewal needs more than this.
const LONGEST_TIME_FOR_RENEWING: TimeDelta = TimeDelta::hours(2);

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

/// A moment in `[start, end)`, in whole seconds from its start, and early enough that there is time for the renewal before the end.
fn pick(start: DateTime<Utc>, end: DateTime<Utc>, seed: u128) -> DateTime<Utc> {
    let window = end - start;
    let seconds = (window - (window / PART_FOR_RENEWING).min(LONGEST_TIME_FOR_RENEWING)).num_seconds().max(0);
    let share = (u128::from(seconds.unsigned_abs()) * u128::from(mix(seed))) >> u64::BITS;
    start + TimeDelta::seconds(i64::try_from(share).unwrap_or(0))
}

/// Spreads the bits of identifiers that begin alike over 64 (the finalizer of splitmix64, once for each half).
pub(crate) fn mix(seed: u128) -> u64 {
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

/// For so long after payment is found missing, renewals go on (requirements section 6).
pub const RENEWALS_WITHOUT_PAYMENT: TimeDelta = TimeDelta::days(14);

/// A renewal that failed for good is tried again after this at the most, in case somebody has seen to the reason.
pub const LONGEST_PAUSE_AFTER_FAILURE: TimeDelta = TimeDelta::days(1);

/// And after this at the least: what fails at once must not be asked for in a row without end.
pub const SHORTEST_PAUSE_AFTER_FAILURE: TimeDelta = TimeDelta::minutes(10);

/// How long a renewal that failed for good waits before it is tried again: a quarter of the time that is left, so that a certificate that lasts hours
/// has more than one try, between the two bounds.
pub fn pause_after_failure(failed_at: DateTime<Utc>, not_after: DateTime<Utc>) -> TimeDelta {
    ((not_after - failed_at) / 4).clamp(SHORTEST_PAUSE_AFTER_FAILURE, LONGEST_PAUSE_AFTER_FAILURE)
}

/// What has renewed by itself does not do so again within this, whatever the CA suggests: a window that is past for every certificate must not
/// make an endless row of them.
pub const PAUSE_AFTER_RENEWAL: TimeDelta = TimeDelta::days(1);

/// What somebody went back to (requirements S0.2) is kept for this long at the least: its own renewal is often due already, and the version that was
/// left would be replaced before anybody has seen to the reason. As much as after a failure, so that what ends soon renews in time.
pub fn pause_after_activation(activated_at: DateTime<Utc>, not_after: DateTime<Utc>) -> TimeDelta {
    pause_after_failure(activated_at, not_after)
}

/// What stands in the way of a renewal that is wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RenewalBlock {
    /// The account is suspended.
    Suspended,
    /// The plan has no auto-renewal, or not for this certificate.
    Plan,
    /// The zone was deleted.
    ZoneDeleted,
    /// Control of the zone is no longer proven.
    ZoneLost,
}

impl RenewalBlock {
    /// Every block.
    pub const ALL: [Self; 4] = [Self::Suspended, Self::Plan, Self::ZoneDeleted, Self::ZoneLost];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Plan => "plan",
            Self::ZoneDeleted => "zone_deleted",
            Self::ZoneLost => "zone_lost",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|block| block.as_str() == text)
    }

    /// Why it does not renew, for people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Suspended => "the account is suspended",
            Self::Plan => "the plan does not include it",
            Self::ZoneDeleted => "its zone was deleted",
            Self::ZoneLost => "control of its zone is no longer proven",
        }
    }

    /// What the customer can do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Suspended => "Settle what is outstanding, or write to support; renewals then go on by themselves.",
            Self::Plan => "Upgrade, and it renews by itself again; until then renew it by hand where the plan allows that.",
            Self::ZoneDeleted => "Import and verify the zone again; renewals then go on by themselves.",
            Self::ZoneLost => "Set the zone's TXT record again and verify the zone; renewals then go on by themselves.",
        }
    }
}

/// Whether the account is answered, as far as renewals go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Good,
    /// Payment has been missing since then.
    Unpaid(DateTime<Utc>),
    /// Abuse was found.
    Abusive,
}

/// What has become of the zone of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneStanding {
    /// Proven to be the account's.
    Verified,
    /// Not proven, or no longer.
    Lost,
    /// Deleted by the customer.
    Deleted,
}

/// All that the schedule of a certificate's renewal follows from.
#[derive(Clone, Copy, Debug)]
pub struct RenewalFacts {
    /// Whether the customer wishes it to renew by itself.
    pub wished: bool,
    /// Whether the plan has auto-renewal, and holds the certificate as it is.
    pub in_plan: bool,
    /// How the account stands.
    pub standing: Standing,
    /// How its zone stands.
    pub zone: ZoneStanding,
    /// First and last moment of the current version; none if there is none or it was revoked.
    pub validity: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// What the CA suggests.
    pub ari: Option<AriWindow>,
    /// Whether an issuance is live: it is left to itself.
    pub issuance_is_live: bool,
    /// When the newest issuance since the current version failed for good.
    pub failed_at: Option<DateTime<Utc>>,
    /// When the current version came, if a renewal by itself has brought it.
    pub renewed_at: Option<DateTime<Utc>>,
    /// When somebody went back to the current version.
    pub activated_at: Option<DateTime<Utc>>,
    /// The certificate's UUID as a number.
    pub seed: u128,
    /// Of a dual certificate whose version with the other key has not followed the current version yet.
    pub alternate: Option<AlternateFacts>,
}

/// What is known of the other key of a dual certificate, while the version with it is still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlternateFacts {
    /// When the newest issuance for it since the current version failed for good.
    pub failed_at: Option<DateTime<Utc>>,
}

/// When a certificate renews by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenewalSchedule {
    /// What people see: the moment by the rules of [`renewal_moment`], also when it is past since a renewal failed (requirements S3.35).
    pub next_renewal_at: Option<DateTime<Utc>>,
    /// From when on the scan begins an issuance.
    pub due_at: Option<DateTime<Utc>>,
    /// What stands in the way, where it is wished and does not happen.
    pub blocked_by: Option<RenewalBlock>,
}

/// When a certificate renews by itself, seen at `now`. The one rule for it: whoever changes one of the facts stores what this says.
///
/// One without a valid version does not renew by itself: a renewal by hand takes slot and domain again (requirements X13).
pub fn schedule(facts: &RenewalFacts, now: DateTime<Utc>) -> RenewalSchedule {
    let Some((not_before, not_after)) = facts.validity.filter(|&(_, not_after)| facts.wished && now <= not_after) else {
        return RenewalSchedule::default();
    };
    let by_lifetime = renewal_moment(not_before, not_after, None, facts.seed);
    let earliest = facts.renewed_at.map_or(DateTime::<Utc>::MIN_UTC, |renewed_at| by_lifetime.min(renewed_at + PAUSE_AFTER_RENEWAL));
    let kept_until = facts.activated_at.map_or(earliest, |activated_at| activated_at + pause_after_activation(activated_at, not_after));
    let moment = renewal_moment(not_before, not_after, facts.ari, facts.seed).max(earliest).max(kept_until);
    if let Some(block) = block(facts, moment.max(now)) {
        return RenewalSchedule { blocked_by: Some(block), ..RenewalSchedule::default() };
    }
    let paused = |failed_at| failed_at + pause_after_failure(failed_at, not_after);
    let due_at = facts.failed_at.map_or(moment, |failed_at| moment.max(paused(failed_at)));
    // What the other key still lacks is not put off until both renew.
    let due_at = facts.alternate.map_or(due_at, |alternate| due_at.min(alternate.failed_at.map_or(not_before, paused)));
    RenewalSchedule { next_renewal_at: Some(moment), due_at: (!facts.issuance_is_live).then_some(due_at), blocked_by: None }
}

/// What stands in the way of a renewal at the moment `renewal`.
pub fn block(facts: &RenewalFacts, renewal: DateTime<Utc>) -> Option<RenewalBlock> {
    let suspended = match facts.standing {
        Standing::Good => false,
        Standing::Unpaid(since) => renewal > since + RENEWALS_WITHOUT_PAYMENT,
        Standing::Abusive => true,
    };
    if suspended {
        return Some(RenewalBlock::Suspended);
    }
    if !facts.in_plan {
        return Some(RenewalBlock::Plan);
    }
    match facts.zone {
        ZoneStanding::Verified => None,
        ZoneStanding::Lost => Some(RenewalBlock::ZoneLost),
        ZoneStanding::Deleted => Some(RenewalBlock::ZoneDeleted),
    }
}

#[cfg(test)]
mod tests;
