//! Tenants.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::AccountId;
use zonecert_domain::plan::Plan;

use crate::schema::accounts;
use crate::{Connection, StoreError};

/// Whether an account may use the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountStatus {
    /// As its plan says.
    Active,
    /// Payment is missing.
    SuspendedPayment,
    /// Abuse was found: nothing answers.
    SuspendedAbuse,
}

impl AccountStatus {
    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::SuspendedPayment => "suspended_payment",
            Self::SuspendedAbuse => "suspended_abuse",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::SuspendedPayment, Self::SuspendedAbuse].into_iter().find(|status| status.as_str() == text)
    }
}

/// A tenant.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its identifier.
    pub id: AccountId,
    /// What it calls itself.
    pub name: String,
    /// What it pays for.
    pub plan: Plan,
    /// Whether it may use the service.
    pub status: AccountStatus,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

type Row = (Uuid, String, String, String, DateTime<Utc>);

fn from_row((id, name, plan, status, created_at): Row) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId(id),
        name,
        plan: Plan::parse(&plan).ok_or_else(|| StoreError::corrupt("accounts.plan", plan))?,
        status: AccountStatus::parse(&status).ok_or_else(|| StoreError::corrupt("accounts.status", status))?,
        created_at,
    })
}

/// Adds a tenant. The transaction must be that of the new account.
pub async fn insert_account(conn: &mut Connection, id: AccountId, name: &str, plan: Plan) -> Result<(), StoreError> {
    diesel::insert_into(accounts::table)
        .values((accounts::id.eq(id.0), accounts::name.eq(name), accounts::plan.eq(plan.as_str())))
        .execute(conn)
        .await?;
    Ok(())
}

/// The tenant of this transaction.
pub async fn get_account(conn: &mut Connection, id: AccountId) -> Result<Account, StoreError> {
    let row = accounts::table
        .filter(accounts::id.eq(id.0).and(accounts::deleted_at.is_null()))
        .select((accounts::id, accounts::name, accounts::plan, accounts::status, accounts::created_at))
        .first::<Row>(conn)
        .await?;
    from_row(row)
}

/// Puts the tenant on another plan, at once. Only the operator's role is allowed to.
pub async fn set_plan(conn: &mut Connection, id: AccountId, plan: Plan) -> Result<(), StoreError> {
    let changed = diesel::update(accounts::table.filter(accounts::id.eq(id.0).and(accounts::deleted_at.is_null())))
        .set(accounts::plan.eq(plan.as_str()))
        .execute(conn)
        .await?;
    if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}
