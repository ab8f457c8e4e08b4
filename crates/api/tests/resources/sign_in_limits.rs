//! How guessing at passwords is slowed down.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_api::ApiSettings;
use zonecert_devstack::{unique_label, wait};
use zonecert_domain::sign_in::SignInLimits;

use crate::support::{Answer, TestApi, uuid};

const PASSWORD: &str = "correct horse battery staple";
const WRONG: &str = "incorrect horse battery";
const SOON: Duration = Duration::from_secs(30);

fn public_limits(settings: &mut ApiSettings) {
    settings.traffic.sign_in_limits = SignInLimits::default();
    settings.traffic.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
}

fn email() -> String {
    format!("{}@customer.zonecert.io", unique_label())
}

async fn register(api: &TestApi, email: &str) -> Value {
    let body = json!({"email": email, "password": PASSWORD, "account_name": "Customer"});
    api.send(Method::POST, "/api/v1/auth/register", None, Some(body)).await.expect(StatusCode::CREATED)
}

async fn log_in_to(api: &TestApi, url: &str, address: &str, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password});
    api.send_to(url, Method::POST, "/api/v1/auth/login", None, Some(body), &[("X-Forwarded-For", address)]).await
}

async fn log_in(api: &TestApi, address: &str, email: &str, password: &str) -> Answer {
    log_in_to(api, &api.url, address, email, password).await
}

/// An address that no other attempt of the test comes from.
fn other_address(number: u32) -> String {
    format!("198.51.{}.{}", number / 250, number % 250)
}

/// Fails so often from as many addresses.
async fn fail(api: &TestApi, email: &str, times: u32) {
    for number in 0..times {
        assert_eq!(log_in(api, &other_address(number), email, WRONG).await.problem(401).0, "wrong_credentials", "{number}");
    }
}

#[track_caller]
fn seconds_to_wait(answer: &Answer) -> u64 {
    let (code, detail) = answer.problem(429);
    assert_eq!(code, "too_many_sign_ins");
    assert!(detail.contains("Retry-After"), "{detail}");
    answer.header("retry-after").parse().unwrap()
}

/// Lets so much time go by for all that has failed.
async fn let_pass(api: &TestApi, interval: &str) {
    let past = |column: &str| format!("{column} = {column} - interval '{interval}'");
    let columns = ["first_failed_at", "last_failed_at", "blocked_until"].map(past).join(", ");
    api.execute(&format!("UPDATE sign_in_failures SET {columns}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_five_failures_each_one_more_doubles_the_wait_up_to_a_minute() {
    let api = TestApi::start_set(public_limits).await;
    let email = email();
    register(&api, &email).await;
    fail(&api, &email, 5).await;
    for (number, expected) in [(5, 1), (6, 2), (7, 4), (8, 8), (9, 16), (10, 32), (11, 60), (12, 60)] {
        assert_eq!(log_in(&api, &other_address(number), &email, WRONG).await.problem(401).0, "wrong_credentials", "{expected}");
        // Longer than it takes to ask, for the short ones too.
        api.execute("UPDATE sign_in_failures SET blocked_until = blocked_until + interval '1 hour' WHERE blocked_until > last_failed_at")
            .await;
        // From everywhere, and with the right password too: whoever guesses learns nothing.
        for password in [WRONG, PASSWORD] {
            let wait = seconds_to_wait(&log_in(&api, &other_address(200 + number), &email.to_uppercase(), password).await);
            assert!((3_540 + expected..=3_600 + expected).contains(&wait), "{wait}");
        }
        api.execute("UPDATE sign_in_failures SET blocked_until = last_failed_at").await;
    }
    assert_eq!(log_in(&api, &other_address(99), &email, PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_e_mail_address_is_slowed_down_like_a_known_one() {
    let api = TestApi::start_set(public_limits).await;
    let (known, unknown) = (email(), email());
    register(&api, &known).await;
    let mut answers = Vec::new();
    for email in [&known, &unknown] {
        fail(&api, email, 6).await;
        api.execute("UPDATE sign_in_failures SET blocked_until = now() + interval '30 seconds' WHERE failures > 5").await;
        let answer = log_in(&api, "203.0.113.1", email, PASSWORD).await;
        assert!(seconds_to_wait(&answer) <= 30);
        let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        answers.push((answer.text.clone(), names));
    }
    assert_eq!(answers[0], answers[1]);
    // Nobody's address is in the table.
    assert_eq!(api.sql("SELECT count(*) FROM sign_in_failures WHERE length(subject) <> 32").await, [json!({"count": 0})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_attempt_is_not_hashed() {
    let api = TestApi::start_set(public_limits).await;
    let email = email();
    register(&api, &email).await;
    fail(&api, &email, 6).await;
    api.execute("UPDATE sign_in_failures SET blocked_until = now() + interval '1 hour' WHERE failures = 6").await;
    // Whoever compared a password with this would fail.
    api.execute("UPDATE users SET password_hash = '$argon2id$v=19$'").await;
    seconds_to_wait(&log_in(&api, "203.0.113.1", &email, PASSWORD).await);
    api.execute("DELETE FROM sign_in_failures").await;
    assert_eq!(log_in(&api, "203.0.113.1", &email, PASSWORD).await.problem(500).0, "internal_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_guesses_at_once_get_no_further_than_one_after_the_other() {
    let api = TestApi::start_set(public_limits).await;
    let email = email();
    register(&api, &email).await;
    // The longest wait from the first failure on that is not free, so that none ends while this runs.
    let limits = |settings: &mut ApiSettings| {
        public_limits(settings);
        settings.traffic.sign_in_limits.email.free = 0;
    };
    let process = api.another_process(limits);
    api.execute(
        "CREATE FUNCTION wait_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.blocked_until > now() THEN NEW.blocked_until = now() + interval '1 hour'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER wait_long BEFORE INSERT OR UPDATE ON sign_in_failures FOR EACH ROW EXECUTE FUNCTION wait_long()",
    )
    .await;
    let addresses: Vec<String> = (0..30).map(other_address).collect();
    let answers = join_all(addresses.iter().map(|address| log_in_to(&api, &process.url, address, &email, WRONG))).await;
    let tried = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count();
    assert_eq!((tried, answers.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS).count()), (1, 29));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_guesses_at_many_people_waits_longer_and_longer() {
    let api = TestApi::start_set(public_limits).await;
    let known = email();
    register(&api, &known).await;
    let guess = async || log_in(&api, "2001:db8:1:2::1", &email(), WRONG).await;
    for _ in 0..20 {
        assert_eq!(guess().await.problem(401).0, "wrong_credentials");
    }
    for expected in [1, 2, 4] {
        assert_eq!(guess().await.problem(401).0, "wrong_credentials");
        api.execute("UPDATE sign_in_failures SET blocked_until = blocked_until + interval '1 hour' WHERE failures > 20").await;
        // The same subscriber, and the right password too.
        let wait = seconds_to_wait(&log_in(&api, "2001:db8:1:2:ffff::1", &known, PASSWORD).await);
        assert!((3_540 + expected..=3_600 + expected).contains(&wait), "{wait}");
        api.execute("UPDATE sign_in_failures SET blocked_until = last_failed_at").await;
    }
    let block = "UPDATE sign_in_failures SET blocked_until = now() + interval '1 hour' WHERE failures > 20";
    api.execute(block).await;
    // Somebody else's network is not concerned.
    assert_eq!(log_in(&api, "2001:db8:1:3::1", &known, PASSWORD).await.status, StatusCode::OK);
    api.execute("UPDATE sign_in_failures SET failures = 99, blocked_until = last_failed_at WHERE failures > 20").await;
    assert_eq!(guess().await.problem(401).0, "wrong_credentials");
    let longest =
        api.sql("SELECT round(extract(epoch FROM blocked_until - last_failed_at)) AS wait FROM sign_in_failures WHERE failures > 20").await;
    assert_eq!(longest, [json!({"wait": 900})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_is_for_the_e_mail_address_alone_and_time_is_for_both() {
    let api = TestApi::start_set(public_limits).await;
    let email = email();
    register(&api, &email).await;
    for _ in 0..4 {
        assert_eq!(log_in(&api, "192.0.2.1", &email, WRONG).await.status, StatusCode::UNAUTHORIZED);
    }
    let failures = async || {
        let rows = api.sql("SELECT failures FROM sign_in_failures ORDER BY failures").await;
        rows.iter().map(|row| row["failures"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(failures().await, [4, 4]);
    assert_eq!(log_in(&api, "192.0.2.1", &email, PASSWORD).await.status, StatusCode::OK);
    assert_eq!(failures().await, [4]);
    // One is forgotten each ten minutes.
    let_pass(&api, "25 minutes").await;
    assert_eq!(log_in(&api, "192.0.2.1", &email, WRONG).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(failures().await, [1, 3]);
    let_pass(&api, "1 day").await;
    assert_eq!(log_in(&api, "192.0.2.1", &email, WRONG).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(failures().await, [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_count_together() {
    let api = TestApi::start_set(public_limits).await;
    let other = api.another_process(public_limits);
    let email = email();
    register(&api, &email).await;
    for number in 0..6 {
        let url = if number % 2 == 0 { &api.url } else { &other.url };
        let answer = log_in_to(&api, url, &other_address(number), &email, WRONG).await;
        assert_eq!(answer.problem(401).0, "wrong_credentials", "{number}");
    }
    api.execute("UPDATE sign_in_failures SET blocked_until = now() + interval '1 hour' WHERE failures = 6").await;
    for url in [&api.url, &other.url] {
        seconds_to_wait(&log_in_to(&api, url, "203.0.113.1", &email, PASSWORD).await);
    }
    api.execute("UPDATE sign_in_failures SET blocked_until = now()").await;
    assert_eq!(log_in_to(&api, &other.url, "203.0.113.1", &email, PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_refresh_tokens_count_against_the_address_and_old_tokens_do_not() {
    let api = TestApi::start_set(public_limits).await;
    let email = email();
    let session = register(&api, &email).await;
    let refresh = async |address: &str, token: &Value| {
        let body = json!({"refresh_token": token});
        api.send_with(Method::POST, "/api/v1/auth/refresh", None, Some(body), &[("X-Forwarded-For", address)]).await
    };
    refresh("192.0.2.1", &session["refresh_token"]).await.expect(StatusCode::OK);
    for _ in 0..25 {
        assert_eq!(refresh("192.0.2.1", &session["refresh_token"]).await.problem(401).0, "refresh_token_invalid");
    }
    let unknown = json!(format!("zcr_{}", "A".repeat(43)));
    for _ in 0..21 {
        assert_eq!(refresh("192.0.2.1", &unknown).await.problem(401).0, "refresh_token_invalid");
    }
    api.execute("UPDATE sign_in_failures SET blocked_until = now() + interval '1 hour' WHERE failures = 21").await;
    seconds_to_wait(&refresh("192.0.2.1", &unknown).await);
    seconds_to_wait(&log_in(&api, "192.0.2.1", &email, PASSWORD).await);
    assert_eq!(refresh("192.0.2.2", &unknown).await.problem(401).0, "refresh_token_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_attempt_is_not_counted() {
    let api = TestApi::start_set(public_limits).await;
    for body in [json!("{"), json!({}), json!({"email": "nobody", "password": WRONG}), json!({"email": "a@b.example", "password": 1})] {
        let answer = api.send(Method::POST, "/api/v1/auth/login", None, Some(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    }
    assert_eq!(api.sql("SELECT count(*) FROM sign_in_failures").await, [json!({"count": 0})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_sign_ins_of_a_person_are_audited_ever_more_seldom() {
    let api = TestApi::start_set(|settings| {
        public_limits(settings);
        settings.traffic.sign_in_limits.email.free = 1_000;
    })
    .await;
    let known = email();
    let session = register(&api, &known).await;
    for number in 0..9 {
        log_in(&api, &other_address(number), &known, WRONG).await.problem(401);
        log_in(&api, &other_address(number), &email(), WRONG).await.problem(401);
    }
    let entries =
        "SELECT actor, subject, details FROM audit_log WHERE action = 'user.sign_in_failed' ORDER BY (details->>'failures')::integer";
    let noted = wait::until("four failures are noted", SOON, async || {
        let noted = api.sql(entries).await;
        Ok((noted.len() >= 4).then_some(noted))
    });
    let expected: Vec<Value> = [(1, 0), (2, 1), (4, 3), (8, 7)]
        .map(|(failures, number)| {
            let details = json!({"failures": failures, "address": other_address(number)});
            json!({"actor": "anonymous", "subject": session["user"]["id"], "details": details})
        })
        .to_vec();
    assert_eq!(noted.await.unwrap(), expected);
    log_in(&api, "192.0.2.1", &known, PASSWORD).await.expect(StatusCode::OK);
    let noted = api
        .sql(&format!(
            "SELECT details FROM audit_log WHERE action = 'user.signed_in' AND actor = 'user_{}'",
            uuid(&session["user"]["id"]).replace('-', "")
        ))
        .await;
    assert_eq!(noted, [json!({"details": {"address": "192.0.2.1"}})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_by_mail_lets_in_whoever_the_guesses_of_others_kept_out() {
    let api = TestApi::start_set(public_limits).await;
    let email = email();
    register(&api, &email).await;
    fail(&api, &email, 6).await;
    api.execute("UPDATE sign_in_failures SET blocked_until = now() + interval '1 hour' WHERE failures = 6").await;
    seconds_to_wait(&log_in(&api, "203.0.113.1", &email, PASSWORD).await);
    let post = async |path: &str, body: Value| api.send(Method::POST, path, None, Some(body)).await;
    assert_eq!(post("/api/v1/auth/forgot-password", json!({"email": email})).await.status, StatusCode::ACCEPTED);
    api.until_written("reset_password", 1).await;
    let token = api.last_mail(&email, "reset_password").await.token();
    let new = "another horse battery staple";
    let reset = post("/api/v1/auth/reset-password", json!({"token": token, "new_password": new})).await;
    assert_eq!(reset.status, StatusCode::NO_CONTENT);
    assert_eq!(log_in(&api, "203.0.113.1", &email, new).await.status, StatusCode::OK);
}
