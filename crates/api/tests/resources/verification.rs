//! Addresses that are confirmed by a link.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Caller, TestApi};

async fn verify(api: &TestApi, token: &str) -> Answer {
    api.send(Method::POST, "/api/v1/auth/verify-email", None, Some(json!({"token": token}))).await
}

async fn email_of(caller: &Caller<'_>) -> String {
    caller.get("/me").await.expect(StatusCode::OK)["user"]["email"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_registers_confirms_their_address_by_the_link() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let user = owner.get("/me").await.json()["user"].clone();
    assert_eq!((&user["email_verified"], &user["email_verified_at"]), (&json!(false), &Value::Null));
    let mail = api.last_mail(user["email"].as_str().unwrap(), "verify_email").await;
    let token = mail.token();
    assert!(mail.body.contains(&format!("https://app.zonecert-platform.test/verify-email?token={token}")), "{}", mail.body);
    assert_eq!(api.jobs("mail").await.len(), 1);

    let answers = join_all((0..4).map(|_| verify(&api, &token))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::NO_CONTENT).count(), 1);
    assert_eq!(verify(&api, &token).await.faults(), [("/token".to_owned(), "token_invalid".to_owned())].into());
    let user = owner.get("/me").await.json()["user"].clone();
    assert!(user["email_verified"] == true && user["email_verified_at"].is_string(), "{user}");
    let noted = api.sql("SELECT actor FROM audit_log WHERE action = 'user.email_verified'").await;
    assert_eq!(noted, [json!({"actor": user["id"]})]);
    let (code, _) = owner.post("/me/verify-email", Value::Null).await.problem(409);
    assert_eq!(code, "email_already_verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_link_is_sent_on_request_five_times_an_hour() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let email = email_of(&owner).await;
    let first = api.last_mail(&email, "verify_email").await.token();
    for _ in 0..4 {
        assert_eq!(owner.post("/me/verify-email", Value::Null).await.status, StatusCode::ACCEPTED);
    }
    let refused = owner.post("/me/verify-email", Value::Null).await;
    assert_eq!(refused.problem(429).0, "too_many_mails");
    assert!((3_000..=3_601).contains(&refused.header("retry-after").parse::<u32>().unwrap()), "{}", refused.header("retry-after"));
    assert_eq!(api.mails_to(&email).await.len(), 5);
    api.execute("UPDATE email_tokens SET created_at = created_at - interval '1 hour'").await;
    assert_eq!(owner.post("/me/verify-email", Value::Null).await.status, StatusCode::ACCEPTED);

    // All of them are good until one was used.
    assert_eq!(verify(&api, &first).await.status, StatusCode::NO_CONTENT);
    let last = api.last_mail(&email, "verify_email").await.token();
    assert_eq!(verify(&api, &last).await.problem(400).0, "token_invalid");
    let program = owner.with_token(&["account:admin"]).await;
    assert_eq!(program.post("/me/verify-email", Value::Null).await.problem(403).0, "person_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_key_sends_one_link_however_often_it_comes() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let once = [("Idempotency-Key", "again")];
    let send = || api.send_with(Method::POST, "/api/v1/me/verify-email", Some(&owner.token), None, &once);
    let answers = join_all((0..4).map(|_| send())).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::ACCEPTED && answer.text == answers[0].text));
    assert_eq!(api.mails_to(&email_of(&owner).await).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_confirms_nothing_is_refused_whatever_the_reason() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let email = email_of(&owner).await;
    let token = api.last_mail(&email, "verify_email").await.token();
    let unknown = format!("zce_{}", "A".repeat(43));
    for other in ["", "nonsense", "zce_", unknown.as_str(), &owner.token] {
        assert_eq!(verify(&api, other).await.faults(), [("/token".to_owned(), "token_invalid".to_owned())].into());
    }
    assert_eq!(
        api.send(Method::POST, "/api/v1/auth/verify-email", None, Some(json!({}))).await.faults(),
        [("/token".to_owned(), "required".to_owned())].into()
    );
    for (change, back) in [
        ("UPDATE email_tokens SET expires_at = now()", "UPDATE email_tokens SET expires_at = now() + interval '1 hour'"),
        ("UPDATE email_tokens SET purpose = 'reset_password'", "UPDATE email_tokens SET purpose = 'verify_email'"),
        ("UPDATE users SET email = 'x' || email", "UPDATE users SET email = substr(email, 2)"),
        ("UPDATE users SET deleted_at = now()", "UPDATE users SET deleted_at = NULL"),
        ("UPDATE accounts SET deleted_at = now()", "UPDATE accounts SET deleted_at = NULL"),
    ] {
        api.execute(change).await;
        assert_eq!(verify(&api, &token).await.problem(400).0, "token_invalid", "{change}");
        api.execute(back).await;
    }
    api.execute("UPDATE accounts SET status = 'suspended_abuse', suspended_at = now()").await;
    assert_eq!(verify(&api, &token).await.problem(403).0, "account_suspended");
    api.execute("UPDATE accounts SET status = 'suspended_payment'").await;
    assert_eq!(verify(&api, &token).await.status, StatusCode::NO_CONTENT);
}
