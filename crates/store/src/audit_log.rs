//! Who did what. Never holds a secret.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, AuditEntryId, TokenId, UserId};

use crate::schema::{api_tokens, audit_log, users};
use crate::{Connection, StoreError};

/// Something that somebody did.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Who: the identifier of a user or token, `operator`, `system`, or `anonymous` for somebody who has not proven who they are.
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

/// An entry on record.
#[derive(Clone, Debug)]
pub struct RecordedEntry {
    /// Its identifier.
    pub id: AuditEntryId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Who: as in [`Entry::actor`].
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// What else is worth knowing.
    pub details: serde_json::Value,
}

/// Where a page of entries begins: behind this one, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Its identifier.
    pub id: AuditEntryId,
}

/// Which entries to list; an empty filter is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// By exactly this actor.
    pub actor: Option<String>,
    /// Of exactly this action.
    pub action: Option<String>,
    /// At this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// The entries of an account, newest first, those behind `after`, at most `limit`.
pub async fn list_entries(
    conn: &mut Connection,
    account: AccountId,
    filter: &Filter,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<RecordedEntry>, StoreError> {
    type Row = (Uuid, DateTime<Utc>, String, String, Option<String>, Option<String>, serde_json::Value);

    let mut query = audit_log::table
        .filter(audit_log::account_id.eq(account.0))
        .order((audit_log::at.desc(), audit_log::id.desc()))
        .limit(limit)
        .select((
            audit_log::id,
            audit_log::at,
            audit_log::actor,
            audit_log::action,
            audit_log::subject,
            audit_log::request_id,
            audit_log::details,
        ))
        .into_boxed();
    if let Some(after) = after {
        // Said twice, so that the index gives a range.
        query = query.filter(audit_log::at.le(after.at)).filter(audit_log::at.lt(after.at).or(audit_log::id.lt(after.id.0)));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(audit_log::actor.eq(actor.clone()));
    }
    if let Some(action) = &filter.action {
        query = query.filter(audit_log::action.eq(action.clone()));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit_log::at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(audit_log::at.lt(until));
    }
    let entry = |(id, at, actor, action, subject, request_id, details): Row| RecordedEntry {
        id: AuditEntryId(id),
        at,
        actor,
        action,
        subject,
        request_id,
        details,
    };
    Ok(query.load::<Row>(conn).await?.into_iter().map(entry).collect())
}

/// What these people and tokens of the account are called, gone or not: a person by name or else e-mail address.
pub async fn list_actor_names(
    conn: &mut Connection,
    account: AccountId,
    people: &[UserId],
    programs: &[TokenId],
) -> Result<HashMap<Uuid, String>, StoreError> {
    let people: Vec<Uuid> = people.iter().map(|id| id.0).collect();
    let people = users::table
        .filter(users::account_id.eq(account.0).and(users::id.eq_any(people)))
        .select((users::id, users::name, users::email))
        .load::<(Uuid, Option<String>, String)>(conn)
        .await?;
    let programs: Vec<Uuid> = programs.iter().map(|id| id.0).collect();
    let programs = api_tokens::table
        .filter(api_tokens::account_id.eq(account.0).and(api_tokens::id.eq_any(programs)))
        .select((api_tokens::id, api_tokens::name))
        .load::<(Uuid, String)>(conn)
        .await?;
    Ok(people.into_iter().map(|(id, name, email)| (id, name.unwrap_or(email))).chain(programs).collect())
}
