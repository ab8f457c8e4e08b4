//! Notices that a certificate ends: 30, 14, 7 and 1 days before. The trigger `certificates_announce` writes the messages; this finds what is due.

use std::time::Duration;

use diesel::sql_types;
use diesel_async::RunQueryDsl;
use zonecert_domain::id::{AccountId, CertificateId};

use crate::renewals::claim;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// At most `batch` certificates of all tenants of which it is to be told that they end, the longest due first. They are put off by `put_off` in the same
/// statement. Runs without a tenant.
pub async fn claim_due(conn: &mut Connection, put_off: Duration, batch: i32) -> Result<Vec<(AccountId, CertificateId)>, StoreError> {
    claim(conn, "SELECT account_id, id FROM sweep_expiry_notices(make_interval(secs => $1), $2)", put_off, batch).await
}

/// Tells that the version in use ends, once for each of the moments, and sets the next. Of several that have passed, the last one is told; of one that is not in the
/// last third of its life, nothing: it has not been due for renewal before (what is left of a few hours is for CAs that date their certificates back). What has expired meanwhile or was revoked ends without a notice.
pub async fn announce(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<(), StoreError> {
    sql_query(
        "UPDATE certificates SET expiry_notice_due_at = next_expiry_notice(expires_at, now()),
            announced = CASE WHEN status <> 'revoked' AND expires_at > now() THEN announced || coalesce(
                (SELECT jsonb_build_object('days', min(days)) FROM unnest(ARRAY[30, 14, 7, 1]) AS days
                 WHERE expires_at - make_interval(hours => 24 * days) <= now()
                     AND make_interval(hours => 24 * days) <= (expires_at - issued_at) / 3 + interval '6 hours'
                 HAVING count(*) > 0), '{}') ELSE announced END
         WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL AND expiry_notice_due_at IS NOT NULL",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Uuid, _>(certificate.0)
    .execute(conn)
    .await?;
    Ok(())
}
