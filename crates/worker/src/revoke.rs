//! The job `revoke`: asks the CA once to revoke a certificate, and records what it said.
//!
//! A revocation goes on whatever becomes of its certificate, and however the account stands: a CA is to hear of a lost key from the tenant who is in
//! arrears or suspended, too. Whoever dies between the CA's yes and the record of it leaves the row to the sweeper; the CA then says that the
//! certificate is revoked already.

use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::Instrument;
use zonecert_domain::failure::{Actor, Failure, FailureCode};
use zonecert_domain::id::{AccountId, RevocationId};
use zonecert_domain::moment;
use zonecert_domain::revocation::{RevocationReason, RevocationStatus, Verdict, after_failure};
use zonecert_pki::PrivateKey;
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::failures::describe;
use zonecert_store::issuances::database_now;
use zonecert_store::revocations::{self, Claim};
use zonecert_store::{Connection, StoreError, issuing, private_keys};

use crate::worker::Worker;

/// The payload of the job.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct RevokeJob {
    /// The tenant, as the bare UUID.
    pub account_id: uuid::Uuid,
    /// The revocation, as the bare UUID.
    pub revocation_id: uuid::Uuid,
}

/// Asks the CA, if the revocation is active and its time has come.
pub async fn run(worker: &Worker, job: RevokeJob) -> Result<(), StoreError> {
    let (account, id) = (AccountId(job.account_id), RevocationId(job.revocation_id));
    let put_off = worker.settings.lease;
    let Some(claim) = worker.store.tenant(account, async |conn| revocations::claim(conn, account, id, put_off).await).await? else {
        tracing::debug!(%account, revocation = %id, "nothing to do: not due, over, or in other hands");
        return Ok(());
    };
    let span = tracing::info_span!("revoke", %account, revocation = %id, certificate = %claim.certificate, attempt = claim.attempts);
    let attempt = Attempt { worker, account, claim };
    match attempt.make().instrument(span).await {
        Err(StoreError::Stale) => {
            tracing::debug!(%account, revocation = %id, "somebody else has gone on with it");
            Ok(())
        }
        done => done,
    }
}

struct Attempt<'a> {
    worker: &'a Worker,
    account: AccountId,
    claim: Claim,
}

impl Attempt<'_> {
    async fn make(&self) -> Result<(), StoreError> {
        let claim = &self.claim;
        if claim.now > claim.not_after {
            return self.record_expired().await;
        }
        let mut reason = claim.reason;
        loop {
            let Err(failure) = self.ask(reason).await else { return self.record_revoked(reason).await };
            let now = self.worker.store.autocommit(async |conn| database_now(conn).await).await?;
            match after_failure(&failure, reason, claim.attempts, &self.worker.settings.ladder, now, claim.not_after) {
                Verdict::Revoked => return self.record_revoked(reason).await,
                Verdict::WithoutReason => reason = RevocationReason::Unspecified,
                Verdict::Again(at) => return self.record_trouble(&failure, at).await,
                Verdict::Fail => return self.record_refused(&failure).await,
            }
        }
    }

    /// By the account that ordered it; where the CA has lost that, or does not take the revocation from it, by the certificate's own key.
    async fn ask(&self, reason: RevocationReason) -> Result<(), Failure> {
        let leaf_der = &self.claim.leaf_der;
        let directory = self.worker.directories.of(&self.claim.directory_url, self.account, self.claim.own_acme_account);
        let directory = directory.map_err(|failure| Failure::new(FailureCode::RevocationRefused, failure.detail()))?;
        let account = match directory.account().await {
            // A customer's own that is there no more: the certificate's key is.
            Err(failure) if failure.code == FailureCode::AcmeAccountNotValid => None,
            account => Some(account?.id),
        };
        let refusal = if account.is_some() && self.claim.acme_account_id == account {
            match directory.revoke(leaf_der, reason).await {
                Err(failure) if is_about_the_account(&failure) => Some(failure),
                answered => return answered,
            }
        } else {
            None
        };
        match (self.open_key().await?, refusal) {
            (Some(key), _) => directory.revoke_with_key(leaf_der, &key, reason).await,
            (None, Some(refusal)) => Err(refusal),
            // The account that took its place may have proven the names since.
            (None, None) => directory.revoke(leaf_der, reason).await,
        }
    }

    /// The certificate's key, unless its material was destroyed.
    async fn open_key(&self) -> Result<Option<PrivateKey>, Failure> {
        let (account, masters) = (self.account, &self.worker.masters);
        let Some(key_version) = self.claim.key_version else { return Ok(None) };
        let opened =
            self.worker.store.tenant(account, async |conn| private_keys::open_key_version(conn, masters, account, key_version).await).await;
        match opened {
            Ok(pkcs8) => {
                PrivateKey::from_pkcs8_der(&pkcs8).map(Some).map_err(|error| Failure::new(FailureCode::KeyUnavailable, error.to_string()))
            }
            Err(StoreError::NotFound) => Ok(None),
            Err(StoreError::Unavailable(_)) => Err(Failure::new(FailureCode::DatabaseUnavailable, "our database did not answer")),
            Err(error) => {
                tracing::error!(%error, "the key of a certificate that is to be revoked cannot be opened");
                Err(Failure::new(FailureCode::KeyUnavailable, "the certificate's key could not be opened"))
            }
        }
    }

    /// The revocation, its version, the state of the certificate, its renewal and the end of keys: all or nothing.
    async fn record_revoked(&self, reason: RevocationReason) -> Result<(), StoreError> {
        let (account, claim) = (self.account, &self.claim);
        self.worker
            .store
            .tenant_write(account, async |conn| {
                revocations::record_succeeded(conn, account, claim, reason).await?;
                if claim.version.is_some() {
                    issuing::record_revoked(conn, account, claim.certificate).await?;
                }
                let event = self.event(Level::Info, "revoked", format!("the CA has revoked the certificate ({})", reason.as_str()));
                let details = json!({ "version_id": claim.version, "reason": reason });
                self.record(conn, NewEvent { details, ..event }).await
            })
            .await?;
        tracing::info!(reason = reason.as_str(), "revoked");
        Ok(())
    }

    async fn record_trouble(&self, failure: &Failure, next_attempt_at: DateTime<Utc>) -> Result<(), StoreError> {
        let (account, claim) = (self.account, &self.claim);
        log(failure, "a certificate could not be revoked yet");
        self.worker
            .store
            .tenant_write(account, async |conn| {
                revocations::record_trouble(conn, account, claim, describe(failure), next_attempt_at).await?;
                let message = format!("{}; the CA is asked again at {}", failure.detail(), moment::shown(next_attempt_at));
                let event = NewEvent { details: describe(failure), ..self.event(Level::Warning, "revocation_attempt_failed", message) };
                events::record(conn, account, event).await.map(drop)
            })
            .await
    }

    async fn record_expired(&self) -> Result<(), StoreError> {
        let (account, claim) = (self.account, &self.claim);
        self.worker
            .store
            .tenant_write(account, async |conn| {
                revocations::record_end(conn, account, claim, RevocationStatus::Expired, None).await?;
                let message = "the certificate has run out before the CA had revoked it".to_owned();
                self.record(conn, self.event(Level::Warning, "revocation_expired", message)).await
            })
            .await
    }

    async fn record_refused(&self, failure: &Failure) -> Result<(), StoreError> {
        let (account, claim) = (self.account, &self.claim);
        log(failure, "a certificate cannot be revoked");
        self.worker
            .store
            .tenant_write(account, async |conn| {
                revocations::record_end(conn, account, claim, RevocationStatus::Failed, Some(describe(failure))).await?;
                let event = self.event(Level::Error, "revocation_failed", failure.detail().to_owned());
                self.record(conn, NewEvent { details: describe(failure), ..event }).await
            })
            .await
    }

    /// The end of a revocation, which may have been what the last key of a deleted certificate was kept for.
    async fn record(&self, conn: &mut Connection, event: NewEvent) -> Result<(), StoreError> {
        private_keys::destroy_unused(conn, self.account, self.claim.certificate).await?;
        events::record(conn, self.account, event).await.map(drop)
    }

    fn event(&self, level: Level, event: &'static str, message: String) -> NewEvent {
        let (certificate, order) = (Some(self.claim.certificate), Some(self.claim.order));
        NewEvent { level, certificate, order, ..NewEvent::info(event, message) }
    }
}

/// Whether another signature may be taken where that of our account was not.
fn is_about_the_account(failure: &Failure) -> bool {
    matches!(failure.code, FailureCode::RevocationRefused | FailureCode::AcmeAccountDoesNotExist | FailureCode::AcmeAccountNotValid)
}

fn log(failure: &Failure, what: &str) {
    let (code, detail) = (failure.code.as_str(), failure.detail());
    match failure.code.actor() {
        Actor::Operator => tracing::error!(code, detail, "{what}, and it needs the operator"),
        Actor::Customer | Actor::Nobody => tracing::warn!(code, detail, "{what}"),
    }
}
