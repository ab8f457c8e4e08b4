//! Before the tenant is known: whose is this e-mail address, refresh token, or link of a mail? For [`crate::Store::autocommit`].
//! (Whose an API token is, [`crate::api_tokens::read_usable`] finds out in the question that reads it.)
//!
//! These call functions of the database that see every tenant and answer with identifiers alone (`docs/adr/0003-row-level-security.md`).

use diesel::sql_types;
use zonecert_domain::email::Email;
use zonecert_domain::id::{AccountId, InvitationId, UserId};

use crate::email_tokens::EmailTokenId;
use crate::refresh_tokens::RefreshTokenId;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// Who signs in with this address, in whatever case it is written.
pub async fn find_user(conn: &mut Connection, email: &Email) -> Result<Option<(AccountId, UserId)>, StoreError> {
    let query = sql_query("SELECT account_id, id FROM lookup_user($1)").bind::<sql_types::Text, _>(email.folded());
    Ok(query.load_ids(conn, UserId).await?.pop())
}

/// The refresh token with this SHA-256, used or not.
pub async fn find_refresh_token(conn: &mut Connection, sha256: &[u8; 32]) -> Result<Option<(AccountId, RefreshTokenId)>, StoreError> {
    let query = sql_query("SELECT account_id, id FROM lookup_refresh_token($1)").bind::<sql_types::Bytea, _>(&sha256[..]);
    Ok(query.load_ids(conn, RefreshTokenId).await?.pop())
}

/// The token of a mail with this SHA-256, usable or not.
pub async fn find_email_token(conn: &mut Connection, sha256: &[u8; 32]) -> Result<Option<(AccountId, EmailTokenId)>, StoreError> {
    let query = sql_query("SELECT account_id, id FROM lookup_email_token($1)").bind::<sql_types::Bytea, _>(&sha256[..]);
    Ok(query.load_ids(conn, EmailTokenId).await?.pop())
}

/// The invitation whose token has this SHA-256, open or not.
pub async fn find_invitation(conn: &mut Connection, sha256: &[u8; 32]) -> Result<Option<(AccountId, InvitationId)>, StoreError> {
    let query = sql_query("SELECT account_id, id FROM lookup_invitation($1)").bind::<sql_types::Bytea, _>(&sha256[..]);
    Ok(query.load_ids(conn, InvitationId).await?.pop())
}
