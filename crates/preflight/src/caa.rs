//! Whether CAA records allow our CA to issue (RFC 8659, RFC 8657).

use std::collections::BTreeMap;

use zonecert_domain::name::{DnsName, is_at_or_below};
use zonecert_resolver::{Answer, Caa, Data, RecordType};

use crate::finding::{Finding, FindingCode};
use crate::seen::{Question, Seen, trouble};
use crate::{Expectations, Subject};

/// How we prove control (RFC 8657 §4).
const METHOD: &str = "dns-01";

pub(crate) fn questions(subject: &Subject<'_>) -> Vec<Question> {
    subject.bases().into_iter().flat_map(climb).map(|name| (name.to_owned(), RecordType::Caa)).collect()
}

/// The name and all above it, up to but without the root (RFC 8659 §3).
fn climb(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, above)| above))
}

pub(crate) fn judge(expectations: &Expectations, subject: &Subject<'_>, seen: &Seen) -> Vec<Finding> {
    // One record above many names is one finding.
    let mut findings = BTreeMap::<(String, &'static str), Finding>::new();
    for name in subject.names {
        if let Some(finding) = judge_name(expectations, subject, name, seen) {
            findings.entry((finding.name.clone(), finding.code.as_str())).or_insert(finding);
        }
    }
    findings.into_values().collect()
}

fn judge_name(expectations: &Expectations, subject: &Subject<'_>, name: &DnsName, seen: &Seen) -> Option<Finding> {
    for at in climb(name.base()) {
        let answer = seen.at(at, RecordType::Caa);
        if let Answer::Unreachable(_) = answer {
            return None;
        }
        if let Some(trouble) = trouble(answer) {
            // Whoever is above the zone is not the customer's to mend, and their trouble is everybody's.
            if !is_at_or_below(at, subject.zone.as_str()) {
                continue;
            }
            let remedy =
                format!("Check that the name servers of {at} answer questions for CAA records; a CA that gets no answer must not issue.");
            let detail = format!("{trouble} for the CAA records of {at}");
            return Some(Finding::new(FindingCode::CaaLookupFailed, at, detail, remedy).because([seen.sight(at, RecordType::Caa)]));
        }
        let records: Vec<&Caa> = answer
            .records()
            .iter()
            .filter_map(|record| match &record.data {
                Data::Caa(caa) => Some(caa),
                _ => None,
            })
            .collect();
        if !records.is_empty() {
            return judge_set(expectations, name.is_wildcard(), at, &records, seen);
        }
    }
    None
}

/// The relevant set: the first that is not empty on the way up decides, and nothing above it.
fn judge_set(expectations: &Expectations, wildcard: bool, at: &str, records: &[&Caa], seen: &Seen) -> Option<Finding> {
    let first = expectations.caa_identities.first().map_or("", String::as_str);
    let tag = if wildcard && records.iter().any(|record| record.tag == "issuewild") { "issuewild" } else { "issue" };
    let finding =
        |code, detail: String, remedy: String| Some(Finding::new(code, at, detail, remedy).because([seen.sight(at, RecordType::Caa)]));
    let known = ["issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"];
    let unknown: Vec<&Caa> = records.iter().copied().filter(|record| record.critical && !known.contains(&record.tag.as_str())).collect();
    if !unknown.is_empty() {
        return finding(
            FindingCode::CaaCriticalUnknown,
            format!("{at} has a critical CAA record `{}`, which is in no standard", unknown[0].tag.escape_debug()),
            format!("Remove the critical record at {at}, or clear its critical flag."),
        );
    }
    let relevant: Vec<&Caa> = records.iter().copied().filter(|record| record.tag == tag).collect();
    if relevant.is_empty() {
        return None;
    }
    let ours: Vec<Property<'_>> = relevant
        .iter()
        .map(|record| Property::read(&record.value))
        .filter(|property| property.allows(&expectations.caa_identities))
        .collect();
    if ours.is_empty() {
        let remedy = format!("At {at}, add the record `0 {tag} \"{first}\"` beside what is there, or remove the `{tag}` records.");
        let detail = format!("the `{tag}` records of {at} do not allow our CA, {first}");
        return finding(FindingCode::CaaForbids, detail, remedy);
    }
    let by_dns: Vec<&Property<'_>> = ours.iter().filter(|property| property.allows_method()).collect();
    if by_dns.is_empty() {
        let remedy = format!("At {at}, add {METHOD} to `validationmethods` of the record for {first}, or remove that parameter.");
        let detail = format!("the `{tag}` record of {at} allows {first} by other kinds of validation than {METHOD}");
        return finding(FindingCode::CaaMethodForbidden, detail, remedy);
    }
    if by_dns.iter().all(|property| property.parameter("accounturi").is_some()) {
        let remedy = format!("At {at}, remove `accounturi` from the record for {first}, unless it names our account at the CA.");
        let detail = format!("the `{tag}` record of {at} allows {first} for one account at the CA only");
        return finding(FindingCode::CaaAccountBound, detail, remedy);
    }
    None
}

/// The value of an `issue` or `issuewild` property (RFC 8659 §4.2): an issuer, and parameters behind semicolons.
struct Property<'a> {
    issuer: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Property<'a> {
    /// A value whose parameters cannot be read allows nobody (RFC 8659 §4.2).
    fn read(value: &'a str) -> Self {
        let mut parts = value.split(';').map(str::trim);
        let issuer = parts.next().unwrap_or_default();
        let parameters = parts.filter(|part| !part.is_empty()).map(|part| part.split_once('='));
        match parameters.collect::<Option<Vec<_>>>() {
            Some(parameters) => {
                Self { issuer, parameters: parameters.into_iter().map(|(name, value)| (name.trim(), value.trim())).collect() }
            }
            None => Self { issuer: "", parameters: Vec::new() },
        }
    }

    fn allows(&self, identities: &[String]) -> bool {
        !self.issuer.is_empty() && identities.iter().any(|identity| identity.eq_ignore_ascii_case(self.issuer))
    }

    fn allows_method(&self) -> bool {
        self.parameter("validationmethods").is_none_or(|methods| methods.split(',').any(|method| method.trim() == METHOD))
    }

    fn parameter(&self, wanted: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{World, caa};
    use zonecert_domain::zone_mode::ZoneMode;

    /// Where CAA records stand, and what they say: whether critical, tag and value.
    type Set<'a> = (&'static str, &'a [(bool, &'a str, &'a str)]);

    /// What is found for these names where these sets stand, the rest of the tree being empty.
    fn found(wanted: &[&str], sets: &[Set<'_>]) -> Vec<(FindingCode, String)> {
        let world = World::new(ZoneMode::Hosted, wanted);
        let subject = world.subject();
        let empty = subject
            .bases()
            .into_iter()
            .flat_map(climb)
            .map(|name| (name.to_owned().leak() as &'static str, RecordType::Caa, Answer::NoRecords(None)));
        let sets = sets.iter().map(|(name, records)| (*name, RecordType::Caa, caa(records)));
        let seen = Seen::of(empty.chain(sets));
        judge(&world.expectations(), &subject, &seen).into_iter().map(|finding| (finding.code, finding.name)).collect()
    }

    fn codes(wanted: &str, sets: &[Set<'_>]) -> Vec<FindingCode> {
        found(&[wanted], sets).into_iter().map(|(code, _)| code).collect()
    }

    #[test]
    fn where_nothing_is_said_everybody_may_issue() {
        assert_eq!(codes("a.b.example.test", &[]), []);
        assert_eq!(codes("example.test", &[("example.test", &[(false, "iodef", "mailto:a@example.test")])]), []);
        assert_eq!(codes("*.example.test", &[("example.test", &[(false, "iodef", "mailto:a@example.test")])]), []);
    }

    #[test]
    fn the_nearest_set_decides_and_none_above_it() {
        let above: Set<'_> = ("example.test", &[(false, "issue", "other.test")]);
        assert_eq!(codes("a.b.example.test", &[above]), [FindingCode::CaaForbids]);
        assert_eq!(codes("a.b.example.test", &[above, ("b.example.test", &[(false, "issue", "Letsencrypt.org")])]), []);
        assert_eq!(
            codes("example.test", &[("example.test", &[(false, "issue", "letsencrypt.org")]), ("test", &[(false, "issue", ";")])]),
            []
        );
        assert_eq!(codes("example.test", &[("test", &[(false, "issue", ";")])]), [FindingCode::CaaForbids]);
    }

    #[test]
    fn issuewild_decides_for_wildcards_alone() {
        let only_wild: Set<'_> = ("example.test", &[(false, "issue", "letsencrypt.org"), (false, "issuewild", ";")]);
        assert_eq!(codes("example.test", &[only_wild]), []);
        assert_eq!(codes("*.example.test", &[only_wild]), [FindingCode::CaaForbids]);
        let wild_allowed: Set<'_> = ("example.test", &[(false, "issue", ";"), (false, "issuewild", "letsencrypt.org")]);
        assert_eq!(codes("*.example.test", &[wild_allowed]), []);
        assert_eq!(codes("example.test", &[wild_allowed]), [FindingCode::CaaForbids]);
    }

    #[test]
    fn parameters_may_narrow_what_is_allowed() {
        let with = |value: &'static str| codes("example.test", &[("example.test", &[(false, "issue", value)])]);
        assert_eq!(with("letsencrypt.org; validationmethods=http-01"), [FindingCode::CaaMethodForbidden]);
        assert_eq!(with("letsencrypt.org; validationmethods=http-01,dns-01"), []);
        assert_eq!(with("letsencrypt.org;"), []);
        assert_eq!(with("letsencrypt.org; nonsense"), [FindingCode::CaaForbids]);
        assert_eq!(with("letsencrypt.org;accounturi=https://ca.test/acct/1"), [FindingCode::CaaAccountBound]);
        let both: &[(bool, &str, &str)] =
            &[(false, "issue", "letsencrypt.org; accounturi=https://ca.test/1"), (false, "issue", "letsencrypt.org")];
        assert_eq!(codes("example.test", &[("example.test", both)]), []);
    }

    #[test]
    fn a_critical_property_that_is_unknown_forbids() {
        assert_eq!(
            codes("example.test", &[("example.test", &[(true, "tbs", "x"), (false, "issue", "letsencrypt.org")])]),
            [FindingCode::CaaCriticalUnknown]
        );
        assert_eq!(codes("example.test", &[("example.test", &[(false, "tbs", "x")])]), []);
        assert_eq!(codes("example.test", &[("example.test", &[(true, "issue", "letsencrypt.org")])]), []);
    }

    #[test]
    fn one_record_above_many_names_is_one_finding() {
        let found = found(&["a.example.test", "b.example.test"], &[("example.test", &[(false, "issue", "other.test")])]);
        assert_eq!(found, [(FindingCode::CaaForbids, "example.test".to_owned())]);
    }

    #[test]
    fn what_cannot_be_looked_up_forbids_too() {
        let world = World::new(ZoneMode::Hosted, &["a.example.test"]);
        let at = |answer: Answer| {
            let seen = Seen::of([("a.example.test", RecordType::Caa, Answer::NoSuchName(None)), ("example.test", RecordType::Caa, answer)]);
            judge(&world.expectations(), &world.subject(), &seen)
                .into_iter()
                .map(|finding| (finding.code, finding.name))
                .collect::<Vec<_>>()
        };
        assert_eq!(at(Answer::Refused("SERVFAIL".to_owned())), [(FindingCode::CaaLookupFailed, "example.test".to_owned())]);
        assert_eq!(at(Answer::TimedOut), [(FindingCode::CaaLookupFailed, "example.test".to_owned())]);
        assert_eq!(at(Answer::Unreachable(String::new())), []);
    }

    #[test]
    fn the_trouble_of_those_above_the_zone_is_not_the_customers() {
        assert_eq!(codes("example.test", &[]), []);
        let world = World::new(ZoneMode::Hosted, &["a.example.test"]);
        let none = |name| (name, RecordType::Caa, Answer::NoRecords(None));
        let above = ("test", RecordType::Caa, Answer::Refused("REFUSED".to_owned()));
        assert_eq!(judge(&world.expectations(), &world.subject(), &Seen::of([none("a.example.test"), none("example.test"), above])), []);
        assert!(is_at_or_below("a.example.test", "example.test") && !is_at_or_below("notexample.test", "example.test"));
    }
}
