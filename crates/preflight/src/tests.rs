//! What the tests of all subjects share, and the checks as a whole.

use std::collections::BTreeSet;

use zonecert_domain::name::{NamePolicy, NameSet, NameWish};
use zonecert_resolver::{Answer, Caa, Data, KeyId, Record, RecordType};

use super::*;

/// The zone `example.test`, and names under it.
pub(crate) struct World {
    pub(crate) zone_id: ZoneId,
    zone: ZoneName,
    mode: ZoneMode,
    names: Vec<DnsName>,
    our_values: Vec<String>,
}

impl World {
    pub(crate) fn new(mode: ZoneMode, names: &[&str]) -> Self {
        let policy = NamePolicy { allow_special_use: true, platform_zones: Vec::new() };
        let sans: Vec<String> = names[1..].iter().map(ToString::to_string).collect();
        let wish = NameWish { domain: names[0], sans: &sans, wildcard: false, include_base: false };
        let names = NameSet::parse(&wish, &policy).unwrap().names().to_vec();
        let zone = ZoneName::from_stored("example.test").unwrap();
        Self { zone_id: ZoneId::new(), zone, mode, names, our_values: vec!["ours".to_owned()] }
    }

    #[expect(clippy::unused_self, reason = "reads as a part of the world")]
    pub(crate) fn expectations(&self) -> Expectations {
        Expectations {
            name_servers: vec!["ns1.zonecert.test.".to_owned(), "ns2.Zonecert.test".to_owned()],
            caa_identities: vec!["letsencrypt.org".to_owned()],
            challenge_zone: Some(ZoneName::platform("challenges.test").unwrap()),
        }
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { zone: &self.zone, zone_id: self.zone_id, mode: self.mode, names: &self.names, our_values: &self.our_values }
    }
}

fn records(data: impl IntoIterator<Item = Data>) -> Answer {
    Answer::Records(data.into_iter().map(|data| Record { name: "n.test".to_owned(), ttl_seconds: 60, data }).collect())
}

pub(crate) fn names(names: &[&str]) -> Answer {
    records(names.iter().map(|name| Data::Name((*name).to_owned())))
}

pub(crate) fn texts(texts: &[&str]) -> Answer {
    records(texts.iter().map(|text| Data::Text((*text).to_owned())))
}

pub(crate) fn keys(tags: &[u16]) -> Answer {
    records(tags.iter().map(|&tag| Data::Key(KeyId { tag, algorithm: 13 })))
}

pub(crate) fn other(text: &str) -> Answer {
    records([Data::Other(text.to_owned())])
}

pub(crate) fn caa(properties: &[(bool, &str, &str)]) -> Answer {
    let caa = |&(critical, tag, value): &(bool, &str, &str)| Caa { critical, tag: tag.to_owned(), value: value.to_owned() };
    records(properties.iter().map(caa).map(Data::Caa))
}

#[test]
fn every_code_is_there_once_and_says_what_it_is() {
    let words: BTreeSet<&str> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(words.len(), FindingCode::ALL.len());
    assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
}

#[test]
fn the_worst_comes_first_and_each_says_what_was_seen_where_and_what_to_do() {
    let world = World::new(ZoneMode::Hosted, &["example.test"]);
    let seen = Seen::of([
        ("example.test", RecordType::Ns, names(&["ns1.other.test"])),
        ("_acme-challenge.example.test", RecordType::Cname, Answer::NoRecords(None)),
        ("_acme-challenge.example.test", RecordType::Txt, texts(&["theirs"])),
        ("example.test", RecordType::Caa, caa(&[(false, "issue", "other.test")])),
    ]);
    let findings = judge(&world.expectations(), &world.subject(), &seen);
    let shown: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.code)).collect();
    assert_eq!(
        shown,
        [
            (Severity::Error, FindingCode::DelegatedElsewhere),
            (Severity::Error, FindingCode::CaaForbids),
            (Severity::Warning, FindingCode::ChallengeHasOtherValues),
        ]
    );
    for finding in &findings {
        assert!(!finding.detail.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
        assert!(finding.seen.len() == 1 && finding.seen[0].server == "192.0.2.53:53", "{finding:?}");
    }
    assert!(findings[0].remedy.contains("ns1.zonecert.test and ns2.zonecert.test"), "{findings:?}");
    assert_eq!(findings[1].seen[0].answer, r#"example.test has CAA 0 "issue" "other.test""#);
    assert!(findings[1].remedy.contains("0 issue \"letsencrypt.org\""), "{findings:?}");
}

#[test]
fn that_a_zone_does_not_answer_is_said_once() {
    let world = World::new(ZoneMode::Hosted, &["a.example.test", "b.example.test"]);
    let (subject, expectations) = (world.subject(), world.expectations());
    let questions = [delegation::questions(&subject), challenge::questions(&subject), caa::questions(&subject)];
    let silent = questions.into_iter().flatten().map(|(name, kind)| (name.leak() as &'static str, kind, Answer::TimedOut));
    let findings = judge(&expectations, &subject, &Seen::of(silent));
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [FindingCode::ZoneUnreachable]);
}

/// A name may have more than a hundred labels, and there may be a hundred of them.
#[tokio::test]
async fn there_is_an_end_to_questions() {
    let deep: Vec<String> = (0..100).map(|number| format!("{}n{number}.example.test", "a.".repeat(100))).collect();
    let world = World::new(ZoneMode::Hosted, &deep.iter().map(String::as_str).collect::<Vec<_>>());
    let closed = closed_port().await;
    let subject = world.subject();
    let questions = [delegation::questions(&subject), caa::questions(&subject)].into_iter().flatten();
    let seen = Seen::ask(&Resolver::new(&[closed]).unwrap(), questions).await;
    assert!(seen.left_out() > 9_000, "{}", seen.left_out());
    let codes = |seen: &Seen| judge(&world.expectations(), &subject, seen).iter().map(|finding| finding.code).collect::<Vec<_>>();
    assert_eq!(codes(&seen), [FindingCode::ResolverUnreachable]);
    let some = Seen::of([("example.test", RecordType::Ns, names(&["ns1.zonecert.test"]))]).without(9_000);
    assert_eq!(codes(&some), [FindingCode::Incomplete], "what was not looked at is no finding");
}

/// Where nobody answers.
async fn closed_port() -> std::net::SocketAddr {
    tokio::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_resolver_that_is_gone_is_said_once_and_blocks_nothing() {
    let address = closed_port().await;
    let world = World::new(ZoneMode::Hosted, &["a.example.test", "b.example.test"]);
    let resolver = Resolver::new(&[address]).unwrap();
    let findings = check(&resolver, &world.expectations(), &world.subject()).await;
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [FindingCode::ResolverUnreachable]);
    assert_eq!(findings[0].seen[0].server, address.to_string());
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for_without_end() {
    let silent = tokio::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let world = World::new(ZoneMode::Hosted, &["a.example.test", "b.example.test"]);
    let resolver = Resolver::new(&[silent.local_addr().unwrap()]).unwrap();
    let findings = check(&resolver, &world.expectations(), &world.subject()).await;
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [FindingCode::ResolverUnreachable]);
}
