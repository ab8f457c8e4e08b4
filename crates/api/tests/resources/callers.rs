//! Who is let in, and what each may do.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::TestApi;

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_bad_credential_is_told_how_to_do_better() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let with = async |header: Option<&str>| {
        let headers: Vec<(&str, &str)> = header.map(|value| ("Authorization", value)).into_iter().collect();
        api.send_with(Method::GET, "/api/v1/me", None, None, &headers).await
    };
    let basic = "Basic dXNlcjpwYXNzd29yZA==";
    for header in [None, Some(""), Some("Bearer"), Some(basic), Some(caller.token.as_str())] {
        let answer = with(header).await;
        assert_eq!(answer.problem(401).0, "credential_missing", "{header:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"zonecert\"");
    }
    let (start, signature) = caller.token.rsplit_once('.').unwrap();
    let tampered = format!("Bearer {start}.{}", signature.chars().rev().collect::<String>());
    let unknown = format!("Bearer zc_{}", "A".repeat(43));
    for header in ["Bearer x", "Bearer a b", "Bearer zc_", &tampered, &unknown] {
        let answer = with(Some(header)).await;
        assert_eq!(answer.problem(401).0, "credential_invalid", "{header}");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"zonecert\", error=\"invalid_token\"");
    }
    for scheme in ["bearer", "BEARER"] {
        assert_eq!(with(Some(&format!("{scheme} {}", caller.token))).await.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_services_access_token_is_not_accepted() {
    let (api, other) = (TestApi::start().await, TestApi::start().await);
    let stranger = other.register("plus").await;
    let answer = api.send(Method::GET, "/api/v1/me", Some(&stranger.token), None).await;
    assert_eq!(answer.problem(401).0, "credential_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_people_wants_a_credential_before_it_looks_at_anything_else() {
    let api = TestApi::start().await;
    for (method, path) in [
        ("GET", "/me"),
        ("PATCH", "/me"),
        ("POST", "/me/password"),
        ("POST", "/me/verify-email"),
        ("POST", "/auth/logout-everywhere"),
        ("GET", "/users"),
        ("GET", "/users/nonsense"),
        ("PATCH", "/users/nonsense"),
        ("DELETE", "/users/nonsense"),
        ("GET", "/invitations"),
        ("POST", "/invitations"),
        ("GET", "/invitations/nonsense"),
        ("DELETE", "/invitations/nonsense"),
        ("POST", "/invitations/nonsense/resend"),
        ("GET", "/tokens"),
        ("POST", "/tokens"),
        ("GET", "/tokens/nonsense"),
        ("DELETE", "/tokens/nonsense"),
    ] {
        for body in [None, Some(json!("{"))] {
            let answer = api.send(method.parse().unwrap(), &format!("/api/v1{path}"), None, body).await;
            assert_eq!(answer.problem(401).0, "credential_missing", "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_has_its_scopes_from_the_next_request_on() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let set_role = async |role: &str| api.execute(&format!("UPDATE users SET role = '{role}'")).await;
    let scopes = async || caller.get("/me").await.expect(StatusCode::OK)["scopes"].clone();
    assert_eq!(
        scopes().await,
        json!(["certificates:read", "certificates:write", "deployments:write", "keys:read", "zones:read", "zones:write", "account:admin"])
    );
    set_role("member").await;
    assert_eq!(
        scopes().await,
        json!(["certificates:read", "certificates:write", "deployments:write", "keys:read", "zones:read", "zones:write"])
    );
    let refused = caller.get("/tokens").await.problem(403);
    assert_eq!(refused.0, "scope_missing");
    assert!(refused.1.contains("role member"), "{}", refused.1);
    assert_eq!(caller.post("/zones", json!({"name": "member.test"})).await.status, StatusCode::CREATED);

    set_role("viewer").await;
    assert_eq!(scopes().await, json!(["certificates:read", "zones:read"]));
    assert_eq!(caller.get("/zones").await.status, StatusCode::OK);
    for (method, path) in [("POST", "/zones"), ("POST", "/certificates"), ("POST", "/tokens"), ("GET", "/tokens")] {
        assert_eq!(caller.send(method.parse().unwrap(), path, None).await.problem(403).0, "scope_missing", "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_account_sees_and_deletes_and_an_abusive_one_is_not_answered() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let program = caller.with_token(&["zones:read", "zones:write"]).await;
    let zone = caller.post("/zones", json!({"name": "suspended.test"})).await.expect(StatusCode::CREATED);
    let zone = format!("/zones/{}", zone["id"].as_str().unwrap());
    let suspend = async |status: &str| {
        let since = if status == "active" { "NULL" } else { "now()" };
        api.execute(&format!("UPDATE accounts SET status = '{status}', suspended_at = {since}")).await;
    };

    suspend("suspended_payment").await;
    for caller in [&caller, &program] {
        assert_eq!(caller.get("/me").await.expect(StatusCode::OK)["account"]["status"], "suspended_payment");
        assert_eq!(caller.get(&zone).await.status, StatusCode::OK);
        // Before plan, scope and input (requirements S3.53).
        for path in ["/zones", "/certificates", "/tokens"] {
            assert_eq!(caller.post(path, Value::String("{".to_owned())).await.problem(403).0, "account_suspended", "{path}");
        }
    }
    suspend("suspended_abuse").await;
    for path in ["/me/password", "/auth/logout-everywhere"] {
        assert_eq!(caller.post(path, json!({})).await.problem(403).0, "account_suspended", "{path}");
    }
    assert_eq!(caller.send(Method::PUT, "/account/deletion", Some(json!({}))).await.problem(403).0, "account_suspended");
    for caller in [&caller, &program] {
        for (method, path) in [("GET", "/me"), ("GET", "/zones"), ("POST", "/zones"), ("DELETE", zone.as_str()), ("GET", "/zones/nonsense")]
        {
            assert_eq!(caller.send(method.parse().unwrap(), path, None).await.problem(403).0, "account_suspended", "{method} {path}");
        }
    }
    suspend("suspended_payment").await;
    assert_eq!(program.delete(&zone).await.status, StatusCode::NO_CONTENT);
    suspend("active").await;
    assert_eq!(caller.post("/zones", json!({"name": "suspended.test"})).await.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_account_can_be_ended_and_its_people_stay_safe() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    api.execute("UPDATE accounts SET status = 'suspended_payment', suspended_at = now()").await;
    let (old, new) = ("correct horse battery staple", "incorrect horse battery staple");
    let asked = caller.send(Method::PUT, "/account/deletion", Some(json!({"password": old}))).await.expect(StatusCode::OK);
    assert!(asked["deletion"]["due_at"].is_string(), "{asked}");
    caller.delete("/account/deletion").await.expect(StatusCode::OK);
    let email = caller.get("/me").await.json()["user"]["email"].clone();
    let changed = caller.post("/me/password", json!({"current_password": old, "new_password": new})).await;
    assert!(changed.status.is_success(), "{}", changed.text);
    let login = json!({"email": email, "password": new});
    let session = api.send(Method::POST, "/api/v1/auth/login", None, Some(login)).await.expect(StatusCode::OK);
    let token = session["access_token"].as_str().unwrap();
    let out = api.send(Method::POST, "/api/v1/auth/logout-everywhere", Some(token), None).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{}", out.text);
    assert_eq!(api.send(Method::GET, "/api/v1/me", Some(token), None).await.problem(401).0, "credential_invalid");
}
