//! Callers that were recognised a moment ago: how soon something that has changed holds for them.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::wait;

use crate::support::{Answer, Caller, TestApi, uuid};

/// A moment is a tenth of a second; this is for a busy machine. How long a moment is, tests of `auth::recognised` say, with the time given to them.
const SOON: Duration = Duration::from_secs(30);

async fn make(caller: &Caller<'_>, scopes: &[&str]) -> Value {
    caller.post("/tokens", json!({"name": "a", "scopes": scopes})).await.expect(StatusCode::CREATED)
}

async fn call(api: &TestApi, url: &str, method: Method, token: &Value) -> Answer {
    api.send_to(url, method, "/api/v1/zones", token["token"].as_str(), Some(json!({})), &[]).await
}

async fn read(api: &TestApi, token: &Value) -> Answer {
    api.send(Method::GET, "/api/v1/zones", token["token"].as_str(), None).await
}

/// Twice, so that the second is answered from memory unless the machine is very slow.
async fn is_known(api: &TestApi, token: &Value) {
    for _ in 0..2 {
        assert_eq!(read(api, token).await.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_in_another_process_soon_stops_reading_and_changes_nothing_from_then_on() {
    let api = TestApi::start().await;
    let other = api.another_process(|_| ());
    let caller = api.register("plus").await;
    for _ in 0..5 {
        let token = make(&caller, &["zones:read", "zones:write"]).await;
        is_known(&api, &token).await;
        let path = format!("/api/v1/tokens/{}", token["id"].as_str().unwrap());
        let revoked = api.send_to(&other.url, Method::DELETE, &path, Some(&caller.token), None, &[]).await;
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
        assert_eq!(call(&api, &other.url, Method::GET, &token).await.problem(401).0, "credential_invalid", "there it has ended at once");
        assert_eq!(call(&api, &api.url, Method::POST, &token).await.problem(401).0, "credential_invalid", "whatever is known here");
        let refused = async || Ok((read(&api, &token).await.status == StatusCode::UNAUTHORIZED).then_some(()));
        wait::until("the token is refused here", SOON, refused).await.unwrap();
        assert_eq!(read(&api, &token).await.problem(401).0, "credential_invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_in_this_process_holds_from_the_next_request_on() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let account = format!("/accounts/{}", caller.account);
    for _ in 0..5 {
        let token = make(&caller, &["zones:read", "zones:write"]).await;
        let me = async || api.send(Method::GET, "/api/v1/me", token["token"].as_str(), None).await.expect(StatusCode::OK);
        is_known(&api, &token).await;
        assert_eq!(me().await["account"]["plan"], "plus");
        api.operate(Method::PATCH, &account, Some(json!({"plan": "free"}))).await.expect(StatusCode::OK);
        assert_eq!(me().await["scopes"], json!(["zones:read"]));
        api.operate(Method::PATCH, &account, Some(json!({"plan": "plus"}))).await.expect(StatusCode::OK);
        assert_eq!(me().await["scopes"], json!(["zones:read", "zones:write"]));
        let suspension = format!("{account}/suspension");
        api.operate(Method::PUT, &suspension, Some(json!({"reason": "abuse"}))).await.expect(StatusCode::OK);
        assert_eq!(read(&api, &token).await.problem(403).0, "account_suspended");
        api.operate(Method::DELETE, &suspension, None).await.expect(StatusCode::OK);
        is_known(&api, &token).await;
        assert_eq!(caller.delete(&format!("/tokens/{}", token["id"].as_str().unwrap())).await.status, StatusCode::NO_CONTENT);
        assert_eq!(read(&api, &token).await.problem(401).0, "credential_invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_elsewhere_holds_soon() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let token = make(&caller, &["zones:read"]).await;
    let id = uuid(&token["id"]);
    let of_token = |change: &str| format!("UPDATE api_tokens SET {change} WHERE id = '{id}'");
    let of_account = |change: &str| format!("UPDATE accounts SET {change} WHERE id = '{}'", caller.account.0);
    for (change, back, status) in [
        (of_token("revoked_at = now()"), of_token("revoked_at = NULL"), 401),
        (of_token("expires_at = now()"), of_token("expires_at = NULL"), 401),
        (of_token("cidrs = '{192.0.2.0/24}'"), of_token("cidrs = '{}'"), 401),
        (of_token("scopes = '{certificates:read}'"), of_token("scopes = '{zones:read}'"), 403),
        (of_account("status = 'suspended_abuse', suspended_at = now()"), of_account("status = 'active', suspended_at = NULL"), 403),
        (of_account("deleted_at = now()"), of_account("deleted_at = NULL"), 401),
    ] {
        for (statement, expected) in [(&change, status), (&back, 200)] {
            if expected != 200 {
                is_known(&api, &token).await;
            }
            api.execute(statement).await;
            let look = async || Ok((read(&api, &token).await.status.as_u16() == expected).then_some(()));
            wait::until(statement, SOON, look).await.unwrap();
        }
    }
}
