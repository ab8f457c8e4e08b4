//! HTTP itself: names of requests, problems for what no handler sees, headers of every answer.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zonecert_api::traffic::TrafficSettings;
use zonecert_api::{ApiSettings, App, Server};
use zonecert_devstack::product::Role;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::NamePolicy;
use zonecert_domain::webhook::Destinations;
use zonecert_pki::{MasterKeys, PrivateKey};
use zonecert_store::Store;

use crate::support::{Answer, TestApi};

/// A server of the test's own on this database, for whose connections it waits that long.
fn serve(database_url: &str, patience: Duration) -> Server {
    serve_with(database_url, patience, settings())
}

fn settings() -> ApiSettings {
    ApiSettings {
        public_url: "https://api.zonecert-platform.test".to_owned(),
        dashboard_url: "https://app.zonecert-platform.test".to_owned(),
        dashboard: true,
        token_keys_pem: PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap().to_pkcs8_pem().unwrap(),
        resolvers: vec!["127.0.0.1:53".parse().unwrap()],
        names: NamePolicy::default(),
        authorities: Vec::new(),
        caa_identities: Vec::new(),
        name_servers: Vec::new(),
        challenge_zone: None,
        threads: NonZeroUsize::MIN,
        parallel_password_hashes: NonZeroUsize::MIN,
        traffic: TrafficSettings::default(),
        webhook_destinations: Destinations::default(),
        stop_patience: Duration::from_mins(1),
    }
}

fn serve_with(database_url: &str, patience: Duration, settings: ApiSettings) -> Server {
    let store = Store::open(database_url, 2, patience).unwrap();
    let masters = Arc::new(MasterKeys::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap());
    Server::start(Arc::new(App::new(store, masters, settings).unwrap()), TcpListener::bind("127.0.0.1:0").unwrap()).unwrap()
}

async fn get(api: &TestApi, path: &str, headers: &[(&str, &str)]) -> Answer {
    api.send_with(Method::GET, path, None, None, headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_has_its_own_addresses_and_takes_none_of_the_api() {
    let api = TestApi::start().await;
    // Where it was not built, the page says how that is done.
    for path in ["/", "/login", "/certificates/cert_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f", "/account"] {
        let page = get(&api, path, &[("Accept", "text/html")]).await;
        assert!(page.header("content-type").starts_with("text/"), "{path}: {}", page.header("content-type"));
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
    }
    for path in ["/nowhere", "/api", "/api/v1/nowhere", "/assets/nowhere.js", "/login/nowhere"] {
        assert_eq!(get(&api, path, &[]).await.problem(404).0, "not_found", "{path}");
    }
    assert_eq!(get(&api, "/healthz", &[]).await.status, StatusCode::OK);
    assert_eq!(api.send(Method::POST, "/login", None, None).await.problem(405).0, "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_dashboard_has_nothing_at_its_addresses() {
    let api = TestApi::start().await;
    let server = serve_with(&api.product.database_url(Role::Api), Duration::from_mins(1), ApiSettings { dashboard: false, ..settings() });
    for path in ["/", "/login"] {
        let answer = reqwest::get(format!("http://{}{path}", server.address())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_names_its_request() {
    let api = TestApi::start().await;
    for path in ["/healthz", "/api/v1/plans", "/api/v1/me", "/nowhere"] {
        let given = get(&api, path, &[("X-Request-Id", "job-7.retry_2")]).await;
        assert_eq!(given.header("x-request-id"), "job-7.retry_2", "{path}");
        let (one, two) = (get(&api, path, &[]).await, get(&api, path, &[("X-Request-Id", "no good")]).await);
        assert_eq!((one.header("x-request-id").len(), two.header("x-request-id").len()), (32, 32), "{path}");
        assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_nothing_of_what_is_answered_is_told_before_anything_is_done() {
    let api = TestApi::start().await;
    for accept in ["text/html", "image/*", "application/json;q=0, text/plain"] {
        let refused = get(&api, "/api/v1/plans", &[("Accept", accept)]).await;
        assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE, "{accept}");
        assert_eq!((refused.json()["code"].as_str(), refused.header("content-type")), (Some("not_acceptable"), "application/problem+json"));
        assert!(refused.json()["detail"].as_str().unwrap().contains("application/json"), "{}", refused.text);
    }
    for accept in ["", "*/*", "application/*", "text/html, application/json;q=0.1", "no media type"] {
        assert_eq!(get(&api, "/api/v1/plans", &[("Accept", accept)]).await.status, StatusCode::OK, "{accept}");
    }
    let account = json!({"email": "ada@customer.zonecert.io", "password": "a long enough password", "account_name": "Ada"});
    let register =
        async |accept: &str| api.send_with(Method::POST, "/api/v1/auth/register", None, Some(account.clone()), &[("Accept", accept)]).await;
    assert_eq!(register("text/csv").await.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(register("application/json").await.status, StatusCode::CREATED, "nothing was done before");
    assert_eq!(get(&api, "/healthz", &[("Accept", "text/plain")]).await.status, StatusCode::OK, "a probe takes what it gets");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_of_security() {
    let api = TestApi::start().await;
    for path in ["/healthz", "/api/v1/plans", "/api/v1/me", "/nowhere"] {
        let answer = get(&api, path, &[]).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_lets_a_browser_use_its_own_style_and_nothing_else() {
    let api = TestApi::start().await;
    for path in ["/docs", "/docs/"] {
        let answer = get(&api, path, &[]).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
        let style = answer.text.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let hash = STANDARD.encode(Sha256::digest(style));
        let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
        assert_eq!(answer.header("content-security-policy"), policy);
        assert_eq!((answer.header("x-content-type-options"), answer.header("x-frame-options")), ("nosniff", "DENY"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_route_is_a_problem() {
    let api = TestApi::start().await;
    for path in ["/api", "/api/v1", "/api/v2/me", "/api/v1/nowhere", "/api/v1/tokens/a/b", "/%ff", "/api/v1/..%2fhealthz", "/healthz/x"] {
        let answer = get(&api, path, &[]).await;
        assert_eq!(answer.problem(404).0, "not_found", "{path}");
        assert_eq!(answer.json()["instance"], path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_told_the_right_ones() {
    let api = TestApi::start().await;
    for (method, path, allow) in [
        ("GET", "/api/v1/auth/login", "POST"),
        ("PUT", "/api/v1/tokens", "GET, POST, HEAD"),
        ("PATCH", "/api/v1/tokens/nonsense", "GET, DELETE, HEAD"),
        ("DELETE", "/api/v1/me", "GET, PATCH, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("BREW", "/api/v1/plans", "GET, HEAD"),
        ("POST", "/api/v1/limits", "GET, HEAD"),
        ("PUT", "/api/v1/zones", "GET, POST, HEAD"),
    ] {
        let answer = api.send(method.parse().unwrap(), path, None, None).await;
        let (code, detail) = answer.problem(405);
        assert_eq!((code.as_str(), answer.header("allow")), ("method_not_allowed", allow), "{method} {path}");
        assert!(detail.starts_with(method), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailing_or_doubled_slash_changes_nothing() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    for path in ["/me/", "//me", "/tokens/", "/zones/", "/certificates/", "/limits//"] {
        assert_eq!(caller.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/healthz/", "//healthz", "/api/v1/plans/", "/api//v1/plans"] {
        assert_eq!(get(&api, path, &[]).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    for path in ["/api/v1/plans", "/api/v1/me", "/api/v1/tokens", "/healthz"] {
        let got = api.send(Method::GET, path, Some(&caller.token), None).await;
        let head = api.send(Method::HEAD, path, Some(&caller.token), None).await;
        assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""), "{path}");
        assert_eq!(head.header("content-length"), got.text.len().to_string());
    }
    assert_eq!(api.send(Method::HEAD, "/api/v1/me", None, None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(api.send(Method::HEAD, "/api/v1/auth/login", None, None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_is_a_problem_on_every_route_that_takes_one() {
    let server = TestApi::start().await;
    let caller = server.register("plus").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, content_type: Option<&str>, body: String| {
        let request = client.post(format!("{}/api/v1{path}", server.url)).bearer_auth(&caller.token).body(body);
        let response = content_type.into_iter().fold(request, |request, value| request.header("Content-Type", value)).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    };
    let json = Some("application/json");
    for path in ["/auth/register", "/auth/login", "/auth/refresh", "/auth/logout", "/tokens", "/zones", "/certificates"] {
        // These two take no body as well.
        let needs_one = !["/auth/refresh", "/auth/logout"].contains(&path);
        for malformed in ["", "{", "nonsense", "{} {}"].iter().filter(|body| needs_one || !body.is_empty()).copied() {
            assert_eq!(post(path, json, malformed.into()).await.problem(400).0, "malformed_json", "{path} {malformed}");
        }
        assert_eq!(post(path, json, "[]".into()).await.problem(400).0, "wrong_type", "{path}");
        for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
            assert_eq!(post(path, content_type, "{}".into()).await.problem(415).0, "unsupported_media_type", "{path}");
        }
        let large = format!("{{\"email\": \"{}\"}}", "x".repeat(64 * 1024));
        assert_eq!(post(path, json, large).await.problem(413).0, "body_too_large", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_answered() {
    let api = TestApi::start().await;
    let mut client = TcpStream::connect(api.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: zonecert\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("2000\r\n{}\r\n", " ".repeat(0x2000));
    for _ in 0..9 {
        client.write_all(chunk.as_bytes()).await.unwrap();
    }
    // The body goes on, but the server has heard enough.
    let mut answer = vec![0; 35];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413 Payload Too Large\r\ncon");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plans_are_open_to_everybody() {
    let api = TestApi::start().await;
    let plans = get(&api, "/api/v1/plans", &[]).await.expect(StatusCode::OK);
    let names: Vec<_> = plans["plans"].as_array().unwrap().iter().map(|plan| plan["name"].clone()).collect();
    assert_eq!(names, ["free", "plus", "pro", "elite"]);
    let pro = json!({
        "name": "pro", "max_certificates": 25, "max_uploads": 250, "wildcard": false, "auto_renew": true, "manual_renew": true,
        "api_tokens": true, "paid": true,
    });
    assert_eq!(plans["plans"][2], pro);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_ready_once_every_migration_has_run() {
    let api = TestApi::start().await;
    assert_eq!(get(&api, "/healthz", &[]).await.expect(StatusCode::OK), json!({"status": "alive"}));
    assert_eq!(get(&api, "/readyz", &[]).await.expect(StatusCode::OK), json!({"status": "ready"}));
    api.execute("DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)").await;
    let behind = get(&api, "/readyz", &[]).await;
    assert_eq!(behind.problem(503).0, "database_not_migrated");
    assert_eq!(behind.header("retry-after"), "10");
    api.execute("DROP TABLE __diesel_schema_migrations").await;
    assert_eq!(get(&api, "/readyz", &[]).await.problem(503).0, "database_not_migrated");
    assert_eq!(get(&api, "/healthz", &[]).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_a_client_is_told_to_come_back() {
    let free_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = serve(&format!("postgres://zonecert_api@{free_port}/zonecert"), Duration::from_millis(200));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = format!("zc_{}", "A".repeat(43));
    let registration = json!({"email": "somebody@zonecert.io", "password": "correct horse battery staple", "account_name": "Customer"});
    let refresh = json!({"refresh_token": format!("zcr_{}", "A".repeat(43))});
    for (method, path, body) in [
        ("GET", "/readyz", None),
        ("POST", "/api/v1/auth/register", Some(&registration)),
        ("POST", "/api/v1/auth/login", Some(&json!({"email": "somebody@zonecert.io", "password": "x"}))),
        ("POST", "/api/v1/auth/refresh", Some(&refresh)),
        ("POST", "/api/v1/auth/logout", Some(&refresh)),
        ("GET", "/api/v1/me", None),
        ("GET", "/api/v1/tokens", None),
        ("POST", "/api/v1/tokens", None),
        ("GET", "/api/v1/tokens/nonsense", None),
        ("DELETE", "/api/v1/tokens/nonsense", None),
    ] {
        let request = client.request(method.parse().unwrap(), format!("http://{}{path}", server.address())).bearer_auth(&token);
        let request = match body {
            Some(body) => request.header("Content-Type", "application/json").body(body.to_string()),
            None => request,
        };
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = Answer { status, headers, text: response.text().await.unwrap() };
        assert_eq!(answer.problem(503).0, "database_unavailable", "{method} {path}");
        assert_eq!(answer.header("retry-after"), "5");
        assert!(!answer.text.contains(&free_port.port().to_string()), "{}", answer.text);
    }
    let alive = client.get(format!("http://{}/healthz", server.address())).send().await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_running_requests_end_and_takes_no_new_ones() {
    let api = TestApi::start().await;
    let server = serve(&api.product.database_url(Role::Api), Duration::from_mins(1));
    let address = server.address();
    let body = json!({"email": "somebody@zonecert.io", "password": "x"}).to_string();
    let mut running = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: zonecert\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    running.write_all(head.as_bytes()).await.unwrap();
    let mut seen = vec![0; 25];
    running.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, b"HTTP/1.1 100 Continue\r\n\r\n");

    let stopping = tokio::spawn(server.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished());
    running.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    running.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n") && answer.contains("wrong_credentials"), "{answer}");
    stopping.await.unwrap().unwrap();
}
