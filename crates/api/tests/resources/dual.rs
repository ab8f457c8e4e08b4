//! Dual certificates: RSA beside ECDSA for the same names.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_domain::key::KeyType;

use crate::issued::{issue, issue_alternate};
use crate::support::{Caller, TestApi};

const FILES: [&str; 4] = ["download", "pem", "chain", "key"];

async fn requested(caller: &Caller<'_>) -> Value {
    let (zone, name) = caller.verified_zone().await;
    let wish =
        json!({"zone_id": zone, "domain": name, "name": "shop", "key_algorithm": "ecdsa_p256", "alternate_key_algorithm": "rsa2048"});
    caller.post("/certificates", wish).await.expect(StatusCode::ACCEPTED)
}

fn at(certificate: &Value) -> String {
    format!("/certificates/{}", certificate["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dual_certificate_has_two_keys_of_different_types() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let certificate = requested(&caller).await;
    let alternate = &certificate["alternate"];
    let key = alternate["private_key_id"].as_str().unwrap();
    assert_eq!(alternate, &json!({"key_algorithm": "rsa2048", "private_key_id": key, "downloadable": false, "version": null}));
    assert_ne!(certificate["private_key_id"], alternate["private_key_id"]);
    let resource = caller.get(&format!("/keys/{key}")).await.expect(StatusCode::OK);
    assert_eq!((&resource["name"], &resource["algorithm"]), (&json!("shop-rsa"), &json!("rsa2048")));
    assert_eq!(resource["certificate_ids"], json!([certificate["id"]]), "{resource}");
    assert_eq!(caller.send(Method::DELETE, &format!("/keys/{key}"), None).await.problem(409).0, "key_in_use");

    // Who is to fetch that key apart gets one that is kept.
    caller.send(Method::POST, &format!("/keys/{key}/api-keys"), None).await.expect(StatusCode::CREATED);
    assert_eq!(caller.get(&at(&certificate)).await.expect(StatusCode::OK)["key_policy"], "keep");

    // One that has one key says so.
    let (zone, name) = caller.verified_zone().await;
    assert_eq!(caller.certificate(&zone, &name).await["alternate"], Value::Null);
    // Two of one type are of no use, whichever way they come together.
    let wish = |more: Value| {
        let mut wish = json!({"zone_id": zone, "domain": format!("more.{name}"), "alternate_key_algorithm": "rsa4096"});
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        wish
    };
    for more in [json!({}), json!({"key_algorithm": "rsa2048"})] {
        assert_eq!(caller.post("/certificates", wish(more)).await.problem(400).0, "key_types_equal");
    }
    let rsa = caller.post("/keys", json!({"name": "mine", "algorithm": "rsa2048"})).await.expect(StatusCode::CREATED);
    let shared = caller.post("/certificates", wish(json!({"private_key_id": rsa["id"]}))).await;
    assert_eq!(shared.problem(400).0, "key_types_equal");
    for change in [json!({"key_algorithm": "rsa4096"}), json!({"private_key_id": rsa["id"]})] {
        let refused = caller.send(Method::PATCH, &at(&certificate), Some(change.clone())).await;
        assert_eq!(refused.problem(400).0, "key_types_equal", "{change}");
    }
    let changed = caller.send(Method::PATCH, &at(&certificate), Some(json!({"key_algorithm": "ecdsa_p384"}))).await;
    assert_eq!(changed.expect(StatusCode::OK)["key_algorithm"], "ecdsa_p384");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_with_either_key_are_given_out() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let certificate = requested(&caller).await;
    let file = async |kind: &str, query: &str| caller.get(&format!("{}/{kind}{query}", at(&certificate))).await;
    for kind in FILES {
        assert_eq!(file(kind, "?key_type=rsa").await.problem(409).0, "certificate_not_ready", "{kind}");
        assert_eq!(file(kind, "?key_type=dsa").await.problem(400).0, "unknown_choice", "{kind}");
    }
    let first = issue(&caller, &certificate, 80, "issued").await;
    for kind in FILES {
        assert_eq!(file(kind, "?key_type=rsa").await.problem(409).0, "no_version_of_key_type", "{kind}");
    }
    let second = issue_alternate(&caller, &certificate, 80).await;
    for (query, files) in [("", &first), ("?key_type=ecdsa", &first), ("?key_type=rsa", &second)] {
        let all = file("download", query).await;
        assert_eq!(all.expect(StatusCode::OK), json!({"certificate": files.leaf, "chain": files.chain, "private_key": files.key}));
        assert_eq!(file("pem", query).await.text, format!("{}{}", files.leaf, files.chain));
        assert_eq!(file("chain", query).await.text, files.chain);
        let key = file("key", query).await;
        assert_eq!((&key.text, key.header("etag")), (&files.key, format!("\"{}\"", files.version).as_str()));
    }
    let seen = caller.get(&at(&certificate)).await.expect(StatusCode::OK);
    assert_eq!((&seen["current_version"]["id"], &seen["alternate"]["version"]["id"]), (&json!(first.version), &json!(second.version)));
    assert_eq!(seen["alternate"]["downloadable"], true);
    let versions = caller.get(&format!("{}/versions", at(&certificate))).await.expect(StatusCode::OK);
    let listed: Vec<_> = versions["versions"].as_array().unwrap().iter().map(|v| (&v["is_current"], &v["key"]["algorithm"])).collect();
    assert_eq!(listed, [(&json!(true), &json!("rsa2048")), (&json!(true), &json!("ecdsa_p256"))]);

    // PKCS#12, of which each keeps its own.
    let password = [("X-PFX-Password", "correct horse")];
    let pfx = async |key_type: KeyType| {
        let path = format!("/api/v1{}/pfx?key_type={key_type}", at(&certificate));
        let answer = api.send_with(Method::GET, &path, Some(&caller.token), None, &password).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.header("etag").to_owned()
    };
    let (rsa, ecdsa) = (pfx(KeyType::Rsa).await, pfx(KeyType::Ecdsa).await);
    assert_ne!(rsa, ecdsa);
    assert_eq!((pfx(KeyType::Rsa).await, pfx(KeyType::Ecdsa).await), (rsa, ecdsa));

    // A certificate goes with both.
    caller.send(Method::DELETE, &at(&certificate), None).await;
    assert_eq!(api.sql("SELECT count(*) AS material FROM key_versions WHERE destroyed_at IS NULL").await, [json!({"material": 0})]);
}
