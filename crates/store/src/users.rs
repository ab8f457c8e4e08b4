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
use crate::statement::PreparedDsl as _;
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

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
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
    /// What they call themselves, if they have said so.
    pub name: Option<String>,
    /// What they may do.
    pub role: Role,
    /// When they proved to receive mail there.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// When they last signed in with their password.
    pub last_login_at: Option<DateTime<Utc>>,
    /// What was signed in before is void: they have logged out everywhere, or have a new password. By the database's clock.
    pub signed_out_at: Option<DateTime<Utc>>,
    /// When they were added.
    pub created_at: DateTime<Utc>,
}

/// A person to be added.
pub struct NewUser<'a> {
    /// By which they sign in.
    pub email: &'a Email,
    /// With which they sign in.
    pub password: &'a PasswordHash,
    /// What they may do.
    pub role: Role,
    /// What they call themselves.
    pub name: Option<&'a str>,
    /// When they have proven to receive mail there, if they have.
    pub email_verified_at: Option<DateTime<Utc>>,
}

/// A password as it is stored: a PHC string. Implements neither `Debug` nor `Display`. Two are equal only if they are of one act of setting it.
#[derive(Clone, PartialEq, Eq)]
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

#[derive(Queryable)]
struct Row {
    id: Uuid,
    email: String,
    name: Option<String>,
    role: String,
    email_verified_at: Option<DateTime<Utc>>,
    last_login_at: Option<DateTime<Utc>>,
    signed_out_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

const COLUMNS: (
    users::id,
    users::email,
    users::name,
    users::role,
    users::email_verified_at,
    users::last_login_at,
    users::signed_out_at,
    users::created_at,
) = (
    users::id,
    users::email,
    users::name,
    users::role,
    users::email_verified_at,
    users::last_login_at,
    users::signed_out_at,
    users::created_at,
);

fn from_row(row: Row) -> Result<User, StoreError> {
    let Row { id, email, name, role, email_verified_at, last_login_at, signed_out_at, created_at } = row;
    let role = Role::parse(&role).ok_or_else(|| StoreError::corrupt("users.role", role))?;
    Ok(User { id: UserId(id), email, name, role, email_verified_at, last_login_at, signed_out_at, created_at })
}

/// Adds a person to the tenant. Breaks [`EMAIL_KEY`] when the address is somebody's already.
pub async fn insert_user(conn: &mut Connection, account: AccountId, new: &NewUser<'_>) -> Result<User, StoreError> {
    let values = (
        users::id.eq(UserId::new().0),
        users::account_id.eq(account.0),
        users::email.eq(new.email.folded()),
        users::name.eq(new.name),
        users::password_hash.eq(new.password.as_str()),
        users::role.eq(new.role.as_str()),
        users::email_verified_at.eq(new.email_verified_at),
    );
    from_row(diesel::insert_into(users::table).values(values).returning(COLUMNS).get_result::<Row>(conn).await?)
}

/// Everybody in the tenant, in the order in which they came.
pub async fn list_users(conn: &mut Connection, account: AccountId) -> Result<Vec<User>, StoreError> {
    let rows = everybody(account).order((users::created_at, users::id)).select(COLUMNS).load::<Row>(conn).await?;
    rows.into_iter().map(from_row).collect()
}

/// How many people the tenant has.
pub async fn count_users(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    Ok(everybody(account).count().get_result(conn).await?)
}

/// Whether the tenant has an owner beside this person. To be asked in a transaction that holds the account's lock.
pub async fn has_another_owner(conn: &mut Connection, account: AccountId, beside: UserId) -> Result<bool, StoreError> {
    let others = everybody(account).filter(users::role.eq(Role::Owner.as_str()).and(users::id.ne(beside.0)));
    Ok(diesel::select(diesel::dsl::exists(others)).get_result(conn).await?)
}

/// Whether somebody of the tenant signs in with this address.
pub async fn has_address(conn: &mut Connection, account: AccountId, email: &Email) -> Result<bool, StoreError> {
    let found = everybody(account).filter(users::email.eq(email.folded().to_owned()));
    Ok(diesel::select(diesel::dsl::exists(found)).get_result(conn).await?)
}

/// A person of the tenant.
pub async fn find_user(conn: &mut Connection, account: AccountId, id: UserId) -> Result<Option<User>, StoreError> {
    let row = present(account, id).select(COLUMNS).first::<Row>(conn).await.optional()?;
    row.map(from_row).transpose()
}

/// The same, where they must be there.
pub async fn get_user(conn: &mut Connection, account: AccountId, id: UserId) -> Result<User, StoreError> {
    find_user(conn, account, id).await?.ok_or(StoreError::NotFound)
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

/// Gives them another role, from their next request on.
pub async fn set_role(conn: &mut Connection, account: AccountId, id: UserId, role: Role) -> Result<User, StoreError> {
    let changed = diesel::update(present(account, id)).set(users::role.eq(role.as_str())).returning(COLUMNS);
    from_row(changed.get_result::<Row>(conn).await?)
}

/// Notes what they call themselves.
pub async fn set_name(conn: &mut Connection, account: AccountId, id: UserId, name: Option<&str>) -> Result<User, StoreError> {
    let changed = diesel::update(present(account, id)).set(users::name.eq(name)).returning(COLUMNS);
    from_row(changed.get_result::<Row>(conn).await?)
}

/// Gives them another password.
pub async fn set_password(conn: &mut Connection, account: AccountId, id: UserId, password: &PasswordHash) -> Result<(), StoreError> {
    change_one(diesel::update(present(account, id)).set(users::password_hash.eq(password.as_str())).prepared().execute(conn).await?)
}

/// Notes that they receive mail at their address, unless that is known.
pub async fn mark_email_verified(conn: &mut Connection, account: AccountId, id: UserId, now: DateTime<Utc>) -> Result<(), StoreError> {
    diesel::update(present(account, id).filter(users::email_verified_at.is_null()))
        .set(users::email_verified_at.eq(now))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// Voids every access token that was signed before `now`, which is the database's clock under the account's lock
/// ([`crate::issuances::database_now`]): sign-ins take their moment there too, so that each is clearly before or after.
pub async fn mark_signed_out(conn: &mut Connection, account: AccountId, id: UserId, now: DateTime<Utc>) -> Result<User, StoreError> {
    let changed = diesel::update(present(account, id)).set(users::signed_out_at.eq(now)).returning(COLUMNS);
    from_row(changed.get_result::<Row>(conn).await?)
}

/// Takes them out of the tenant; their address is free again.
pub async fn delete_user(conn: &mut Connection, account: AccountId, id: UserId, now: DateTime<Utc>) -> Result<(), StoreError> {
    change_one(diesel::update(present(account, id)).set(users::deleted_at.eq(now)).prepared().execute(conn).await?)
}

fn change_one(changed: usize) -> Result<(), StoreError> {
    if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

#[diesel::dsl::auto_type]
fn everybody(account: AccountId) -> _ {
    let account: Uuid = account.0;
    users::table.filter(users::account_id.eq(account)).filter(users::deleted_at.is_null())
}

#[diesel::dsl::auto_type]
fn present(account: AccountId, id: UserId) -> _ {
    let account: Uuid = account.0;
    let id: Uuid = id.0;
    users::table.filter(users::account_id.eq(account)).filter(users::id.eq(id)).filter(users::deleted_at.is_null())
}
