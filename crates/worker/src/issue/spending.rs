//! What an order costs of the CA's limits (requirements section 6): charged with its intent, and kept or given back by what really happens.
//!
//! An order that the CA takes as a replacement (RFC 9773 §5) is exempt from all but the limit on failed authorizations.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use zonecert_domain::ca_limits::{CaLimitKind, limited_kind};
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_domain::moment;
use zonecert_domain::name::DnsName;
use zonecert_domain::order::OrderStatus;
use zonecert_domain::retry::LAST_ATTEMPT_MARGIN;
use zonecert_store::ca_budget::{self, Spending, Spent};
use zonecert_store::events::{self, Level};
use zonecert_store::failures::{describe, shown_limited};
use zonecert_store::issuances::{self, Issuance};
use zonecert_store::issuing::Outcome;
use zonecert_store::orders::Order;
use zonecert_store::{Connection, StoreError, ca_pauses, versions};

use super::Run;
use super::failure::failure_event;

/// What a CA says about everything at once keeps everybody from it: no longer than this by one answer.
const LONGEST_SERVICE_PAUSE: Duration = Duration::from_hours(1);

/// A moment that is told is passed by so much, so that the use which has to go is gone.
const MARGIN: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// There is no room for an order before a moment: the issuance rests until then, and that is no attempt that has failed. Where it gives up before, it fails now.
    pub(super) async fn record_spent(&self, issuance: &Issuance, spent: &Spent) -> Result<(), StoreError> {
        let lease = self.lease;
        let until = spent.until;
        let failure = failure(spent);
        // None is live: one that was refused as a replacement has ended on record.
        let issuance = &Issuance { live_order: None, ..issuance.clone() };
        if !is_in_time(issuance, until) {
            let remedy = format!("Request the certificate again after {}.", moment::shown(until));
            self.record_failed(issuance, &failure.with_remedy(remedy), &[], Some(until)).await?;
            return Ok(());
        }
        let pause = (until - issuance.now).to_std().unwrap_or_default() + MARGIN;
        let known = issuance.failure_code.as_deref() == Some(failure.code.as_str());
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                issuances::stand_by(conn, &lease, pause, describe(&failure)).await?;
                let outcome = Outcome::Waiting(shown_limited(&failure, Some(until), Some(until)));
                self.record_outcome(conn, issuance.certificate, outcome).await?;
                if known {
                    return Ok(());
                }
                let message = format!("{}; it goes on at {}", failure.detail(), moment::shown(until));
                let event = failure_event(issuance, Level::Warning, "budget_spent", message, &failure);
                events::record(conn, lease.account, event).await.map(drop)
            })
        })
        .await
    }

    /// The CA has said that it takes no more for a while: everybody is kept from asking for the same, and what the order would have cost is given back. It is over;
    /// another is begun when there is room, or at another CA.
    pub(super) async fn record_limited(
        &self,
        issuance: &Issuance,
        order: &Order,
        failure: &Failure,
        pause: Duration,
    ) -> Result<(), StoreError> {
        let lease = self.lease;
        let renewal = self
            .persist(|| {
                self.worker.store.tenant(lease.account, async |conn| {
                    versions::has_version_for(conn, lease.account, issuance.certificate, &order.names).await
                })
            })
            .await?;
        let (kind, subject, pause) = wall(order, renewal, failure, pause.max(self.worker.settings.ladder.rungs()[0]));
        tracing::warn!(
            directory_url = order.directory_url,
            kind,
            pause = pause.as_secs(),
            detail = failure.detail(),
            "the CA takes no more"
        );
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                issuances::guard(conn, &lease).await?;
                ca_pauses::record(conn, &order.directory_url, kind, &subject, pause).await?;
                self.abandon_order(conn, issuance, true).await?;
                let message = format!("{}; nothing more of it is asked for {} s", failure.detail(), pause.as_secs());
                let event = failure_event(issuance, Level::Warning, "ca_limit_met", message, failure);
                events::record(conn, lease.account, event).await.map(drop)
            })
        })
        .await
    }
}

/// Whether an order that is begun at this moment can still bring a certificate before the issuance gives up.
pub(super) fn is_in_time(issuance: &Issuance, moment: DateTime<Utc>) -> bool {
    moment <= issuance.give_up_at - LAST_ATTEMPT_MARGIN
}

/// Which pause a refusal is about, and how long. What says nothing of a limit that we know, or refuses what is exempt from them, is about all that the CA does.
/// Certificates of a registered domain are limited for new sets of names: where a CA says so of a renewal, it is about this set alone, and holds up no other renewal.
fn wall(order: &Order, renewal: bool, failure: &Failure, pause: Duration) -> (&'static str, String, Duration) {
    let names = DnsName::readable(&order.names);
    let bases = names.iter().flat_map(|name| [name.base(), name.registered_domain()]);
    let spending = match limited_kind(failure.detail(), bases) {
        Some((CaLimitKind::FailedAuthorization, Some(name))) if names.iter().any(|of| of.base() == name) => {
            Some(Spending::FailedAuthorization(name))
        }
        _ if order.replaces.is_some() => None,
        Some((CaLimitKind::Order, _)) => Some(Spending::Order),
        Some((CaLimitKind::ExactNames, _)) => Some(Spending::ExactNames(&order.names)),
        Some((CaLimitKind::RegisteredDomain, _)) if renewal => Some(Spending::ExactNames(&order.names)),
        Some((CaLimitKind::RegisteredDomain, Some(name))) if names.iter().any(|of| of.registered_domain() == name) => {
            Some(Spending::RegisteredDomain(name))
        }
        _ => None,
    };
    match spending {
        Some(spending) => (spending.kind().as_str(), spending.subject(), pause.min(ca_budget::KEEP)),
        None => (ca_pauses::SERVICE, String::new(), pause.min(LONGEST_SERVICE_PAUSE)),
    }
}

fn failure(spent: &Spent) -> Failure {
    let what = match spent.kind {
        Some(CaLimitKind::Order) => "the orders that this account may place now",
        Some(CaLimitKind::RegisteredDomain) => "the certificates that the CA allows for the registered domain",
        Some(CaLimitKind::ExactNames) => "the certificates that the CA allows for exactly these names",
        Some(CaLimitKind::FailedAuthorization) => "the failed validations that the CA allows for one of the names",
        None => return Failure::new(FailureCode::CaBudgetSpent, format!("the CA takes no more before {}", moment::shown(spent.until))),
    };
    Failure::new(FailureCode::CaBudgetSpent, format!("{what} are used up until {}", moment::shown(spent.until)))
}

/// The CA has accepted the order: the charge counts from now on.
pub(super) async fn record_placed(conn: &mut Connection, order: &Order) -> Result<(), StoreError> {
    ca_budget::keep_order(conn, order.id).await
}

/// The order has brought a certificate, whose version is not stored yet.
pub(super) async fn record_issued(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    order: &Order,
) -> Result<(), StoreError> {
    if ca_budget::keep_certificate(conn, order.id).await? || order.replaces.is_some() {
        return Ok(());
    }
    // Begun by a version of this program that did not charge orders.
    let names = DnsName::readable(&order.names);
    let registered: BTreeSet<&str> = names.iter().map(DnsName::registered_domain).collect();
    let mut spent = vec![Spending::ExactNames(&order.names)];
    if !versions::has_version_for(conn, account, certificate, &order.names).await? {
        spent.extend(registered.into_iter().map(Spending::RegisteredDomain));
    }
    ca_budget::record(conn, account, &order.directory_url, &spent).await
}

/// The order is over and has brought nothing. `refused` says that the CA has answered it with a no, so that it cannot have it.
pub(super) async fn give_back(conn: &mut Connection, order: &Order, refused: bool) -> Result<(), StoreError> {
    ca_budget::give_back(conn, order.id, refused && order.status == OrderStatus::Intended).await
}

/// The CA has not found the proof of these names.
pub(super) async fn record_unproven(conn: &mut Connection, account: AccountId, order: &Order, names: &[String]) -> Result<(), StoreError> {
    // The CA counts those of an account.
    if names.is_empty() || order.own_acme_account.is_some() {
        return Ok(());
    }
    let spent: Vec<Spending<'_>> = names.iter().map(|name| Spending::FailedAuthorization(name)).collect();
    ca_budget::record(conn, account, &order.directory_url, &spent).await
}

#[cfg(test)]
mod tests {
    use zonecert_domain::id::OrderId;

    use super::*;

    fn order(replaces: bool) -> Order {
        Order {
            id: OrderId::new(),
            status: OrderStatus::Intended,
            directory_url: "https://ca.test/dir".to_owned(),
            own_acme_account: None,
            url: None,
            names: ["www.example.com", "*.app.example.com"].map(str::to_owned).to_vec(),
            replaces: replaces.then(|| "a.b".to_owned()),
            profile: None,
            key_version: None,
            csr: None,
            presented_at: None,
            polls: 0,
            next_poll_at: None,
            authorizations: Vec::new(),
        }
    }

    #[test]
    fn a_refusal_keeps_from_what_its_words_are_about_and_from_everything_where_they_do_not_say() {
        let day = Duration::from_hours(24);
        let hour = Duration::from_hours(1);
        let wall = |replaces, detail: &str| wall(&order(replaces), replaces, &Failure::new(FailureCode::AcmeRateLimited, detail), day);
        let domain = "too many certificates (50) already issued for \"example.com\" in the last 168h0m0s";
        assert_eq!(wall(false, domain), ("registered_domain", "example.com".to_owned(), day));
        assert_eq!(wall(true, domain), ("service", String::new(), hour), "what is exempt was refused");
        let renewed = super::wall(&order(false), true, &Failure::new(FailureCode::AcmeRateLimited, domain), day);
        assert_eq!(renewed.0, "exact_names", "other renewals of the domain go on");
        assert_eq!(wall(false, "too many new orders (300)"), ("order", String::new(), day));
        let failed = "too many failed authorizations (5) for \"app.example.com\"";
        assert_eq!(wall(false, failed), ("failed_authorization", "app.example.com".to_owned(), day));
        assert_eq!(wall(true, failed), ("failed_authorization", "app.example.com".to_owned(), day));
        // Nothing is asked under a name that no order is looked up by.
        assert_eq!(wall(false, "too many failed authorizations (5) for \"example.com\"").0, "service");
        assert_eq!(wall(false, "too many certificates (5) already issued for this exact set of identifiers").0, "exact_names");
        assert_eq!(wall(false, "Service busy; retry later."), ("service", String::new(), hour));
    }
}
