//! The job `mail`: sends one mail, at least once.
//!
//! The row is the truth. Whoever sends it takes it first by putting its next attempt off, so that nobody else does; whoever is killed meanwhile leaves
//! it to be sent again, under the same `Message-ID`. What it says is opened for the time of the attempt only.

mod directory;
mod mailer;
mod message;
mod smtp;

use std::time::Duration;

use uuid::Uuid;
use zonecert_domain::id::AccountId;
use zonecert_store::accounts::{self, AccountStatus};
use zonecert_store::mails::{self, ClaimedMail, MailId, MailText};
use zonecert_store::{Connection, StoreError};

use crate::worker::Worker;
pub use mailer::{Mailer, MailerError};
pub use smtp::SmtpRelay;

/// The waits after the first, second, … failed attempt; each longer than [`mailer::PATIENCE`]. After the last one a mail is tried once more.
const RUNGS: [Duration; 5] =
    [Duration::from_mins(1), Duration::from_mins(10), Duration::from_hours(1), Duration::from_hours(6), Duration::from_hours(16)];

/// The links in a mail have ended by then.
const LIFETIME: Duration = Duration::from_hours(24);

/// The payload of the job.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct MailJob {
    /// The tenant, as the bare UUID.
    pub account_id: Uuid,
    /// The mail, as the bare UUID.
    pub mail_id: Uuid,
}

/// Why a mail was not sent.
#[derive(Debug)]
enum SendError {
    /// The way is barred for now, or for all mail.
    Later(String),
    /// This mail is refused, and will be.
    Never(String),
}

/// Sends a mail, if it is due and nobody else does. Does nothing where no way to send is set.
pub async fn run(worker: &Worker, job: MailJob) -> Result<(), StoreError> {
    let Some(mailer) = &worker.mailer else { return Ok(()) };
    let (account, id) = (AccountId(job.account_id), MailId(job.mail_id));
    let Some((mail, text)) = worker.store.tenant(account, async |conn| take(conn, worker, account, id).await).await? else {
        tracing::debug!(%account, mail = %id.0, "nothing to do: not due, over, or in other hands");
        return Ok(());
    };
    let sent = mailer.send(&mail, &text).await;
    drop(text);
    worker.store.tenant(account, async |conn| record(conn, account, &mail, sent).await).await
}

/// Takes a due mail and opens it. One that is not to be sent any more is given up.
async fn take(
    conn: &mut Connection,
    worker: &Worker,
    account: AccountId,
    id: MailId,
) -> Result<Option<(ClaimedMail, MailText)>, StoreError> {
    let Some(mail) = mails::claim_mail(conn, account, id, &RUNGS).await? else { return Ok(None) };
    let text = match find_obstacle(conn, account, &mail).await? {
        Some(obstacle) => Err(obstacle),
        None => match mails::open_mail(conn, &worker.masters, account, &mail).await {
            Err(StoreError::NotFound) => Err("the account's data key was destroyed"),
            opened => Ok(opened?),
        },
    };
    match text {
        Ok(text) => Ok(Some((mail, text))),
        Err(obstacle) => {
            tracing::info!(%account, mail = %id.0, template = mail.template, obstacle, "a mail was given up before it was sent");
            mails::mark_failed(conn, account, &mail, obstacle).await?;
            Ok(None)
        }
    }
}

/// Why a mail must not be sent any more.
async fn find_obstacle(conn: &mut Connection, account: AccountId, mail: &ClaimedMail) -> Result<Option<&'static str>, StoreError> {
    if mail.age >= LIFETIME || is_beyond_last(mail) {
        return Ok(Some("no attempt has come to an end within a day"));
    }
    match accounts::get_account(conn, account).await {
        Ok(account) if account.status == AccountStatus::SuspendedAbuse => Ok(Some("the account is suspended for abuse")),
        Ok(_) => Ok(None),
        Err(StoreError::NotFound) => Ok(Some("the account is gone")),
        Err(error) => Err(error),
    }
}

async fn record(conn: &mut Connection, account: AccountId, mail: &ClaimedMail, sent: Result<(), SendError>) -> Result<(), StoreError> {
    let (id, template, attempts) = (mail.id.0, &mail.template, mail.attempts);
    match sent {
        Ok(()) => {
            tracing::info!(%account, mail = %id, template, attempts, "a mail was sent");
            mails::mark_sent(conn, account, mail).await
        }
        Err(SendError::Later(error)) if !is_last(mail) => {
            tracing::warn!(%account, mail = %id, template, attempts, error, "a mail could not be sent yet");
            mails::record_failure(conn, account, mail, &error).await
        }
        Err(SendError::Later(error)) => {
            tracing::error!(%account, mail = %id, template, attempts, error, "a mail was given up; check ZONECERT_SMTP_URL and the mail server");
            mails::mark_failed(conn, account, mail, &error).await
        }
        Err(SendError::Never(error)) => {
            tracing::warn!(%account, mail = %id, template, attempts, error, "a mail was refused");
            mails::mark_failed(conn, account, mail, &error).await
        }
    }
}

fn is_last(mail: &ClaimedMail) -> bool {
    usize::try_from(mail.attempts).is_ok_and(|attempts| attempts > RUNGS.len())
}

/// The last attempt was made, and whoever made it was killed.
fn is_beyond_last(mail: &ClaimedMail) -> bool {
    usize::try_from(mail.attempts).is_ok_and(|attempts| attempts > RUNGS.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_over_before_the_next_one_is_due_and_the_last_one_comes_within_a_day() {
        assert!(RUNGS.is_sorted() && RUNGS.iter().all(|&rung| rung > mailer::PATIENCE));
        assert!(RUNGS.iter().sum::<Duration>() < LIFETIME);
    }
}
