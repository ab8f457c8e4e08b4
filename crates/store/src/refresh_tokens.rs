//! Refresh tokens: each is used once and succeeded by another of its family (RFC 9700 §4.14.2). Only their SHA-256 is known here.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, UserId};

use crate::schema::refresh_tokens;
use crate::statement::PreparedDsl as _;
use crate::{Connection, StoreError};

/// Two tabs of one browser hold one cookie and may use it at the same moment, and a browser sends again what got no answer: within this time
/// of its first use a cookie is good once more. A token that a program keeps is not.
const COOKIE_LEEWAY: TimeDelta = TimeDelta::seconds(10);

/// A refresh token's row. Never leaves the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshTokenId(pub Uuid);

/// All refresh tokens that descend from one sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyId(Uuid);

impl FamilyId {
    /// A new family, for a sign-in.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for FamilyId {
    fn default() -> Self {
        Self::new()
    }
}

/// How a refresh token travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In bodies, for programs to keep.
    Body,
    /// As a cookie, for browsers (requirements X20).
    Cookie,
}

/// A refresh token to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewRefreshToken<'a> {
    /// Whose.
    pub user: UserId,
    /// The sign-in that it descends from.
    pub family: FamilyId,
    /// SHA-256 of all of it.
    pub sha256: &'a [u8; 32],
    /// How it travels.
    pub transport: Transport,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// What using a refresh token leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It was good. Its successor belongs to this person and family, and travels the same way.
    Accepted(UserId, FamilyId, Transport),
    /// It was used before: somebody has a copy. Nobody's token of that family is good any more.
    Reused(UserId),
    /// It has expired or was revoked.
    Refused,
}

#[derive(Queryable)]
struct Row {
    user: Uuid,
    family: Uuid,
    expires_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    cookie: bool,
}

/// Adds a token to a family.
pub async fn insert_refresh_token(conn: &mut Connection, account: AccountId, new: &NewRefreshToken<'_>) -> Result<(), StoreError> {
    let values = (
        refresh_tokens::id.eq(Uuid::now_v7()),
        refresh_tokens::account_id.eq(account.0),
        refresh_tokens::user_id.eq(new.user.0),
        refresh_tokens::family_id.eq(new.family.0),
        refresh_tokens::token_sha256.eq(&new.sha256[..]),
        refresh_tokens::cookie.eq(new.transport == Transport::Cookie),
        refresh_tokens::expires_at.eq(new.expires_at),
    );
    diesel::insert_into(refresh_tokens::table).values(values).execute(conn).await?;
    Ok(())
}

/// Uses a token up. Of two that use the same one at the same moment, one is accepted and the other is [`Use::Reused`]; the transaction
/// must be committed in either case, so that the family stays revoked.
pub async fn use_refresh_token(
    conn: &mut Connection,
    account: AccountId,
    id: RefreshTokenId,
    now: DateTime<Utc>,
) -> Result<Use, StoreError> {
    let row = refresh_tokens::table
        .filter(refresh_tokens::account_id.eq(account.0).and(refresh_tokens::id.eq(id.0)))
        .select((
            refresh_tokens::user_id,
            refresh_tokens::family_id,
            refresh_tokens::expires_at,
            refresh_tokens::used_at,
            refresh_tokens::revoked_at,
            refresh_tokens::cookie,
        ))
        .for_update()
        .first::<Row>(conn)
        .await?;
    if row.revoked_at.is_some() || row.expires_at <= now {
        return Ok(Use::Refused);
    }
    if let Some(used_at) = row.used_at
        && !(row.cookie && now < used_at + COOKIE_LEEWAY)
    {
        revoke(conn, account, FamilyId(row.family), now).await?;
        return Ok(Use::Reused(UserId(row.user)));
    }
    diesel::update(refresh_tokens::table.filter(refresh_tokens::account_id.eq(account.0).and(refresh_tokens::id.eq(id.0))))
        .set(refresh_tokens::used_at.eq(row.used_at.unwrap_or(now)))
        .prepared()
        .execute(conn)
        .await?;
    let transport = if row.cookie { Transport::Cookie } else { Transport::Body };
    Ok(Use::Accepted(UserId(row.user), FamilyId(row.family), transport))
}

/// Ends the sign-in that the token descends from. Returns whose it was, or `None` if it had ended already.
pub async fn revoke_family_of(
    conn: &mut Connection,
    account: AccountId,
    id: RefreshTokenId,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, StoreError> {
    let (user, family) = refresh_tokens::table
        .filter(refresh_tokens::account_id.eq(account.0).and(refresh_tokens::id.eq(id.0)))
        .select((refresh_tokens::user_id, refresh_tokens::family_id))
        .first::<(Uuid, Uuid)>(conn)
        .await?;
    let revoked = revoke(conn, account, FamilyId(family), now).await?;
    Ok((revoked > 0).then_some(UserId(user)))
}

/// Ends every sign-in of a person.
pub async fn revoke_all_of(conn: &mut Connection, account: AccountId, user: UserId, now: DateTime<Utc>) -> Result<(), StoreError> {
    let theirs = refresh_tokens::table
        .filter(refresh_tokens::account_id.eq(account.0).and(refresh_tokens::user_id.eq(user.0)))
        .filter(refresh_tokens::revoked_at.is_null());
    diesel::update(theirs).set(refresh_tokens::revoked_at.eq(now)).prepared().execute(conn).await?;
    Ok(())
}

async fn revoke(conn: &mut Connection, account: AccountId, family: FamilyId, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let family = refresh_tokens::table
        .filter(refresh_tokens::account_id.eq(account.0).and(refresh_tokens::family_id.eq(family.0)))
        .filter(refresh_tokens::revoked_at.is_null());
    Ok(diesel::update(family).set(refresh_tokens::revoked_at.eq(now)).prepared().execute(conn).await?)
}
