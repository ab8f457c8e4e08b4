//! ACME orders and their authorizations, as far as they are on record.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, AcmeAccountId, AuthorizationId, CertificateId, IssuanceId, KeyVersionId, OrderId};
use zonecert_domain::order::{OrderEvent, OrderProgress, OrderStatus};

use crate::error::changed_one;
use crate::schema::{authorizations, orders};
use crate::statement::PreparedDsl as _;
use crate::{Connection, StoreError};

/// An order on record.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its identifier.
    pub id: OrderId,
    /// What is on record about it.
    pub status: OrderStatus,
    /// The CA's directory.
    pub directory_url: String,
    /// The customer's own account there; none where it is ours.
    pub own_acme_account: Option<AcmeAccountId>,
    /// The CA's URL of it, once it is known.
    pub url: Option<String>,
    /// The names that are asked for, the domain first.
    pub names: Vec<String>,
    /// The certificate that it says it replaces (RFC 9773 §5), by its identifier there.
    pub replaces: Option<String>,
    /// The CA's profile that is asked for, if one is.
    pub profile: Option<String>,
    /// The key of its request.
    pub key_version: Option<KeyVersionId>,
    /// Its request: PKCS#10 in DER.
    pub csr: Option<Vec<u8>>,
    /// Since when the zone shows the TXT values.
    pub presented_at: Option<DateTime<Utc>>,
    /// How often it was looked at in its present state.
    pub polls: u32,
    /// The CA is not asked again before.
    pub next_poll_at: Option<DateTime<Utc>>,
    /// Its authorizations, while the proof of a name is written or awaited.
    pub authorizations: Vec<Authorization>,
}

impl Order {
    /// What [`zonecert_domain::order::next_step`] looks at.
    pub fn progress(&self) -> OrderProgress {
        OrderProgress {
            status: self.status,
            presented_at: self.presented_at,
            prepared: self.csr.is_some(),
            next_poll_at: self.next_poll_at,
        }
    }
}

/// Where an authorization stands, as far as it is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationStatus {
    /// Still to be proven.
    Pending,
    /// Proven.
    Valid,
    /// The CA has refused it.
    Failed,
}

impl AuthorizationStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Valid => "valid",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Valid, Self::Failed].into_iter().find(|status| status.as_str() == text)
    }
}

/// An authorization on record.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// Its identifier.
    pub id: AuthorizationId,
    /// The CA's URL of it.
    pub url: String,
    /// The name, without `*.`.
    pub identifier: String,
    /// Whether `*.` stood before it.
    pub wildcard: bool,
    /// Where it stands.
    pub status: AuthorizationStatus,
    /// How often it was looked at.
    pub polls: u32,
}

/// What the CA will be asked for.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    /// The wish that it is for.
    pub issuance: IssuanceId,
    /// The certificate.
    pub certificate: CertificateId,
    /// The CA's directory.
    pub directory_url: &'a str,
    /// The customer's own account there; none where it is ours.
    pub own_acme_account: Option<AcmeAccountId>,
    /// The names, the domain first.
    pub names: &'a [String],
    /// The certificate that it replaces (RFC 9773 §5), by its identifier there.
    pub replaces: Option<&'a str>,
    /// The CA's profile, if one is wished.
    pub profile: Option<&'a str>,
}

/// Writes down the intent of an order, before the CA hears of it.
pub async fn insert_order(conn: &mut Connection, account: AccountId, new: &NewOrder<'_>) -> Result<OrderId, StoreError> {
    let id = OrderId::new();
    diesel::insert_into(orders::table)
        .values((
            orders::id.eq(id.0),
            orders::account_id.eq(account.0),
            orders::issuance_id.eq(new.issuance.0),
            orders::certificate_id.eq(new.certificate.0),
            orders::directory_url.eq(new.directory_url),
            orders::own_acme_account_id.eq(new.own_acme_account.map(|id| id.0)),
            orders::names.eq(new.names),
            orders::replaces.eq(new.replaces),
            orders::profile.eq(new.profile),
        ))
        .execute(conn)
        .await?;
    Ok(id)
}

/// The CA does not take the order as a replacement: it is placed without saying so. Errors with [`StoreError::Stale`] once it is placed.
pub async fn forget_replaces(conn: &mut Connection, account: AccountId, order: OrderId) -> Result<(), StoreError> {
    let intended = orders::account_id.eq(account.0).and(orders::id.eq(order.0)).and(orders::status.eq(OrderStatus::Intended.as_str()));
    let changed = diesel::update(orders::table.filter(intended)).set(orders::replaces.eq(None::<String>)).prepared().execute(conn).await?;
    changed_one(changed)
}

/// A row of `orders`, as far as steps depend on it.
#[derive(Queryable)]
pub(crate) struct OrderRow {
    pub(crate) id: Uuid,
    status: String,
    directory_url: String,
    url: Option<String>,
    names: Vec<String>,
    replaces: Option<String>,
    profile: Option<String>,
    key_version_id: Option<Uuid>,
    csr: Option<Vec<u8>>,
    presented_at: Option<DateTime<Utc>>,
    polls: i32,
    next_poll_at: Option<DateTime<Utc>>,
    own_acme_account_id: Option<Uuid>,
}

impl OrderRow {
    /// Whether steps depend on its authorizations.
    pub(crate) fn awaits_proof(&self) -> bool {
        let statuses = [OrderStatus::Presenting, OrderStatus::Propagating, OrderStatus::Validating];
        statuses.iter().any(|status| status.as_str() == self.status)
    }
}

/// A row of `authorizations`.
#[derive(Queryable)]
pub(crate) struct AuthorizationRow {
    id: Uuid,
    url: String,
    identifier: String,
    wildcard: bool,
    status: String,
    polls: i32,
}

/// The authorizations of an order.
#[diesel::dsl::auto_type]
pub(crate) fn authorizations_of(account: AccountId, order: Uuid) -> _ {
    let account: Uuid = account.0;
    authorizations::table
        .filter(authorizations::account_id.eq(account))
        .filter(authorizations::order_id.eq(order))
        .order((authorizations::identifier, authorizations::wildcard))
        .select((
            authorizations::id,
            authorizations::url,
            authorizations::identifier,
            authorizations::wildcard,
            authorizations::status,
            authorizations::polls,
        ))
}

impl Order {
    pub(crate) fn from_rows(row: OrderRow, authorizations: Vec<AuthorizationRow>) -> Result<Self, StoreError> {
        let authorizations = authorizations.into_iter().map(|row| {
            Ok(Authorization {
                id: AuthorizationId(row.id),
                url: row.url,
                identifier: row.identifier,
                wildcard: row.wildcard,
                status: AuthorizationStatus::parse(&row.status).ok_or_else(|| StoreError::corrupt("authorizations.status", row.status))?,
                polls: row.polls.unsigned_abs(),
            })
        });
        Ok(Self {
            id: OrderId(row.id),
            status: OrderStatus::parse(&row.status).ok_or_else(|| StoreError::corrupt("orders.status", row.status))?,
            directory_url: row.directory_url,
            own_acme_account: row.own_acme_account_id.map(AcmeAccountId),
            url: row.url,
            names: row.names,
            replaces: row.replaces,
            profile: row.profile,
            key_version: row.key_version_id.map(KeyVersionId),
            csr: row.csr,
            presented_at: row.presented_at,
            polls: row.polls.unsigned_abs(),
            next_poll_at: row.next_poll_at,
            authorizations: authorizations.collect::<Result<_, StoreError>>()?,
        })
    }
}

/// What is recorded together with an event of an order.
#[derive(Default, AsChangeset)]
#[diesel(table_name = orders)]
pub struct OrderChange {
    /// The CA's URL of it.
    pub url: Option<String>,
    /// The account at the CA.
    pub acme_account_id: Option<Uuid>,
    /// The key of its request.
    pub key_version_id: Option<Uuid>,
    /// Its request.
    pub csr: Option<Vec<u8>>,
    /// Since when the zone shows the TXT values.
    pub presented_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub failure: Option<serde_json::Value>,
}

/// Moves an order on, from the state in which it was read. Looks are counted anew, the first at `next_poll_at` at the earliest. Errors with [`StoreError::Stale`] when the event cannot
/// follow that state, or the order is not in it any more.
pub async fn advance(
    conn: &mut Connection,
    account: AccountId,
    order: &Order,
    event: OrderEvent,
    change: OrderChange,
    next_poll_at: Option<DateTime<Utc>>,
) -> Result<OrderStatus, StoreError> {
    let next = order.status.after(event).ok_or(StoreError::Stale)?;
    let finished_at = next.is_terminal().then_some(diesel::dsl::now.into_sql::<sql_types::Timestamptz>().nullable());
    let changed = diesel::update(
        orders::table.filter(orders::account_id.eq(account.0).and(orders::id.eq(order.id.0)).and(orders::status.eq(order.status.as_str()))),
    )
    .set((
        orders::status.eq(next.as_str()),
        orders::polls.eq(0),
        orders::next_poll_at.eq(next_poll_at),
        finished_at.map(|at| orders::finished_at.eq(at)),
        change,
    ))
    .prepared()
    .execute(conn)
    .await?;
    if changed == 1 { Ok(next) } else { Err(StoreError::Stale) }
}

/// Records a look at an order that has not changed its state: the next comes at `next_poll_at` at the earliest.
pub async fn record_poll(conn: &mut Connection, account: AccountId, order: &Order, next_poll_at: DateTime<Utc>) -> Result<(), StoreError> {
    let changed = diesel::update(
        orders::table.filter(orders::account_id.eq(account.0).and(orders::id.eq(order.id.0)).and(orders::status.eq(order.status.as_str()))),
    )
    .set((orders::polls.eq(orders::polls + 1), orders::next_poll_at.eq(next_poll_at)))
    .prepared()
    .execute(conn)
    .await?;
    changed_one(changed)
}

/// An authorization as the CA shows it, to be put on record.
#[derive(Clone, Debug)]
pub struct NewAuthorization {
    /// The CA's URL of it.
    pub url: String,
    /// The name, without `*.`.
    pub identifier: String,
    /// Whether `*.` stood before it.
    pub wildcard: bool,
    /// Where it stands.
    pub status: AuthorizationStatus,
}

/// Puts an authorization of an order on record.
pub async fn insert_authorization(
    conn: &mut Connection,
    account: AccountId,
    order: OrderId,
    authorization: &NewAuthorization,
) -> Result<AuthorizationId, StoreError> {
    let id = AuthorizationId::new();
    diesel::insert_into(authorizations::table)
        .values((
            authorizations::id.eq(id.0),
            authorizations::account_id.eq(account.0),
            authorizations::order_id.eq(order.0),
            authorizations::url.eq(&authorization.url),
            authorizations::identifier.eq(&authorization.identifier),
            authorizations::wildcard.eq(authorization.wildcard),
            authorizations::status.eq(authorization.status.as_str()),
        ))
        .execute(conn)
        .await?;
    Ok(id)
}

/// Records a look at an authorization.
pub async fn record_authorization(
    conn: &mut Connection,
    account: AccountId,
    id: AuthorizationId,
    status: AuthorizationStatus,
) -> Result<(), StoreError> {
    diesel::update(authorizations::table.filter(authorizations::account_id.eq(account.0).and(authorizations::id.eq(id.0))))
        .set((authorizations::status.eq(status.as_str()), authorizations::polls.eq(authorizations::polls + 1)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}
