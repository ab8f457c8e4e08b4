//! Mail on its way: written in the transaction of what it follows from, sent by a worker at least once.
//!
//! What a mail says may be a secret, such as a link that resets a password: it is sealed, and wiped when the mail is gone or given up.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::OptionalExtension;
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};
use zonecert_domain::id::AccountId;
use zonecert_pki::MasterKeys;
use zonecert_pki::seal::{Binding, KeyOwner};

use crate::schema::mails;
use crate::statement::sql_query;
use crate::{Connection, StoreError, data_keys};

/// The queue of jobs that send mail.
pub const QUEUE: &str = "mail";

/// A mail's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailId(pub Uuid);

/// A mail to be sent.
pub struct NewMail<'a> {
    /// The address that it goes to.
    pub recipient: &'a str,
    /// Which of our mails it is, for whoever looks at the table.
    pub template: &'static str,
    /// What it says.
    pub text: &'a MailText,
}

/// What a mail says. May be a secret: it implements no `Debug`, and is wiped when dropped.
#[derive(Serialize, Deserialize)]
pub struct MailText {
    /// One line.
    pub subject: String,
    /// Plain text; lines end in `\n`.
    pub body: String,
}

impl Drop for MailText {
    fn drop(&mut self) {
        self.subject.zeroize();
        self.body.zeroize();
    }
}

/// A mail in the hands of whoever is to send it. Nobody else has it until it is due again.
pub struct ClaimedMail {
    /// Which.
    pub id: MailId,
    /// The address that it goes to.
    pub recipient: String,
    /// Which of our mails it is.
    pub template: String,
    /// How often it was tried, this time included.
    pub attempts: i32,
    /// How long ago it was written.
    pub age: Duration,
    data_key: Uuid,
    sealed: Vec<u8>,
}

/// Writes a mail and sends the job for it. Seals it under the account's data key.
pub async fn insert_mail(conn: &mut Connection, masters: &MasterKeys, account: AccountId, new: &NewMail<'_>) -> Result<(), StoreError> {
    let id = MailId(Uuid::now_v7());
    let data_key = data_keys::get_current_data_key(conn, masters, account).await?;
    let text = Zeroizing::new(serde_json::to_vec(new.text).map_err(|_| StoreError::corrupt("mails.sealed", "a text that is not JSON"))?);
    let values = (
        mails::id.eq(id.0),
        mails::account_id.eq(account.0),
        mails::recipient.eq(new.recipient),
        mails::template.eq(new.template),
        mails::data_key_id.eq(data_key.id()),
        mails::sealed.eq(data_key.seal(&text, &binding(account, id))?),
    );
    diesel::insert_into(mails::table).values(values).execute(conn).await?;
    enqueue(conn, account, id, "first", None).await
}

/// Takes a due mail, for one attempt: it is due again after `rungs[attempts before]`, the last rung repeating, whatever becomes of this one. That
/// must be longer than an attempt takes. `None` when it is not due, or over.
pub async fn claim_mail(
    conn: &mut Connection,
    account: AccountId,
    id: MailId,
    rungs: &[Duration],
) -> Result<Option<ClaimedMail>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Text)]
        recipient: String,
        #[diesel(sql_type = sql_types::Text)]
        template: String,
        #[diesel(sql_type = sql_types::Integer)]
        attempts: i32,
        #[diesel(sql_type = sql_types::Double)]
        age: f64,
        #[diesel(sql_type = sql_types::Uuid)]
        data_key_id: Uuid,
        #[diesel(sql_type = sql_types::Bytea)]
        sealed: Vec<u8>,
    }

    let rungs: Vec<f64> = rungs.iter().map(Duration::as_secs_f64).collect();
    let row = sql_query(
        "UPDATE mails SET attempts = attempts + 1,
            next_attempt_at = now() + make_interval(secs => ($3::float8[])[least(attempts + 1, cardinality($3::float8[]))])
         WHERE account_id = $1 AND id = $2 AND next_attempt_at <= now()
         RETURNING recipient, template, attempts, extract(epoch FROM now() - created_at)::float8 AS age, data_key_id, sealed",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(id.0)
    .bind::<sql_types::Array<sql_types::Double>, _>(rungs)
    .get_result::<Row>(conn)
    .await
    .optional()?;
    Ok(row.map(|Row { recipient, template, attempts, age, data_key_id, sealed }| {
        let age = Duration::try_from_secs_f64(age).unwrap_or_default();
        ClaimedMail { id, recipient, template, attempts, age, data_key: data_key_id, sealed }
    }))
}

/// Opens what a claimed mail says. Errors with [`StoreError::NotFound`] when the account's data key was destroyed.
pub async fn open_mail(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    mail: &ClaimedMail,
) -> Result<MailText, StoreError> {
    let data_key = data_keys::get_data_key(conn, masters, account, mail.data_key).await?;
    let text = data_key.open(&mail.sealed, &binding(account, mail.id))?;
    serde_json::from_slice(&text).map_err(|_| StoreError::corrupt("mails.sealed", "not the text of a mail"))
}

/// Notes that it was sent, and wipes it.
pub async fn mark_sent(conn: &mut Connection, account: AccountId, mail: &ClaimedMail) -> Result<(), StoreError> {
    end(conn, account, mail, None).await
}

/// Notes why it will never be sent, and wipes it.
pub async fn mark_failed(conn: &mut Connection, account: AccountId, mail: &ClaimedMail, error: &str) -> Result<(), StoreError> {
    end(conn, account, mail, Some(error)).await
}

/// Notes why it was not sent this time; the next job goes out for when it is due again.
pub async fn record_failure(conn: &mut Connection, account: AccountId, mail: &ClaimedMail, error: &str) -> Result<(), StoreError> {
    let due_again = diesel::update(held(account, mail)).set(mails::last_error.eq(error)).returning(mails::next_attempt_at);
    match due_again.get_result::<Option<DateTime<Utc>>>(conn).await.optional()?.flatten() {
        Some(at) => enqueue(conn, account, mail.id, &mail.attempts.to_string(), Some(at)).await,
        None => Ok(()),
    }
}

/// Mails of any tenant that have been due for longer than `grace`, which nobody has come by for.
pub async fn list_forgotten(conn: &mut Connection, grace: Duration, batch: i32) -> Result<Vec<(AccountId, MailId)>, StoreError> {
    sql_query("SELECT account_id, id FROM sweep_mails(make_interval(secs => $1), $2)")
        .bind::<sql_types::Double, _>(grace.as_secs_f64())
        .bind::<sql_types::Integer, _>(batch)
        .load_ids(conn, MailId)
        .await
}

/// Sends another job for a mail whose job got lost. Any number of sweepers send one a minute between them.
pub async fn wake_forgotten(conn: &mut Connection, account: AccountId, id: MailId) -> Result<(), StoreError> {
    let minute = crate::issuances::database_now(conn).await?.timestamp() / 60;
    enqueue(conn, account, id, &format!("minute {minute}"), None).await
}

/// One job for each `occasion`; due at once where no moment is given.
async fn enqueue(
    conn: &mut Connection,
    account: AccountId,
    id: MailId,
    occasion: &str,
    at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    sql_query("SELECT enqueue_job($1, $2, $3, coalesce($4, now()))")
        .bind::<sql_types::Text, _>(QUEUE)
        .bind::<sql_types::Jsonb, _>(json!({ "account_id": account.0, "mail_id": id.0 }))
        .bind::<sql_types::Text, _>(format!("{}:{occasion}", id.0))
        .bind::<sql_types::Nullable<sql_types::Timestamptz>, _>(at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Sent where there is no error, given up where there is one; and nothing when somebody else has taken the mail since.
async fn end(conn: &mut Connection, account: AccountId, mail: &ClaimedMail, error: Option<&str>) -> Result<(), StoreError> {
    sql_query(
        "UPDATE mails SET sent_at = CASE WHEN $4 IS NULL THEN now() END, failed_at = CASE WHEN $4 IS NOT NULL THEN now() END, last_error = $4,
            next_attempt_at = NULL, sealed = NULL
         WHERE account_id = $1 AND id = $2 AND attempts = $3 AND next_attempt_at IS NOT NULL",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(mail.id.0)
    .bind::<sql_types::Integer, _>(mail.attempts)
    .bind::<sql_types::Nullable<sql_types::Text>, _>(error)
    .execute(conn)
    .await?;
    Ok(())
}

/// The mail as long as nobody else has taken it since.
#[diesel::dsl::auto_type]
fn held(account: AccountId, mail: &ClaimedMail) -> _ {
    let account: Uuid = account.0;
    let id: Uuid = mail.id.0;
    let attempts: i32 = mail.attempts;
    mails::table
        .filter(mails::account_id.eq(account))
        .filter(mails::id.eq(id))
        .filter(mails::attempts.eq(attempts))
        .filter(mails::next_attempt_at.is_not_null())
}

pub(crate) fn binding(account: AccountId, row: MailId) -> Binding<'static> {
    Binding { owner: KeyOwner::Account(account.0), table: "mails", row: row.0, purpose: "text" }
}
