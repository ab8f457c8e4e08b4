//! Who did what, newest first.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use zonecert_domain::id::{ApiKeyId, AuditEntryId, TokenId, UserId};
use zonecert_domain::scope::Scope;
use zonecert_store::audit_log::{self, Filter, Position, RecordedEntry};
use zonecert_store::{Connection, StoreError};

use super::ANONYMOUS;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::paging::{Cursor, Limit};
use crate::problem::{FieldError, Problem};
use crate::request::Query;
use crate::route::{Access, Route};
use crate::text;

/// No actor and no action has more characters.
const MAX_WORD_CHARACTERS: usize = 200;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// The `next_cursor` of the page before, unchanged.
    cursor: Option<String>,
    /// How many elements a page has.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: Option<String>,
    /// Only what this one did.
    #[param(min_length = 1, max_length = 200, example = "user_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f")]
    actor: Option<String>,
    /// Only this action.
    #[param(min_length = 1, max_length = 200, example = "token.created")]
    action: Option<String>,
    /// Only from this time on.
    #[param(value_type = Option<DateTime<Utc>>)]
    since: Option<String>,
    /// Only before this time.
    #[param(value_type = Option<DateTime<Utc>>)]
    until: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditPage)]
struct AuditLog<'a> {
    entries: Vec<EntryView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct EntryView<'a> {
    #[schema(value_type = values::AuditEntryId)]
    id: AuditEntryId,
    at: DateTime<Utc>,
    actor: ActorView<'a>,
    /// What was done, for programs.
    #[schema(example = "token.created")]
    action: &'a str,
    /// To what.
    #[schema(required, example = "tok_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f")]
    subject: Option<&'a str>,
    /// By which request: the header `X-Request-Id` of its answer.
    #[schema(required, example = "0198c5f47e5b7c2a9d4e1c2b3a4d5e6f")]
    request_id: Option<&'a str>,
    /// What else is known of it; which fields there are depends on the action.
    #[schema(value_type = Object, example = json!({}))]
    details: &'a serde_json::Value,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditActor)]
struct ActorView<'a> {
    r#type: ActorType,
    #[schema(example = "user_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f")]
    id: &'a str,
    /// A person's name or e-mail address, a token's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "Ada")]
    name: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ActorType {
    /// A person of the account.
    User,
    /// A program with an API token.
    Token,
    /// A program with an API key of a certificate or private key.
    ApiKey,
    /// Somebody who has not proven who they are.
    Anonymous,
    /// Zonecert by itself.
    System,
    /// Whoever runs this service.
    Operator,
}

/// Who acted, as the audit log names them.
enum Actor {
    User(UserId),
    Token(TokenId),
    Other(ActorType),
}

impl Actor {
    fn parse(text: &str) -> Self {
        if let Ok(user) = text.parse() {
            return Self::User(user);
        }
        match (text.parse(), text) {
            (Ok(token), _) => Self::Token(token),
            _ if text.parse::<ApiKeyId>().is_ok() => Self::Other(ActorType::ApiKey),
            (_, ANONYMOUS) => Self::Other(ActorType::Anonymous),
            (_, "system" | "worker") => Self::Other(ActorType::System),
            _ => Self::Other(ActorType::Operator),
        }
    }
}

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(__path_list, list, Access::Scopes(&[Scope::AccountAdmin]))]
}

/// Who did what
///
/// Newest first. Filters can be combined.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "people", operation_id = "listAudit",
    params(Parameters),
    responses(
        (status = 200, description = "A page of the audit log.", body = AuditLog),
        (status = 400, description = "`time_invalid` at ?since: Give a time as in 2026-11-21T09:30:00Z (RFC 3339), from 1970 to 9999\n{line}"),
    ),
)]
async fn list(app: web::Data<App>, caller: Caller, query: Query<Parameters>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let (filter, after, limit) = parse(&query.read()?)?;
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        let entries = audit_log::list_entries(conn, account, &filter, after, limit.to_read()).await?;
        let (people, programs) = people_and_programs(&entries);
        let names = audit_log::list_actor_names(conn, account, &people, &programs).await?;
        Ok((entries, names))
    };
    let (mut entries, names) = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut entries, |last| Position { at: last.at, id: last.id }.write());
    let entries = entries.iter().map(|entry| view(entry, &names)).collect();
    Ok(HttpResponse::Ok().json(AuditLog { entries, next_cursor }))
}

fn parse(parameters: &Parameters) -> Result<(Filter, Option<Position>, Limit), Problem> {
    let mut faults = Faults::default();
    let after = faults.check(Position::parse_parameter(parameters.cursor.as_deref()));
    let limit = faults.check(Limit::parse(parameters.limit.as_deref()));
    let since = faults.check(moment("?since", parameters.since.as_deref()));
    let until = faults.check(moment("?until", parameters.until.as_deref()));
    let actor = faults.check(word("?actor", parameters.actor.as_deref()));
    let action = faults.check(word("?action", parameters.action.as_deref()));
    let filter = since.zip(until).zip(actor.zip(action));
    let (page, ((since, until), (actor, action))) = faults.finish(after.zip(limit).zip(filter))?;
    Ok((Filter { actor, action, since, until }, page.0, page.1))
}

fn word(pointer: &str, given: Option<&str>) -> Result<Option<String>, FieldError> {
    given.map(|text| text::line(pointer, text, MAX_WORD_CHARACTERS)).transpose()
}

/// RFC 3339. A `+` that was not escaped arrives as a space.
fn moment(pointer: &str, given: Option<&str>) -> Result<Option<DateTime<Utc>>, FieldError> {
    let parse = |text: &str| DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|at| at.to_utc());
    // PostgreSQL's timestamps begin and end where no log of ours does.
    let in_range = |at: &DateTime<Utc>| (0..=253_402_300_799).contains(&at.timestamp());
    let invalid = || FieldError::new(pointer, "time_invalid", "Give a time as in 2026-11-21T09:30:00Z (RFC 3339), from 1970 to 9999");
    given.map(|text| parse(text).filter(in_range).ok_or_else(invalid)).transpose()
}

fn people_and_programs(entries: &[RecordedEntry]) -> (Vec<UserId>, Vec<TokenId>) {
    let (mut people, mut programs) = (Vec::new(), Vec::new());
    for entry in entries {
        match Actor::parse(&entry.actor) {
            Actor::User(id) => people.push(id),
            Actor::Token(id) => programs.push(id),
            Actor::Other(_) => {}
        }
    }
    (people, programs)
}

fn view<'a>(entry: &'a RecordedEntry, names: &'a HashMap<Uuid, String>) -> EntryView<'a> {
    let (r#type, name) = match Actor::parse(&entry.actor) {
        Actor::User(id) => (ActorType::User, names.get(&id.0)),
        Actor::Token(id) => (ActorType::Token, names.get(&id.0)),
        Actor::Other(other) => (other, None),
    };
    EntryView {
        id: entry.id,
        at: entry.at,
        actor: ActorView { r#type, id: &entry.actor, name: name.map(String::as_str) },
        action: &entry.action,
        subject: entry.subject.as_deref(),
        request_id: entry.request_id.as_deref(),
        details: &entry.details,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_any_zone_and_what_is_none_is_refused() {
        let read = |text| moment("?since", Some(text)).map(|at| at.unwrap().to_rfc3339());
        assert_eq!(read("2026-11-21T09:30:00Z"), Ok("2026-11-21T09:30:00+00:00".to_owned()));
        assert_eq!(read("2026-11-21T10:30:00 01:00"), Ok("2026-11-21T09:30:00+00:00".to_owned()));
        assert_eq!(moment("?since", None), Ok(None));
        for text in
            ["", "yesterday", "2026-11-21", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00", "2026-13-01T00:00:00Z", "1796000000"]
        {
            assert_eq!(read(text).unwrap_err().code, "time_invalid", "{text}");
        }
    }
}
