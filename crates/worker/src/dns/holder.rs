//! The holder of a zone's lease: brings the zone in `PowerDNS` to what the rows say, and puts on record that it is there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use uuid::Uuid;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_store::challenge_records::{self, ZoneValue};
use zonecert_store::zone_projections::{self, Generation, ZoneLease};
use zonecert_store::{Store, StoreError};

use super::change::Desired;
use super::failure::DnsFailure;
use super::nameservers::NameServers;
use super::powerdns::{CALL_WITHIN, PowerDns};
use super::zone::{MARK, RrSetChange, Zone, fqdn};

/// Twice the time that one call of `PowerDNS` can take. The lease is renewed before each, so no call of ours outlives it, unless the process is held up
/// in the very moment of sending: `PowerDNS` knows no fences, and such a change stands until the zone is projected again.
pub(super) const LEASE: Duration = Duration::from_secs(2 * CALL_WITHIN.as_secs());

/// How often the zone is brought up to date while its rows go on changing. Whoever changes them later has sent a job of their own.
const PASSES: usize = 8;

/// How often a change is written that is not there when the zone is read back.
const WRITES: usize = 4;

/// Why a zone was not brought to what the rows say.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Somebody else holds the lease, and brings it there.
    LeaseLost,
    /// The database.
    Store(StoreError),
    /// `PowerDNS`: nothing, or nobody knows what, was changed.
    Dns(DnsFailure),
    /// `PowerDNS`, at some names; all others are as they should be.
    Names(Refused),
}

/// Names that `PowerDNS` will not change.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// With their final dots.
    pub(super) names: BTreeSet<String>,
    /// Why, of the first of them.
    failure: DnsFailure,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stale => Self::LeaseLost,
            other => Self::Store(other),
        }
    }
}

impl From<DnsFailure> for Trouble {
    fn from(failure: DnsFailure) -> Self {
        Self::Dns(failure)
    }
}

impl Trouble {
    /// What it means to an order.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::LeaseLost => Failure::new(FailureCode::Internal, "the lease of the zone was lost"),
            Self::Store(StoreError::Unavailable(_)) => Failure::new(FailureCode::DatabaseUnavailable, "our database did not answer"),
            Self::Store(_) => Failure::new(FailureCode::Internal, "our database refused"),
            Self::Dns(failure) | Self::Names(Refused { failure, .. }) => failure.clone().into(),
        }
    }
}

/// Who may change the zone now.
pub(super) struct Holder<'a> {
    pub(super) store: &'a Store,
    pub(super) powerdns: &'a PowerDns,
    pub(super) nameservers: &'a NameServers,
    pub(super) lease: &'a ZoneLease,
}

/// What the rows say at one moment.
struct Rows {
    generation: Generation,
    created_by_us: bool,
    hosted: bool,
    values: Vec<ZoneValue>,
}

impl Rows {
    fn wants_nothing(&self) -> bool {
        !self.values.iter().any(|value| value.wanted)
    }

    /// Rows that can be deleted once the names are as they should be, those at `refused` excepted.
    fn gone(&self, refused: Option<&Refused>) -> Vec<Uuid> {
        let seen = |value: &&ZoneValue| refused.is_none_or(|refused| !refused.names.contains(&fqdn(&value.name)));
        self.values.iter().filter(|value| !value.wanted).filter(seen).map(|value| value.id).collect()
    }
}

impl Holder<'_> {
    /// Goes on until the zone holds what the rows say and these stand still.
    pub(super) async fn run(&self) -> Result<(), Trouble> {
        let mut vanished = None;
        for _ in 0..PASSES {
            match self.pass().await {
                Ok(true) => return Ok(()),
                Ok(false) => vanished = None,
                // Deleted under our hands: the next pass makes it anew, if it is ours to make.
                Err(Trouble::Dns(failure @ DnsFailure::ZoneMissing(_))) => vanished = Some(failure),
                Err(other) => return Err(other),
            }
        }
        vanished.map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Whether the rows stood still meanwhile.
    async fn pass(&self) -> Result<bool, Trouble> {
        let rows = self.read_rows().await?;
        let refused = match self.find_zone().await? {
            None if rows.hosted => {
                let zone = self.create_zone().await?;
                self.write(&rows, zone).await?
            }
            None if rows.wants_nothing() => None,
            None => return Err(DnsFailure::ZoneLost(self.lease.dns_zone.clone()).into()),
            Some(zone) => {
                let ours = rows.created_by_us && self.check_mark(&zone).await?;
                if ours && !rows.hosted && rows.wants_nothing() {
                    self.delete_zone().await?;
                    None
                } else {
                    self.write(&rows, zone).await?
                }
            }
        };
        self.record(&rows, refused).await
    }

    async fn read_rows(&self) -> Result<Rows, Trouble> {
        let dns_zone = &self.lease.dns_zone;
        let rows = self.store.platform(async |conn| {
            // The generation first: whoever raised it to what we read has committed their rows, so what we read next holds them.
            let projection = zone_projections::find_projection(conn, dns_zone).await?.ok_or(StoreError::Stale)?;
            Ok::<_, StoreError>(Rows {
                generation: projection.generation,
                created_by_us: projection.created_by_us,
                hosted: zone_projections::zone_is_hosted(conn, dns_zone).await?,
                values: challenge_records::list_zone_values(conn, dns_zone).await?,
            })
        });
        Ok(rows.await?)
    }

    /// Renews the lease, and says until when a call of `PowerDNS` may begin. Before each call, so that none begins once the lease is somebody else's.
    async fn renew(&self) -> Result<Instant, Trouble> {
        let until = Instant::now() + CALL_WITHIN;
        self.store.platform(async |conn| zone_projections::renew_lease(conn, self.lease, LEASE).await).await?;
        Ok(until)
    }

    async fn find_zone(&self) -> Result<Option<Zone>, Trouble> {
        let until = self.renew().await?;
        Ok(self.powerdns.find_zone(&self.lease.dns_zone, until).await?)
    }

    async fn get_zone(&self) -> Result<Zone, Trouble> {
        let missing = || DnsFailure::ZoneMissing(self.lease.dns_zone.clone());
        Ok(self.find_zone().await?.ok_or_else(missing)?)
    }

    /// We write down that the zone is ours before we make it, so that dying in between does not leave it behind for ever; and we believe it
    /// only of a zone that bears our mark, so that one which somebody else made first stays theirs.
    async fn create_zone(&self) -> Result<Zone, Trouble> {
        self.record_created_by_us(true).await?;
        let until = self.renew().await?;
        self.powerdns.create_zone(&self.lease.dns_zone, self.nameservers, until).await?;
        let zone = self.get_zone().await?;
        if self.check_mark(&zone).await? {
            tracing::info!(dns_zone = self.lease.dns_zone, "zone created in PowerDNS");
        }
        Ok(zone)
    }

    /// Whether a zone that we mean to have made bears our mark; if it does not, we no longer mean so.
    async fn check_mark(&self, zone: &Zone) -> Result<bool, Trouble> {
        let marked = zone.account == MARK;
        if !marked {
            self.record_created_by_us(false).await?;
            tracing::warn!(dns_zone = self.lease.dns_zone, account = zone.account, "the zone in PowerDNS is not ours, and adopted");
        }
        Ok(marked)
    }

    async fn record_created_by_us(&self, created_by_us: bool) -> Result<(), Trouble> {
        let lease = self.lease;
        self.store.platform(async |conn| zone_projections::record_created_by_us(conn, lease, created_by_us).await).await?;
        Ok(())
    }

    async fn delete_zone(&self) -> Result<(), Trouble> {
        let dns_zone = &self.lease.dns_zone;
        let until = self.renew().await?;
        self.powerdns.delete_zone(dns_zone, until).await?;
        if self.find_zone().await?.is_some() {
            return Err(DnsFailure::Mismatch(format!("the zone {dns_zone} was deleted and is still there")).into());
        }
        self.record_created_by_us(false).await?;
        tracing::info!(dns_zone, "zone deleted from PowerDNS: no account holds it any more");
        Ok(())
    }

    /// Writes until the zone, read back, holds what the rows say. Returns the names that `PowerDNS` would not change, if any.
    async fn write(&self, rows: &Rows, mut zone: Zone) -> Result<Option<Refused>, Trouble> {
        let dns_zone = &self.lease.dns_zone;
        let desired = Desired::new(&rows.values);
        let mut refused = None;
        for _ in 0..WRITES {
            let changes = self.still_to_do(&desired, &zone, refused.as_ref());
            if changes.is_empty() {
                return Ok(refused);
            }
            tracing::debug!(dns_zone, names = ?changes.iter().map(|change| change.name.as_str()).collect::<Vec<_>>(), "zone is changed");
            refused = merge(refused, self.send(&changes).await?);
            let before = std::mem::replace(&mut zone, self.get_zone().await?);
            for name in desired.lost_foreign(&before, &zone) {
                tracing::warn!(dns_zone, name, "somebody else changed the records of this name at the same moment");
            }
        }
        let left = self.still_to_do(&desired, &zone, refused.as_ref());
        if left.is_empty() {
            return Ok(refused);
        }
        let names: Vec<&str> = left.iter().map(|change| change.name.as_str()).collect();
        Err(DnsFailure::Mismatch(format!("the records of {} are not as written, {WRITES} times", names.join(", "))).into())
    }

    fn still_to_do(&self, desired: &Desired, zone: &Zone, refused: Option<&Refused>) -> Vec<RrSetChange> {
        let mut changes = desired.changes(&self.lease.dns_zone, zone, self.nameservers);
        changes.retain(|change| refused.is_none_or(|refused| !refused.names.contains(&change.name)));
        changes
    }

    /// All changes at once. If that is refused, each name by itself, so that one that cannot be changed does not hold up the others.
    async fn send(&self, changes: &[RrSetChange]) -> Result<Option<Refused>, Trouble> {
        let dns_zone = &self.lease.dns_zone;
        let until = self.renew().await?;
        match self.powerdns.change_zone(dns_zone, changes, until).await {
            Ok(()) => return Ok(None),
            Err(DnsFailure::Refused(_)) => {}
            Err(other) => return Err(other.into()),
        }
        let mut refused = None;
        for change in changes {
            let until = self.renew().await?;
            match self.powerdns.change_zone(dns_zone, std::slice::from_ref(change), until).await {
                Ok(()) => {}
                Err(failure @ DnsFailure::Refused(_)) => {
                    refused = merge(refused, Some(Refused { names: BTreeSet::from([change.name.clone()]), failure }));
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(refused)
    }

    async fn record(&self, rows: &Rows, refused: Option<Refused>) -> Result<bool, Trouble> {
        let (lease, generation, gone) = (self.lease, rows.generation, rows.gone(refused.as_ref()));
        let Some(refused) = refused else {
            let now = self.store.platform(async |conn| {
                let now = zone_projections::record_projected(conn, lease, generation).await?;
                challenge_records::delete_gone(conn, &gone).await?;
                Ok::<_, StoreError>(now)
            });
            return Ok(now.await? == generation);
        };
        let deleted = self.store.platform(async |conn| {
            zone_projections::renew_lease(conn, lease, LEASE).await?;
            challenge_records::delete_gone(conn, &gone).await
        });
        deleted.await?;
        Err(Trouble::Names(refused))
    }
}

fn merge(one: Option<Refused>, other: Option<Refused>) -> Option<Refused> {
    match (one, other) {
        (Some(mut one), Some(other)) => {
            one.names.extend(other.names);
            Some(one)
        }
        (one, other) => one.or(other),
    }
}
