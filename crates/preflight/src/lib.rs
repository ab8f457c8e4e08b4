//! What stands in the way of a certificate: delegation, CAA, what stands at `_acme-challenge`, DNSSEC. Looked up beforehand, so that nothing is spent at
//! the CA in vain, and again when an issuance fails, to say why.
//!
//! All look-ups are made first, each question once; what they mean is decided by functions without I/O, a file for each subject. Only the resolvers of
//! the setting are asked, never a server that somebody's zone names.

mod budget;
mod caa;
mod challenge;
mod delegation;
mod dnssec;
mod finding;
mod seen;

use std::collections::BTreeSet;
use std::time::Duration;

use zonecert_domain::id::ZoneId;
use zonecert_domain::name::DnsName;
use zonecert_domain::zone_mode::ZoneMode;
use zonecert_domain::zone_name::ZoneName;
use zonecert_resolver::Resolver;

use seen::Seen;

pub use budget::judge_budget;
pub use finding::{Finding, FindingCode, Severity, Sight};

/// What the checks compare the DNS with. Set by the operator.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// Our name servers, to which the zones that we host are delegated.
    pub name_servers: Vec<String>,
    /// The issuer domain names by which CAA records allow our CA (RFC 8659 §4.2).
    pub caa_identities: Vec<String>,
    /// The zone in which challenges of delegated zones are answered.
    pub challenge_zone: Option<ZoneName>,
}

impl Expectations {
    /// Of the names as settings have them.
    pub fn new(name_servers: &[ZoneName], caa_identities: &[ZoneName], challenge_zone: Option<&ZoneName>) -> Self {
        let texts = |names: &[ZoneName]| names.iter().map(ToString::to_string).collect();
        Self { name_servers: texts(name_servers), caa_identities: texts(caa_identities), challenge_zone: challenge_zone.cloned() }
    }
}

/// What is to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The zone.
    pub zone: &'a ZoneName,
    /// Its identifier.
    pub zone_id: ZoneId,
    /// Where its records live.
    pub mode: ZoneMode,
    /// The names of the certificate.
    pub names: &'a [DnsName],
    /// TXT values that orders of ours have put up just now.
    pub our_values: &'a [String],
}

impl Subject<'_> {
    /// Each name without `*.`, once.
    fn bases(&self) -> BTreeSet<&str> {
        self.names.iter().map(DnsName::base).collect()
    }
}

/// The longest that [`check`] takes.
pub const LONGEST: Duration = Duration::from_secs(10);

/// Looks at the DNS and says what stands in the way, the worst first. Takes [`LONGEST`] at the most, and asks 600 questions at the most.
pub async fn check(resolver: &Resolver, expectations: &Expectations, subject: &Subject<'_>) -> Vec<Finding> {
    let questions = [delegation::questions(subject), dnssec::questions(subject), challenge::questions(subject), caa::questions(subject)];
    let seen = Seen::ask(resolver, questions.into_iter().flatten()).await;
    judge(expectations, subject, &seen)
}

/// Looks at CAA records alone: whether they allow a CA, by its identities in `expectations`. Takes [`LONGEST`] at the most.
pub async fn check_caa(resolver: &Resolver, expectations: &Expectations, subject: &Subject<'_>) -> Vec<Finding> {
    let seen = Seen::ask(resolver, caa::questions(subject)).await;
    caa::judge(expectations, subject, &seen)
}

fn judge(expectations: &Expectations, subject: &Subject<'_>, seen: &Seen) -> Vec<Finding> {
    let mut findings = delegation::judge(expectations, subject, seen);
    let zone_is_silent = findings.iter().any(|finding| finding.code == FindingCode::ZoneUnreachable);
    findings.extend(dnssec::judge(subject, seen));
    findings.extend(challenge::judge(expectations, subject, seen));
    findings.extend(caa::judge(expectations, subject, seen));
    if zone_is_silent {
        // Of a zone that does not answer, that is said once, and not once more for each name.
        findings.retain(|finding| !matches!(finding.code, FindingCode::ChallengeLookupFailed | FindingCode::CaaLookupFailed));
    }
    let resolver_is_gone = findings.iter().any(|finding| finding.code == FindingCode::ResolverUnreachable);
    if seen.left_out() > 0 && !resolver_is_gone {
        let detail = format!("{} look-ups were not made, since all together may take {} s", seen.left_out(), LONGEST.as_secs());
        let remedy = "Check again, with fewer names at a time if need be.";
        findings.push(Finding::new(FindingCode::Incomplete, subject.zone.as_str(), detail, remedy));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

#[cfg(test)]
mod tests;
