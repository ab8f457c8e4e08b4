//! What a change of plan or of standing needs to know, and what follows from one.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId};
use zonecert_domain::plan_change::HeldCertificate;

use crate::renewal_schedule::HAS_WILDCARD;
use crate::schema::{certificates, issuances};
use crate::{Connection, StoreError, issuances as issuing};

/// The managed certificates of the tenant, oldest first.
pub async fn list_held(conn: &mut Connection, account: AccountId) -> Result<Vec<HeldCertificate>, StoreError> {
    type Row = (Uuid, String, String, String, bool, bool, Option<DateTime<Utc>>);

    let wildcard = sql::<Bool>(HAS_WILDCARD);
    let rows = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::deleted_at.is_null()).and(certificates::source.eq("managed")))
        .order((certificates::created_at, certificates::id))
        .select((
            certificates::id,
            certificates::name,
            certificates::domain,
            certificates::status,
            certificates::auto_renew,
            wildcard,
            certificates::expires_at,
        ))
        .load::<Row>(conn)
        .await?;
    rows.into_iter()
        .map(|(id, name, domain, status, auto_renew, wildcard, expires_at)| {
            let status = CertificateStatus::parse(&status).ok_or_else(|| StoreError::corrupt("certificates.status", status))?;
            Ok(HeldCertificate { id: CertificateId(id), name, domain, status, auto_renew, wildcard, expires_at })
        })
        .collect()
}

/// Sends a job for every live issuance of the tenant, so that what has changed is looked at now. Returns how many.
pub async fn wake_issuances(conn: &mut Connection, account: AccountId) -> Result<usize, StoreError> {
    let live: Vec<Uuid> = issuances::table
        .filter(issuances::account_id.eq(account.0).and(issuances::status.eq("active")))
        .select(issuances::id)
        .load(conn)
        .await?;
    for id in &live {
        issuing::wake(conn, IssuanceId(*id), std::time::Duration::ZERO).await?;
    }
    Ok(live.len())
}
