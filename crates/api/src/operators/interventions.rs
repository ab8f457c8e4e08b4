//! What the operator may do about an issuance that does not come through. Each is one transaction, and stands in the audit log.

use std::time::Duration;

use serde_json::json;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId};
use zonecert_store::events::{self, NewEvent};
use zonecert_store::issuing::{self, Outcome};
use zonecert_store::renewals_by_hand::{self, LiveIssuance};
use zonecert_store::{Connection, Store, StoreError, certificates, issuances};

use super::actions::{Actor, record};

/// What has come of a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// The live issuance takes its next step now.
    Woken(IssuanceId),
    /// None was live: this one has begun.
    Begun(IssuanceId),
}

/// Has the live issuance of a certificate take its next step now, whatever it rests for; where none is live, begins one. What a plan includes is looked at by
/// the worker, as always.
///
/// Errors with [`StoreError::NotFound`] where there is no such certificate, and with [`StoreError::Constraint`] where another has taken its domain meanwhile.
pub async fn retry(store: &Store, account: AccountId, certificate: CertificateId, actor: Actor<'_>) -> Result<Retried, StoreError> {
    store
        .tenant_write(account, async |conn| {
            let status = certificates::get_certificate(conn, account, certificate).await?.status;
            let retried = match renewals_by_hand::find_live(conn, account, certificate).await? {
                Some(LiveIssuance::Resting(issuance) | LiveIssuance::UnderWay(issuance)) => {
                    issuances::wake(conn, issuance, Duration::ZERO).await?;
                    Retried::Woken(issuance)
                }
                None => {
                    certificates::take_slot(conn, account, certificate).await?;
                    let issuance = renewals_by_hand::begin(conn, account, certificate).await?;
                    if status == CertificateStatus::Issued {
                        issuing::record_outcome(conn, account, certificate, Outcome::Running).await?;
                    }
                    Retried::Begun(issuance)
                }
            };
            let (Retried::Woken(issuance) | Retried::Begun(issuance)) = retried;
            note(conn, (account, certificate, Some(issuance)), actor, "issuance_retried", "support has the next attempt made now").await?;
            Ok(retried)
        })
        .await
}

/// Has the live issuance of a certificate ended. What is valid stays as it is. Returns false where none is live.
pub async fn cancel(store: &Store, account: AccountId, certificate: CertificateId, actor: Actor<'_>) -> Result<bool, StoreError> {
    store
        .tenant_write(account, async |conn| {
            let cancelled = issuances::request_cancel(conn, account, certificate).await?;
            if cancelled {
                note(conn, (account, certificate, None), actor, "issuance_cancel_requested", "support has the issuance ended").await?;
            }
            Ok(cancelled)
        })
        .await
}

async fn note(
    conn: &mut Connection,
    (account, certificate, issuance): (AccountId, CertificateId, Option<IssuanceId>),
    actor: Actor<'_>,
    event: &'static str,
    message: &str,
) -> Result<(), StoreError> {
    let details = json!({ "issuance_id": issuance });
    record(conn, account, actor, &event.replacen('_', ".", 1), &certificate.to_string(), details.clone()).await?;
    let event = NewEvent { certificate: Some(certificate), issuance, details, ..NewEvent::info(event, message) };
    events::record(conn, account, event).await.map(drop)
}
