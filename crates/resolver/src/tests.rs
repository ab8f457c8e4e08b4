//! Against a DNS server of the test's own, which can answer what no real one can be made to.

use std::net::Ipv4Addr;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CAA, CNAME, NS, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType as WireType};
use tokio::net::UdpSocket;

use super::*;

const NAME: &str = "_zonecert.example.test";

fn fqdn(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}

/// Makes each reply with `answer`, which is told how many questions came before.
async fn serve(answer: impl Fn(&mut Message, u32) + Send + 'static) -> SocketAddr {
    serve_unless(|_| false, answer).await
}

/// Says nothing to questions that are `ignored`.
async fn serve_unless(
    ignored: impl Fn(&Message) -> bool + Send + 'static,
    answer: impl Fn(&mut Message, u32) + Send + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        for asked in 0.. {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
            reply.add_query(question.queries[0].clone());
            if ignored(&reply) {
                continue;
            }
            answer(&mut reply, asked);
            socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

async fn ask_for(record_type: RecordType, answer: impl Fn(&mut Message, u32) + Send + 'static) -> Answer {
    Resolver::new(&[serve(answer).await]).unwrap().look_up(NAME, record_type).await
}

async fn ask(answer: impl Fn(&mut Message, u32) + Send + 'static) -> Answer {
    ask_for(RecordType::Txt, answer).await
}

async fn ask_silently(ignored: impl Fn(&Message) -> bool + Send + 'static) -> Answer {
    let server = serve_unless(ignored, |reply, _| reply.metadata.response_code = ResponseCode::Refused).await;
    Resolver::new(&[server]).unwrap().look_up(NAME, RecordType::Txt).await
}

fn texts(answer: &Answer) -> Vec<&str> {
    answer.texts().collect()
}

fn record(name: &str, strings: &[&str]) -> Record {
    let strings = strings.iter().map(|&text| text.to_owned()).collect();
    Record::from_rdata(fqdn(name), 3600, RData::TXT(TXT::new(strings)))
}

#[tokio::test]
async fn all_values_are_seen_and_the_strings_of_each_joined() {
    let answer = ask(|reply, _| {
        reply.add_answer(record(NAME, &["v=spf1 ", "-all"]));
        reply.add_answer(record(NAME, &["zonecert-verification=1"]));
    })
    .await;
    assert_eq!(texts(&answer), ["v=spf1 -all", "zonecert-verification=1"]);
}

#[tokio::test]
async fn an_alias_is_followed_unless_it_is_asked_for() {
    let alias = |reply: &mut Message, _| {
        let target = "Proof.example.net";
        reply.add_answer(Record::from_rdata(fqdn(NAME), 60, RData::CNAME(CNAME(fqdn(target)))));
        if reply.queries[0].query_type() == WireType::TXT {
            reply.add_answer(record(target, &["there"]));
        }
    };
    let answer = ask(alias).await;
    let there = super::Record { name: "proof.example.net".to_owned(), ttl_seconds: 3600, data: Data::Text("there".to_owned()) };
    assert_eq!(answer, Answer::Records(vec![there]));
    let answer = ask_for(RecordType::Cname, alias).await;
    assert_eq!(answer.names().collect::<Vec<_>>(), ["proof.example.net"]);
}

#[tokio::test]
async fn a_name_that_is_not_there_differs_from_one_without_txt() {
    let negative = |code: ResponseCode| {
        move |reply: &mut Message, _| {
            reply.metadata.response_code = code;
            let soa = SOA::new(fqdn("ns.example.test"), fqdn("hostmaster.example.test"), 1, 3600, 600, 86_400, 300);
            reply.add_authority(Record::from_rdata(fqdn("example.test"), 900, RData::SOA(soa)));
        }
    };
    assert_eq!(ask(negative(ResponseCode::NXDomain)).await, Answer::NoSuchName(Some(300)));
    assert_eq!(ask(negative(ResponseCode::NoError)).await, Answer::NoRecords(Some(300)));
}

#[tokio::test]
async fn a_server_that_could_not_find_out_says_so() {
    for (code, expected) in [(ResponseCode::ServFail, "SERVFAIL"), (ResponseCode::Refused, "REFUSED")] {
        let answer = ask(move |reply, _| reply.metadata.response_code = code).await;
        assert_eq!(answer, Answer::Refused(expected.to_owned()));
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let answer = Resolver::new(&[closed]).unwrap().look_up(NAME, RecordType::Txt).await;
    assert!(matches!(answer, Answer::Unreachable(_)), "{answer:?}");
}

#[tokio::test]
async fn a_zone_whose_servers_are_dead_differs_from_a_dead_resolver() {
    let answer = ask_silently(|reply| reply.queries[0].query_type() == WireType::TXT).await;
    assert_eq!(answer, Answer::TimedOut);
}

#[tokio::test]
async fn each_look_up_asks_anew() {
    let server = serve(|reply, asked| {
        if asked == 0 {
            reply.metadata.response_code = ResponseCode::NXDomain;
        } else {
            reply.add_answer(record(NAME, &[&asked.to_string()]));
        }
    })
    .await;
    let resolver = Resolver::new(&[server]).unwrap();
    assert_eq!(resolver.look_up(NAME, RecordType::Txt).await, Answer::NoSuchName(None));
    assert_eq!(texts(&resolver.look_up(NAME, RecordType::Txt).await), ["1"]);
    assert_eq!(texts(&resolver.look_up(NAME, RecordType::Txt).await), ["2"]);
}

#[tokio::test]
async fn the_name_is_asked_for_as_it_is_and_not_below_a_search_domain() {
    let answer = ask(|reply, _| {
        assert_eq!(reply.queries[0].query_type(), WireType::TXT);
        let name = reply.queries[0].name().to_ascii();
        reply.add_answer(record(NAME, &[&name]));
    })
    .await;
    assert_eq!(texts(&answer), [format!("{NAME}.")]);
}

#[tokio::test]
async fn each_type_is_read_in_its_own_form() {
    let answer_with = |data: RData| {
        move |reply: &mut Message, _| {
            reply.add_answer(Record::from_rdata(fqdn(NAME), 60, data.clone()));
        }
    };
    let data = async |record_type, rdata| ask_for(record_type, answer_with(rdata)).await.records()[0].data.clone();
    let server = data(RecordType::Ns, RData::NS(NS(fqdn("NS1.zonecert.test")))).await;
    assert_eq!(server, Data::Name("ns1.zonecert.test".to_owned()));
    let address = data(RecordType::A, RData::A(A(Ipv4Addr::LOCALHOST))).await;
    assert_eq!(address, Data::Address(Ipv4Addr::LOCALHOST.into()));
    let caa = CAA::new_issue(true, Some(fqdn("letsencrypt.org")), Vec::new());
    let caa = data(RecordType::Caa, RData::CAA(caa)).await;
    assert!(
        matches!(&caa, Data::Caa(Caa { critical: true, tag, value }) if tag == "issue" && value.starts_with("letsencrypt.org")),
        "{caa:?}"
    );
}

#[test]
fn only_what_the_dns_says_is_definite() {
    for answer in [Answer::Records(Vec::new()), Answer::NoSuchName(None), Answer::NoRecords(None)] {
        assert!(answer.is_definite(), "{answer:?}");
    }
    for answer in [Answer::TimedOut, Answer::Refused("SERVFAIL".to_owned()), Answer::Unreachable(String::new())] {
        assert!(!answer.is_definite(), "{answer:?}");
    }
}

#[test]
fn what_was_seen_is_told_escaped_and_in_bounds() {
    let record = |data| super::Record { name: NAME.to_owned(), ttl_seconds: 60, data };
    let texts = |count: usize, text: &str| Answer::Records(vec![record(Data::Text(text.to_owned())); count]);
    for (answer, record_type, expected) in [
        (texts(1, "a\n\u{1b}[0m"), RecordType::Txt, format!(r#"{NAME} has TXT "a\n\u{{1b}}[0m""#)),
        (texts(7, "v"), RecordType::Txt, format!(r#"{NAME} has TXT "v", "v", "v", "v", "v" and 2 more"#)),
        (texts(1, &"é".repeat(300)), RecordType::Txt, format!("{NAME} has TXT \"{}\"…", "é".repeat(100))),
        (Answer::Records(vec![record(Data::Name("a.test".to_owned()))]), RecordType::Cname, format!("{NAME} has CNAME a.test")),
        (Answer::NoSuchName(Some(60)), RecordType::Cname, format!("{NAME} does not exist (NXDOMAIN)")),
        (Answer::NoRecords(None), RecordType::Cname, format!("{NAME} has no CNAME record")),
        (Answer::TimedOut, RecordType::Ns, format!("no DNS server answered for {NAME} in time")),
        (Answer::Refused("SERVFAIL".to_owned()), RecordType::Txt, format!("the DNS answered SERVFAIL for {NAME}")),
        (Answer::Unreachable("10.0.0.1 is down".to_owned()), RecordType::Txt, "our DNS resolver did not answer".to_owned()),
    ] {
        assert_eq!(answer.describe(NAME, record_type), expected);
    }
}
