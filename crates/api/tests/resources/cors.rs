//! Which web pages may call the API, and what browsers are told.

use reqwest::{Method, StatusCode};
use zonecert_api::ApiSettings;

use crate::support::{Answer, TestApi};

const DASHBOARD: &str = "https://dashboard.example";

fn with_dashboard(settings: &mut ApiSettings) {
    settings.traffic.cors_origins = vec![DASHBOARD.parse().unwrap(), "http://localhost:5173".parse().unwrap()];
}

async fn preflight(api: &TestApi, path: &str, origin: &str) -> Answer {
    let asked =
        [("Origin", origin), ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "authorization,content-type")];
    api.send_with(Method::OPTIONS, path, None, None, &asked).await
}

fn cors_headers(answer: &Answer) -> Vec<&str> {
    answer.headers.keys().map(reqwest::header::HeaderName::as_str).filter(|name| name.starts_with("access-control-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_page_is_told_beforehand_what_it_may_send() {
    let api = TestApi::start_set(with_dashboard).await;
    for path in ["/api/v1/tokens", "/api/v1/auth/login", "/api/v1/certificates/nonsense", "/api/v1/events"] {
        for origin in [DASHBOARD, "http://localhost:5173"] {
            let answer = preflight(&api, path, origin).await;
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""), "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, POST, PUT, PATCH, DELETE");
            for header in ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID"] {
                assert!(answer.header("access-control-allow-headers").split(", ").any(|allowed| allowed == header), "{header}");
            }
            assert_eq!((answer.header("access-control-max-age"), answer.header("vary")), ("7200", "Origin"));
            assert_eq!(answer.header("x-request-id").len(), 32);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_page_may_read_every_answer_errors_too() {
    let api = TestApi::start_set(|settings| {
        with_dashboard(settings);
        settings.traffic.rate_limits = Some("elite=3/3600".parse().unwrap());
    })
    .await;
    let caller = api.register("elite").await;
    let get = async |path: &str, token: Option<&str>| api.send_with(Method::GET, path, token, None, &[("Origin", DASHBOARD)]).await;
    let token = Some(caller.token.as_str());
    let mut answers = vec![
        (200, get("/api/v1/plans", None).await),
        (200, get("/api/v1/me", token).await),
        (401, get("/api/v1/me", None).await),
        (404, get("/nowhere", None).await),
        (405, get("/api/v1/auth/login", None).await),
    ];
    let limited = loop {
        let answer = get("/api/v1/me", token).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
    };
    answers.push((429, limited));
    let other = api.register("plus").await;
    api.execute("ALTER TABLE api_tokens RENAME TO was_api_tokens").await;
    answers.push((500, get("/api/v1/tokens", Some(&other.token)).await));
    for (status, answer) in answers {
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), DASHBOARD, "{status}");
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("vary"), "Origin");
        for header in ["X-Request-Id", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "ETag"] {
            assert!(answer.header("access-control-expose-headers").split(", ").any(|exposed| exposed == header), "{header}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlisted_page_gets_no_word_of_this() {
    let api = TestApi::start_set(with_dashboard).await;
    for origin in [
        "https://evil.example",
        "https://dashboard.example.evil.example",
        "http://dashboard.example",
        "https://dashboard.example:444",
        "https://DASHBOARD.example",
        "null",
        "",
    ] {
        let asked = preflight(&api, "/api/v1/plans", origin).await;
        assert_eq!(asked.problem(405).0, "method_not_allowed", "{origin}");
        let got = api.send_with(Method::GET, "/api/v1/plans", None, None, &[("Origin", origin)]).await;
        assert_eq!(got.status, StatusCode::OK);
        for answer in [asked, got] {
            assert_eq!((cors_headers(&answer), answer.header("vary")), (vec![], "Origin"), "{origin}");
        }
    }
    // Neither a program, nor a browser that asks something else by OPTIONS.
    let program = api.send(Method::GET, "/api/v1/plans", None, None).await;
    assert_eq!((cors_headers(&program), program.header("vary")), (vec![], "Origin"));
    let options = api.send_with(Method::OPTIONS, "/api/v1/plans", None, None, &[("Origin", DASHBOARD)]).await;
    assert_eq!(options.problem(405).0, "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_no_page_is_listed() {
    let api = TestApi::start().await;
    for answer in [
        preflight(&api, "/api/v1/plans", DASHBOARD).await,
        api.send_with(Method::GET, "/api/v1/plans", None, None, &[("Origin", DASHBOARD)]).await,
    ] {
        assert_eq!(cors_headers(&answer), [""; 0]);
        assert!(!answer.headers.contains_key("vary"));
    }
}
