//! Zone files over HTTP: all of one or nothing.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Caller, TestApi};

const FILE: &str = r#"$TTL 1h
@ IN SOA ns1.provider.test. hostmaster.provider.test. ( 1 7200 3600 1209600 300 )
@ NS ns1.provider.test.
@ A 192.0.2.1
www CNAME @
_acme-challenge CNAME somewhere.test.
_zonecert TXT "old"
k._domainkey TXT ( "v=DKIM1; k=rsa; " "p=MIIB" )
"#;

async fn import(caller: &Caller<'_>, zone: &str, body: Value) -> Answer {
    caller.post(&format!("/zones/{zone}/import"), body).await
}

/// The file itself as the body.
async fn import_bare(caller: &Caller<'_>, zone: &str, query: &str, content_type: &str, body: Vec<u8>) -> (u16, Value) {
    let url = format!("{}/api/v1/zones/{zone}/import{query}", caller.api.url);
    let request = reqwest::Client::builder().no_proxy().build().unwrap().post(url).bearer_auth(&caller.token);
    let answer = request.header("Content-Type", content_type).body(body).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn names(caller: &Caller<'_>, zone: &str) -> Vec<String> {
    let page = caller.get(&format!("/zones/{zone}/records?limit=100")).await.expect(StatusCode::OK);
    let name = |record: &Value| format!("{} {}", record["name"].as_str().unwrap(), record["type"].as_str().unwrap());
    page["records"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_in_and_says_what_was_left_out() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let answer = import(&caller, &zone, json!({"zone_file": FILE})).await.expect(StatusCode::OK);
    let line =
        |set: &Value| format!("{} {} {} {}", set["name"].as_str().unwrap(), set["ttl"], set["type"].as_str().unwrap(), set["contents"]);
    let mut set: Vec<String> = answer["set"].as_array().unwrap().iter().map(line).collect();
    set.sort_unstable();
    let mut expected = [
        format!("{name} 3600 A [\"192.0.2.1\"]"),
        format!("k._domainkey.{name} 3600 TXT {}", json!(["\"v=DKIM1; k=rsa; \" \"p=MIIB\""])),
        format!("www.{name} 3600 CNAME [\"{name}.\"]"),
    ];
    expected.sort_unstable();
    assert_eq!(set, expected);
    assert_eq!((&answer["unchanged_count"], &answer["deleted"]), (&json!(0), &json!([])));
    let left_out = answer["left_out"].as_array().unwrap().iter();
    let left_out: Vec<Value> = left_out.map(|left| json!([left["line"], left["name"], left["type"], left["code"]])).collect();
    assert_eq!(
        left_out,
        [
            json!([2, name, "SOA", "soa"]),
            json!([3, name, "NS", "apex_ns"]),
            json!([6, format!("_acme-challenge.{name}"), "CNAME", "reserved"]),
            json!([7, format!("_zonecert.{name}"), "TXT", "reserved"]),
        ]
    );
    assert!(answer["left_out"][0]["detail"].as_str().unwrap().contains("SOA"));
    assert_eq!(api.jobs("project").await, [json!({"dns_zone": name})]);
    let events = api.sql("SELECT message FROM events WHERE event = 'records_changed'").await;
    assert_eq!(events, [json!({"message": format!("Records of the zone {name} changed: 3 record sets set, 0 deleted")})]);

    // Again: nothing changes, nothing is done.
    let again = import(&caller, &zone, json!({"zone_file": FILE, "replace": null})).await.expect(StatusCode::OK);
    assert_eq!((&again["set"], &again["unchanged_count"]), (&json!([]), &json!(3)));
    assert_eq!(api.jobs("project").await.len(), 1);
    assert_eq!(api.sql("SELECT count(*) FROM events WHERE event = 'records_changed'").await, [json!({"count": 1})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_adds_to_what_is_there_or_takes_its_place() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    import(&caller, &zone, json!({"zone_file": "a A 192.0.2.1\nb A 192.0.2.1\nb TXT x"})).await.expect(StatusCode::OK);
    let added = import(&caller, &zone, json!({"zone_file": "b A 192.0.2.2\nc A 192.0.2.1"})).await.expect(StatusCode::OK);
    assert_eq!((added["set"].as_array().unwrap().len(), &added["deleted"]), (2, &json!([])));
    assert_eq!(names(&caller, &zone).await, [format!("a.{name} A"), format!("b.{name} A"), format!("b.{name} TXT"), format!("c.{name} A")]);

    let (status, replaced) = import_bare(&caller, &zone, "?replace=true", "text/dns", b"b CNAME a\nc A 192.0.2.1\n".to_vec()).await;
    assert_eq!(status, 200, "{replaced}");
    assert_eq!(replaced["unchanged_count"], 1);
    let deleted = json!([{"name": format!("a.{name}"), "type": "A"}, {"name": format!("b.{name}"), "type": "A"}, {"name": format!("b.{name}"), "type": "TXT"}]);
    assert_eq!(replaced["deleted"], deleted);
    assert_eq!(names(&caller, &zone).await, [format!("b.{name} CNAME"), format!("c.{name} A")]);
    // Without anything in it, it takes everything away.
    let emptied = import(&caller, &zone, json!({"zone_file": "; nothing", "replace": true})).await.expect(StatusCode::OK);
    assert_eq!(emptied["deleted"].as_array().unwrap().len(), 2);
    assert_eq!(names(&caller, &zone).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fault_keeps_the_whole_file_out() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let two = import(&caller, &zone, json!({"zone_file": "a A 192.0.2.1\nb A x\nc LOC 1\n"})).await;
    let (code, detail) = two.problem(400);
    assert_eq!((code.as_str(), detail.as_str()), ("invalid_input", "2 values are invalid; `errors` names them"));
    let errors = two.json()["errors"].clone();
    assert_eq!((&errors[0]["pointer"], &errors[0]["code"]), (&json!("/zone_file"), &json!("record_content_invalid")));
    assert!(errors[0]["detail"].as_str().unwrap().starts_with("line 2: \"x\" is not an IPv4 address"), "{errors}");
    assert!(errors[1]["detail"].as_str().unwrap().starts_with("line 3: "), "{errors}");
    for (file, code) in [
        ("$INCLUDE /etc/passwd\n", "zone_file_include"),
        ("$GENERATE 1-1000000000 h$ A 192.0.2.1\n", "zone_file_generate"),
        ("a\u{0}b A 192.0.2.1", "zone_file_malformed"),
        ("a TXT \"open", "zone_file_malformed"),
        ("a CH TXT x", "zone_file_class"),
        ("other.test. A 192.0.2.1", "record_not_under_zone"),
        ("a A 192.0.2.1\na CNAME b", "record_cname_conflict"),
    ] {
        let answer = import(&caller, &zone, json!({"zone_file": file})).await;
        assert_eq!(answer.problem(400).0, code, "{file:?}");
        assert_eq!(answer.faults(), [("/zone_file".to_owned(), code.to_owned())].into());
    }
    let (status, bare) = import_bare(&caller, &zone, "", "text/dns", b"a A x".to_vec()).await;
    assert_eq!((status, &bare["errors"][0]["pointer"]), (400, &json!("")));
    assert_eq!(names(&caller, &zone).await, Vec::<String>::new());

    // A clash with what is in the zone.
    import(&caller, &zone, json!({"zone_file": "www A 192.0.2.1"})).await.expect(StatusCode::OK);
    let (code, detail) = import(&caller, &zone, json!({"zone_file": "a A 192.0.2.1\nwww CNAME a"})).await.problem(409);
    assert_eq!(code, "record_cname_conflict");
    assert!(detail.starts_with(&format!("www.{name} has a CNAME record")), "{detail}");
    assert_eq!(names(&caller, &zone).await, [format!("www.{name} A")]);
    assert_eq!(api.jobs("project").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_other_kinds_and_sizes_are_told_apart() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, _) = caller.verified_zone().await;
    let file: String = (0..500).fold(String::new(), |file, number| file + &format!("h{number} TXT \"{}\"\n", "x".repeat(250)));
    assert!(file.len() > 64 * 1024);
    let (status, answer) = import_bare(&caller, &zone, "", "Text/DNS; charset=UTF-8", file.clone().into_bytes()).await;
    assert_eq!((status, answer["set"].as_array().map(Vec::len)), (200, Some(500)), "{answer}");
    let json = import(&caller, &zone, json!({"zone_file": file})).await.expect(StatusCode::OK);
    assert_eq!(json["unchanged_count"], 500);

    let large = " ".repeat(1024 * 1024 + 1);
    for (content_type, body, status, code) in [
        ("text/dns", large.clone().into_bytes(), 413, "body_too_large"),
        ("application/json", json!({"zone_file": large}).to_string().into_bytes(), 413, "body_too_large"),
        ("text/dns", b"a TXT \xff".to_vec(), 400, "text_not_utf8"),
        ("text/dns; charset=iso-8859-1", b"a TXT x".to_vec(), 415, "unsupported_media_type"),
        ("text/plain", b"a TXT x".to_vec(), 415, "unsupported_media_type"),
        ("application/json", b"a TXT x".to_vec(), 400, "malformed_json"),
        ("application/json", b"{}".to_vec(), 400, "required"),
        ("application/json", b"{\"zone_file\": 5}".to_vec(), 400, "wrong_type"),
        ("application/json", b"{\"zone_file\": \"\", \"replace\": 1}".to_vec(), 400, "wrong_type"),
    ] {
        let answer = import_bare(&caller, &zone, "", content_type, body).await;
        assert_eq!((answer.0, &answer.1["code"]), (status, &json!(code)), "{content_type}: {}", answer.1);
    }
    assert_eq!(import_bare(&caller, &zone, "?replace=maybe", "text/dns", Vec::new()).await.1["code"], "invalid_query");
    assert_eq!(import_bare(&caller, &zone, "", "text/dns", Vec::new()).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_sent_again_with_its_key_is_read_in_once() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let path = format!("/zones/{zone}/import");
    let first = caller.post_once("one", &path, json!({"zone_file": "a A 192.0.2.1"})).await;
    let answer = first.expect(StatusCode::OK);
    assert_eq!(
        caller.send(Method::DELETE, &format!("/zones/{zone}/records?name=a.{name}&type=A"), None).await.status,
        StatusCode::NO_CONTENT
    );
    let again = caller.post_once("one", &path, json!({"zone_file": "a A 192.0.2.1"})).await;
    assert_eq!((again.expect(StatusCode::OK), again.header("idempotency-replayed")), (answer, "true"));
    assert_eq!(names(&caller, &zone).await, Vec::<String>::new());
    let other = caller.post_once("one", &path, json!({"zone_file": "b A 192.0.2.1"})).await;
    assert_eq!(other.problem(409).0, "idempotency_key_reused");
}
