//! Links in mails: what proves that somebody reads the mail of an address, once and not for long. Only their SHA-256 is known here.

use chrono::{DateTime, Utc};
use diesel::OptionalExtension;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, UserId};

use crate::schema::{email_tokens, users};
use crate::statement::PreparedDsl as _;
use crate::{Connection, StoreError};

/// A token's row. Never leaves the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmailTokenId(pub Uuid);

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Says that the address is theirs.
    VerifyEmail,
    /// Sets a new password without the old one.
    ResetPassword,
}

impl Purpose {
    /// The name in the database.
    const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
        }
    }
}

/// A token to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewEmailToken<'a> {
    /// Whose.
    pub user: UserId,
    /// What it is for.
    pub purpose: Purpose,
    /// Where it is sent to, in lower case: once they have another address, it proves nothing.
    pub email: &'a str,
    /// SHA-256 of all of it.
    pub sha256: &'a [u8; 32],
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Stores a token.
pub async fn insert_email_token(conn: &mut Connection, account: AccountId, new: &NewEmailToken<'_>) -> Result<(), StoreError> {
    let values = (
        email_tokens::id.eq(Uuid::now_v7()),
        email_tokens::account_id.eq(account.0),
        email_tokens::user_id.eq(new.user.0),
        email_tokens::purpose.eq(new.purpose.as_str()),
        email_tokens::email.eq(new.email),
        email_tokens::token_sha256.eq(&new.sha256[..]),
        email_tokens::expires_at.eq(new.expires_at),
    );
    diesel::insert_into(email_tokens::table).values(values).execute(conn).await?;
    Ok(())
}

/// Whose token this is, if it can be used: it is for this, has neither been used nor expired, and was sent to the address that they have.
pub async fn find_owner(
    conn: &mut Connection,
    account: AccountId,
    id: EmailTokenId,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, StoreError> {
    let owner = email_tokens::table
        .inner_join(users::table.on(users::account_id.eq(email_tokens::account_id).and(users::id.eq(email_tokens::user_id))))
        .filter(email_tokens::account_id.eq(account.0).and(email_tokens::id.eq(id.0)))
        .filter(email_tokens::purpose.eq(purpose.as_str()))
        .filter(email_tokens::used_at.is_null().and(email_tokens::expires_at.gt(now)))
        .filter(users::email.eq(email_tokens::email).and(users::deleted_at.is_null()))
        .select(users::id)
        .first::<Uuid>(conn)
        .await
        .optional()?;
    Ok(owner.map(UserId))
}

/// Uses up every token of a person for this purpose, so that what one of them has brought about is not done again by another.
pub async fn use_up(
    conn: &mut Connection,
    account: AccountId,
    user: UserId,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let theirs = email_tokens::table
        .filter(email_tokens::account_id.eq(account.0).and(email_tokens::user_id.eq(user.0)))
        .filter(email_tokens::purpose.eq(purpose.as_str()).and(email_tokens::used_at.is_null()));
    diesel::update(theirs).set(email_tokens::used_at.eq(now)).prepared().execute(conn).await?;
    Ok(())
}

/// When the tokens of a person for this purpose were made that are younger than `since`, oldest first.
pub async fn list_made_since(
    conn: &mut Connection,
    account: AccountId,
    user: UserId,
    purpose: Purpose,
    since: DateTime<Utc>,
) -> Result<Vec<DateTime<Utc>>, StoreError> {
    let made = email_tokens::table
        .filter(email_tokens::account_id.eq(account.0).and(email_tokens::user_id.eq(user.0)))
        .filter(email_tokens::purpose.eq(purpose.as_str()).and(email_tokens::created_at.gt(since)))
        .order(email_tokens::created_at)
        .select(email_tokens::created_at)
        .load(conn)
        .await?;
    Ok(made)
}
