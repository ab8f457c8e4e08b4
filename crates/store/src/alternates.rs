//! The other key of a dual certificate: RSA beside ECDSA, for the same names (requirements S3.50).
//!
//! The certificate renews as its first key is due. Whenever a version with that is issued, one with the other key is asked for next, by an issuance of its own;
//! what becomes of that one changes nothing of the first.

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId, KeyId, VersionId};
use zonecert_domain::issuance::{IssuanceReason, give_up_at};
use zonecert_domain::key::KeyAlgorithm;

use crate::events::{self, NewEvent};
use crate::issuances::{database_now, insert_alternate_issuance};
use crate::schema::{alternates, issuances, orders, versions};
use crate::statement::PreparedDsl as _;
use crate::versions_in_use::find_newest_usable;
use crate::{Connection, StoreError, private_keys};

/// What a version was asked for by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// Why.
    pub(crate) reason: IssuanceReason,
    /// Whether it was for the other key.
    pub(crate) alternate: bool,
}

/// Makes a certificate a dual one, before its first issuance: it gets another key, of this algorithm, which must be of the type that its first key is not.
/// The transaction must be one to write ([`crate::Store::tenant_write`]).
pub async fn insert_alternate(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    algorithm: KeyAlgorithm,
) -> Result<KeyId, StoreError> {
    let key = private_keys::insert_alternate_key(conn, account, certificate, algorithm).await?;
    diesel::insert_into(alternates::table)
        .values((
            alternates::certificate_id.eq(certificate.0),
            alternates::account_id.eq(account.0),
            alternates::key_algorithm.eq(algorithm.as_str()),
            alternates::private_key_id.eq(key.0),
        ))
        .execute(conn)
        .await?;
    Ok(key)
}

/// The other key of a dual certificate, as a resource.
pub(crate) async fn get_key(conn: &mut Connection, account: AccountId, certificate: CertificateId) -> Result<KeyId, StoreError> {
    let key: Uuid = of(account, certificate).select(alternates::private_key_id).first(conn).await?;
    Ok(KeyId(key))
}

/// The issuance that has brought a version; none for one that was uploaded.
pub(crate) async fn find_wish(conn: &mut Connection, account: AccountId, version: VersionId) -> Result<Option<Wish>, StoreError> {
    let found = versions::table
        .inner_join(orders::table.on(versions::order_id.eq(orders::id.nullable())))
        .inner_join(issuances::table.on(issuances::id.eq(orders::issuance_id)))
        .filter(versions::account_id.eq(account.0).and(versions::id.eq(version.0)))
        .select((issuances::reason, versions::alternate))
        .first::<(String, bool)>(conn)
        .await
        .optional()?;
    let Some((reason, alternate)) = found else { return Ok(None) };
    let reason = IssuanceReason::parse(&reason).ok_or_else(|| StoreError::corrupt("issuances.reason", reason))?;
    Ok(Some(Wish { reason, alternate }))
}

/// Begins an issuance for the other key of a dual certificate, for which none is live. It gives up after a day, so that it does not keep the first key from
/// renewing; then the schedule has another one begin.
pub(crate) async fn begin(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    reason: IssuanceReason,
) -> Result<IssuanceId, StoreError> {
    let give_up_at = give_up_at(database_now(conn).await?, None);
    insert_alternate_issuance(conn, account, certificate, reason, give_up_at).await
}

/// Begins it after a version with the first key was issued for this reason; does nothing to a certificate that is not dual.
pub(crate) async fn begin_after(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    reason: IssuanceReason,
) -> Result<(), StoreError> {
    if !diesel::select(exists(of(account, certificate))).get_result::<bool>(conn).await? {
        return Ok(());
    }
    let issuance = begin(conn, account, certificate, reason).await?;
    let event = NewEvent {
        certificate: Some(certificate),
        issuance: Some(issuance),
        details: json!({ "reason": reason.as_str() }),
        ..NewEvent::info("alternate_begun", "the version with the other key comes next")
    };
    events::record(conn, account, event).await.map(drop)
}

/// Puts a version with the other key in use.
pub(crate) async fn put_in_use(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    version: VersionId,
) -> Result<(), StoreError> {
    diesel::update(alternates::table.filter(alternates::account_id.eq(account.0).and(alternates::certificate_id.eq(certificate.0))))
        .set(alternates::version_id.eq(version.0))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// Where the version in use with the other key is over, the newest of the others with that key that is of use takes its place.
pub(crate) async fn settle(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let over = of(account, certificate)
        .inner_join(versions::table.on(alternates::version_id.eq(versions::id.nullable())))
        .filter(versions::revoked_at.is_not_null().or(versions::not_after.lt(now)));
    if !diesel::select(exists(over)).get_result::<bool>(conn).await? {
        return Ok(());
    }
    match find_newest_usable(conn, account, certificate, true, now).await? {
        Some(next) => put_in_use(conn, account, certificate, next.id).await,
        None => Ok(()),
    }
}

#[diesel::dsl::auto_type]
fn of(account: AccountId, certificate: CertificateId) -> _ {
    let (account, certificate): (Uuid, Uuid) = (account.0, certificate.0);
    alternates::table.filter(alternates::account_id.eq(account)).filter(alternates::certificate_id.eq(certificate))
}
