//! The end of an account (requirements section 6, "Account deletion"): nothing that it held can be opened any more.
//!
//! All of it ends in one transaction, data key and people first. What the CA still has to be told, of revocations and of orders that are under
//! way, is told afterwards, for which no secret of the account is needed; then its row is closed as well.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, CertificateId, ZoneId};

use crate::audit_log::{self, Entry};
use crate::events::{self, NewEvent};
use crate::schema::{accounts, issuances, own_acme_accounts, revocations, zones as zones_table};
use crate::statement::{PreparedDsl as _, sql_query};
use crate::{Connection, StoreError, issuances as issuances_of, zones};

/// For so long after the wish an owner may change their mind.
pub const TIME_TO_CHANGE_ONES_MIND: TimeDelta = TimeDelta::days(30);

/// How far the end of an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It does not end: its time is not over, or its owner has changed their mind.
    Stays,
    /// Nothing of it can be opened any more; a CA has still to be told of something.
    Winding,
    /// It is over.
    Over,
}

/// What is left to be ended of an account's people and keys, table by table, in this order. All of them can be repeated.
const STATEMENTS: [&str; 17] = [
    "DELETE FROM webhooks WHERE account_id = $1",
    // The CA is told once nothing is left to be done with them. What signs is sealed by the platform, and destroyed then.
    "UPDATE own_acme_accounts SET name = '', contact = '{}', registered_contact = '{}', eab_kid = NULL, data_key_id = NULL, sealed_eab = NULL,
         deleted_at = coalesce(deleted_at, now()),
         work_since = CASE WHEN deleted_at IS NULL THEN now() ELSE work_since END,
         attempts = CASE WHEN deleted_at IS NULL THEN 0 ELSE attempts END,
         next_attempt_at = CASE WHEN deleted_at IS NULL THEN greatest(claimed_until, now()) ELSE next_attempt_at END
     WHERE account_id = $1",
    "UPDATE data_keys SET wrapped = NULL, destroyed_at = now() WHERE account_id = $1 AND destroyed_at IS NULL",
    "UPDATE key_versions SET sealed = NULL, destroyed_at = now() WHERE account_id = $1 AND destroyed_at IS NULL",
    "UPDATE private_keys SET deleted_at = now() WHERE account_id = $1 AND deleted_at IS NULL",
    // The names of the account's servers are in them.
    "DELETE FROM deployments WHERE account_id = $1",
    "UPDATE certificates SET csr_subject = NULL WHERE account_id = $1 AND csr_subject IS NOT NULL",
    "UPDATE api_tokens SET revoked_at = now() WHERE account_id = $1 AND revoked_at IS NULL",
    "UPDATE api_keys SET revoked_at = now() WHERE account_id = $1 AND revoked_at IS NULL",
    "UPDATE refresh_tokens SET revoked_at = now() WHERE account_id = $1 AND revoked_at IS NULL",
    "UPDATE invitations SET revoked_at = now() WHERE account_id = $1 AND revoked_at IS NULL AND accepted_at IS NULL",
    "UPDATE email_tokens SET used_at = now() WHERE account_id = $1 AND used_at IS NULL",
    "UPDATE mails SET sealed = NULL, next_attempt_at = NULL, failed_at = now(), last_error = 'the account has ended'
     WHERE account_id = $1 AND next_attempt_at IS NOT NULL",
    // Who they were. The rows stay, by whose identifiers the audit log names them.
    "UPDATE users SET deleted_at = coalesce(deleted_at, now()), email = '', name = NULL, password_hash = '' WHERE account_id = $1",
    "UPDATE invitations SET email = '' WHERE account_id = $1",
    "UPDATE email_tokens SET email = '' WHERE account_id = $1",
    "UPDATE mails SET recipient = '' WHERE account_id = $1",
];

/// Accounts whose end was asked for long enough ago and for which something can be done, at most `batch`. Runs without a tenant.
pub async fn list_ended(conn: &mut Connection, batch: i32) -> Result<Vec<AccountId>, StoreError> {
    #[derive(QueryableByName)]
    struct Ended {
        #[diesel(sql_type = sql_types::Uuid)]
        id: Uuid,
    }

    let rows: Vec<Ended> = sql_query("SELECT id FROM sweep_ended_accounts(make_interval(secs => $1), $2)")
        .bind::<sql_types::Double, _>(TIME_TO_CHANGE_ONES_MIND.as_seconds_f64())
        .bind::<sql_types::Integer, _>(batch)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| AccountId(row.id)).collect())
}

/// Ends an account as far as it can be ended now. Can be repeated, and is until it says that the account is over. The transaction must be one to
/// write ([`crate::Store::tenant_write`]).
pub async fn end_account(conn: &mut Connection, account: AccountId) -> Result<Ending, StoreError> {
    type Row = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

    let (requested_at, destroyed_at) = accounts::table
        .filter(accounts::id.eq(account.0))
        .select((accounts::deletion_requested_at, accounts::destroyed_at))
        .first::<Row>(conn)
        .await?;
    let now = issuances_of::database_now(conn).await?;
    if requested_at.is_none_or(|requested_at| now < requested_at + TIME_TO_CHANGE_ONES_MIND) {
        return Ok(Ending::Stays);
    }
    if destroyed_at.is_none() {
        destroy(conn, account).await?;
    }
    if is_winding(conn, account).await? {
        return Ok(Ending::Winding);
    }
    diesel::update(accounts::table.filter(accounts::id.eq(account.0))).set(accounts::deleted_at.eq(now)).prepared().execute(conn).await?;
    Ok(Ending::Over)
}

async fn destroy(conn: &mut Connection, account: AccountId) -> Result<(), StoreError> {
    let live = issuances::table
        .filter(issuances::account_id.eq(account.0).and(issuances::status.eq("active")))
        .select(issuances::certificate_id)
        .load::<Uuid>(conn)
        .await?;
    for certificate in live {
        issuances_of::request_cancel(conn, account, CertificateId(certificate)).await?;
    }
    execute(
        conn,
        account,
        "UPDATE certificates SET deleted_at = now(), updated_at = now(), next_renewal_at = NULL, renewal_due_at = NULL, renewal_info_due_at = NULL
         WHERE account_id = $1 AND deleted_at IS NULL",
    )
    .await?;
    // In order of their names, so that two callers never wait for each other in a circle for the projections.
    let held = zones_table::table
        .filter(zones_table::account_id.eq(account.0).and(zones_table::deleted_at.is_null()))
        .order(zones_table::name)
        .select(zones_table::id)
        .load::<Uuid>(conn)
        .await?;
    for zone in held {
        zones::delete_zone(conn, account, ZoneId(zone)).await?;
    }
    for statement in STATEMENTS {
        execute(conn, account, statement).await?;
    }
    diesel::update(accounts::table.filter(accounts::id.eq(account.0)))
        .set(accounts::destroyed_at.eq(diesel::dsl::now.into_sql::<sql_types::Timestamptz>().nullable()))
        .prepared()
        .execute(conn)
        .await?;
    let subject = account.to_string();
    let entry = Entry { actor: "system", action: "account.ended", subject: Some(&subject), request_id: None, details: json!({}) };
    audit_log::insert_entry(conn, account, &entry).await?;
    let message = "the account has ended: its keys are destroyed, its people and tokens have no access any more";
    events::record(conn, account, NewEvent::info("account_ended", message)).await?;
    Ok(())
}

/// Whether a CA has still to be asked or told.
async fn is_winding(conn: &mut Connection, account: AccountId) -> Result<bool, StoreError> {
    let active: i64 =
        issuances::table.filter(issuances::account_id.eq(account.0).and(issuances::status.eq("active"))).count().get_result(conn).await?;
    let to_revoke: i64 = revocations::table
        .filter(revocations::account_id.eq(account.0).and(revocations::status.eq("active")))
        .count()
        .get_result(conn)
        .await?;
    let acme_accounts: i64 = own_acme_accounts::table
        .filter(own_acme_accounts::account_id.eq(account.0).and(own_acme_accounts::next_attempt_at.is_not_null()))
        .count()
        .get_result(conn)
        .await?;
    Ok(active + to_revoke + acme_accounts > 0)
}

async fn execute(conn: &mut Connection, account: AccountId, statement: &str) -> Result<(), StoreError> {
    sql_query(statement).bind::<sql_types::Uuid, _>(account.0).execute(conn).await?;
    Ok(())
}
