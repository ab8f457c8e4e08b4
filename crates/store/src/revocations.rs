//! Wishes to have a version revoked at the CA that issued it, and what became of them (requirements S3.33, X8).
//!
//! A row is repeated until the CA has confirmed or the certificate has run out, whatever became of its certificate. Whoever asks the CA claims the
//! row first, by putting its next attempt off ([`claim`]): if they die, somebody else asks again after that, and is told that it is
//! revoked already.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, AcmeAccountId, CertificateId, KeyVersionId, OrderId, RevocationId, VersionId};
use zonecert_domain::revocation::{RevocationReason, RevocationStatus};
use zonecert_pki::chain::CertificateChain;

use crate::error::changed_one;
use crate::events::{self, NewEvent};
use crate::schema::{orders, revocations, versions};
use crate::statement::{PreparedDsl as _, sql_query};
use crate::{Connection, StoreError};

/// A revocation as people see it.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// Its identifier.
    pub id: RevocationId,
    /// The version; none for a certificate that came too late to become one.
    pub version: Option<VersionId>,
    /// Why.
    pub reason: RevocationReason,
    /// Who wanted it: the identifier of a user or token, `admin` or `system`.
    pub requested_by: String,
    /// How far it is.
    pub status: RevocationStatus,
    /// When the CA is asked again, while it is active.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Why the latest attempt failed: `code`, `detail` and `remedy`.
    pub failure: Option<serde_json::Value>,
    /// When it was wished for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Wishes to have every version of a certificate revoked that has not run out and is neither revoked nor about to be, and sends a job for each.
/// Returns how many there are; versions of uploads are none of ours to revoke. The transaction must be one to write
/// ([`crate::Store::tenant_write`]).
pub async fn request(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    reason: RevocationReason,
    requested_by: &str,
) -> Result<usize, StoreError> {
    request_of(conn, account, certificate, None, reason, requested_by).await
}

/// The same for one version of a certificate. Returns whether there is anything to revoke.
pub async fn request_version(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: VersionId,
    reason: RevocationReason,
    requested_by: &str,
) -> Result<bool, StoreError> {
    Ok(request_of(conn, account, certificate, Some(version), reason, requested_by).await? > 0)
}

async fn request_of(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    only: Option<VersionId>,
    reason: RevocationReason,
    requested_by: &str,
) -> Result<usize, StoreError> {
    let mut found = versions::table
        .filter(versions::account_id.eq(account.0).and(versions::certificate_id.eq(certificate.0)))
        .filter(versions::revoked_at.is_null().and(versions::not_after.gt(diesel::dsl::now)))
        .filter(not(exists(
            revocations::table.filter(revocations::version_id.eq(versions::id.nullable()).and(revocations::status.eq("active"))),
        )))
        .order(versions::number)
        .select((versions::id, versions::order_id, versions::chain_pem, versions::not_after))
        .into_boxed();
    if let Some(version) = only {
        found = found.filter(versions::id.eq(version.0));
    }
    let found = found.load::<(Uuid, Option<Uuid>, String, DateTime<Utc>)>(conn).await?;
    let mut requested = Vec::new();
    for (version, order, chain_pem, not_after) in found {
        let Some(order) = order else { continue };
        let unreadable = |error: zonecert_pki::PkiError| StoreError::corrupt("versions.chain_pem", error.to_string());
        let leaf_der = CertificateChain::parse_pem(&chain_pem).and_then(|chain| chain.leaf_der()).map_err(unreadable)?;
        let wish =
            NewRevocation { certificate, version: Some(VersionId(version)), order: OrderId(order), leaf_der: &leaf_der, not_after, reason };
        insert(conn, account, &wish, requested_by).await?;
        requested.push(VersionId(version));
    }
    if !requested.is_empty() {
        let message = format!("asking the CA to revoke {} ({})", versions_text(requested.len()), reason.as_str());
        let mut event = NewEvent { certificate: Some(certificate), ..NewEvent::info("revocation_requested", message) };
        event.details = json!({ "reason": reason, "requested_by": requested_by, "version_ids": requested });
        events::record(conn, account, event).await?;
    }
    Ok(requested.len())
}

/// The same for every certificate of the account, those that were deleted included.
pub async fn request_all(
    conn: &mut Connection,
    account: AccountId,
    reason: RevocationReason,
    requested_by: &str,
) -> Result<usize, StoreError> {
    let certificates = versions::table
        .filter(versions::account_id.eq(account.0))
        .filter(versions::revoked_at.is_null().and(versions::not_after.gt(diesel::dsl::now)))
        .select(versions::certificate_id)
        .distinct()
        .order(versions::certificate_id)
        .load::<Uuid>(conn)
        .await?;
    let mut requested = 0;
    for certificate in certificates {
        requested += request(conn, account, CertificateId(certificate), reason, requested_by).await?;
    }
    Ok(requested)
}

/// What is to be revoked.
#[derive(Clone, Copy, Debug)]
pub struct NewRevocation<'a> {
    /// The certificate that it was ordered for.
    pub certificate: CertificateId,
    /// The version; none for a chain that came too late to become one.
    pub version: Option<VersionId>,
    /// The order that brought it.
    pub order: OrderId,
    /// The certificate as the CA issued it, in DER.
    pub leaf_der: &'a [u8],
    /// The end of its validity.
    pub not_after: DateTime<Utc>,
    /// Why.
    pub reason: RevocationReason,
}

/// Adds a revocation and sends the job for it, in this transaction.
pub async fn insert(
    conn: &mut Connection,
    account: AccountId,
    new: &NewRevocation<'_>,
    requested_by: &str,
) -> Result<RevocationId, StoreError> {
    let id = RevocationId::new();
    diesel::insert_into(revocations::table)
        .values((
            revocations::id.eq(id.0),
            revocations::account_id.eq(account.0),
            revocations::certificate_id.eq(new.certificate.0),
            revocations::version_id.eq(new.version.map(|version| version.0)),
            revocations::order_id.eq(new.order.0),
            revocations::certificate_der.eq(new.leaf_der),
            revocations::not_after.eq(new.not_after),
            revocations::reason.eq(i32::from(new.reason.number())),
            revocations::requested_by.eq(requested_by),
        ))
        .execute(conn)
        .await?;
    enqueue(conn, id).await?;
    Ok(id)
}

/// The revocations of a certificate, newest first, those of certificates that came too late included.
pub async fn list_revocations(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
) -> Result<Vec<Revocation>, StoreError> {
    let rows = revocations::table
        .filter(revocations::account_id.eq(account.0).and(revocations::certificate_id.eq(certificate.0)))
        .order((revocations::created_at.desc(), revocations::id.desc()))
        .select(Row::as_select())
        .load(conn)
        .await?;
    rows.into_iter().map(Row::into_revocation).collect()
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = revocations)]
struct Row {
    id: Uuid,
    version_id: Option<Uuid>,
    reason: i32,
    requested_by: String,
    status: String,
    next_attempt_at: Option<DateTime<Utc>>,
    failure: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl Row {
    fn into_revocation(self) -> Result<Revocation, StoreError> {
        Ok(Revocation {
            id: RevocationId(self.id),
            version: self.version_id.map(VersionId),
            reason: read_reason(self.reason)?,
            requested_by: self.requested_by,
            status: RevocationStatus::parse(&self.status).ok_or_else(|| StoreError::corrupt("revocations.status", self.status))?,
            next_attempt_at: self.next_attempt_at,
            failure: self.failure,
            created_at: self.created_at,
            finished_at: self.finished_at,
        })
    }
}

/// The right to ask the CA, until it is put off no longer, and all that is needed for it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The revocation.
    pub id: RevocationId,
    /// The certificate that it was ordered for.
    pub certificate: CertificateId,
    /// The version; none for a certificate that came too late to become one.
    pub version: Option<VersionId>,
    /// The order that brought it.
    pub order: OrderId,
    /// The CA's directory.
    pub directory_url: String,
    /// The account there that placed the order.
    pub acme_account_id: Option<Uuid>,
    /// The same, where it is the customer's own.
    pub own_acme_account: Option<AcmeAccountId>,
    /// The material of the certificate's key, which may have been destroyed.
    pub key_version: Option<KeyVersionId>,
    /// The certificate in DER.
    pub leaf_der: Vec<u8>,
    /// The end of its validity.
    pub not_after: DateTime<Utc>,
    /// Why.
    pub reason: RevocationReason,
    /// Which attempt this is, counted from 1.
    pub attempts: u32,
    /// The database's clock when it was claimed.
    pub now: DateTime<Utc>,
}

/// Claims an active revocation whose time has come: nobody else may before `put_off` is over. Must be written.
pub async fn claim(conn: &mut Connection, account: AccountId, id: RevocationId, put_off: Duration) -> Result<Option<Claim>, StoreError> {
    #[derive(QueryableByName)]
    struct Claimed {
        #[diesel(sql_type = sql_types::Integer)]
        attempts: i32,
        #[diesel(sql_type = sql_types::Timestamptz)]
        now: DateTime<Utc>,
    }
    type Row = (Uuid, Option<Uuid>, Uuid, Vec<u8>, DateTime<Utc>, i32, String, (Option<Uuid>, Option<Uuid>), Option<Uuid>);

    let claimed = sql_query(
        "UPDATE revocations SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2)
         WHERE id = $1 AND status = 'active' AND next_attempt_at <= now() RETURNING attempts, now() AS now",
    )
    .bind::<sql_types::Uuid, _>(id.0)
    .bind::<sql_types::Double, _>(put_off.as_secs_f64())
    .get_result::<Claimed>(conn)
    .await
    .optional()?;
    let Some(claimed) = claimed else { return Ok(None) };
    let (certificate, version, order, leaf_der, not_after, reason, directory_url, acme_account, key_version) = revocations::table
        .inner_join(orders::table.on(orders::account_id.eq(revocations::account_id).and(orders::id.eq(revocations::order_id))))
        .filter(revocations::account_id.eq(account.0).and(revocations::id.eq(id.0)))
        .select((
            revocations::certificate_id,
            revocations::version_id,
            revocations::order_id,
            revocations::certificate_der,
            revocations::not_after,
            revocations::reason,
            orders::directory_url,
            (orders::acme_account_id, orders::own_acme_account_id),
            orders::key_version_id,
        ))
        .first::<Row>(conn)
        .await?;
    Ok(Some(Claim {
        id,
        certificate: CertificateId(certificate),
        version: version.map(VersionId),
        order: OrderId(order),
        directory_url,
        acme_account_id: acme_account.0,
        own_acme_account: acme_account.1.map(AcmeAccountId),
        key_version: key_version.map(KeyVersionId),
        leaf_der,
        not_after,
        reason: read_reason(reason)?,
        attempts: claimed.attempts.unsigned_abs(),
        now: claimed.now,
    }))
}

/// The CA has revoked it, for this reason: ends the revocation and marks the version. Errors with [`StoreError::Stale`] when it has ended
/// already. What follows for the certificate is [`crate::issuing::record_revoked`].
pub async fn record_succeeded(
    conn: &mut Connection,
    account: AccountId,
    claim: &Claim,
    reason: RevocationReason,
) -> Result<(), StoreError> {
    let changed = diesel::update(active(account, claim.id))
        .set((
            revocations::status.eq(RevocationStatus::Succeeded.as_str()),
            revocations::reason.eq(i32::from(reason.number())),
            revocations::next_attempt_at.eq(None::<DateTime<Utc>>),
            revocations::failure.eq(None::<serde_json::Value>),
            revocations::finished_at.eq(diesel::dsl::now.into_sql::<sql_types::Timestamptz>().nullable()),
        ))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(changed)?;
    let Some(version) = claim.version else { return Ok(()) };
    diesel::update(versions::table.filter(versions::account_id.eq(account.0).and(versions::id.eq(version.0))))
        .set((
            versions::revoked_at.eq(diesel::dsl::now.into_sql::<sql_types::Timestamptz>().nullable()),
            versions::revocation_reason.eq(i32::from(reason.number())),
        ))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// The CA did not revoke it: it is asked again at `next_attempt_at`, and the job for that is sent. Errors with [`StoreError::Stale`] when somebody
/// else has claimed or ended it since.
pub async fn record_trouble(
    conn: &mut Connection,
    account: AccountId,
    claim: &Claim,
    failure: serde_json::Value,
    next_attempt_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let changed = diesel::update(claimed(account, claim))
        .set((revocations::failure.eq(failure), revocations::next_attempt_at.eq(next_attempt_at)))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(changed)?;
    enqueue(conn, claim.id).await
}

/// Ends a revocation that did not succeed: the certificate has run out, or the CA has refused. Errors with [`StoreError::Stale`] when somebody
/// else has claimed or ended it since.
pub async fn record_end(
    conn: &mut Connection,
    account: AccountId,
    claim: &Claim,
    status: RevocationStatus,
    failure: Option<serde_json::Value>,
) -> Result<(), StoreError> {
    let changed = diesel::update(claimed(account, claim))
        .set((
            revocations::status.eq(status.as_str()),
            revocations::next_attempt_at.eq(None::<DateTime<Utc>>),
            failure.map(|failure| revocations::failure.eq(failure)),
            revocations::finished_at.eq(diesel::dsl::now.into_sql::<sql_types::Timestamptz>().nullable()),
        ))
        .prepared()
        .execute(conn)
        .await?;
    changed_one(changed)
}

/// Active revocations of all tenants whose time has come, at most `batch`. Runs without a tenant.
pub async fn list_due(conn: &mut Connection, batch: i32) -> Result<Vec<(AccountId, RevocationId)>, StoreError> {
    let query = sql_query("SELECT account_id, id FROM sweep_revocations($1)").bind::<sql_types::Integer, _>(batch);
    query.load_ids(conn, RevocationId).await
}

/// Sends a job for a revocation that has been due for longer than `grace` without anybody claiming it. Any number of sweepers send one between them:
/// the first makes it due anew.
pub async fn wake_forgotten(conn: &mut Connection, id: RevocationId, grace: Duration) -> Result<bool, StoreError> {
    let woken = sql_query(
        "UPDATE revocations SET next_attempt_at = now()
         WHERE id = $1 AND status = 'active' AND next_attempt_at <= now() - make_interval(secs => $2)",
    )
    .bind::<sql_types::Uuid, _>(id.0)
    .bind::<sql_types::Double, _>(grace.as_secs_f64())
    .execute(conn)
    .await?;
    if woken == 1 {
        enqueue(conn, id).await?;
    }
    Ok(woken == 1)
}

/// Sends the job for the next attempt. No earlier job swallows it: its key holds the attempt and the moment.
async fn enqueue(conn: &mut Connection, id: RevocationId) -> Result<(), StoreError> {
    sql_query(
        "SELECT enqueue_job('revoke', jsonb_build_object('account_id', account_id, 'revocation_id', id),
             id || ':' || attempts || ':' || extract(epoch FROM next_attempt_at), next_attempt_at)
         FROM revocations WHERE id = $1 AND status = 'active'",
    )
    .bind::<sql_types::Uuid, _>(id.0)
    .execute(conn)
    .await?;
    Ok(())
}

#[diesel::dsl::auto_type]
fn active(account: AccountId, id: RevocationId) -> _ {
    let (account, id): (Uuid, Uuid) = (account.0, id.0);
    revocations::table.filter(revocations::account_id.eq(account)).filter(revocations::id.eq(id)).filter(revocations::status.eq("active"))
}

/// The row, while this claim is the latest.
#[diesel::dsl::auto_type]
fn claimed(account: AccountId, claim: &Claim) -> _ {
    let (account, id): (Uuid, Uuid) = (account.0, claim.id.0);
    let attempts: i32 = claim.attempts.cast_signed();
    revocations::table
        .filter(revocations::account_id.eq(account))
        .filter(revocations::id.eq(id))
        .filter(revocations::status.eq("active"))
        .filter(revocations::attempts.eq(attempts))
}

fn read_reason(number: i32) -> Result<RevocationReason, StoreError> {
    RevocationReason::from_number(number).ok_or_else(|| StoreError::corrupt("revocations.reason", number.to_string()))
}

fn versions_text(count: usize) -> String {
    if count == 1 { "the certificate".to_owned() } else { format!("{count} versions of the certificate") }
}
