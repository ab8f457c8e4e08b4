//! Which CA the next order goes to: the first that answers, has room, and is allowed by the domain's CAA records. An order that is placed stays where it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use zonecert_domain::acme_account::AcmeAccountStatus;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::AcmeAccountId;
use zonecert_domain::name::DnsName;
use zonecert_domain::zone_name::ZoneName;
use zonecert_preflight::{Expectations, Severity};
use zonecert_store::ca_budget::Spent;
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::issuances::{self, Issuance};
use zonecert_store::issuing::Subject;
use zonecert_store::orders::Order;
use zonecert_store::{StoreError, ca_pauses, own_acme_accounts};

use super::record::about;
use super::spending::is_in_time;
use super::{Run, StepError};
use crate::directories::{Authority, Directories};

/// A CA that does not answer is tried again after so long, by one order, while the others go elsewhere.
const PAUSE_OF_AN_OUTAGE: Duration = Duration::from_mins(1);

/// So often in a row a CA may fail to take an order before it goes elsewhere.
const FAILURES_BEFORE_ANOTHER: u32 = 2;

impl Run<'_> {
    /// Writes down the intent of an order at the first CA that may have it. Where none may, the issuance rests until the first of them may, or is to be tried again.
    pub(super) async fn begin_at_a_ca(&self, issuance: &Issuance, subject: &Subject) -> Result<(), StepError> {
        if let Some(own) = subject.own_acme_account {
            return self.begin_with_own(issuance, subject, own).await;
        }
        let authorities = self.worker.directories.for_environment(subject.environment)?;
        let authorities = Directories::offering(authorities, subject.profile.as_deref()).await;
        if let (true, Some(profile)) = (authorities.is_empty(), &subject.profile) {
            return Err(Failure::new(FailureCode::AcmeInvalidProfile, format!("no CA offers the profile {profile}")).into());
        }
        let (mut full, mut away) = (Vec::new(), Vec::new());
        for (index, &ca) in authorities.iter().enumerate() {
            if authorities.len() > 1
                && let Some(until) = self.find_outage(ca).await?
            {
                away.push((Spent { kind: None, until }, ca));
                continue;
            }
            if index > 0 && self.caa_forbids(ca, subject).await {
                tracing::info!(directory_url = ca.ledger.directory_url, "passed over: CAA records of the domain do not allow this CA");
                continue;
            }
            match self.begin_at(issuance, subject, ca, false).await? {
                None => return Ok(()),
                Some(spent) => full.push((spent, ca)),
            }
        }
        // None of the others may have it: the first is asked all the same, and what it answers decides.
        let whole = if full.is_empty() { away.first() } else { full.iter().chain(&away).min_by_key(|(spent, _)| spent.until) };
        let Some((spent, ca)) = whole else { return Ok(()) };
        // Our count may be wrong where others use the same up, and nobody goes without a certificate for that: the CA says itself.
        let overdraws = spent.is_estimate() && !is_in_time(issuance, spent.until);
        if !full.is_empty() && !overdraws {
            return Err(StepError::Spent(*spent));
        }
        self.begin_at(issuance, subject, ca, overdraws).await?.map_or(Ok(()), |spent| Err(StepError::Spent(spent)))
    }

    /// With the customer's own account it is that account's CA and no other.
    async fn begin_with_own(&self, issuance: &Issuance, subject: &Subject, id: AcmeAccountId) -> Result<(), StepError> {
        let account = self.lease.account;
        let own = self.worker.store.tenant(account, async |conn| own_acme_accounts::get(conn, account, id).await).await?;
        if own.status != AcmeAccountStatus::Valid {
            let detail = format!("the certificate's ACME account {id} is {}", own.status.as_str());
            return Err(Failure::new(FailureCode::AcmeAccountNotValid, detail).into());
        }
        let ledger = &self.worker.directories.authority(&own.directory_url)?.ledger;
        let directory = self.worker.directories.of(&own.directory_url, account, Some(id))?;
        let replaces = self.find_replaced(issuance, &directory).await?;
        let Some(spent) = self.record_begun(issuance, subject, ledger, replaces.as_deref(), false).await? else { return Ok(()) };
        // As with ours: where waiting is of no use, the CA says itself.
        if !spent.is_estimate() || is_in_time(issuance, spent.until) {
            return Err(StepError::Spent(spent));
        }
        let begun = self.record_begun(issuance, subject, ledger, replaces.as_deref(), true).await?;
        begun.map_or(Ok(()), |spent| Err(StepError::Spent(spent)))
    }

    async fn begin_at(&self, issuance: &Issuance, subject: &Subject, ca: &Authority, overdraws: bool) -> Result<Option<Spent>, StepError> {
        let replaces = self.find_replaced(issuance, &ca.directory).await?;
        Ok(self.record_begun(issuance, subject, &ca.ledger, replaces.as_deref(), overdraws).await?)
    }

    async fn find_outage(&self, ca: &Authority) -> Result<Option<DateTime<Utc>>, StoreError> {
        let url = ca.ledger.directory_url.as_str();
        self.worker.store.autocommit(async |conn| ca_pauses::find_outage(conn, url, PAUSE_OF_AN_OUTAGE).await).await
    }

    /// An order there would fail for good, where waiting for the first CA heals.
    async fn caa_forbids(&self, ca: &Authority, subject: &Subject) -> bool {
        let Ok(zone) = ZoneName::from_stored(&subject.zone) else { return false };
        let names = DnsName::readable(&subject.names);
        let (zone_id, mode) = (subject.zone_id, subject.zone_mode);
        let looked_at = zonecert_preflight::Subject { zone: &zone, zone_id, mode, names: &names, our_values: &[] };
        let expectations = Expectations::new(&[], &ca.caa_identities, None);
        let findings = zonecert_preflight::check_caa(&self.worker.resolver, &expectations, &looked_at).await;
        findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Whether an order that the CA has not taken is to go to another.
    pub(super) async fn goes_elsewhere(&self, issuance: &Issuance, order: &Order, failure: &Failure) -> bool {
        order.own_acme_account.is_none()
            && issuance.step_failures + 1 >= FAILURES_BEFORE_ANOTHER
            && says_that_it_is_away(failure)
            && self.worker.directories.has_others_offering(&order.directory_url, order.profile.as_deref()).await
    }

    /// The CA is left alone for a while, and the order with it: what it may have made of it nobody uses, and it forgets it.
    pub(super) async fn record_away(&self, issuance: &Issuance, order: &Order, failure: &Failure) -> Result<(), StoreError> {
        let lease = self.lease;
        let directory_url = order.directory_url.as_str();
        tracing::error!(
            directory_url,
            code = failure.code.as_str(),
            detail = failure.detail(),
            "the CA takes no orders; they go to the next"
        );
        self.persist(|| {
            self.worker.store.tenant_write(lease.account, async |conn| {
                let held = issuances::guard(conn, &lease).await?;
                self.abandon_order(conn, issuance, false).await?;
                issuances::record_step_taken(conn, &lease, held).await?;
                let message = format!("{}; the order goes to another CA", failure.detail());
                let event = NewEvent {
                    level: Level::Warning,
                    details: json!({ "directory": directory_url, "code": failure.code.as_str(), "detail": failure.detail() }),
                    ..about(issuance, Some(order), "ca_away", message)
                };
                events::record(conn, lease.account, event).await?;
                ca_pauses::record_outage(conn, directory_url, PAUSE_OF_AN_OUTAGE).await
            })
        })
        .await
    }
}

/// The CA does not answer, or does not do so for us.
const fn says_that_it_is_away(failure: &Failure) -> bool {
    matches!(
        failure.code,
        FailureCode::CaUnreachable
            | FailureCode::CaMalformedAnswer
            | FailureCode::AcmeServerInternal
            | FailureCode::AcmeAccountDoesNotExist
            | FailureCode::AcmeExternalAccountRequired
            | FailureCode::AcmeUserActionRequired
    )
}
