//! People who sign in.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::OptionalExtension;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::email::Email;
use zonecert_domain::id::{AccountId, UserId};

use crate::schema::users;
use crate::{Connection, StoreError};

/// The constraint that gives an address to one person in the whole service, whatever row-level security hides.
pub const EMAIL_KEY: &str = "users_email_key";

/// What somebody may do in their account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Owner,
    /// Everything but people, tokens and settings.
    Member,
    /// Look, but not at keys.
    Viewer,
}

impl Role {
    /// Every role, from the mightiest to the least.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Member, Self::Viewer];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A person who signs in.
#[derive(Clone, Debug)]
pub struct User {
    /// Their identifier.
    pub id: UserId,
    /// The address in lower case, by which they sign in.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// When they proved to receive mail there.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// When they last signed in with their password.
    pub last_login_at: Option<DateTime<Utc>>,
    /// When they were added.
    pub created_at: DateTime<Utc>,
}

/// A password as it is stored: a PHC string. Implements neither `Debug` nor `Display`.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a PHC string.
    pub fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

type Row = (Uuid, String, String, Option<DateTime<Utc>>, Option<DateTime<Utc>>, DateTime<Utc>);

const COLUMNS: (users::id, users::email, users::role, users::email_verified_at, users::last_login_at, users::created_at) =
    (users::id, users::email, users::role, users::email_verified_at, users::last_login_at, users::created_at);

fn from_row((id, email, role, email_verified_at, last_login_at, created_at): Row) -> Result<User, StoreError> {
    let role = Role::parse(&role).ok_or_else(|| StoreError::corrupt("users.role", role))?;
    Ok(User { id: UserId(id), email, role, email_verified_at, last_login_at, created_at })
}

/// Adds a person to the tenant. Breaks [`EMAIL_KEY`] when the address is somebody's already.
pub async fn insert_user(
    conn: &mut Connection,
    account: AccountId,
    email: &Email,
    password: &PasswordHash,
    role: Role,
) -> Result<User, StoreError> {
    let values = (
        users::id.eq(UserId::new().0),
        users::account_id.eq(account.0),
        users::email.eq(email.folded()),
        users::password_hash.eq(password.as_str()),
        users::role.eq(role.as_str()),
    );
    from_row(diesel::insert_into(users::table).values(values).returning(COLUMNS).get_result::<Row>(conn).await?)
}

/// A person of the tenant.
pub async fn find_user(conn: &mut Connection, account: AccountId, id: UserId) -> Result<Option<User>, StoreError> {
    let row = present(account, id).select(COLUMNS).first::<Row>(conn).await.optional()?;
    row.map(from_row).transpose()
}

/// The stored password of a person of the tenant.
pub async fn find_password(conn: &mut Connection, account: AccountId, id: UserId) -> Result<Option<PasswordHash>, StoreError> {
    let hash = present(account, id).select(users::password_hash).first::<String>(conn).await.optional()?;
    Ok(hash.map(PasswordHash))
}

/// Notes that they signed in with their password, and returns them.
pub async fn mark_signed_in(conn: &mut Connection, account: AccountId, id: UserId, now: DateTime<Utc>) -> Result<User, StoreError> {
    let row = diesel::update(present(account, id)).set(users::last_login_at.eq(now)).returning(COLUMNS).get_result::<Row>(conn).await?;
    from_row(row)
}

#[diesel::dsl::auto_type]
fn present(account: AccountId, id: UserId) -> _ {
    let account: Uuid = account.0;
    let id: Uuid = id.0;
    users::table.filter(users::account_id.eq(account)).filter(users::id.eq(id)).filter(users::deleted_at.is_null())
}
