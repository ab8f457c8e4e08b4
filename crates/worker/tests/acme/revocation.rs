//! Revocation: what is sent, by whom it is signed, and what becomes of each kind of answer.

use std::sync::Arc;

use anyhow::Result;
use serde_json::json;
use zonecert_domain::failure::{Failure, FailureClass, FailureCode};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::revocation::RevocationReason;
use zonecert_pki::PrivateKey;
use zonecert_worker::acme::{AcmeDirectory, AcmeSettings};

use crate::canned_ca::{CannedCa, Reply};
use crate::database::{fresh, master_keys, stack};

const LEAF: &[u8] = b"\xfb\xff\xfe a certificate";
const LEAF_BASE64URL: &str = "-__-IGEgY2VydGlmaWNhdGU";

async fn directory(settings: AcmeSettings) -> Result<AcmeDirectory> {
    let database = fresh(&stack().await?).await?;
    Ok(AcmeDirectory::new(settings, database.store, Arc::new(master_keys('k')))?)
}

/// By our account, and by the certificate's key.
async fn both(directory: &AcmeDirectory, key: &PrivateKey, reason: RevocationReason) -> [Result<(), Failure>; 2] {
    [directory.revoke(LEAF, reason).await, directory.revoke_with_key(LEAF, key, reason).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_and_the_reason_are_sent_signed_by_the_account_or_by_the_key() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    for reason in RevocationReason::ALL {
        let mut expected = json!({ "certificate": LEAF_BASE64URL });
        if reason != RevocationReason::Unspecified {
            expected["reason"] = json!(reason.number());
        }
        directory.revoke(LEAF, reason).await?;
        let (header, payload) = ca.last_signed("/revoke");
        assert_eq!(payload, expected);
        assert_eq!((&header["kid"], &header["url"]), (&json!(ca.url("/account/1")), &json!(ca.url("/revoke"))));

        for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
            let key = PrivateKey::generate(algorithm)?;
            directory.revoke_with_key(LEAF, &key, reason).await?;
            let (header, payload) = ca.last_signed("/revoke");
            assert_eq!(payload, expected);
            let jwk: serde_json::Value = serde_json::from_str(&key.public_jwk_json()?)?;
            assert_eq!(header, json!({ "alg": key.jws_algorithm(), "jwk": jwk, "nonce": "bm9uY2U", "url": ca.url("/revoke") }));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_answer_has_its_failure_and_keeps_its_retry_after() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
    let limited = Reply::problem(429, "rateLimited", "too many revocations").with("retry-after", "120");
    for (reply, code, class, retry_after) in [
        (Reply::problem(400, "alreadyRevoked", "done"), FailureCode::AcmeAlreadyRevoked, FailureClass::Final, None),
        (Reply::problem(400, "badRevocationReason", "no"), FailureCode::AcmeBadRevocationReason, FailureClass::Final, None),
        (Reply::problem(403, "unauthorized", "not yours"), FailureCode::RevocationRefused, FailureClass::Final, None),
        (Reply::problem(404, "malformed", "no such certificate"), FailureCode::CertificateUnknown, FailureClass::Heal, None),
        (Reply::page(404, "<html>"), FailureCode::CertificateUnknown, FailureClass::Heal, None),
        (Reply::problem(400, "malformed", "what?"), FailureCode::AcmeMalformed, FailureClass::Final, None),
        (limited, FailureCode::AcmeRateLimited, FailureClass::Heal, Some(120)),
        (Reply::problem(500, "serverInternal", "oops"), FailureCode::AcmeServerInternal, FailureClass::Heal, None),
        (Reply::page(503, "<html>busy</html>"), FailureCode::CaMalformedAnswer, FailureClass::Heal, None),
        (Reply::page(302, "<html>elsewhere</html>"), FailureCode::CaMalformedAnswer, FailureClass::Heal, None),
        (Reply::BreakOff, FailureCode::CaUnreachable, FailureClass::Heal, None),
    ] {
        ca.answer("/revoke", reply);
        for answered in both(&directory, &key, RevocationReason::Superseded).await {
            let failure = answered.expect_err("the CA has not revoked it");
            let wait = failure.retry_after.map(|wait| wait.as_secs());
            assert_eq!((failure.code, failure.class(), wait), (code, class, retry_after), "{failure}");
        }
    }
    ca.answer("/revoke", Reply::page(200, ""));
    assert!(both(&directory, &key, RevocationReason::Superseded).await.iter().all(Result::is_ok), "nothing of it sticks");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_is_rejected_again_and_again_is_given_up_after_three() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
    ca.answer("/revoke", Reply::problem(400, "badNonce", "unacceptable nonce"));
    for answered in both(&directory, &key, RevocationReason::Unspecified).await {
        assert_eq!(answered.map_err(|failure| failure.code), Err(FailureCode::AcmeBadNonce));
    }
    assert_eq!(ca.count("/revoke"), 6, "three each");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_ca_has_lost_is_told_from_a_refusal() -> Result<()> {
    let ca = CannedCa::start().await?;
    ca.answer("/revoke", Reply::problem(400, "accountDoesNotExist", "who are you?"));
    for recreate_account in [false, true] {
        let directory = directory(AcmeSettings { recreate_account, ..ca.settings() }).await?;
        let answered = directory.revoke(LEAF, RevocationReason::Unspecified).await;
        assert_eq!(answered.map_err(|failure| failure.code), Err(FailureCode::AcmeAccountDoesNotExist));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_does_not_revoke_has_a_malformed_directory() -> Result<()> {
    let ca = CannedCa::start().await?;
    let directory = directory(ca.settings()).await?;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
    let urls = json!({"newNonce": ca.url("/nonce"), "newAccount": ca.url("/new-account"), "newOrder": ca.url("/new-order")});
    ca.answer("/dir", Reply::json(200, &urls));
    for answered in both(&directory, &key, RevocationReason::Unspecified).await {
        assert_eq!(answered.map_err(|failure| failure.code), Err(FailureCode::CaMalformedAnswer));
    }
    Ok(())
}
