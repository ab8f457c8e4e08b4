//! Import, list and deletion of zones.

use futures::FutureExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::unique_label;

use crate::support::{CHALLENGE_ZONE, NAME_SERVERS, PLATFORM_ZONE, TestApi};

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_imported_and_shows_the_record_to_set() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let answer = caller.post("/zones", json!({"name": "Shop.Example.TEST."})).await;
    let zone = answer.expect(StatusCode::CREATED);
    let id = zone["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/zones/{id}"));
    assert_eq!((&zone["name"], &zone["mode"], &zone["status"]), (&json!("shop.example.test"), &json!("hosted"), &json!("pending")));
    assert_eq!((&zone["verified_at"], &zone["last_checked_at"]), (&Value::Null, &Value::Null));
    assert_eq!((&zone["verification"]["record"], &zone["verification"]["type"]), (&json!("_zonecert.shop.example.test"), &json!("TXT")));
    let value = zone["verification"]["value"].as_str().unwrap();
    let random = value.strip_prefix("zonecert-verification=").unwrap();
    assert!(random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
    let instructions = zone["verification"]["instructions"].as_str().unwrap();
    assert!(instructions.contains(value) && instructions.ends_with(&format!("then POST /api/v1/zones/{id}/verify")), "{instructions}");
    assert_eq!((&zone["name_servers"], &zone["record_count"]), (&json!(NAME_SERVERS), &json!(0)));
    for field in ["next_check_at", "lost_at", "projection", "delegation"] {
        assert_eq!(zone.get(field), Some(&Value::Null), "{field}");
    }
    assert!(zone["created_at"].as_str().unwrap().ends_with('Z'));

    assert_eq!(caller.get(&format!("/zones/{id}")).await.expect(StatusCode::OK), zone);
    assert_eq!(caller.get("/zones").await.expect(StatusCode::OK), json!({"zones": [zone], "next_cursor": null}));
    assert_eq!(api.jobs("project").await, Vec::<Value>::new());
    let events = api.sql("SELECT event, details FROM events").await;
    assert_eq!(events, [json!({"event": "zone_imported", "details": {"zone_id": id, "zone": "shop.example.test", "mode": "hosted"}})]);
    let audit = api.sql("SELECT subject, request_id FROM audit_log WHERE action = 'zone.imported'").await;
    assert_eq!(audit, [json!({"subject": id, "request_id": answer.header("x-request-id")})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_imported_once_per_account_in_whatever_spelling() {
    let api = TestApi::start().await;
    let (one, other) = (api.register("free").await, api.register("free").await);
    let name = format!("bücher-{}.test", unique_label());
    let zone = one.post("/zones", json!({"name": name})).await.expect(StatusCode::CREATED);
    let ascii = zone["name"].as_str().unwrap();
    assert!(ascii.starts_with("xn--"), "{ascii}");
    for spelling in [name.to_uppercase(), format!("{ascii}."), ascii.to_owned()] {
        let (code, detail) = one.post("/zones", json!({"name": spelling})).await.problem(409);
        assert_eq!(code, "zone_exists");
        assert!(detail.contains(ascii), "{detail}");
    }
    // Until somebody has proven control, anybody may be about to.
    let theirs = other.post("/zones", json!({"name": name})).await.expect(StatusCode::CREATED);
    assert_ne!(theirs["verification"]["value"], zone["verification"]["value"]);
    assert_ne!(theirs["id"], zone["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_cannot_be_a_zone_are_refused() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (below_platform, below_challenges) = (format!("x.{PLATFORM_ZONE}"), format!("0123456789abcdef.{CHALLENGE_ZONE}"));
    for (name, code) in [
        ("co.uk", "name_is_public_suffix"),
        ("github.io", "name_is_public_suffix"),
        ("test", "name_too_few_labels"),
        ("*.zonecert.io", "name_wildcard_zone"),
        ("", "name_empty"),
        ("a..test", "name_empty_label"),
        ("_acme-challenge.zonecert.io", "name_underscore"),
        ("192.0.2.1", "name_is_ip_address"),
        ("https://zonecert.io/", "name_invalid_character"),
        ("zone\0cert.io", "name_invalid_character"),
        (PLATFORM_ZONE, "name_in_platform_zone"),
        (&below_platform, "name_in_platform_zone"),
        ("zonecert-platform.test", "name_in_platform_zone"),
        (CHALLENGE_ZONE, "name_in_platform_zone"),
        (&below_challenges, "name_in_platform_zone"),
    ] {
        let answer = caller.post("/zones", json!({"name": name})).await;
        assert_eq!(answer.problem(400).0, code, "{name:?}");
        assert_eq!(answer.faults(), [("/name".to_owned(), code.to_owned())].into(), "{name:?}");
    }
    assert_eq!(api.sql("SELECT id FROM zones").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_zone_needs_the_development_setting() {
    let api = TestApi::start_with(false, None).await;
    let caller = api.register("elite").await;
    for name in ["example.test", "host.internal", "example.com", "printer.local"] {
        assert_eq!(caller.post("/zones", json!({"name": name})).await.problem(400).0, "name_special_use", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_shape_is_a_problem_that_names_the_field() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    for (body, pointer, code) in [
        (json!({}), "/name", "required"),
        (json!({"name": null}), "/name", "wrong_type"),
        (json!({"name": 5}), "/name", "wrong_type"),
        (json!({"name": ["a.test"]}), "/name", "wrong_type"),
        (json!({"name": "a-zone.test", "mode": "elsewhere"}), "/mode", "zone_mode_unsupported"),
        (json!({"name": "a-zone.test", "mode": ["hosted"]}), "/mode", "wrong_type"),
        (json!({"name": "a-zone.test", "mode": "Hosted"}), "/mode", "zone_mode_unsupported"),
    ] {
        let faults = caller.post("/zones", body.clone()).await.faults();
        assert_eq!(faults, [(pointer.to_owned(), code.to_owned())].into(), "{body}");
    }
    assert_eq!(caller.post("/zones", json!("{\"name\": ")).await.problem(400).0, "malformed_json");
    assert_eq!(caller.post("/zones", json!({"name": "a-zone.test", "zone": 1})).await.problem(400).0, "unknown_field");
    let hosted = caller.post("/zones", json!({"name": "a-zone.test", "mode": "hosted"})).await.expect(StatusCode::CREATED);
    assert_eq!(hosted["mode"], "hosted");
    assert_eq!(caller.post("/zones", json!({"name": "b-zone.test", "mode": null})).await.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_are_listed_by_name_page_by_page() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("free").await, api.register("free").await);
    let wanted = ["a.list.test", "b.list.test", "c.list.test", "d.list.test", "e.list.test"];
    for name in ["c.list.test", "a.list.test", "e.list.test", "d.list.test", "b.list.test"] {
        caller.post("/zones", json!({"name": name})).await.expect(StatusCode::CREATED);
        other.post("/zones", json!({"name": format!("other-{name}")})).await.expect(StatusCode::CREATED);
    }
    let (mut seen, mut pages, mut path) = (Vec::new(), 0, "/zones?limit=2".to_owned());
    loop {
        let page = caller.get(&path).await.expect(StatusCode::OK);
        seen.extend(page["zones"].as_array().unwrap().iter().map(|zone| zone["name"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/zones?limit=2&cursor={cursor}");
    }
    assert_eq!((seen.iter().map(String::as_str).collect::<Vec<_>>(), pages), (wanted.to_vec(), 3));

    for (query, code) in [("limit=0", "limit_out_of_range"), ("limit=101", "limit_out_of_range"), ("limit=x", "limit_out_of_range")] {
        assert_eq!(caller.get(&format!("/zones?{query}")).await.faults(), [("?limit".to_owned(), code.to_owned())].into());
    }
    assert_eq!(caller.get("/zones?cursor=%00").await.problem(400).0, "cursor_invalid");
    caller.get("/zones?name=a.list.test").await.problem(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_can_be_of_one_status_one_mode_or_part_of_a_name() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let label = unique_label();
    let names = [format!("bücher.a-{label}.test"), format!("b-{label}.test"), format!("c-{label}.test"), format!("d-{label}.test")];
    for (name, mode) in names.iter().zip(["hosted", "hosted", "delegated", "delegated"]) {
        caller.post("/zones", json!({"name": name, "mode": mode})).await.expect(StatusCode::CREATED);
    }
    api.execute(&format!("UPDATE zones SET status = 'verified', verified_at = now() WHERE name IN ('{}', '{}')", names[1], names[2])).await;
    api.execute(&format!("UPDATE zones SET status = 'lost', lost_at = now() WHERE name = '{}'", names[3])).await;
    let list = async |query: &str| {
        let page = caller.get(&format!("/zones?{query}")).await.expect(StatusCode::OK);
        let names =
            page["zones"].as_array().unwrap().iter().map(|zone| zone["name"].as_str().unwrap().split('-').next().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("status=pending", &["xn"][..]),
        ("status=verified", &["b", "c"]),
        ("status=lost", &["d"]),
        ("mode=delegated", &["c", "d"]),
        ("mode=hosted&status=verified", &["b"]),
        ("q=B-Z&mode=hosted", &[]),
        (&format!("q=C-{}", &label[..6].to_uppercase()), &["c"]),
        ("q=B%C3%9CCHER", &["xn"]),
        ("q=.test&limit=2", &["b", "c"]),
        ("q=%25", &[]),
    ] {
        assert_eq!(list(query).await, expected, "{query}");
    }
    for (query, pointer, code) in [
        ("status=gone", "?status", "unknown_choice"),
        ("mode=Hosted", "?mode", "unknown_choice"),
        ("q=", "?q", "text_empty"),
        ("q=%00", "?q", "text_has_control_characters"),
    ] {
        assert_eq!(caller.get(&format!("/zones?{query}")).await.faults(), [(pointer.to_owned(), code.to_owned())].into(), "{query}");
    }
    let long = "x".repeat(254);
    assert_eq!(caller.get(&format!("/zones?q={long}")).await.problem(400).0, "text_too_long");
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_that_wait_for_their_proof_are_limited() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("elite").await, api.register("elite").await);
    for number in 0..50 {
        caller.post("/zones", json!({"name": format!("z{number}.many.test")})).await.expect(StatusCode::CREATED);
    }
    let (code, detail) = caller.post("/zones", json!({"name": "one.many.test"})).await.problem(409);
    assert_eq!(code, "pending_zone_limit_reached");
    assert!(detail.starts_with("50 zones"), "{detail}");
    other.post("/zones", json!({"name": "one.many.test"})).await.expect(StatusCode::CREATED);
    let first = caller.get("/zones?limit=1").await.expect(StatusCode::OK)["zones"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(caller.delete(&format!("/zones/{first}")).await.status, StatusCode::NO_CONTENT);
    caller.post("/zones", json!({"name": "one.many.test"})).await.expect(StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_at_once_are_limited_too() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    for number in 0..45 {
        caller.post("/zones", json!({"name": format!("z{number}.many.test")})).await.expect(StatusCode::CREATED);
    }
    let answers = (45..65).map(|number| caller.post("/zones", json!({"name": format!("z{number}.many.test")})).boxed());
    let answers = futures::future::join_all(answers).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count(), 5);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        assert_eq!(answer.problem(409).0, "pending_zone_limit_reached");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_a_bounded_number_of_zones() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    api.execute(&format!(
        "INSERT INTO zones (id, account_id, name, status, verification_value, verified_at)
         SELECT gen_random_uuid(), '{}', 'z' || n || '.many.test', 'verified', 'x', now() FROM generate_series(1, 500) AS n",
        caller.account.0
    ))
    .await;
    let (code, detail) = caller.post("/zones", json!({"name": "one.many.test"})).await.problem(409);
    assert_eq!(code, "zone_limit_reached");
    assert!(detail.contains("500 zones"), "{detail}");
    api.execute("UPDATE zones SET deleted_at = now() WHERE name = 'z7.many.test'").await;
    caller.post("/zones", json!({"name": "one.many.test"})).await.expect(StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_frees_the_name_and_has_a_verified_zone_looked_at_again() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let pending = caller.post("/zones", json!({"name": "gone.test"})).await.expect(StatusCode::CREATED);
    let path = format!("/zones/{}", pending["id"].as_str().unwrap());
    let deleted = caller.delete(&path).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(api.jobs("project").await, Vec::<Value>::new());
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(caller.send(method, &path, None).await.problem(404).0, "not_found");
    }
    assert_eq!(caller.post(&format!("{path}/verify"), json!({})).await.problem(404).0, "not_found");

    let id = caller.verified_zone_named("gone.test").await;
    assert_eq!(caller.delete(&format!("/zones/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.jobs("project").await, [json!({"dns_zone": "gone.test"})]);
    assert_eq!(caller.get("/zones").await.expect(StatusCode::OK)["zones"], json!([]));
    let events = api.sql("SELECT event FROM events ORDER BY number").await;
    assert_eq!(events.iter().filter(|event| event["event"] == "zone_deleted").count(), 2);
}
