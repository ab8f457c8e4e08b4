//! Downloads: what is in them, who gets them, and when there are none.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::issued::issue;
use crate::support::{Answer, Caller, TestApi, uuid};

async fn requested(api: &TestApi) -> (Caller<'_>, Value) {
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let body = json!({"zone_id": zone, "domain": format!("*.{name}"), "key_algorithm": "ecdsa_p256", "name": "shop"});
    let certificate = caller.post("/certificates", body).await.expect(StatusCode::ACCEPTED);
    (caller, certificate)
}

async fn file(caller: &Caller<'_>, certificate: &Value, kind: &str) -> Answer {
    caller.get(&format!("/certificates/{}/{kind}", certificate["id"].as_str().unwrap())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_of_the_version_in_use_is_given_out() {
    let api = TestApi::start().await;
    let (caller, certificate) = requested(&api).await;
    issue(&caller, &certificate, 1, "issued").await;
    let files = issue(&caller, &certificate, 90, "issued").await;
    let seen = caller.get(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await.expect(StatusCode::OK);
    assert_eq!((&seen["status"], &seen["downloadable"]), (&json!("issued"), &json!(true)));

    let tag = format!("\"{}\"", files.version);
    let all = file(&caller, &certificate, "download").await;
    assert_eq!(all.expect(StatusCode::OK), json!({"certificate": files.leaf, "chain": files.chain, "private_key": files.key}));
    assert_eq!(
        (all.header("content-type"), all.header("cache-control"), all.header("etag")),
        ("application/json", "no-store", tag.as_str())
    );
    for (kind, body, name, caching) in [
        ("pem", format!("{}{}", files.leaf, files.chain), "shop.crt", "private, no-cache"),
        ("chain", files.chain.clone(), "shop.chain.pem", "private, no-cache"),
        ("key", files.key.clone(), "shop.key", "no-store"),
    ] {
        let answer = file(&caller, &certificate, kind).await;
        assert_eq!((answer.status, &answer.text), (StatusCode::OK, &body), "{kind}");
        assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/x-pem-file", caching), "{kind}");
        assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{name}\""));
        assert_eq!(answer.header("etag"), tag);
    }
    let downloads = api.sql("SELECT details->>'version_id' AS version FROM audit_log WHERE action = 'key.downloaded'").await;
    assert_eq!(downloads, vec![json!({"version": files.version}); 2]);
    assert!(!caller.get("/certificates").await.text.contains("PRIVATE KEY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_version_is_told_that_nothing_has_changed() {
    let api = TestApi::start().await;
    let (caller, certificate) = requested(&api).await;
    let old = issue(&caller, &certificate, 30, "issued").await;
    let files = issue(&caller, &certificate, 90, "validating").await;
    for kind in ["pem", "chain", "key", "download"] {
        let path = format!("/api/v1/certificates/{}/{kind}", certificate["id"].as_str().unwrap());
        let ask = async |tag: String| api.send_with(Method::GET, &path, Some(&caller.token), None, &[("If-None-Match", &tag)]).await;
        for tag in
            [format!("\"{}\"", files.version), format!("\"x\", \"{}\"", files.version), format!("W/\"{}\"", files.version), "*".to_owned()]
        {
            let answer = ask(tag).await;
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{kind}");
            assert_eq!(answer.header("etag"), format!("\"{}\"", files.version));
        }
        for tag in [format!("\"{}\"", old.version), "nonsense".to_owned()] {
            assert_eq!(ask(tag).await.status, StatusCode::OK, "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_version_there_is_nothing_to_download() {
    let api = TestApi::start().await;
    let (caller, certificate) = requested(&api).await;
    let refused = async |needle: &str| {
        for kind in ["download", "pem", "chain", "key"] {
            let (code, detail) = file(&caller, &certificate, kind).await.problem(409);
            assert_eq!(code, "certificate_not_ready");
            assert!(detail.contains(needle), "{detail}");
        }
    };
    refused("not issued yet").await;
    let id = uuid(&certificate["id"]);
    api.execute(&format!("UPDATE certificates SET status = 'failed' WHERE id = '{id}'")).await;
    refused("`last_error`").await;
    issue(&caller, &certificate, -1, "expired").await;
    refused("has expired").await;
    issue(&caller, &certificate, 30, "validating").await;
    assert_eq!(file(&caller, &certificate, "pem").await.status, StatusCode::OK);
    api.execute("UPDATE versions SET revoked_at = now()").await;
    api.execute(&format!("UPDATE certificates SET status = 'revoked' WHERE id = '{id}'")).await;
    refused("was revoked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_needs_a_scope_of_its_own() {
    let api = TestApi::start().await;
    let (caller, certificate) = requested(&api).await;
    issue(&caller, &certificate, 90, "issued").await;
    let reader = caller.with_token(&["certificates:read", "zones:read"]).await;
    let keys = caller.with_token(&["keys:read"]).await;
    let both = caller.with_token(&["certificates:read", "keys:read"]).await;
    for (kind, allowed) in [
        ("download", [false, false, true]),
        ("pem", [true, false, true]),
        ("chain", [true, false, true]),
        ("key", [false, true, true]),
        ("logs", [true, false, true]),
    ] {
        for (token, allowed) in [&reader, &keys, &both].into_iter().zip(allowed) {
            let answer = file(token, &certificate, kind).await;
            if allowed {
                assert_eq!(answer.status, StatusCode::OK, "{kind}");
            } else {
                assert_eq!(answer.problem(403).0, "scope_missing", "{kind}");
                assert!(!answer.text.contains("PRIVATE KEY"));
            }
        }
    }
    // Downloads go on working on every plan.
    caller.set_plan("free").await;
    for kind in ["download", "pem", "chain", "key"] {
        assert_eq!(file(&both, &certificate, kind).await.status, StatusCode::OK, "{kind}");
    }
}
