//! Another password, a forgotten one, and logging out everywhere.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::{unique_label, wait};

use crate::support::{Answer, TestApi};

const OLD: &str = "correct horse battery staple";
const NEW: &str = "another horse battery staple";

fn address() -> String {
    format!("{}@customer.zonecert.io", unique_label())
}

async fn anonymous(api: &TestApi, path: &str, body: Value) -> Answer {
    api.send(Method::POST, &format!("/api/v1/auth/{path}"), None, Some(body)).await
}

async fn register(api: &TestApi, email: &str) -> Value {
    let body = json!({"email": email, "password": OLD, "account_name": "Customer"});
    anonymous(api, "register", body).await.expect(StatusCode::CREATED)
}

async fn log_in(api: &TestApi, email: &str, password: &str) -> Answer {
    anonymous(api, "login", json!({"email": email, "password": password})).await
}

async fn refresh(api: &TestApi, session: &Value) -> Answer {
    anonymous(api, "refresh", json!({"refresh_token": session["refresh_token"]})).await
}

async fn me(api: &TestApi, session: &Value) -> Answer {
    api.send(Method::GET, "/api/v1/me", session["access_token"].as_str(), None).await
}

async fn as_person(api: &TestApi, session: &Value, path: &str, body: Option<Value>) -> Answer {
    api.send(Method::POST, &format!("/api/v1{path}"), session["access_token"].as_str(), body).await
}

async fn is_signed_out(api: &TestApi, session: &Value) {
    assert_eq!(me(api, session).await.problem(401).0, "credential_invalid");
    assert_eq!(refresh(api, session).await.problem(401).0, "refresh_token_invalid");
}

/// Asks for a link and answers its token.
async fn forget(api: &TestApi, email: &str, count: u64) -> String {
    assert_eq!(anonymous(api, "forgot-password", json!({"email": email})).await.status, StatusCode::ACCEPTED);
    api.until_written("reset_password", count).await;
    api.last_mail(&email.to_lowercase(), "reset_password").await.token()
}

async fn reset(api: &TestApi, token: &str) -> Answer {
    anonymous(api, "reset-password", json!({"token": token, "new_password": NEW})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_signs_out_all_but_whoever_sets_it() {
    let api = TestApi::start().await;
    let email = address();
    let (here, elsewhere) = (register(&api, &email).await, log_in(&api, &email, OLD).await.expect(StatusCode::OK));
    let body = json!({"current_password": OLD, "new_password": NEW});
    let next = as_person(&api, &here, "/me/password", Some(body)).await.expect(StatusCode::OK);
    assert_eq!(next["user"]["id"], here["user"]["id"]);
    me(&api, &next).await.expect(StatusCode::OK);
    refresh(&api, &next).await.expect(StatusCode::OK);
    is_signed_out(&api, &here).await;
    is_signed_out(&api, &elsewhere).await;
    assert_eq!(log_in(&api, &email, OLD).await.problem(401).0, "wrong_credentials");
    me(&api, &log_in(&api, &email, NEW).await.expect(StatusCode::OK)).await.expect(StatusCode::OK);
    assert_eq!(api.last_mail(&email, "password_changed").await.subject, "Your password was changed");
    let noted = api.sql("SELECT actor FROM audit_log WHERE action = 'user.password_changed'").await;
    assert_eq!(noted, [json!({"actor": here["user"]["id"]})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whoever_knows_the_password_changes_it() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let change = async |body: Value| owner.post("/me/password", body).await;
    for (body, pointer, code) in [
        (json!({"current_password": NEW, "new_password": NEW}), "/current_password", "wrong_password"),
        (json!({"current_password": "", "new_password": NEW}), "/current_password", "wrong_password"),
        (json!({"current_password": OLD, "new_password": "short"}), "/new_password", "password_too_short"),
        (json!({"current_password": OLD, "new_password": "x".repeat(129)}), "/new_password", "password_too_long"),
        (json!({"current_password": OLD}), "/new_password", "required"),
        (json!({"current_password": [OLD], "new_password": NEW}), "/current_password", "wrong_type"),
    ] {
        let answer = change(body).await;
        assert_eq!(answer.faults(), [(pointer.to_owned(), code.to_owned())].into());
        assert!(!answer.text.contains(OLD) && !answer.text.contains(NEW), "{}", answer.text);
    }
    let program = owner.with_token(&["account:admin"]).await;
    let body = json!({"current_password": OLD, "new_password": NEW});
    assert_eq!(program.post("/me/password", body.clone()).await.problem(403).0, "person_required");
    assert_eq!(program.post("/auth/logout-everywhere", Value::Null).await.problem(403).0, "person_required");
    assert_eq!(api.sql("SELECT count(*) FROM mails WHERE template = 'password_changed'").await, [json!({"count": 0})]);

    // Of many who do so at once, one: the others knew a password that is not theirs any more.
    let answers = join_all((0..4).map(|_| change(body.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_everywhere_voids_every_sign_in_at_once_and_no_later_one() {
    let api = TestApi::start().await;
    let email = address();
    let other = register(&api, &address()).await;
    let first = register(&api, &email).await;
    let second = log_in(&api, &email, OLD).await.expect(StatusCode::OK);
    let third = refresh(&api, &second).await.expect(StatusCode::OK);
    let answer = as_person(&api, &third, "/auth/logout-everywhere", None).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));
    // Within the same second, over and over.
    for _ in 0..5 {
        let later = log_in(&api, &email, OLD).await.expect(StatusCode::OK);
        me(&api, &later).await.expect(StatusCode::OK);
        let renewed = refresh(&api, &later).await.expect(StatusCode::OK);
        assert_eq!(as_person(&api, &renewed, "/auth/logout-everywhere", None).await.status, StatusCode::NO_CONTENT);
        is_signed_out(&api, &later).await;
        is_signed_out(&api, &renewed).await;
    }
    for session in [&first, &second, &third] {
        is_signed_out(&api, session).await;
    }
    me(&api, &other).await.expect(StatusCode::OK);
    let noted = api.sql("SELECT count(*) FROM audit_log WHERE action = 'user.signed_out_everywhere'").await;
    assert_eq!(noted, [json!({"count": 6})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_in_while_another_logs_out_everywhere_is_clearly_in_or_out() {
    let api = TestApi::start().await;
    let email = address();
    let mut session = register(&api, &email).await;
    for _ in 0..6 {
        let (renewed, _) = tokio::join!(refresh(&api, &session), as_person(&api, &session, "/auth/logout-everywhere", None));
        // Renewed before the log-out, and void with all the others; or not renewed at all.
        if renewed.status == StatusCode::OK {
            is_signed_out(&api, &renewed.json()).await;
        } else {
            assert_eq!(renewed.problem(401).0, "refresh_token_invalid");
        }
        session = log_in(&api, &email, OLD).await.expect(StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_set_anew_by_a_link_once() {
    let api = TestApi::start().await;
    let email = address();
    let session = register(&api, &email).await;
    let minutes = "SELECT round(extract(epoch FROM expires_at - now()) / 60) AS minutes FROM email_tokens WHERE purpose = 'reset_password'";
    let first = forget(&api, &email.to_uppercase(), 1).await;
    assert_eq!(api.sql(minutes).await, [json!({"minutes": 60})]);
    let second = forget(&api, &email, 2).await;
    let sent = api.mails_to(&email).await;
    assert!(sent[1].body.contains(&format!("https://app.zonecert-platform.test/reset-password?token={first}")), "{}", sent[1].body);

    let answers = join_all((0..5).map(|_| reset(&api, &second))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::NO_CONTENT).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::NO_CONTENT) {
        assert_eq!(answer.faults(), [("/token".to_owned(), "token_invalid".to_owned())].into());
    }
    // The other link is void with it.
    assert_eq!(reset(&api, &first).await.problem(400).0, "token_invalid");
    is_signed_out(&api, &session).await;
    assert_eq!(log_in(&api, &email, OLD).await.problem(401).0, "wrong_credentials");
    let signed_in = log_in(&api, &email, NEW).await.expect(StatusCode::OK);
    // Whoever has followed the link reads the mail of the address.
    assert_eq!(signed_in["user"]["email_verified"], true);
    api.last_mail(&email, "password_changed").await;
    let noted = api.sql("SELECT action FROM audit_log WHERE action LIKE 'user.password%' ORDER BY at").await;
    let actions = ["user.password_reset_requested", "user.password_reset_requested", "user.password_reset"];
    assert_eq!(noted, actions.map(|action| json!({"action": action})));
    let everything = format!("{:?}{:?}", api.sql("SELECT * FROM email_tokens").await, api.sql("SELECT * FROM mails").await);
    assert!(!everything.contains(&first) && !everything.contains(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_which_addresses_are_known() {
    let api = TestApi::start().await;
    let (email, gone, suspended) = (address(), address(), address());
    register(&api, &email).await;
    register(&api, &gone).await;
    register(&api, &suspended).await;
    api.execute(&format!("UPDATE users SET deleted_at = now() WHERE email = '{gone}'")).await;
    api.execute(&format!(
        "UPDATE accounts SET status = 'suspended_abuse', suspended_at = now() WHERE id = (SELECT account_id FROM users WHERE email = '{suspended}')"
    ))
    .await;
    let mut answers = Vec::new();
    for asked in [address().as_str(), &gone, &suspended, &email] {
        let answer = anonymous(&api, "forgot-password", json!({"email": asked})).await;
        answers.push((answer.status, answer.text));
    }
    assert!(answers.iter().all(|answer| answer == &answers[0] && answer.0 == StatusCode::ACCEPTED), "{answers:?}");
    // The last one is known; when its mail is there, the others' would be.
    api.until_written("reset_password", 1).await;
    api.last_mail(&email, "reset_password").await;
    assert_eq!(anonymous(&api, "forgot-password", json!({"email": "nobody"})).await.problem(400).0, "email_needs_one_at");
    assert_eq!(anonymous(&api, "forgot-password", json!({})).await.faults(), [("/email".to_owned(), "required".to_owned())].into());
}

/// Waits until all that goes on behind the answer has ended, of which nothing is to be seen: its connection is found where it is held up.
async fn forget_in_vain(api: &TestApi, email: &str) {
    let holder = api.stack.postgres.connect_as_admin(api.product.database()).await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE email_tokens IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert_eq!(anonymous(api, "forgot-password", json!({"email": email})).await.status, StatusCode::ACCEPTED);
    let found = async |what: &str, condition: &str| {
        let query =
            format!("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'zonecert_api' AND {condition}");
        wait::until(what, Duration::from_mins(1), async || Ok(api.sql(&query).await.pop())).await.unwrap()["pid"].clone()
    };
    let pid = found("held up", "wait_event_type = 'Lock'").await;
    holder.batch_execute("COMMIT").await.unwrap();
    found("done", &format!("pid = {pid} AND state = 'idle'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_links_an_hour_are_enough_for_anybody() {
    let api = TestApi::start().await;
    let email = address();
    register(&api, &email).await;
    for count in 1..=5 {
        forget(&api, &email, count).await;
    }
    forget_in_vain(&api, &email).await;
    api.execute("UPDATE email_tokens SET created_at = created_at - interval '1 hour'").await;
    // Six in all: the one before this was not written.
    forget(&api, &email, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_for_a_password_that_is_void_is_refused_whatever_the_reason() {
    let api = TestApi::start().await;
    let email = address();
    let session = register(&api, &email).await;
    let verification = api.last_mail(&email, "verify_email").await.token();
    let expired = forget(&api, &email, 1).await;
    api.execute("UPDATE email_tokens SET expires_at = now() WHERE purpose = 'reset_password'").await;
    let unknown = format!("zce_{}", "A".repeat(43));
    let mut texts = Vec::new();
    for token in [expired.as_str(), &verification, &unknown, "", "nonsense", "zce_\u{0}"] {
        texts.push(reset(&api, token).await.text);
    }
    assert!(texts.iter().all(|text| text == &texts[0] && text.contains("token_invalid")), "{texts:?}");
    let both = anonymous(&api, "reset-password", json!({"token": "x", "new_password": "short"})).await.faults();
    assert_eq!(
        both,
        [("/token", "token_invalid"), ("/new_password", "password_too_short")].map(|(at, code)| (at.to_owned(), code.to_owned())).into()
    );

    // A link that was sent to an address which they have left, and one of somebody who has gone.
    let left = forget(&api, &email, 2).await;
    api.execute(&format!("UPDATE users SET email = 'x{email}'")).await;
    assert_eq!(reset(&api, &left).await.problem(400).0, "token_invalid");
    api.execute(&format!("UPDATE users SET email = '{email}', deleted_at = now()")).await;
    assert_eq!(reset(&api, &left).await.problem(400).0, "token_invalid");
    api.execute("UPDATE users SET deleted_at = NULL; UPDATE accounts SET deleted_at = now()").await;
    assert_eq!(reset(&api, &left).await.problem(400).0, "token_invalid");
    api.execute("UPDATE accounts SET deleted_at = NULL, status = 'suspended_abuse', suspended_at = now()").await;
    assert_eq!(reset(&api, &left).await.problem(403).0, "account_suspended");
    api.execute("UPDATE accounts SET status = 'suspended_payment'").await;
    assert_eq!(reset(&api, &left).await.status, StatusCode::NO_CONTENT);
    is_signed_out(&api, &session).await;
}
