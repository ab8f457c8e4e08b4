//! What happened, numbered per account: the log of a certificate, and what live listeners will be sent.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId, OrderId};

use crate::schema::{accounts, events};
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// How much an event asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Something failed and will be tried again.
    Warning,
    /// Something failed for good.
    Error,
}

impl Level {
    /// Every level, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Error];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// An event to be recorded.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// How much attention it asks for.
    pub level: Level,
    /// What happened, in one stable word or a few: `order_placed`.
    pub event: &'static str,
    /// What happened, for people. Never holds a secret.
    pub message: String,
    /// The certificate that it happened to.
    pub certificate: Option<CertificateId>,
    /// The issuance.
    pub issuance: Option<IssuanceId>,
    /// The order.
    pub order: Option<OrderId>,
    /// More, for programs. Never holds a secret.
    pub details: serde_json::Value,
}

impl NewEvent {
    /// An event of level [`Level::Info`] about nothing in particular yet.
    pub fn info(event: &'static str, message: impl Into<String>) -> Self {
        Self {
            level: Level::Info,
            event,
            message: message.into(),
            certificate: None,
            issuance: None,
            order: None,
            details: serde_json::Value::Object(serde_json::Map::new()),
        }
    }
}

/// An event on record.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number within the account.
    pub number: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// How much attention it asks for.
    pub level: Level,
    /// What happened, as a stable word.
    pub event: String,
    /// What happened, for people.
    pub message: String,
    /// The certificate that it happened to.
    pub certificate: Option<CertificateId>,
    /// The issuance.
    pub issuance: Option<IssuanceId>,
    /// The order.
    pub order: Option<OrderId>,
    /// More, for programs.
    pub details: serde_json::Value,
}

/// Records an event and returns its number. The transaction must be one to write ([`crate::Store::tenant_write`]): numbers follow commits.
pub async fn record(conn: &mut Connection, account: AccountId, event: NewEvent) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Numbered {
        #[diesel(sql_type = sql_types::BigInt)]
        number: i64,
    }

    let row: Numbered = sql_query(
        "WITH counted AS (UPDATE accounts SET last_event_number = last_event_number + 1 WHERE id = $1 RETURNING last_event_number)
         INSERT INTO events (account_id, number, level, event, message, certificate_id, issuance_id, order_id, details)
         SELECT $1, last_event_number, $2, $3, $4, $5, $6, $7, $8 FROM counted RETURNING number",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Text, _>(event.level.as_str())
    .bind::<sql_types::Text, _>(event.event)
    .bind::<sql_types::Text, _>(event.message)
    .bind::<sql_types::Nullable<sql_types::Uuid>, _>(event.certificate.map(|id| id.0))
    .bind::<sql_types::Nullable<sql_types::Uuid>, _>(event.issuance.map(|id| id.0))
    .bind::<sql_types::Nullable<sql_types::Uuid>, _>(event.order.map(|id| id.0))
    .bind::<sql_types::Jsonb, _>(event.details)
    .get_result(conn)
    .await?;
    Ok(row.number)
}

/// The events of a certificate after number `after`, oldest first, at most `limit` (requirements S3.32).
pub async fn list_certificate_events(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    after: i64,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let rows = after_number(account, after)
        .filter(events::certificate_id.eq(certificate.0))
        .limit(limit)
        .select(COLUMNS)
        .load::<Row>(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// The events of an account after number `after`, oldest first, at most `limit`.
pub async fn list_events(conn: &mut Connection, account: AccountId, after: i64, limit: i64) -> Result<Vec<Event>, StoreError> {
    let rows = after_number(account, after).limit(limit).select(COLUMNS).load::<Row>(conn).await?;
    rows.into_iter().map(from_row).collect()
}

/// The number of the account's latest event; 0 if there was none.
pub async fn latest_number(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    Ok(accounts::table.filter(accounts::id.eq(account.0)).select(accounts::last_event_number).first(conn).await?)
}

#[diesel::dsl::auto_type]
fn after_number(account: AccountId, after: i64) -> _ {
    let account: Uuid = account.0;
    events::table.filter(events::account_id.eq(account)).filter(events::number.gt(after)).order(events::number.asc())
}

type Row = (i64, DateTime<Utc>, String, String, String, Option<Uuid>, Option<Uuid>, Option<Uuid>, serde_json::Value);

const COLUMNS: (
    events::number,
    events::at,
    events::level,
    events::event,
    events::message,
    events::certificate_id,
    events::issuance_id,
    events::order_id,
    events::details,
) = (
    events::number,
    events::at,
    events::level,
    events::event,
    events::message,
    events::certificate_id,
    events::issuance_id,
    events::order_id,
    events::details,
);

fn from_row((number, at, level, event, message, certificate, issuance, order, details): Row) -> Result<Event, StoreError> {
    Ok(Event {
        number,
        at,
        level: Level::parse(&level).ok_or_else(|| StoreError::corrupt("events.level", level))?,
        event,
        message,
        certificate: certificate.map(CertificateId),
        issuance: issuance.map(IssuanceId),
        order: order.map(OrderId),
        details,
    })
}
