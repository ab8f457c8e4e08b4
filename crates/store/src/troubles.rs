//! What the operator looks at when something is wrong: who waits, and which issuances do not come through (`zonecert admin`).
//!
//! Across tenants the functions of the database answer with identifiers alone, and for the owner's role alone; what they name is then read as its tenant.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, IssuanceId};

use crate::schema::{certificates, issuances, orders};
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// Something that is due and that nobody has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whose it is; none for a zone.
    pub account: Option<AccountId>,
    /// An issuance, a revocation, a mail or a webhook by its UUID, a zone by its name.
    pub id: String,
    /// Since when it could have been begun.
    pub since: DateTime<Utc>,
}

/// What waits in one of [`crate::platform_state::QUEUES`], the longest first, at most `batch`. Runs without a tenant.
pub async fn list_waiting(conn: &mut Connection, queue: &str, batch: i32) -> Result<Vec<Waiting>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Nullable<sql_types::Uuid>)]
        account_id: Option<Uuid>,
        #[diesel(sql_type = sql_types::Text)]
        id: String,
        #[diesel(sql_type = sql_types::Timestamptz)]
        since: DateTime<Utc>,
    }

    let query = "SELECT account_id, id, since FROM sweep_waiting($1, $2)
         UNION ALL SELECT account_id, id, since FROM sweep_waiting_webhooks($2) WHERE $1 = 'webhook'";
    let query = sql_query(query).bind::<sql_types::Text, _>(queue);
    let rows: Vec<Row> = query.bind::<sql_types::Integer, _>(batch).load(conn).await?;
    Ok(rows.into_iter().map(|row| Waiting { account: row.account_id.map(AccountId), id: row.id, since: row.since }).collect())
}

/// Which issuances are worth a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Active ones that have failed before, or are older than this.
    Stuck(Duration),
    /// Those that have failed for good.
    Failed,
}

/// Issuances of all tenants that are worth a look, at most `batch`: stuck ones the oldest first, failed ones the newest first. Runs without a tenant.
pub async fn list_troubled(conn: &mut Connection, trouble: Trouble, batch: i32) -> Result<Vec<(AccountId, IssuanceId)>, StoreError> {
    let (over, age) = match trouble {
        Trouble::Stuck(age) => (false, age),
        Trouble::Failed => (true, Duration::ZERO),
    };
    sql_query("SELECT account_id, id FROM sweep_troubled_issuances($1, make_interval(secs => $2), $3)")
        .bind::<sql_types::Bool, _>(over)
        .bind::<sql_types::Double, _>(age.as_secs_f64())
        .bind::<sql_types::Integer, _>(batch)
        .load_ids(conn, IssuanceId)
        .await
}

/// Whose an issuance or a certificate is. Runs without a tenant.
pub async fn find_holder(conn: &mut Connection, id: Uuid) -> Result<Option<AccountId>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Nullable<sql_types::Uuid>)]
        holder: Option<Uuid>,
    }

    let row: Row = sql_query("SELECT sweep_holder($1) AS holder").bind::<sql_types::Uuid, _>(id).get_result(conn).await?;
    Ok(row.holder.map(AccountId))
}

/// An issuance as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct SeenIssuance {
    /// The issuance.
    pub id: Uuid,
    /// The certificate that it is for.
    pub certificate: Uuid,
    /// The certificate's domain.
    pub domain: String,
    /// first, renewal, `by_hand` or replacement.
    pub reason: String,
    /// active, succeeded, failed or cancelled.
    pub status: String,
    /// Attempts that have failed.
    pub attempts: i32,
    /// Since when it is wished for.
    pub created_at: DateTime<Utc>,
    /// When the next step is due.
    pub next_wake_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
    /// The worker that has it, or had it when it was killed.
    pub lease_owner: Option<String>,
    /// What failed last.
    pub failure: Option<Value>,
    /// Since when nobody wants its result any more.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// How far its live order is.
    pub order_status: Option<String>,
}

impl SeenIssuance {
    /// A text of what failed last, as its `code` and `detail`.
    pub fn failure_text(&self, field: &str) -> Option<&str> {
        self.failure.as_ref()?.get(field)?.as_str()
    }
}

/// An issuance as the operator sees it.
pub async fn get_issuance(conn: &mut Connection, account: AccountId, id: IssuanceId) -> Result<SeenIssuance, StoreError> {
    let live_order = orders::issuance_id.eq(issuances::id).and(orders::finished_at.is_null());
    let seen = issuances::table
        .inner_join(certificates::table.on(certificates::id.eq(issuances::certificate_id)))
        .left_join(orders::table.on(live_order))
        .filter(issuances::account_id.eq(account.0).and(issuances::id.eq(id.0)))
        .select((
            issuances::id,
            issuances::certificate_id,
            certificates::domain,
            issuances::reason,
            issuances::status,
            issuances::attempts,
            issuances::created_at,
            issuances::next_wake_at,
            issuances::finished_at,
            issuances::lease_owner,
            issuances::failure,
            issuances::cancel_requested_at,
            orders::status.nullable(),
        ))
        .first(conn)
        .await?;
    Ok(seen)
}
