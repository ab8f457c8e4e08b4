//! API tokens of programs. Only their SHA-256 and their first characters are known here.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, TokenId, UserId};
use zonecert_domain::network::Network;
use zonecert_domain::scope::ScopeSet;

use crate::accounts::{self as accounts_of, Account};
use crate::schema::{accounts, api_tokens};
use crate::statement::PreparedDsl as _;
use crate::tenant_query::TenantQuery;
use crate::{Connection, Store, StoreError};

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
    /// From where it may be used; from everywhere if there are none.
    pub cidrs: Vec<Network>,
}

impl ApiToken {
    /// Whether it may be used from this address.
    pub fn is_usable_from(&self, address: IpAddr) -> bool {
        self.cidrs.is_empty() || self.cidrs.iter().any(|network| network.contains(address))
    }

    /// Whether a use at this moment is to be noted: [`mark_used`].
    pub fn is_use_due(&self, now: DateTime<Utc>) -> bool {
        self.last_used_at.is_none_or(|at| at <= now - USE_GRANULARITY)
    }
}

/// A token with which a program may call.
#[derive(Clone, Debug)]
pub struct Usable {
    /// Whose it is.
    pub account: Account,
    /// The token.
    pub token: ApiToken,
    /// The person who made it.
    pub made_by: UserId,
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
    /// From where it may be used; from everywhere if there are none.
    pub cidrs: &'a [Network],
    /// For whom it answers.
    pub created_by: UserId,
}

type Row = (Uuid, String, String, Vec<String>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, DateTime<Utc>, Vec<String>);

const COLUMNS: (
    api_tokens::id,
    api_tokens::name,
    api_tokens::prefix,
    api_tokens::scopes,
    api_tokens::expires_at,
    api_tokens::last_used_at,
    api_tokens::created_at,
    api_tokens::cidrs,
) = (
    api_tokens::id,
    api_tokens::name,
    api_tokens::prefix,
    api_tokens::scopes,
    api_tokens::expires_at,
    api_tokens::last_used_at,
    api_tokens::created_at,
    api_tokens::cidrs,
);

fn from_row((id, name, prefix, scopes, expires_at, last_used_at, created_at, cidrs): Row) -> Result<ApiToken, StoreError> {
    let network = |text: String| text.parse().map_err(|_| StoreError::corrupt("api_tokens.cidrs", text));
    let cidrs = cidrs.into_iter().map(network).collect::<Result<_, _>>()?;
    let scopes = ScopeSet::parse(&scopes).map_err(|_| StoreError::corrupt("api_tokens.scopes", scopes.join(" ")))?;
    Ok(ApiToken { id: TokenId(id), name, prefix, scopes, expires_at, last_used_at, created_at, cidrs })
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
        api_tokens::cidrs.eq(new.cidrs.iter().map(ToString::to_string).collect::<Vec<_>>()),
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
    let changed = diesel::update(unrevoked(account, id)).set(api_tokens::revoked_at.eq(now)).prepared().execute(conn).await?;
    if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Ends those tokens that this person has made and that may do more than `allowed`; returns which.
pub async fn revoke_tokens_beyond(
    conn: &mut Connection,
    account: AccountId,
    made_by: UserId,
    allowed: &ScopeSet,
    now: DateTime<Utc>,
) -> Result<Vec<TokenId>, StoreError> {
    let within: Vec<String> = allowed.names().into_iter().map(str::to_owned).collect();
    let theirs = api_tokens::table
        .filter(api_tokens::account_id.eq(account.0).and(api_tokens::created_by.eq(made_by.0)).and(api_tokens::revoked_at.is_null()))
        .filter(diesel::dsl::not(api_tokens::scopes.is_contained_by(within)));
    let revoked = diesel::update(theirs).set(api_tokens::revoked_at.eq(now)).returning(api_tokens::id);
    Ok(revoked.get_results::<Uuid>(conn).await?.into_iter().map(TokenId).collect())
}

/// The token with this SHA-256 with which a program may call now, found and read in one round trip.
pub async fn read_usable(store: &Store, sha256: &[u8; 32], now: DateTime<Utc>) -> Result<Option<Usable>, StoreError> {
    let question = api_tokens::table
        .inner_join(accounts::table.on(accounts::id.eq(api_tokens::account_id)))
        .filter(api_tokens::token_sha256.eq(sha256.to_vec()).and(api_tokens::revoked_at.is_null()))
        .filter(api_tokens::expires_at.is_null().or(api_tokens::expires_at.gt(now)))
        .filter(accounts::deleted_at.is_null())
        .select((COLUMNS, api_tokens::created_by, accounts_of::COLUMNS));
    let rows = store.ask::<(Row, Uuid, accounts_of::Row), _>(TenantQuery::of_api_token(*sha256, question)).await?;
    let read = |(token, made_by, account)| {
        Ok(Usable { account: accounts_of::from_row(account)?, token: from_row(token)?, made_by: UserId(made_by) })
    };
    rows.into_iter().next().map(read).transpose()
}

/// Notes that a token was used, at most once a minute ([`ApiToken::is_use_due`]). To be called last in a transaction that writes nothing else: the row it locks is
/// then the only one.
pub async fn mark_used(conn: &mut Connection, account: AccountId, token: TokenId, now: DateTime<Utc>) -> Result<(), StoreError> {
    let before = now - USE_GRANULARITY;
    diesel::update(unrevoked(account, token))
        .filter(api_tokens::last_used_at.is_null().or(api_tokens::last_used_at.le(before)))
        .set(api_tokens::last_used_at.eq(now))
        .prepared()
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
