//! What stands at `_acme-challenge.<name>`.

use zonecert_domain::delegation;
use zonecert_domain::zone_mode::ZoneMode;
use zonecert_resolver::{Answer, RecordType};

use crate::finding::{Finding, FindingCode};
use crate::seen::{Question, Seen, trouble};
use crate::{Expectations, Subject};

pub(crate) fn questions(subject: &Subject<'_>) -> Vec<Question> {
    let names = subject.bases().into_iter().map(delegation::alias);
    names.flat_map(|name| [(name.clone(), RecordType::Cname), (name, RecordType::Txt)]).collect()
}

pub(crate) fn judge(expectations: &Expectations, subject: &Subject<'_>, seen: &Seen) -> Vec<Finding> {
    subject.bases().into_iter().flat_map(|base| judge_name(expectations, subject, seen, base)).collect()
}

fn judge_name(expectations: &Expectations, subject: &Subject<'_>, seen: &Seen, base: &str) -> Vec<Finding> {
    let name = delegation::alias(base);
    let alias = seen.at(&name, RecordType::Cname);
    // That the resolver itself is away is said once, by the look at the delegation.
    if let Answer::Unreachable(_) = alias {
        return Vec::new();
    }
    let found =
        |code, kind, detail: String, remedy: String| Finding::new(code, name.as_str(), detail, remedy).because([seen.sight(&name, kind)]);
    let finding = |code, detail, remedy| found(code, RecordType::Cname, detail, remedy);
    if let Some(trouble) = trouble(alias) {
        let remedy = format!("Check that the name servers of {base} are up and answer for {name}.");
        return vec![finding(FindingCode::ChallengeLookupFailed, format!("{trouble} for {name}"), remedy)];
    }
    let target = alias.names().next();
    match subject.mode {
        ZoneMode::Hosted => match target {
            Some(target) => {
                let remedy = format!("Remove the CNAME record of {name}: we set a TXT record there.");
                vec![finding(FindingCode::ChallengeIsAlias, format!("{name} is an alias of {target}"), remedy)]
            }
            None => other_values(subject, seen, &name)
                .map(|(detail, remedy)| found(FindingCode::ChallengeHasOtherValues, RecordType::Txt, detail, remedy))
                .into_iter()
                .collect(),
        },
        ZoneMode::Delegated => {
            let Some(challenge_zone) = &expectations.challenge_zone else { return Vec::new() };
            let wanted = delegation::target(subject.zone_id, base, challenge_zone);
            let remedy =
                format!("Where the records of {} are kept, set {name} CNAME {wanted}. once; it serves every renewal.", subject.zone);
            match target {
                Some(target) if target == wanted => Vec::new(),
                Some(target) => vec![finding(FindingCode::ChallengeCnameWrong, format!("{name} is an alias of {target}"), remedy)],
                None => vec![finding(FindingCode::ChallengeCnameMissing, format!("{name} has no CNAME record"), remedy)],
            }
        }
    }
}

/// Values that are not ours do no harm as long as there are few: all of them have to fit one answer.
fn other_values(subject: &Subject<'_>, seen: &Seen, name: &str) -> Option<(String, String)> {
    let others = seen.at(name, RecordType::Txt).texts().filter(|value| !subject.our_values.iter().any(|ours| ours == value)).count();
    let values = if others == 1 { "1 TXT value".to_owned() } else { format!("{others} TXT values") };
    (others > 0).then(|| {
        (
            format!("{name} has {values} that we did not set"),
            format!("If another ACME client no longer needs what it has set at {name}, remove it; we leave it alone."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{World, names, texts};

    const NAME: &str = "_acme-challenge.app.example.test";

    fn found(world: &World, alias: Answer, values: Answer) -> Vec<FindingCode> {
        let seen = Seen::of([(NAME, RecordType::Cname, alias), (NAME, RecordType::Txt, values)]);
        judge(&world.expectations(), &world.subject(), &seen).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn in_a_zone_that_we_host_nothing_else_stands_there() {
        let world = World::new(ZoneMode::Hosted, &["app.example.test", "*.app.example.test"]);
        let none = || Answer::NoSuchName(None);
        assert_eq!(found(&world, none(), none()), []);
        assert_eq!(found(&world, none(), texts(&["ours"])), []);
        assert_eq!(found(&world, none(), texts(&["ours", "theirs"])), [FindingCode::ChallengeHasOtherValues]);
        assert_eq!(found(&world, names(&["elsewhere.test"]), none()), [FindingCode::ChallengeIsAlias]);
        assert_eq!(found(&world, Answer::Refused("SERVFAIL".to_owned()), none()), [FindingCode::ChallengeLookupFailed]);
        assert_eq!(found(&world, Answer::Unreachable(String::new()), none()), []);
    }

    #[test]
    fn in_a_zone_that_stays_elsewhere_the_alias_to_us_stands_there() {
        let world = World::new(ZoneMode::Delegated, &["app.example.test"]);
        let wanted = format!("{}.challenges.test", delegation::label(world.zone_id, "app.example.test"));
        let of_another = format!("{}.challenges.test", delegation::label(world.zone_id, "example.test"));
        assert_eq!(found(&world, names(&[&wanted]), texts(&["anything"])), []);
        assert_eq!(found(&world, names(&[&of_another]), Answer::NoSuchName(None)), [FindingCode::ChallengeCnameWrong]);
        assert_eq!(found(&world, Answer::NoSuchName(None), Answer::NoSuchName(None)), [FindingCode::ChallengeCnameMissing]);
        let seen = Seen::of([(NAME, RecordType::Cname, Answer::NoRecords(None))]);
        let missing = judge(&world.expectations(), &world.subject(), &seen);
        assert!(missing[0].remedy.contains(&format!("{NAME} CNAME {wanted}.")), "{missing:?}");
    }
}
