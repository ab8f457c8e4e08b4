//! `DELETE /certificates/{id}`.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::issued::{issue, issued};
use crate::support::{Answer, Caller, TestApi, uuid};

async fn delete(caller: &Caller<'_>, certificate: &Value, query: &str) -> Answer {
    caller.delete(&format!("/certificates/{}{query}", certificate["id"].as_str().unwrap())).await
}

async fn keys_left(api: &TestApi) -> Value {
    api.sql("SELECT count(*) FILTER (WHERE destroyed_at IS NULL) AS material, count(sealed) AS sealed FROM key_versions").await[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_certificate_is_gone_with_its_keys_and_all_that_it_held_is_free() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    issue(&caller, &certificate, 80, "issued").await;
    let other = issued(&caller, &zone, &format!("other.{name}")).await;
    assert_eq!(keys_left(&api).await, json!({"material": 3, "sealed": 3}));
    let answer = delete(&caller, &certificate, "").await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));

    let id = certificate["id"].as_str().unwrap();
    for path in ["", "/logs", "/download", "/pem", "/chain", "/key"] {
        assert_eq!(caller.get(&format!("/certificates/{id}{path}")).await.problem(404).0, "not_found", "{path}");
    }
    assert_eq!(delete(&caller, &certificate, "").await.problem(404).0, "not_found");
    let list = caller.get("/certificates").await.json();
    assert_eq!((&list["certificates"], &list["limits"]["current_count"]), (&json!([other]), &json!(1)));
    // The other certificate's key stays, and nothing was revoked.
    assert_eq!(keys_left(&api).await, json!({"material": 1, "sealed": 1}));
    assert_eq!(api.jobs("revoke").await, Vec::<Value>::new());
    let again = caller.certificate(&zone, &name).await;
    assert_eq!((&again["name"], &again["domain"]), (&certificate["name"], &certificate["domain"]));

    let details = json!({"name": name, "domain": name, "versions_being_revoked": 0, "keys_destroyed": 2});
    let audit = api.sql("SELECT subject, details FROM audit_log WHERE action = 'certificate.deleted'").await;
    assert_eq!(audit, [json!({"subject": id, "details": details})]);
    let event = api.sql("SELECT certificate_id, details FROM events WHERE event = 'certificate_deleted'").await;
    assert_eq!(event[0]["details"], details);
    assert_eq!(event[0]["certificate_id"].as_str().unwrap().replace('-', ""), uuid(&certificate["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_revocation_the_key_stays_until_the_ca_has_confirmed() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &name).await;
    issue(&caller, &certificate, -1, "expired").await;
    issue(&caller, &certificate, 80, "issued").await;
    assert_eq!(delete(&caller, &certificate, "?revoke=true").await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.sql("SELECT reason, status FROM revocations").await, [json!({"reason": 5, "status": "active"})]);
    assert_eq!(api.jobs("revoke").await.len(), 1);
    assert_eq!(keys_left(&api).await, json!({"material": 1, "sealed": 1}));
    assert_eq!(caller.get("/certificates").await.json()["certificates"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_revoke_it_is_deleted_all_the_same() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    for query in ["?revoke=true", "?revoke=false", "?"] {
        let certificate = caller.certificate(&zone, &name).await;
        assert_eq!(delete(&caller, &certificate, query).await.status, StatusCode::NO_CONTENT, "{query}");
    }
    let certificate = caller.certificate(&zone, &name).await;
    for query in ["?revoke=yes", "?revoke=", "?revoke=TRUE", "?revoke=1"] {
        assert_eq!(delete(&caller, &certificate, query).await.faults(), [("?revoke".to_owned(), "unknown_choice".to_owned())].into());
    }
    for query in ["?revoked=true", "?revoke=true&revoke=true"] {
        assert_eq!(delete(&caller, &certificate, query).await.problem(400).0, "invalid_query", "{query}");
    }
    assert_eq!(caller.get("/certificates").await.json()["certificates"], json!([certificate]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuance_under_way_is_cancelled() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &name).await;
    api.execute(
        "UPDATE issuances SET lease_owner = 'worker', lease_expires_at = now() + interval '1 h', next_wake_at = now() + interval '1 h'",
    )
    .await;
    assert_eq!(delete(&caller, &certificate, "").await.status, StatusCode::NO_CONTENT);
    let row =
        "SELECT status, cancel_requested_at IS NOT NULL AS cancelled, next_wake_at <= now() AS due, lease_owner, wake_seq FROM issuances";
    assert_eq!(api.sql(row).await, [json!({"status": "active", "cancelled": true, "due": true, "lease_owner": null, "wake_seq": 2})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_plan_can_delete() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    caller.change_plan("free").await;
    assert_eq!(delete(&caller, &certificate, "?revoke=true").await.status, StatusCode::NO_CONTENT);
}
