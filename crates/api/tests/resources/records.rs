//! Records of hosted zones: set, listed and deleted, and the rules about a zone as a whole.

use futures::FutureExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Caller, TestApi};

async fn put(caller: &Caller<'_>, zone: &str, record: Value) -> Answer {
    caller.send(Method::PUT, &format!("/zones/{zone}/records"), Some(record)).await
}

async fn list(caller: &Caller<'_>, zone: &str, query: &str) -> Vec<String> {
    let page = caller.get(&format!("/zones/{zone}/records{query}")).await.expect(StatusCode::OK);
    let line = |record: &Value| {
        let contents: Vec<&str> = record["contents"].as_array().unwrap().iter().map(|content| content.as_str().unwrap()).collect();
        format!("{} {} {} {}", record["name"].as_str().unwrap(), record["ttl"], record["type"].as_str().unwrap(), contents.join(" | "))
    };
    page["records"].as_array().unwrap().iter().map(line).collect()
}

/// Record sets that were in our `PowerDNS` before us, as the worker reads them in.
async fn adopt(caller: &Caller<'_>, zone: &str, name: &str, record_type: &str, content: &str) {
    caller
        .api
        .execute(&format!(
            "INSERT INTO zone_records (id, account_id, zone_id, name, record_type, ttl_seconds, contents, adopted)
             VALUES (gen_random_uuid(), '{}', '{}', '{name}', '{record_type}', 5, ARRAY['{content}'], true)",
            caller.account.0,
            zone.strip_prefix("zone_").unwrap()
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_set_is_set_replaced_and_deleted_as_a_whole() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let www = format!("www.{name}");
    let wanted = json!({"name": format!("WWW.{name}."), "type": "a", "contents": ["192.0.2.2", "192.0.2.1", "192.0.2.2"]});
    let set = put(&caller, &zone, wanted.clone()).await.expect(StatusCode::OK);
    assert_eq!(
        (&set["name"], &set["type"], &set["ttl"], &set["contents"], &set["adopted"]),
        (&json!(www), &json!("A"), &json!(300), &json!(["192.0.2.1", "192.0.2.2"]), &json!(false))
    );
    let id = set["id"].as_str().unwrap();
    assert!(id.starts_with("rrset_"), "{id}");
    assert_eq!(caller.get(&format!("/zones/{zone}/records/{id}")).await.expect(StatusCode::OK), set);
    assert_eq!(caller.get(&format!("/zones/{zone}")).await.json()["record_count"], 1);
    assert_eq!(api.jobs("project").await, [json!({"dns_zone": name})]);

    // Said again, nothing happens.
    assert_eq!(put(&caller, &zone, wanted).await.expect(StatusCode::OK), set);
    assert_eq!(api.jobs("project").await.len(), 1);

    let replaced =
        put(&caller, &zone, json!({"name": www, "type": "A", "ttl": 60, "contents": ["192.0.2.9"]})).await.expect(StatusCode::OK);
    assert_eq!((&replaced["id"], &replaced["ttl"], &replaced["contents"]), (&set["id"], &json!(60), &json!(["192.0.2.9"])));
    assert_eq!(api.jobs("project").await.len(), 2);
    put(&caller, &zone, json!({"name": www, "type": "AAAA", "contents": ["2001:DB8::1"]})).await.expect(StatusCode::OK);
    assert_eq!(list(&caller, &zone, "").await, [format!("{www} 60 A 192.0.2.9"), format!("{www} 300 AAAA 2001:db8::1")]);

    assert_eq!(caller.delete(&format!("/zones/{zone}/records?name={}&type=aaaa", www.to_uppercase())).await.status, StatusCode::NO_CONTENT);
    assert_eq!(caller.delete(&format!("/zones/{zone}/records/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(list(&caller, &zone, "").await, Vec::<String>::new());
    for path in [format!("/zones/{zone}/records/{id}"), format!("/zones/{zone}/records?name={www}&type=A")] {
        assert_eq!(caller.delete(&path).await.problem(404).0, "not_found");
    }
    assert_eq!(caller.get(&format!("/zones/{zone}/records/{id}")).await.problem(404).0, "not_found");
    assert_eq!(caller.get(&format!("/zones/{zone}")).await.json()["record_count"], 0);
    // The rows wait for the records to have gone from our name servers, and come back when they are wanted after all.
    assert_eq!(api.sql("SELECT count(*) FROM zone_records WHERE deleted_at IS NOT NULL").await, [json!({"count": 2})]);
    let again = put(&caller, &zone, json!({"name": www, "type": "A", "contents": ["192.0.2.1"]})).await.expect(StatusCode::OK);
    assert_eq!(again["id"], set["id"]);
    assert_eq!(api.jobs("project").await.len(), 6);

    let events = api.sql("SELECT message, details FROM events WHERE event = 'records_changed' ORDER BY number").await;
    assert_eq!(events.len(), 6);
    assert_eq!(events[0]["message"], format!("{www} A set in the zone {name}"));
    let details = &events[3]["details"];
    assert_eq!(
        (&details["zone"], &details["set_count"], &details["deleted_count"], &details["deleted"]),
        (&json!(name), &json!(0), &json!(1), &json!([format!("{www} AAAA")]))
    );
    let audit = api.sql("SELECT subject FROM audit_log WHERE action = 'records.changed'").await;
    assert_eq!(audit.len(), 6);
    assert!(audit.iter().all(|entry| entry["subject"] == zone), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_record_is_said_with_its_place() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let www = format!("www.{name}");
    let many: Vec<String> = (0..101).map(|number| format!("192.0.2.{number}")).collect();
    for (record, pointer, code) in [
        (json!({"name": "a..test", "type": "A", "contents": ["192.0.2.1"]}), "/name", "record_name_invalid"),
        (json!({"name": "a\u{0}.test", "type": "A", "contents": ["192.0.2.1"]}), "/name", "record_name_invalid"),
        (json!({"name": "www", "type": "A", "contents": ["192.0.2.1"]}), "/name", "record_not_under_zone"),
        (json!({"name": format!("www{name}"), "type": "A", "contents": ["192.0.2.1"]}), "/name", "record_not_under_zone"),
        (json!({"name": name, "type": "CNAME", "contents": ["a.test"]}), "/name", "record_apex_cname"),
        (json!({"name": name, "type": "NS", "contents": ["ns1.other.test"]}), "/name", "record_apex_ns"),
        (json!({"name": name, "type": "DS", "contents": [format!("1 8 2 {}", "ab".repeat(32))]}), "/name", "record_apex_ds"),
        (json!({"name": www, "type": "SOA", "contents": ["a. b. 1 2 3 4 5"]}), "/type", "record_type_unsupported"),
        (json!({"name": www, "type": "", "contents": ["x"]}), "/type", "record_type_unsupported"),
        (json!({"name": www, "type": "A\u{0}", "contents": ["x"]}), "/type", "record_type_unsupported"),
        (json!({"name": www, "type": "A", "ttl": 59, "contents": ["192.0.2.1"]}), "/ttl", "record_ttl_out_of_range"),
        (json!({"name": www, "type": "A", "ttl": -1, "contents": ["192.0.2.1"]}), "/ttl", "record_ttl_out_of_range"),
        (json!({"name": www, "type": "A", "ttl": 86401, "contents": ["192.0.2.1"]}), "/ttl", "record_ttl_out_of_range"),
        (json!({"name": www, "type": "A", "ttl": 300.5, "contents": ["192.0.2.1"]}), "/ttl", "wrong_type"),
        (json!({"name": www, "type": "A", "ttl": "300", "contents": ["192.0.2.1"]}), "/ttl", "wrong_type"),
        (json!({"name": www, "type": "A", "contents": ["192.0.2.1", "192.0.2.999"]}), "/contents/1", "record_content_invalid"),
        (json!({"name": www, "type": "TXT", "contents": ["nul \u{0}"]}), "/contents/0", "record_content_invalid"),
        (json!({"name": www, "type": "A", "contents": []}), "/contents", "record_contents_empty"),
        (json!({"name": www, "type": "A", "contents": many}), "/contents", "record_contents_too_many"),
        (json!({"name": www, "type": "CNAME", "contents": ["a.test", "b.test"]}), "/contents", "record_several_cnames"),
        (json!({"name": www, "type": "A", "contents": "192.0.2.1"}), "/contents", "wrong_type"),
        (json!({"name": www, "type": "A", "contents": [null]}), "/contents/0", "wrong_type"),
        (json!({"name": www, "type": "A"}), "/contents", "required"),
    ] {
        let answer = put(&caller, &zone, record.clone()).await;
        assert_eq!(answer.faults(), [(pointer.to_owned(), code.to_owned())].into(), "{record}: {}", answer.text);
    }
    let all = put(&caller, &zone, json!({"name": "a..b", "type": "MX", "ttl": 1, "contents": ["10 m.test", "x", "y"]})).await;
    let pointers = ["/contents/1", "/contents/2", "/name", "/ttl"].map(str::to_owned);
    assert_eq!(all.faults().into_keys().collect::<Vec<_>>(), pointers);
    assert_eq!(list(&caller, &zone, "").await, Vec::<String>::new());
    assert_eq!(api.jobs("project").await, Vec::<Value>::new());
    for (query, pointer) in [("name=a..b&type=A", "?name"), (&format!("name={www}&type=A%20A"), "?type")] {
        assert!(caller.delete(&format!("/zones/{zone}/records?{query}")).await.faults().contains_key(pointer), "{query}");
        assert!(caller.get(&format!("/zones/{zone}/records?{query}")).await.faults().contains_key(pointer), "{query}");
    }
    for query in ["", "?type=A", &format!("?name={www}")] {
        assert_eq!(caller.delete(&format!("/zones/{zone}/records{query}")).await.problem(400).0, "invalid_query", "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_service_manages_are_refused() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    for reserved in [format!("_acme-challenge.{name}"), format!("_ACME-CHALLENGE.a.b.{name}."), format!("_zonecert.{name}")] {
        for (record_type, content) in [("TXT", "x"), ("CNAME", "a.test"), ("NS", "ns1.test")] {
            let answer = put(&caller, &zone, json!({"name": reserved, "type": record_type, "contents": [content]})).await;
            let (code, detail) = answer.problem(409);
            assert_eq!(code, "record_reserved", "{reserved} {record_type}");
            assert!(detail.contains(&reserved.to_lowercase().trim_end_matches('.').to_owned()), "{detail}");
        }
    }
    // The proof of a zone below, another account's perhaps, is this zone's to set.
    put(&caller, &zone, json!({"name": format!("_zonecert.sub.{name}"), "type": "TXT", "contents": ["x"]})).await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_stands_alone() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let (www, blog) = (format!("www.{name}"), format!("*.blog.{name}"));
    put(&caller, &zone, json!({"name": www, "type": "TXT", "contents": ["x"]})).await.expect(StatusCode::OK);
    put(&caller, &zone, json!({"name": blog, "type": "CNAME", "contents": ["a.test"]})).await.expect(StatusCode::OK);
    for (name, record_type, content) in [(&www, "CNAME", "a.test"), (&blog, "A", "192.0.2.1"), (&blog, "TXT", "x")] {
        let answer = put(&caller, &zone, json!({"name": name, "type": record_type, "contents": [content]})).await;
        assert_eq!(answer.problem(409).0, "record_cname_conflict", "{name} {record_type}");
    }
    // One alias takes another's place; and where the others have gone, there is room.
    put(&caller, &zone, json!({"name": blog, "type": "CNAME", "contents": ["b.test"]})).await.expect(StatusCode::OK);
    assert_eq!(caller.delete(&format!("/zones/{zone}/records?name={www}&type=TXT")).await.status, StatusCode::NO_CONTENT);
    put(&caller, &zone, json!({"name": www, "type": "CNAME", "contents": ["a.test"]})).await.expect(StatusCode::OK);
    // What was there before us counts as well.
    adopt(&caller, &zone, &format!("old.{name}"), "LOC", "52 N 4 E 0m").await;
    let answer = put(&caller, &zone, json!({"name": format!("old.{name}"), "type": "CNAME", "contents": ["a.test"]})).await;
    assert_eq!(answer.problem(409).0, "record_cname_conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_us_is_shown_changed_and_deleted_like_the_rest() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    for (label, record_type, content) in [("www", "A", "192.0.2.1"), ("odd", "LOC", "52 N 4 E 0m"), ("kept", "TXT", "\"x\"")] {
        adopt(&caller, &zone, &format!("{label}.{name}"), record_type, content).await;
    }
    let page = caller.get(&format!("/zones/{zone}/records")).await.expect(StatusCode::OK);
    assert!(page["records"].as_array().unwrap().iter().all(|record| record["adopted"] == true && record["ttl"] == 5));
    // What is set is the customer's from then on, even where it is as it was.
    let set = put(&caller, &zone, json!({"name": format!("www.{name}"), "type": "A", "ttl": 60, "contents": ["192.0.2.1"]})).await;
    assert_eq!(set.expect(StatusCode::OK)["adopted"], false);
    assert_eq!(caller.delete(&format!("/zones/{zone}/records?name=odd.{name}&type=loc")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(list(&caller, &zone, "").await, [format!("kept.{name} 5 TXT \"x\""), format!("www.{name} 60 A 192.0.2.1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_listed_by_name_and_type_page_by_page() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let (other_zone, other_name) = caller.verified_zone().await;
    put(&caller, &other_zone, json!({"name": other_name, "type": "A", "contents": ["192.0.2.7"]})).await.expect(StatusCode::OK);
    for (label, record_type, content) in
        [("b.", "TXT", "x"), ("", "A", "192.0.2.1"), ("b.", "A", "192.0.2.2"), ("a.", "MX", "10 m.test"), ("*.", "A", "192.0.2.3")]
    {
        let record = json!({"name": format!("{label}{name}"), "type": record_type, "contents": [content]});
        put(&caller, &zone, record).await.expect(StatusCode::OK);
    }
    let everything = list(&caller, &zone, "").await;
    assert_eq!(everything.len(), 5);
    let (mut seen, mut path) = (Vec::new(), "?limit=2".to_owned());
    loop {
        seen.extend(list(&caller, &zone, &path).await);
        let page = caller.get(&format!("/zones/{zone}/records{path}")).await.json();
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, everything);
    let b = format!("b.{name}");
    assert_eq!(list(&caller, &zone, &format!("?name=B.{name}.")).await, [format!("{b} 300 A 192.0.2.2"), format!("{b} 300 TXT \"x\"")]);
    assert_eq!(list(&caller, &zone, &format!("?name={b}&type=txt")).await, [format!("{b} 300 TXT \"x\"")]);
    assert_eq!(list(&caller, &zone, "?type=A").await.len(), 3);
    assert_eq!(list(&caller, &zone, "?type=SRV").await, Vec::<String>::new());
    for (query, code) in
        [("limit=0", "limit_out_of_range"), ("cursor=AAAA", "cursor_invalid"), ("cursor=%00", "cursor_invalid"), ("q=x", "invalid_query")]
    {
        assert_eq!(caller.get(&format!("/zones/{zone}/records?{query}")).await.problem(400).0, code, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_for_the_proof_and_stay_visible_without_it() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let record = json!({"name": name, "type": "A", "contents": ["192.0.2.1"]});
    let set = put(&caller, &zone, record.clone()).await.expect(StatusCode::OK);
    for status in ["pending", "lost"] {
        api.execute(&format!("UPDATE zones SET status = '{status}'")).await;
        for answer in [
            put(&caller, &zone, record.clone()).await,
            caller.delete(&format!("/zones/{zone}/records?name={name}&type=A")).await,
            caller.delete(&format!("/zones/{zone}/records/{}", set["id"].as_str().unwrap())).await,
            caller.post(&format!("/zones/{zone}/import"), json!({"zone_file": ""})).await,
        ] {
            assert_eq!(answer.problem(409).0, "zone_not_verified", "{status}");
        }
        assert_eq!(list(&caller, &zone, "").await.len(), 1, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_holds_500_record_sets_however_many_are_set_at_once() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    let file: String = (0..495).fold(String::new(), |file, number| file + &format!("h{number} A 192.0.2.1\n"));
    caller.post(&format!("/zones/{zone}/import"), json!({"zone_file": file})).await.expect(StatusCode::OK);
    let one = |number: usize| json!({"name": format!("h{number}.{name}"), "type": "A", "contents": ["192.0.2.2"]});
    let answers = futures::future::join_all((495..515).map(|number| put(&caller, &zone, one(number)).boxed())).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::OK).count(), 5);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        assert_eq!(answer.problem(409).0, "record_limit_reached");
    }
    assert_eq!(caller.get(&format!("/zones/{zone}")).await.json()["record_count"], 500);
    // What is there can be changed, and what is deleted makes room.
    put(&caller, &zone, one(1)).await.expect(StatusCode::OK);
    assert_eq!(put(&caller, &zone, one(600)).await.problem(409).0, "record_limit_reached");
    let imported = caller.post(&format!("/zones/{zone}/import"), json!({"zone_file": "h600 A 192.0.2.1"})).await;
    assert_eq!(imported.problem(409).0, "record_limit_reached");
    assert_eq!(caller.delete(&format!("/zones/{zone}/records?name=h2.{name}&type=A")).await.status, StatusCode::NO_CONTENT);
    put(&caller, &zone, one(600)).await.expect(StatusCode::OK);

    // More may have been there before us: they stay, and one can be set in place of another.
    for number in 700..703 {
        adopt(&caller, &zone, &format!("h{number}.{name}"), "A", "192.0.2.1").await;
    }
    put(&caller, &zone, one(700)).await.expect(StatusCode::OK);
    assert_eq!(caller.get(&format!("/zones/{zone}")).await.json()["record_count"], 503);
    assert_eq!(put(&caller, &zone, one(800)).await.problem(409).0, "record_limit_reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_and_another_record_set_at_once_do_not_both_come_through() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let (zone, name) = caller.verified_zone().await;
    for number in 0..5 {
        let name = format!("n{number}.{name}");
        let (alias, address) = tokio::join!(
            put(&caller, &zone, json!({"name": name, "type": "CNAME", "contents": ["a.test"]})),
            put(&caller, &zone, json!({"name": name, "type": "A", "contents": ["192.0.2.1"]}))
        );
        let statuses = [alias.status.as_u16(), address.status.as_u16()];
        assert!(statuses == [200, 409] || statuses == [409, 200], "{statuses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_zones_record_is_not_found_under_this_one() {
    let api = TestApi::start().await;
    let (caller, stranger) = (api.register("free").await, api.register("free").await);
    let ((zone, name), (spare, _)) = (caller.verified_zone().await, caller.verified_zone().await);
    let (theirs, _) = stranger.verified_zone().await;
    let set = put(&caller, &zone, json!({"name": name, "type": "A", "contents": ["192.0.2.1"]})).await.expect(StatusCode::OK);
    let id = set["id"].as_str().unwrap();
    for (who, zone) in [(&caller, &spare), (&stranger, &theirs), (&stranger, &zone)] {
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(who.send(method, &format!("/zones/{zone}/records/{id}"), None).await.problem(404).0, "not_found");
        }
    }
    for id in ["rrset_x", "nonsense", "%00", &id[6..], &id.to_uppercase()] {
        assert_eq!(caller.get(&format!("/zones/{zone}/records/{id}")).await.problem(404).0, "not_found", "{id}");
    }
    assert_eq!(list(&caller, &zone, "").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_our_name_servers_are_is_seen_by_the_holder_of_the_zone() {
    let api = TestApi::start().await;
    let (caller, stranger) = (api.register("free").await, api.register("free").await);
    let (zone, name) = caller.verified_zone().await;
    let imported = stranger.post("/zones", json!({"name": name})).await.expect(StatusCode::CREATED);
    let projection =
        async |caller: &Caller<'_>, zone: &str| caller.get(&format!("/zones/{zone}")).await.expect(StatusCode::OK)["projection"].clone();
    assert_eq!(projection(&caller, &zone).await, Value::Null, "nobody has asked for it yet");
    put(&caller, &zone, json!({"name": name, "type": "A", "contents": ["192.0.2.1"]})).await.expect(StatusCode::OK);
    assert_eq!(projection(&caller, &zone).await, json!({"state": "pending", "last_error": null}));
    api.execute("UPDATE zone_projections SET failures = 2, last_error = 'dns_provider_unreachable: no answer'").await;
    let failing = json!({"state": "failing", "last_error": "dns_provider_unreachable: no answer"});
    assert_eq!(projection(&caller, &zone).await, failing);
    assert_eq!(projection(&stranger, imported["id"].as_str().unwrap()).await, Value::Null);
    api.execute("UPDATE zone_projections SET failures = 0, last_error = NULL, projected_generation = generation").await;
    assert_eq!(projection(&caller, &zone).await, json!({"state": "current", "last_error": null}));
    let listed = caller.get("/zones").await.expect(StatusCode::OK);
    assert_eq!(listed["zones"][0]["projection"], json!({"state": "current", "last_error": null}));
}
