//! What is recorded after a step: one transaction each, behind the fence, with all that follows from it.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::json;
use zonecert_domain::failure::Failure;
use zonecert_domain::id::{AccountId, CertificateId, KeyVersionId};
use zonecert_domain::issuance::IssuanceEvent;
use zonecert_domain::moment;
use zonecert_domain::order::OrderEvent;
use zonecert_pki::chain::CertificateChain;
use zonecert_pki::key::PrivateKey;
use zonecert_store::ca_budget::{self, Charge, Ledger, Spent};
use zonecert_store::events::{self, NewEvent};
use zonecert_store::issuances::{self, Held, Issuance};
use zonecert_store::issuing::{self, Issued, Outcome, Subject};
use zonecert_store::orders::{self, AuthorizationStatus, NewAuthorization, Order, OrderChange};
use zonecert_store::{Connection, StoreError, ca_pauses, challenge_records, private_keys, renewals, versions, zone_projections};

use super::steps::{challenge_record, may_write};
use super::{Expired, Run, spending};
use crate::acme::{NewOrder, OrderState, OrderStatus};

/// An authorization to be put on record, and the TXT record that it wants: name and value.
pub(super) struct WantedAuthorization {
    pub(super) authorization: NewAuthorization,
    pub(super) record: Option<(String, String)>,
}

/// The key of a request.
pub(super) enum PreparedKey {
    /// Made for it, and nowhere stored yet.
    New(PrivateKey),
    /// Stored before, and kept.
    Kept(KeyVersionId, PrivateKey),
}

impl PreparedKey {
    pub(super) fn private_key(&self) -> &PrivateKey {
        match self {
            Self::New(key) | Self::Kept(_, key) => key,
        }
    }
}

/// Why the intent of an order was not written.
enum NotBegun {
    /// There is no room for it.
    Spent(Spent),
    /// Our database did not take it.
    Store(StoreError),
}

impl From<StoreError> for NotBegun {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

type AuthorizationLook = (zonecert_domain::id::AuthorizationId, AuthorizationStatus);

impl Run<'_> {
    pub(super) async fn record_begun(
        &self,
        issuance: &Issuance,
        subject: &Subject,
        ca: &Ledger,
        replaces: Option<&str>,
        overdraws: bool,
    ) -> Result<Option<Spent>, StoreError> {
        let lease = self.lease;
        let (certificate, names) = (issuance.certificate, subject.names.as_slice());
        let directory_url = ca.directory_url.as_str();
        let new = orders::NewOrder {
            issuance: lease.issuance,
            certificate,
            directory_url,
            own_acme_account: subject.own_acme_account,
            names,
            replaces,
            profile: subject.profile.as_deref(),
        };
        self.persist(|| async {
            let begun = self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                let order = orders::insert_order(conn, lease.account, &new).await?;
                self.record_outcome(conn, certificate, Outcome::running(issuance)).await?;
                let mut event = about(issuance, None, "order_begun", format!("asking the CA for {}", subject.names.join(", ")));
                event.order = Some(order);
                event.details = json!({ "attempt": issuance.attempts + 1, "directory": directory_url, "profile": new.profile });
                events::record(conn, lease.account, event).await?;
                // What replaces a certificate is exempt from the limit that this is about.
                let renewal = replaces.is_none() && versions::has_version_for(conn, lease.account, certificate, names).await?;
                let charge = Charge {
                    order,
                    names,
                    replaces: replaces.is_some(),
                    renewal,
                    overdraws,
                    own_account: subject.own_acme_account.is_some(),
                };
                match ca_budget::charge(conn, lease.account, ca, &charge).await? {
                    Some(spent) => Err(NotBegun::Spent(spent)),
                    None => Ok(()),
                }
            });
            match begun.await {
                Ok(()) => Ok(None),
                Err(NotBegun::Spent(spent)) => Ok(Some(spent)),
                Err(NotBegun::Store(error)) => Err(error),
            }
        })
        .await
    }

    /// What becomes of the certificate. Where it has expired meanwhile, that is counted once this is on record: [`Self::persist`].
    pub(super) async fn record_outcome(
        &self,
        conn: &mut Connection,
        certificate: CertificateId,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let account = self.lease.account;
        // Under an order that is under way no end is noticed.
        let auto_renew = !matches!(outcome, Outcome::Running) && renewals::renews(conn, account, certificate).await?;
        if issuing::record_outcome(conn, account, certificate, outcome).await? {
            *self.expired.lock().unwrap_or_else(PoisonError::into_inner) = Some(Expired { certificate, auto_renew });
        }
        Ok(())
    }

    pub(super) async fn record_running(&self, issuance: &Issuance) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                self.record_outcome(conn, issuance.certificate, Outcome::running(issuance)).await
            })
        })
        .await
    }

    pub(super) async fn record_placed(&self, issuance: &Issuance, order: &Order, placed: &NewOrder) -> Result<(), StoreError> {
        let lease = self.lease;
        let several = order.own_acme_account.is_none() && self.worker.directories.has_others(&order.directory_url);
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                let (url, acme_account_id) = (Some(placed.url.clone()), Some(placed.acme_account_id));
                self.move_on(conn, held, order, OrderEvent::Placed, OrderChange { url, acme_account_id, ..OrderChange::default() }, None)
                    .await?;
                spending::record_placed(conn, order).await?;
                if several {
                    ca_pauses::record_answered(conn, &order.directory_url).await?;
                }
                let mut event = about(issuance, Some(order), "order_placed", "the CA has accepted the order".to_owned());
                event.details = json!({ "url": placed.url, "replaces": order.replaces });
                events::record(conn, lease.account, event).await.map(drop)
            })
        })
        .await
    }

    /// The order is placed again at once without naming what it replaces; that is no attempt that has failed (RFC 9773 §5). It counts against the CA's limits
    /// now: where they leave no room, it is over, and what is answered says until when.
    pub(super) async fn record_replaces_refused(
        &self,
        issuance: &Issuance,
        order: &Order,
        ca: &Ledger,
        failure: &Failure,
    ) -> Result<Option<Spent>, StoreError> {
        let lease = self.lease;
        let names = order.names.as_slice();
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                orders::forget_replaces(conn, lease.account, order.id).await?;
                let message = format!("the CA does not take the order as a replacement ({}); it is placed as a new one", failure.detail());
                let mut event = about(issuance, Some(order), "replaces_refused", message);
                event.details = json!({ "code": failure.code.as_str(), "detail": failure.detail(), "replaces": order.replaces });
                events::record(conn, lease.account, event).await?;
                let renewal = versions::has_version_for(conn, lease.account, issuance.certificate, names).await?;
                let own_account = order.own_acme_account.is_some();
                let charge = Charge { order: order.id, names, replaces: false, renewal, overdraws: false, own_account };
                let spent = ca_budget::charge(conn, lease.account, ca, &charge).await?;
                if spent.is_some() {
                    self.abandon_order(conn, issuance, true).await?;
                }
                Ok(spent)
            })
        })
        .await
    }

    pub(super) async fn record_already_authorized(
        &self,
        issuance: &Issuance,
        order: &Order,
        authorizations: Vec<WantedAuthorization>,
    ) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                for wanted in &authorizations {
                    orders::insert_authorization(conn, lease.account, order.id, &wanted.authorization).await?;
                }
                self.move_on(conn, held, order, OrderEvent::AlreadyAuthorized, OrderChange::default(), None).await?;
                let message = "the CA holds every name proven already".to_owned();
                events::record(conn, lease.account, about(issuance, Some(order), "already_authorized", message)).await?;
                Ok(())
            })
        })
        .await
    }

    /// Returns false, and records nothing, where the values may not be written yet.
    pub(super) async fn record_challenges(
        &self,
        issuance: &Issuance,
        order: &Order,
        zone: &str,
        authorizations: Vec<WantedAuthorization>,
    ) -> Result<bool, StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                let names = authorizations.iter().filter_map(|wanted| wanted.record.as_ref()).map(|(name, _)| name.as_str());
                if !may_write(conn, lease.account, order, names).await? {
                    return Ok(false);
                }
                let mut records = Vec::new();
                for wanted in &authorizations {
                    let id = orders::insert_authorization(conn, lease.account, order.id, &wanted.authorization).await?;
                    records.extend(wanted.record.as_ref().map(|record| challenge_record(id, zone, record)));
                }
                challenge_records::insert_challenge_records(conn, lease.account, order.id, &records).await?;
                zone_projections::raise_generation(conn, zone).await?;
                self.move_on(conn, held, order, OrderEvent::ChallengesWritten, OrderChange::default(), None).await?;
                let mut names: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
                names.dedup();
                let mut event =
                    about(issuance, Some(order), "challenges_written", format!("setting {} TXT values in the zone {zone}", records.len()));
                event.details = json!({ "zone": zone, "names": names });
                events::record(conn, lease.account, event).await?;
                Ok(true)
            })
        })
        .await
    }

    pub(super) async fn record_presented(&self, issuance: &Issuance, order: &Order) -> Result<(), StoreError> {
        let lease = self.lease;
        let propagation = self.worker.settings.timing.propagation;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                let change = OrderChange { presented_at: Some(held.now), ..OrderChange::default() };
                self.move_on(conn, held, order, OrderEvent::Presented, change, None).await?;
                let message = format!("the zone shows the TXT values; giving resolvers {} s", propagation.as_secs_f64());
                events::record(conn, lease.account, about(issuance, Some(order), "challenges_presented", message)).await?;
                Ok(())
            })
        })
        .await
    }

    pub(super) async fn record_prepared(
        &self,
        issuance: &Issuance,
        order: &Order,
        (key, csr): (PreparedKey, Vec<u8>),
    ) -> Result<(), StoreError> {
        let lease = self.lease;
        let masters = &self.worker.masters;
        let public_key = key.private_key().public_key_sha256();
        let pkcs8 = key.private_key().to_pkcs8_der().map_err(|error| StoreError::corrupt("private key", error.to_string()))?;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                let key_version = match &key {
                    PreparedKey::Kept(version, _) => *version,
                    PreparedKey::New(_) => {
                        let resource = private_keys::get_or_insert_issuance_key(conn, lease.account, issuance).await?;
                        private_keys::insert_key_version(conn, masters, lease.account, resource, &pkcs8, public_key).await?
                    }
                };
                let change = OrderChange { key_version_id: Some(key_version.0), csr: Some(csr.clone()), ..OrderChange::default() };
                self.move_on(conn, held, order, OrderEvent::Prepared, change, None).await?;
                let message = "the private key and the certificate request are ready".to_owned();
                events::record(conn, lease.account, about(issuance, Some(order), "key_prepared", message)).await?;
                Ok(())
            })
        })
        .await
    }

    /// `servers` is how many name servers show the values, where they were asked.
    pub(super) async fn record_notified(&self, issuance: &Issuance, order: &Order, servers: usize) -> Result<(), StoreError> {
        let event = || {
            let seen = if servers == 0 { String::new() } else { format!("{servers} name servers show the TXT values; ") };
            let mut event = about(issuance, Some(order), "ca_notified", format!("{seen}the CA was asked to validate"));
            event.details = json!({ "name_servers": servers });
            event
        };
        self.advance(order, OrderEvent::Notified, Some(self.first_pause()), event).await
    }

    pub(super) async fn record_authorized(
        &self,
        issuance: &Issuance,
        order: &Order,
        looks: Vec<AuthorizationLook>,
    ) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                for (id, status) in &looks {
                    orders::record_authorization(conn, lease.account, *id, *status).await?;
                }
                self.move_on(conn, held, order, OrderEvent::Authorized, OrderChange::default(), None).await?;
                let message = "the CA has validated every name".to_owned();
                events::record(conn, lease.account, about(issuance, Some(order), "authorized", message)).await?;
                Ok(())
            })
        })
        .await
    }

    /// A look that has changed nothing but what it saw: the next one after `pause`.
    pub(super) async fn record_looked(&self, order: &Order, looks: Vec<AuthorizationLook>, pause: Duration) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                for (id, status) in &looks {
                    orders::record_authorization(conn, lease.account, *id, *status).await?;
                }
                let next = held.now + pause;
                orders::record_poll(conn, lease.account, order, next).await?;
                issuances::record_step_taken(conn, &lease, held).await
            })
        })
        .await
    }

    pub(super) async fn record_finalized(&self, issuance: &Issuance, order: &Order, answer: &OrderState) -> Result<(), StoreError> {
        let event = || about(issuance, Some(order), "finalized", "the CA has the certificate request".to_owned());
        let pause = (answer.status != OrderStatus::Valid).then(|| self.first_pause());
        self.advance(order, OrderEvent::Finalized, pause, event).await
    }

    /// The version, the state of the certificate, the end of the issuance and the removal of the TXT values: all or nothing.
    pub(super) async fn record_issued(&self, issuance: &Issuance, order: &Order, chain: CertificateChain) -> Result<(), StoreError> {
        let (lease, certificate) = (self.lease, issuance.certificate);
        let key_version = order.key_version.ok_or(StoreError::Stale)?;
        let (not_before, not_after) = (chain.not_before(), chain.not_after());
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                spending::record_issued(conn, lease.account, certificate, order).await?;
                let version = versions::insert_issued_version(conn, lease.account, certificate, order.id, key_version, &chain).await?;
                self.move_on(conn, held, order, OrderEvent::Issued, OrderChange::default(), None).await?;
                withdraw_challenges(conn, lease.account, order).await?;
                issuances::end(conn, &lease, IssuanceEvent::Succeeded, None).await?;
                issuing::record_issued(conn, lease.account, certificate, Issued { version, not_after }).await?;
                let message = format!("issued by {}, valid until {}", chain.issuer(), moment::shown(not_after));
                let mut event = about(issuance, Some(order), "issued", message);
                event.details = json!({
                    "version_id": version, "serial": chain.serial_hex(), "fingerprint_sha256": chain.sha256_fingerprint_hex(),
                    "not_before": not_before, "not_after": not_after, "directory": order.directory_url,
                });
                events::record(conn, lease.account, event).await?;
                Ok(())
            })
        })
        .await?;
        self.worker.metrics.issued(issuance.reason, issuance.created_at, issuance.now);
        tracing::info!(%not_after, "issued");
        Ok(())
    }

    /// `pause` is how long the CA is given before it is looked at.
    async fn advance(
        &self,
        order: &Order,
        event: OrderEvent,
        pause: Option<Duration>,
        log: impl Fn() -> NewEvent + Sync,
    ) -> Result<(), StoreError> {
        let lease = self.lease;
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                let first_look = pause.map(|pause| held.now + pause);
                self.move_on(conn, held, order, event, OrderChange::default(), first_look).await?;
                events::record(conn, lease.account, log()).await.map(drop)
            })
        })
        .await
    }

    fn first_pause(&self) -> Duration {
        self.worker.settings.timing.poll_pause(1, None)
    }

    /// Moves the order on and forgets the failures of the step that is now taken.
    async fn move_on(
        &self,
        conn: &mut Connection,
        held: Held,
        order: &Order,
        event: OrderEvent,
        change: OrderChange,
        next_poll_at: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Result<(), StoreError> {
        let status = orders::advance(conn, self.lease.account, order, event, change, next_poll_at).await?;
        tracing::debug!(from = %order.status, to = %status, event = event.as_str(), "order moved on");
        issuances::record_step_taken(conn, &self.lease, held).await
    }

    /// The order is over without a certificate that we use, and its TXT values go.
    pub(super) async fn end_order(
        &self,
        conn: &mut Connection,
        order: &Order,
        event: OrderEvent,
        change: OrderChange,
    ) -> Result<(), StoreError> {
        orders::advance(conn, self.lease.account, order, event, change, None).await?;
        withdraw_challenges(conn, self.lease.account, order).await
    }
}

/// Values that nobody wants any more stand for so long: in a burst one projection takes out many.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(2);

/// The TXT values of an order are wanted no more; the projection of their zone takes them out.
async fn withdraw_challenges(conn: &mut Connection, account: AccountId, order: &Order) -> Result<(), StoreError> {
    for zone in challenge_records::mark_order_unwanted(conn, account, order.id).await? {
        zone_projections::request_projection_within(conn, &zone, WITHDRAWN_WITHIN).await?;
    }
    Ok(())
}

/// An event about an issuance and, where there is one, its order.
pub(super) fn about(issuance: &Issuance, order: Option<&Order>, event: &'static str, message: String) -> NewEvent {
    NewEvent {
        certificate: Some(issuance.certificate),
        issuance: Some(issuance.id),
        order: order.map(|order| order.id),
        ..NewEvent::info(event, message)
    }
}
