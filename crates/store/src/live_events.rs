//! What the database tells as soon as it is committed: which account has a new event.
//!
//! The trigger `events_notify` announces each event on the channel `zonecert_events`. An announcement can get lost with its connection, so
//! whoever listens looks for itself from time to time, and each time that it has connected anew.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::StreamExt;
use uuid::Uuid;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId};

use crate::schema::certificates;
use crate::statement::sql_query;
use crate::{Connection, Store, StoreError};

/// Listens on a connection of its own, until that is lost.
pub struct Listener {
    conn: Connection,
}

/// An account has an event of this number, and so all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The account.
    pub account: AccountId,
    /// Its latest event.
    pub number: i64,
}

/// How a certificate is right now, in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateState {
    /// The primary domain.
    pub domain: String,
    /// What people see.
    pub status: CertificateStatus,
    /// When the version in use was issued.
    pub issued_at: Option<DateTime<Utc>>,
    /// The end of its validity.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Listens for new events of all accounts from now on.
    pub async fn listen(&self) -> Result<Listener, StoreError> {
        let mut conn = self.connect_apart().await?;
        sql_query("LISTEN zonecert_events").execute(&mut conn).await?;
        Ok(Listener { conn })
    }
}

impl Listener {
    /// The next announcement. Nothing is lost when this is dropped while it waits. An error means that the connection is lost.
    pub async fn next(&mut self) -> Result<Announcement, StoreError> {
        loop {
            let notification = std::pin::pin!(self.conn.notifications_stream()).next().await;
            let notification = notification.ok_or_else(|| StoreError::Unavailable("the listening connection was closed".to_owned()))??;
            if let Some(announcement) = parse(&notification.payload) {
                return Ok(announcement);
            }
            tracing::warn!(payload = notification.payload, "an announcement on zonecert_events cannot be read");
        }
    }

    /// Whether the connection is still there: one that was cut on its way says nothing by itself.
    pub async fn ping(&mut self) -> Result<(), StoreError> {
        sql_query("SELECT 1").execute(&mut self.conn).await?;
        Ok(())
    }
}

/// `<account>:<number>`, as the trigger writes it.
fn parse(payload: &str) -> Option<Announcement> {
    let (account, number) = payload.split_once(':')?;
    Some(Announcement { account: AccountId(Uuid::try_parse(account).ok()?), number: number.parse().ok()? })
}

/// The states of these certificates of the account; those that are deleted are left out.
pub async fn list_states(
    conn: &mut Connection,
    account: AccountId,
    ids: &[CertificateId],
) -> Result<HashMap<CertificateId, CertificateState>, StoreError> {
    type Row = (Uuid, String, String, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = certificates::table
        .filter(certificates::account_id.eq(account.0).and(certificates::id.eq_any(ids)).and(certificates::deleted_at.is_null()))
        .select((certificates::id, certificates::domain, certificates::status, certificates::issued_at, certificates::expires_at))
        .load::<Row>(conn)
        .await?;
    rows.into_iter()
        .map(|(id, domain, status, issued_at, expires_at)| {
            let status = CertificateStatus::parse(&status).ok_or_else(|| StoreError::corrupt("certificates.status", status))?;
            Ok((CertificateId(id), CertificateState { domain, status, issued_at, expires_at }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_read_and_anything_else_is_not() {
        let account = AccountId::new();
        assert_eq!(parse(&format!("{}:42", account.0)), Some(Announcement { account, number: 42 }));
        for text in ["", ":", "x:1", &format!("{}", account.0), &format!("{}:x", account.0)] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
