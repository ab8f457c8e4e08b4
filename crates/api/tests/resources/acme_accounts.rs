//! ACME accounts of one's own: registered, changed, used and deleted, never shown with a key.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Caller, TestApi, uuid};

const MAC_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

fn wish() -> Value {
    json!({"name": "ours", "contact": ["ops@customer.test"], "terms_of_service_agreed": true})
}

async fn make(caller: &Caller<'_>) -> Value {
    caller.post("/acme-accounts", wish()).await.expect(StatusCode::CREATED)
}

fn path(account: &Value) -> String {
    format!("/acme-accounts/{}", account["id"].as_str().unwrap())
}

/// The CA has registered it.
async fn register(api: &TestApi, account: &Value) {
    let id = uuid(&account["id"]);
    api.execute(&format!("UPDATE own_acme_accounts SET status = 'valid', work_since = NULL, next_attempt_at = NULL WHERE id = '{id}'"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mac_key_is_stored_sealed_and_shown_to_nobody() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let mut with_key = wish();
    with_key["eab"] = json!({"kid": " kid-1 ", "hmac_key": MAC_KEY});
    let answer = caller.post("/acme-accounts", with_key).await;
    let made = answer.expect(StatusCode::CREATED);
    assert_eq!(answer.header("location"), format!("/api/v1{}", path(&made)));
    assert_eq!((&made["status"], &made["eab_kid"], &made["last_error"]), (&json!("pending"), &json!("kid-1"), &Value::Null));
    assert_eq!((&made["name"], &made["contact"]), (&json!("ours"), &json!(["ops@customer.test"])));
    assert!(made["directory_url"].as_str().unwrap().starts_with("https://"), "{made}");
    assert_eq!(caller.get(&path(&made)).await.expect(StatusCode::OK), made);
    let page = caller.get("/acme-accounts").await.expect(StatusCode::OK);
    assert_eq!(page, json!({"acme_accounts": [made], "next_cursor": null}));
    let changed = caller.patch(&path(&made), json!({"name": "theirs", "contact": []})).await.expect(StatusCode::OK);
    assert_eq!((&changed["name"], &changed["contact"]), (&json!("theirs"), &json!([])));
    assert!(api.sql("SELECT sealed_eab FROM own_acme_accounts WHERE sealed_eab IS NOT NULL").await.len() == 1);
    let log = format!("{:?}", api.sql("SELECT * FROM audit_log").await);
    assert!(log.contains("acme_account.created") && log.contains("acme_account.changed"), "{log}");
    for told in [format!("{made}{changed}{page}"), log] {
        assert!(!told.contains(MAC_KEY), "{told}");
    }
    let jobs = api.sql("SELECT 1 FROM apalis.jobs WHERE job_type = 'scan'").await;
    assert!(!jobs.is_empty(), "a worker is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_acme_account_is_said() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let many: Vec<String> = (0..6).map(|number| format!("a{number}@customer.test")).collect();
    for (field, value, pointer, code) in [
        ("name", json!(" "), "/name", "text_empty"),
        ("contact", json!(["ops@customer.test", "nobody"]), "/contact/1", "email_needs_one_at"),
        ("contact", json!(many), "/contact", "too_many_contacts"),
        ("directory_url", json!("https://127.0.0.1/dir"), "/directory_url", "directory_unknown"),
        ("terms_of_service_agreed", json!(false), "/terms_of_service_agreed", "terms_not_agreed"),
        ("eab", json!({"kid": "", "hmac_key": MAC_KEY}), "/eab/kid", "text_empty"),
        ("eab", json!({"kid": "kid-1", "hmac_key": "not base64url"}), "/eab/hmac_key", "hmac_key_invalid"),
    ] {
        let mut body = wish();
        body[field] = value;
        let refused = caller.post("/acme-accounts", body.clone()).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!((&refused["code"], &refused["errors"][0]["pointer"]), (&json!(code), &json!(pointer)), "{body}");
        assert!(!refused.to_string().contains(MAC_KEY));
    }
    let free = api.register("free").await;
    assert_eq!(free.post("/acme-accounts", wish()).await.problem(403).0, "paid_plan_required");
    for _ in 0..20 {
        make(&caller).await;
    }
    assert_eq!(caller.post("/acme-accounts", wish()).await.problem(409).0, "acme_account_limit_reached");
    let page = caller.get("/acme-accounts?limit=15").await.expect(StatusCode::OK);
    let rest = caller.get(&format!("/acme-accounts?cursor={}", page["next_cursor"].as_str().unwrap())).await.expect(StatusCode::OK);
    assert_eq!((rest["acme_accounts"].as_array().unwrap().len(), &rest["next_cursor"]), (5, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_ordered_with_a_valid_one_and_goes_back_to_ours() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let own = make(&caller).await;
    let request = json!({"zone_id": zone, "domain": name, "acme_account_id": own["id"]});
    assert_eq!(caller.post("/certificates", request.clone()).await.problem(409).0, "acme_account_not_valid");
    register(&api, &own).await;
    let certificate = caller.post("/certificates", request).await.expect(StatusCode::ACCEPTED);
    assert_eq!(certificate["acme_account_id"], own["id"]);
    let certificate = format!("/certificates/{}", certificate["id"].as_str().unwrap());
    let in_use = caller.delete(&path(&own)).await.problem(409);
    assert_eq!(in_use.0, "acme_account_in_use");
    assert!(in_use.1.contains(certificate.strip_prefix("/certificates/").unwrap()), "{in_use:?}");

    let stranger = api.register("plus").await;
    let foreign = make(&stranger).await;
    register(&api, &foreign).await;
    for nobodys in [foreign["id"].clone(), json!("acme_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f"), json!("nonsense")] {
        let refused = caller.patch(&certificate, json!({"acme_account_id": nobodys})).await.problem(404);
        assert_eq!(refused, ("acme_account_not_found".to_owned(), "ACME account not found or no permission".to_owned()), "{nobodys}");
    }
    assert_eq!(stranger.get(&path(&own)).await.problem(404).0, "not_found");
    assert_eq!(stranger.delete(&path(&own)).await.problem(404).0, "not_found");

    let ours = caller.patch(&certificate, json!({"acme_account_id": null})).await.expect(StatusCode::OK);
    assert_eq!(ours["acme_account_id"], Value::Null);
    let log = api.sql("SELECT details FROM audit_log WHERE action = 'certificate.changed'").await;
    assert_eq!(log[0]["details"], json!({"changed": {"acme_account_id": {"from": own["id"], "to": null}}}));
    caller.patch(&certificate, json!({"acme_account_id": own["id"]})).await.expect(StatusCode::OK);
    caller.patch(&certificate, json!({"acme_account_id": null})).await.expect(StatusCode::OK);
    assert_eq!(caller.delete(&path(&own)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(caller.get(&path(&own)).await.problem(404).0, "not_found");
    assert_eq!(caller.get("/acme-accounts").await.expect(StatusCode::OK)["acme_accounts"], json!([]));
}
