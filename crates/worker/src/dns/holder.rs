//! The holder of a zone's lease: brings the zone in `PowerDNS` to what the rows say, and puts on record that it is there.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_store::challenge_records::{self, ZoneValue};
use zonecert_store::hosted_zones::{self, ZoneHolder, ZoneProof, ZoneRecord};
use zonecert_store::zone_projections::{self, Generation, ZoneLease};
use zonecert_store::{Store, StoreError};

use super::failure::DnsFailure;
use super::nameservers::NameServers;
use super::powerdns::{CALL_WITHIN, PowerDns};
use super::records::Records;
use super::write::Written;
use super::zone::{MARK, Zone, fqdn};

/// Twice the time that one call of `PowerDNS` can take. The lease is renewed before each, so no call of ours outlives it, unless the process is held up
/// in the very moment of sending: `PowerDNS` knows no fences, and such a change stands until the zone is projected again.
pub(super) const LEASE: Duration = Duration::from_secs(2 * CALL_WITHIN.as_secs());

/// How often the zone is brought up to date while its rows go on changing. Whoever changes them later has sent a job of their own.
const PASSES: usize = 8;

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
    pub(super) failure: DnsFailure,
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
    /// Since when the lease is good for [`LEASE`].
    pub(super) renewed: Mutex<Instant>,
    /// Whether the zone is the platform's own: always there, and nobody's.
    pub(super) platform: bool,
}

/// What the rows say at one moment.
pub(super) struct Rows {
    generation: Generation,
    created_by_us: bool,
    /// Whether the zone belongs into `PowerDNS`, whatever orders want.
    hosted: bool,
    pub(super) holder: Option<ZoneHolder>,
    pub(super) values: Vec<ZoneValue>,
    pub(super) proofs: Vec<ZoneProof>,
    pub(super) records: Vec<ZoneRecord>,
}

impl Rows {
    fn wants_nothing(&self) -> bool {
        !self.values.iter().any(|value| value.wanted)
    }

    /// Challenges that can be deleted once the names are as they should be, those at `refused` excepted.
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
        let zone = match self.find_zone().await? {
            None if rows.hosted => Some(self.create_zone().await?),
            None if rows.wants_nothing() => None,
            None => return Err(DnsFailure::ZoneLost(self.lease.dns_zone.clone()).into()),
            Some(zone) => {
                let ours = rows.created_by_us && self.check_mark(&zone).await?;
                if ours && !rows.hosted && rows.wants_nothing() {
                    self.delete_zone().await?;
                    None
                } else {
                    Some(zone)
                }
            }
        };
        let records = Records::new(&self.lease.dns_zone, &rows.records);
        let written = match zone {
            Some(zone) => {
                let (written, zone) = self.write(&rows, &records, zone).await?;
                self.adopt(&rows, &records, &zone).await?;
                written
            }
            None => Written::default(),
        };
        self.note_refusals(&records, &written).await?;
        self.record(&rows, &records, written).await
    }

    async fn read_rows(&self) -> Result<Rows, Trouble> {
        let (dns_zone, platform) = (&self.lease.dns_zone, self.platform);
        let rows = self.store.platform(async |conn| {
            // The generation first: whoever raised it to what we read has committed their rows, so what we read next holds them.
            let projection = zone_projections::find_projection(conn, dns_zone).await?.ok_or(StoreError::Stale)?;
            let mut rows = Rows {
                generation: projection.generation,
                created_by_us: projection.created_by_us,
                hosted: platform,
                holder: None,
                values: challenge_records::list_zone_values(conn, dns_zone).await?,
                proofs: Vec::new(),
                records: Vec::new(),
            };
            if !platform {
                rows.holder = hosted_zones::find_holder(conn, dns_zone).await?;
                rows.hosted = rows.holder.is_some();
                rows.proofs = hosted_zones::list_proofs(conn, dns_zone).await?;
                rows.records = hosted_zones::list_records(conn, dns_zone).await?;
            }
            Ok::<_, StoreError>(rows)
        });
        Ok(rows.await?)
    }

    /// Renews the lease, and says until when a call of `PowerDNS` may begin. Before each change, so that none begins once the lease is somebody else's.
    pub(super) async fn renew(&self) -> Result<Instant, Trouble> {
        let now = Instant::now();
        self.store.autocommit(async |conn| zone_projections::renew_lease(conn, self.lease, LEASE).await).await?;
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(now + CALL_WITHIN)
    }

    /// The same for a look, which does no harm: renews once half of the time is over.
    async fn renew_for_a_look(&self) -> Result<Instant, Trouble> {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() < renewed + CALL_WITHIN / 2 { Ok(renewed + CALL_WITHIN) } else { self.renew().await }
    }

    async fn find_zone(&self) -> Result<Option<Zone>, Trouble> {
        let until = self.renew_for_a_look().await?;
        Ok(self.powerdns.find_zone(&self.lease.dns_zone, until).await?)
    }

    pub(super) async fn get_zone(&self) -> Result<Zone, Trouble> {
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
        self.store.autocommit(async |conn| zone_projections::record_created_by_us(conn, lease, created_by_us).await).await?;
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

    async fn record(&self, rows: &Rows, records: &Records<'_>, written: Written) -> Result<bool, Trouble> {
        let (lease, generation) = (self.lease, rows.generation);
        let (gone, gone_records) = (rows.gone(written.refused.as_ref()), records.gone(&written.refused_records));
        let remark = written.remark(records);
        let now = self.store.platform(async |conn| {
            let now = match written.refused {
                None => Some(zone_projections::record_projected(conn, lease, generation, remark.as_deref()).await?),
                Some(_) => zone_projections::renew_lease(conn, lease, LEASE).await.map(|()| None)?,
            };
            challenge_records::delete_gone(conn, &gone).await?;
            hosted_zones::delete_gone(conn, &lease.dns_zone, &gone_records).await?;
            Ok::<_, StoreError>(now)
        });
        let now = now.await?;
        written.refused.map_or(Ok(now == Some(generation)), |refused| Err(Trouble::Names(refused)))
    }
}
