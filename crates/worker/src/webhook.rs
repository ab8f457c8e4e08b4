//! The job `webhook`: sends the messages that are due to one webhook, each at least once (`docs/adr/0025-webhooks.md`), and pushes to one push target
//! (`docs/adr/0030-push.md`).
//!
//! The rows are the truth. Whoever sends a message takes it first by putting it off, so that nobody else does; whoever is killed meanwhile leaves it to be sent again,
//! under the same identifier. So many are under way to one webhook at a time: a slow receiver waits for itself.

mod push;
mod sender;
mod signature;

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, CertificateId, PushTargetId, WebhookId};
use zonecert_domain::push::address;
use zonecert_domain::webhook::{FAILING_FOR, RUNGS, next_wait};
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::mails::{self, MailText, NewMail};
use zonecert_store::webhook_deliveries::{self, AtOnce, Attempt, Claimed, Outcome};
use zonecert_store::webhooks::{self, DisabledReason};
use zonecert_store::{Connection, StoreError};

use crate::metrics::DeliveryOutcome;
use crate::worker::Worker;
use push::Envelope;
use sender::Answered;
pub use sender::{SenderError, WebhookSender};

/// Messages under way to one webhook. One that fails is asked with one at a time.
const AT_ONCE: AtOnce = AtOnce { well: 4, failing: 1 };

/// Longer than an attempt can take: nobody else takes a message before.
const CLAIM: Duration = Duration::from_secs(30);

/// Whoever has been at one webhook for so long lets others go first.
const TURN: Duration = Duration::from_secs(20);

/// The payload of the job.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct WebhookJob {
    /// The tenant, as the bare UUID.
    pub account_id: Uuid,
    /// The webhook, as the bare UUID.
    pub webhook_id: Uuid,
}

/// What is sent.
enum Contents {
    /// The message as it was written, signed with each of these.
    Signed(Vec<Zeroizing<Vec<u8>>>),
    /// What is in use now, or why there is nothing.
    Sealed(Result<Envelope, String>),
}

/// Sends what is due to a webhook, as long as its turn is. Does nothing where enough is under way to it.
pub async fn run(worker: &Worker, job: WebhookJob) -> Result<(), StoreError> {
    let Some(sender) = &worker.webhooks else { return Ok(()) };
    let (account, webhook) = (AccountId(job.account_id), WebhookId(job.webhook_id));
    let began = Instant::now();
    while let Some((claimed, contents)) = take(worker, account, webhook).await? {
        let outcome = match contents {
            _ if is_beyond_last(&claimed) => Answered::failed(&claimed, "no attempt has come to an end".to_owned()),
            Contents::Signed(secrets) => sender.send(&claimed, &secrets).await,
            Contents::Sealed(Ok(envelope)) => sender.push(&claimed, envelope).await,
            Contents::Sealed(Err(reason)) => Answered { is_final: true, ..Answered::failed(&claimed, reason) },
        };
        record(worker, account, &claimed, outcome).await?;
        if worker.is_stopping() || began.elapsed() >= TURN {
            worker.store.tenant(account, async |conn| webhook_deliveries::yield_turn(conn, account, webhook).await).await?;
            break;
        }
    }
    Ok(())
}

/// Takes the next message, and opens what it is signed with or sealed under. Where that cannot be opened, nothing is taken.
async fn take(worker: &Worker, account: AccountId, webhook: WebhookId) -> Result<Option<(Claimed, Contents)>, StoreError> {
    let body = async |conn: &mut Connection| {
        let Some(claimed) = webhook_deliveries::claim_next(conn, account, webhook, AT_ONCE, CLAIM).await? else { return Ok(None) };
        let secrets = webhooks::open_secrets(conn, &worker.masters, account, webhook).await?;
        let contents = match claimed.pushed {
            None => Contents::Signed(secrets),
            Some(certificate) => Contents::Sealed(push::envelope(conn, &worker.masters, account, certificate, &secrets).await?),
        };
        Ok::<_, StoreError>(Some((claimed, contents)))
    };
    worker.store.tenant(account, body).await
}

async fn record(worker: &Worker, account: AccountId, claimed: &Claimed, answered: Answered) -> Result<(), StoreError> {
    let Answered { attempt, retry_after, gone, is_final } = answered;
    let (webhook, delivery, attempts) = (claimed.webhook, claimed.id, claimed.attempts);
    let outcome = match attempt.error {
        None => Outcome::Delivered,
        Some(_) if gone || is_final => Outcome::GivenUp,
        Some(_) => next_wait(attempts, retry_after, jitter()).map_or(Outcome::GivenUp, Outcome::Again),
    };
    let disabled = match worker
        .store
        .tenant_write(account, async |conn| note(conn, worker, account, claimed, &attempt, (outcome, gone, is_final)).await)
        .await
    {
        // The account has ended.
        Err(StoreError::NotFound) => return Ok(()),
        noted => noted?,
    };
    worker.metrics.delivered(match outcome {
        Outcome::Delivered => DeliveryOutcome::Delivered,
        Outcome::Again(_) => DeliveryOutcome::Failed,
        Outcome::GivenUp => DeliveryOutcome::GivenUp,
    });
    match (&attempt.error, disabled) {
        (None, _) => tracing::info!(%account, %webhook, %delivery, event = claimed.event, attempts, "a message was delivered"),
        (Some(error), None) => tracing::info!(%account, %webhook, %delivery, attempts, error, ?outcome, "a message was not delivered"),
        (Some(error), Some(reason)) => {
            tracing::info!(%account, %webhook, %delivery, attempts, error, reason = reason.as_str(), "a webhook was disabled");
        }
    }
    Ok(())
}

/// Notes what has come of an attempt, and disables a webhook that is gone or has failed for too long.
async fn note(
    conn: &mut Connection,
    worker: &Worker,
    account: AccountId,
    claimed: &Claimed,
    attempt: &Attempt,
    (outcome, gone, is_final): (Outcome, bool, bool),
) -> Result<Option<DisabledReason>, StoreError> {
    let failing = webhook_deliveries::record_attempt(conn, account, claimed, attempt, outcome).await?;
    if let Some(certificate) = claimed.pushed {
        note_push(conn, worker, account, (claimed, certificate), attempt, (outcome, is_final)).await?;
        return Ok(None);
    }
    let reason = match failing {
        Some(_) if gone => DisabledReason::Gone,
        Some(since) if since >= FAILING_FOR => DisabledReason::Failing,
        _ => return Ok(None),
    };
    if !webhooks::disable(conn, account, claimed.webhook, reason).await? {
        return Ok(None);
    }
    let text = notice(claimed, reason, attempt.error.as_deref().unwrap_or_default());
    for recipient in webhooks::list_owner_addresses(conn, account).await? {
        let mail = NewMail { recipient: &recipient, template: "webhook_disabled", text: &text };
        mails::insert_mail(conn, &worker.masters, account, &mail).await?;
    }
    Ok(Some(reason))
}

/// Writes into the certificate's log what has come of a push: the first failure, and the end. Owners are told of one that was given up. The target stays as it
/// is: the next version is pushed to it again.
async fn note_push(
    conn: &mut Connection,
    worker: &Worker,
    account: AccountId,
    (claimed, certificate): (&Claimed, CertificateId),
    attempt: &Attempt,
    (outcome, is_final): (Outcome, bool),
) -> Result<(), StoreError> {
    let target = PushTargetId(claimed.webhook.0);
    let address = address(&claimed.url);
    let error = attempt.error.as_deref().unwrap_or_default();
    let (level, event, message) = match outcome {
        Outcome::Delivered => (Level::Info, "push_delivered", format!("Pushed to {address}")),
        Outcome::Again(_) if claimed.attempts > 1 => return Ok(()),
        Outcome::Again(_) => (Level::Warning, "push_failed", format!("Could not be pushed to {address}, and is tried again: {error}")),
        Outcome::GivenUp => (Level::Error, "push_given_up", format!("Could not be pushed to {address}: {error}")),
    };
    let details = json!({ "push_target_id": target, "delivery_id": claimed.id, "version_id": attempt.version });
    let event = NewEvent { level, certificate: Some(certificate), details, ..NewEvent::info(event, message) };
    events::record(conn, account, event).await?;
    if outcome == Outcome::GivenUp && !is_final {
        let text = push_notice(certificate, target, &address);
        for recipient in webhooks::list_owner_addresses(conn, account).await? {
            let mail = NewMail { recipient: &recipient, template: "push_given_up", text: &text };
            mails::insert_mail(conn, &worker.masters, account, &mail).await?;
        }
    }
    Ok(())
}

fn push_notice(certificate: CertificateId, target: PushTargetId, address: &str) -> MailText {
    MailText {
        subject: "A certificate could not be pushed".to_owned(),
        body: format!(
            "For three days the certificate {certificate} of your account on Zonecert could not be pushed to its target {target} at {address}.\n\n\
             What went wrong is listed under /api/v1/certificates/{certificate}/push-targets/{target}/deliveries. \
             Once the client takes certificates again, POST /api/v1/certificates/{certificate}/versions/{{version}}/post-process pushes the version in use. \
             The next version is pushed by itself.\n"
        ),
    }
}

/// What owners are told. What the receiver has answered is not part of it: it could say anything under our name. Nor is the URL, which may hold a secret.
fn notice(claimed: &Claimed, reason: DisabledReason, error: &str) -> MailText {
    let webhook = claimed.webhook;
    let why = match reason {
        DisabledReason::Gone => "its receiver has answered 410 Gone".to_owned(),
        DisabledReason::ByHand | DisabledReason::Failing => {
            format!("nothing could be delivered for three days; the last error was: {error}")
        }
    };
    MailText {
        subject: "A webhook was disabled".to_owned(),
        body: format!(
            "The webhook {webhook} of your account on Zonecert was disabled: {why}.\n\n\
             It is told nothing until somebody enables it again, by PATCH /api/v1/webhooks/{webhook} with {{\"enabled\": true}}. \
             What it has missed so far stays listed under /api/v1/webhooks/{webhook}/deliveries for 30 days, and can be replayed.\n"
        ),
    }
}

/// From 0 to 1.
fn jitter() -> f64 {
    let [high, low, ..] = Uuid::new_v4().into_bytes();
    f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX)
}

/// The last attempt was made, and whoever made it was killed.
fn is_beyond_last(claimed: &Claimed) -> bool {
    usize::try_from(claimed.attempts).is_ok_and(|attempts| attempts > RUNGS.len() + 1)
}

impl Answered {
    fn failed(claimed: &Claimed, error: String) -> Self {
        let attempt = Attempt { at: claimed.at, duration_ms: 0, status: None, answer: None, error: Some(error), version: None };
        Self { attempt, retry_after: None, gone: false, is_final: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_outlasts_an_attempt_and_ends_before_the_first_repetition() {
        assert!(CLAIM > sender::PATIENCE * 2);
        assert!(CLAIM <= RUNGS[0]);
    }

    #[test]
    fn jitter_is_from_0_to_1_and_not_always_the_same() {
        let some: Vec<f64> = (0..32).map(|_| jitter()).collect();
        assert!(some.iter().all(|jitter| (0.0..=1.0).contains(jitter)));
        assert!(some.iter().any(|jitter| (jitter - some[0]).abs() > 0.001));
    }
}
