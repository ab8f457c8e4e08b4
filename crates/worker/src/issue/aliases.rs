//! The aliases of a delegated zone, looked up before each order: without them the CA would find nothing, and count it as a failed validation
//! (requirements S3.71).

use std::collections::BTreeSet;

use futures::StreamExt as _;
use zonecert_domain::delegation;
use zonecert_domain::failure::{AliasTrouble, Failure, FailureCode};
use zonecert_domain::issuance::Failed;
use zonecert_resolver::{Answer, RecordType};
use zonecert_store::issuing::Subject;

use super::places::Places;
use super::{Run, StepError};

/// Look-ups at the same time, for one order.
const PARALLEL_LOOK_UPS: usize = 8;

/// So many aliases are named in a message.
const NAMED: usize = 5;

/// An alias that is not as it should be.
struct Broken {
    /// Where it should stand.
    alias: String,
    /// What it should lead to.
    target: String,
    /// What stands there.
    answer: Answer,
}

impl Broken {
    fn trouble(&self) -> AliasTrouble {
        match self.answer {
            Answer::Records(_) => AliasTrouble::Elsewhere,
            Answer::NoSuchName(_) => AliasTrouble::NoSuchName,
            Answer::NoRecords(_) => AliasTrouble::NoRecord,
            Answer::Refused(_) => AliasTrouble::Refused,
            Answer::TimedOut => AliasTrouble::TimedOut,
            Answer::Unreachable(_) => AliasTrouble::ResolverGone,
        }
    }
}

impl Run<'_> {
    /// Makes sure that the alias of every name leads to where its value will stand. A hosted zone needs none.
    pub(super) async fn check_aliases(&self, subject: &Subject) -> Result<(), StepError> {
        let places = self.places(subject)?;
        if matches!(places, Places::Hosted(_)) {
            return Ok(());
        }
        let wanted: BTreeSet<(String, String)> = subject.names.iter().map(|name| (delegation::alias(name), places.name(name))).collect();
        let resolver = &self.worker.resolver;
        let look_up = |(alias, target): (String, String)| async move {
            let answer = resolver.look_up(&alias, RecordType::Cname).await;
            let leads_there = answer.names().any(|name| name == target);
            (!leads_there).then_some(Broken { alias, target, answer })
        };
        let broken: Vec<Broken> =
            futures::stream::iter(wanted).map(look_up).buffered(PARALLEL_LOOK_UPS).filter_map(|broken| async { broken }).collect().await;
        judge(&subject.zone, &broken)
    }
}

/// What weighs most is told ([`AliasTrouble`]).
fn judge(zone: &str, broken: &[Broken]) -> Result<(), StepError> {
    let Some(code) = broken.iter().map(Broken::trouble).min().map(AliasTrouble::code) else { return Ok(()) };
    let alike: Vec<&Broken> = broken.iter().filter(|broken| broken.trouble().code() == code).collect();
    match code {
        FailureCode::ChallengeCnameMissing => {
            let to_set = list(alike.iter().map(|broken| format!("{} CNAME {}", broken.alias, broken.target)));
            let remedy = format!("Set in the DNS of {zone}: {to_set}. It is looked for again by itself.");
            Err(StepError::Failure(Failure::new(code, seen(&alike)).with_remedy(remedy), Failed::Order))
        }
        FailureCode::ResolverUnavailable => {
            tracing::error!(answer = ?alike[0].answer, "the DNS servers of the setting for resolvers cannot be reached");
            Err(Failure::new(code, "our DNS resolver did not answer").into())
        }
        _ => Err(Failure::new(code, seen(&alike)).into()),
    }
}

fn seen(broken: &[&Broken]) -> String {
    list(broken.iter().map(|broken| broken.answer.describe(&broken.alias, RecordType::Cname)))
}

fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(NAMED);
    let named = items.take(NAMED).collect::<Vec<_>>().join("; ");
    if more == 0 { named } else { format!("{named}; and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(name: &str, answer: Answer) -> Broken {
        Broken { alias: format!("_acme-challenge.{name}"), target: format!("label-of-{name}.challenges.test"), answer }
    }

    fn failure(broken: &[Broken]) -> Option<(Failure, Failed)> {
        match judge("a.test", broken) {
            Ok(()) => None,
            Err(StepError::Failure(failure, failed)) => Some((failure, failed)),
            Err(StepError::Store(error)) => panic!("{error}"),
            Err(StepError::Unproven(..) | StepError::Suspended | StepError::Spent(_) | StepError::Turn) => panic!("another error"),
        }
    }

    #[test]
    fn a_missing_alias_is_named_with_what_was_seen_and_what_to_set() {
        let (failure, failed) = failure(&[broken("a.test", Answer::TimedOut), broken("www.a.test", Answer::NoSuchName(None))]).unwrap();
        assert_eq!((failure.code, failed), (FailureCode::ChallengeCnameMissing, Failed::Order));
        assert_eq!(failure.detail(), "_acme-challenge.www.a.test does not exist (NXDOMAIN)");
        assert_eq!(
            failure.remedy(),
            "Set in the DNS of a.test: _acme-challenge.www.a.test CNAME label-of-www.a.test.challenges.test. It is looked for again by itself."
        );
    }

    #[test]
    fn trouble_of_the_dns_is_told_from_a_missing_alias_and_from_a_resolver_that_is_gone() {
        assert!(failure(&[]).is_none());
        let (trouble, failed) = failure(&[broken("a.test", Answer::Refused("SERVFAIL".to_owned()))]).unwrap();
        assert_eq!((trouble.code, failed), (FailureCode::ChallengeCnameUnknown, Failed::Step));
        let (gone, _) =
            failure(&[broken("a.test", Answer::TimedOut), broken("b.test", Answer::Unreachable("10.0.0.1".to_owned()))]).unwrap();
        assert_eq!(gone.code, FailureCode::ResolverUnavailable);
        assert!(!gone.detail().contains("10.0.0.1"), "customers see it");
    }

    #[test]
    fn of_many_missing_aliases_a_few_are_named() {
        let many: Vec<Broken> = (0..100).map(|number| broken(&format!("n{number}.a.test"), Answer::NoRecords(None))).collect();
        let (failure, _) = failure(&many).unwrap();
        assert!(failure.detail().ends_with("; and 95 more") && failure.remedy().contains("; and 95 more"), "{failure:?}");
    }
}
