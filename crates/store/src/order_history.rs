//! The orders of a certificate, as people see them (requirements S0.1, S0.8). When each step was reached, its events say.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, AcmeAccountId, CertificateId, IssuanceId, KeyId, KeyVersionId, OrderId, VersionId};
use zonecert_domain::issuance::IssuanceReason;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::order::OrderStatus;
use zonecert_pki::csr::read_certificate_request;

use crate::schema::{events, issuances, key_versions, orders, versions};
use crate::{Connection, StoreError};

/// The events by which an order goes on, in the order in which they come. One whose names the CA holds proven already passes four of them by.
pub const STEPS: [&str; 10] = [
    "order_begun",
    "order_placed",
    "challenges_written",
    "challenges_presented",
    "key_prepared",
    "ca_notified",
    "authorized",
    "already_authorized",
    "finalized",
    "issued",
];

/// An order on record.
#[derive(Clone, Debug)]
pub struct RecordedOrder {
    /// Its identifier.
    pub id: OrderId,
    /// The wish that it was for.
    pub issuance: IssuanceId,
    /// Why there was that wish.
    pub reason: IssuanceReason,
    /// How far it is.
    pub status: OrderStatus,
    /// The names that were asked for, the domain first.
    pub names: Vec<String>,
    /// The CA's directory.
    pub directory_url: String,
    /// The CA's profile that was asked for, if one was.
    pub profile: Option<String>,
    /// The customer's own account there; none where it is ours.
    pub acme_account: Option<AcmeAccountId>,
    /// The CA's URL of it, once it is known.
    pub url: Option<String>,
    /// The key of its request, once there is one.
    pub key: Option<OrderKey>,
    /// The version that came of it.
    pub version: Option<VersionId>,
    /// Why it failed: `code`, `detail` and `remedy`.
    pub failure: Option<serde_json::Value>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
    /// What it has passed through, in order.
    pub steps: Vec<OrderStep>,
}

/// The key of an order's request.
#[derive(Clone, Copy, Debug)]
pub struct OrderKey {
    /// As a resource.
    pub id: KeyId,
    /// Its material.
    pub version: KeyVersionId,
    /// Algorithm and size, as the request says.
    pub algorithm: Option<KeyAlgorithm>,
}

/// A step that an order has taken.
#[derive(Clone, Debug)]
pub struct OrderStep {
    /// Its event: one of [`STEPS`].
    pub event: String,
    /// When it was recorded.
    pub at: DateTime<Utc>,
}

/// Where a page of orders begins: behind this one, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// Its identifier.
    pub id: OrderId,
}

/// The orders of a certificate, newest first, those behind `after`, at most `limit`.
pub async fn list_orders(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<RecordedOrder>, StoreError> {
    let mut page = query(account, certificate).order((orders::created_at.desc(), orders::id.desc())).limit(limit).into_boxed();
    if let Some(after) = after {
        // Said twice, so that the index gives a range.
        page = page
            .filter(orders::created_at.le(after.created_at))
            .filter(orders::created_at.lt(after.created_at).or(orders::id.lt(after.id.0)));
    }
    let rows = page.load::<Row>(conn).await?;
    with_steps(conn, account, certificate, rows).await
}

/// An order of a certificate.
pub async fn get_order(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    id: OrderId,
) -> Result<RecordedOrder, StoreError> {
    let row = query(account, certificate).filter(orders::id.eq(id.0)).first::<Row>(conn).await?;
    with_steps(conn, account, certificate, vec![row]).await?.pop().ok_or(StoreError::NotFound)
}

#[derive(Queryable)]
struct Row {
    id: Uuid,
    issuance_id: Uuid,
    reason: String,
    status: String,
    names: Vec<String>,
    directory_url: String,
    profile: Option<String>,
    own_acme_account_id: Option<Uuid>,
    url: Option<String>,
    key: Option<(Uuid, Uuid)>,
    csr: Option<Vec<u8>>,
    version_id: Option<Uuid>,
    failure: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

#[diesel::dsl::auto_type]
fn query(account: AccountId, certificate: CertificateId) -> _ {
    let (account, certificate): (Uuid, Uuid) = (account.0, certificate.0);
    orders::table
        .inner_join(issuances::table.on(issuances::id.eq(orders::issuance_id)))
        .left_join(key_versions::table.on(orders::key_version_id.eq(key_versions::id.nullable())))
        .left_join(versions::table.on(versions::order_id.eq(orders::id.nullable())))
        .filter(orders::account_id.eq(account).and(orders::certificate_id.eq(certificate)))
        .select((
            orders::id,
            orders::issuance_id,
            issuances::reason,
            orders::status,
            orders::names,
            orders::directory_url,
            orders::profile,
            orders::own_acme_account_id,
            orders::url,
            (key_versions::private_key_id, key_versions::id).nullable(),
            orders::csr,
            versions::id.nullable(),
            orders::failure,
            orders::created_at,
            orders::finished_at,
        ))
}

/// The events of all of them are read at once, by the index of the certificate's log.
async fn with_steps(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    rows: Vec<Row>,
) -> Result<Vec<RecordedOrder>, StoreError> {
    let ids: Vec<Option<Uuid>> = rows.iter().map(|row| Some(row.id)).collect();
    let found = events::table
        .filter(events::account_id.eq(account.0).and(events::certificate_id.eq(certificate.0)))
        .filter(events::order_id.eq_any(ids).and(events::event.eq_any(STEPS)))
        .order(events::number.asc())
        .select((events::order_id.assume_not_null(), events::event, events::at))
        .load::<(Uuid, String, DateTime<Utc>)>(conn)
        .await?;
    let mut steps: HashMap<Uuid, Vec<OrderStep>> = HashMap::new();
    for (order, event, at) in found {
        steps.entry(order).or_default().push(OrderStep { event, at });
    }
    rows.into_iter()
        .map(|row| {
            let steps = steps.remove(&row.id).unwrap_or_default();
            row.into_order(steps)
        })
        .collect()
}

impl Row {
    fn into_order(self, steps: Vec<OrderStep>) -> Result<RecordedOrder, StoreError> {
        let algorithm = self.csr.and_then(|csr| read_certificate_request(&csr).ok()).and_then(|request| request.key_algorithm);
        Ok(RecordedOrder {
            id: OrderId(self.id),
            issuance: IssuanceId(self.issuance_id),
            reason: IssuanceReason::parse(&self.reason).ok_or_else(|| StoreError::corrupt("issuances.reason", self.reason))?,
            status: OrderStatus::parse(&self.status).ok_or_else(|| StoreError::corrupt("orders.status", self.status))?,
            names: self.names,
            directory_url: self.directory_url,
            profile: self.profile,
            acme_account: self.own_acme_account_id.map(AcmeAccountId),
            url: self.url,
            key: self.key.map(|(id, version)| OrderKey { id: KeyId(id), version: KeyVersionId(version), algorithm }),
            version: self.version_id.map(VersionId),
            failure: self.failure,
            created_at: self.created_at,
            finished_at: self.finished_at,
            steps,
        })
    }
}
