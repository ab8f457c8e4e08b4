//! Renewals by themselves: which are due, and how one begins.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::json;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId};
use zonecert_domain::issuance::{IssuanceReason, give_up_at};

use crate::events::{self, NewEvent};
use crate::issuances::{database_now, insert_issuance};
use crate::renewal_schedule::{only_alternate_is_due, reschedule_certificate};
use crate::schema::certificates;
use crate::statement::sql_query;
use crate::{Connection, StoreError, alternates};

/// At most `batch` certificates of all tenants whose renewal is due, the longest due first. They are put off by `put_off` in the same statement, so
/// that of any number of scanners one gets each, and one that dies delays them by no more than that. Runs without a tenant.
pub async fn claim_due(conn: &mut Connection, put_off: Duration, batch: i32) -> Result<Vec<(AccountId, CertificateId)>, StoreError> {
    claim(conn, "SELECT account_id, id FROM sweep_due_renewals(make_interval(secs => $1), $2)", put_off, batch).await
}

/// Runs one of the sweeps that claim certificates.
pub(crate) async fn claim(
    conn: &mut Connection,
    sweep: &str,
    put_off: Duration,
    batch: i32,
) -> Result<Vec<(AccountId, CertificateId)>, StoreError> {
    let query = sql_query(sweep).bind::<sql_types::Double, _>(put_off.as_secs_f64()).bind::<sql_types::Integer, _>(batch);
    query.load_ids(conn, CertificateId).await
}

/// At most `batch` certificates of all tenants that are `issued` and past their end, the longest first. Runs without a tenant.
pub async fn list_expired(conn: &mut Connection, batch: i32) -> Result<Vec<(AccountId, CertificateId)>, StoreError> {
    let query = sql_query("SELECT account_id, id FROM sweep_expired_certificates($1)").bind::<sql_types::Integer, _>(batch);
    query.load_ids(conn, CertificateId).await
}

/// Whether a certificate renews by itself, as it stands.
pub async fn renews(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<bool, StoreError> {
    let renewing = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)).and(certificates::deleted_at.is_null()))
        .filter(certificates::next_renewal_at.is_not_null());
    Ok(diesel::select(exists(renewing)).get_result(conn).await?)
}

/// Begins a renewal if it is due by what stands now: the schedule is made anew, since plan, standing, zone or wish may not be what they were
/// (requirements section 6). Returns none where it is not due, and then the certificate is as due as the schedule says.
pub async fn begin_if_due(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<Option<IssuanceId>, StoreError> {
    type Row = (Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

    reschedule_certificate(conn, account, certificate).await?;
    let now = database_now(conn).await?;
    let due = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)).and(certificates::deleted_at.is_null()))
        .filter(certificates::renewal_due_at.le(now))
        .select((certificates::expires_at, certificates::next_renewal_at, certificates::renewal_info_start))
        .first::<Row>(conn)
        .await
        .optional()?;
    let Some((expires_at, planned_at, window_start)) = due else { return Ok(None) };
    let issuance = if only_alternate_is_due(conn, account, certificate).await? {
        alternates::begin(conn, account, certificate, IssuanceReason::Renewal).await?
    } else {
        insert_issuance(conn, account, certificate, IssuanceReason::Renewal, give_up_at(now, expires_at)).await?
    };
    let asked_by = if window_start.is_some() { "ca" } else { "lifetime" };
    let event = NewEvent {
        certificate: Some(certificate),
        issuance: Some(issuance),
        details: json!({ "planned_at": planned_at, "expires_at": expires_at, "moment_by": asked_by }),
        ..NewEvent::info("renewal_begun", "the time to renew has come")
    };
    events::record(conn, account, event).await?;
    Ok(Some(issuance))
}
