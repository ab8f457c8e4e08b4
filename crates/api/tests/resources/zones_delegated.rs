//! Zones that stay with their own name servers.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{CHALLENGE_ZONE, TestApi};

#[tokio::test(flavor = "multi_thread")]
async fn a_delegated_zone_shows_the_alias_to_set() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let zone = caller.post("/zones", json!({"name": "Shop.Example.TEST", "mode": "delegated"})).await.expect(StatusCode::CREATED);
    let id = zone["id"].as_str().unwrap();
    assert_eq!((&zone["mode"], &zone["status"]), (&json!("delegated"), &json!("pending")));
    for field in ["name_servers", "record_count", "projection"] {
        assert_eq!(zone.get(field), Some(&Value::Null), "{field}");
    }
    let delegation = &zone["delegation"];
    assert_eq!((&delegation["name"], &delegation["type"]), (&json!("_acme-challenge.shop.example.test"), &json!("CNAME")));
    let target = delegation["target"].as_str().unwrap();
    let label = target.strip_suffix(&format!(".{CHALLENGE_ZONE}")).unwrap();
    assert!(label.len() == 32 && label.bytes().all(|byte| byte.is_ascii_hexdigit()), "{label}");
    assert!(delegation["instructions"].as_str().unwrap().contains(&format!("/api/v1/zones/{id}/cname?name=")));

    let cname = async |name: &str| caller.get(&format!("/zones/{id}/cname?name={name}")).await.expect(StatusCode::OK);
    let apex = cname("shop.example.test").await;
    assert_eq!(apex, json!({"name": "_acme-challenge.shop.example.test", "type": "CNAME", "target": target}));
    // A wildcard shares the challenge of its base, in whatever spelling.
    assert_eq!(cname("*.SHOP.example.test.").await, apex);
    let app = cname("app.shop.example.test").await;
    assert_eq!(app["name"], "_acme-challenge.app.shop.example.test");
    assert_ne!(app["target"], apex["target"]);
    assert_eq!(cname("b%C3%BCcher.shop.example.test").await["name"], "_acme-challenge.xn--bcher-kva.shop.example.test");
    assert_eq!(cname("app.shop.example.test").await, app, "it stays the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_zone_of_the_same_name_has_another_alias() {
    let api = TestApi::start().await;
    let (one, other) = (api.register("free").await, api.register("free").await);
    let mut targets = Vec::new();
    for caller in [&one, &other] {
        let zone = caller.post("/zones", json!({"name": "same.example.test", "mode": "delegated"})).await.expect(StatusCode::CREATED);
        targets.push(zone["delegation"]["target"].clone());
    }
    assert_ne!(targets[0], targets[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_for_names_under_the_zone_alone() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let zone = caller.post("/zones", json!({"name": "shop.example.test", "mode": "delegated"})).await.expect(StatusCode::CREATED);
    let path = format!("/zones/{}/cname", zone["id"].as_str().unwrap());
    for (query, code) in [
        ("?name=workshop.example.test", "domain_not_under_zone"),
        ("?name=example.test", "domain_not_under_zone"),
        ("?name=a_b.shop.example.test", "name_underscore"),
        ("?name=", "name_empty"),
        ("?name=%00", "name_invalid_character"),
    ] {
        let answer = caller.get(&format!("{path}{query}")).await;
        assert_eq!(answer.problem(400).0, code, "{query}");
        assert_eq!(answer.faults(), [("?name".to_owned(), code.to_owned())].into(), "{query}");
    }
    assert_eq!(caller.get(&path).await.problem(400).0, "invalid_query");
    let (hosted, name) = caller.verified_zone().await;
    let answer = caller.get(&format!("/zones/{hosted}/cname?name={name}")).await;
    assert_eq!(answer.problem(409).0, "zone_not_delegated");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_challenge_zone_there_are_no_delegated_zones() {
    let api = TestApi::start_without_delegation().await;
    let caller = api.register("elite").await;
    let answer = caller.post("/zones", json!({"name": "shop.example.test", "mode": "delegated"})).await;
    assert_eq!(answer.problem(400).0, "delegated_mode_unavailable");
    assert_eq!(answer.faults(), [("/mode".to_owned(), "delegated_mode_unavailable".to_owned())].into());
    assert_eq!(api.sql("SELECT id FROM zones").await, Vec::<Value>::new());

    // One from before the operator took the setting away is still shown.
    let zone = caller.post("/zones", json!({"name": "shop.example.test"})).await.expect(StatusCode::CREATED);
    api.execute("UPDATE zones SET mode = 'delegated'").await;
    let path = format!("/zones/{}", zone["id"].as_str().unwrap());
    assert_eq!(caller.get(&path).await.expect(StatusCode::OK)["delegation"], Value::Null);
    let answer = caller.get(&format!("{path}/cname?name=shop.example.test")).await;
    assert_eq!(answer.problem(409).0, "delegated_mode_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegated_zone_is_verified_like_any_and_never_put_on_our_name_servers() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let name = format!("{}.test", zonecert_devstack::unique_label());
    api.stack.customer_dns.create_zone(&name, &["ns1.customer.test"]).await.unwrap();
    let zone = caller.post("/zones", json!({"name": name, "mode": "delegated"})).await.expect(StatusCode::CREATED);
    let (id, value) = (zone["id"].as_str().unwrap(), zone["verification"]["value"].as_str().unwrap());
    api.stack.customer_dns.add_txt(&name, &format!("_zonecert.{name}"), value).await.unwrap();
    let verified = caller.send(reqwest::Method::POST, &format!("/zones/{id}/verify"), None).await.expect(StatusCode::OK);
    assert_eq!(verified["status"], "verified");
    assert!(verified["verification"]["instructions"].as_str().unwrap().contains("looked for again"));
    assert_eq!(verified["projection"], Value::Null);
    assert_eq!(caller.certificate(id, &format!("app.{name}")).await["status"], "pending");
    assert_eq!(caller.delete(&format!("/zones/{id}?force=true")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.jobs("project").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_delegated_zone_are_not_kept_here() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let zone = caller.post("/zones", json!({"name": "shop.example.test", "mode": "delegated"})).await.expect(StatusCode::CREATED);
    api.execute("UPDATE zones SET status = 'verified', verified_at = now()").await;
    let path = format!("/zones/{}", zone["id"].as_str().unwrap());
    let record = json!({"name": "www.shop.example.test", "type": "A", "contents": ["192.0.2.1"]});
    let none = "rrset_00000000000000000000000000000000";
    for answer in [
        caller.get(&format!("{path}/records")).await,
        caller.get(&format!("{path}/records/{none}")).await,
        caller.send(reqwest::Method::PUT, &format!("{path}/records"), Some(record)).await,
        caller.delete(&format!("{path}/records?name=www.shop.example.test&type=A")).await,
        caller.delete(&format!("{path}/records/{none}")).await,
        caller.post(&format!("{path}/import"), json!({"zone_file": ""})).await,
    ] {
        assert_eq!(answer.problem(409).0, "zone_not_hosted");
    }
}
