//! Accounts and people as the API shows them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use zonecert_domain::id::{AccountId, UserId};
use zonecert_domain::plan::Plan;
use zonecert_store::accounts::Account;
use zonecert_store::users::{Role, User};

#[derive(Serialize)]
pub(crate) struct AccountAnswer<'a> {
    id: AccountId,
    name: &'a str,
    plan: Plan,
    status: &'static str,
    created_at: DateTime<Utc>,
}

impl<'a> From<&'a Account> for AccountAnswer<'a> {
    fn from(account: &'a Account) -> Self {
        Self { id: account.id, name: &account.name, plan: account.plan, status: account.status.as_str(), created_at: account.created_at }
    }
}

#[derive(Serialize)]
pub(crate) struct UserAnswer<'a> {
    id: UserId,
    email: &'a str,
    role: Role,
    email_verified_at: Option<DateTime<Utc>>,
    last_login_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl<'a> From<&'a User> for UserAnswer<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: user.id,
            email: &user.email,
            role: user.role,
            email_verified_at: user.email_verified_at,
            last_login_at: user.last_login_at,
            created_at: user.created_at,
        }
    }
}
