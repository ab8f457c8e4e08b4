//! `POST /certificates/upload` and what differs for an uploaded certificate.

use std::collections::{BTreeMap, BTreeSet};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::pfx::Encryption;
use zonecert_pki::{CertificateChain, PfxFile, PrivateKey};

use crate::support::{Caller, TestApi};

/// A certificate for these names with its issuer, and its key.
struct Pair {
    pem: String,
    key: PrivateKey,
}

impl Pair {
    fn new(names: &[&str]) -> Self {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let leaf_key = KeyPair::from_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&leaf_key, &authority).unwrap();
        Self { pem: leaf.pem() + &authority.pem(), key }
    }

    fn chain(&self) -> CertificateChain {
        CertificateChain::parse_pem(&self.pem).unwrap()
    }

    fn body(&self) -> Value {
        json!({"certificate": self.pem, "private_key": self.key.to_pkcs8_pem().unwrap().as_str()})
    }
}

fn at(certificate: &Value) -> String {
    format!("/certificates/{}", certificate["id"].as_str().unwrap())
}

async fn upload(caller: &Caller<'_>, pair: &Pair) -> Value {
    let answer = caller.post("/certificates/upload", pair.body()).await.expect(StatusCode::CREATED);
    assert_eq!(answer["warnings"], json!([]), "{answer}");
    answer["certificate"].clone()
}

async fn listed(caller: &Caller<'_>, query: &str) -> Vec<Value> {
    let page = caller.get(&format!("/certificates?{query}")).await.expect(StatusCode::OK);
    page["certificates"].as_array().unwrap().iter().map(|certificate| certificate["id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_a_certificate_like_others() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let pair = Pair::new(&["shop.example.com", "*.example.com"]);
    let certificate = upload(&caller, &pair).await;
    let expected = json!({
        "kind": "uploaded", "name": "shop.example.com", "domain": "shop.example.com", "sans": ["*.example.com"], "status": "issued",
        "downloadable": true, "auto_renew": false, "zone_id": null, "next_renewal_at": null, "key_algorithm": "ecdsa_p256",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&certificate[field], value, "{field}");
    }
    let files = caller.get(&format!("{}/download", at(&certificate))).await.expect(StatusCode::OK);
    assert_eq!(files["certificate"], pair.chain().leaf_pem());
    assert_eq!(files["chain"], pair.chain().issuers_pem());
    assert_eq!(files["private_key"], pair.key.to_pkcs8_pem().unwrap().as_str());
    let versions = caller.get(&format!("{}/versions", at(&certificate))).await.expect(StatusCode::OK);
    let version = &versions["versions"][0];
    assert_eq!((version["source"].as_str(), version["number"].as_i64()), (Some("upload"), Some(1)));
    assert_eq!(version["x509"]["key_type"], "ec");
    assert_eq!(version["x509"]["key_size"], 256);
    assert_eq!(version["x509"]["side"], "server");
    // Several may have the domain.
    assert_eq!(upload(&caller, &Pair::new(&["shop.example.com"])).await["name"], "shop.example.com-2");
    let stranger = api.register("plus").await;
    stranger.get(&at(&certificate)).await.expect(StatusCode::NOT_FOUND);
    stranger.post(&format!("{}/versions", at(&certificate)), pair.body()).await.expect(StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_takes_over_with_its_names() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (first, second) = (Pair::new(&["old.example.com"]), Pair::new(&["new.example.com"]));
    let certificate = upload(&caller, &first).await;
    let answer = caller.post(&format!("{}/versions", at(&certificate)), second.body()).await.expect(StatusCode::CREATED);
    let after = &answer["certificate"];
    assert_eq!((&after["id"], after["domain"].as_str()), (&certificate["id"], Some("new.example.com")));
    assert_eq!(after["current_version"]["fingerprint_sha256"], second.chain().sha256_fingerprint_hex());
    let before = format!("{}/versions/{}/activate", at(&certificate), certificate["current_version"]["id"].as_str().unwrap());
    let back = caller.send(Method::POST, &before, None).await.expect(StatusCode::OK);
    assert_eq!(back["domain"], "old.example.com");
    assert_eq!(back["current_version"]["fingerprint_sha256"], first.chain().sha256_fingerprint_hex());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pkcs12_file_is_taken_and_expiry_is_no_fault() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let pair = Pair::new(&["pfx.example.com"]);
    let file = PfxFile::make(&pair.chain(), &pair.key, "x", "secret", Encryption::Aes256).unwrap();
    let pfx = openssl_base64(file.der());
    let body = json!({"name": "from-pfx", "pfx": pfx, "passphrase": "secret"});
    let answer = caller.post("/certificates/upload", body).await.expect(StatusCode::CREATED);
    assert_eq!(answer["certificate"]["current_version"]["fingerprint_sha256"], pair.chain().sha256_fingerprint_hex());
    let wrong = caller.post("/certificates/upload", json!({"pfx": pfx, "passphrase": "other"})).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!((wrong["code"].as_str(), wrong["errors"][0]["pointer"].as_str()), (Some("passphrase_wrong"), Some("/passphrase")));
}

fn openssl_base64(der: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(der)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_and_nothing_is_stored() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (pair, other) = (Pair::new(&["a.example.com"]), Pair::new(&["b.example.com"]));
    let key = |pair: &Pair| pair.key.to_pkcs8_pem().unwrap().to_string();
    for (body, code) in [
        (json!({}), "certificate_or_pfx"),
        (json!({"certificate": pair.pem, "pfx": "AAAA"}), "certificate_or_pfx"),
        (json!({"certificate": pair.pem}), "private_key_missing"),
        (json!({"certificate": pair.pem, "private_key": key(&other)}), "private_key_mismatch"),
        (json!({"certificate": pair.pem[..200], "private_key": key(&pair)}), "pem_malformed"),
        (json!({"certificate": "\0", "private_key": key(&pair)}), "pem_malformed"),
        (json!({"certificate": "x".repeat(300_000), "private_key": key(&pair)}), "upload_too_large"),
        (json!({"pfx": "?"}), "pfx_malformed"),
        (json!({"certificate": pair.pem, "private_key": key(&pair), "name": "a b"}), "certificate_name_invalid"),
    ] {
        let refused = caller.post("/certificates/upload", body).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!(refused["code"], code, "{refused}");
    }
    let long = json!({"certificate": "x".repeat(600_000)});
    caller.post("/certificates/upload", long).await.expect(StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(listed(&caller, "").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_have_a_limit_of_their_own_that_no_race_passes() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let pair = Pair::new(&["a.example.com"]);
    let all = (0..30).map(|_| caller.post("/certificates/upload", pair.body()));
    let answers = futures::future::join_all(all).await;
    let created = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(created, 25, "as many as Plus holds");
    let (zone, domain) = caller.verified_zone().await;
    caller.certificate(&zone, &domain).await;
    let limits = caller.get("/limits").await.expect(StatusCode::OK);
    assert_eq!(limits["current_count"], 1, "uploads hold no slot of managed ones");
    assert_eq!((&limits["current_uploads"], &limits["max_uploads"]), (&json!(25), &json!(25)));
    let down = caller.get("/plans/free/preview").await.expect(StatusCode::OK);
    assert_eq!((&down["uploads_over_limit_by"], &down["limits"]["current_uploads"]), (&json!(25), &json!(25)));
    assert_eq!(listed(&caller, "kind=managed").await.len(), 1);
    let free = api.register("free").await;
    let refused = free.post("/certificates/upload", pair.body()).await.expect(StatusCode::FORBIDDEN);
    assert_eq!(refused["code"], "paid_plan_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_ca_can_do_is_a_conflict() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let certificate = upload(&caller, &Pair::new(&["a.example.com"])).await;
    let renewal = caller.send(Method::POST, &format!("{}/renew", at(&certificate)), None).await.expect(StatusCode::CONFLICT);
    assert_eq!(renewal["code"], "certificate_is_uploaded");
    for change in [json!({"auto_renew": true}), json!({"sans": []}), json!({"key_policy": "keep"}), json!({"key_algorithm": "rsa2048"})] {
        let refused = caller.send(Method::PATCH, &at(&certificate), Some(change)).await.expect(StatusCode::CONFLICT);
        assert_eq!(refused["code"], "certificate_is_uploaded");
    }
    let named = caller.send(Method::PATCH, &at(&certificate), Some(json!({"name": "b"}))).await.expect(StatusCode::OK);
    assert_eq!(named["name"], "b");
    let (zone, domain) = caller.verified_zone().await;
    let managed = caller.certificate(&zone, &domain).await;
    let refused = caller.post(&format!("{}/versions", at(&managed)), Pair::new(&[&domain]).body()).await.expect(StatusCode::CONFLICT);
    assert_eq!(refused["code"], "certificate_is_managed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_found_by_what_stands_in_it() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let pair = Pair::new(&["shop.example.com", "*.pay.example.com"]);
    let found = upload(&caller, &pair).await["id"].clone();
    let other = upload(&caller, &Pair::new(&["example.com.other.test", "badexample.com"])).await["id"].clone();
    let (serial, fingerprint) = (pair.chain().serial_hex().to_owned(), pair.chain().sha256_fingerprint_hex().to_ascii_uppercase());
    let details = pair.chain().details().unwrap();
    let shown = caller.get(&format!("/certificates/{}", found.as_str().unwrap())).await.expect(StatusCode::OK);
    let x509 = &shown["current_version"]["x509"];
    assert_eq!(x509["fingerprint_sha1"], details.sha1_fingerprint_hex);
    assert_eq!((&x509["key_type"], &x509["side"], &x509["self_signed"]), (&json!("ec"), &json!("server"), &json!(false)));
    let page = caller.get("/certificates").await.expect(StatusCode::OK);
    assert_eq!(page["certificates"][1], shown, "a list shows the same");
    let versions = caller.get(&format!("/certificates/{}/versions", found.as_str().unwrap())).await.expect(StatusCode::OK);
    assert_eq!(&versions["versions"][0]["x509"], x509);
    let thumbprint = |separator: &str| {
        let pairs = details.sha1_fingerprint_hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase());
        pairs.collect::<Vec<_>>().join(separator)
    };
    for query in [
        format!("serial=00:{serial}"),
        format!("fingerprint={fingerprint}"),
        format!("fingerprint={}", thumbprint("")),
        format!("fingerprint={}", thumbprint(":")),
        "san=example.com".to_owned(),
        "san=Pay.Example.com.".to_owned(),
        "san=shop.example.com".to_owned(),
        format!("kind=uploaded&san=example.com&serial={serial}"),
    ] {
        assert_eq!(listed(&caller, &query).await, std::slice::from_ref(&found), "{query}");
    }
    for query in [
        "issuer=RCGEN",
        "subject=RCGEN",
        "side=server",
        "key_type=ecdsa",
        "key_algorithm=ecdsa_p256",
        "key_type=ecdsa&key_algorithm=ecdsa_p256&side=server&subject=cn%3D",
    ] {
        assert_eq!(listed(&caller, query).await, [other.clone(), found.clone()], "{query}");
    }
    for query in [
        "serial=xyz",
        "fingerprint=00",
        "san=ample.com",
        "san=a%20b",
        "kind=managed",
        "issuer=nobody",
        "issuer=%00",
        "subject=nobody",
        "side=client",
        "key_type=rsa",
        "key_type=rsa&key_algorithm=ecdsa_p256",
        "key_algorithm=rsa2048",
    ] {
        assert_eq!(listed(&caller, query).await, Vec::<Value>::new(), "{query}");
    }
    let faults = caller.get("/certificates?side=both&key_type=dsa&key_algorithm=rsa1024").await.faults();
    let unknown = |pointer: &str| (pointer.to_owned(), "unknown_choice".to_owned());
    assert_eq!(faults, BTreeMap::from(["?side", "?key_type", "?key_algorithm"].map(unknown)));
    let refused = caller.get("/certificates?kind=upload").await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(refused["code"], "unknown_choice");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_exported_as_a_table_or_as_json_and_never_with_a_key() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let pair = Pair::new(&["shop.example.com", "www.example.com"]);
    let mut body = pair.body();
    body["label"] = json!("=HYPERLINK(\"x\")");
    let shop = caller.post("/certificates/upload", body).await.expect(StatusCode::CREATED)["certificate"].clone();
    let other = upload(&caller, &Pair::new(&["other.example.com"])).await;
    let stranger = api.register("pro").await;
    upload(&stranger, &pair).await;

    let file = caller.get("/certificates/export").await;
    assert_eq!(file.status, StatusCode::OK, "{}", file.text);
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"certificates.csv\"");
    let lines: Vec<&str> = file.text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 3, "{}", file.text);
    assert!(lines[0].starts_with("id,name,number,label,kind,domain,sans,"), "{}", lines[0]);
    assert!(lines[1].starts_with(other["id"].as_str().unwrap()), "newest first: {}", lines[1]);
    let start = format!(
        "{},shop.example.com,1,\"'=HYPERLINK(\"\"x\"\")\",uploaded,shop.example.com,www.example.com,,issued,false,",
        shop["id"].as_str().unwrap()
    );
    assert!(lines[2].starts_with(&start), "{}", lines[2]);
    for value in [pair.chain().sha256_fingerprint_hex(), &pair.chain().details().unwrap().sha1_fingerprint_hex] {
        assert!(lines[2].contains(value), "{}", lines[2]);
    }

    let file = caller.get("/certificates/export?format=json").await;
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"certificates.json\"");
    assert_eq!(file.expect(StatusCode::OK), json!({"certificates": [other, shop]}));
    for text in [&file.text, &caller.get("/certificates/export").await.text] {
        assert!(!text.contains("PRIVATE") && !text.contains("BEGIN"), "{text}");
    }
    let one = caller.get("/certificates/export?format=json&san=shop.example.com").await.expect(StatusCode::OK);
    assert_eq!(one, json!({"certificates": [shop]}));
    for nothing in ["serial=xyz", "kind=managed"] {
        let empty = caller.get(&format!("/certificates/export?format=json&{nothing}")).await.expect(StatusCode::OK);
        assert_eq!(empty, json!({"certificates": []}), "{nothing}");
    }
    let refused = caller.get("/certificates/export?format=xml").await.faults();
    assert_eq!(refused, BTreeMap::from([("?format".to_owned(), "unknown_choice".to_owned())]));
    assert_eq!(caller.get("/certificates/export?limit=1").await.problem(400).0, "invalid_query");
    let writer = caller.with_token(&["certificates:write"]).await;
    assert_eq!(writer.get("/certificates/export").await.problem(403).0, "scope_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_over_pages() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    upload(&caller, &Pair::new(&["shop.example.com"])).await;
    // The others differ in what must differ; all were made at one moment, and have no names.
    api.execute(
        "INSERT INTO certificates (id, account_id, source, name, number, domain, key_algorithm, auto_renew, status, created_at)
         SELECT gen_random_uuid(), account_id, source, 'copy-' || n, number + n, domain, key_algorithm, auto_renew, status, created_at
         FROM certificates, generate_series(1, 450) AS n",
    )
    .await;
    let table = caller.get("/certificates/export").await.text;
    let ids: BTreeSet<&str> = table.split_terminator("\r\n").skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!((ids.len(), table.split_terminator("\r\n").count()), (451, 452));
    let all = caller.get("/certificates/export?format=json").await.expect(StatusCode::OK);
    assert_eq!(all["certificates"].as_array().unwrap().len(), 451);
}
