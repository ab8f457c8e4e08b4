//! Webhooks: made, shown without their secret, changed, and what they were told.

use reqwest::StatusCode;
use serde_json::{Value, json};
use zonecert_domain::webhook::Destinations;

use crate::support::{Caller, TestApi, uuid};

const URL: &str = "https://hooks.customer.test/a?key=of-the-receiver";

async fn make(caller: &Caller<'_>, body: Value) -> Value {
    caller.post("/webhooks", body).await.expect(StatusCode::CREATED)
}

fn path(webhook: &Value) -> String {
    format!("/webhooks/{}", webhook["id"].as_str().unwrap())
}

async fn messages(caller: &Caller<'_>, webhook: &Value) -> Vec<Value> {
    let page = caller.get(&format!("{}/deliveries", path(webhook))).await.expect(StatusCode::OK);
    page["deliveries"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_stored_sealed_and_a_url_is_in_no_log() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let answer =
        caller.post("/webhooks", json!({"url": URL, "events": ["certificate.renewed", "certificate.issued"], "description": " ci "})).await;
    let made = answer.expect(StatusCode::CREATED);
    assert_eq!(answer.header("location"), format!("/api/v1{}", path(&made)));
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 6 + 44, "{secret}");
    assert_eq!((&made["url"], &made["description"]), (&json!(URL), &json!("ci")));
    assert_eq!(made["events"], json!(["certificate.issued", "certificate.renewed"]));
    assert_eq!((&made["enabled"], &made["old_secret_valid_until"]), (&json!(true), &Value::Null));

    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(caller.get(&path(&made)).await.expect(StatusCode::OK), shown);
    assert_eq!(caller.get("/webhooks").await.expect(StatusCode::OK), json!({"webhooks": [shown]}));

    let rotated = caller.post(&format!("{}/rotate-secret", path(&made)), json!({})).await.expect(StatusCode::OK);
    let second = rotated["secret"].as_str().unwrap();
    assert_ne!(second, secret);
    assert!(rotated["old_secret_valid_until"].is_string());
    caller.patch(&path(&made), json!({"url": format!("{URL}2")})).await.expect(StatusCode::OK);
    let stored = format!("{:?}", api.sql("SELECT * FROM webhook_secrets").await);
    assert!(!stored.contains(&secret[6..]) && !stored.contains(&second[6..]), "{stored}");
    let log = format!("{:?}{:?}", api.sql("SELECT * FROM audit_log").await, api.sql("SELECT * FROM events").await);
    for action in ["webhook.created", "webhook.secret_rotated", "webhook.changed"] {
        assert!(log.contains(action), "{log}");
    }
    for told in [&secret[6..], &second[6..], "of-the-receiver"] {
        assert!(!log.contains(told), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_webhook_is_said() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    for (body, pointer, code) in [
        (json!({"url": "hooks"}), "/url", "url_invalid"),
        (json!({"url": "http://hooks.customer.test/"}), "/url", "url_not_https"),
        (json!({"url": "https://ada:secret@hooks.customer.test/"}), "/url", "url_has_credentials"),
        (json!({"url": "https://127.0.0.1/"}), "/url", "url_not_public"),
        (json!({"url": "https://[fd00::1]/"}), "/url", "url_not_public"),
        (json!({"url": URL, "events": ["certificate.issued", "issued"]}), "/events/1", "event_unknown"),
        (json!({"url": URL, "events": ["webhook.test"]}), "/events/0", "event_unknown"),
        (json!({"url": URL, "description": "a\nb"}), "/description", "text_has_control_characters"),
    ] {
        let refused = caller.post("/webhooks", body.clone()).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!((&refused["code"], &refused["errors"][0]["pointer"]), (&json!(code), &json!(pointer)), "{body}");
    }
    let webhook = make(&caller, json!({"url": URL})).await;
    let refused = caller.patch(&path(&webhook), json!({"url": "https://10.0.0.1/", "events": ["x"]})).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(refused["errors"].as_array().unwrap().len(), 2, "{refused}");
    assert_eq!(caller.get(&path(&webhook)).await.expect(StatusCode::OK)["url"], URL);
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_that_the_operator_allows_may_be_named_and_no_others() {
    let api = TestApi::start_set(|settings| settings.webhook_destinations = Destinations::new(vec!["10.1.0.0/16".parse().unwrap()])).await;
    let caller = api.register("plus").await;
    make(&caller, json!({"url": "http://10.1.2.3:8080/"})).await;
    let refused = caller.post("/webhooks", json!({"url": "http://10.2.0.1/"})).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(refused["code"], "url_not_public");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_need_a_paid_plan_an_administrator_and_room() {
    let api = TestApi::start().await;
    let free = api.register("free").await;
    let refused = free.post("/webhooks", json!({"url": URL})).await.expect(StatusCode::FORBIDDEN);
    assert_eq!(refused["code"], "api_access_requires_paid_plan");
    let caller = api.register("plus").await;
    let program = caller.with_token(&["certificates:write", "certificates:read", "zones:write"]).await;
    assert_eq!(program.post("/webhooks", json!({"url": URL})).await.expect(StatusCode::FORBIDDEN)["code"], "scope_missing");
    for _ in 0..20 {
        make(&caller, json!({"url": URL})).await;
    }
    assert_eq!(caller.post("/webhooks", json!({"url": URL})).await.expect(StatusCode::CONFLICT)["code"], "webhook_limit_reached");
    // What was made stays, also where nobody pays any more.
    caller.change_plan("free").await;
    let listed = caller.get("/webhooks").await.expect(StatusCode::OK);
    let one = &listed["webhooks"][0];
    caller.post(&format!("{}/test", path(one)), json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(caller.delete(&path(one)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_is_a_message_with_a_job_that_can_be_read_replayed_and_paged() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let webhook = make(&caller, json!({"url": URL, "events": ["certificate.deleted"]})).await;
    let test = format!("{}/test", path(&webhook));
    let first = caller.post(&test, json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!((&first["event"], &first["status"], &first["certificate_id"]), (&json!("webhook.test"), &json!("pending"), &Value::Null));
    assert_eq!(first["body"]["data"]["webhook_id"], webhook["id"]);
    let jobs = api.jobs("webhook").await;
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0]["webhook_id"].as_str().unwrap().replace('-', ""), uuid(&webhook["id"]));
    let one = format!("{}/deliveries/{}", path(&webhook), first["id"].as_str().unwrap());
    assert_eq!(caller.get(&one).await.expect(StatusCode::OK), first);
    let replay = format!("{one}/replay");
    assert_eq!(caller.post(&replay, json!({})).await.expect(StatusCode::CONFLICT)["code"], "delivery_pending");

    // Disabled, it is over, and can be replayed once the webhook is enabled.
    let off = caller.patch(&path(&webhook), json!({"enabled": false})).await.expect(StatusCode::OK);
    assert_eq!((&off["enabled"], &off["disabled_reason"]), (&json!(false), &json!("by_hand")));
    assert_eq!(caller.get(&one).await.expect(StatusCode::OK)["status"], "failed");
    for post in [&replay, &test] {
        assert_eq!(caller.post(post, json!({})).await.expect(StatusCode::CONFLICT)["code"], "webhook_disabled");
    }
    caller.patch(&path(&webhook), json!({"enabled": true})).await.expect(StatusCode::OK);
    let replayed = caller.post(&replay, json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!((&replayed["id"], &replayed["status"], &replayed["body"]), (&first["id"], &json!("pending"), &first["body"]));
    assert_eq!(api.jobs("webhook").await.len(), 2);

    for _ in 0..2 {
        caller.post(&test, json!({})).await.expect(StatusCode::ACCEPTED);
    }
    let all: Vec<Value> = messages(&caller, &webhook).await;
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = caller.get(&format!("{}/deliveries?limit=1{cursor}", path(&webhook))).await.expect(StatusCode::OK);
        paged.push(page["deliveries"][0].clone());
        cursor = page["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert_eq!((paged.len(), cursor.as_str()), (3, ""));
    assert_eq!(paged, all);
    assert_eq!(all[2]["id"], first["id"], "newest first");
    let none = caller.get(&format!("{}/deliveries?status=delivered", path(&webhook))).await.expect(StatusCode::OK);
    assert_eq!(none["deliveries"], json!([]));
    let refused = caller.get(&format!("{}/deliveries?status=sent", path(&webhook))).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(refused["code"], "unknown_choice");

    assert_eq!(caller.delete(&path(&webhook)).await.status, StatusCode::NO_CONTENT);
    for gone in [path(&webhook), format!("{}/deliveries", path(&webhook)), one] {
        caller.get(&gone).await.expect(StatusCode::NOT_FOUND);
    }
    assert_eq!((api.count("webhook_deliveries").await, api.count("webhook_secrets").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_certificate_is_told_in_its_own_transaction() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (all, some) =
        (make(&caller, json!({"url": URL})).await, make(&caller, json!({"url": URL, "events": ["certificate.deleted"]})).await);
    let other = api.register("plus").await;
    let foreign = make(&other, json!({"url": URL})).await;
    let (zone, name) = caller.verified_zone().await;
    let wish = json!({"zone_id": zone, "domain": format!("app.{name}")});
    // A rehearsal is none.
    caller.post("/certificates/preflight", wish.clone()).await.expect(StatusCode::OK);
    let certificate = caller.post("/certificates", wish).await.expect(StatusCode::ACCEPTED);
    assert_eq!(caller.delete(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await.status, StatusCode::NO_CONTENT);
    let told = messages(&caller, &all).await;
    let types: Vec<&Value> = told.iter().rev().map(|delivery| &delivery["event"]).collect();
    assert_eq!(types, ["certificate.requested", "certificate.deleted"]);
    assert!(told.iter().all(|delivery| delivery["certificate_id"] == certificate["id"] && delivery["body"]["type"] == delivery["event"]));
    assert_eq!(messages(&caller, &some).await.len(), 1);
    assert_eq!(messages(&other, &foreign).await.len(), 0);
    caller.get(&path(&foreign)).await.expect(StatusCode::NOT_FOUND);
}
