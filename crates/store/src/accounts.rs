//! Tenants.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::AccountId;
use zonecert_domain::plan::Plan;

use crate::schema::accounts;
use crate::statement::{PreparedDsl as _, sql_query};
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
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Active, Self::SuspendedPayment, Self::SuspendedAbuse];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::SuspendedPayment => "suspended_payment",
            Self::SuspendedAbuse => "suspended_abuse",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
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
    /// Since when it may not.
    pub suspended_at: Option<DateTime<Utc>>,
    /// What the operator noted about it. Never shown to the tenant.
    pub suspension_note: Option<String>,
    /// When an owner asked for its end.
    pub deletion_requested_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

pub(crate) type Row = (Uuid, String, String, String, Option<DateTime<Utc>>, Option<String>, Option<DateTime<Utc>>, DateTime<Utc>);

pub(crate) const COLUMNS: (
    accounts::id,
    accounts::name,
    accounts::plan,
    accounts::status,
    accounts::suspended_at,
    accounts::suspension_note,
    accounts::deletion_requested_at,
    accounts::created_at,
) = (
    accounts::id,
    accounts::name,
    accounts::plan,
    accounts::status,
    accounts::suspended_at,
    accounts::suspension_note,
    accounts::deletion_requested_at,
    accounts::created_at,
);

pub(crate) fn from_row(
    (id, name, plan, status, suspended_at, suspension_note, deletion_requested_at, created_at): Row,
) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId(id),
        name,
        plan: Plan::parse(&plan).ok_or_else(|| StoreError::corrupt("accounts.plan", plan))?,
        status: AccountStatus::parse(&status).ok_or_else(|| StoreError::corrupt("accounts.status", status))?,
        suspended_at,
        suspension_note,
        deletion_requested_at,
        created_at,
    })
}

/// Adds a tenant on the free plan. The transaction must be that of the new account.
pub async fn insert_account(conn: &mut Connection, id: AccountId, name: &str) -> Result<(), StoreError> {
    diesel::insert_into(accounts::table).values((accounts::id.eq(id.0), accounts::name.eq(name))).execute(conn).await?;
    Ok(())
}

/// The tenant of this transaction.
pub async fn get_account(conn: &mut Connection, id: AccountId) -> Result<Account, StoreError> {
    let row = accounts::table.filter(accounts::id.eq(id.0).and(accounts::deleted_at.is_null())).select(COLUMNS).first::<Row>(conn).await?;
    from_row(row)
}

/// Puts the tenant on another plan, at once. Only the operator's role is allowed to.
pub async fn set_plan(conn: &mut Connection, id: AccountId, plan: Plan) -> Result<(), StoreError> {
    let changed = diesel::update(accounts::table.filter(accounts::id.eq(id.0).and(accounts::deleted_at.is_null())))
        .set(accounts::plan.eq(plan.as_str()))
        .prepared()
        .execute(conn)
        .await?;
    if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Suspends the tenant or takes it back. The moment of a suspension stays what it was while only its reason changes. Only the operator's
/// role is allowed to.
pub async fn set_status(conn: &mut Connection, id: AccountId, status: AccountStatus, note: Option<&str>) -> Result<(), StoreError> {
    let since = match status {
        AccountStatus::Active => "NULL",
        AccountStatus::SuspendedPayment | AccountStatus::SuspendedAbuse => "coalesce(suspended_at, now())",
    };
    let changed = diesel::update(accounts::table.filter(accounts::id.eq(id.0).and(accounts::deleted_at.is_null())))
        .set((
            accounts::status.eq(status.as_str()),
            accounts::suspended_at.eq(sql::<Nullable<Timestamptz>>(since)),
            accounts::suspension_note.eq(note),
        ))
        .prepared()
        .execute(conn)
        .await?;
    if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Changes what the tenant calls itself.
pub async fn set_name(conn: &mut Connection, id: AccountId, name: &str) -> Result<(), StoreError> {
    diesel::update(accounts::table.filter(accounts::id.eq(id.0))).set(accounts::name.eq(name)).prepared().execute(conn).await?;
    Ok(())
}

/// Notes that an owner asks for the end of the account, or has changed their mind. A second request does not move the first.
pub async fn set_deletion_requested(conn: &mut Connection, id: AccountId, requested: bool) -> Result<(), StoreError> {
    let at = if requested { "coalesce(deletion_requested_at, now())" } else { "NULL" };
    diesel::update(accounts::table.filter(accounts::id.eq(id.0)))
        .set(accounts::deletion_requested_at.eq(sql::<Nullable<Timestamptz>>(at)))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// A page of all tenants, behind `after` in the order of their age. Runs without a tenant, as the operator's role.
pub async fn list_ids(conn: &mut Connection, after: Option<AccountId>, limit: i32) -> Result<Vec<AccountId>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        id: Uuid,
    }

    let rows: Vec<Found> = sql_query("SELECT id FROM sweep_accounts($1, $2)")
        .bind::<Nullable<diesel::sql_types::Uuid>, _>(after.map(|after| after.0))
        .bind::<diesel::sql_types::Integer, _>(limit)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| AccountId(row.id)).collect())
}
