//! Who did what. Never holds a secret.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::AccountId;

use crate::schema::audit_log;
use crate::{Connection, StoreError};

/// Something that somebody did.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Who: the identifier of a user or token, `admin` or `system`.
    pub actor: &'a str,
    /// What, as `token.created`.
    pub action: &'a str,
    /// To what: an identifier.
    pub subject: Option<&'a str>,
    /// In which request; the logs carry the same.
    pub request_id: Option<&'a str>,
    /// What else is worth knowing: a JSON object.
    pub details: serde_json::Value,
}

/// Writes an entry in the transaction of what it tells of.
pub async fn insert_entry(conn: &mut Connection, account: AccountId, entry: &Entry<'_>) -> Result<(), StoreError> {
    let values = (
        audit_log::id.eq(Uuid::now_v7()),
        audit_log::account_id.eq(account.0),
        audit_log::actor.eq(entry.actor),
        audit_log::action.eq(entry.action),
        audit_log::subject.eq(entry.subject),
        audit_log::request_id.eq(entry.request_id),
        audit_log::details.eq(&entry.details),
    );
    diesel::insert_into(audit_log::table).values(values).execute(conn).await?;
    Ok(())
}
