//! `Idempotency-Key`: what comes twice is done once.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::unique_label;

use crate::support::{Answer, TestApi, uuid};

fn replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_with_the_same_key_gets_the_first_answer_again() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let body = json!({"zone_id": zone, "domain": name});
    let first = caller.post_once("\"a key\"", "/certificates", body.clone()).await;
    let certificate = first.expect(StatusCode::ACCEPTED);
    assert!(!replayed(&first));
    // Whatever has become of it since.
    api.execute(&format!("UPDATE certificates SET status = 'failed' WHERE id = '{}'", uuid(&certificate["id"]))).await;
    for key in ["\"a key\"", "a key"] {
        let again = caller.post_once(key, "/certificates/", body.clone()).await;
        assert!(replayed(&again));
        assert_eq!((again.status, again.header("location"), &again.text), (first.status, first.header("location"), &first.text));
        assert_eq!(again.header("content-type"), first.header("content-type"));
    }
    let without = caller.post("/certificates", body).await;
    assert_eq!(without.status, StatusCode::ACCEPTED);
    assert_eq!(api.sql("SELECT count(*) FROM certificates").await, [json!({"count": 2})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_came_with_another_request_is_refused() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let body = |label: &str| json!({"zone_id": zone, "domain": format!("{label}.{name}")});
    caller.post_once("key", "/certificates", body("a")).await.expect(StatusCode::ACCEPTED);
    let (code, detail) = caller.post_once("key", "/certificates", body("b")).await.problem(409);
    assert_eq!(code, "idempotency_key_reused");
    assert!(detail.contains("a new key"), "{detail}");
    // Where it is sent to is part of the request, and who sends it part of the key.
    let headers = [("Idempotency-Key", "key")];
    let zones = json!({"name": format!("{}.test", unique_label())});
    assert_eq!(caller.post_once("key", "/zones", zones).await.problem(409).0, "idempotency_key_reused");
    let program = caller.with_token(&["certificates:write"]).await;
    program.post_once("key", "/certificates", body("b")).await.expect(StatusCode::ACCEPTED);
    let query = api.send_with(Method::POST, "/api/v1/certificates?x=1", Some(&caller.token), Some(body("a")), &headers).await;
    assert_eq!(query.problem(409).0, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_may_be_asked_for_again_with_the_same_key() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let post = async |domain: String| caller.post_once("key", "/certificates", json!({"zone_id": zone, "domain": domain})).await;
    assert_eq!(post("co.uk".to_owned()).await.problem(400).0, "name_is_public_suffix");
    api.execute("UPDATE zones SET status = 'pending'").await;
    assert_eq!(post(name.clone()).await.problem(409).0, "zone_not_verified");
    assert_eq!(api.sql("SELECT FROM idempotency_keys").await, Vec::<Value>::new());
    api.execute("UPDATE zones SET status = 'verified'").await;
    assert!(!replayed(&post(name.clone()).await));
    assert!(replayed(&post(name.clone()).await));
    // A plan that forbids it forbids it to whoever comes again as well: nothing is told to those who may not ask.
    caller.set_plan("free").await;
    assert_eq!(post(name).await.problem(403).0, "paid_plan_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_malformed_input() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let body = json!({"zone_id": zone, "domain": name});
    for key in ["", "\"", "\"a\"b\"", "\"\"", &"k".repeat(256)] {
        let (code, detail) = caller.post_once(key, "/certificates", body.clone()).await.problem(400);
        assert_eq!(code, "idempotency_key_invalid", "{key}");
        assert!(detail.contains("255"), "{detail}");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    let answer = api.send_with(Method::POST, "/api/v1/certificates", Some(&caller.token), Some(body.clone()), &twice).await;
    assert_eq!(answer.problem(400).0, "idempotency_key_invalid");
    // After credential and plan, as all input (requirements S3.53).
    let anonymous = api.send_with(Method::POST, "/api/v1/certificates", None, Some(body.clone()), &[("Idempotency-Key", "")]).await;
    assert_eq!(anonymous.problem(401).0, "credential_missing");
    caller.set_plan("free").await;
    assert_eq!(caller.post_once("", "/certificates", body).await.problem(403).0, "paid_plan_required");
    assert_eq!(api.sql("SELECT FROM certificates").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_key_is_its_own() {
    let api = TestApi::start().await;
    let (one, other) = (api.register("elite").await, api.register("elite").await);
    let name = format!("{}.test", unique_label());
    let body = json!({"name": name});
    let mine = one.post_once("key", "/zones", body.clone()).await.expect(StatusCode::CREATED);
    let answer = other.post_once("key", "/zones", body).await;
    assert!(!replayed(&answer));
    assert_ne!(answer.expect(StatusCode::CREATED)["id"], mine["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_with_a_secret_is_kept() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let body = json!({"name": "deploy", "scopes": ["zones:read"]});
    let (one, two) = (caller.post_once("key", "/tokens", body.clone()).await, caller.post_once("key", "/tokens", body).await);
    assert_ne!(one.expect(StatusCode::CREATED)["token"], two.expect(StatusCode::CREATED)["token"]);
    assert_eq!(api.sql("SELECT FROM idempotency_keys").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_was_seen_once_is_not_looked_for_again() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let name = format!("{}.test", unique_label());
    let dns = &api.stack.customer_dns;
    dns.create_zone(&name, &["ns1.customer.test"]).await.unwrap();
    let zone = caller.post("/zones", json!({"name": name})).await.expect(StatusCode::CREATED);
    let path = format!("/zones/{}/verify", zone["id"].as_str().unwrap());
    // A failure is not kept.
    assert_eq!(caller.post_once("key", &path, json!({})).await.problem(409).0, "zone_verification_failed");
    let record = zone["verification"]["record"].as_str().unwrap();
    dns.add_txt(&name, record, zone["verification"]["value"].as_str().unwrap()).await.unwrap();
    let first = caller.post_once("key", &path, json!({})).await;
    assert_eq!(first.expect(StatusCode::OK)["status"], "verified");
    dns.set_txt(&name, record, &[]).await.unwrap();
    api.execute("UPDATE zones SET status = 'lost'").await;
    let again = caller.post_once("key", &path, json!({})).await;
    assert_eq!((replayed(&again), &again.text), (true, &first.text));
    assert_eq!(caller.post(&path, json!({})).await.problem(409).0, "zone_verification_failed");
}
