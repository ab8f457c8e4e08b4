//! What was spent at a CA, to stay below its limits (requirements section 6). The platform's, for all tenants together.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use sha2::{Digest as _, Sha256};
use zonecert_domain::ca_limits::{CaBudget, CaLimitKind};
use zonecert_domain::id::AccountId;
use zonecert_domain::name::DnsName;

use crate::schema::ca_budget;
use crate::{Connection, StoreError};

/// Longer than the longest time for which a CA counts, 7 days.
pub const KEEP: Duration = Duration::from_hours(8 * 24);

/// One use of what a CA limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spending<'a> {
    /// A new order, by our account at the directory.
    Order,
    /// A certificate for a set of names that had none before, under this registered domain.
    RegisteredDomain(&'a str),
    /// A certificate for exactly these names, in any order.
    ExactNames(&'a [String]),
    /// An authorization of this name, without `*.`, that has failed.
    FailedAuthorization(&'a str),
}

impl Spending<'_> {
    const fn kind(&self) -> CaLimitKind {
        match self {
            Self::Order => CaLimitKind::Order,
            Self::RegisteredDomain(_) => CaLimitKind::RegisteredDomain,
            Self::ExactNames(_) => CaLimitKind::ExactNames,
            Self::FailedAuthorization(_) => CaLimitKind::FailedAuthorization,
        }
    }

    /// What is counted together. A set of names is longer than an index holds, so its SHA-256 stands for it.
    fn subject(&self) -> String {
        match self {
            Self::Order => String::new(),
            Self::RegisteredDomain(name) | Self::FailedAuthorization(name) => (*name).to_owned(),
            Self::ExactNames(names) => {
                let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
                names.sort_unstable();
                names.dedup();
                URL_SAFE_NO_PAD.encode(Sha256::digest(names.join(",")))
            }
        }
    }
}

/// Writes down what an account has spent at the CA with this directory, now.
pub async fn record(conn: &mut Connection, account: AccountId, directory_url: &str, spent: &[Spending<'_>]) -> Result<(), StoreError> {
    let rows: Vec<_> = spent
        .iter()
        .map(|spending| {
            (
                ca_budget::directory_url.eq(directory_url),
                ca_budget::kind.eq(spending.kind().as_str()),
                ca_budget::subject.eq(spending.subject()),
                ca_budget::account_id.eq(account.0),
            )
        })
        .collect();
    diesel::insert_into(ca_budget::table).values(rows).execute(conn).await?;
    Ok(())
}

/// How much of it all tenants together have spent at the CA with this directory, in the time up to now. Runs with or without a tenant.
pub async fn count(conn: &mut Connection, directory_url: &str, spending: &Spending<'_>, since: Duration) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Spent {
        #[diesel(sql_type = sql_types::BigInt)]
        spent: i64,
    }

    let row: Spent = diesel::sql_query("SELECT lookup_ca_budget($1, $2, $3, make_interval(secs => $4)) AS spent")
        .bind::<sql_types::Text, _>(directory_url)
        .bind::<sql_types::Text, _>(spending.kind().as_str())
        .bind::<sql_types::Text, _>(spending.subject())
        .bind::<sql_types::Double, _>(since.as_secs_f64())
        .get_result(conn)
        .await?;
    Ok(row.spent)
}

/// What is left for a certificate of these names at the CA with this directory: a line for each limit that it counts against. Runs with or
/// without a tenant. Tells what all tenants have spent: only for names that the tenant has proven.
pub async fn list_budgets(conn: &mut Connection, directory_url: &str, names: &[DnsName]) -> Result<Vec<CaBudget>, StoreError> {
    let exact: Vec<String> = names.iter().map(ToString::to_string).collect();
    let registered: BTreeSet<&str> = names.iter().map(DnsName::registered_domain).collect();
    let proven: BTreeSet<&str> = names.iter().map(DnsName::base).collect();
    let mut wanted = vec![(Spending::Order, None), (Spending::ExactNames(&exact), None)];
    wanted.extend(registered.into_iter().map(|domain| (Spending::RegisteredDomain(domain), Some(domain))));
    wanted.extend(proven.into_iter().map(|name| (Spending::FailedAuthorization(name), Some(name))));
    let mut budgets = Vec::with_capacity(wanted.len());
    for (spending, subject) in wanted {
        let limit = spending.kind().limit();
        let used = count(conn, directory_url, &spending, limit.window).await?;
        let mut budget =
            CaBudget { limit, subject: subject.map(str::to_owned), used: u32::try_from(used).unwrap_or(u32::MAX), free_at: None };
        if budget.remaining() == 0 {
            budget.free_at = find_free_at(conn, directory_url, &spending, limit.window, limit.most).await?;
        }
        budgets.push(budget);
    }
    Ok(budgets)
}

/// When fewer than `most` will be counted; none where that is so now.
async fn find_free_at(
    conn: &mut Connection,
    directory_url: &str,
    spending: &Spending<'_>,
    since: Duration,
    most: u32,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(QueryableByName)]
    struct Free {
        #[diesel(sql_type = sql_types::Nullable<sql_types::Timestamptz>)]
        free_at: Option<DateTime<Utc>>,
    }

    let row: Free = diesel::sql_query("SELECT lookup_ca_budget_free_at($1, $2, $3, make_interval(secs => $4), $5) AS free_at")
        .bind::<sql_types::Text, _>(directory_url)
        .bind::<sql_types::Text, _>(spending.kind().as_str())
        .bind::<sql_types::Text, _>(spending.subject())
        .bind::<sql_types::Double, _>(since.as_secs_f64())
        .bind::<sql_types::Integer, _>(i32::try_from(most).unwrap_or(i32::MAX))
        .get_result(conn)
        .await?;
    Ok(row.free_at)
}

/// Deletes what was spent longer than `age` ago, at most `batch` rows. Returns how many went. Runs without a tenant.
pub async fn purge(conn: &mut Connection, age: Duration, batch: i32) -> Result<usize, StoreError> {
    let purged = diesel::sql_query(
        "DELETE FROM ca_budget WHERE id IN (SELECT id FROM ca_budget WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2)",
    )
    .bind::<sql_types::Double, _>(age.as_secs_f64())
    .bind::<sql_types::Integer, _>(batch)
    .execute(conn)
    .await?;
    Ok(purged)
}
