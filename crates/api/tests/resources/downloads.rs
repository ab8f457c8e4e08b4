//! The download API of LeGo CertHub and Cert Warden: who gets what, under every path, with every way to send a key.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::issued::{Files, issue};
use crate::support::{Answer, Caller, TestApi, uuid};

/// What is asked for, and so whose API keys it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Certificate,
    Key,
    Both,
}

/// Every path, without the name; what it takes; how the name of its file ends.
const PATHS: [(&str, Takes, &str); 10] = [
    ("/legocerthub/api/v1/download/privatekeys", Takes::Key, ".key.pem"),
    ("/legocerthub/api/v1/download/certificates", Takes::Certificate, ".cert.pem"),
    ("/legocerthub/api/v1/download/privatecerts", Takes::Both, ".certkey.pem"),
    ("/legocerthub/api/v1/download/certrootchains", Takes::Certificate, ".chain.pem"),
    ("/certwarden/api/v1/download/privatekeys", Takes::Key, ".key.pem"),
    ("/certwarden/api/v1/download/certificates", Takes::Certificate, ".cert.pem"),
    ("/certwarden/api/v1/download/privatecerts", Takes::Both, ".certkey.pem"),
    ("/certwarden/api/v1/download/privatecertchains", Takes::Both, ".certchainkey.pem"),
    ("/certwarden/api/v1/download/certrootchains", Takes::Certificate, ".chain.pem"),
    ("/certwarden/api/v1/download/pfx", Takes::Both, ".pfx"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Header,
    OtherHeader,
    Url,
}

/// A certificate named `shop`, issued, with API keys.
pub(crate) struct Shop<'a> {
    pub(crate) caller: Caller<'a>,
    pub(crate) certificate: Value,
    pub(crate) files: Files,
    /// Paths of certificate and private key, below `/api/v1`.
    pub(crate) resources: [String; 2],
    /// Their API keys.
    pub(crate) keys: [String; 2],
    /// Those that were retired.
    retired: [String; 2],
}

impl<'a> Shop<'a> {
    pub(crate) async fn open(api: &'a TestApi) -> Self {
        let caller = api.register("elite").await;
        let (zone, name) = caller.verified_zone().await;
        let body = json!({"zone_id": zone, "domain": format!("shop.{name}"), "key_algorithm": "ecdsa_p256", "name": "shop"});
        let certificate = caller.post("/certificates", body).await.expect(StatusCode::ACCEPTED);
        let files = issue(&caller, &certificate, 80, "issued").await;
        let id = |field: &str| certificate[field].as_str().unwrap().to_owned();
        let resources = [format!("/certificates/{}", id("id")), format!("/keys/{}", id("private_key_id"))];
        let mut retired = Vec::new();
        let mut keys = Vec::new();
        for resource in &resources {
            let (old, new) = (make(&caller, resource).await, make(&caller, resource).await);
            caller.delete(&format!("{resource}/api-keys/{}", old["id"].as_str().unwrap())).await;
            retired.push(old["api_key"].as_str().unwrap().to_owned());
            keys.push(new["api_key"].as_str().unwrap().to_owned());
        }
        Self { caller, certificate, files, resources, keys: keys.try_into().unwrap(), retired: retired.try_into().unwrap() }
    }

    async fn allow_urls(&self, allowed: bool) {
        for resource in &self.resources {
            self.caller.patch(resource, json!({"api_key_via_url": allowed})).await.expect(StatusCode::OK);
        }
    }

    fn right(&self, takes: Takes) -> String {
        let [certificate, key] = &self.keys;
        match takes {
            Takes::Certificate => certificate.clone(),
            Takes::Key => key.clone(),
            Takes::Both => format!("{certificate}.{key}"),
        }
    }

    /// Everything that is not the right key, by what it is.
    fn wrong(&self, takes: Takes, other: &Shop<'_>) -> BTreeMap<&'static str, String> {
        let ([certificate, key], [old_certificate, old_key]) = (&self.keys, &self.retired);
        let nonsense = format!("zck_{}", "A".repeat(43));
        let mut wrong = BTreeMap::from([("another's", other.right(takes)), ("missing", String::new())]);
        wrong.extend(match takes {
            Takes::Certificate => vec![
                ("wrong", nonsense),
                ("swapped", key.clone()),
                ("two of one", format!("{certificate}.{key}")),
                ("retired", old_certificate.clone()),
            ],
            Takes::Key => vec![
                ("wrong", nonsense),
                ("swapped", certificate.clone()),
                ("two of one", format!("{certificate}.{key}")),
                ("retired", old_key.clone()),
            ],
            Takes::Both => vec![
                ("wrong", format!("{nonsense}.{key}")),
                ("second wrong", format!("{certificate}.{nonsense}")),
                ("swapped", format!("{key}.{certificate}")),
                ("one of two", certificate.clone()),
                ("one of two, and a dot", format!("{certificate}.")),
                ("the other of two", key.clone()),
                ("twice the certificate's", format!("{certificate}.{certificate}")),
                ("three", format!("{certificate}.{key}.{key}")),
                ("retired", format!("{old_certificate}.{key}")),
                ("second retired", format!("{certificate}.{old_key}")),
                ("another's second", format!("{certificate}.{}", other.keys[1])),
            ],
        });
        wrong
    }
}

async fn make(caller: &Caller<'_>, resource: &str) -> Value {
    caller.send(Method::POST, &format!("{resource}/api-keys"), None).await.expect(StatusCode::CREATED)
}

async fn fetch(api: &TestApi, path: &str, form: Form, key: &str) -> Answer {
    fetch_with(api, Method::GET, path, form, key, &[]).await
}

async fn fetch_with(api: &TestApi, method: Method, path: &str, form: Form, key: &str, more: &[(&str, &str)]) -> Answer {
    let mut headers = more.to_vec();
    let path = match form {
        Form::Header if !key.is_empty() => {
            headers.push(("X-API-Key", key));
            path.to_owned()
        }
        Form::OtherHeader if !key.is_empty() => {
            headers.push(("apiKey", key));
            path.to_owned()
        }
        Form::Url if !key.is_empty() => format!("{path}/{key}"),
        _ => path.to_owned(),
    };
    api.send_with(method, &path, None, None, &headers).await
}

/// All that a refusal says, but the name of the request.
fn refusal(answer: &Answer) -> String {
    assert_eq!(answer.problem(401).0, "api_key_refused");
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    format!("{}\n{}", headers.join("\n"), answer.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_opens_with_exactly_its_own_key_and_every_refusal_is_the_same() {
    let api = TestApi::start().await;
    let (shop, other) = (Shop::open(&api).await, Shop::open(&api).await);
    let mut asked = 0;
    for allowed in [false, true] {
        shop.allow_urls(allowed).await;
        for (path, takes, _) in PATHS {
            let mut refusals = BTreeSet::new();
            for form in [Form::Header, Form::OtherHeader, Form::Url] {
                let right = fetch(&api, &format!("{path}/shop"), form, &shop.right(takes)).await;
                asked += 1;
                if form == Form::Url && !allowed {
                    refusals.insert(refusal(&right));
                } else {
                    assert_eq!(right.status, StatusCode::OK, "{path} {form:?}: {}", right.text);
                }
                for (what, key) in shop.wrong(takes, &other) {
                    let answer = fetch(&api, &format!("{path}/shop"), form, &key).await;
                    asked += 1;
                    // The same name in another account, with that account's key, is another certificate.
                    if what == "another's" && form != Form::Url {
                        assert_eq!(answer.status, StatusCode::OK, "{path} {form:?}");
                        assert_ne!(answer.text, right.text, "{path}");
                    } else {
                        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {form:?} {what}");
                        refusals.insert(refusal(&answer));
                    }
                }
                for name in ["nothing", "Shop", "%00", "shop%2F"] {
                    refusals.insert(refusal(&fetch(&api, &format!("{path}/{name}"), form, &shop.right(takes)).await));
                }
            }
            assert_eq!(refusals.len(), 1, "{path}: {refusals:#?}");
            let refusal = refusals.pop_first().unwrap();
            assert!(!refusal.contains("shop") && !refusal.contains("zck_"), "{refusal}");
        }
    }
    assert!(asked > 400, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_url_both_certificate_and_key_must_allow_it() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let path = "/legocerthub/api/v1/download/privatecerts/shop";
    for (certificate, key, status) in [(false, false, 401), (true, false, 401), (false, true, 401), (true, true, 200)] {
        for (resource, allowed) in shop.resources.iter().zip([certificate, key]) {
            let seen = shop.caller.patch(resource, json!({"api_key_via_url": allowed})).await.expect(StatusCode::OK);
            assert_eq!(seen["api_key_via_url"], allowed);
        }
        assert_eq!(fetch(&api, path, Form::Url, &shop.right(Takes::Both)).await.status.as_u16(), status, "{certificate} {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_named_and_made_as_by_the_originals_and_stay_the_same_to_the_byte() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let Files { leaf, chain, key, .. } = &shop.files;
    let expected = |path: &str| match path.trim_start_matches('/').split_once("/api/v1/download/").unwrap() {
        (_, "privatekeys") => Some(key.clone()),
        (_, "certificates") => Some(format!("{leaf}{chain}")),
        ("certwarden", "privatecerts") => Some(format!("{key}\n{leaf}")),
        ("legocerthub", "privatecerts") | ("certwarden", "privatecertchains") => Some(format!("{key}\n{leaf}{chain}")),
        (_, "certrootchains") => Some(chain.clone()),
        _ => None,
    };
    for (path, takes, ending) in PATHS {
        let (path, right) = (format!("{path}/shop"), shop.right(takes));
        let first = fetch(&api, &path, Form::Header, &right).await;
        let media_type = if ending == ".pfx" { "application/x-pkcs12" } else { "application/x-pem-file" };
        assert_eq!((first.status, first.header("content-type")), (StatusCode::OK, media_type));
        assert_eq!(first.header("content-disposition"), format!("attachment; filename=\"shop{ending}\""));
        assert_eq!((first.header("cache-control"), first.header("vary")), ("no-store", "Apikey, X-Api-Key"));
        if let Some(body) = expected(path.trim_end_matches("/shop")) {
            assert_eq!(first.text, body, "{path}");
        }
        // A doubled slash anywhere, a slash at the end: no redirect, the same bytes.
        for spelling in
            [path.clone(), path.replace("/shop", "//shop"), format!("/{path}"), path.replace("/api/", "//api//"), format!("{path}/")]
        {
            let again = fetch(&api, &spelling, Form::OtherHeader, &right).await;
            assert_eq!((again.status, &again.text), (StatusCode::OK, &first.text), "{spelling}");
            assert_eq!(again.header("etag"), first.header("etag"));
        }
        let head = fetch_with(&api, Method::HEAD, &path, Form::Header, &right, &[]).await;
        assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
        for name in ["etag", "content-type", "content-disposition"] {
            assert_eq!(head.header(name), first.header(name), "{path}");
        }
    }
    // Both spellings of the header in one request, and an empty one beside the right one.
    let right = shop.right(Takes::Certificate);
    let path = "/certwarden/api/v1/download/certificates/shop";
    let both = api.send_with(Method::GET, path, None, None, &[("apiKey", ""), ("X-API-Key", &right)]).await;
    assert_eq!(both.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_file_is_told_so_without_opening_a_key() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let mut tags = BTreeMap::new();
    for (path, takes, _) in PATHS {
        tags.insert(path, fetch(&api, &format!("{path}/shop"), Form::Header, &shop.right(takes)).await.header("etag").to_owned());
    }
    // Nothing that is sealed can be opened any more.
    api.execute("UPDATE key_versions SET sealed = '\\x00'; UPDATE pfx_files SET sealed = '\\x00'").await;
    for (path, takes, _) in PATHS {
        let (path, tag) = (format!("{path}/shop"), &tags[path]);
        assert!(tag.starts_with('"'), "strong: {tag}");
        let known = fetch_with(&api, Method::GET, &path, Form::Header, &shop.right(takes), &[("If-None-Match", tag)]).await;
        assert_eq!((known.status, known.text.as_str(), known.header("etag")), (StatusCode::NOT_MODIFIED, "", tag.as_str()), "{path}");
        // Not for whoever has the wrong key.
        let refused = fetch_with(&api, Method::GET, &path, Form::Header, "zck_wrong", &[("If-None-Match", tag)]).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        if takes != Takes::Certificate {
            let opened = fetch(&api, &path, Form::Header, &shop.right(takes)).await;
            assert_eq!(opened.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: the test has broken nothing");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_valid_version_is_handed_out_and_key_and_certificate_fit() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let get = async |path: &str, takes: Takes| {
        fetch(&api, &format!("/certwarden/api/v1/download/{path}/shop"), Form::Header, &shop.right(takes)).await
    };
    let old = get("certificates", Takes::Certificate).await;
    // The key of the next version is there before the version is.
    api.execute(&format!(
        "INSERT INTO key_versions (id, account_id, private_key_id, data_key_id, sealed, public_key_sha256)
         SELECT gen_random_uuid(), account_id, private_key_id, data_key_id, '\\x00', public_key_sha256 FROM key_versions WHERE private_key_id = '{}'",
        uuid(&shop.certificate["private_key_id"])
    ))
    .await;
    assert_eq!(get("privatekeys", Takes::Key).await.text, shop.files.key);
    let new = issue(&shop.caller, &shop.certificate, 90, "issued").await;
    assert_eq!(get("privatekeys", Takes::Key).await.text, new.key);
    let now = get("certificates", Takes::Certificate).await;
    assert_eq!(now.text, format!("{}{}", new.leaf, new.chain));
    assert_ne!(now.header("etag"), old.header("etag"));

    issue(&shop.caller, &shop.certificate, -1, "expired").await;
    for (path, takes, _) in PATHS {
        let answer = fetch(&api, &format!("{path}/shop"), Form::Header, &shop.right(takes)).await;
        assert_eq!(answer.problem(404).0, "nothing_to_download", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_through_a_rotation_of_api_keys_and_on_every_plan_and_ends_with_the_certificate() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let path = "/legocerthub/api/v1/download/certificates/shop";
    let next = make(&shop.caller, &shop.resources[0]).await;
    let (id, next) = (next["id"].as_str().unwrap(), next["api_key"].as_str().unwrap());
    let limit = shop.caller.send(Method::POST, &format!("{}/api-keys", shop.resources[0]), None).await;
    assert_eq!(limit.problem(409).0, "api_key_limit_reached");
    let listed = shop.caller.get(&format!("{}/api-keys", shop.resources[0])).await.expect(StatusCode::OK);
    assert_eq!(listed["api_keys"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(&next[10..]), "listed without the secret");
    for key in [&shop.keys[0], next] {
        assert_eq!(fetch(&api, path, Form::Header, key).await.status, StatusCode::OK);
    }
    let old = listed["api_keys"].as_array().unwrap().iter().find(|key| key["id"] != id).unwrap();
    shop.caller.delete(&format!("{}/api-keys/{}", shop.resources[0], old["id"].as_str().unwrap())).await;
    assert_eq!(fetch(&api, path, Form::Header, &shop.keys[0]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(fetch(&api, path, Form::Header, next).await.status, StatusCode::OK);

    shop.caller.set_plan("free").await;
    assert_eq!(fetch(&api, path, Form::Header, next).await.status, StatusCode::OK);
    let status = async |status: &str| {
        api.execute(&format!("UPDATE accounts SET status = '{status}', suspended_at = now() WHERE id = '{}'", shop.caller.account.0)).await;
    };
    status("suspended_payment").await;
    assert_eq!(fetch(&api, path, Form::Header, next).await.status, StatusCode::OK);
    status("suspended_abuse").await;
    assert_eq!(fetch(&api, path, Form::Header, next).await.problem(403).0, "account_suspended");
    api.execute(&format!("UPDATE accounts SET status = 'active', suspended_at = NULL WHERE id = '{}'", shop.caller.account.0)).await;
    shop.caller.patch(&shop.resources[0], json!({"name": "till"})).await;
    shop.caller.set_plan("elite").await;
    shop.caller.patch(&shop.resources[0], json!({"name": "till"})).await.expect(StatusCode::OK);
    assert_eq!(fetch(&api, path, Form::Header, next).await.status, StatusCode::UNAUTHORIZED);
    let renamed = "/legocerthub/api/v1/download/certificates/till";
    assert_eq!(fetch(&api, renamed, Form::Header, next).await.status, StatusCode::OK);
    assert_eq!(shop.caller.delete(&shop.resources[0]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(fetch(&api, renamed, Form::Header, next).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_are_noted_and_only_hashes_of_keys_are_kept() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    for (path, takes, _) in PATHS {
        fetch(&api, &format!("{path}/shop"), Form::Header, &shop.right(takes)).await;
    }
    let notes = api.sql("SELECT actor, subject FROM audit_log WHERE action = 'key.downloaded'").await;
    assert_eq!(notes.len(), PATHS.iter().filter(|(_, takes, _)| *takes != Takes::Certificate).count());
    let listed = shop.caller.get(&format!("{}/api-keys", shop.resources[1])).await.expect(StatusCode::OK);
    assert!(notes.iter().all(|note| note["actor"] == listed["api_keys"][0]["id"]), "{notes:?}");
    assert!(listed["api_keys"][0]["last_used_at"].is_string());
    let audit = shop.caller.get("/audit?action=key.downloaded").await.expect(StatusCode::OK);
    assert_eq!(audit["entries"][0]["actor"]["type"], "api_key");
    for table in ["api_keys", "audit_log", "events", "pfx_files"] {
        let rows = api.sql(&format!("SELECT * FROM {table}")).await;
        for key in shop.keys.iter().chain(&shop.retired) {
            let hexadecimal = hex_of(key);
            assert!(rows.iter().all(|row| !row.to_string().contains(key) && !row.to_string().contains(&hexadecimal)), "{table}");
        }
    }
}

fn hex_of(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_slow_down_an_address_and_polling_slows_down_what_is_polled() {
    let api = TestApi::start_set(|settings| settings.traffic.rate_limits = Some("elite=40/3600,address=5/3600".parse().unwrap())).await;
    let shop = Shop::open(&api).await;
    let path = "/certwarden/api/v1/download/certificates/shop";
    let right = shop.right(Takes::Certificate);
    let first = fetch(&api, path, Form::Header, &right).await;
    assert_eq!(first.header("ratelimit-policy"), "\"resource\";q=40;w=3600");
    for _ in 1..40 {
        assert_eq!(fetch(&api, path, Form::Header, &right).await.status, StatusCode::OK);
    }
    assert_eq!(fetch(&api, path, Form::Header, &right).await.problem(429).0, "rate_limited");
    // Another resource of the same account is not affected.
    let key = "/certwarden/api/v1/download/privatekeys/shop";
    assert_eq!(fetch(&api, key, Form::Header, &shop.right(Takes::Key)).await.status, StatusCode::OK);
    let mut statuses = Vec::new();
    for guess in 0..7 {
        statuses.push(fetch(&api, key, Form::Header, &format!("zck_{guess}")).await.status.as_u16());
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let refused = fetch(&api, key, Form::Header, &shop.right(Takes::Key)).await;
    assert_eq!(refused.problem(429).0, "rate_limited", "and the right key is not told from a wrong one");
}
