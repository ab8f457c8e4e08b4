//! API tokens that may be used from some networks only.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_api::ApiSettings;

use crate::support::{Answer, Caller, TestApi};

fn behind_a_proxy(settings: &mut ApiSettings) {
    settings.traffic.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
}

async fn make(caller: &Caller<'_>, cidrs: Value) -> Answer {
    caller.post("/tokens", json!({"name": "a", "scopes": ["zones:read"], "cidrs": cidrs})).await
}

async fn use_from(api: &TestApi, token: &Value, address: &str) -> Answer {
    api.send_with(Method::GET, "/api/v1/me", token["token"].as_str(), None, &[("X-Forwarded-For", address)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_shown_in_one_form_and_without_them_a_token_is_good_everywhere() {
    let api = TestApi::start_set(behind_a_proxy).await;
    let caller = api.register("plus").await;
    let given = json!(["2001:DB8::7/32", "192.0.2.77/24", "198.51.100.1", "192.0.2.0/24", "::ffff:203.0.113.9"]);
    let made = make(&caller, given).await.expect(StatusCode::CREATED);
    let normal = json!(["192.0.2.0/24", "198.51.100.1/32", "203.0.113.9/32", "2001:db8::/32"]);
    assert_eq!(made["cidrs"], normal);
    assert_eq!(caller.get(&format!("/tokens/{}", made["id"].as_str().unwrap())).await.json()["cidrs"], normal);
    assert_eq!(caller.get("/tokens").await.json()["tokens"][0]["cidrs"], normal);
    assert_eq!(use_from(&api, &made, "192.0.2.5").await.json()["token"]["cidrs"], normal);
    for everywhere in [json!([]), Value::Null] {
        let made = make(&caller, everywhere).await.expect(StatusCode::CREATED);
        assert_eq!(made["cidrs"], json!([]));
        assert_eq!(use_from(&api, &made, "203.0.113.77").await.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_network_that_is_none_is_named() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let faults = |list: &[(&str, &str)]| list.iter().map(|&(at, code)| (at.to_owned(), code.to_owned())).collect();
    for (cidrs, expected) in [
        (
            json!(["192.0.2.0/24", "192.0.2.0/33", "", "example.test"]),
            faults(&[("/cidrs/1", "cidr_invalid"), ("/cidrs/2", "cidr_invalid"), ("/cidrs/3", "cidr_invalid")]),
        ),
        (json!(["192.0.2.0\u{0}"]), faults(&[("/cidrs/0", "cidr_invalid")])),
        (json!(["192.0.2.0/24", 7]), faults(&[("/cidrs/1", "wrong_type")])),
        (json!("192.0.2.0/24"), faults(&[("/cidrs", "wrong_type")])),
        (json!(vec!["192.0.2.1"; 21]), faults(&[("/cidrs", "too_many_cidrs")])),
    ] {
        let answer = make(&caller, cidrs).await;
        assert_eq!(answer.faults(), expected, "{}", answer.text);
    }
    // With everything else that is wrong.
    let answer = caller.post("/tokens", json!({"name": "", "scopes": [], "cidrs": ["x"], "expires_at": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(answer.faults().len(), 4);
    make(&caller, json!((1..=20).map(|n| format!("192.0.2.{n}")).collect::<Vec<_>>())).await.expect(StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_elsewhere_a_token_is_unknown() {
    let api = TestApi::start_set(behind_a_proxy).await;
    let caller = api.register("plus").await;
    let made = make(&caller, json!(["192.0.2.0/24", "2001:db8::/32"])).await.expect(StatusCode::CREATED);
    for address in ["192.0.2.255", "2001:db8:1::1", "::ffff:192.0.2.1", "203.0.113.1, 192.0.2.9"] {
        assert_eq!(use_from(&api, &made, address).await.status, StatusCode::OK, "{address}");
    }
    let unknown = use_from(&api, &json!({"token": format!("zc_{}", "A".repeat(43))}), "203.0.113.1").await;
    for address in ["203.0.113.1", "192.0.3.0", "2001:db9::1", "192.0.2.9, 203.0.113.1", "unknown", ""] {
        let refused = use_from(&api, &made, address).await;
        assert_eq!(refused.problem(401).0, "credential_invalid", "{address}");
        assert_eq!((&refused.text, refused.header("www-authenticate")), (&unknown.text, unknown.header("www-authenticate")));
    }
    // Nobody has used it since.
    api.execute("UPDATE api_tokens SET last_used_at = '2026-01-01T00:00:00Z'").await;
    use_from(&api, &made, "203.0.113.1").await;
    assert_eq!(api.sql("SELECT last_used_at < '2026-01-02' AS old FROM api_tokens").await, [json!({"old": true})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_trusted_is_the_client_itself() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let elsewhere = make(&caller, json!(["192.0.2.0/24"])).await.expect(StatusCode::CREATED);
    let here = make(&caller, json!(["127.0.0.0/8"])).await.expect(StatusCode::CREATED);
    assert_eq!(use_from(&api, &elsewhere, "192.0.2.1").await.problem(401).0, "credential_invalid");
    assert_eq!(use_from(&api, &here, "192.0.2.1").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_from_elsewhere_are_audited_a_few_times_and_not_each_time() {
    let api = TestApi::start_set(behind_a_proxy).await;
    let (caller, stranger) = (api.register("plus").await, api.register("plus").await);
    let made = make(&caller, json!(["192.0.2.0/24"])).await.expect(StatusCode::CREATED);
    for number in 0..30 {
        use_from(&api, &made, &format!("203.0.113.{number}")).await.problem(401);
    }
    let page = caller.get("/audit?action=token.refused_address").await.expect(StatusCode::OK);
    let entries = page["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 5);
    for (number, entry) in entries.iter().rev().enumerate() {
        assert_eq!((&entry["subject"], &entry["details"]), (&made["id"], &json!({"address": format!("203.0.113.{number}")})));
        assert_eq!(entry["actor"], json!({"type": "anonymous", "id": "anonymous"}));
        assert_eq!(entry["request_id"].as_str().unwrap().len(), 32);
    }
    assert_eq!(stranger.get("/audit?action=token.refused_address").await.json()["entries"], json!([]));
}
