//! Records are kept in the form in which `PowerDNS` takes them and gives them back: otherwise our name servers would never show what they should.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::TestApi;

/// Type, and contents as customers write them, one of each kind that is written differently.
const CONTENTS: [(&str, &[&str]); 15] = [
    ("A", &["192.0.2.1"]),
    ("AAAA", &["2001:DB8:0:0:0::1", "::2", "2001:db8::192.0.2.1", "fe80::"]),
    (
        "CAA",
        &[
            "0 issue letsencrypt.org",
            "128 ISSUEWILD \";\"",
            "0 issue \"ca.example; account=230123; x=\\\"y\\\"\"",
            "0 iodef mailto:a@b.test",
        ],
    ),
    ("CNAME", &["_a.Bücher.example.test"]),
    ("DS", &["12345 8 1 ABCDEF0123456789ABCD EF0123456789ABCDEF01"]),
    (
        "HTTPS",
        &[
            "1 .",
            "1 . port=443 alpn=\"h2,h3\"",
            "2 Other.test no-default-alpn alpn=http/1.1 ipv4hint=192.0.2.1,192.0.2.2 ech=AAEC ipv6hint=2001:DB8::1,::2",
        ],
    ),
    ("MX", &["10 mail.example.test", "0 ."]),
    ("NAPTR", &["100 10 u E2U+sip \"!^.*$!sip:info@example.test!\" .", "1 2 \"\" \"\" \"a\\\\b\\\"\" _sip._tcp.example.test"]),
    ("NS", &["NS1.example.test", "test."]),
    ("PTR", &["host.example.test"]),
    ("SRV", &["010 5 5060 sip.example.test", "0 0 0 ."]),
    ("SSHFP", &["1 1 0123456789ABCDEF0123456789abcdef01234567"]),
    ("SVCB", &["0 other.test", "16 s.example.test mandatory=port,alpn PORT=53 alpn=dot"]),
    ("TLSA", &["3 1 0 00FF", "2 0 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]),
    ("TXT", &["v=spf1 -all", "v=DKIM1; k=rsa; p=MIIB", "say \"hi\" \\ ü\t.", "\"one\" \"\" \"two\"", "\"\"", "\"\\000\\255\\007\""]),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_what_powerdns_gives_back() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let powerdns = &api.stack.powerdns;
    powerdns.create_zone(&name, &["ns1.zonecert.test"]).await.unwrap();
    let long = "a".repeat(4096);
    let more: [(&str, &[&str]); 1] = [("TXT", &[&long])];
    let mut kept = Vec::new();
    for (record_type, contents) in CONTENTS.iter().chain(&more) {
        for content in *contents {
            let owner = format!("*._x.n{}-{}.{name}", kept.len(), record_type.to_lowercase());
            let record = json!({"name": owner, "type": record_type, "contents": [content]});
            let set = caller.send(Method::PUT, &format!("/zones/{zone}/records"), Some(record)).await.expect(StatusCode::OK);
            let content = set["contents"][0].as_str().unwrap().to_owned();
            powerdns.set_rrset(&name, &owner, record_type, std::slice::from_ref(&content)).await.unwrap();
            kept.push((format!("{owner}."), (*record_type).to_owned(), content));
        }
    }
    let shown = powerdns.get_zone(&name).await.unwrap();
    for (name, record_type, content) in kept {
        let rrset = shown.rrsets.iter().find(|rrset| rrset.name == name && rrset.record_type == record_type).unwrap();
        assert_eq!(rrset.contents(), [content.as_str()], "{name} {record_type}");
    }
    powerdns.delete_zone(&name).await.unwrap();
}
