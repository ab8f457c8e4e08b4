//! How often accounts and addresses may call, and how they are told.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use zonecert_api::route::Access;
use zonecert_api::{ApiSettings, routes};
use zonecert_devstack::wait;

use crate::support::{Answer, Caller, TestApi};

const SOON: Duration = Duration::from_secs(30);

/// Behind a proxy, which says from where a request comes.
fn limits(text: &str) -> impl FnOnce(&mut ApiSettings) {
    move |settings| {
        settings.traffic.rate_limits = Some(text.parse().unwrap());
        settings.traffic.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    }
}

/// From where a proxy says that the request comes.
async fn get_from(api: &TestApi, address: &str, path: &str, token: Option<&str>) -> Answer {
    api.send_with(Method::GET, path, token, None, &[("X-Forwarded-For", address)]).await
}

fn remaining(answer: &Answer) -> u32 {
    let field = answer.header("ratelimit").strip_prefix("\"account\";r=").unwrap_or_else(|| panic!("{}", answer.header("ratelimit")));
    field.split(';').next().unwrap().parse().unwrap()
}

fn is_refused(answer: &Answer) {
    assert_eq!(answer.problem(429).0, "rate_limited");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_told_what_it_has_left_on_every_answer() {
    let api = TestApi::start_set(limits("elite=300/3600,plus=100/3600")).await;
    let caller = api.register("elite").await;
    let first = caller.get("/me").await;
    assert_eq!(first.header("ratelimit-policy"), "\"account\";q=300;w=3600");
    assert!(remaining(&first) < 300);
    let token = caller.with_token(&["zones:read"]).await;
    let mut before = remaining(&token.get("/me").await);
    for (method, path, status) in [
        (Method::GET, "/zones", 200),
        (Method::GET, "/zones/nonsense", 404),
        (Method::POST, "/zones", 403),
        (Method::GET, "/zones?limit=0", 400),
        (Method::DELETE, "/zones/zone_00000000000000000000000000000000", 403),
    ] {
        let answer = token.send(method, path, None).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
        // The bucket is the account's, whatever credential is used. One may come back while this runs, and more on a busy machine.
        assert!((before - 1..before + 20).contains(&remaining(&answer)), "{path}");
        before = remaining(&answer);
    }
    caller.set_plan("plus").await;
    assert_eq!(caller.get("/me").await.header("ratelimit-policy"), "\"account\";q=100;w=3600");
    api.execute("UPDATE accounts SET status = 'suspended_abuse', suspended_at = now()").await;
    let suspended = caller.get("/me").await;
    assert_eq!(suspended.problem(403).0, "account_suspended");
    remaining(&suspended);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_calls_too_often_is_told_to_wait_and_nobody_else_is() {
    let api = TestApi::start_set(limits("elite=5/10,plus=5/3600")).await;
    let (caller, other) = (api.register("elite").await, api.register("plus").await);
    let answers = join_all((0..20).map(|_| caller.get("/zones"))).await;
    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status != StatusCode::OK).collect();
    assert!(refused.len() >= 5 && answers.len() - refused.len() >= 5, "{}", refused.len());
    for answer in refused {
        is_refused(answer);
        assert!(answer.problem(429).1.contains("Retry-After"), "{}", answer.text);
        assert!(answer.headers.contains_key("x-request-id"));
    }
    assert_eq!(other.get("/zones").await.status, StatusCode::OK);
    wait::until("a token has come back", SOON, async || Ok((caller.get("/zones").await.status == StatusCode::OK).then_some(())))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_once_are_within_the_default_of_every_paid_plan() {
    let api = TestApi::start_set(|settings| settings.traffic.rate_limits = Some(zonecert_domain::rate_limit::RateLimits::default())).await;
    for plan in ["plus", "pro", "elite"] {
        let caller = api.register(plan).await;
        let answers =
            join_all((0..50).map(|_| caller.post("/certificates", json!({"zone_id": "zone_x", "domain": "a.example.test"})))).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::NOT_FOUND), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_tokens_from_one_address_are_stopped_before_the_database() {
    let api = TestApi::start_set(limits("address=8/3600")).await;
    let caller = api.register("elite").await;
    let token = caller.with_token(&["zones:read"]).await;
    let unknown = format!("zc_{}", "A".repeat(43));
    let guess = async |address: &str| get_from(&api, address, "/api/v1/zones", Some(&unknown)).await;
    let stopped = async |address: &str| loop {
        let answer = guess(address).await;
        if answer.status != StatusCode::UNAUTHORIZED {
            return answer;
        }
        assert_eq!(answer.problem(401).0, "credential_invalid");
        assert!(!answer.headers.contains_key("ratelimit"), "a guess is not told how many are left");
    };
    is_refused(&stopped("192.0.2.1").await);
    // From there not even a good token is looked up; from elsewhere it is.
    api.execute("ALTER TABLE api_tokens RENAME TO was_api_tokens").await;
    is_refused(&get_from(&api, "192.0.2.1", "/api/v1/zones", Some(&token.token)).await);
    api.execute("ALTER TABLE was_api_tokens RENAME TO api_tokens").await;
    assert_eq!(get_from(&api, "192.0.2.2", "/api/v1/zones", Some(&token.token)).await.status, StatusCode::OK);
    // One subscriber of IPv6 has 64 bits of addresses.
    is_refused(&stopped("2001:db8::1").await);
    is_refused(&guess("2001:db8::ffff:1").await);
    assert_eq!(guess("2001:db8:0:1::1").await.problem(401).0, "credential_invalid");
    // Whoever sends no credential at all guesses nothing.
    assert_eq!(get_from(&api, "192.0.2.1", "/api/v1/zones", None).await.problem(401).0, "credential_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_the_operators_token_from_one_address_are_stopped() {
    let api = TestApi::start_set(limits("address=8/3600")).await;
    let unknown = format!("zca_{}", "A".repeat(43));
    let call = async |address: &str, token: &str| get_from(&api, address, "/api/v1/admin/accounts", Some(token)).await;
    let stopped = loop {
        let answer = call("192.0.2.1", &unknown).await;
        if answer.status != StatusCode::UNAUTHORIZED {
            break answer;
        }
        assert_eq!(answer.problem(401).0, "operator_credential_required");
    };
    is_refused(&stopped);
    is_refused(&call("192.0.2.1", &api.operator_token).await);
    assert_eq!(call("192.0.2.2", &api.operator_token).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_everybody_may_call_is_counted_per_address() {
    let api = TestApi::start_set(limits("address=6/3600,elite=100/10")).await;
    let answers = join_all((0..20).map(|_| get_from(&api, "192.0.2.1", "/api/v1/plans", None))).await;
    let refused =
        answers.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS).inspect(|answer| is_refused(answer)).count();
    assert!((13..=14).contains(&refused), "{refused}");
    for answer in &answers {
        assert_eq!(answer.header("ratelimit-policy"), "\"address\";q=6;w=3600");
        assert!(answer.header("ratelimit").starts_with("\"address\";r="), "{}", answer.header("ratelimit"));
    }
    assert_eq!(get_from(&api, "192.0.2.2", "/api/v1/plans", None).await.status, StatusCode::OK);
    // Neither a load balancer's look nor a call with a credential is one of these.
    assert_eq!(get_from(&api, "192.0.2.1", "/healthz", None).await.status, StatusCode::OK);
    let caller = api.register("elite").await;
    assert_eq!(get_from(&api, "192.0.2.1", "/api/v1/me", Some(&caller.token)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_counts_its_callers() {
    let api = TestApi::start_set(limits("address=1000/10,elite=2000/10")).await;
    // A program: what only people may do is counted too, and does not end what calls here.
    let scopes = ["certificates:read", "certificates:write", "keys:read", "zones:read", "zones:write", "account:admin"];
    let caller = api.register("elite").await.with_token(&scopes).await;
    for route in routes::all().into_iter().filter(|route| route.path.starts_with("/api/")) {
        let path = route.path.replace("{id}", "nonsense");
        let (token, policy) = match route.access {
            Access::Operator => continue,
            access if access.is_of_account() => (Some(caller.token.as_str()), "\"account\";q=2000;w=10"),
            _ => (None, "\"address\";q=1000;w=10"),
        };
        // The streams of events go on; everything else is told what is wrong with it.
        let query = if route.path.ends_with("/events") { "?last_event_id=x" } else { "" };
        let answer = api.send(route.method.as_str().parse().unwrap(), &format!("{path}{query}"), token, Some(json!({}))).await;
        assert_eq!(answer.header("ratelimit-policy"), policy, "{} {}", route.method, route.path);
        assert!(answer.headers.contains_key("ratelimit"), "{} {}", route.method, route.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_counted_where_limits_are_off() {
    let api = TestApi::start_set(|settings| settings.traffic.rate_limits = None).await;
    let caller: Caller<'_> = api.register("plus").await;
    let answers = join_all((0..150).map(|_| caller.get("/me"))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK && !answer.headers.contains_key("ratelimit")));
}
