//! API tokens of programs. Only their SHA-256 and their first characters are known here.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::OptionalExtension;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, TokenId, UserId};
use zonecert_domain::scope::ScopeSet;

use crate::schema::api_tokens;
use crate::{Connection, StoreError};

/// The last use is written at most this often.
const USE_GRANULARITY: TimeDelta = TimeDelta::minutes(1);

/// An API token that has not been revoked.
#[derive(Clone, Debug)]
pub struct ApiToken {
    /// Its identifier.
    pub id: TokenId,
    /// What its maker calls it.
    pub name: String,
    /// Its first characters, by which people recognise it.
    pub prefix: String,
    /// What it may do.
    pub scopes: ScopeSet,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What a new API token is.
pub struct NewApiToken<'a> {
    /// What its maker calls it: 1 to 100 characters.
    pub name: &'a str,
    /// Its first characters.
    pub prefix: &'a str,
    /// SHA-256 of all of it.
    pub sha256: &'a [u8; 32],
    /// What it may do.
    pub scopes: &'a ScopeSet,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
    /// For whom it answers.
    pub created_by: UserId,
}

type Row = (Uuid, String, String, Vec<String>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, DateTime<Utc>);

const COLUMNS: (
    api_tokens::id,
    api_tokens::name,
    api_tokens::prefix,
    api_tokens::scopes,
    api_tokens::expires_at,
    api_tokens::last_used_at,
    api_tokens::created_at,
) = (
    api_tokens::id,
    api_tokens::name,
    api_tokens::prefix,
    api_tokens::scopes,
    api_tokens::expires_at,
    api_tokens::last_used_at,
    api_tokens::created_at,
);

fn from_row((id, name, prefix, scopes, expires_at, last_used_at, created_at): Row) -> Result<ApiToken, StoreError> {
    let scopes = ScopeSet::parse(&scopes).map_err(|_| StoreError::corrupt("api_tokens.scopes", scopes.join(" ")))?;
    Ok(ApiToken { id: TokenId(id), name, prefix, scopes, expires_at, last_used_at, created_at })
}

/// Adds a token.
pub async fn insert_api_token(conn: &mut Connection, account: AccountId, new: &NewApiToken<'_>) -> Result<ApiToken, StoreError> {
    let values = (
        api_tokens::id.eq(TokenId::new().0),
        api_tokens::account_id.eq(account.0),
        api_tokens::created_by.eq(new.created_by.0),
        api_tokens::name.eq(new.name),
        api_tokens::prefix.eq(new.prefix),
        api_tokens::token_sha256.eq(&new.sha256[..]),
        api_tokens::scopes.eq(new.scopes.names()),
        api_tokens::expires_at.eq(new.expires_at),
    );
    from_row(diesel::insert_into(api_tokens::table).values(values).returning(COLUMNS).get_result::<Row>(conn).await?)
}

/// The tenant's tokens that have not been revoked, expired ones too, oldest first.
pub async fn list_api_tokens(conn: &mut Connection, account: AccountId) -> Result<Vec<ApiToken>, StoreError> {
    let rows = api_tokens::table
        .filter(api_tokens::account_id.eq(account.0).and(api_tokens::revoked_at.is_null()))
        .order((api_tokens::created_at, api_tokens::id))
        .select(COLUMNS)
        .load::<Row>(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// How many tokens the tenant has that have not been revoked.
pub async fn count_api_tokens(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    let tokens = api_tokens::table.filter(api_tokens::account_id.eq(account.0).and(api_tokens::revoked_at.is_null()));
    Ok(tokens.count().get_result(conn).await?)
}

/// A token of the tenant that has not been revoked.
pub async fn get_api_token(conn: &mut Connection, account: AccountId, id: TokenId) -> Result<ApiToken, StoreError> {
    from_row(unrevoked(account, id).select(COLUMNS).first::<Row>(conn).await?)
}

/// Ends a token at once.
pub async fn revoke_api_token(conn: &mut Connection, account: AccountId, id: TokenId, now: DateTime<Utc>) -> Result<(), StoreError> {
    let changed = diesel::update(unrevoked(account, id)).set(api_tokens::revoked_at.eq(now)).execute(conn).await?;
    if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// A token with which a program may call now, with the person who made it.
pub async fn find_usable(
    conn: &mut Connection,
    account: AccountId,
    id: TokenId,
    now: DateTime<Utc>,
) -> Result<Option<(ApiToken, UserId)>, StoreError> {
    let row = unrevoked(account, id)
        .filter(api_tokens::expires_at.is_null().or(api_tokens::expires_at.gt(now)))
        .select((COLUMNS, api_tokens::created_by))
        .first::<(Row, Uuid)>(conn)
        .await
        .optional()?;
    row.map(|(row, created_by)| Ok((from_row(row)?, UserId(created_by)))).transpose()
}

/// Notes that a token was used, at most once a minute. To be called last in a transaction that writes nothing else: the row it locks is
/// then the only one.
pub async fn mark_used(conn: &mut Connection, account: AccountId, token: &ApiToken, now: DateTime<Utc>) -> Result<(), StoreError> {
    let before = now - USE_GRANULARITY;
    if token.last_used_at.is_some_and(|at| at > before) {
        return Ok(());
    }
    diesel::update(unrevoked(account, token.id))
        .filter(api_tokens::last_used_at.is_null().or(api_tokens::last_used_at.le(before)))
        .set(api_tokens::last_used_at.eq(now))
        .execute(conn)
        .await?;
    Ok(())
}

#[diesel::dsl::auto_type]
fn unrevoked(account: AccountId, id: TokenId) -> _ {
    let account: Uuid = account.0;
    let id: Uuid = id.0;
    api_tokens::table.filter(api_tokens::account_id.eq(account)).filter(api_tokens::id.eq(id)).filter(api_tokens::revoked_at.is_null())
}
