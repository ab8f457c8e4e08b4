//! Refresh tokens: each is used once and succeeded by another of its family (RFC 9700 §4.14.2). Only their SHA-256 is known here.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, UserId};

use crate::schema::refresh_tokens;
use crate::{Connection, StoreError};

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

/// What using a refresh token leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It was good. Its successor belongs to this person and family.
    Accepted(UserId, FamilyId),
    /// It was used before: somebody has a copy. Nobody's token of that family is good any more.
    Reused(UserId),
    /// It has expired or was revoked.
    Refused,
}

/// Adds a token to a family.
pub async fn insert_refresh_token(
    conn: &mut Connection,
    account: AccountId,
    user: UserId,
    family: FamilyId,
    sha256: &[u8; 32],
    expires_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let values = (
        refresh_tokens::id.eq(Uuid::now_v7()),
        refresh_tokens::account_id.eq(account.0),
        refresh_tokens::user_id.eq(user.0),
        refresh_tokens::family_id.eq(family.0),
        refresh_tokens::token_sha256.eq(&sha256[..]),
        refresh_tokens::expires_at.eq(expires_at),
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
    let (user, family, expires_at, used_at, revoked_at) = refresh_tokens::table
        .filter(refresh_tokens::account_id.eq(account.0).and(refresh_tokens::id.eq(id.0)))
        .select((
            refresh_tokens::user_id,
            refresh_tokens::family_id,
            refresh_tokens::expires_at,
            refresh_tokens::used_at,
            refresh_tokens::revoked_at,
        ))
        .for_update()
        .first::<(Uuid, Uuid, DateTime<Utc>, Option<DateTime<Utc>>, Option<DateTime<Utc>>)>(conn)
        .await?;
    if revoked_at.is_some() {
        return Ok(Use::Refused);
    }
    if used_at.is_some() {
        revoke(conn, account, FamilyId(family), now).await?;
        return Ok(Use::Reused(UserId(user)));
    }
    if expires_at <= now {
        return Ok(Use::Refused);
    }
    diesel::update(refresh_tokens::table.filter(refresh_tokens::account_id.eq(account.0).and(refresh_tokens::id.eq(id.0))))
        .set(refresh_tokens::used_at.eq(now))
        .execute(conn)
        .await?;
    Ok(Use::Accepted(UserId(user), FamilyId(family)))
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

async fn revoke(conn: &mut Connection, account: AccountId, family: FamilyId, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let family = refresh_tokens::table
        .filter(refresh_tokens::account_id.eq(account.0).and(refresh_tokens::family_id.eq(family.0)))
        .filter(refresh_tokens::revoked_at.is_null());
    Ok(diesel::update(family).set(refresh_tokens::revoked_at.eq(now)).execute(conn).await?)
}
