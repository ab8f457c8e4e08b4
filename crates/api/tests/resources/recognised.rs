//! Callers that were recognised a moment ago: how soon something that has changed holds for them.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::wait;

use crate::downloads::Shop;
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

/// A poll of the file that has all in it, by its API keys. `by_url` puts them there.
async fn poll(api: &TestApi, url: &str, keys: &str, tag: &str, by_url: bool) -> Answer {
    let path = "/certwarden/api/v1/download/privatecertchains/shop";
    let (path, mut headers) = if by_url { (format!("{path}/{keys}"), vec![]) } else { (path.to_owned(), vec![("X-API-Key", keys)]) };
    if !tag.is_empty() {
        headers.push(("If-None-Match", tag));
    }
    api.send_to(url, Method::GET, &path, None, None, &headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_ends_with_its_api_key_here_at_once_and_elsewhere_soon() {
    let api = TestApi::start().await;
    let other = api.another_process(|_| ());
    let shop = Shop::open(&api).await;
    let mut keys = shop.keys.clone();
    for (place, resource) in shop.resources.iter().enumerate() {
        let both = keys.join(".");
        let tag = poll(&api, &api.url, &both, "", false).await.header("etag").to_owned();
        for url in [&api.url, &other.url, &api.url, &other.url] {
            let known = poll(&api, url, &both, &tag, false).await;
            assert_eq!((known.status, known.text.as_str(), known.header("etag")), (StatusCode::NOT_MODIFIED, "", tag.as_str()));
            // What is known of the one is nothing about others.
            assert_eq!(poll(&api, url, &both, "\"another\"", false).await.status, StatusCode::OK);
            assert_eq!(poll(&api, url, &format!("{both}A"), &tag, false).await.problem(401).0, "api_key_refused");
            assert_eq!(poll(&api, url, &both, &tag, true).await.problem(401).0, "api_key_refused", "nobody has allowed URLs");
        }
        let valid = shop.caller.get(&format!("{resource}/api-keys")).await.expect(StatusCode::OK);
        let retired = format!("{resource}/api-keys/{}", valid["api_keys"][0]["id"].as_str().unwrap());
        let next = shop.caller.post(&format!("{resource}/api-keys"), json!({})).await.expect(StatusCode::CREATED);
        assert_eq!(poll(&api, &api.url, &both, &tag, false).await.status, StatusCode::NOT_MODIFIED);
        assert_eq!(shop.caller.delete(&retired).await.status, StatusCode::NO_CONTENT);
        assert_eq!(poll(&api, &api.url, &both, &tag, false).await.problem(401).0, "api_key_refused", "here at once");
        let refused = async || Ok((poll(&api, &other.url, &both, &tag, false).await.status == StatusCode::UNAUTHORIZED).then_some(()));
        wait::until("the key is refused elsewhere", SOON, refused).await.unwrap();
        assert_eq!(poll(&api, &other.url, &both, "", false).await.problem(401).0, "api_key_refused");
        next["api_key"].as_str().unwrap().clone_into(&mut keys[place]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_learns_at_once_or_soon_what_has_changed_of_what_it_polls() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let keys = shop.keys.join(".");
    let tag = poll(&api, &api.url, &keys, "", false).await.header("etag").to_owned();
    let status = async |by_url: bool| poll(&api, &api.url, &keys, &tag, by_url).await.status.as_u16();
    let soon = async |what: &str, expected: u16| {
        let look = async || Ok((status(false).await == expected).then_some(()));
        wait::until(what, SOON, look).await.unwrap();
    };
    for resource in &shop.resources {
        for allowed in [true, false] {
            for changed in &shop.resources {
                let allowed = changed != resource || allowed;
                shop.caller.patch(changed, json!({"api_key_via_url": allowed})).await.expect(StatusCode::OK);
            }
            let expected = if allowed { 304 } else { 401 };
            assert_eq!([status(true).await, status(true).await], [expected; 2], "{resource}: {allowed}");
        }
    }
    assert_eq!([status(false).await, status(false).await], [304; 2]);
    // Behind the API's back, as another process does it.
    let versions = |change: &str| format!("UPDATE versions SET {change}");
    for (change, back, expected) in [
        (versions("revoked_at = now()"), versions("revoked_at = NULL"), 404),
        ("UPDATE certificates SET name = 'moved'".to_owned(), "UPDATE certificates SET name = 'shop'".to_owned(), 401),
        ("UPDATE private_keys SET deleted_at = now()".to_owned(), "UPDATE private_keys SET deleted_at = NULL".to_owned(), 401),
        ("UPDATE accounts SET deleted_at = now()".to_owned(), "UPDATE accounts SET deleted_at = NULL".to_owned(), 401),
    ] {
        api.execute(&change).await;
        soon(&change, expected).await;
        api.execute(&back).await;
        soon(&back, 304).await;
    }
}
