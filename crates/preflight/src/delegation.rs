//! Whether a zone that we host is delegated to our name servers: the CA asks whoever the zone above names.

use zonecert_domain::zone_mode::ZoneMode;
use zonecert_resolver::{Answer, RecordType};

use crate::finding::{Finding, FindingCode};
use crate::seen::{Question, Seen, trouble};
use crate::{Expectations, Subject};

pub(crate) fn questions(subject: &Subject<'_>) -> Vec<Question> {
    vec![(subject.zone.to_string(), RecordType::Ns)]
}

pub(crate) fn judge(expectations: &Expectations, subject: &Subject<'_>, seen: &Seen) -> Vec<Finding> {
    let zone = subject.zone.as_str();
    let answer = seen.at(zone, RecordType::Ns);
    let finding =
        |code, detail: String, remedy: String| vec![Finding::new(code, zone, detail, remedy).because([seen.sight(zone, RecordType::Ns)])];
    if let Answer::Unreachable(_) = answer {
        let remedy = "Nothing to do on your side: our DNS resolver does not answer. Check again in a few minutes.";
        return finding(FindingCode::ResolverUnreachable, "the resolver cannot be reached".to_owned(), remedy.to_owned());
    }
    if let Some(trouble) = trouble(answer) {
        let remedy = format!("Check that the name servers of {zone} are up and answer for it, and that its DNSSEC is in order.");
        return finding(FindingCode::ZoneUnreachable, format!("{trouble} to the question for the name servers of {zone}"), remedy);
    }
    if subject.mode == ZoneMode::Delegated {
        return Vec::new();
    }
    let ours: Vec<String> = expectations.name_servers.iter().map(|name| plain(name)).collect();
    let point = format!("At the registrar of {zone}, set the name servers to {} and no others.", ours.join(" and "));
    let servers: Vec<&str> = answer.names().collect();
    let foreign = servers.iter().filter(|server| !ours.iter().any(|name| name == *server)).count();
    let list = servers.join(", ");
    if servers.is_empty() {
        let what = match answer {
            Answer::NoSuchName(_) => format!("{zone} does not exist (NXDOMAIN)"),
            _ => format!("{zone} has no name servers of its own"),
        };
        finding(FindingCode::NotDelegated, what, point)
    } else if foreign == servers.len() {
        let remedy = format!("{point} Or import the zone in the mode `delegated`, in which it stays where it is.");
        finding(FindingCode::DelegatedElsewhere, format!("{zone} is delegated to {list}"), remedy)
    } else if foreign > 0 {
        finding(FindingCode::DelegatedPartly, format!("{zone} is delegated to {list}, not all of which are ours"), point)
    } else {
        Vec::new()
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{World, names};

    fn codes(mode: ZoneMode, answer: Answer) -> Vec<(FindingCode, String)> {
        let world = World::new(mode, &["example.test"]);
        let seen = Seen::of([("example.test", RecordType::Ns, answer)]);
        let findings = judge(&world.expectations(), &world.subject(), &seen);
        findings.into_iter().map(|finding| (finding.code, finding.detail)).collect()
    }

    #[test]
    fn a_zone_that_we_host_is_delegated_to_us_alone() {
        let found = |answer| codes(ZoneMode::Hosted, answer).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        assert_eq!(found(names(&["ns2.zonecert.test", "ns1.zonecert.test"])), []);
        assert_eq!(found(names(&["ns1.zonecert.test"])), [], "fewer of ours will do");
        assert_eq!(found(names(&["ns1.other.test", "ns2.other.test"])), [FindingCode::DelegatedElsewhere]);
        assert_eq!(found(names(&["ns1.zonecert.test", "ns2.other.test"])), [FindingCode::DelegatedPartly]);
        assert_eq!(found(Answer::NoSuchName(None)), [FindingCode::NotDelegated]);
        assert_eq!(found(Answer::NoRecords(Some(60))), [FindingCode::NotDelegated]);
    }

    #[test]
    fn a_zone_that_stays_elsewhere_needs_no_delegation_to_us() {
        assert_eq!(codes(ZoneMode::Delegated, names(&["ns1.other.test"])), []);
    }

    #[test]
    fn a_zone_that_does_not_answer_is_told_from_a_resolver_that_does_not() {
        for mode in ZoneMode::ALL {
            let servfail = codes(mode, Answer::Refused("SERVFAIL".to_owned()));
            assert_eq!(servfail[0].0, FindingCode::ZoneUnreachable);
            assert!(servfail[0].1.contains("SERVFAIL"), "{servfail:?}");
            assert_eq!(codes(mode, Answer::TimedOut)[0].0, FindingCode::ZoneUnreachable);
            assert_eq!(codes(mode, Answer::Unreachable("connection refused".to_owned()))[0].0, FindingCode::ResolverUnreachable);
        }
    }
}
