//! Servers report which version of a certificate they use.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::issued::{issue, issued};
use crate::support::{Answer, Caller, TestApi, uuid};

/// Of the version in use, as `issued.rs` makes it.
fn current() -> String {
    "ab".repeat(32)
}

async fn start(api: &TestApi) -> (Caller<'_>, Value) {
    let caller = api.register("pro").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    (caller, certificate)
}

fn path(certificate: &Value, target: &str) -> String {
    format!("/certificates/{}/deployments{target}", certificate["id"].as_str().unwrap())
}

async fn report(caller: &Caller<'_>, certificate: &Value, target: &str, body: Value) -> Answer {
    caller.send(Method::PUT, &path(certificate, &format!("/{target}")), Some(body)).await
}

/// Event and message of each entry about deployments.
async fn log(caller: &Caller<'_>, certificate: &Value) -> Vec<(String, String)> {
    let log = caller.get(&format!("/certificates/{}/logs", certificate["id"].as_str().unwrap())).await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entries = log["logs"].as_array().unwrap().iter().map(|entry| (text(&entry["event"]), text(&entry["message"])));
    entries.filter(|(event, _)| event.starts_with("deployment_")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_kept_shown_with_the_certificate_and_told_in_its_log_where_the_state_changes() {
    let api = TestApi::start().await;
    let (owner, certificate) = start(&api).await;
    let caller = owner.with_token(&["certificates:read", "deployments:write"]).await;
    let version = certificate["current_version"]["id"].clone();
    let body =
        json!({"served_sha256": current(), "installed_sha256": current(), "installed_version_id": version, "agent_version": " 0.1.0 "});
    let kept = report(&caller, &certificate, "web1:443", body).await.expect(StatusCode::OK);
    let expected = json!({
        "target": "web1:443", "state": "serving", "served_sha256": current(), "installed_sha256": current(), "installed_version_id": version,
        "agent_version": "0.1.0", "error": null, "first_reported_at": kept["first_reported_at"], "reported_at": kept["reported_at"],
    });
    assert_eq!(kept, expected);
    assert_eq!(caller.get(&path(&certificate, "")).await.json(), json!({"deployments": [expected]}));
    let shown = async || caller.get(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await.json()["deployed"].clone();
    assert_eq!(shown().await, json!([{"target": "web1:443", "state": "serving", "reported_at": kept["reported_at"]}]));
    assert_eq!(caller.get("/certificates").await.json()["certificates"][0]["deployed"], shown().await);
    let token = json!({"actor_is_token": true, "subject": certificate["id"], "details": {"target": "web1:443"}});
    let audit = "SELECT actor LIKE 'tok_%' AS actor_is_token, subject, details FROM audit_log WHERE action = 'deployment.added'";
    assert_eq!(api.sql(audit).await, [token]);

    // The same again is no news.
    report(&caller, &certificate, "web1:443", json!({"installed_sha256": current()})).await.expect(StatusCode::OK);
    let old = json!({"served_sha256": "0a".repeat(32), "installed_sha256": current()});
    assert_eq!(report(&caller, &certificate, "web1:443", old.clone()).await.expect(StatusCode::OK)["state"], "stale");
    report(&caller, &certificate, "web1:443", old).await.expect(StatusCode::OK);
    let failed = json!({"installed_sha256": current(), "error": "no connection"});
    assert_eq!(report(&caller, &certificate, "web1:443", failed).await.expect(StatusCode::OK)["state"], "unknown");
    report(&caller, &certificate, "web1:443", json!({"installed_sha256": current()})).await.expect(StatusCode::OK);
    let told = |event: &str, message: &str| (event.to_owned(), message.to_owned());
    let so_far = [
        told("deployment_serving", "web1:443 serves the version in use"),
        told("deployment_stale", "web1:443 serves another version than the one in use"),
        told("deployment_unknown", "It is not known what web1:443 serves: no connection"),
        told("deployment_serving", "web1:443 has installed the version in use"),
    ];
    assert_eq!(log(&caller, &certificate).await, so_far);

    // What was silent for too long has changed its state, though nobody has said so.
    api.execute("UPDATE deployments SET reported_at = now() - interval '26 hours'").await;
    assert_eq!(shown().await[0]["state"], "unknown");
    report(&caller, &certificate, "web1:443", json!({"installed_sha256": current()})).await.expect(StatusCode::OK);
    assert_eq!(log(&caller, &certificate).await.len(), 5);

    // A renewal makes an old version of what is served, and the new one is news.
    issue(&owner, &certificate, 90, "issued").await;
    let newer = "cd".repeat(32);
    api.execute("ALTER TABLE versions DISABLE TRIGGER versions_immutable").await;
    api.execute(&format!("UPDATE versions SET fingerprint_sha256 = '{newer}' WHERE number = 2")).await;
    assert_eq!(shown().await[0]["state"], "stale");
    report(&caller, &certificate, "web1:443", json!({"served_sha256": newer})).await.expect(StatusCode::OK);
    assert_eq!(log(&caller, &certificate).await.last(), Some(&told("deployment_serving", "web1:443 serves the version in use")));
    assert_eq!(log(&caller, &certificate).await.len(), 6);
    assert_eq!(api.sql("SELECT 1 FROM audit_log WHERE action = 'deployment.added'").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_can_say_is_refused() {
    let api = TestApi::start().await;
    let (caller, certificate) = start(&api).await;
    let other =
        caller.certificate(certificate["zone_id"].as_str().unwrap(), &format!("other.{}", certificate["domain"].as_str().unwrap())).await;
    let of_other = issue(&caller, &other, 90, "issued").await.version;
    let body = json!({
        "served_sha256": "0A".repeat(32), "installed_sha256": "0a", "agent_version": "x".repeat(51), "error": "two\nlines",
    });
    let faults = report(&caller, &certificate, "web1", body).await.faults();
    let expected = [
        ("/agent_version", "text_too_long"),
        ("/error", "text_has_control_characters"),
        ("/installed_sha256", "fingerprint_invalid"),
        ("/served_sha256", "fingerprint_invalid"),
    ];
    assert_eq!(faults, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())).into());
    for version in ["1", of_other.as_str(), &format!("ver_{}", "0".repeat(32))] {
        let (code, _) = report(&caller, &certificate, "web1", json!({"installed_version_id": version})).await.problem(400);
        assert_eq!(code, "version_unknown", "{version}");
    }
    for target in ["-web", "a%20b", "a%2Fb", &"a".repeat(101), "%00"] {
        report(&caller, &certificate, target, json!({})).await.problem(404);
    }
    assert_eq!(api.count("deployments").await, 0);
    let empty = report(&caller, &certificate, "web1", json!({})).await.expect(StatusCode::OK);
    assert_eq!((&empty["state"], &empty["agent_version"]), (&json!("unknown"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_has_fifty_servers_at_most_however_many_report_at_once() {
    let api = TestApi::start().await;
    let (caller, certificate) = start(&api).await;
    let reports = (0..55).map(|number| {
        let (caller, certificate) = (&caller, &certificate);
        async move { report(caller, certificate, &format!("web{number}"), json!({})).await.status.as_u16() }
    });
    let statuses = futures::future::join_all(reports).await;
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(409)), (50, 5));
    let list = caller.get(&path(&certificate, "")).await.json()["deployments"].as_array().unwrap().clone();
    assert_eq!(list.len(), 50);
    let known = list[0]["target"].as_str().unwrap();
    report(&caller, &certificate, known, json!({})).await.expect(StatusCode::OK);
    let (code, detail) = report(&caller, &certificate, "more", json!({})).await.problem(409);
    assert_eq!((code.as_str(), detail.contains("delete one")), ("deployment_limit_reached", true));
    assert_eq!(caller.delete(&path(&certificate, &format!("/{known}"))).await.status, StatusCode::NO_CONTENT);
    report(&caller, &certificate, "more", json!({})).await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_forgotten_by_hand_and_with_its_certificate() {
    let api = TestApi::start().await;
    let (caller, certificate) = start(&api).await;
    for target in ["web1", "web2"] {
        report(&caller, &certificate, target, json!({"served_sha256": current()})).await.expect(StatusCode::OK);
    }
    assert_eq!(caller.delete(&path(&certificate, "/web1")).await.status, StatusCode::NO_CONTENT);
    caller.delete(&path(&certificate, "/web1")).await.problem(404);
    caller.delete(&path(&certificate, "/web%201")).await.problem(404);
    assert_eq!(log(&caller, &certificate).await.last().unwrap().0, "deployment_deleted");
    let audit = api.sql("SELECT details FROM audit_log WHERE action = 'deployment.deleted'").await;
    assert_eq!(audit, [json!({"details": {"target": "web1"}})]);
    assert_eq!(caller.delete(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.count("deployments").await, 0);
    report(&caller, &certificate, "web2", json!({})).await.problem(404);
    caller.get(&path(&certificate, "")).await.problem(404);
    caller.delete(&path(&certificate, "/web2")).await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_reports_with_its_own_scope_and_on_a_plan_with_api_access() {
    let api = TestApi::start().await;
    let (caller, certificate) = start(&api).await;
    let reader = caller.with_token(&["certificates:read", "keys:read", "certificates:write"]).await;
    assert_eq!(report(&reader, &certificate, "web1", json!({})).await.problem(403).0, "scope_missing");
    let server = caller.with_token(&["deployments:write"]).await;
    report(&server, &certificate, "web1", json!({})).await.expect(StatusCode::OK);
    assert_eq!(server.get(&path(&certificate, "")).await.problem(403).0, "scope_missing");
    assert_eq!(server.get(&format!("/certificates/{}/key", certificate["id"].as_str().unwrap())).await.problem(403).0, "scope_missing");
    caller.change_plan("free").await;
    assert_eq!(report(&server, &certificate, "web1", json!({})).await.problem(403).0, "api_access_requires_paid_plan");
    report(&caller, &certificate, "web1", json!({})).await.expect(StatusCode::OK);
    let stranger = api.register("elite").await;
    report(&stranger, &certificate, "web1", json!({})).await.problem(404);
    assert_eq!(api.sql(&format!("SELECT 1 FROM deployments WHERE certificate_id = '{}'", uuid(&certificate["id"]))).await.len(), 1);
}
