//! Why an attempt failed, as far as the DNS and the CA's limits tell: looked up once the failure is on record and the lease is given back, so that nothing
//! waits for it. What is found is added to the failure, unless something else has become of the certificate meanwhile.

use std::time::Duration;

use serde_json::{Value, json};
use zonecert_domain::failure::{Failure, FailureClass};
use zonecert_domain::id::AccountId;
use zonecert_domain::issuance::Verdict;
use zonecert_domain::name::DnsName;
use zonecert_domain::renewal::ZoneStanding;
use zonecert_domain::zone_name::ZoneName;
use zonecert_preflight::{Finding, judge_budget};
use zonecert_store::ca_budget::Budgets;
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::issuances::Issuance;
use zonecert_store::issuing::{self, Subject};
use zonecert_store::{Connection, StoreError, ca_budget, challenge_records};

use super::record::about;
use crate::worker::Worker;

/// Patience with all of it, the database included.
const PATIENCE: Duration = zonecert_preflight::LONGEST.saturating_add(Duration::from_secs(5));

/// A failure that is on record, and whose cause may be found.
pub(super) struct Unexplained {
    issuance: Issuance,
    /// What people are shown of it.
    last_error: Value,
}

/// What the look needs to know.
struct Case {
    subject: Subject,
    names: Vec<DnsName>,
    our_values: Vec<String>,
    findings: Vec<Finding>,
}

impl Unexplained {
    /// None for a failure whose cause cannot be in the DNS. One that was to heal, and has not until there was no time left, may always.
    pub(super) fn of(issuance: &Issuance, failure: &Failure, verdict: Verdict, last_error: Value) -> Option<Self> {
        let given_up = verdict == Verdict::Fail && failure.class() == FailureClass::Heal;
        (failure.code.may_be_looked_into() || given_up).then(|| Self { issuance: issuance.clone(), last_error })
    }

    /// Looks, and adds what it finds. That this fails is of no consequence.
    pub(super) async fn explain(&self, worker: &Worker, account: AccountId) {
        match tokio::time::timeout(PATIENCE, self.look_and_record(worker, account)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the cause of a failure could not be looked for"),
            Err(_) => tracing::warn!("the cause of a failure could not be looked for in time"),
        }
    }

    async fn look_and_record(&self, worker: &Worker, account: AccountId) -> Result<(), StoreError> {
        let Some(Case { subject, names, our_values, mut findings }) = self.load(worker, account).await? else { return Ok(()) };
        let zone = ZoneName::from_stored(&subject.zone).map_err(|_| StoreError::corrupt("zones.name", subject.zone.clone()))?;
        let (zone_id, mode) = (subject.zone_id, subject.zone_mode);
        let looked_at = zonecert_preflight::Subject { zone: &zone, zone_id, mode, names: &names, our_values: &our_values };
        findings.extend(zonecert_preflight::check(&worker.resolver, &worker.settings.expectations, &looked_at).await);
        findings.sort_by_key(|finding| finding.severity);
        if findings.is_empty() { Ok(()) } else { self.record(worker, account, &findings).await }
    }

    /// None where the zone was deleted: its DNS is nobody's here.
    async fn load(&self, worker: &Worker, account: AccountId) -> Result<Option<Case>, StoreError> {
        let certificate = self.issuance.certificate;
        let load = async |conn: &mut Connection| {
            let subject = issuing::get_subject(conn, account, certificate).await?;
            if subject.zone_standing == ZoneStanding::Deleted {
                return Ok(None);
            }
            let names = DnsName::readable(&subject.names);
            let our_values = challenge_records::list_values(conn, account, &names).await?;
            let budgets = match worker.directories.for_environment(subject.environment) {
                // What is left of the CA's limits is counted for our account.
                Ok(authorities) if subject.own_acme_account.is_none() => {
                    ca_budget::list_budgets(conn, account, &authorities[0].ledger, &names).await?
                }
                Ok(_) | Err(_) => Budgets::default(),
            };
            let domain = names.first().map_or("", DnsName::base);
            let findings = judge_budget(domain, &budgets.lines);
            Ok(Some(Case { subject, names, our_values, findings }))
        };
        worker.store.tenant(account, load).await
    }

    async fn record(&self, worker: &Worker, account: AccountId, findings: &[Finding]) -> Result<(), StoreError> {
        let details = json!({ "findings": findings });
        let event = || NewEvent {
            level: Level::Warning,
            details: details.clone(),
            ..about(&self.issuance, self.issuance.live_order.as_ref(), "causes_found", message(findings))
        };
        let certificate = self.issuance.certificate;
        worker
            .store
            .tenant_write(account, async |conn| {
                if issuing::add_findings(conn, account, certificate, &self.last_error, &details["findings"]).await? {
                    events::record(conn, account, event()).await?;
                }
                Ok(())
            })
            .await
    }
}

fn message(findings: &[Finding]) -> String {
    let Some(worst) = findings.first() else { return String::new() };
    let more = match findings.len() - 1 {
        0 => String::new(),
        1 => " (and 1 more finding)".to_owned(),
        more => format!(" (and {more} more findings)"),
    };
    format!("what may be the cause: {}{more}. {}", worst.detail, worst.remedy)
}

#[cfg(test)]
mod tests {
    use zonecert_preflight::FindingCode;

    use super::*;

    #[test]
    fn the_worst_finding_is_told_with_its_remedy() {
        let finding = |detail: &str| Finding::new(FindingCode::CaaForbids, "a.test", detail, "Do this.");
        assert_eq!(message(&[finding("it is so")]), "what may be the cause: it is so. Do this.");
        assert_eq!(message(&[finding("it is so"), finding("2")]), "what may be the cause: it is so (and 1 more finding). Do this.");
        assert!(message(&vec![finding("it is so"); 4]).contains("(and 3 more findings)"));
    }
}
