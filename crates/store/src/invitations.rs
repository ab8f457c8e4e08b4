//! Invitations into an account. Only the SHA-256 of the link's token is known here.

use chrono::{DateTime, Utc};
use diesel::OptionalExtension;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::email::Email;
use zonecert_domain::id::{AccountId, InvitationId, UserId};

use crate::schema::invitations;
use crate::statement::PreparedDsl as _;
use crate::users::Role;
use crate::{Connection, StoreError};

/// The constraint that allows one open invitation per address and account.
pub const OPEN_KEY: &str = "invitations_account_id_email_key";

/// An invitation that was neither accepted nor taken back. It may have expired.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Its identifier.
    pub id: InvitationId,
    /// Who is invited, in lower case.
    pub email: String,
    /// What they will be allowed to do.
    pub role: Role,
    /// Who invites.
    pub invited_by: UserId,
    /// When its link ends.
    pub expires_at: DateTime<Utc>,
    /// When its link was made: sending again makes another.
    pub sent_at: DateTime<Utc>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// The link of an invitation.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// SHA-256 of its token.
    pub sha256: &'a [u8; 32],
    /// When it is sent.
    pub sent_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

#[derive(Queryable)]
struct Row {
    id: Uuid,
    email: String,
    role: String,
    invited_by: Uuid,
    expires_at: DateTime<Utc>,
    sent_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

const COLUMNS: (
    invitations::id,
    invitations::email,
    invitations::role,
    invitations::invited_by,
    invitations::expires_at,
    invitations::sent_at,
    invitations::created_at,
) = (
    invitations::id,
    invitations::email,
    invitations::role,
    invitations::invited_by,
    invitations::expires_at,
    invitations::sent_at,
    invitations::created_at,
);

fn from_row(row: Row) -> Result<Invitation, StoreError> {
    let Row { id, email, role, invited_by, expires_at, sent_at, created_at } = row;
    let role = Role::parse(&role).ok_or_else(|| StoreError::corrupt("invitations.role", role))?;
    Ok(Invitation { id: InvitationId(id), email, role, invited_by: UserId(invited_by), expires_at, sent_at, created_at })
}

/// Adds an invitation. Breaks [`OPEN_KEY`] when one is open for the address.
pub async fn insert_invitation(
    conn: &mut Connection,
    account: AccountId,
    email: &Email,
    role: Role,
    invited_by: UserId,
    link: Link<'_>,
) -> Result<Invitation, StoreError> {
    let values = (
        invitations::id.eq(InvitationId::new().0),
        invitations::account_id.eq(account.0),
        invitations::email.eq(email.folded()),
        invitations::role.eq(role.as_str()),
        invitations::token_sha256.eq(&link.sha256[..]),
        invitations::invited_by.eq(invited_by.0),
        invitations::expires_at.eq(link.expires_at),
        invitations::sent_at.eq(link.sent_at),
        invitations::created_at.eq(link.sent_at),
    );
    from_row(diesel::insert_into(invitations::table).values(values).returning(COLUMNS).get_result::<Row>(conn).await?)
}

/// The open invitations of the tenant, expired ones too, oldest first.
pub async fn list_open_invitations(conn: &mut Connection, account: AccountId) -> Result<Vec<Invitation>, StoreError> {
    let rows = open(account).order((invitations::created_at, invitations::id)).select(COLUMNS).load::<Row>(conn).await?;
    rows.into_iter().map(from_row).collect()
}

/// How many open invitations the tenant has, expired ones too.
pub async fn count_open_invitations(conn: &mut Connection, account: AccountId) -> Result<i64, StoreError> {
    Ok(open(account).count().get_result(conn).await?)
}

/// When the tenant's invitations were made that are younger than `since`, whatever has become of them, oldest first.
pub async fn list_made_since(conn: &mut Connection, account: AccountId, since: DateTime<Utc>) -> Result<Vec<DateTime<Utc>>, StoreError> {
    let made = invitations::table
        .filter(invitations::account_id.eq(account.0).and(invitations::created_at.gt(since)))
        .order(invitations::created_at)
        .select(invitations::created_at)
        .load(conn)
        .await?;
    Ok(made)
}

/// An open invitation of the tenant, which may have expired.
pub async fn get_open_invitation(conn: &mut Connection, account: AccountId, id: InvitationId) -> Result<Invitation, StoreError> {
    from_row(open(account).filter(invitations::id.eq(id.0)).select(COLUMNS).first::<Row>(conn).await?)
}

/// The same, if its token has this SHA-256 still, and it has not expired.
pub async fn find_acceptable(
    conn: &mut Connection,
    account: AccountId,
    id: InvitationId,
    sha256: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Option<Invitation>, StoreError> {
    let row = open(account)
        .filter(invitations::id.eq(id.0).and(invitations::token_sha256.eq(&sha256[..])).and(invitations::expires_at.gt(now)))
        .select(COLUMNS)
        .first::<Row>(conn)
        .await
        .optional()?;
    row.map(from_row).transpose()
}

/// Puts another link in the place of the one it had, which is void from now on.
pub async fn replace_link(conn: &mut Connection, account: AccountId, id: InvitationId, link: Link<'_>) -> Result<Invitation, StoreError> {
    let values = (
        invitations::token_sha256.eq(&link.sha256[..]),
        invitations::sent_at.eq(link.sent_at),
        invitations::expires_at.eq(link.expires_at),
    );
    let changed = diesel::update(open(account).filter(invitations::id.eq(id.0))).set(values).returning(COLUMNS);
    from_row(changed.get_result::<Row>(conn).await?)
}

/// Notes that it was accepted. Errors with [`StoreError::NotFound`] when it is not open.
pub async fn mark_accepted(conn: &mut Connection, account: AccountId, id: InvitationId, now: DateTime<Utc>) -> Result<(), StoreError> {
    let accepted = diesel::update(open(account).filter(invitations::id.eq(id.0))).set(invitations::accepted_at.eq(now));
    if accepted.execute(conn).await? == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Takes it back. Errors with [`StoreError::NotFound`] when it is not open.
pub async fn revoke_invitation(conn: &mut Connection, account: AccountId, id: InvitationId, now: DateTime<Utc>) -> Result<(), StoreError> {
    let revoked = diesel::update(open(account).filter(invitations::id.eq(id.0))).set(invitations::revoked_at.eq(now));
    if revoked.execute(conn).await? == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Takes back those that this person has made; returns which.
pub async fn revoke_invitations_of(
    conn: &mut Connection,
    account: AccountId,
    invited_by: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<InvitationId>, StoreError> {
    let theirs = open(account).filter(invitations::invited_by.eq(invited_by.0));
    let revoked = diesel::update(theirs).set(invitations::revoked_at.eq(now)).returning(invitations::id);
    Ok(revoked.get_results::<Uuid>(conn).await?.into_iter().map(InvitationId).collect())
}

/// Takes back the one for this address that has expired, so that there is room for another.
pub async fn revoke_expired(conn: &mut Connection, account: AccountId, email: &Email, now: DateTime<Utc>) -> Result<(), StoreError> {
    let expired = open(account).filter(invitations::email.eq(email.folded().to_owned()).and(invitations::expires_at.le(now)));
    diesel::update(expired).set(invitations::revoked_at.eq(now)).prepared().execute(conn).await?;
    Ok(())
}

#[diesel::dsl::auto_type]
fn open(account: AccountId) -> _ {
    let account: Uuid = account.0;
    invitations::table
        .filter(invitations::account_id.eq(account))
        .filter(invitations::accepted_at.is_null())
        .filter(invitations::revoked_at.is_null())
}
