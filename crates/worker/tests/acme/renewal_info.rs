//! When the CA suggests to renew (RFC 9773): what it may answer, and what is made of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_worker::acme::{AcmeDirectory, AcmeSettings, RenewalInfo};

use crate::canned_ca::{CannedCa, Reply};
use crate::database::{fresh, master_keys, stack};

const IDENTIFIER: &str = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";

/// A CA that offers renewal information, and a worker's way to it.
async fn scene() -> Result<(CannedCa, AcmeDirectory)> {
    let ca = CannedCa::start().await?;
    ca.answer("/dir", directory(&ca, Some("/renewal-info")));
    let client = client(&ca).await?;
    Ok((ca, client))
}

async fn client(ca: &CannedCa) -> Result<AcmeDirectory> {
    let settings = AcmeSettings { request_timeout: Duration::from_secs(2), ..ca.settings() };
    Ok(AcmeDirectory::new(settings, fresh(&stack().await?).await?.store, Arc::new(master_keys('k')))?)
}

fn directory(ca: &CannedCa, renewal_info: Option<&str>) -> Reply {
    let mut directory = json!({"newNonce": ca.url("/nonce"), "newAccount": ca.url("/new-account"), "newOrder": ca.url("/new-order")});
    if let Some(path) = renewal_info {
        directory["renewalInfo"] = json!(ca.url(path));
    }
    Reply::json(200, &directory)
}

fn window(start: &str, end: &str) -> Value {
    json!({"suggestedWindow": {"start": start, "end": end}})
}

fn path() -> String {
    format!("/renewal-info/{IDENTIFIER}")
}

async fn ask(client: &AcmeDirectory) -> Result<Option<RenewalInfo>, Failure> {
    client.renewal_info(IDENTIFIER).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_read_with_its_reason_and_when_to_ask_again() -> Result<()> {
    let (ca, client) = scene().await?;
    let mut answer = window("2031-01-03T00:00:00Z", "2031-01-05T12:00:00.5+02:00");
    answer["explanationURL"] = json!("https://ca.test/incident");
    ca.answer(&path(), Reply::json(200, &answer).with("retry-after", "21600"));
    for _ in 0..2 {
        let info = ask(&client).await?.context("the CA tells")?;
        assert_eq!(info.window.start.to_rfc3339(), "2031-01-03T00:00:00+00:00");
        assert_eq!(info.window.end.to_rfc3339(), "2031-01-05T10:00:00.500+00:00");
        assert_eq!(info.explanation_url.as_deref(), Some("https://ca.test/incident"));
        assert_eq!(info.retry_after, Some(Duration::from_hours(6)));
    }
    assert!(client.offers_renewal_info().await?);
    assert_eq!((ca.count("/dir"), ca.count(&path())), (1, 2), "the directory is kept");
    assert_eq!(ca.count("/new-account"), 0, "nothing is signed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shown_to_people_is_left_out() -> Result<()> {
    let (ca, client) = scene().await?;
    for url in ["javascript:alert(1)", "not a URL", &format!("https://ca.test/{}", "x".repeat(2000))] {
        let mut answer = window("2031-01-03T00:00:00Z", "2031-01-05T00:00:00Z");
        answer["explanationURL"] = json!(url);
        ca.answer(&path(), Reply::json(200, &answer));
        assert_eq!(ask(&client).await?.context("the CA tells")?.explanation_url, None, "{url}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_offers_none_is_not_asked() -> Result<()> {
    let ca = CannedCa::start().await?;
    let client = client(&ca).await?;
    assert_eq!(ask(&client).await?, None);
    assert!(!client.offers_renewal_info().await?);
    assert_eq!(ca.count("/dir"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_that_is_no_window_is_a_failure_of_its_kind() -> Result<()> {
    let (ca, client) = scene().await?;
    for (what, reply, code) in [
        (
            "over before it begins",
            Reply::json(200, &window("2031-01-05T00:00:00Z", "2031-01-03T00:00:00Z")),
            FailureCode::CaMalformedAnswer,
        ),
        ("no time at all", Reply::json(200, &window("2031-01-05T00:00:00Z", "2031-01-05T00:00:00Z")), FailureCode::CaMalformedAnswer),
        ("no date", Reply::json(200, &window("soon", "later")), FailureCode::CaMalformedAnswer),
        ("nothing in it", Reply::json(200, &json!({})), FailureCode::CaMalformedAnswer),
        ("a page", Reply::page(200, "<html>"), FailureCode::CaMalformedAnswer),
        ("trouble of its own", Reply::json(500, &json!({})), FailureCode::AcmeServerInternal),
        ("a page about trouble", Reply::page(503, "<html>"), FailureCode::CaMalformedAnswer),
        ("too many questions", Reply::problem(429, "rateLimited", "slow down"), FailureCode::AcmeRateLimited),
        ("not its certificate", Reply::problem(404, "malformed", "no such certificate"), FailureCode::OrderLost),
        ("no connection", Reply::BreakOff, FailureCode::CaUnreachable),
        ("no answer", Reply::Silence, FailureCode::CaUnreachable),
    ] {
        ca.answer(&path(), reply.with("retry-after", "90"));
        let failure = ask(&client).await.expect_err(what);
        assert_eq!(failure.code, code, "{what}: {failure}");
        if code == FailureCode::AcmeRateLimited {
            assert_eq!(failure.retry_after, Some(Duration::from_secs(90)));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_away_is_asked_again_after_a_while_and_not_by_every_question() -> Result<()> {
    let ca = CannedCa::start().await?;
    ca.answer("/dir", Reply::page(502, "<html>"));
    let client = client(&ca).await?;
    for _ in 0..5 {
        assert!(ask(&client).await.is_err());
    }
    assert_eq!(ca.count("/dir"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_replaces_a_certificate_is_taken_where_the_ca_repeats_it_and_refused_with_its_words() -> Result<()> {
    let (ca, client) = scene().await?;
    let names = ["app.example.com"];
    let order = |replaces: Option<&str>| {
        let mut order = json!({
            "status": "pending", "identifiers": [{"type": "dns", "value": "app.example.com"}], "authorizations": [ca.url("/authz/1")],
            "finalize": ca.url("/finalize/1"),
        });
        if let Some(replaces) = replaces {
            order["replaces"] = json!(replaces);
        }
        Reply::json(201, &order).with("location", ca.url("/order/1"))
    };
    ca.answer("/new-order", order(Some(IDENTIFIER)));
    assert_eq!(client.new_order_with(&names, Some(IDENTIFIER), None).await?.url, ca.url("/order/1"));

    ca.answer("/new-order", order(None));
    assert!(client.new_order_with(&names, Some(IDENTIFIER), None).await.is_err(), "a CA must repeat what it has understood (RFC 9773 §5)");
    assert_eq!(client.new_order_with(&names, None, None).await?.url, ca.url("/order/1"));

    ca.answer("/new-order", Reply::problem(409, "alreadyReplaced", "replaced by another"));
    let refused = client.new_order_with(&names, Some(IDENTIFIER), None).await.expect_err("it was replaced already");
    assert_eq!((refused.code, refused.detail()), (FailureCode::AcmeAlreadyReplaced, "replaced by another"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_are_those_of_the_directory_that_can_be_shown() -> Result<()> {
    let ca = CannedCa::start().await?;
    let mut offering = json!({"newNonce": ca.url("/nonce"), "newAccount": ca.url("/new-account"), "newOrder": ca.url("/new-order")});
    offering["meta"] = json!({"profiles": {
        "shortlived": "https://ca.test/profiles#shortlived", "classic": 7, "": "nameless", "line\nbreak": "", "long": "x".repeat(1001),
        "x".repeat(101): "",
    }});
    ca.answer("/dir", Reply::json(200, &offering));
    let directory = client(&ca).await?;
    let expected = [("classic", ""), ("long", ""), ("shortlived", "https://ca.test/profiles#shortlived")];
    assert_eq!(directory.profiles().await?, expected.map(|(name, description)| (name.to_owned(), description.to_owned())));
    assert!(directory.offers_profile("shortlived").await? && !directory.offers_profile("tlsserver").await?);
    assert_eq!((ca.count("/dir"), ca.count("/new-account")), (1, 0));

    for meta in [json!({}), json!({"profiles": ["a"]}), json!(null)] {
        offering["meta"] = meta;
        ca.answer("/dir", Reply::json(200, &offering));
        assert_eq!(client(&ca).await?.profiles().await?, []);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_the_ca_does_not_take_is_a_failure_of_its_own() -> Result<()> {
    let (ca, client) = scene().await?;
    ca.answer("/new-order", Reply::problem(400, "invalidProfile", "no profile x"));
    let refused = client.new_order_with(&["app.example.com"], None, Some("x")).await.expect_err("it offers none");
    assert_eq!((refused.code, refused.detail()), (FailureCode::AcmeInvalidProfile, "no profile x"));
    Ok(())
}
