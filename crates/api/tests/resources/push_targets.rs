//! Push targets: made, shown without their key, changed, and pushed to again.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::issued::issue;
use crate::support::{Answer, Caller, TestApi};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

async fn certificate(caller: &Caller<'_>) -> Value {
    let (zone, name) = caller.verified_zone().await;
    caller.post("/certificates", json!({"zone_id": zone, "domain": name})).await.expect(StatusCode::ACCEPTED)
}

fn targets(certificate: &Value) -> String {
    format!("/certificates/{}/push-targets", certificate["id"].as_str().unwrap())
}

async fn make(caller: &Caller<'_>, certificate: &Value, body: Value) -> Value {
    caller.post(&targets(certificate), body).await.expect(StatusCode::CREATED)
}

async fn post_process(caller: &Caller<'_>, certificate: &Value, version: &str) -> Answer {
    let path = format!("/certificates/{}/versions/{version}/post-process", certificate["id"].as_str().unwrap());
    caller.send(Method::POST, &path, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_key_is_shown_once_if_it_was_made_and_stored_sealed() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let certificate = certificate(&caller).await;
    let answer = caller.post(&targets(&certificate), json!({"address": "web1.customer.test"})).await;
    let made = answer.expect(StatusCode::CREATED);
    let path = format!("{}/{}", targets(&certificate), made["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), format!("/api/v1{path}"));
    let key = made["client_key"].as_str().unwrap();
    assert_eq!(key.len(), 43);
    assert_eq!((&made["address"], &made["enabled"]), (&json!("web1.customer.test:5055"), &json!(true)));
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("client_key");
    assert_eq!(caller.get(&path).await.expect(StatusCode::OK), shown);
    assert_eq!(caller.get(&targets(&certificate)).await.expect(StatusCode::OK), json!({"push_targets": [shown]}));
    assert_eq!(caller.get("/webhooks").await.expect(StatusCode::OK), json!({"webhooks": []}), "it is none");

    let given = make(&caller, &certificate, json!({"address": "web2.customer.test:8443", "client_key": KEY})).await;
    assert_eq!(given["client_key"], Value::Null);
    let changed = caller.patch(&path, json!({"client_key": KEY, "address": "WEB3.customer.test", "enabled": false})).await;
    let changed = changed.expect(StatusCode::OK);
    assert_eq!((&changed["address"], &changed["enabled"]), (&json!("web3.customer.test:5055"), &json!(false)));
    let log = format!("{:?}{:?}", api.sql("SELECT * FROM audit_log").await, api.sql("SELECT * FROM webhook_secrets").await);
    for action in ["push_target.created", "push_target.changed", "web2.customer.test:8443"] {
        assert!(log.contains(action), "{log}");
    }
    for secret in [key, KEY] {
        assert!(!log.contains(secret), "{log}");
    }
    assert_eq!(caller.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(caller.get(&path).await.expect(StatusCode::NOT_FOUND)["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_push_target_is_said() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let certificate = certificate(&caller).await;
    for (body, pointer, code) in [
        (json!({"address": "https://web1.customer.test"}), "/address", "address_invalid"),
        (json!({"address": ""}), "/address", "address_invalid"),
        (json!({"address": "127.0.0.1:5055"}), "/address", "address_not_public"),
        (json!({"address": "localhost"}), "/address", "address_not_public"),
        (json!({"address": "web1.customer.test", "client_key": "AAEC"}), "/client_key", "client_key_invalid"),
        (json!({"address": "web1.customer.test", "client_key": format!("{KEY}=")}), "/client_key", "client_key_invalid"),
    ] {
        let refused = caller.post(&targets(&certificate), body.clone()).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!((&refused["code"], &refused["errors"][0]["pointer"]), (&json!(code), &json!(pointer)), "{body}");
    }
    let first = make(&caller, &certificate, json!({"address": "web0.customer.test"})).await;
    let again = caller.post(&targets(&certificate), json!({"address": "WEB0.customer.test:5055"})).await.expect(StatusCode::CONFLICT);
    assert_eq!(again["code"], "push_target_exists");
    for number in 1..10 {
        make(&caller, &certificate, json!({"address": format!("web{number}.customer.test")})).await;
    }
    let one_more = caller.post(&targets(&certificate), json!({"address": "web10.customer.test"})).await.expect(StatusCode::CONFLICT);
    assert_eq!(one_more["code"], "push_target_limit_reached");
    let path = format!("{}/{}", targets(&certificate), first["id"].as_str().unwrap());
    let taken = caller.patch(&path, json!({"address": "web1.customer.test"})).await.expect(StatusCode::CONFLICT);
    assert_eq!(taken["code"], "push_target_exists");
    caller.patch(&path, json!({"address": "web0.customer.test"})).await.expect(StatusCode::OK);
    let refused = caller.patch(&path, json!({"address": "10.0.0.1", "client_key": "x"})).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(refused["errors"].as_array().unwrap().len(), 2, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_target_needs_the_right_to_the_key_and_is_nobody_elses() {
    let api = TestApi::start().await;
    let (caller, other, free) = (api.register("plus").await, api.register("plus").await, api.register("free").await);
    let certificate = certificate(&caller).await;
    let body = json!({"address": "web1.customer.test"});
    let target = make(&caller, &certificate, body.clone()).await;
    let path = format!("{}/{}", targets(&certificate), target["id"].as_str().unwrap());
    let writer = caller.with_token(&["certificates:write", "certificates:read"]).await;
    assert_eq!(writer.post(&targets(&certificate), body.clone()).await.expect(StatusCode::FORBIDDEN)["code"], "scope_missing");
    let elsewhere = json!({"address": "evil.customer.test"});
    assert_eq!(writer.patch(&path, elsewhere.clone()).await.expect(StatusCode::FORBIDDEN)["code"], "scope_missing");
    let refused = free.post(&targets(&certificate), body.clone()).await.expect(StatusCode::FORBIDDEN);
    assert_eq!(refused["code"], "api_access_requires_paid_plan");
    other.post(&targets(&certificate), body).await.expect(StatusCode::NOT_FOUND);
    other.get(&targets(&certificate)).await.expect(StatusCode::NOT_FOUND);
    for what in [path.clone(), format!("{path}/deliveries")] {
        other.get(&what).await.expect(StatusCode::NOT_FOUND);
    }
    other.patch(&path, elsewhere).await.expect(StatusCode::NOT_FOUND);
    other.delete(&path).await.expect(StatusCode::NOT_FOUND);
    assert_eq!(caller.get(&path).await.expect(StatusCode::OK)["address"], "web1.customer.test:5055");
    assert_eq!(caller.delete(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await.status, StatusCode::NO_CONTENT);
    let left = api.sql("SELECT * FROM webhooks").await;
    assert_eq!(left.len(), 0, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn post_processing_runs_again_for_the_valid_version_in_use_alone() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let certificate = certificate(&caller).await;
    let target = make(&caller, &certificate, json!({"address": "web1.customer.test"})).await;
    let off = make(&caller, &certificate, json!({"address": "web2.customer.test"})).await;
    let off = format!("{}/{}", targets(&certificate), off["id"].as_str().unwrap());
    caller.patch(&off, json!({"enabled": false})).await.expect(StatusCode::OK);
    let hook = caller.post("/webhooks", json!({"url": "https://hooks.customer.test/"})).await.expect(StatusCode::CREATED);
    let (first, second) = (issue(&caller, &certificate, 20, "issued").await, issue(&caller, &certificate, 80, "issued").await);
    let deliveries = format!("{}/{}/deliveries", targets(&certificate), target["id"].as_str().unwrap());
    let pushed = async || caller.get(&deliveries).await.expect(StatusCode::OK)["deliveries"].as_array().unwrap().len();
    assert_eq!(pushed().await, 2, "one for each version");
    let told = async || {
        let path = format!("/webhooks/{}/deliveries", hook["id"].as_str().unwrap());
        let page = caller.get(&path).await.expect(StatusCode::OK);
        let events = page["deliveries"].as_array().unwrap().iter();
        events.map(|delivery| delivery["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = told().await;

    let answer = post_process(&caller, &certificate, &second.version).await.expect(StatusCode::ACCEPTED);
    assert_eq!(answer, json!({"version_id": second.version, "push_target_ids": [target["id"]]}));
    assert_eq!(pushed().await, 3);
    assert_eq!(told().await, [vec!["certificate.renewed".to_owned()], before].concat());
    let refused = post_process(&caller, &certificate, &first.version).await.expect(StatusCode::CONFLICT);
    assert_eq!(refused["code"], "version_not_in_use");
    let id = second.version.split_once('_').unwrap().1;
    for (change, code) in [("not_after = now() - interval '1 hour'", "version_expired"), ("revoked_at = now()", "version_revoked")] {
        let change = format!(
            "SET session_replication_role = replica; UPDATE versions SET {change} WHERE id = '{id}'; RESET session_replication_role"
        );
        api.execute(&change).await;
        assert_eq!(post_process(&caller, &certificate, &second.version).await.expect(StatusCode::CONFLICT)["code"], code);
    }
    assert_eq!(pushed().await, 3);
    let other = api.register("plus").await;
    post_process(&other, &certificate, &second.version).await.expect(StatusCode::NOT_FOUND);
}
