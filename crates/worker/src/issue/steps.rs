//! The steps of an order. Each reads what it needs, acts outside while holding no database connection, and records the outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::AccountId;
use zonecert_domain::issuance::{Failed, IssuanceReason};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::challenge_capacity;
use zonecert_domain::order::OrderStep;
use zonecert_pki::chain::CertificateChain;
use zonecert_pki::csr::certificate_request;
use zonecert_pki::key::PrivateKey;
use zonecert_store::certificates::KeyPolicy;
use zonecert_store::challenge_records::NewChallengeRecord;
use zonecert_store::issuances::{self, Issuance, database_now};
use zonecert_store::issuing::{self, Subject};
use zonecert_store::orders::{AuthorizationStatus, NewAuthorization, Order};
use zonecert_store::{Connection, StoreError, ca_pauses, challenge_records, private_keys, renewal_info};

use super::permission::Obstacle;
use super::places::Places;
use super::record::{PreparedKey, WantedAuthorization};
use super::{Run, StepError};
use crate::acme::{self, AcmeDirectory, OrderStatus};
use crate::dns::visibility;
use crate::key_stock;

/// Name servers that do not show a value yet are looked at again after so long, then after twice that and so on.
const FIRST_LOOK_AGAIN: Duration = Duration::from_millis(250);
const LAST_LOOK_AGAIN: Duration = Duration::from_secs(2);

/// After so long the step counts as failed, and is repeated like any other.
const LOOKED_FOR_IN_PLACE: Duration = Duration::from_secs(10);

impl Run<'_> {
    pub(super) async fn take_order_step(&self, issuance: &Issuance, order: &Order, step: OrderStep) -> Result<(), StepError> {
        match step {
            OrderStep::Place => self.place(issuance, order).await,
            OrderStep::WriteChallenges => self.write_challenges(issuance, order).await,
            OrderStep::Present => self.present(issuance, order).await,
            OrderStep::Prepare => self.prepare(issuance, order).await,
            OrderStep::Notify => self.notify(issuance, order).await,
            OrderStep::PollAuthorizations => self.poll_authorizations(issuance, order).await,
            OrderStep::Finalize => self.finalize(issuance, order).await,
            OrderStep::PollOrder => self.poll_order(issuance, order).await,
            OrderStep::Wait(_) | OrderStep::Nothing => Ok(()),
        }
    }

    /// Checks that zone and plan still allow it, now that the job runs, and writes the intent of an order down.
    pub(super) async fn begin_order(&self, issuance: &Issuance) -> Result<(), StepError> {
        let subject = self.read_subject(issuance).await?;
        if subject.deleted {
            return self.cancel(issuance).await;
        }
        match self.find_obstacle(issuance, &subject).await? {
            None => {}
            Some(Obstacle::CallOff(why)) => return Ok(self.record_called_off(issuance, why).await?),
            Some(Obstacle::Suspended) => return Err(StepError::Suspended),
            Some(Obstacle::Refuse(failure)) => return Err(failure.into()),
        }
        self.check_aliases(&subject).await?;
        self.begin_at_a_ca(issuance, &subject).await
    }

    /// The certificate that an order takes the place of, by its identifier (RFC 9773 §5): the version in use, where its CA is the one that is asked, and takes that. Whatever goes
    /// wrong in finding it out is no reason to wait. For the other key of a dual certificate it is none.
    pub(super) async fn find_replaced(&self, issuance: &Issuance, directory: &AcmeDirectory) -> Result<Option<String>, StepError> {
        if issuance.reason == IssuanceReason::First || issuance.alternate {
            return Ok(None);
        }
        let (account, certificate) = (self.lease.account, issuance.certificate);
        let in_use =
            self.worker.store.tenant(account, async |conn| renewal_info::find_version_in_use(conn, account, certificate).await).await?;
        let Some(in_use) = in_use
            .filter(|in_use| in_use.directory_url == directory.directory_url() && in_use.own_acme_account == directory.own_acme_account())
        else {
            return Ok(None);
        };
        match directory.offers_renewal_info().await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(failure) => {
                tracing::warn!(%failure, "the CA's directory cannot be read; the order does not say what it replaces");
                return Ok(None);
            }
        }
        let chain = CertificateChain::parse_pem(&in_use.chain_pem).ok();
        Ok(chain.and_then(|chain| chain.renewal_info_identifier().map(str::to_owned)))
    }

    async fn place(&self, issuance: &Issuance, order: &Order) -> Result<(), StepError> {
        let ledger = &self.worker.directories.authority(&order.directory_url)?.ledger;
        let directory = self.directory(order)?;
        let names: Vec<&str> = order.names.iter().map(String::as_str).collect();
        let placed = directory.new_order_with(&names, order.replaces.as_deref(), order.profile.as_deref()).await;
        let goes_elsewhere = match &placed {
            Ok(_) => false,
            Err(failure) => self.goes_elsewhere(issuance, order, failure).await,
        };
        match placed {
            Ok(placed) => Ok(self.record_placed(issuance, order, &placed).await?),
            Err(failure) if order.replaces.is_some() && may_be_about_replaces(&failure) => {
                match self.record_replaces_refused(issuance, order, ledger, &failure).await? {
                    None => Ok(()),
                    Some(spent) => Err(StepError::Spent(spent)),
                }
            }
            Err(failure) if goes_elsewhere => Ok(self.record_away(issuance, order, &failure).await?),
            // Of a customer's own account it says nothing about ours.
            Err(failure @ Failure { code: FailureCode::AcmeRateLimited, retry_after: Some(pause), .. })
                if order.own_acme_account.is_none() =>
            {
                Ok(self.record_limited(issuance, order, &failure, pause).await?)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn write_challenges(&self, issuance: &Issuance, order: &Order) -> Result<(), StepError> {
        let subject = self.subject(issuance).await?;
        let places = self.places(&subject)?;
        if !self.may_write(order, &places).await? {
            return Err(StepError::Turn);
        }
        let offered = self.directory(order)?.authorizations(order_url(order)?).await?;
        let mut wanted = Vec::with_capacity(offered.len());
        for authorization in offered {
            let (status, value) = match authorization.status {
                acme::AuthorizationStatus::Valid => (AuthorizationStatus::Valid, None),
                acme::AuthorizationStatus::Pending => (AuthorizationStatus::Pending, Some(txt_value(&authorization)?)),
                _ => return Err(refused(&authorization)),
            };
            let record_name = places.name(&authorization.identifier);
            wanted.push(WantedAuthorization {
                record: value.map(|value| (record_name, value)),
                authorization: NewAuthorization {
                    url: authorization.url,
                    identifier: authorization.identifier,
                    wildcard: authorization.wildcard,
                    status,
                },
            });
        }
        if wanted.iter().all(|authorization| authorization.record.is_none()) {
            return Ok(self.record_already_authorized(issuance, order, wanted).await?);
        }
        if self.record_challenges(issuance, order, places.dns_zone(), wanted).await? { Ok(()) } else { Err(StepError::Turn) }
    }

    /// A look before the CA is asked; whether the values may be written is decided when they are.
    async fn may_write(&self, order: &Order, places: &Places) -> Result<bool, StepError> {
        let account = self.lease.account;
        let names: Vec<String> = order.names.iter().map(|name| places.name(name)).collect();
        let may_write = async |conn: &mut Connection| may_write(conn, account, order, names.iter().map(String::as_str)).await;
        Ok(self.worker.store.tenant(account, may_write).await?)
    }

    async fn present(&self, issuance: &Issuance, order: &Order) -> Result<(), StepError> {
        let subject = self.subject(issuance).await?;
        let places = self.places(&subject)?;
        let names: Vec<String> = pending(order).map(|authorization| places.name(&authorization.identifier)).collect();
        self.worker.projector.project_names(places.dns_zone(), None, &names).await?;
        Ok(self.record_presented(issuance, order).await?)
    }

    /// Makes the key, or takes the one that is kept, and the request, which are final from then on. The certificate is ordered with exactly them,
    /// however often the steps after this one are repeated.
    async fn prepare(&self, issuance: &Issuance, order: &Order) -> Result<(), StepError> {
        let subject = self.subject(issuance).await?;
        let algorithm =
            if issuance.alternate { subject.alternate_key_algorithm.ok_or(StoreError::NotFound)? } else { subject.key_algorithm };
        let kept = match subject.key_policy {
            KeyPolicy::Keep => self.find_kept_key(issuance, algorithm).await?,
            KeyPolicy::Rotate => None,
        };
        let made = self.make_request(kept, algorithm, &subject, order.names.clone()).await?;
        Ok(self.record_prepared(issuance, order, made).await?)
    }

    async fn notify(&self, issuance: &Issuance, order: &Order) -> Result<(), StepError> {
        let servers = self.see_values(order).await?;
        let pending: Vec<&str> = pending(order).map(|authorization| authorization.url.as_str()).collect();
        self.directory(order)?.notify(order_url(order)?, &pending).await?;
        Ok(self.record_notified(issuance, order, servers).await?)
    }

    /// Waits in place until the name servers show the values; how many of them do. A failed validation would count against the CA's limits, a look costs nothing.
    async fn see_values(&self, order: &Order) -> Result<usize, StepError> {
        let account = self.lease.account;
        let worker = self.worker;
        let values = worker.store.tenant(account, async |conn| challenge_records::list_order_values(conn, account, order.id).await).await?;
        let servers = worker.visibility.servers(&worker.resolver, &worker.settings.expectations.name_servers).await?;
        let mut pause = FIRST_LOOK_AGAIN;
        let mut waited = Duration::ZERO;
        loop {
            match visibility::look(&servers, &values).await {
                Ok(servers) => return Ok(servers),
                Err(_) if worker.is_stopping() => return Err(StepError::Turn),
                Err(failure) if waited >= LOOKED_FOR_IN_PLACE => return Err(failure.into()),
                Err(failure) => {
                    tracing::debug!(%failure, "looking again");
                    worker.pause(pause).await;
                    waited += pause;
                    pause = (pause * 2).min(LAST_LOOK_AGAIN);
                }
            }
        }
    }

    async fn poll_authorizations(&self, issuance: &Issuance, order: &Order) -> Result<(), StepError> {
        let timing = &self.worker.settings.timing;
        let seen = self.directory(order)?.authorizations(order_url(order)?).await?;
        let mut looks = Vec::new();
        let mut asked_for: Option<Duration> = None;
        let mut used_up = None;
        if let Some(failure) = unproven(order, &seen) {
            return Err(failure);
        }
        for ours in pending(order) {
            let Some(theirs) = seen.iter().find(|authorization| authorization.url == ours.url) else {
                return Err(Failure::new(FailureCode::CaMalformedAnswer, "the order has lost one of its authorizations").into());
            };
            asked_for = asked_for.max(theirs.retry_after);
            match theirs.status {
                acme::AuthorizationStatus::Valid => looks.push((ours.id, AuthorizationStatus::Valid)),
                acme::AuthorizationStatus::Pending => {
                    if ours.polls + 1 >= timing.poll_limit {
                        used_up.get_or_insert(&ours.identifier);
                    }
                    looks.push((ours.id, AuthorizationStatus::Pending));
                }
                _ => return Err(refused(theirs)),
            }
        }
        if looks.iter().all(|(_, status)| *status == AuthorizationStatus::Valid) {
            return Ok(self.record_authorized(issuance, order, looks).await?);
        }
        if let Some(identifier) = used_up {
            let detail = format!("{identifier} was still not validated after {} looks", timing.poll_limit);
            return Err(Failure::new(FailureCode::AuthorizationTimeout, detail).into());
        }
        let pause = timing.poll_pause(order.polls + 1, asked_for);
        Ok(self.record_looked(order, looks, pause).await?)
    }

    async fn finalize(&self, issuance: &Issuance, order: &Order) -> Result<(), StepError> {
        let Some(csr) = &order.csr else { return Err(StepError::Store(StoreError::Stale)) };
        self.hold_on().await?;
        let answer = self.directory(order)?.finalize(order_url(order)?, csr).await?;
        match answer.status {
            OrderStatus::Invalid => Err(given_up(answer)),
            OrderStatus::Pending | OrderStatus::Ready => {
                Err(Failure::new(FailureCode::AcmeOrderNotReady, "the CA still wants an authorization for the order").into())
            }
            OrderStatus::Processing | OrderStatus::Valid => Ok(self.record_finalized(issuance, order, &answer).await?),
        }
    }

    /// Makes sure of the lease before the CA is sent what cannot be taken back: somebody who has long been away must not have a certificate issued
    /// that was cancelled meanwhile.
    async fn hold_on(&self) -> Result<(), StepError> {
        let (lease, ttl) = (self.lease, self.worker.settings.lease);
        Ok(self.worker.store.tenant(lease.account, async |conn| issuances::renew_lease(conn, &lease, ttl).await).await?)
    }

    async fn poll_order(&self, issuance: &Issuance, order: &Order) -> Result<(), StepError> {
        let timing = &self.worker.settings.timing;
        let (directory, url) = (self.directory(order)?, order_url(order)?);
        let answer = directory.order(url).await?;
        match answer.status {
            OrderStatus::Invalid => Err(given_up(answer)),
            OrderStatus::Valid => {
                let pem = directory.certificate(url).await?;
                let chain = self.checked(order, pem).await?;
                Ok(self.record_issued(issuance, order, chain).await?)
            }
            OrderStatus::Pending => Err(Failure::new(FailureCode::AcmeOrderNotReady, "the CA has taken the order back to pending").into()),
            // Ready again: the request never arrived. Sending it once more is safe, as it is the same request.
            OrderStatus::Ready | OrderStatus::Processing if order.polls + 1 >= timing.poll_limit => {
                let detail = format!("no certificate after {} looks", timing.poll_limit);
                Err(Failure::new(FailureCode::OrderTimeout, detail).into())
            }
            OrderStatus::Ready => {
                if let Some(csr) = &order.csr {
                    self.hold_on().await?;
                    directory.finalize(url, csr).await?;
                }
                self.look_again(order, &answer).await
            }
            OrderStatus::Processing => self.look_again(order, &answer).await,
        }
    }

    /// Nothing has come of the order yet: the next look is when the CA says, or after the usual pause.
    pub(super) async fn look_again(&self, order: &Order, answer: &acme::OrderState) -> Result<(), StepError> {
        let pause = self.worker.settings.timing.poll_pause(order.polls + 1, answer.retry_after);
        Ok(self.record_looked(order, Vec::new(), pause).await?)
    }

    /// The chain, once it is known to be what was ordered: for our key, for our names, and complete.
    async fn checked(&self, order: &Order, pem: String) -> Result<CertificateChain, StepError> {
        let (account, key_version) = (self.lease.account, order.key_version);
        let Some(key_version) = key_version else { return Err(StepError::Store(StoreError::Stale)) };
        let (public_key, now) = self
            .worker
            .store
            .tenant(account, async |conn| {
                Ok::<_, StoreError>((private_keys::get_public_key_sha256(conn, account, key_version).await?, database_now(conn).await?))
            })
            .await?;
        let names: Vec<&str> = order.names.iter().map(String::as_str).collect();
        let rejected = |reason: String| StepError::Failure(Failure::new(FailureCode::CertificateRejected, reason), Failed::Order);
        let chain = CertificateChain::parse_pem(&pem).map_err(|error| rejected(error.to_string()))?;
        chain.check(public_key, &names, now).map_err(|problem| rejected(problem.to_string()))?;
        Ok(chain)
    }

    /// What is asked for, of now.
    async fn read_subject(&self, issuance: &Issuance) -> Result<Arc<Subject>, StepError> {
        let (account, certificate) = (self.lease.account, issuance.certificate);
        let subject = self.worker.store.tenant(account, async |conn| issuing::get_subject(conn, account, certificate).await).await?;
        let subject = Arc::new(subject);
        *self.subject.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&subject));
        Ok(subject)
    }

    /// What is asked for, as it was when this worker began or took over the order.
    async fn subject(&self, issuance: &Issuance) -> Result<Arc<Subject>, StepError> {
        let known = self.subject.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(subject) => Ok(subject),
            None => self.read_subject(issuance).await,
        }
    }

    async fn find_kept_key(&self, issuance: &Issuance, algorithm: KeyAlgorithm) -> Result<Option<PreparedKey>, StepError> {
        let (account, masters) = (self.lease.account, &self.worker.masters);
        let kept = self
            .worker
            .store
            .tenant_write(account, async |conn| {
                let key = private_keys::get_or_insert_issuance_key(conn, account, issuance).await?;
                let Some(version) = private_keys::find_newest_key_version(conn, account, key).await? else { return Ok(None) };
                let pkcs8 = private_keys::open_key_version(conn, masters, account, version).await?;
                Ok::<_, StoreError>(Some((version, pkcs8)))
            })
            .await?;
        let Some((version, pkcs8)) = kept else { return Ok(None) };
        let key = PrivateKey::from_pkcs8_der(&pkcs8).map_err(|error| unavailable(&error))?;
        // Another algorithm is wished for by now: that takes another key, which is then kept.
        Ok((key.algorithm() == algorithm).then_some(PreparedKey::Kept(version, key)))
    }

    /// CPU-bound: 0.15 s for RSA-2048. Runs on a thread of its own, few at a time, so that the runtime stays responsive.
    async fn make_request(
        &self,
        kept: Option<PreparedKey>,
        algorithm: KeyAlgorithm,
        subject: &Subject,
        names: Vec<String>,
    ) -> Result<(PreparedKey, Vec<u8>), StepError> {
        let csr_subject = subject.csr_subject.clone();
        let key = match kept {
            Some(kept) => Some(kept),
            None => key_stock::take(self.worker, algorithm).await.map(PreparedKey::New),
        };
        let permit = self.worker.key_makers.clone().acquire_owned().await;
        let made = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let key = match key {
                Some(key) => key,
                None => PreparedKey::New(PrivateKey::generate(algorithm)?),
            };
            let csr = certificate_request(key.private_key(), &names, &csr_subject)?;
            Ok::<_, zonecert_pki::PkiError>((key, csr))
        });
        made.await.map_err(|error| unavailable(&error))?.map_err(|error| unavailable(&error))
    }

    pub(super) fn directory(&self, order: &Order) -> Result<Arc<AcmeDirectory>, StepError> {
        Ok(self.worker.directories.of(&order.directory_url, self.lease.account, order.own_acme_account)?)
    }
}

/// Whether an order that was refused may be taken without `replaces`: the CA says that the other certificate was replaced already (RFC 9773 §5), that
/// it does not know it, or something that says too little to exclude it.
const fn may_be_about_replaces(failure: &Failure) -> bool {
    matches!(
        failure.code,
        FailureCode::AcmeAlreadyReplaced
            | FailureCode::AcmeMalformed
            | FailureCode::AcmeUnauthorized
            | FailureCode::AcmeServerInternal
            | FailureCode::AcmeUnknownProblem
            | FailureCode::CaMalformedAnswer
            | FailureCode::OrderLost
            | FailureCode::Internal
    )
}

fn pending(order: &Order) -> impl Iterator<Item = &zonecert_store::orders::Authorization> {
    order.authorizations.iter().filter(|authorization| authorization.status == AuthorizationStatus::Pending)
}

pub(super) fn order_url(order: &Order) -> Result<&str, StepError> {
    order.url.as_deref().ok_or(StepError::Store(StoreError::Stale))
}

fn unavailable(error: &dyn std::error::Error) -> StepError {
    Failure::new(FailureCode::KeyUnavailable, error.to_string()).into()
}

/// Whether the values that an order wants at these names, a name for each value, may be written now: they fit beside those that are there, and the key of our account
/// at the CA, which they are made of, is not about to change.
pub(super) async fn may_write<'a>(
    conn: &mut Connection,
    account: AccountId,
    order: &Order,
    names: impl Iterator<Item = &'a str>,
) -> Result<bool, StoreError> {
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *wanted.entry(name).or_default() += 1;
    }
    for (name, values) in wanted {
        if challenge_records::count_values(conn, account, name).await? + values > challenge_capacity(name) {
            return Ok(false);
        }
    }
    Ok(order.own_acme_account.is_some() || !ca_pauses::is_key_changing(conn, &order.directory_url).await?)
}

fn txt_value(authorization: &acme::Authorization) -> Result<String, Failure> {
    authorization.txt_value.clone().ok_or_else(|| {
        Failure::new(FailureCode::ChallengeNotOffered, format!("the CA offers no dns-01 challenge for {}", authorization.identifier))
    })
}

/// The CA will not hold this name proven any more: the order is over.
fn refused(authorization: &acme::Authorization) -> StepError {
    StepError::Failure(refusal(authorization), Failed::Order)
}

fn refusal(authorization: &acme::Authorization) -> Failure {
    authorization.problem.clone().unwrap_or_else(|| {
        let detail = format!("the authorization of {} is {:?}", authorization.identifier, authorization.status);
        Failure::new(FailureCode::OrderInvalid, detail)
    })
}

/// The failure of those names that the CA has looked for in vain, if there are any. They count against its limits.
fn unproven(order: &Order, seen: &[acme::Authorization]) -> Option<StepError> {
    let mut invalid = seen.iter().filter(|theirs| {
        theirs.status == acme::AuthorizationStatus::Invalid && pending(order).any(|authorization| authorization.url == theirs.url)
    });
    let first = invalid.next()?;
    let names = std::iter::once(first).chain(invalid).map(|authorization| authorization.identifier.clone()).collect();
    Some(StepError::Unproven(refusal(first), names))
}

/// The CA has given the order up.
fn given_up(answer: acme::OrderState) -> StepError {
    let failure = answer.problem.unwrap_or_else(|| Failure::new(FailureCode::OrderInvalid, "the CA has given the order up"));
    StepError::Failure(failure, Failed::Order)
}

/// A record that is wanted for an authorization.
pub(super) fn challenge_record(
    authorization: zonecert_domain::id::AuthorizationId,
    zone: &str,
    (name, value): &(String, String),
) -> NewChallengeRecord {
    NewChallengeRecord { authorization, dns_zone: zone.to_owned(), name: name.clone(), value: value.clone() }
}
