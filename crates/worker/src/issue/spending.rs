//! What an order costs of the CA's limits (requirements section 6): written down with what has cost it.
//!
//! An order that the CA took as a replacement (RFC 9773 §5) is exempt from all but the limit on failed authorizations.

use std::collections::BTreeSet;

use zonecert_domain::id::AccountId;
use zonecert_domain::name::DnsName;
use zonecert_store::ca_budget::{self, Spending};
use zonecert_store::orders::Order;
use zonecert_store::{Connection, StoreError};

/// The CA has accepted the order.
pub(super) async fn record_placed(conn: &mut Connection, account: AccountId, order: &Order) -> Result<(), StoreError> {
    if order.replaces.is_some() {
        return Ok(());
    }
    ca_budget::record(conn, account, &order.directory_url, &[Spending::Order]).await
}

/// The order has brought a certificate; `renewal` says whether there was one for exactly its names before.
pub(super) async fn record_issued(conn: &mut Connection, account: AccountId, order: &Order, renewal: bool) -> Result<(), StoreError> {
    if order.replaces.is_some() {
        return Ok(());
    }
    let names: Vec<DnsName> = order.names.iter().filter_map(|name| DnsName::from_stored(name).ok()).collect();
    let registered: BTreeSet<&str> = names.iter().map(DnsName::registered_domain).collect();
    let mut spent = vec![Spending::ExactNames(&order.names)];
    if !renewal {
        spent.extend(registered.into_iter().map(Spending::RegisteredDomain));
    }
    ca_budget::record(conn, account, &order.directory_url, &spent).await
}

/// The CA has not found the proof of these names.
pub(super) async fn record_unproven(conn: &mut Connection, account: AccountId, order: &Order, names: &[String]) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    let spent: Vec<Spending<'_>> = names.iter().map(|name| Spending::FailedAuthorization(name)).collect();
    ca_budget::record(conn, account, &order.directory_url, &spent).await
}
