//! Renewals that somebody asks for (requirements S3.33).

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId};
use zonecert_domain::issuance::{IssuanceReason, give_up_at};

use crate::issuances::{database_now, insert_issuance, wake};
use crate::schema::{certificates, issuances, orders, versions};
use crate::statement::PreparedDsl as _;
use crate::{Connection, StoreError};

/// The live issuance of a certificate, as far as somebody who wants a version now cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveIssuance {
    /// An attempt has failed, and the next one is not due yet.
    Resting(IssuanceId),
    /// An order of it is under way, or about to be.
    UnderWay(IssuanceId),
}

/// The live issuance of a certificate. The transaction must be one to write ([`crate::Store::tenant_write`]).
pub async fn find_live(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<Option<LiveIssuance>, StoreError> {
    // The clock and not the start of the transaction, which may have waited for whoever has just begun one.
    let now = database_now(conn).await?;
    let live_order = orders::table.filter(orders::issuance_id.eq(issuances::id).and(orders::finished_at.is_null()));
    let live = issuances::table
        .inner_join(certificates::table.on(certificates::id.eq(issuances::certificate_id)))
        .filter(issuances::account_id.eq(account.0).and(issuances::certificate_id.eq(certificate.0)))
        .filter(issuances::status.eq("active"))
        .select((issuances::id, issuances::next_wake_at, certificates::status, issuances::alternate, exists(live_order)))
        .first::<(Uuid, Option<DateTime<Utc>>, String, bool, bool)>(conn)
        .await
        .optional()?;
    let Some((id, next_wake_at, status, alternate, order_is_live)) = live else { return Ok(None) };
    let id = IssuanceId(id);
    // While an order for the other key is under way, the state does not say so.
    let runs = status == CertificateStatus::Validating.as_str() || alternate && order_is_live;
    let rests = !runs && next_wake_at.is_some_and(|at| at > now);
    Ok(Some(if rests { LiveIssuance::Resting(id) } else { LiveIssuance::UnderWay(id) }))
}

/// Has an issuance that rests make its next attempt at once. A renewal by itself is one by hand from then on: that it is wished for now does
/// not depend on the plan or on the wish to renew by itself. One for the other key of a dual certificate begins with the first key, like every renewal.
pub async fn resume(conn: &mut Connection, account: AccountId, id: IssuanceId) -> Result<(), StoreError> {
    diesel::update(issuances::table.filter(issuances::account_id.eq(account.0).and(issuances::id.eq(id.0))))
        .filter(issuances::reason.eq(IssuanceReason::Renewal.as_str()))
        .set(issuances::reason.eq(IssuanceReason::ByHand.as_str()))
        .prepared()
        .execute(conn)
        .await?;
    let give_up_at = give_up_at(database_now(conn).await?, None);
    diesel::update(issuances::table.filter(issuances::account_id.eq(account.0).and(issuances::id.eq(id.0))))
        .filter(issuances::alternate)
        .set((
            issuances::alternate.eq(false),
            issuances::reason.eq(IssuanceReason::ByHand.as_str()),
            issuances::attempts.eq(0),
            issuances::give_up_at.eq(give_up_at),
        ))
        .prepared()
        .execute(conn)
        .await?;
    if wake(conn, id, Duration::ZERO).await? { Ok(()) } else { Err(StoreError::Stale) }
}

/// Begins an issuance for a certificate that has none live and holds its slot. It is the first where there was none before, else one by hand,
/// which gives up when the version in use ends if that is valid. The transaction must be one to write.
pub async fn begin(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<IssuanceId, StoreError> {
    let now = database_now(conn).await?;
    let before = issuances::table.filter(issuances::account_id.eq(account.0).and(issuances::certificate_id.eq(certificate.0)));
    let reason = if diesel::select(exists(before)).get_result(conn).await? { IssuanceReason::ByHand } else { IssuanceReason::First };
    let valid_until: Option<DateTime<Utc>> = certificates::table
        .inner_join(versions::table.on(certificates::current_version_id.eq(versions::id.nullable())))
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq(certificate.0)))
        .filter(versions::revoked_at.is_null().and(versions::not_after.ge(now)))
        .select(versions::not_after)
        .first(conn)
        .await
        .optional()?;
    insert_issuance(conn, account, certificate, reason, give_up_at(now, valid_until)).await
}
