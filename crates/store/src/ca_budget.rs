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
use zonecert_domain::ca_limits::{CaBudget, CaLimit, CaLimitKind, CaLimits, CaUse, room_at};
use zonecert_domain::failure::FailureCode;
use zonecert_domain::id::{AccountId, OrderId};
use zonecert_domain::name::DnsName;

use crate::issuances::database_now;
use crate::schema::ca_budget;
use crate::statement::{PreparedDsl as _, sql_query};
use crate::{Connection, StoreError, ca_pauses};

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
    /// Which limit it counts against.
    pub const fn kind(&self) -> CaLimitKind {
        match self {
            Self::Order => CaLimitKind::Order,
            Self::RegisteredDomain(_) => CaLimitKind::RegisteredDomain,
            Self::ExactNames(_) => CaLimitKind::ExactNames,
            Self::FailedAuthorization(_) => CaLimitKind::FailedAuthorization,
        }
    }

    /// What is counted together. A set of names is longer than an index holds, so its SHA-256 stands for it.
    pub fn subject(&self) -> String {
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
    insert(conn, account, directory_url, spent, None).await
}

async fn insert<'a, 'b: 'a>(
    conn: &mut Connection,
    account: AccountId,
    directory_url: &str,
    spent: impl IntoIterator<Item = &'a Spending<'b>>,
    order: Option<OrderId>,
) -> Result<(), StoreError> {
    let rows: Vec<_> = spent
        .into_iter()
        .map(|spending| {
            (
                ca_budget::directory_url.eq(directory_url),
                ca_budget::kind.eq(spending.kind().as_str()),
                ca_budget::subject.eq(spending.subject()),
                ca_budget::account_id.eq(account.0),
                ca_budget::order_id.eq(order.map(|order| order.0)),
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

    let row: Spent = sql_query("SELECT lookup_ca_budget($1, $2, $3, make_interval(secs => $4)) AS spent")
        .bind::<sql_types::Text, _>(directory_url)
        .bind::<sql_types::Text, _>(spending.kind().as_str())
        .bind::<sql_types::Text, _>(spending.subject())
        .bind::<sql_types::Double, _>(since.as_secs_f64())
        .get_result(conn)
        .await?;
    Ok(row.spent)
}

/// A CA as its ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Its directory.
    pub directory_url: String,
    /// What it allows.
    pub limits: CaLimits,
}

/// What is left for a certificate at one CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// A line for each limit that it counts against.
    pub lines: Vec<CaBudget>,
    /// Before which no order for it would be placed there; none where one would be now.
    pub limited_until: Option<DateTime<Utc>>,
}

/// What is left at this CA for a certificate of these names, of this account. Runs with or without a tenant. Tells what all tenants have spent: only for names
/// that the tenant has proven.
pub async fn list_budgets(conn: &mut Connection, account: AccountId, ca: &Ledger, names: &[DnsName]) -> Result<Budgets, StoreError> {
    let exact: Vec<String> = names.iter().map(ToString::to_string).collect();
    let wanted = wanted(&exact, names, Cost { order: true, new_names: true });
    let now = database_now(conn).await?;
    let counted = counted(&wanted, ca, false);
    let uses = list_uses(conn, account, &ca.directory_url, &counted).await?;
    let line = |(&(_, subject, limit), uses): (&Counted<'_>, &Vec<CaUse>)| CaBudget {
        limit,
        subject: subject.map(str::to_owned),
        used: u32::try_from(uses.len()).unwrap_or(u32::MAX),
        free_at: room_at(limit, uses, 0, now),
    };
    let lines: Vec<CaBudget> = counted.iter().zip(&uses).map(line).collect();
    let paused = ca_pauses::find_until(conn, &ca.directory_url, &pauses(&wanted)).await?;
    let limited_until = lines.iter().map(|line| line.free_at).chain([paused]).max().flatten();
    Ok(Budgets { lines, limited_until })
}

/// Of what an order costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    /// Whether it counts as a new one: not where it replaces a certificate (RFC 9773 §5).
    order: bool,
    /// Whether there was no certificate for exactly its names before.
    new_names: bool,
}

/// What an order is counted against, and whose name is told with it.
fn wanted<'a>(exact: &'a [String], names: &'a [DnsName], cost: Cost) -> Vec<(Spending<'a>, Option<&'a str>)> {
    let registered: BTreeSet<&str> = names.iter().map(DnsName::registered_domain).collect();
    let proven: BTreeSet<&str> = names.iter().map(DnsName::base).collect();
    let mut wanted = Vec::new();
    if cost.order {
        wanted.extend([(Spending::Order, None), (Spending::ExactNames(exact), None)]);
        if cost.new_names {
            wanted.extend(registered.into_iter().map(|domain| (Spending::RegisteredDomain(domain), Some(domain))));
        }
    }
    wanted.extend(proven.into_iter().map(|name| (Spending::FailedAuthorization(name), Some(name))));
    wanted
}

fn pauses_of(wanted: &[(Spending<'_>, Option<&str>)]) -> impl Iterator<Item = (&'static str, String)> {
    wanted.iter().map(|(spending, _)| (spending.kind().as_str(), spending.subject()))
}

fn pauses(wanted: &[(Spending<'_>, Option<&str>)]) -> Vec<(&'static str, String)> {
    pauses_of(wanted).chain([(ca_pauses::SERVICE, String::new())]).collect()
}

/// What is counted against a limit, whose name is told with it, and the limit.
type Counted<'a> = (&'a Spending<'a>, Option<&'a str>, CaLimit);

/// What the CA limits of it. Whoever overdraws looks at the orders of our own account alone.
fn counted<'a>(wanted: &'a [(Spending<'a>, Option<&'a str>)], ca: &Ledger, overdraws: bool) -> Vec<Counted<'a>> {
    let looked_at = wanted.iter().filter(|(spending, _)| !overdraws || !is_estimate(spending.kind()));
    looked_at.filter_map(|(spending, subject)| Some((spending, *subject, ca.limits.get(spending.kind())?))).collect()
}

/// The uses of each.
async fn list_uses(
    conn: &mut Connection,
    account: AccountId,
    directory_url: &str,
    counted: &[Counted<'_>],
) -> Result<Vec<Vec<CaUse>>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::BigInt)]
        place: i64,
        #[diesel(sql_type = sql_types::Timestamptz)]
        at: DateTime<Utc>,
        #[diesel(sql_type = sql_types::Bool)]
        ours: bool,
    }

    let mut uses = vec![Vec::new(); counted.len()];
    if uses.is_empty() {
        return Ok(uses);
    }
    let kinds: Vec<&str> = counted.iter().map(|(spending, ..)| spending.kind().as_str()).collect();
    let subjects: Vec<String> = counted.iter().map(|(spending, ..)| spending.subject()).collect();
    let seconds: Vec<f64> = counted.iter().map(|(.., limit)| limit.window.as_secs_f64()).collect();
    let rows: Vec<Row> = sql_query("SELECT place, at, ours FROM lookup_ca_uses($1, $2, $3, $4, $5)")
        .bind::<sql_types::Text, _>(directory_url)
        .bind::<sql_types::Array<sql_types::Text>, _>(kinds)
        .bind::<sql_types::Array<sql_types::Text>, _>(subjects)
        .bind::<sql_types::Array<sql_types::Double>, _>(seconds)
        .bind::<sql_types::Uuid, _>(account.0)
        .load(conn)
        .await?;
    for Row { place, at, ours } in rows {
        let place = usize::try_from(place - 1).ok().and_then(|place| uses.get_mut(place));
        place.ok_or_else(|| StoreError::corrupt("lookup_ca_uses.place", String::new()))?.push(CaUse { at, ours });
    }
    Ok(uses)
}

/// An order that is to be charged.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own about the order")]
pub struct Charge<'a> {
    /// The order, whose intent is written in the same transaction.
    pub order: OrderId,
    /// Its names.
    pub names: &'a [String],
    /// Whether it replaces a certificate (RFC 9773 §5): exempt from all but the limit on failed authorizations.
    pub replaces: bool,
    /// Whether there was a certificate for exactly its names before.
    pub renewal: bool,
    /// Whether it goes to the CA even where our count leaves no room for it ([`Spent::is_estimate`]): the CA is to say itself.
    pub overdraws: bool,
    /// Whether it is placed by a customer's own account: what the CA allows an account is not ours to count, nor are failed validations, which it counts by account too.
    pub own_account: bool,
}

/// There is no room for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Which limit has none, the longest; none where the CA has asked us to wait with everything.
    pub kind: Option<CaLimitKind>,
    /// When there is room.
    pub until: DateTime<Utc>,
}

impl Spent {
    /// Whether only our own count says so, of something that others can use up, or have raised, without our knowing.
    pub fn is_estimate(&self) -> bool {
        self.kind.is_some_and(is_estimate)
    }
}

/// Orders are placed by our account alone; of all else others may have spent some, or the CA allows more for it.
fn is_estimate(kind: CaLimitKind) -> bool {
    kind != CaLimitKind::Order
}

/// Charges what an order may cost at a CA, or says when there is room for it. To be the last of a transaction, which is to be taken back where there is none: whoever
/// charges at the same CA waits until it is over, so that all together never spend more than there is.
pub async fn charge(conn: &mut Connection, account: AccountId, ca: &Ledger, charge: &Charge<'_>) -> Result<Option<Spent>, StoreError> {
    let names = DnsName::readable(charge.names);
    let mut wanted = wanted(charge.names, &names, Cost { order: !charge.replaces, new_names: !charge.renewal });
    if charge.own_account {
        wanted.retain(|(spending, _)| matches!(spending.kind(), CaLimitKind::RegisteredDomain | CaLimitKind::ExactNames));
    }
    if !charge.replaces && ca.limits != CaLimits::OFF {
        sql_query("SELECT pg_advisory_xact_lock(hashtextextended('ca_budget ' || $1, 0))")
            .bind::<sql_types::Text, _>(&ca.directory_url)
            .execute(conn)
            .await?;
    }
    let now = database_now(conn).await?;
    // What a CA has said about everything that we do is about our account.
    let reasons = if charge.own_account { pauses_of(&wanted).collect() } else { pauses(&wanted) };
    let paused = ca_pauses::find_until(conn, &ca.directory_url, &reasons).await?;
    let mut spent = paused.map(|until| Spent { kind: None, until });
    let mut ahead = None;
    let counted = counted(&wanted, ca, charge.overdraws);
    let uses = list_uses(conn, account, &ca.directory_url, &counted).await?;
    for (&(spending, _, limit), uses) in counted.iter().zip(&uses) {
        if room_at(limit, uses, 0, now).is_none() {
            continue;
        }
        // Those of the same account that wait already go first: each is told a moment of its own.
        let ahead = match ahead {
            Some(ahead) => ahead,
            None => *ahead.insert(count_waiting(conn, account).await?),
        };
        let until = room_at(limit, uses, if spending.kind() == CaLimitKind::Order { ahead } else { 0 }, now).unwrap_or(now);
        if spent.is_none_or(|spent| spent.until < until) {
            spent = Some(Spent { kind: Some(spending.kind()), until });
        }
    }
    if spent.is_none() {
        let costs = wanted.iter().map(|(spending, _)| spending).filter(|spending| spending.kind() != CaLimitKind::FailedAuthorization);
        insert(conn, account, &ca.directory_url, costs, Some(charge.order)).await?;
    }
    Ok(spent)
}

/// Issuances of an account that wait for a CA's limits, whose moment has not come.
async fn count_waiting(conn: &mut Connection, account: AccountId) -> Result<u32, StoreError> {
    #[derive(QueryableByName)]
    struct Waiting {
        #[diesel(sql_type = sql_types::BigInt)]
        waiting: i64,
    }

    let row: Waiting = sql_query(
        "SELECT count(*) AS waiting FROM (SELECT FROM issuances WHERE account_id = $1 AND status = 'active' AND next_wake_at > now()
         AND failure ->> 'code' = $2 LIMIT 1000) AS waiting",
    )
    .bind::<sql_types::Uuid, _>(account.0)
    .bind::<sql_types::Text, _>(FailureCode::CaBudgetSpent.as_str())
    .get_result(conn)
    .await?;
    Ok(u32::try_from(row.waiting).unwrap_or(u32::MAX))
}

/// The CA has taken the order: it is counted from now on.
pub async fn keep_order(conn: &mut Connection, order: OrderId) -> Result<(), StoreError> {
    let charged = ca_budget::order_id.eq(order.0).and(ca_budget::kind.eq(CaLimitKind::Order.as_str()));
    diesel::update(ca_budget::table.filter(charged)).set(ca_budget::at.eq(diesel::dsl::now)).prepared().execute(conn).await?;
    Ok(())
}

/// The order has brought a certificate: that is counted from now on. Returns false where nothing was charged for it.
pub async fn keep_certificate(conn: &mut Connection, order: OrderId) -> Result<bool, StoreError> {
    let kept = sql_query("UPDATE ca_budget SET at = now() WHERE order_id = $1 AND kind IN ('registered_domain', 'exact_names')")
        .bind::<sql_types::Uuid, _>(order.0)
        .execute(conn)
        .await?;
    Ok(kept > 0)
}

/// The order is over and has brought no certificate: what one would have cost is given back, and where the CA cannot have it (`never_placed`), what it has cost itself.
pub async fn give_back(conn: &mut Connection, order: OrderId, never_placed: bool) -> Result<(), StoreError> {
    sql_query("DELETE FROM ca_budget WHERE order_id = $1 AND (kind IN ('registered_domain', 'exact_names') OR ($2 AND kind = 'order'))")
        .bind::<sql_types::Uuid, _>(order.0)
        .bind::<sql_types::Bool, _>(never_placed)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes what was spent longer than `age` ago, at most `batch` rows. Returns how many went. Runs without a tenant.
pub async fn purge(conn: &mut Connection, age: Duration, batch: i32) -> Result<usize, StoreError> {
    let purged = sql_query(
        "DELETE FROM ca_budget WHERE id IN (SELECT id FROM ca_budget WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2)",
    )
    .bind::<sql_types::Double, _>(age.as_secs_f64())
    .bind::<sql_types::Integer, _>(batch)
    .execute(conn)
    .await?;
    Ok(purged)
}
