//! What the CA says of when to renew a certificate (RFC 9773), and when it is asked again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, AcmeAccountId, CertificateId, VersionId};
use zonecert_domain::moment;
use zonecert_domain::renewal::{AriWindow, renewal_moment};
use zonecert_domain::renewal_info::is_notable_move;

use crate::events::{self, NewEvent};
use crate::issuances::database_now;
use crate::renewal_schedule::reschedule_certificate;
use crate::schema::{certificates, orders, versions};
use crate::statement::PreparedDsl as _;
use crate::{Connection, StoreError, renewals};

/// At most `batch` certificates of all tenants about which the CA is to be asked, the longest due first. They are put off like those of
/// [`renewals::claim_due`]. Runs without a tenant.
pub async fn claim_due(conn: &mut Connection, put_off: Duration, batch: i32) -> Result<Vec<(AccountId, CertificateId)>, StoreError> {
    renewals::claim(conn, "SELECT account_id, id FROM sweep_due_renewal_info(make_interval(secs => $1), $2)", put_off, batch).await
}

/// A version in use that is neither revoked nor past its end: what the CA is asked about, and what an order replaces.
#[derive(Clone, Debug)]
pub struct VersionInUse {
    /// Its identifier.
    pub id: VersionId,
    /// Leaf and chain, PEM.
    pub chain_pem: String,
    /// The directory of the CA that has issued it.
    pub directory_url: String,
    /// The customer's own account there that it was ordered with; none where it was ours.
    pub own_acme_account: Option<AcmeAccountId>,
    /// Its first moment.
    pub not_before: DateTime<Utc>,
    /// Its last moment.
    pub not_after: DateTime<Utc>,
    /// What the CA last said.
    pub window: Option<AriWindow>,
    /// How often in a row it has said nothing since.
    pub failures: u32,
}

/// The version of a certificate that is in use, if a CA has issued it and it is valid; none for a certificate that was deleted.
pub async fn find_version_in_use(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
) -> Result<Option<VersionInUse>, StoreError> {
    type Row = (Uuid, String, (String, Option<Uuid>), DateTime<Utc>, DateTime<Utc>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, i32);

    let now = database_now(conn).await?;
    let row = certificates::table
        .inner_join(versions::table.on(certificates::current_version_id.eq(versions::id.nullable())))
        .inner_join(orders::table.on(versions::order_id.eq(orders::id.nullable())))
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)).and(certificates::deleted_at.is_null()))
        .filter(versions::revoked_at.is_null().and(versions::not_after.ge(now)))
        .select((
            versions::id,
            versions::chain_pem,
            (orders::directory_url, orders::own_acme_account_id),
            versions::not_before,
            versions::not_after,
            certificates::renewal_info_start,
            certificates::renewal_info_end,
            certificates::renewal_info_failures,
        ))
        .first::<Row>(conn)
        .await
        .optional()?;
    Ok(row.map(|(id, chain_pem, (directory_url, own_acme_account), not_before, not_after, start, end, failures)| VersionInUse {
        id: VersionId(id),
        chain_pem,
        directory_url,
        own_acme_account: own_acme_account.map(AcmeAccountId),
        not_before,
        not_after,
        window: start.zip(end).map(|(start, end)| AriWindow { start, end }),
        failures: failures.unsigned_abs(),
    }))
}

/// What the CA has said about a version.
#[derive(Clone, Debug)]
pub struct Said {
    /// When it suggests to renew; none if it suggests nothing.
    pub window: Option<AriWindow>,
    /// Where it says why.
    pub explanation_url: Option<String>,
}

/// Stores what the CA has said about this version, when it is asked next, and when the certificate renews from now on. Stores nothing once the certificate has
/// another version. A renewal that moves notably is an event.
pub async fn record_said(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: &VersionInUse,
    said: &Said,
    next: Duration,
) -> Result<(), StoreError> {
    let now = database_now(conn).await?;
    let changed = diesel::update(certificates::table.filter(of_version(account, certificate, version.id)))
        .set((
            certificates::renewal_info_start.eq(said.window.map(|window| window.start)),
            certificates::renewal_info_end.eq(said.window.map(|window| window.end)),
            certificates::renewal_info_explanation_url.eq(&said.explanation_url),
            certificates::renewal_info_checked_at.eq(now),
            certificates::renewal_info_due_at.eq(now + next),
            certificates::renewal_info_failures.eq(0),
        ))
        .prepared()
        .execute(conn)
        .await?;
    if changed == 0 || said.window == version.window {
        return Ok(());
    }
    let moment = |window| renewal_moment(version.not_before, version.not_after, window, certificate.0.as_u128());
    let (before, after) = (moment(version.window), moment(said.window));
    if is_notable_move(before, after) {
        let event = NewEvent {
            certificate: Some(certificate),
            details: json!({
                "before": before, "after": after, "explanation_url": said.explanation_url,
                "window": said.window.map(|window| json!({ "start": window.start, "end": window.end })),
            }),
            ..NewEvent::info("renewal_moved", format!("the CA suggests to renew at {}", moment::shown(after)))
        };
        events::record(conn, account, event).await?;
    }
    reschedule_certificate(conn, account, certificate).await
}

/// The CA has said nothing of use about this version: it is asked again after `next`, and until then what it said before holds.
pub async fn record_failure(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: VersionId,
    next: Duration,
) -> Result<(), StoreError> {
    let now = database_now(conn).await?;
    diesel::update(certificates::table.filter(of_version(account, certificate, version)))
        .set((
            certificates::renewal_info_due_at.eq(now + next),
            certificates::renewal_info_failures.eq(certificates::renewal_info_failures + 1),
        ))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// Nothing is left to ask the CA about, until another version comes.
pub async fn stop_asking(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<(), StoreError> {
    diesel::update(certificates::table.filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0))))
        .set(certificates::renewal_info_due_at.eq(None::<DateTime<Utc>>))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

#[diesel::dsl::auto_type]
fn of_version(account: AccountId, certificate: CertificateId, version: VersionId) -> _ {
    let (account, certificate, version): (Uuid, Uuid, Uuid) = (account.0, certificate.0, version.0);
    certificates::account_id.eq(account).and(certificates::id.eq(certificate)).and(certificates::current_version_id.eq(version))
}
