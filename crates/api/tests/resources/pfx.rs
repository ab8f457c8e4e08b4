//! PKCS#12 files.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::{Client, StatusCode};
use serde_json::json;

use crate::downloads::Shop;
use crate::issued::issue;
use crate::support::TestApi;

struct File {
    status: u16,
    etag: String,
    bytes: Vec<u8>,
}

async fn fetch(api: &TestApi, path: &str, headers: &[(&str, &str)]) -> File {
    let mut request = Client::builder().no_proxy().build().unwrap().get(format!("{}{path}", api.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let etag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
    File { status: answer.status().as_u16(), etag, bytes: answer.bytes().await.unwrap().to_vec() }
}

/// What `openssl` finds in it.
fn info(file: &[u8], password: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["pkcs12", "-info", "-noenc", "-passin", &format!("pass:{password}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(file).unwrap();
    let output = openssl.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_the_same_bytes_for_the_same_version_and_password_and_openssl_reads_it() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let path = format!("/api/v1{}/pfx", shop.resources[0]);
    let bearer = format!("Bearer {}", shop.caller.token);
    let get = async |query: &str, password: &str| {
        fetch(&api, &format!("{path}{query}"), &[("Authorization", &bearer), ("X-PFX-Password", password)]).await
    };
    let first = get("", "correct horse").await;
    assert_eq!(first.status, 200);
    let said = info(&first.bytes, "correct horse");
    assert!(said.contains("AES-256-CBC") && said.contains("hmacWithSHA256") && said.contains("MAC: sha256"), "{said}");
    for part in [&shop.files.leaf, &shop.files.chain, &shop.files.key] {
        assert!(said.contains(part.trim()), "{said}");
    }
    let again = get("?encryption=aes256", "correct horse").await;
    assert!(again.bytes == first.bytes && again.etag == first.etag);
    let (other, old) = (get("", "battery staple").await, get("?encryption=3des", "correct horse").await);
    assert!(other.bytes != first.bytes && old.bytes != first.bytes && other.etag != first.etag && old.etag != first.etag);
    assert!(info(&old.bytes, "correct horse").contains("TripleDES"));
    let known = |tag: String, password: &'static str| {
        let (api, path, bearer) = (&api, &path, &bearer);
        async move { fetch(api, path, &[("Authorization", bearer), ("X-PFX-Password", password), ("If-None-Match", &tag)]).await.status }
    };
    assert_eq!(known(first.etag.clone(), "correct horse").await, 304);
    assert_eq!(known(first.etag.clone(), "battery staple").await, 200, "the tag of another password's file");

    issue(&shop.caller, &shop.certificate, 90, "issued").await;
    let renewed = get("", "correct horse").await;
    assert!(renewed.bytes != first.bytes && renewed.etag != first.etag);
    assert_eq!(api.count("pfx_files").await, 1, "files of older versions have gone");
    // With the key goes every file that it is in.
    shop.caller.delete(&shop.resources[0]).await;
    assert_eq!(api.count("pfx_files").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_wants_a_password_and_both_scopes_and_nothing_of_it_is_kept_in_the_clear() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let path = format!("{}/pfx", shop.resources[0]);
    assert_eq!(shop.caller.get(&path).await.problem(400).0, "pfx_password_missing");
    let with = async |token: &str, password: &str| {
        let path = format!("/api/v1{path}");
        api.send_with(reqwest::Method::GET, &path, Some(token), None, &[("X-PFX-Password", password)]).await
    };
    for password in [String::new(), "x".repeat(129), "é".to_owned()] {
        assert_eq!(with(&shop.caller.token, &password).await.problem(400).0, "pfx_password_invalid");
    }
    for scopes in [["certificates:read"], ["keys:read"]] {
        let token = shop.caller.with_token(&scopes).await.token;
        assert_eq!(with(&token, "correct horse").await.problem(403).0, "scope_missing");
    }
    let choice = shop.caller.get(&format!("{path}?encryption=rc2")).await;
    assert_eq!(choice.problem(400).0, "unknown_choice");
    assert_eq!(with(&shop.caller.token, "correct horse").await.status, StatusCode::OK);
    let row = &api
        .sql("SELECT encode(sealed, 'escape') AS sealed, audit.details FROM pfx_files, audit_log AS audit WHERE action = 'key.downloaded'")
        .await[0];
    assert!(!row.to_string().contains("correct horse"), "{row}");
    assert_eq!(row["details"]["form"], "pfx");
    api.execute("UPDATE versions SET revoked_at = now()").await;
    assert_eq!(with(&shop.caller.token, "correct horse").await.problem(409).0, "certificate_not_ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_get_the_same_file_and_the_oldest_of_too_many_passwords_goes() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let path = format!("/api/v1{}/pfx", shop.resources[0]);
    let bearer = format!("Bearer {}", shop.caller.token);
    let get = async |password: &str| fetch(&api, &path, &[("Authorization", &bearer), ("X-PFX-Password", password)]).await;
    let all = futures::future::join_all((0..8).map(|_| get("correct horse"))).await;
    assert!(all.iter().all(|file| file.status == 200 && file.bytes == all[0].bytes));
    for number in 0..16 {
        assert_eq!(get(&format!("password {number}")).await.status, 200);
    }
    assert_eq!(api.count("pfx_files").await, 16);
    assert!(get("correct horse").await.bytes != all[0].bytes, "it was the oldest");
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_wardens_file_is_encrypted_with_the_private_keys_api_key() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let [certificate, key] = &shop.keys;
    let both = format!("{certificate}.{key}");
    let get =
        async |query: &str, key: &str| fetch(&api, &format!("/certwarden/api/v1/download/pfx/shop{query}"), &[("X-API-Key", key)]).await;
    let first = get("", &both).await;
    assert_eq!(first.status, 200);
    let said = info(&first.bytes, key);
    assert!(said.contains("AES-256-CBC") && said.contains(shop.files.key.trim()), "{said}");
    for query in ["?3des", "?3des=1", "?x=1&3des"] {
        let old = get(query, &both).await;
        assert!(info(&old.bytes, key).contains("TripleDES"), "{query}");
        assert!(old.etag != first.etag);
    }
    let made = shop.caller.post(&format!("{}/api-keys", shop.resources[1]), json!({})).await.expect(StatusCode::CREATED);
    let next = made["api_key"].as_str().unwrap();
    let other = get("", &format!("{certificate}.{next}")).await;
    assert!(other.etag != first.etag && other.bytes != first.bytes);
    info(&other.bytes, next);
}
