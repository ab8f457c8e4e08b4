//! The cookie mode of signing in (requirements X20).

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::unique_label;

use crate::support::{Answer, TestApi};

const PASSWORD: &str = "correct horse battery staple";
const OURS: (&str, &str) = ("Origin", "https://app.zonecert-platform.test");

fn address() -> String {
    format!("{}@customer.zonecert.io", unique_label())
}

async fn post(api: &TestApi, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
    api.send_with(Method::POST, &format!("/api/v1/auth/{path}"), None, body, headers).await
}

async fn register(api: &TestApi, email: &str) -> Answer {
    let body = json!({"email": email, "password": PASSWORD, "account_name": "Customer", "cookie": true});
    let answer = post(api, "register", Some(body), &[]).await;
    answer.expect(StatusCode::CREATED);
    answer
}

/// `name=value`, as a browser sends it back.
#[track_caller]
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

async fn refresh(api: &TestApi, cookie: &str) -> Answer {
    post(api, "refresh", None, &[("Cookie", cookie), OURS]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_the_refresh_token_as_a_cookie_that_no_script_reads() {
    let api = TestApi::start().await;
    let email = address();
    let registered = register(&api, &email).await;
    let body = json!({"email": email, "password": PASSWORD, "cookie": true});
    let signed_in = post(&api, "login", Some(body), &[]).await;
    let renewed = refresh(&api, &cookie(&signed_in)).await;
    for answer in [&registered, &signed_in, &renewed] {
        let session = answer.json();
        assert!(session.get("refresh_token").is_none() && session["access_token"].is_string(), "{}", answer.text);
        let header = answer.header("set-cookie");
        let (value, attributes) = header.split_once("; ").unwrap();
        assert!(value.starts_with("zonecert_refresh=zcr_"), "{header}");
        assert_eq!(attributes, "Path=/api/v1/auth; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure");
    }
    assert_ne!(cookie(&signed_in), cookie(&renewed));
    assert_eq!(api.send(Method::GET, "/api/v1/me", renewed.json()["access_token"].as_str(), None).await.status, StatusCode::OK);

    // Without it, as ever.
    let body = json!({"email": email, "password": PASSWORD, "cookie": false});
    let answer = post(&api, "login", Some(body), &[]).await;
    assert!(answer.json()["refresh_token"].is_string() && answer.headers.get("set-cookie").is_none());
    let refreshed = post(&api, "refresh", Some(json!({"refresh_token": answer.json()["refresh_token"]})), &[]).await;
    assert!(refreshed.json()["refresh_token"].is_string() && refreshed.headers.get("set-cookie").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_lasts_from_one_token_to_the_next_however_it_is_presented() {
    let api = TestApi::start().await;
    let registered = register(&api, &address()).await;
    let token = cookie(&registered).split_once('=').unwrap().1.to_owned();
    let renewed = post(&api, "refresh", Some(json!({"refresh_token": token})), &[]).await;
    assert!(renewed.expect(StatusCode::OK).get("refresh_token").is_none());
    refresh(&api, &cookie(&renewed)).await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_makes_no_use_of_the_cookie() {
    let api = TestApi::start().await;
    let kept = cookie(&register(&api, &address()).await);
    for path in ["refresh", "logout"] {
        for origin in [
            &[][..],
            &[("Origin", "https://evil.test")],
            &[("Origin", "null")],
            &[("Origin", "http://app.zonecert-platform.test")],
            &[("Origin", "https://app.zonecert-platform.test:8443")],
            &[("Origin", "https://evil.app.zonecert-platform.test")],
            &[("Sec-Fetch-Site", "cross-site")],
            &[("Sec-Fetch-Site", "same-site")],
            &[("Sec-Fetch-Site", "none"), ("Origin", "https://evil.test")],
        ] {
            let headers: Vec<_> = origin.iter().copied().chain([("Cookie", kept.as_str())]).collect();
            assert_eq!(post(&api, path, None, &headers).await.problem(403).0, "cross_origin_request", "{path} {origin:?}");
        }
    }
    // Nothing has happened to it.
    let mut kept = kept;
    for origin in [
        ("Origin", "https://api.zonecert-platform.test"),
        ("Origin", "https://app.zonecert-platform.test"),
        ("Sec-Fetch-Site", "same-origin"),
    ] {
        let answer = post(&api, "refresh", None, &[("Cookie", &format!("theme=dark; {kept}; other=1")), origin]).await;
        answer.expect(StatusCode::OK);
        kept = cookie(&answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_is_no_good_is_taken_away() {
    let api = TestApi::start().await;
    let kept = cookie(&register(&api, &address()).await);
    let logout = post(&api, "logout", None, &[("Cookie", &kept), OURS]).await;
    assert_eq!(logout.status, StatusCode::NO_CONTENT);
    let gone = "zonecert_refresh=; Path=/api/v1/auth; Max-Age=0; HttpOnly; SameSite=Strict; Secure";
    assert_eq!(logout.header("set-cookie"), gone);
    for value in [kept.as_str(), "zonecert_refresh=nonsense"] {
        let refused = refresh(&api, value).await;
        assert_eq!(refused.problem(401).0, "refresh_token_invalid");
        assert_eq!(refused.header("set-cookie"), gone);
    }
    // No cookie, no body: whoever comes for the first time signs in.
    let missing = post(&api, "refresh", None, &[OURS]).await;
    assert_eq!(missing.problem(401).0, "refresh_token_invalid");
    assert!(missing.headers.get("set-cookie").is_none());
    for body in [json!({}), json!({"refresh_token": null})] {
        assert_eq!(post(&api, "refresh", Some(body), &[]).await.problem(401).0, "refresh_token_invalid");
    }
    assert_eq!(post(&api, "refresh", Some(json!("{")), &[]).await.problem(400).0, "malformed_json");
    assert_eq!(post(&api, "logout", None, &[]).await.status, StatusCode::NO_CONTENT);
    let no_json =
        api.send_with(Method::POST, "/api/v1/auth/refresh", None, None, &[("Content-Type", "text/plain"), ("Cookie", &kept), OURS]).await;
    assert_eq!(no_json.problem(415).0, "unsupported_media_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_that_use_one_cookie_at_once_both_stay_signed_in_and_a_thief_does_not() {
    let api = TestApi::start().await;
    let kept = cookie(&register(&api, &address()).await);
    let answers = join_all((0..4).map(|_| refresh(&api, &kept))).await;
    let mut next = Vec::new();
    for answer in &answers {
        answer.expect(StatusCode::OK);
        next.push(cookie(answer));
    }
    for tab in &next {
        refresh(&api, tab).await.expect(StatusCode::OK);
    }
    // Whoever comes with it later has stolen it.
    api.execute("UPDATE refresh_tokens SET used_at = used_at - interval '10 seconds'").await;
    let last = cookie(&refresh(&api, &cookie(&register(&api, &address()).await)).await);
    assert_eq!(refresh(&api, &kept).await.problem(401).0, "refresh_token_invalid");
    assert_eq!(refresh(&api, &next[0]).await.problem(401).0, "refresh_token_invalid");
    assert_eq!(api.sql("SELECT count(*) FROM audit_log WHERE action = 'refresh_token.reused'").await, [json!({"count": 1})]);
    refresh(&api, &last).await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_keeps_the_browser_signed_in_by_another_cookie() {
    let api = TestApi::start().await;
    let registered = register(&api, &address()).await;
    let token = registered.json()["access_token"].as_str().unwrap().to_owned();
    let body = json!({"current_password": PASSWORD, "new_password": "another horse battery staple", "cookie": true});
    let changed = api.send(Method::POST, "/api/v1/me/password", Some(&token), Some(body)).await;
    assert!(changed.expect(StatusCode::OK).get("refresh_token").is_none());
    refresh(&api, &cookie(&changed)).await.expect(StatusCode::OK);
    assert_eq!(refresh(&api, &cookie(&registered)).await.problem(401).0, "refresh_token_invalid");

    let token = changed.json()["access_token"].as_str().unwrap().to_owned();
    let out = api.send(Method::POST, "/api/v1/auth/logout-everywhere", Some(&token), None).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
}
