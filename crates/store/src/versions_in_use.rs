//! Which version of a certificate is in use: the one that is retrieved, and that its renewal follows from (requirements S0.2).
//!
//! The newest one is, as soon as it is issued. Somebody may go back to an earlier one, until the next is issued; and where the one in use is revoked or
//! runs out, the newest of those that are of use takes its place. A dual certificate has one in use for each of its two keys: see [`crate::alternates`].

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::certificate::NewestVersion;
use zonecert_domain::id::{AccountId, CertificateId, VersionId};
use zonecert_domain::moment;

use crate::events::{self, NewEvent};
use crate::issuances::database_now;
use crate::issuing::record_put_in_use;
use crate::schema::{certificates, versions};
use crate::{Connection, StoreError, alternates};

/// Whether somebody has wished to have a version revoked, or another with the same key because others may have that; in a query of `versions`. What became
/// of the wish does not matter.
pub(crate) const UNWANTED: &str = "EXISTS (SELECT FROM orders AS brought JOIN revocations AS wished ON wished.order_id = brought.id
    WHERE brought.key_version_id = versions.key_version_id AND (brought.id = versions.order_id OR wished.reason = 1))";

/// A version that can be put in use.
#[derive(Clone, Copy, Debug)]
pub struct Usable {
    /// Its identifier.
    pub id: VersionId,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// The end of its validity.
    pub not_after: DateTime<Utc>,
    /// Whether it has the other key of a dual certificate.
    pub alternate: bool,
}

/// The newest version of a certificate that was not revoked, is not past its end, and that nobody wished to have revoked. Of a dual certificate: with this
/// one of its keys.
pub(crate) async fn find_newest_usable(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    alternate: bool,
    now: DateTime<Utc>,
) -> Result<Option<Usable>, StoreError> {
    let found = versions::table
        .filter(versions::account_id.eq(account.0).and(versions::certificate_id.eq(certificate.0)))
        .filter(versions::alternate.eq(alternate))
        .filter(versions::revoked_at.is_null().and(versions::not_after.ge(now)).and(sql::<Bool>(&format!("NOT {UNWANTED}"))))
        .order(versions::number.desc())
        .select((versions::id, versions::created_at, versions::not_after))
        .first::<(Uuid, DateTime<Utc>, DateTime<Utc>)>(conn)
        .await
        .optional()?;
    Ok(found.map(|(id, issued_at, not_after)| Usable { id: VersionId(id), issued_at, not_after, alternate }))
}

/// What of a certificate's row follows from the version in use. What the CA said of the one before holds no more; it is asked about this one at once
/// (RFC 9773 §4.3).
#[derive(AsChangeset)]
#[diesel(table_name = certificates, treat_none_as_null = true)]
pub(crate) struct InUse {
    current_version_id: Option<Uuid>,
    issued_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    version_activated_at: Option<DateTime<Utc>>,
    renewal_info_start: Option<DateTime<Utc>>,
    renewal_info_end: Option<DateTime<Utc>>,
    renewal_info_explanation_url: Option<String>,
    renewal_info_checked_at: Option<DateTime<Utc>>,
    renewal_info_due_at: Option<DateTime<Utc>>,
    renewal_info_failures: i32,
    updated_at: DateTime<Utc>,
}

impl InUse {
    /// `activated_at` is when somebody went back to it.
    pub(crate) fn new(version: Usable, activated_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        Self {
            current_version_id: Some(version.id.0),
            issued_at: Some(version.issued_at),
            expires_at: Some(version.not_after),
            version_activated_at: activated_at,
            renewal_info_start: None,
            renewal_info_end: None,
            renewal_info_explanation_url: None,
            renewal_info_checked_at: None,
            renewal_info_due_at: Some(now),
            renewal_info_failures: 0,
            updated_at: now,
        }
    }
}

/// Puts a version in use. State and renewal of the certificate are left as they are.
pub(crate) async fn put_in_use(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: Usable,
    activated_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::update(certificates::table.filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0))))
        .set(InUse::new(version, activated_at, now))
        .execute(conn)
        .await?;
    Ok(())
}

/// Somebody goes back to a version, which the caller has seen to be of use and of a certificate that holds its slot: it is retrieved, and the certificate
/// renews as it is due, from now until the next version is issued. The transaction must be one to write ([`crate::Store::tenant_write`]).
pub async fn activate(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: Usable,
    requested_by: &str,
) -> Result<(), StoreError> {
    let now = database_now(conn).await?;
    if version.alternate {
        alternates::put_in_use(conn, account, certificate, version.id).await?;
    } else {
        put_in_use(conn, account, certificate, version, Some(now), now).await?;
        record_put_in_use(conn, account, certificate, NewestVersion { not_after: version.not_after, revoked: false }).await?;
    }
    let message = format!("a version that is valid until {} was put in use again", moment::shown(version.not_after));
    let event = NewEvent {
        certificate: Some(certificate),
        details: json!({ "version_id": version.id, "requested_by": requested_by, "expires_at": version.not_after }),
        ..NewEvent::info("version_activated", message)
    };
    events::record(conn, account, event).await.map(drop)
}
