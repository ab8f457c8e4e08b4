//! Looks at control of zones again and again (requirements section 6). Any number of workers share the looks.
//!
//! Control is proven by the TXT record that the customer was asked for. A hosted zone that is verified proves it as well by naming our name servers and no
//! others; since that is the same for whoever holds the zone here, it does not bring back one that was lost.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use zonecert_domain::id::{AccountId, CertificateId, ZoneId};
use zonecert_domain::zone_check::{Seen, Verdict, after_check};
use zonecert_domain::zone_name::proves_control;
use zonecert_resolver::{Answer, RecordType, Resolver};
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::issuances::database_now;
use zonecert_store::zone_checks::{self, ZoneCheck};
use zonecert_store::zones::{VERIFIED_NAME_KEY, ZoneMode};
use zonecert_store::{Store, StoreError, certificates};

use crate::dns::NameServers;
use crate::worker::Worker;

/// A look that died is repeated after this.
const PUT_OFF: Duration = Duration::from_mins(15);

/// Zones taken at a time: few enough to be through before others could take them, each look ending within half a minute.
const BATCH: i32 = 100;
const PARALLEL_LOOKS: usize = 16;

/// Looks at zones that are due at every interval until the worker stops.
pub async fn run(worker: &Worker) {
    let checks = ZoneChecks::new(worker.store.clone(), worker.resolver.clone(), worker.projector.nameservers().clone());
    while !worker.is_stopping() {
        if worker.is_draining() {
            worker.pause(worker.settings.sweep_interval).await;
            continue;
        }
        match checks.check_due().await {
            // There may be more.
            Ok(looked) if looked >= BATCH.unsigned_abs() as usize => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "zones could not be looked at; they are when the database is back"),
        }
        worker.pause(worker.settings.sweep_interval).await;
    }
}

/// What looks at zones.
pub struct ZoneChecks {
    store: Store,
    resolver: Resolver,
    nameservers: NameServers,
}

/// What a look has found, and how to say it.
struct Look {
    seen: Seen,
    told: String,
}

impl ZoneChecks {
    /// `store` is opened as the worker's role; hosted zones are pointed at `nameservers`.
    pub fn new(store: Store, resolver: Resolver, nameservers: NameServers) -> Self {
        Self { store, resolver, nameservers }
    }

    /// Looks at zones of all tenants that are due, a batch of them. Returns how many.
    ///
    /// Errors when the database does not answer. A zone whose look could not be recorded is due again later.
    pub async fn check_due(&self) -> Result<usize, StoreError> {
        let due = self.store.autocommit(async |conn| zone_checks::take_due(conn, PUT_OFF, BATCH).await).await?;
        let looked = due.len();
        let look = async |(account, zone): (AccountId, ZoneId)| match self.check(account, zone).await {
            // Deleted or verified by its owner meanwhile.
            Ok(()) | Err(StoreError::Stale | StoreError::NotFound) => {}
            Err(error) => tracing::warn!(%account, %zone, %error, "the look at a zone could not be recorded; it is repeated"),
        };
        futures::stream::iter(due).for_each_concurrent(PARALLEL_LOOKS, look).await;
        Ok(looked)
    }

    async fn check(&self, account: AccountId, zone: ZoneId) -> Result<(), StoreError> {
        let Some(check) = self.store.tenant(account, async |conn| zone_checks::find_check(conn, account, zone).await).await? else {
            return Ok(());
        };
        // No connection is held meanwhile.
        let look = self.look(&check).await;
        let verdict = self.record(&check, &look).await?;
        tracing::debug!(%account, zone = %check.name, ?verdict, told = look.told, "looked at a zone");
        if verdict == Verdict::Lost {
            tracing::warn!(%account, zone = %check.name, told = look.told, "a zone is lost");
        }
        Ok(())
    }

    async fn look(&self, check: &ZoneCheck) -> Look {
        let record = check.name.ownership_record();
        let proof = self.resolver.look_up(&record, RecordType::Txt).await;
        let told = proof.describe(&record, RecordType::Txt);
        if proves_control(proof.texts(), &check.verification_value) {
            return Look { seen: Seen::Proof, told };
        }
        if let Answer::Unreachable(error) = &proof {
            tracing::error!(%error, "the DNS servers of the setting for resolvers cannot be reached");
        }
        if check.mode != ZoneMode::Hosted || check.lost_at.is_some() {
            return Look { seen: if proof.is_definite() { Seen::NoProof } else { Seen::Trouble }, told };
        }
        let servers = self.resolver.look_up(check.name.as_str(), RecordType::Ns).await;
        let told = format!("{told}; {}", servers.describe(check.name.as_str(), RecordType::Ns));
        let seen = if self.nameservers.are_named_by(servers.names()) {
            Seen::Proof
        } else if proof.is_definite() && servers.is_definite() {
            Seen::NoProof
        } else {
            Seen::Trouble
        };
        Look { seen, told }
    }

    async fn record(&self, check: &ZoneCheck, look: &Look) -> Result<Verdict, StoreError> {
        let recorded = self.record_as(check, look, look.seen).await;
        match recorded {
            // Its proof is there, but another account has proven the zone since it was lost, and holds it.
            Err(error) if error.is_constraint(VERIFIED_NAME_KEY) => self.record_as(check, look, Seen::NoProof).await,
            recorded => recorded,
        }
    }

    async fn record_as(&self, check: &ZoneCheck, look: &Look, seen: Seen) -> Result<Verdict, StoreError> {
        let account = check.account;
        self.store
            .tenant_write(account, async |conn| {
                let now = database_now(conn).await?;
                let (verdict, next) = after_check(check.lost_at, check.failed_checks, seen, now);
                match verdict {
                    Verdict::Held => zone_checks::record_check(conn, check, 0, next).await?,
                    Verdict::Missing { failed_checks, .. } => zone_checks::record_check(conn, check, failed_checks, next).await?,
                    Verdict::Unclear | Verdict::StillLost => zone_checks::record_check(conn, check, check.failed_checks, next).await?,
                    Verdict::Lost => zone_checks::mark_lost(conn, check, next).await?,
                    Verdict::Regained => zone_checks::mark_regained(conn, check, next).await?,
                }
                if let Some(event) = event(check, verdict, &look.told) {
                    events::record(conn, account, event).await?;
                }
                if verdict == Verdict::Lost {
                    for certificate in certificates::list_in_zone(conn, account, check.zone).await? {
                        events::record(conn, account, renewal_stopped(check, certificate)).await?;
                    }
                }
                Ok(verdict)
            })
            .await
    }
}

/// What the owner is told; nothing as long as nothing changes.
fn event(check: &ZoneCheck, verdict: Verdict, told: &str) -> Option<NewEvent> {
    let zone = &check.name;
    let (level, event, message) = match verdict {
        Verdict::Held if check.failed_checks > 0 => {
            (Level::Info, "zone_check_passed", format!("Control of the zone {zone} is proven again"))
        }
        Verdict::Missing { left, .. } => {
            let message = format!(
                "Control of the zone {zone} is no longer proven: {told}. {}; after {left} more looks without it the zone is lost, \
                                   and its certificates stop renewing",
                instruction(check)
            );
            (Level::Warning, "zone_check_failed", message)
        }
        Verdict::Lost => {
            let message = format!(
                "The zone {zone} is lost: control of it was not proven for over a week; {told}. Its certificates stay downloadable and \
                                   do not renew any more. {}, and it is verified again",
                instruction(check)
            );
            (Level::Error, "zone_lost", message)
        }
        Verdict::Regained => (Level::Info, "zone_verified", format!("Zone {zone} verified: control of it is proven again")),
        Verdict::Held | Verdict::StillLost | Verdict::Unclear => return None,
    };
    let mut details = json!({
        "zone_id": check.zone, "zone": zone, "record": zone.ownership_record(), "value": check.verification_value, "seen": told,
    });
    if let Verdict::Missing { failed_checks, left } = verdict {
        (details["failed_checks"], details["checks_left"]) = (failed_checks.into(), left.into());
    }
    Some(NewEvent { level, details, ..NewEvent::info(event, message) })
}

/// For the log of a certificate.
fn renewal_stopped(check: &ZoneCheck, certificate: CertificateId) -> NewEvent {
    let message = format!("The zone {} is lost: the certificate does not renew any more, and stays downloadable", check.name);
    let details = json!({ "zone_id": check.zone, "zone": check.name, "reason": "zone_lost" });
    NewEvent { level: Level::Warning, certificate: Some(certificate), details, ..NewEvent::info("renewal_stopped", message) }
}

fn instruction(check: &ZoneCheck) -> String {
    let set = format!("Set a TXT record at {} with the value {}", check.name.ownership_record(), check.verification_value);
    match check.mode {
        ZoneMode::Hosted => format!("{set}, or point the registrar of the zone at our name servers"),
        ZoneMode::Delegated => set,
    }
}
