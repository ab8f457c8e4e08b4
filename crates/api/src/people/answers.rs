//! Accounts and people as the API shows them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::id::{AccountId, InvitationId, UserId};
use zonecert_domain::plan::Plan;
use zonecert_store::accounts::Account;
use zonecert_store::invitations::Invitation;
use zonecert_store::users::{Role, User};

use crate::openapi::values;

#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
pub(crate) struct AccountAnswer<'a> {
    #[schema(value_type = values::AccountId)]
    id: AccountId,
    #[schema(example = "Ada & Co")]
    name: &'a str,
    #[schema(value_type = values::Plan)]
    plan: Plan,
    #[schema(value_type = values::AccountStatus)]
    status: &'static str,
    created_at: DateTime<Utc>,
}

impl<'a> From<&'a Account> for AccountAnswer<'a> {
    fn from(account: &'a Account) -> Self {
        Self { id: account.id, name: &account.name, plan: account.plan, status: account.status.as_str(), created_at: account.created_at }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserAnswer<'a> {
    #[schema(value_type = values::UserId)]
    id: UserId,
    #[schema(format = "email", example = "ada@your-domain.com")]
    email: &'a str,
    #[schema(required, example = "Ada")]
    name: Option<&'a str>,
    #[schema(value_type = values::Role)]
    role: Role,
    #[schema(example = true)]
    email_verified: bool,
    #[schema(required)]
    email_verified_at: Option<DateTime<Utc>>,
    #[schema(required)]
    last_login_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl<'a> From<&'a User> for UserAnswer<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: user.id,
            email: &user.email,
            name: user.name.as_deref(),
            role: user.role,
            email_verified: user.email_verified_at.is_some(),
            email_verified_at: user.email_verified_at,
            last_login_at: user.last_login_at,
            created_at: user.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Invitation)]
pub(crate) struct InvitationAnswer<'a> {
    #[schema(value_type = values::InvitationId)]
    id: InvitationId,
    #[schema(format = "email", example = "grace@your-domain.com")]
    email: &'a str,
    #[schema(value_type = values::Role)]
    role: Role,
    #[schema(value_type = values::InvitationStatus)]
    status: &'static str,
    /// Who has invited.
    #[schema(value_type = values::UserId)]
    invited_by: UserId,
    sent_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

impl<'a> InvitationAnswer<'a> {
    /// `open`, or `expired` until it is sent again.
    pub(crate) fn new(invitation: &'a Invitation, now: DateTime<Utc>) -> Self {
        Self {
            id: invitation.id,
            email: &invitation.email,
            role: invitation.role,
            status: if invitation.expires_at <= now { "expired" } else { "open" },
            invited_by: invitation.invited_by,
            sent_at: invitation.sent_at,
            expires_at: invitation.expires_at,
            created_at: invitation.created_at,
        }
    }
}
