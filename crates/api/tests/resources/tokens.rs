//! API tokens, and what the programs that hold them may do.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::wait;

use crate::support::{Caller, TestApi, uuid};

/// For a busy machine.
const SOON: Duration = Duration::from_secs(30);

async fn make(caller: &Caller<'_>, body: Value) -> Value {
    caller.post("/tokens", body).await.expect(StatusCode::CREATED)
}

fn path(token: &Value) -> String {
    format!("/tokens/{}", token["id"].as_str().unwrap())
}

/// Calls `GET /me` with the token.
async fn use_it(caller: &Caller<'_>, token: &Value) -> crate::support::Answer {
    caller.api.send(Method::GET, "/api/v1/me", token["token"].as_str(), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let body = json!({"name": " deploy ", "scopes": ["zones:read", "certificates:read"], "expires_at": "2030-01-01T01:00:00+01:00"});
    let answer = caller.post("/tokens", body).await;
    let made = answer.expect(StatusCode::CREATED);
    assert_eq!(answer.header("location"), format!("/api/v1{}", path(&made)));
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("zc_") && token.len() == 46);
    assert_eq!(made["prefix"], token[..9]);
    assert_eq!((&made["name"], &made["scopes"]), (&json!("deploy"), &json!(["certificates:read", "zones:read"])));
    assert_eq!((&made["expires_at"], &made["last_used_at"]), (&json!("2030-01-01T00:00:00Z"), &Value::Null));

    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("token");
    assert_eq!(caller.get(&path(&made)).await.expect(StatusCode::OK), shown);
    assert_eq!(caller.get("/tokens").await.expect(StatusCode::OK), json!({"tokens": [shown]}));
    let stored = format!("{:?}{:?}", api.sql("SELECT * FROM api_tokens").await, api.sql("SELECT * FROM audit_log").await);
    assert!(!stored.contains(&token[9..]), "{stored}");
    assert!(stored.contains("token.created"), "{stored}");

    let me = use_it(&caller, &made).await.expect(StatusCode::OK);
    assert_eq!((&me["user"], &me["token"]["id"], &me["scopes"]), (&Value::Null, &made["id"], &made["scopes"]));
    assert_eq!(me["account"]["id"], json!(caller.account));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_with_a_new_token_is_said_at_once() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let reads = json!(["zones:read"]);
    for (body, expected) in [
        (
            json!({"name": "", "scopes": [], "expires_at": "2020-01-01T00:00:00Z"}),
            vec![("/expires_at", "expires_at_past"), ("/name", "text_empty"), ("/scopes", "scope_missing")],
        ),
        (
            json!({"name": "x".repeat(101), "scopes": ["zones:read", "zones:*"], "expires_at": "9999-12-31T23:59:59Z"}),
            vec![("/expires_at", "expires_at_too_far"), ("/name", "text_too_long"), ("/scopes/1", "scope_unknown")],
        ),
        (json!({"name": "a\nb", "scopes": reads}), vec![("/name", "text_has_control_characters")]),
        (json!({"name": "a", "scopes": reads, "expires_at": "tomorrow"}), vec![("/expires_at", "invalid_value")]),
        (json!({"name": "a", "scopes": [1]}), vec![("/scopes/0", "wrong_type")]),
        (json!({"scopes": reads}), vec![("/name", "required")]),
        (json!({"name": "a", "scopes": reads, "scope": "all"}), vec![("/scope", "unknown_field")]),
    ] {
        let expected = expected.into_iter().map(|(at, code)| (at.to_owned(), code.to_owned())).collect();
        assert_eq!(caller.post("/tokens", body).await.faults(), expected);
    }
    assert_eq!(caller.get("/tokens").await.json(), json!({"tokens": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_token_is_gone_at_once() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let token = make(&caller, json!({"name": "a", "scopes": ["zones:read"]})).await;
    assert_eq!(use_it(&caller, &token).await.status, StatusCode::OK);
    let gone = caller.delete(&path(&token)).await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(use_it(&caller, &token).await.problem(401).0, "credential_invalid");
    for answer in [caller.delete(&path(&token)).await, caller.get(&path(&token)).await] {
        assert_eq!(answer.problem(404).0, "not_found");
    }
    assert_eq!(caller.get("/tokens").await.json(), json!({"tokens": []}));
    let noted = api.sql("SELECT subject FROM audit_log WHERE action = 'token.revoked'").await;
    assert_eq!(noted, [json!({"subject": token["id"]})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_says() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let token = make(&caller, json!({"name": "a", "scopes": ["zones:read"], "expires_at": "2030-01-01T00:00:00Z"})).await;
    assert_eq!(use_it(&caller, &token).await.status, StatusCode::OK);
    api.execute("UPDATE api_tokens SET expires_at = now() - interval '1 second'").await;
    let refused = async || Ok((use_it(&caller, &token).await.status == StatusCode::UNAUTHORIZED).then_some(()));
    wait::until("the token has ended", SOON, refused).await.unwrap();
    assert_eq!(use_it(&caller, &token).await.problem(401).0, "credential_invalid");
    // It is still listed, so that people see why their program stopped.
    assert_eq!(caller.get("/tokens").await.json()["tokens"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_noted_at_most_once_a_minute() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let token = make(&caller, json!({"name": "a", "scopes": ["zones:read"]})).await;
    let last_use = async || api.sql("SELECT last_used_at, xmin::text FROM api_tokens").await;
    join_all((0..10).map(|_| use_it(&caller, &token))).await;
    let noted = last_use().await;
    assert!(noted[0]["last_used_at"].is_string());
    use_it(&caller, &token).await.expect(StatusCode::OK);
    assert_eq!(last_use().await, noted);
    api.execute("UPDATE api_tokens SET last_used_at = last_used_at - interval '61 seconds'").await;
    let before = last_use().await;
    let noted_again = async || {
        use_it(&caller, &token).await.expect(StatusCode::OK);
        Ok((last_use().await[0]["last_used_at"].as_str() > before[0]["last_used_at"].as_str()).then_some(()))
    };
    wait::until("the use is noted", SOON, noted_again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_on_paid_plans_only() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    // Before the input is looked at (requirements S3.53).
    for body in [json!({"name": "a", "scopes": ["zones:read"]}), json!({}), json!("{")] {
        let refused = caller.post("/tokens", body).await.problem(403);
        assert_eq!(refused, ("api_access_requires_paid_plan".to_owned(), "API access requires paid subscription".to_owned()));
    }
    assert_eq!(caller.get("/tokens").await.expect(StatusCode::OK), json!({"tokens": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_downgrade_a_token_still_reads_but_changes_nothing() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let token = caller.with_token(&["zones:read", "zones:write", "certificates:read", "keys:read", "account:admin"]).await;
    caller.set_plan("free").await;
    let me = token.get("/me").await.expect(StatusCode::OK);
    assert_eq!(me["scopes"], json!(["certificates:read", "keys:read", "zones:read"]));
    assert_eq!(token.get("/zones").await.status, StatusCode::OK);
    for (method, path) in [(Method::POST, "/zones"), (Method::GET, "/tokens"), (Method::POST, "/tokens")] {
        assert_eq!(token.send(method, path, None).await.problem(403).0, "api_access_requires_paid_plan", "{path}");
    }
    caller.set_plan("plus").await;
    assert_eq!(token.get("/tokens").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hands_out_more_than_they_have() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let admin = caller.with_token(&["account:admin", "zones:read"]).await;
    let made = make(&admin, json!({"name": "a", "scopes": ["zones:read"]})).await;
    let user = api
        .sql(&format!("SELECT count(*) FROM api_tokens JOIN users ON users.id = created_by WHERE api_tokens.id = '{}'", uuid(&made["id"])))
        .await;
    assert_eq!(user, [json!({"count": 1})]);
    let refused = admin.post("/tokens", json!({"name": "b", "scopes": ["zones:read", "keys:read"]})).await.problem(403);
    assert_eq!(refused.0, "scope_exceeds_own");
    let reader = caller.with_token(&["zones:read"]).await;
    for (method, path) in [
        (Method::GET, "/tokens".to_owned()),
        (Method::POST, "/tokens".to_owned()),
        (Method::GET, path(&made)),
        (Method::DELETE, path(&made)),
    ] {
        let answer = reader.send(method.clone(), &path, None).await;
        assert_eq!(answer.problem(403).0, "scope_missing", "{method} {path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"zonecert\", error=\"insufficient_scope\", scope=\"account:admin\"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_token_is_not_found() {
    let api = TestApi::start().await;
    let (caller, stranger) = (api.register("plus").await, api.register("plus").await);
    let token = make(&caller, json!({"name": "a", "scopes": ["zones:read"]})).await;
    for method in [Method::GET, Method::DELETE] {
        let theirs = stranger.send(method.clone(), &path(&token), None).await;
        let nobodys = stranger.send(method.clone(), "/tokens/tok_00000000000000000000000000000000", None).await;
        let malformed = stranger.send(method.clone(), "/tokens/nonsense", None).await;
        let body = |answer: &crate::support::Answer| (answer.problem(404), answer.json()["title"].clone());
        assert_eq!((body(&theirs), body(&theirs)), (body(&nobodys), body(&malformed)), "{method}");
    }
    assert_eq!(stranger.get("/tokens").await.json(), json!({"tokens": []}));
    assert_eq!(use_it(&caller, &token).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_at_most_100_tokens() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let one = make(&caller, json!({"name": "one", "scopes": ["zones:read"]})).await;
    api.execute(
        "INSERT INTO api_tokens (id, account_id, created_by, name, prefix, token_sha256, scopes)
         SELECT gen_random_uuid(), account_id, created_by, name, prefix, sha256(number::text::bytea), scopes
         FROM api_tokens, generate_series(1, 97) AS number",
    )
    .await;
    let answers = join_all((0..6).map(|_| caller.post("/tokens", json!({"name": "more", "scopes": ["zones:read"]})))).await;
    let made = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!((made, answers.iter().filter(|answer| answer.status == StatusCode::CONFLICT).count()), (2, 4));
    let full = caller.post("/tokens", json!({"name": "more", "scopes": ["zones:read"]})).await;
    assert_eq!(full.problem(409).0, "token_limit_reached");
    caller.delete(&path(&one)).await;
    make(&caller, json!({"name": "more", "scopes": ["zones:read"]})).await;
}
