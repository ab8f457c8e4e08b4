//! `POST /certificates/{id}/renew`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::issued::{end, issue, issued};
use crate::support::{Answer, Caller, TestApi, uuid};

const EXISTS: &str = "Certificate already exists for domain";
const LIMIT: &str = "Certificate limit reached for plan";
const PAID: &str = "Certificate management requires paid subscription";
const WILDCARD: &str = "Wildcard certificates require Elite plan";

async fn renew(caller: &Caller<'_>, certificate: &Value) -> Answer {
    caller.send(Method::POST, &format!("/certificates/{}/renew", certificate["id"].as_str().unwrap()), None).await
}

async fn get(caller: &Caller<'_>, certificate: &Value) -> Value {
    caller.get(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await.expect(StatusCode::OK)
}

async fn active(api: &TestApi) -> Vec<Value> {
    api.sql("SELECT id, reason, wake_seq FROM issuances WHERE status = 'active'").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_certificate_is_renewed_at_once_and_stays_downloadable() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let before = issued(&caller, &zone, &name).await;
    let jobs = api.jobs("issue").await.len();
    let answer = renew(&caller, &before).await.expect(StatusCode::ACCEPTED);
    assert_eq!((&answer["id"], &answer["status"], &answer["downloadable"]), (&before["id"], &json!("validating"), &json!(true)));
    assert!(answer["next_attempt_at"].is_null(), "it is under way");
    assert_eq!((&answer["current_version"], &answer["expires_at"]), (&before["current_version"], &before["expires_at"]));
    assert_eq!(answer, get(&caller, &before).await);
    assert_eq!(active(&api).await[0]["reason"], "by_hand");
    assert_eq!(api.jobs("issue").await.len(), jobs + 1);
    // It is tried for as long as the version in use is valid, and the scan leaves it alone meanwhile.
    let row =
        "SELECT give_up_at = not_after AS patient, renewal_due_at FROM issuances, versions, certificates WHERE issuances.status = 'active'";
    assert_eq!(api.sql(row).await, [json!({"patient": true, "renewal_due_at": null})]);
    assert_eq!(caller.get(&format!("/certificates/{}/pem", before["id"].as_str().unwrap())).await.status, StatusCode::OK);

    let log = caller.get(&format!("/certificates/{}/logs", before["id"].as_str().unwrap())).await.json();
    let last = log["logs"].as_array().unwrap().last().unwrap();
    let issuance = format!("iss_{}", active(&api).await[0]["id"].as_str().unwrap().replace('-', ""));
    assert_eq!((&last["event"], &last["issuance_id"]), (&json!("renewal_requested"), &json!(issuance)));
    let audit = api.sql("SELECT subject, details FROM audit_log WHERE action = 'certificate.renewal_requested'").await;
    assert_eq!(audit, [json!({"subject": before["id"], "details": {"issuance_id": issuance}})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_order_is_under_way_another_is_refused() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let requested = caller.certificate(&zone, &format!("a.{name}")).await;
    let renewed = issued(&caller, &zone, &format!("b.{name}")).await;
    renew(&caller, &renewed).await.expect(StatusCode::ACCEPTED);
    for certificate in [&requested, &renewed] {
        for status in ["pending", "validating"] {
            api.execute(&format!("UPDATE certificates SET status = '{status}' WHERE id = '{}'", uuid(&certificate["id"]))).await;
            let (code, detail) = renew(&caller, certificate).await.problem(409);
            assert_eq!(code, "issuance_under_way");
            assert!(detail.contains(certificate["id"].as_str().unwrap()), "{detail}");
        }
    }
    assert_eq!(active(&api).await.iter().map(|row| row["wake_seq"].clone()).collect::<Vec<_>>(), [json!(1), json!(1)]);
    // An order that waits for the CA is under way, however long that takes.
    api.execute("UPDATE issuances SET next_wake_at = now() + interval '1 h' WHERE status = 'active'").await;
    assert_eq!(renew(&caller, &requested).await.problem(409).0, "issuance_under_way");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_rests_after_a_failure_makes_its_next_attempt_now() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let (zone, name) = caller.verified_zone().await;
    let first = caller.certificate(&zone, &format!("a.{name}")).await;
    let by_itself = issued(&caller, &zone, &format!("b.{name}")).await;
    renew(&caller, &by_itself).await.expect(StatusCode::ACCEPTED);
    for (certificate, before, after) in [(&first, "first", "first"), (&by_itself, "renewal", "by_hand")] {
        let id = uuid(&certificate["id"]);
        api.execute(&format!(
            "UPDATE issuances SET attempts = 2, next_wake_at = now() + interval '100 min', reason = '{before}' WHERE certificate_id = '{id}' AND status = 'active'"
        ))
        .await;
        // As the worker leaves one whose renewal rests.
        api.execute(&format!("UPDATE certificates SET status = 'issued' WHERE id = '{id}' AND status = 'validating'")).await;
        let sent = api.jobs("issue").await.len();
        renew(&caller, certificate).await.expect(StatusCode::ACCEPTED);
        assert_eq!(api.jobs("issue").await.len(), sent + 1);
        let row = format!(
            "SELECT reason, attempts, next_wake_at <= now() AS due FROM issuances WHERE certificate_id = '{id}' AND status = 'active'"
        );
        assert_eq!(api.sql(&row).await, [json!({"reason": after, "attempts": 2, "due": true})]);
        assert_eq!(renew(&caller, certificate).await.problem(409).0, "issuance_under_way");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_order_of_a_certificate_that_waits_for_it_is_placed() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let deferred = caller.post("/certificates", json!({"zone_id": zone, "domain": name, "place_order": false})).await;
    let deferred = deferred.expect(StatusCode::CREATED);
    // Its slot it has already.
    for number in 0..4 {
        caller.certificate(&zone, &format!("h{number}.{name}")).await;
    }
    let answer = renew(&caller, &deferred).await.expect(StatusCode::ACCEPTED);
    assert_eq!((&answer["status"], answer["next_attempt_at"].is_string()), (&json!("pending"), true));
    let issuance = format!(
        "SELECT reason, give_up_at - created_at > interval '23 h' AND give_up_at - created_at < interval '25 h' AS a_day FROM issuances WHERE certificate_id = '{}'",
        uuid(&deferred["id"])
    );
    assert_eq!(api.sql(&issuance).await, [json!({"reason": "first", "a_day": true})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_holds_no_slot_takes_slot_and_domain_again() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    for status in ["failed", "expired", "revoked"] {
        let certificate = caller.certificate(&zone, &format!("{status}.{name}")).await;
        if status != "failed" {
            issue(&caller, &certificate, if status == "expired" { -1 } else { 30 }, status).await;
        }
        end(&caller, &certificate, status).await;
        assert_eq!(caller.get("/limits").await.json()["current_count"], 0);
        let answer = renew(&caller, &certificate).await.expect(StatusCode::ACCEPTED);
        assert_eq!((&answer["status"], &answer["downloadable"]), (&json!("pending"), &json!(false)), "{status}");
        assert_eq!(caller.get("/limits").await.json()["current_count"], 1);
        assert_eq!(active(&api).await[0]["reason"], "by_hand");
        end(&caller, &certificate, status).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_exact_text_and_changes_nothing() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let failed = caller.certificate(&zone, &name).await;
    end(&caller, &failed, "failed").await;
    let wildcard = caller.certificate(&zone, &format!("*.a.{name}")).await;
    issue(&caller, &wildcard, 80, "issued").await;
    let wildcard_san =
        caller.post("/certificates", json!({"zone_id": zone, "domain": format!("b.{name}"), "sans": [format!("*.b.{name}")]})).await;
    let wildcard_san = wildcard_san.expect(StatusCode::ACCEPTED);
    issue(&caller, &wildcard_san, 80, "issued").await;
    let refused = async |certificate: &Value, status: u16, code: &str, detail: &str| {
        let before = get(&caller, certificate).await;
        assert_eq!(renew(&caller, certificate).await.problem(status), (code.to_owned(), detail.to_owned()));
        assert_eq!(get(&caller, certificate).await, before);
    };

    let other = caller.certificate(&zone, &name).await;
    refused(&failed, 409, "certificate_exists", EXISTS).await;
    end(&caller, &other, "failed").await;

    // After a downgrade a wildcard stays what it is, and is not renewed: as a new one would be refused.
    for plan in ["plus", "pro"] {
        caller.change_plan(plan).await;
        for certificate in [&wildcard, &wildcard_san] {
            refused(certificate, 403, "wildcard_requires_elite", WILDCARD).await;
        }
    }
    caller.change_plan("plus").await;
    for number in 0..3 {
        caller.certificate(&zone, &format!("h{number}.{name}")).await;
    }
    refused(&failed, 403, "certificate_limit_reached", LIMIT).await;
    // Both apply.
    let sixth = caller.delete(&format!("/certificates/{}", wildcard["id"].as_str().unwrap())).await;
    assert_eq!(sixth.status, StatusCode::NO_CONTENT);
    caller.certificate(&zone, &name).await;
    refused(&failed, 409, "certificate_exists", EXISTS).await;

    let issued = issued_over_the_limit(&caller, &zone, &name).await;
    renew(&caller, &issued).await.expect(StatusCode::ACCEPTED);
    caller.change_plan("free").await;
    refused(&issued, 403, "paid_plan_required", PAID).await;
    caller.change_plan("elite").await;
    api.execute("UPDATE zones SET status = 'lost'").await;
    let (code, detail) = renew(&caller, &failed).await.problem(409);
    assert_eq!(code, "zone_not_verified");
    assert!(detail.contains("/verify"), "{detail}");
    api.execute("UPDATE zones SET deleted_at = now()").await;
    refused(&failed, 404, "zone_not_found", "Zone not found or no permission").await;
}

/// A certificate of an account that has more of them than its plan holds.
async fn issued_over_the_limit(caller: &Caller<'_>, zone: &str, name: &str) -> Value {
    caller.change_plan("pro").await;
    let certificate = issued(caller, zone, &format!("over.{name}")).await;
    caller.change_plan("plus").await;
    assert_eq!(caller.get("/limits").await.json()["over_limit"], true);
    certificate
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_wish_sent_again_is_answered_again() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    let path = format!("/certificates/{}/renew", certificate["id"].as_str().unwrap());
    let first = caller.post_once("key", &path, json!({})).await;
    first.expect(StatusCode::ACCEPTED);
    let second = caller.post_once("key", &path, json!({})).await;
    assert_eq!((second.status, &second.text, second.header("idempotency-replayed")), (first.status, &first.text, "true"));
    assert_eq!(active(&api).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_certificate_is_not_renewed() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    caller.delete(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await;
    assert_eq!(renew(&caller, &certificate).await.problem(404).0, "not_found");
    assert_eq!(active(&api).await, Vec::<Value>::new());
}
