//! Who did what, as an account's owner reads it.

use reqwest::StatusCode;
use serde_json::{Value, json};
use zonecert_domain::id::TokenId;

use crate::support::{Caller, TestApi};

async fn entries(caller: &Caller<'_>, query: &str) -> Vec<Value> {
    caller.get(&format!("/audit{query}")).await.expect(StatusCode::OK)["entries"].as_array().unwrap().clone()
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_says_who_did_what_to_what_and_in_which_request() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let me = caller.get("/me").await.json();
    let made = caller.post("/tokens", json!({"name": "deploy", "scopes": ["account:admin", "zones:read"], "cidrs": ["127.0.0.1"]})).await;
    let (request_id, made) = (made.header("x-request-id").to_owned(), made.expect(StatusCode::CREATED));
    let program = Caller { token: made["token"].as_str().unwrap().to_owned(), ..caller.clone() };
    let second = program.post("/tokens", json!({"name": "second", "scopes": ["zones:read"]})).await.expect(StatusCode::CREATED);
    assert_eq!(caller.delete(&format!("/tokens/{}", second["id"].as_str().unwrap())).await.status, StatusCode::NO_CONTENT);

    let all = entries(&caller, "").await;
    assert_eq!(actions(&all), ["token.revoked", "token.created", "token.created", "account.created"]);
    let first = &all[2];
    assert!(first["id"].as_str().unwrap().starts_with("audit_"));
    assert_eq!(first["actor"], json!({"type": "user", "id": me["user"]["id"], "name": me["user"]["email"]}));
    assert_eq!((&first["subject"], &first["request_id"]), (&made["id"], &json!(request_id)));
    assert_eq!(first["details"], json!({"scopes": made["scopes"], "cidrs": ["127.0.0.1/32"], "expires_at": null}));
    assert!(first["at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(all[1]["actor"], json!({"type": "token", "id": made["id"], "name": "deploy"}));
    assert_eq!((&all[0]["subject"], &all[0]["details"]), (&second["id"], &json!({})));
    assert_eq!(program.get("/audit").await.expect(StatusCode::OK)["entries"], json!(all));

    // Whoever is gone keeps their name here.
    caller.delete(&format!("/tokens/{}", made["id"].as_str().unwrap())).await;
    assert_eq!(entries(&caller, "").await[2]["actor"]["name"], "deploy");
    api.execute("UPDATE users SET name = 'Ada'").await;
    assert_eq!(entries(&caller, "?limit=1").await[0]["actor"]["name"], "Ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_actor_is_told_apart() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let nobody = TokenId::new().to_string();
    for (minute, actor) in ["operator", "operator:ada", "system", "anonymous", &nobody].into_iter().enumerate() {
        api.execute(&format!(
            "INSERT INTO audit_log (id, account_id, at, actor, action) SELECT gen_random_uuid(), id, '2030-01-01T00:{minute}:00Z', '{actor}', 'tested' FROM accounts"
        ))
        .await;
    }
    let seen: Vec<Value> = entries(&caller, "?action=tested").await.into_iter().rev().map(|entry| entry["actor"].clone()).collect();
    assert_eq!(
        seen,
        [
            json!({"type": "operator", "id": "operator"}),
            json!({"type": "operator", "id": "operator:ada"}),
            json!({"type": "system", "id": "system"}),
            json!({"type": "anonymous", "id": "anonymous"}),
            json!({"type": "token", "id": nobody}),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_in_pages_newest_first_and_filtered() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("plus").await, api.register("plus").await);
    // Several at the same moment, so that the identifier decides.
    api.execute(&format!(
        "INSERT INTO audit_log (id, account_id, at, actor, action, subject)
         SELECT gen_random_uuid(), '{}', '2026-01-01T00:00:00Z'::timestamptz + number / 3 * interval '1 hour',
             CASE number % 2 WHEN 0 THEN 'system' ELSE 'operator' END, 'tested.' || number % 5, number::text
         FROM generate_series(0, 19) AS number",
        caller.account.0
    ))
    .await;
    let whole = entries(&caller, "?until=2026-02-01T00:00:00Z").await;
    assert_eq!(whole.len(), 20);
    let moments: Vec<&str> = whole.iter().map(|entry| entry["at"].as_str().unwrap()).collect();
    assert!(moments.is_sorted_by(|a, b| a >= b), "{moments:?}");

    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("/audit?limit=7&until=2026-02-01T00:00:00Z{cursor}")).await.expect(StatusCode::OK);
        paged.extend(page["entries"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, whole);

    let subjects = |entries: Vec<Value>| {
        let mut numbers: Vec<u32> = entries.iter().map(|entry| entry["subject"].as_str().unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(subjects(entries(&caller, "?action=tested.2").await), [2, 7, 12, 17]);
    assert_eq!(subjects(entries(&caller, "?action=tested.2&actor=system").await), [2, 12]);
    // The first moment is within, the last is not.
    let hours = "since=2026-01-01T02:00:00Z&until=2026-01-01T05:00:00%2B01:00";
    assert_eq!(subjects(entries(&caller, &format!("?{hours}")).await), [6, 7, 8, 9, 10, 11]);
    assert_eq!(entries(&caller, "?action=nothing").await, [Value::Null; 0]);
    assert_eq!(actions(&entries(&other, "").await), ["account.created"], "another account's log");
    // Another account's actor is nobody here.
    let me = other.get("/me").await.json();
    assert_eq!(entries(&caller, &format!("?actor={}", me["user"]["id"].as_str().unwrap())).await, [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_said_and_only_owners_read() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let faults = caller.get("/audit?limit=0&cursor=x&since=yesterday&until=2026-13-01T00:00:00Z&actor=%00&action=").await.faults();
    let codes: Vec<(&str, &str)> = faults.iter().map(|(at, code)| (at.as_str(), code.as_str())).collect();
    assert_eq!(
        codes,
        [
            ("?action", "text_empty"),
            ("?actor", "text_has_control_characters"),
            ("?cursor", "cursor_invalid"),
            ("?limit", "limit_out_of_range"),
            ("?since", "time_invalid"),
            ("?until", "time_invalid"),
        ]
    );
    assert_eq!(caller.get("/audit?nonsense=1").await.problem(400).0, "invalid_query");
    let program = caller.with_token(&["zones:read", "certificates:read", "keys:read"]).await;
    assert_eq!(program.get("/audit?limit=0").await.problem(403).0, "scope_missing");
    for role in ["member", "viewer"] {
        api.execute(&format!("UPDATE users SET role = '{role}' WHERE account_id = '{}'", caller.account.0)).await;
        assert_eq!(caller.get("/audit").await.problem(403).0, "scope_missing", "{role}");
    }
}
