//! Against a DNS server of the test's own, which can answer what no real one can be made to.

use std::net::Ipv4Addr;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::rdata::{CNAME, SOA, TXT};
use hickory_resolver::proto::rr::{Name, Record, RecordType};
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

async fn ask(answer: impl Fn(&mut Message, u32) + Send + 'static) -> TxtAnswer {
    look_up_txt(&build(&[serve(answer).await]).unwrap(), NAME).await
}

async fn ask_silently(ignored: impl Fn(&Message) -> bool + Send + 'static) -> TxtAnswer {
    let server = serve_unless(ignored, |reply, _| reply.metadata.response_code = ResponseCode::Refused).await;
    look_up_txt(&build(&[server]).unwrap(), NAME).await
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
    assert_eq!(answer, TxtAnswer::Values(vec!["v=spf1 -all".to_owned(), "zonecert-verification=1".to_owned()]));
}

#[tokio::test]
async fn an_alias_is_followed() {
    let answer = ask(|reply, _| {
        let alias = "proof.example.net";
        reply.add_answer(Record::from_rdata(fqdn(NAME), 60, RData::CNAME(CNAME(fqdn(alias)))));
        reply.add_answer(record(alias, &["there"]));
    })
    .await;
    assert_eq!(answer, TxtAnswer::Values(vec!["there".to_owned()]));
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
    assert_eq!(ask(negative(ResponseCode::NXDomain)).await, TxtAnswer::NoSuchName(Some(300)));
    assert_eq!(ask(negative(ResponseCode::NoError)).await, TxtAnswer::NoTxt(Some(300)));
}

#[tokio::test]
async fn a_server_that_could_not_find_out_says_so() {
    for (code, expected) in [(ResponseCode::ServFail, "SERVFAIL"), (ResponseCode::Refused, "REFUSED")] {
        let answer = ask(move |reply, _| reply.metadata.response_code = code).await;
        assert_eq!(answer, TxtAnswer::Refused(expected.to_owned()));
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let answer = look_up_txt(&build(&[closed]).unwrap(), NAME).await;
    assert!(matches!(answer, TxtAnswer::Unreachable(_)), "{answer:?}");
}

#[tokio::test]
async fn a_zone_whose_servers_are_dead_differs_from_a_dead_resolver() {
    let answer = ask_silently(|reply| reply.queries[0].query_type() == RecordType::TXT).await;
    assert_eq!(answer, TxtAnswer::TimedOut);
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
    let resolver = build(&[server]).unwrap();
    assert_eq!(look_up_txt(&resolver, NAME).await, TxtAnswer::NoSuchName(None));
    assert_eq!(look_up_txt(&resolver, NAME).await, TxtAnswer::Values(vec!["1".to_owned()]));
    assert_eq!(look_up_txt(&resolver, NAME).await, TxtAnswer::Values(vec!["2".to_owned()]));
}

#[tokio::test]
async fn the_name_is_asked_for_as_it_is_and_not_below_a_search_domain() {
    let answer = ask(|reply, _| {
        assert_eq!(reply.queries[0].query_type(), RecordType::TXT);
        let name = reply.queries[0].name().to_ascii();
        reply.add_answer(record(NAME, &[&name]));
    })
    .await;
    assert_eq!(answer, TxtAnswer::Values(vec![format!("{NAME}.")]));
}
