//! What becomes of each kind of answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_worker::acme::{AcmeDirectory, AcmeSettings, AuthorizationStatus, OrderStatus};

use crate::canned_ca::{CannedCa, Reply};
use crate::database::{fresh, master_keys, stack};

async fn directory(settings: AcmeSettings) -> Result<AcmeDirectory> {
    let database = fresh(&stack().await?).await?;
    Ok(AcmeDirectory::new(settings, database.store, Arc::new(master_keys('k')))?)
}

async fn order_failure(directory: &AcmeDirectory, ca: &CannedCa) -> Failure {
    directory.order(&ca.url("/order/1")).await.expect_err("the CA does not answer well")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_answer_has_its_failure_and_keeps_its_retry_after() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    let limited = Reply::problem(429, "rateLimited", "too many new orders\u{7} recently");
    let busy = Reply::page(503, "<html><h1>busy</h1></html>");
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let endless = json!({"status": "ready", "authorizations": [], "finalize": "", "padding": "x".repeat(2 * 1024 * 1024)});
    // What the answer before the last one says is not what the last one says.
    ca.answer("/nonce", Reply::page(200, "").with("retry-after", "999"));
    for (reply, code, retry_after) in [
        (limited.clone().with("retry-after", "120"), FailureCode::AcmeRateLimited, Some(120)),
        (limited.with("date", date).with("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"), FailureCode::AcmeRateLimited, Some(60)),
        (busy.clone().with("retry-after", "30"), FailureCode::CaMalformedAnswer, Some(30)),
        (busy, FailureCode::CaMalformedAnswer, None),
        (Reply::page(200, "<html>log in</html>"), FailureCode::CaMalformedAnswer, None),
        (Reply::json(200, &json!({"status": "dreaming"})), FailureCode::CaMalformedAnswer, None),
        (Reply::json(200, &endless), FailureCode::CaMalformedAnswer, None),
        (Reply::problem(500, "serverInternal", "oops"), FailureCode::AcmeServerInternal, None),
        (Reply::problem(404, "malformed", "no such order"), FailureCode::OrderLost, None),
        (Reply::page(404, "<html>not found</html>"), FailureCode::OrderLost, None),
        (Reply::BreakOff, FailureCode::CaUnreachable, None),
    ] {
        ca.answer("/order/1", reply);
        let failure = order_failure(&directory, &ca).await;
        assert_eq!((failure.code, failure.retry_after.map(|wait| wait.as_secs())), (code, retry_after), "{failure}");
        assert!(!failure.detail().contains(char::is_control) && !failure.detail().contains("html"), "{failure}");
    }
    ca.answer_order(1, "ready");
    assert_eq!(directory.order(&ca.url("/order/1")).await?.status, OrderStatus::Ready, "nothing of it sticks");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_does_not_answer_is_waited_for_no_longer_than_is_set() -> Result<()> {
    let ca = CannedCa::start().await?;
    let within = Duration::from_millis(300);
    let directory = directory(AcmeSettings { request_timeout: within, ..ca.settings() }).await?;
    directory.account().await?;
    ca.answer("/order/1", Reply::Silence);
    let failure = tokio::time::timeout(Duration::from_secs(10), order_failure(&directory, &ca)).await?;
    assert_eq!(failure.code, FailureCode::CaUnreachable);
    assert!(failure.detail().contains("0.3 s"), "{failure}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_is_rejected_again_and_again_is_a_failure_that_heals() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    ca.answer("/order/1", Reply::problem(400, "badNonce", "unacceptable nonce"));
    assert_eq!(order_failure(&directory, &ca).await.code, FailureCode::AcmeBadNonce);
    assert_eq!(ca.count("/order/1"), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_orders_at_once_each_hear_their_own_retry_after() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    for number in 1..=100_u32 {
        let limited = Reply::problem(429, "rateLimited", "too many").with("retry-after", number.to_string());
        ca.answer(&format!("/order/{number}"), limited);
    }
    let urls: Vec<String> = (1..=100).map(|number| ca.url(&format!("/order/{number}"))).collect();
    let answers = futures::future::join_all(urls.iter().map(|url| directory.order(url))).await;
    for (wait, answer) in (1..).zip(answers) {
        assert_eq!(answer.expect_err("limited").retry_after, Some(Duration::from_secs(wait)));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_wait_for_the_account_share_its_failure() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(AcmeSettings { request_timeout: Duration::from_secs(1), ..ca.settings() }).await?;
    ca.answer("/dir", Reply::Silence);
    let answers = futures::future::join_all((0..100).map(|_| directory.account())).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(|failure| failure.code == FailureCode::CaUnreachable)));
    assert_eq!(ca.count("/dir"), 1, "a dead CA is asked once, not a hundred times in a row");
    ca.answer("/dir", Reply::page(503, "<html>"));
    assert_eq!(directory.account().await.err().map(|failure| failure.code), Some(FailureCode::CaMalformedAnswer), "the next one asks anew");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_has_moved_its_urls_is_fetched_again() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    directory.account().await?;
    let moved = json!({"newNonce": ca.url("/nonce"), "newAccount": ca.url("/new-account"), "newOrder": ca.url("/v2/new-order")});
    ca.answer("/dir", Reply::json(200, &moved));
    ca.answer("/new-order", Reply::problem(404, "malformed", "page not found"));
    ca.answer(
        "/v2/new-order",
        Reply::json(201, &json!({"status": "pending", "authorizations": [], "finalize": ""})).with("location", ca.url("/order/9")),
    );
    let failure = directory.new_order(&["app.example.com"]).await.expect_err("the old URL is gone");
    assert_eq!(failure.code, FailureCode::CaMalformedAnswer, "{failure}");
    assert_eq!(directory.new_order(&["app.example.com"]).await?.url, ca.url("/order/9"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_is_sent_to_an_order_that_is_ready_and_to_no_other() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    let url = ca.url("/order/1");
    for (name, status) in [
        ("pending", OrderStatus::Pending),
        ("processing", OrderStatus::Processing),
        ("valid", OrderStatus::Valid),
        ("invalid", OrderStatus::Invalid),
    ] {
        ca.answer_order(1, name);
        assert_eq!(directory.finalize(&url, b"request").await?.status, status);
    }
    assert_eq!(ca.count("/finalize/1"), 0);
    ca.answer_order(1, "ready");
    assert_eq!(directory.finalize(&url, b"request").await?.status, OrderStatus::Processing);
    assert_eq!(ca.count("/finalize/1"), 1);
    ca.answer("/finalize/1", Reply::problem(403, "orderNotReady", "it is being finalized"));
    assert_eq!(directory.finalize(&url, b"request").await?.status, OrderStatus::Ready, "what the CA says then is reported");
    ca.answer("/finalize/1", Reply::problem(400, "badCSR", "weak key"));
    assert_eq!(directory.finalize(&url, b"request").await.expect_err("refused").code, FailureCode::AcmeBadCsr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ca_is_told_of_pending_challenges_and_of_no_others() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    let (order, authorization) = (ca.url("/order/1"), ca.url("/authz/1"));
    directory.notify(&order, &[ca.url("/authz/2")]).await?;
    for (status, challenge) in [("pending", "processing"), ("valid", "valid"), ("invalid", "invalid")] {
        ca.answer_authorization(1, status, "dns-01", challenge);
        directory.notify(&order, &[&authorization]).await?;
    }
    assert_eq!(ca.count("/challenge/1"), 0);
    ca.answer_authorization(1, "pending", "dns-01", "pending");
    directory.notify(&order, &[&authorization]).await?;
    assert_eq!(ca.count("/challenge/1"), 1);
    ca.answer("/challenge/1", Reply::problem(400, "malformed", "the challenge is not pending"));
    let refused = directory.notify(&order, &[&authorization]).await.expect_err("pending, and still refused");
    assert_eq!((refused.code, ca.count("/challenge/1")), (FailureCode::AcmeMalformed, 3), "one look more, and no endless dance");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_says_why_it_cannot_become_valid() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    let order = ca.url("/order/1");
    for (status, challenge_type, expected, code) in [
        ("pending", "dns-01", AuthorizationStatus::Pending, None),
        ("pending", "http-01", AuthorizationStatus::Pending, Some(FailureCode::ChallengeNotOffered)),
        ("valid", "http-01", AuthorizationStatus::Valid, None),
        ("invalid", "dns-01", AuthorizationStatus::Invalid, Some(FailureCode::OrderInvalid)),
        ("expired", "dns-01", AuthorizationStatus::Expired, Some(FailureCode::OrderExpired)),
        ("revoked", "dns-01", AuthorizationStatus::Revoked, Some(FailureCode::OrderInvalid)),
        ("deactivated", "dns-01", AuthorizationStatus::Deactivated, Some(FailureCode::OrderInvalid)),
    ] {
        ca.answer_authorization(1, status, challenge_type, "pending");
        let seen = directory.authorizations(&order).await?;
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].status, seen[0].problem.as_ref().map(|problem| problem.code)), (expected, code), "{status}");
        assert_eq!(seen[0].txt_value.is_some(), challenge_type == "dns-01");
        assert!(seen[0].problem.as_ref().is_none_or(|problem| problem.detail().starts_with("app.example.com: ")), "{seen:?}");
    }
    let one = directory.authorization(&order, &ca.url("/authz/1")).await?;
    assert_eq!(one.status, AuthorizationStatus::Deactivated);
    assert!(directory.authorization(&order, &ca.url("/authz/7")).await.is_err());
    Ok(())
}
