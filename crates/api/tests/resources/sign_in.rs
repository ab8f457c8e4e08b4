//! Registering, signing in, staying signed in, signing out.

use std::collections::BTreeMap;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::unique_label;
use zonecert_domain::email::Email;
use zonecert_domain::plan::Plan;
use zonecert_store::Store;

use crate::support::{Answer, TestApi, uuid};

const PASSWORD: &str = "correct horse battery staple";

fn address() -> String {
    format!("{}@customer.zonecert.io", unique_label())
}

fn registration(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "account_name": "  Müller & Söhne "})
}

async fn post(api: &TestApi, path: &str, body: Value) -> Answer {
    api.send(Method::POST, &format!("/api/v1/auth/{path}"), None, Some(body)).await
}

async fn register(api: &TestApi, email: &str) -> Value {
    post(api, "register", registration(email)).await.expect(StatusCode::CREATED)
}

async fn log_in(api: &TestApi, email: &str) -> Value {
    post(api, "login", json!({"email": email, "password": PASSWORD})).await.expect(StatusCode::OK)
}

async fn refresh(api: &TestApi, session: &Value) -> Answer {
    post(api, "refresh", json!({"refresh_token": session["refresh_token"]})).await
}

async fn me(api: &TestApi, session: &Value) -> Answer {
    api.send(Method::GET, "/api/v1/me", session["access_token"].as_str(), None).await
}

async fn suspend(api: &TestApi, session: &Value, status: &str) {
    let since = if status == "active" { "NULL" } else { "now()" };
    let account = uuid(&session["account"]["id"]);
    api.execute(&format!("UPDATE accounts SET status = '{status}', suspended_at = {since} WHERE id = '{account}'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_registers_owns_a_free_account_and_is_signed_in() {
    let api = TestApi::start().await;
    let email = address();
    let session = register(&api, &email.to_uppercase()).await;
    let account = &session["account"];
    assert!(account["id"].as_str().unwrap().starts_with("acct_"));
    assert_eq!((&account["name"], &account["plan"], &account["status"]), (&json!("Müller & Söhne"), &json!("free"), &json!("active")));
    let user = &session["user"];
    assert!(user["id"].as_str().unwrap().starts_with("user_"));
    assert_eq!((&user["email"], &user["role"], &user["last_login_at"]), (&json!(email), &json!("owner"), &Value::Null));
    assert_eq!((&session["token_type"], &session["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert!(session["refresh_token"].as_str().unwrap().starts_with("zcr_"));

    let me = me(&api, &session).await.expect(StatusCode::OK);
    assert_eq!((&me["account"], &me["user"], &me["token"]), (account, user, &Value::Null));
    assert_eq!(me["scopes"].as_array().unwrap().len(), 7);

    assert_eq!(api.sql("SELECT count(*) FROM data_keys").await, [json!({"count": 1})]);
    let noted = api.sql("SELECT actor, action, subject, request_id IS NOT NULL AS named FROM audit_log").await;
    assert_eq!(noted, [json!({"actor": user["id"], "action": "account.created", "subject": account["id"], "named": true})]);
    // Neither the password nor a token is anywhere in the database.
    let everything = format!(
        "{:?}{:?}{:?}",
        api.sql("SELECT * FROM users").await,
        api.sql("SELECT * FROM refresh_tokens").await,
        api.sql("SELECT * FROM audit_log").await
    );
    for secret in [PASSWORD, session["refresh_token"].as_str().unwrap(), session["access_token"].as_str().unwrap()] {
        assert!(!everything.contains(secret));
    }
    assert!(everything.contains("$argon2id$v=19$m=19456,t=2,p=1$"));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_with_a_registration_is_said_at_once() {
    let api = TestApi::start().await;
    let faults = |list: &[(&str, &str)]| list.iter().map(|&(at, code)| (at.to_owned(), code.to_owned())).collect::<BTreeMap<_, _>>();
    for (body, expected) in [
        (
            json!({"email": "nobody", "password": "short", "account_name": " "}),
            faults(&[("/email", "email_needs_one_at"), ("/password", "password_too_short"), ("/account_name", "text_empty")]),
        ),
        (
            json!({"email": address(), "password": "x".repeat(129), "account_name": "x".repeat(201)}),
            faults(&[("/password", "password_too_long"), ("/account_name", "text_too_long")]),
        ),
        (
            json!({"email": address(), "password": PASSWORD, "account_name": "a\u{0}b"}),
            faults(&[("/account_name", "text_has_control_characters")]),
        ),
        (json!({"email": address(), "password": PASSWORD}), faults(&[("/account_name", "required")])),
        (json!({"email": address(), "account_name": "a"}), faults(&[("/password", "required")])),
        (json!({"email": address(), "password": 123_456_789_012_u64, "account_name": "a"}), faults(&[("/password", "wrong_type")])),
        (json!({"email": address(), "password": PASSWORD, "account_name": "a", "plan": "elite"}), faults(&[("/plan", "unknown_field")])),
    ] {
        let answer = post(&api, "register", body).await;
        assert_eq!(answer.faults(), expected);
        assert!(!answer.text.contains(PASSWORD) && !answer.text.contains("123456789012"), "{}", answer.text);
    }
    assert_eq!(api.sql("SELECT count(*) FROM accounts").await, [json!({"count": 0})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_belongs_to_one_person_however_it_is_written() {
    let api = TestApi::start().await;
    let email = address();
    register(&api, &email).await;
    let again = post(&api, "register", registration(&email.to_uppercase())).await;
    assert_eq!(again.problem(409).0, "email_taken");
    assert_eq!(again.json()["errors"][0]["pointer"], "/email");
    assert_eq!(api.sql("SELECT count(*) FROM accounts").await, [json!({"count": 1})]);

    let email = address();
    let answers = join_all((0..8).map(|_| post(&api, "register", registration(&email)))).await;
    let made = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    let refused = answers.iter().filter(|answer| answer.status == StatusCode::CONFLICT).count();
    assert_eq!((made, refused), (1, 7));
    assert_eq!(api.sql("SELECT count(*) FROM accounts").await, [json!({"count": 2})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_signs_in() {
    let api = TestApi::start().await;
    let email = address();
    let registered = register(&api, &email).await;
    let session = log_in(&api, &format!(" {} ", email.to_uppercase())).await;
    assert_eq!(session["account"], registered["account"]);
    assert_eq!(session["user"]["id"], registered["user"]["id"]);
    assert!(session["user"]["last_login_at"].is_string());
    assert_eq!(me(&api, &session).await.expect(StatusCode::OK)["user"], session["user"]);
    let noted = api.sql("SELECT actor FROM audit_log WHERE action = 'user.signed_in'").await;
    assert_eq!(noted, [json!({"actor": session["user"]["id"]})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_address_is_answered_like_a_wrong_password() {
    let api = TestApi::start().await;
    let email = address();
    let session = register(&api, &email).await;
    let attempt = async |email: &str, password: &str| post(&api, "login", json!({"email": email, "password": password})).await;
    let wrong = attempt(&email, "incorrect horse battery").await;
    assert_eq!(wrong.problem(401).0, "wrong_credentials");
    assert_eq!(wrong.header("www-authenticate"), "Bearer realm=\"zonecert\"");
    for (email, password) in
        [(address().as_str(), PASSWORD), (&email, ""), (&email, &PASSWORD.to_uppercase()), (&email, &format!("{PASSWORD} "))]
    {
        let answer = attempt(email, password).await;
        assert_eq!((answer.status, &answer.text), (wrong.status, &wrong.text));
    }
    assert_eq!(attempt("nobody", PASSWORD).await.faults(), [("/email".to_owned(), "email_needs_one_at".to_owned())].into());

    api.execute(&format!("UPDATE users SET deleted_at = now() WHERE id = '{}'", uuid(&session["user"]["id"]))).await;
    assert_eq!(attempt(&email, PASSWORD).await.text, wrong.text);
    // Whoever is gone neither stays signed in, nor keeps anybody from the address.
    assert_eq!(me(&api, &session).await.problem(401).0, "credential_invalid");
    assert_eq!(refresh(&api, &session).await.problem(401).0, "refresh_token_invalid");
    let other = register(&api, &email).await;
    api.execute(&format!("UPDATE accounts SET deleted_at = now() WHERE id = '{}'", uuid(&other["account"]["id"]))).await;
    assert_eq!(attempt(&email, PASSWORD).await.text, wrong.text);
    assert_eq!(me(&api, &other).await.problem(401).0, "credential_invalid");
    assert_eq!(refresh(&api, &other).await.problem(401).0, "refresh_token_invalid");
    assert_eq!(post(&api, "logout", json!({"refresh_token": other["refresh_token"]})).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_account_signs_in_only_to_see_to_its_payment() {
    let api = TestApi::start().await;
    let email = address();
    let session = register(&api, &email).await;
    suspend(&api, &session, "suspended_payment").await;
    log_in(&api, &email).await;
    let session = refresh(&api, &session).await.expect(StatusCode::OK);

    suspend(&api, &session, "suspended_abuse").await;
    let login = async |password: &str| post(&api, "login", json!({"email": email, "password": password})).await;
    assert_eq!(login(PASSWORD).await.problem(403).0, "account_suspended");
    assert_eq!(login("incorrect horse battery").await.problem(401).0, "wrong_credentials");
    assert_eq!(refresh(&api, &session).await.problem(403).0, "account_suspended");

    // The token was not used up by that.
    suspend(&api, &session, "active").await;
    refresh(&api, &session).await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_good_once_and_a_second_use_ends_the_sign_in() {
    let api = TestApi::start().await;
    let email = address();
    let first = register(&api, &email).await;
    let elsewhere = log_in(&api, &email).await;
    let second = refresh(&api, &first).await.expect(StatusCode::OK);
    assert_eq!(me(&api, &second).await.expect(StatusCode::OK)["user"]["id"], first["user"]["id"]);
    let third = refresh(&api, &second).await.expect(StatusCode::OK);

    let stolen = refresh(&api, &first).await;
    assert_eq!(stolen.problem(401).0, "refresh_token_invalid");
    assert_eq!(stolen.header("www-authenticate"), "Bearer realm=\"zonecert\"");
    for session in [&first, &second, &third] {
        assert_eq!(refresh(&api, session).await.text, stolen.text);
    }
    let noted = api.sql("SELECT actor FROM audit_log WHERE action = 'refresh_token.reused'").await;
    assert_eq!(noted, [json!({"actor": first["user"]["id"]})]);
    // Another sign-in of the same person goes on.
    refresh(&api, &elsewhere).await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uses_at_once_at_most_one_is_good() {
    let api = TestApi::start().await;
    let session = register(&api, &address()).await;
    let answers = join_all((0..10).map(|_| refresh(&api, &session))).await;
    let good: Vec<Value> = answers.iter().filter(|answer| answer.status == StatusCode::OK).map(Answer::json).collect();
    assert_eq!((good.len(), answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count()), (1, 9));
    assert_eq!(refresh(&api, &good[0]).await.problem(401).0, "refresh_token_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_ends_after_30_days() {
    let api = TestApi::start().await;
    let session = register(&api, &address()).await;
    let days = "SELECT round(extract(epoch FROM expires_at - now()) / 86400) AS days FROM refresh_tokens";
    assert_eq!(api.sql(days).await, [json!({"days": 30})]);
    api.execute("UPDATE refresh_tokens SET expires_at = expires_at - interval '30 days'").await;
    assert_eq!(refresh(&api, &session).await.problem(401).0, "refresh_token_invalid");
    // Nobody has used it twice: nothing was revoked.
    assert_eq!(api.sql("SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL").await, [json!({"count": 1})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_refresh_token_is_refused() {
    let api = TestApi::start().await;
    let session = register(&api, &address()).await;
    let unknown = format!("zcr_{}", "A".repeat(43));
    for text in ["", "nonsense", "zcr_", &unknown, session["access_token"].as_str().unwrap(), "zcr_\u{0}"] {
        assert_eq!(refresh(&api, &json!({"refresh_token": text})).await.problem(401).0, "refresh_token_invalid", "{text}");
    }
    for missing in [json!({}), json!({"refresh_token": null})] {
        assert_eq!(post(&api, "refresh", missing).await.problem(401).0, "refresh_token_invalid");
    }
    // It opens nothing else either.
    let answer = api.send(Method::GET, "/api/v1/me", session["refresh_token"].as_str(), None).await;
    assert_eq!(answer.problem(401).0, "credential_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_this_sign_in() {
    let api = TestApi::start().await;
    let email = address();
    let first = register(&api, &email).await;
    let elsewhere = log_in(&api, &email).await;
    let second = refresh(&api, &first).await.expect(StatusCode::OK);
    for _ in 0..2 {
        let answer = post(&api, "logout", json!({"refresh_token": second["refresh_token"]})).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));
    }
    assert_eq!(refresh(&api, &second).await.problem(401).0, "refresh_token_invalid");
    refresh(&api, &elsewhere).await.expect(StatusCode::OK);
    assert_eq!(api.sql("SELECT count(*) FROM audit_log WHERE action = 'user.signed_out'").await, [json!({"count": 1})]);

    assert_eq!(post(&api, "logout", json!({"refresh_token": "nonsense"})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(post(&api, "logout", json!({"refresh": ""})).await.faults(), [("/refresh".to_owned(), "unknown_field".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_makes_accounts_of_any_plan() {
    use zonecert_api::auth::password::{Password, Secret};
    use zonecert_api::people::{AccountName, CreateAccountError, NewAccount, create_account};

    let api = TestApi::start().await;
    let email = address();
    let new = || NewAccount {
        email: Email::parse(&email).unwrap(),
        password: Password::parse(Secret::new(PASSWORD.to_owned())).ok().unwrap(),
        name: AccountName::parse("Customer").unwrap(),
        plan: Plan::Elite,
    };
    // `admin` talks to the database as its owner, the API as its own role; both can.
    let owner = api.product.database_url(zonecert_devstack::product::Role::Owner);
    let store = Store::open(&owner, 1, std::time::Duration::from_secs(10)).unwrap();
    let (account, user) = create_account(&store, &api.masters, new(), "operator").await.unwrap();
    assert_eq!((account.plan, user.email.as_str()), (Plan::Elite, email.as_str()));
    assert_eq!(log_in(&api, &email).await["account"]["plan"], "elite");
    assert!(matches!(create_account(&store, &api.masters, new(), "operator").await, Err(CreateAccountError::EmailTaken)));
    let noted = api.sql("SELECT actor, details FROM audit_log WHERE action = 'account.created'").await;
    assert_eq!(noted, [json!({"actor": "operator", "details": {"plan": "elite"}})]);
}
