//! `POST /certificates/{id}/revoke`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::issued::{issue, issued};
use crate::support::{Answer, Caller, TestApi, uuid};

async fn revoke(caller: &Caller<'_>, certificate: &Value, body: Option<Value>) -> Answer {
    caller.send(Method::POST, &format!("/certificates/{}/revoke", certificate["id"].as_str().unwrap()), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_valid_version_is_asked_to_be_revoked() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &name).await;
    issue(&caller, &certificate, -1, "expired").await;
    issue(&caller, &certificate, 30, "issued").await;
    issue(&caller, &certificate, 80, "issued").await;
    let answer = revoke(&caller, &certificate, Some(json!({"reason": "key_compromise"}))).await.expect(StatusCode::ACCEPTED);
    let revocation = json!({"requested_at": answer["revocation"]["requested_at"], "reason": "key_compromise", "status": "active"});
    assert_eq!((&answer["revocation"], &answer["status"]), (&revocation, &json!("issued")));
    assert!(revocation["requested_at"].is_string());
    assert_eq!(caller.get(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await.json(), answer);
    let person = format!("SELECT id FROM users WHERE account_id = '{}'", caller.account.0);
    let person = format!("user_{}", api.sql(&person).await[0]["id"].as_str().unwrap().replace('-', ""));
    let rows = "SELECT number, reason, revocations.status, requested_by FROM revocations JOIN versions ON versions.id = version_id ORDER BY number";
    let wanted = |number: i32| json!({"number": number, "reason": 1, "status": "active", "requested_by": person});
    assert_eq!(api.sql(rows).await, [wanted(2), wanted(3)]);
    assert_eq!(api.jobs("revoke").await.len(), 2);

    let log = caller.get(&format!("/certificates/{}/logs", certificate["id"].as_str().unwrap())).await.json();
    assert_eq!(log["logs"].as_array().unwrap().last().unwrap()["event"], "revocation_requested");
    let audit = api.sql("SELECT subject, details FROM audit_log WHERE action = 'certificate.revocation_requested'").await;
    assert_eq!(audit, [json!({"subject": certificate["id"], "details": {"reason": "key_compromise", "versions": 2}})]);

    let (code, detail) = revoke(&caller, &certificate, None).await.problem(409);
    assert_eq!(code, "nothing_to_revoke");
    assert!(detail.contains("already"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_is_one_of_five_or_left_out() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    for (body, pointer, code) in [
        (json!({"reason": "ca_compromise"}), "/reason", "unknown_choice"),
        (json!({"reason": ""}), "/reason", "unknown_choice"),
        (json!({"reason": 1}), "/reason", "wrong_type"),
    ] {
        assert_eq!(
            revoke(&caller, &certificate, Some(body.clone())).await.faults(),
            [(pointer.to_owned(), code.to_owned())].into(),
            "{body}"
        );
    }
    assert_eq!(revoke(&caller, &certificate, Some(json!({"why": "x"}))).await.problem(400).0, "unknown_field");
    for raw in ["[]", "nonsense"] {
        revoke(&caller, &certificate, Some(json!(raw))).await.problem(400);
    }
    assert_eq!(api.sql("SELECT FROM revocations").await, Vec::<Value>::new());
    for (body, number) in [
        (None, 0),
        (Some(json!({})), 0),
        (Some(json!({"reason": null})), 0),
        (Some(json!({"reason": "unspecified"})), 0),
        (Some(json!({"reason": "key_compromise"})), 1),
        (Some(json!({"reason": "affiliation_changed"})), 3),
        (Some(json!({"reason": "superseded"})), 4),
        (Some(json!({"reason": "cessation_of_operation"})), 5),
    ] {
        api.execute("DELETE FROM revocations").await;
        revoke(&caller, &certificate, body.clone()).await.expect(StatusCode::ACCEPTED);
        assert_eq!(api.sql("SELECT reason FROM revocations").await, [json!({"reason": number})], "{body:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_version_there_is_nothing_to_revoke() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &name).await;
    let refused = async || {
        let (code, detail) = revoke(&caller, &certificate, None).await.problem(409);
        assert_eq!(code, "nothing_to_revoke");
        assert!(detail.contains("no version that is valid"), "{detail}");
    };
    refused().await;
    issue(&caller, &certificate, -1, "expired").await;
    refused().await;
    issue(&caller, &certificate, 30, "issued").await;
    api.execute("UPDATE versions SET revoked_at = now()").await;
    api.execute(&format!("UPDATE certificates SET status = 'revoked' WHERE id = '{}'", uuid(&certificate["id"]))).await;
    refused().await;
    assert_eq!(api.jobs("revoke").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_came_after_a_revocation_is_not_shown_as_revoked() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    revoke(&caller, &certificate, None).await.expect(StatusCode::ACCEPTED);
    issue(&caller, &certificate, 80, "issued").await;
    let renewed = caller.get(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await.json();
    assert_eq!((&renewed["revocation"], &renewed["downloadable"]), (&Value::Null, &json!(true)));
    // And it can be revoked as well.
    revoke(&caller, &certificate, None).await.expect(StatusCode::ACCEPTED);
    assert_eq!(api.jobs("revoke").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_plan_can_revoke_and_the_same_wish_sent_again_is_answered_again() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    caller.change_plan("free").await;
    let path = format!("/certificates/{}/revoke", certificate["id"].as_str().unwrap());
    let first = caller.post_once("key", &path, json!({"reason": "superseded"})).await;
    first.expect(StatusCode::ACCEPTED);
    let again = caller.post_once("key", &path, json!({"reason": "superseded"})).await;
    assert_eq!((again.status, &again.text), (StatusCode::ACCEPTED, &first.text));
    let other = caller.post_once("key", &path, json!({"reason": "unspecified"})).await;
    assert_eq!(other.problem(409).0, "idempotency_key_reused");
    assert_eq!(api.jobs("revoke").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_payment_is_missing_certificates_are_revoked_and_deleted_but_not_renewed_or_changed() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    let path = format!("/certificates/{}", certificate["id"].as_str().unwrap());
    let suspension = format!("/accounts/{}/suspension", caller.account);
    api.operate(Method::PUT, &suspension, Some(json!({"reason": "payment"}))).await.expect(StatusCode::OK);
    let seen = caller.get(&path).await.expect(StatusCode::OK);
    assert_eq!((&seen["renewal_blocked_by"]["code"], &seen["downloadable"]), (&json!("suspended"), &json!(true)));
    assert_eq!(caller.post(&format!("{path}/renew"), json!({})).await.problem(403).0, "account_suspended");
    assert_eq!(caller.patch(&path, json!({"auto_renew": false})).await.problem(403).0, "account_suspended");
    revoke(&caller, &certificate, None).await.expect(StatusCode::ACCEPTED);
    assert_eq!(caller.delete(&path).await.status, StatusCode::NO_CONTENT);
}
