//! ACME accounts that customers have at a CA themselves, and what the CA is still to be asked for about them (`docs/adr/0029-own-acme-accounts.md`).
//!
//! What is to be done follows from the row: to register it, to tell the CA of other addresses, or, once it was deleted, that it is of no use any more. Whoever does it
//! claims the row first, by putting it off. What signs is in [`crate::acme_accounts`], under the same identifier.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::acme_account::AcmeAccountStatus;
use zonecert_domain::id::{AccountId, AcmeAccountId, CertificateId};
use zonecert_pki::MasterKeys;
use zonecert_pki::seal::{Binding, KeyOwner};

use crate::schema::own_acme_accounts;
use crate::statement::{PreparedDsl as _, sql_query};
use crate::{Connection, StoreError, acme_accounts, data_keys, queue_jobs};

/// The queue of the job that looks for what is due, and its payload.
pub const QUEUE: &str = "scan";
/// What the job looks for.
pub const SCAN: &str = "acme_accounts";

/// An ACME account of a customer.
#[derive(Clone, Debug)]
pub struct OwnAcmeAccount {
    /// Its identifier.
    pub id: AcmeAccountId,
    /// What its owner calls it.
    pub name: String,
    /// The e-mail addresses that the CA may write to.
    pub contact: Vec<String>,
    /// The CA's directory.
    pub directory_url: String,
    /// The external account that it is bound to.
    pub eab_kid: Option<String>,
    /// Where it stands.
    pub status: AcmeAccountStatus,
    /// Why the CA has not done what it was asked for last: `code`, `detail` and `remedy`.
    pub last_error: Option<serde_json::Value>,
    /// When the CA is asked again.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// The account that somebody has with a CA outside of ACME.
pub struct ExternalAccount<'a> {
    /// By which the CA names it.
    pub kid: &'a str,
    /// With which the binding is signed.
    pub mac_key: &'a [u8],
}

/// What an ACME account is.
pub struct NewOwnAcmeAccount<'a> {
    /// What its owner calls it.
    pub name: &'a str,
    /// The e-mail addresses that the CA may write to.
    pub contact: &'a [String],
    /// The CA's directory.
    pub directory_url: &'a str,
    /// What it is bound to.
    pub external_account: Option<ExternalAccount<'a>>,
}

/// What is to change. `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct OwnAcmeAccountChange {
    /// What its owner calls it.
    pub name: Option<String>,
    /// The e-mail addresses that the CA may write to.
    pub contact: Option<Vec<String>>,
}

/// Where a page begins: behind this one, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Its identifier.
    pub id: AcmeAccountId,
}

/// What keeps an ACME account from being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InUse {
    /// This certificate is ordered with it.
    By(CertificateId),
    /// The CA has still to be asked for something, by an order or a revocation.
    Busy,
}

/// What a CA is to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// To register the account.
    Register,
    /// To take other addresses.
    ChangeContact,
    /// To take nothing from it any more. `waits` says that orders or revocations are to be finished with it first.
    Deactivate {
        /// Not yet.
        waits: bool,
    },
}

/// An ACME account with what the CA is to be asked for.
pub struct Work {
    /// What.
    pub task: Task,
    /// The CA's directory.
    pub directory_url: String,
    /// The addresses that the CA is to know.
    pub contact: Vec<String>,
    /// What it is to be bound to: key identifier and MAC key.
    pub external_account: Option<(String, Zeroizing<Vec<u8>>)>,
    /// Which attempt this is, counted from 1.
    pub attempts: u32,
    /// Since when it is to be done.
    pub since: DateTime<Utc>,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

type Row = (Uuid, String, Vec<String>, String, Option<String>, String, Option<serde_json::Value>, Option<DateTime<Utc>>, DateTime<Utc>);

#[diesel::dsl::auto_type]
fn columns() -> _ {
    (
        own_acme_accounts::id,
        own_acme_accounts::name,
        own_acme_accounts::contact,
        own_acme_accounts::directory_url,
        own_acme_accounts::eab_kid,
        own_acme_accounts::status,
        own_acme_accounts::last_error,
        own_acme_accounts::next_attempt_at,
        own_acme_accounts::created_at,
    )
}

fn from_row(
    (id, name, contact, directory_url, eab_kid, status, last_error, next_attempt_at, created_at): Row,
) -> Result<OwnAcmeAccount, StoreError> {
    let status = AcmeAccountStatus::parse(&status).ok_or_else(|| StoreError::corrupt("own_acme_accounts.status", status))?;
    Ok(OwnAcmeAccount { id: AcmeAccountId(id), name, contact, directory_url, eab_kid, status, last_error, next_attempt_at, created_at })
}

/// Adds an ACME account that is to be registered, and sends the job for it. The MAC key is sealed under the account's data key.
pub async fn insert(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    new: &NewOwnAcmeAccount<'_>,
) -> Result<OwnAcmeAccount, StoreError> {
    let id = AcmeAccountId::new();
    let sealed = match &new.external_account {
        Some(external) => {
            let data_key = data_keys::get_current_data_key(conn, masters, account).await?;
            Some((data_key.id(), data_key.seal(external.mac_key, &eab_binding(account, id.0))?))
        }
        None => None,
    };
    let (data_key, sealed) = sealed.unzip();
    let values = (
        own_acme_accounts::id.eq(id.0),
        own_acme_accounts::account_id.eq(account.0),
        own_acme_accounts::name.eq(new.name),
        own_acme_accounts::contact.eq(new.contact),
        own_acme_accounts::directory_url.eq(new.directory_url),
        own_acme_accounts::eab_kid.eq(new.external_account.as_ref().map(|external| external.kid)),
        own_acme_accounts::data_key_id.eq(data_key),
        own_acme_accounts::sealed_eab.eq(sealed),
    );
    diesel::insert_into(own_acme_accounts::table).values(values).execute(conn).await?;
    wake(conn, id).await?;
    get(conn, account, id).await
}

/// The tenant's ACME accounts, oldest first, those behind `after`, at most `limit`.
pub async fn list(
    conn: &mut Connection,
    account: AccountId,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<OwnAcmeAccount>, StoreError> {
    let theirs = own_acme_accounts::account_id.eq(account.0).and(own_acme_accounts::deleted_at.is_null());
    let mut page = own_acme_accounts::table
        .filter(theirs)
        .order((own_acme_accounts::created_at, own_acme_accounts::id))
        .limit(limit)
        .select(columns())
        .into_boxed();
    if let Some(after) = after {
        page = page
            .filter(own_acme_accounts::created_at.ge(after.created_at))
            .filter(own_acme_accounts::created_at.gt(after.created_at).or(own_acme_accounts::id.gt(after.id.0)));
    }
    page.load::<Row>(conn).await?.into_iter().map(from_row).collect()
}

/// How many the tenant has.
pub async fn count(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    let theirs = own_acme_accounts::account_id.eq(account.0).and(own_acme_accounts::deleted_at.is_null());
    Ok(own_acme_accounts::table.filter(theirs).count().get_result(conn).await?)
}

/// An ACME account of the tenant.
pub async fn get(conn: &mut Connection, account: AccountId, id: AcmeAccountId) -> Result<OwnAcmeAccount, StoreError> {
    from_row(undeleted(account, id).select(columns()).first::<Row>(conn).await?)
}

/// The directory of an ACME account, one that was deleted included.
pub async fn get_directory_url(conn: &mut Connection, account: AccountId, id: AcmeAccountId) -> Result<String, StoreError> {
    let row = own_acme_accounts::table.filter(own_acme_accounts::account_id.eq(account.0).and(own_acme_accounts::id.eq(id.0)));
    Ok(row.select(own_acme_accounts::directory_url).first(conn).await?)
}

/// Changes an ACME account. Other addresses are told to the CA, and one that the CA did not take is tried once more with them.
pub async fn change(
    conn: &mut Connection,
    account: AccountId,
    id: AcmeAccountId,
    change: &OwnAcmeAccountChange,
) -> Result<OwnAcmeAccount, StoreError> {
    let changed = sql_query(
        "UPDATE own_acme_accounts SET name = coalesce($3, name), contact = coalesce($4, contact)
         WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(id.0)
    .bind::<sql_types::Nullable<sql_types::Text>, _>(change.name.clone())
    .bind::<sql_types::Nullable<sql_types::Array<sql_types::Text>>, _>(change.contact.clone())
    .execute(conn)
    .await?;
    if changed == 0 {
        return Err(StoreError::NotFound);
    }
    // Whoever asks the CA just now is waited for.
    let to_do = sql_query(
        "UPDATE own_acme_accounts SET status = CASE status WHEN 'failed' THEN 'pending' ELSE status END, work_since = now(), attempts = 0, last_error = NULL,
             next_attempt_at = greatest(claimed_until, now())
         WHERE account_id = $1 AND id = $2 AND status <> 'deactivated' AND contact IS DISTINCT FROM registered_contact AND $3",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(id.0)
    .bind::<sql_types::Bool, _>(change.contact.is_some())
    .execute(conn)
    .await?;
    if to_do > 0 {
        wake(conn, id).await?;
    }
    get(conn, account, id).await
}

/// Deletes an ACME account that nothing uses: nobody sees it any more, and the CA is told that it takes nothing from it any more. The transaction must be one to write
/// ([`crate::Store::tenant_write`]), so that no certificate begins to use it meanwhile. Answers what uses it, if anything does.
pub async fn delete(conn: &mut Connection, account: AccountId, id: AcmeAccountId) -> Result<Option<InUse>, StoreError> {
    #[derive(QueryableByName)]
    struct Used {
        #[diesel(sql_type = sql_types::Nullable<sql_types::Uuid>)]
        certificate: Option<Uuid>,
        #[diesel(sql_type = sql_types::Bool)]
        busy: bool,
    }

    get(conn, account, id).await?;
    let query = format!(
        "SELECT (SELECT id FROM certificates WHERE acme_account_id = $2 AND account_id = $1 AND deleted_at IS NULL ORDER BY number LIMIT 1) AS certificate,
             {BUSY} AS busy FROM own_acme_accounts WHERE account_id = $1 AND id = $2"
    );
    let used: Used = sql_query(query).bind::<sql_types::Uuid, _>(account.0).bind::<sql_types::Uuid, _>(id.0).get_result(conn).await?;
    match used {
        Used { certificate: Some(certificate), .. } => return Ok(Some(InUse::By(CertificateId(certificate)))),
        Used { busy: true, .. } => return Ok(Some(InUse::Busy)),
        Used { .. } => {}
    }
    sql_query(
        "UPDATE own_acme_accounts SET deleted_at = now(), work_since = now(), attempts = 0, next_attempt_at = greatest(claimed_until, now()),
             data_key_id = NULL, sealed_eab = NULL
         WHERE account_id = $1 AND id = $2",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(id.0)
    .execute(conn)
    .await?;
    wake(conn, id).await?;
    Ok(None)
}

/// Whether orders that are under way or revocations need an ACME account, whatever became of it.
const BUSY: &str = "(EXISTS (SELECT FROM orders WHERE orders.own_acme_account_id = own_acme_accounts.id AND orders.finished_at IS NULL)
    OR EXISTS (SELECT FROM revocations JOIN orders ON orders.account_id = revocations.account_id AND orders.id = revocations.order_id
        WHERE revocations.account_id = own_acme_accounts.account_id AND revocations.status = 'active' AND orders.own_acme_account_id = own_acme_accounts.id))";

/// Has a certificate ordered with this ACME account from its next order on; with the platform's where there is none.
pub async fn use_for(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    id: Option<AcmeAccountId>,
) -> Result<(), StoreError> {
    sql_query("UPDATE certificates SET acme_account_id = $3, updated_at = now() WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL")
        .bind::<sql_types::Uuid, _>(account.0)
        .bind::<sql_types::Uuid, _>(certificate.0)
        .bind::<sql_types::Nullable<sql_types::Uuid>, _>(id.map(|id| id.0))
        .execute(conn)
        .await?;
    Ok(())
}

/// At most `batch` ACME accounts of all tenants about which a CA is to be asked, the longest due first. They are put off by `put_off` in the same statement. Runs
/// without a tenant.
pub async fn claim_due(conn: &mut Connection, put_off: Duration, batch: i32) -> Result<Vec<(AccountId, AcmeAccountId)>, StoreError> {
    sql_query("SELECT account_id, id FROM sweep_own_acme_accounts(make_interval(secs => $1), $2)")
        .bind::<sql_types::Double, _>(put_off.as_secs_f64())
        .bind::<sql_types::Integer, _>(batch)
        .load_ids(conn, AcmeAccountId)
        .await
}

/// What the CA is to be asked for about an ACME account; none where there is nothing.
pub async fn find_work(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    id: AcmeAccountId,
) -> Result<Option<Work>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::Text)]
        task: String,
        #[diesel(sql_type = sql_types::Bool)]
        busy: bool,
        #[diesel(sql_type = sql_types::Text)]
        directory_url: String,
        #[diesel(sql_type = sql_types::Array<sql_types::Text>)]
        contact: Vec<String>,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
        eab_kid: Option<String>,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Uuid>)]
        data_key_id: Option<Uuid>,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Bytea>)]
        sealed_eab: Option<Vec<u8>>,
        #[diesel(sql_type = sql_types::Integer)]
        attempts: i32,
        #[diesel(sql_type = sql_types::Timestamptz)]
        since: DateTime<Utc>,
        #[diesel(sql_type = sql_types::Timestamptz)]
        now: DateTime<Utc>,
    }

    let query = format!(
        "SELECT CASE WHEN deleted_at IS NOT NULL THEN 'deactivate' WHEN status = 'pending' THEN 'register' ELSE 'contact' END AS task, {BUSY} AS busy,
             directory_url, contact, eab_kid, data_key_id, sealed_eab, attempts, work_since AS since, now() AS now
         FROM own_acme_accounts WHERE account_id = $1 AND id = $2 AND next_attempt_at IS NOT NULL"
    );
    let query = sql_query(query).bind::<sql_types::Uuid, _>(account.0).bind::<sql_types::Uuid, _>(id.0);
    let Some(found) = query.get_result::<Found>(conn).await.optional()? else { return Ok(None) };
    let external_account = match (found.eab_kid, found.data_key_id, found.sealed_eab) {
        (Some(kid), Some(data_key), Some(sealed)) => {
            let data_key = data_keys::get_data_key(conn, masters, account, data_key).await?;
            Some((kid, data_key.open(&sealed, &eab_binding(account, id.0))?))
        }
        _ => None,
    };
    let task = match found.task.as_str() {
        "deactivate" => Task::Deactivate { waits: found.busy },
        "register" => Task::Register,
        _ => Task::ChangeContact,
    };
    Ok(Some(Work {
        task,
        directory_url: found.directory_url,
        contact: found.contact,
        external_account,
        attempts: found.attempts.unsigned_abs(),
        since: found.since,
        now: found.now,
    }))
}

/// The CA knows the account, by this URL and with these addresses. What was wished for since is to be done next.
pub async fn record_registered(
    conn: &mut Connection,
    masters: &MasterKeys,
    account: AccountId,
    id: AcmeAccountId,
    (account_url, credentials): (&str, &[u8]),
    contact: &[String],
) -> Result<(), StoreError> {
    acme_accounts::record_own_registered(conn, masters, id, account_url, credentials).await?;
    record_told(conn, account, id, contact).await
}

/// The CA knows these addresses of the account. What was wished for since is to be done next.
pub async fn record_told(conn: &mut Connection, account: AccountId, id: AcmeAccountId, contact: &[String]) -> Result<(), StoreError> {
    #[derive(QueryableByName)]
    struct Left {
        #[diesel(sql_type = sql_types::Bool)]
        to_do: bool,
    }

    let left: Option<Left> = sql_query(
        "UPDATE own_acme_accounts SET status = 'valid', registered_contact = $3, data_key_id = NULL, sealed_eab = NULL, last_error = NULL, attempts = 0,
             claimed_until = NULL, work_since = CASE WHEN deleted_at IS NOT NULL OR contact <> $3 THEN now() END,
             next_attempt_at = CASE WHEN deleted_at IS NOT NULL OR contact <> $3 THEN now() END
         WHERE account_id = $1 AND id = $2 AND status <> 'deactivated' RETURNING next_attempt_at IS NOT NULL AS to_do",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(id.0)
    .bind::<sql_types::Array<sql_types::Text>, _>(contact)
    .get_result(conn)
    .await
    .optional()?;
    if left.is_some_and(|left| left.to_do) {
        wake(conn, id).await?;
    }
    Ok(())
}

/// The CA has not done it: it is asked again at `next_attempt_at`.
pub async fn record_trouble(
    conn: &mut Connection,
    account: AccountId,
    id: AcmeAccountId,
    failure: &serde_json::Value,
    next_attempt_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (last_error, next) = (own_acme_accounts::last_error.eq(failure), own_acme_accounts::next_attempt_at.eq(next_attempt_at));
    diesel::update(with_work(account, id))
        .set((last_error, next, own_acme_accounts::claimed_until.eq(None::<DateTime<Utc>>)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// Something else has to be done first: it is looked at again at `next_attempt_at`, and that was no attempt.
pub async fn put_off(
    conn: &mut Connection,
    account: AccountId,
    id: AcmeAccountId,
    next_attempt_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (attempts, next) = (own_acme_accounts::attempts.eq(0), own_acme_accounts::next_attempt_at.eq(next_attempt_at));
    diesel::update(with_work(account, id))
        .set((
            attempts,
            next,
            own_acme_accounts::work_since.eq(next_attempt_at),
            own_acme_accounts::claimed_until.eq(None::<DateTime<Utc>>),
        ))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// The CA will not do it. One that was to be registered has failed; one that was to have other addresses is what it was. One that was deleted meanwhile goes on to its
/// end.
pub async fn record_refused(
    conn: &mut Connection,
    account: AccountId,
    id: AcmeAccountId,
    failure: &serde_json::Value,
) -> Result<(), StoreError> {
    sql_query(
        "UPDATE own_acme_accounts SET last_error = $3, status = CASE status WHEN 'pending' THEN 'failed' ELSE status END, claimed_until = NULL,
             work_since = CASE WHEN deleted_at IS NOT NULL THEN now() END, next_attempt_at = CASE WHEN deleted_at IS NOT NULL THEN now() END
         WHERE account_id = $1 AND id = $2",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(id.0)
    .bind::<sql_types::Jsonb, _>(failure)
    .execute(conn)
    .await?;
    Ok(())
}

/// The CA does not take anything from the account any more, or does not know it: what signs for it is destroyed.
pub async fn record_deactivated(
    conn: &mut Connection,
    account: AccountId,
    id: AcmeAccountId,
    failure: Option<&serde_json::Value>,
) -> Result<(), StoreError> {
    acme_accounts::destroy_own_credentials(conn, id).await?;
    sql_query(
        "UPDATE own_acme_accounts SET status = 'deactivated', last_error = $3, work_since = NULL, next_attempt_at = NULL, claimed_until = NULL,
             data_key_id = NULL, sealed_eab = NULL
         WHERE account_id = $1 AND id = $2",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(id.0)
    .bind::<sql_types::Nullable<sql_types::Jsonb>, _>(failure)
    .execute(conn)
    .await?;
    Ok(())
}

/// Sends the job that looks for what is due. What is due later, the scan finds by itself.
async fn wake(conn: &mut Connection, id: AcmeAccountId) -> Result<(), StoreError> {
    queue_jobs::enqueue(conn, QUEUE, &json!({ "scan": SCAN }), &format!("{SCAN}:{}:{}", id.0, Uuid::now_v7())).await
}

#[diesel::dsl::auto_type]
fn undeleted(account: AccountId, id: AcmeAccountId) -> _ {
    let (account, id): (Uuid, Uuid) = (account.0, id.0);
    own_acme_accounts::table
        .filter(own_acme_accounts::account_id.eq(account))
        .filter(own_acme_accounts::id.eq(id))
        .filter(own_acme_accounts::deleted_at.is_null())
}

#[diesel::dsl::auto_type]
fn with_work(account: AccountId, id: AcmeAccountId) -> _ {
    let (account, id): (Uuid, Uuid) = (account.0, id.0);
    own_acme_accounts::table
        .filter(own_acme_accounts::account_id.eq(account))
        .filter(own_acme_accounts::id.eq(id))
        .filter(own_acme_accounts::next_attempt_at.is_not_null())
}

pub(crate) fn eab_binding(account: AccountId, row: Uuid) -> Binding<'static> {
    Binding { owner: KeyOwner::Account(account.0), table: "own_acme_accounts", row, purpose: "external account" }
}
