//! What the API logs: who asked for what, and never a secret, however much is asked for.

use std::io::Write;
use std::sync::{Arc, Mutex};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::TestApi;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_at_any_level() {
    let lines = Lines::default();
    let filter = EnvFilter::new("info,zonecert_api=trace,zonecert_store=trace,zonecert_domain=trace,zonecert_pki=trace");
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(lines.clone()).init();
    let api = TestApi::start().await;
    let password = "correct horse battery staple";
    let email = "somebody@customer.zonecert.io";
    let post = async |path: &str, token: Option<&str>, body: Value, status: u16| {
        let answer = api.send_with(Method::POST, path, token, Some(body), &[("X-Request-Id", "the-request")]).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        answer.json()
    };
    let registration = json!({"email": email, "password": password, "account_name": "Customer"});
    let first = post("/api/v1/auth/register", None, registration.clone(), 201).await;
    post("/api/v1/auth/register", None, registration, 409).await;
    post("/api/v1/auth/register", None, json!({"email": email, "password": [password], "account_name": 1}), 400).await;
    let second = post("/api/v1/auth/login", None, json!({"email": email, "password": password}), 200).await;
    post("/api/v1/auth/login", None, json!({"email": email, "password": "incorrect horse battery"}), 401).await;
    let third = post("/api/v1/auth/refresh", None, json!({"refresh_token": second["refresh_token"]}), 200).await;
    post("/api/v1/auth/refresh", None, json!({"refresh_token": second["refresh_token"]}), 401).await;
    api.execute("UPDATE accounts SET plan = 'plus'").await;
    let access = third["access_token"].as_str().unwrap();
    let made = post("/api/v1/tokens", Some(access), json!({"name": "a", "scopes": ["zones:read"]}), 201).await;
    let token = made["token"].as_str().unwrap();
    let path = format!("/api/v1/certificates/{token}?api_key={token}&password={}", "hunter2hunter2");
    assert_eq!(api.send(Method::GET, &path, Some(token), None).await.status, StatusCode::FORBIDDEN);
    assert_eq!(api.send(Method::GET, &format!("/nowhere/{token}"), Some(token), None).await.status, StatusCode::NOT_FOUND);
    // An error of ours, whose cause is logged: there is no such table any more.
    api.execute("ALTER TABLE api_tokens RENAME COLUMN prefix TO was_prefix").await;
    assert_eq!(api.send(Method::GET, "/api/v1/tokens", Some(access), None).await.problem(500).0, "internal_error");

    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let mut secrets = vec![password, "incorrect horse", "hunter2", token, &token[9..], access];
    secrets.extend(
        [&first, &second, &third]
            .into_iter()
            .flat_map(|session| ["access_token", "refresh_token"].map(|name| session[name].as_str().unwrap())),
    );
    for secret in secrets {
        assert!(!log.contains(secret), "{}", log.lines().find(|line| line.contains(secret)).unwrap());
    }
    assert!(!log.contains("argon2id") && !log.contains("BEGIN PRIVATE KEY"));

    let answered: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["fields"]["message"] == "answered" && line["span"]["request_id"] == "the-request")
        .collect();
    let routes: Vec<(&str, u64)> =
        answered.iter().map(|line| (line["fields"]["route"].as_str().unwrap(), line["fields"]["status"].as_u64().unwrap())).collect();
    assert_eq!(routes.len(), 8);
    assert_eq!((routes[0], routes[7]), (("/api/v1/auth/register", 201), ("/api/v1/tokens", 201)));
    assert_eq!(answered[7]["span"]["account"], first["account"]["id"]);
    assert!(log.contains("\"route\":\"/api/v1/certificates/{id}\"") && log.contains("column") && log.contains("a request failed"));
}
