//! API keys of certificates and private keys, and private keys as resources.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::downloads::Shop;
use crate::issued::issue;
use crate::support::{Caller, TestApi};

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

async fn make(caller: &Caller<'_>, resource: &str) -> crate::support::Answer {
    caller.send(Method::POST, &format!("{resource}/api-keys"), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_makes_a_key_of_a_private_key_could_have_read_it() {
    let api = TestApi::start().await;
    let shop = Shop::open(&api).await;
    let [certificate, key] = &shop.resources;
    let writer = shop.caller.with_token(&["certificates:write"]).await;
    let both = shop.caller.with_token(&["certificates:write", "keys:read"]).await;
    let reader = shop.caller.with_token(&["certificates:read", "keys:read"]).await;
    assert_eq!(make(&writer, certificate).await.status, StatusCode::CREATED);
    assert_eq!(make(&writer, key).await.problem(403).0, "scope_missing");
    assert_eq!(make(&reader, key).await.problem(403).0, "scope_missing");
    let made = make(&both, key).await;
    assert!(made.header("location").starts_with("/api/v1/keys/key_") && made.header("location").contains("/api-keys/apikey_"));
    assert_eq!(reader.get(&format!("{key}/api-keys")).await.expect(StatusCode::OK)["api_keys"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_things_have_no_api_keys() {
    let api = TestApi::start().await;
    let (shop, stranger) = (Shop::open(&api).await, api.register("elite").await);
    for resource in &shop.resources {
        let listed = shop.caller.get(&format!("{resource}/api-keys")).await.expect(StatusCode::OK);
        let one = format!("{resource}/api-keys/{}", text(&listed["api_keys"][0]["id"]));
        assert_eq!(stranger.get(&format!("{resource}/api-keys")).await.problem(404).0, "not_found");
        assert_eq!(make(&stranger, resource).await.problem(404).0, "not_found");
        assert_eq!(stranger.delete(&one).await.problem(404).0, "not_found");
        assert_eq!(shop.caller.delete(&one).await.status, StatusCode::NO_CONTENT);
        assert_eq!(shop.caller.delete(&one).await.problem(404).0, "not_found", "it is retired once");
    }
    // A key of the one is none of the other.
    let made = make(&shop.caller, &shop.resources[0]).await.expect(StatusCode::CREATED);
    let elsewhere = format!("{}/api-keys/{}", shop.resources[1], text(&made["id"]));
    assert_eq!(shop.caller.delete(&elsewhere).await.problem(404).0, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_fetched_apart_is_kept_at_renewals() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &format!("app.{name}")).await;
    let path = format!("/certificates/{}", text(&certificate["id"]));
    assert_eq!((&certificate["key_policy"], &certificate["api_key_via_url"]), (&json!("rotate"), &json!(false)));
    make(&caller, &path).await.expect(StatusCode::CREATED);
    assert_eq!(caller.get(&path).await.json()["key_policy"], "rotate", "of the certificate alone there are no halves");
    make(&caller, &format!("/keys/{}", text(&certificate["private_key_id"]))).await.expect(StatusCode::CREATED);
    assert_eq!(caller.get(&path).await.json()["key_policy"], "keep");
    let log = caller.get(&format!("{path}/logs")).await.expect(StatusCode::OK);
    assert!(log["logs"].as_array().unwrap().iter().any(|entry| entry["event"] == "certificate_changed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_to_share_a_key_has_all_others_keep_it_and_naming_ones_own_keeps_it_too() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let path = |certificate: &Value| format!("/certificates/{}", text(&certificate["id"]));
    let policy = async |certificate: &Value| caller.get(&path(certificate)).await.expect(StatusCode::OK)["key_policy"].clone();
    let changes = async |certificate: &Value| {
        let log = caller.get(&format!("{}/logs", path(certificate))).await.expect(StatusCode::OK);
        let entries = log["logs"].as_array().unwrap().iter().filter(|entry| entry["event"] == "certificate_changed");
        entries.map(|entry| entry["details"]["changed"]["key_policy"].clone()).collect::<Vec<_>>()
    };
    let rotate_to_keep = json!({"from": "rotate", "to": "keep"});

    // A new certificate takes the key of one that was to rotate it.
    let first = caller.certificate(&zone, &format!("first.{name}")).await;
    assert_eq!(policy(&first).await, "rotate");
    let wish = json!({"zone_id": zone, "domain": format!("second.{name}"), "private_key_id": first["private_key_id"]});
    caller.post("/certificates", wish).await.expect(StatusCode::ACCEPTED);
    assert_eq!(policy(&first).await, "keep");
    assert_eq!(changes(&first).await, std::slice::from_ref(&rotate_to_keep));

    // One that is there already does.
    let (third, fourth) =
        (caller.certificate(&zone, &format!("third.{name}")).await, caller.certificate(&zone, &format!("fourth.{name}")).await);
    caller.patch(&path(&fourth), json!({"private_key_id": third["private_key_id"]})).await.expect(StatusCode::OK);
    for certificate in [&third, &fourth] {
        assert_eq!(policy(certificate).await, "keep");
        assert_eq!(changes(certificate).await, std::slice::from_ref(&rotate_to_keep), "each log says it once");
    }

    // Whoever names the key that is used already wants it to stay.
    let fifth = caller.certificate(&zone, &format!("fifth.{name}")).await;
    let own = json!({"private_key_id": fifth["private_key_id"]});
    for _ in 0..2 {
        assert_eq!(caller.patch(&path(&fifth), own.clone()).await.expect(StatusCode::OK)["key_policy"], "keep");
        assert_eq!(changes(&fifth).await, std::slice::from_ref(&rotate_to_keep), "a second time nothing is left to change");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_made_where_there_is_no_room_for_it() {
    let api = TestApi::start().await;
    let (full, busy) = (api.register("elite").await, api.register("elite").await);
    let first = full.post("/keys", json!({"name": "first", "algorithm": "ecdsa_p256"})).await.expect(StatusCode::CREATED);
    let copies = format!(
        "INSERT INTO private_keys (id, account_id, name, algorithm, is_resource)
         SELECT gen_random_uuid(), account_id, 'copy' || number, algorithm, true FROM private_keys, generate_series(2, 100) AS number WHERE id = '{}'",
        crate::support::uuid(&first["id"])
    );
    api.execute(&copies).await;
    busy.post("/keys", json!({"name": "there"})).await.expect(StatusCode::CREATED);

    // Keys are made one after the other: whoever waits for a turn is answered after these.
    let names = ["a", "b", "c", "d"];
    let slow = futures::future::join_all(names.map(|name| busy.post("/keys", json!({"name": name, "algorithm": "rsa4096"}))));
    let refused = async {
        let none_left = full.post("/keys", json!({"name": "another", "algorithm": "rsa4096"})).await;
        let same_name = busy.post("/keys", json!({"name": "there", "algorithm": "rsa4096"})).await;
        [none_left.problem(409).0, same_name.problem(409).0]
    };
    tokio::pin!(slow, refused);
    let codes = tokio::select! {
        codes = &mut refused => codes,
        _ = &mut slow => panic!("whoever has no room waited for keys of others"),
    };
    assert_eq!(codes, ["key_limit_reached", "key_name_taken"]);
    for made in slow.await {
        made.expect(StatusCode::CREATED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_renamed_shared_and_deleted_when_nothing_uses_them() {
    let api = TestApi::start().await;
    let (caller, stranger) = (api.register("elite").await, api.register("elite").await);
    let (zone, name) = caller.verified_zone().await;
    let made = caller.post("/keys", json!({"name": "shared", "algorithm": "ecdsa_p256"})).await;
    assert_eq!(made.header("location"), format!("/api/v1/keys/{}", text(&made.json()["id"])));
    let key = made.expect(StatusCode::CREATED);
    let path = format!("/keys/{}", text(&key["id"]));
    assert_eq!((&key["independent"], &key["certificate_ids"]), (&json!(true), &json!([])));
    assert_eq!(caller.post("/keys", json!({"name": "shared"})).await.problem(409).0, "key_name_taken");
    assert_eq!(caller.post("/keys", json!({"name": "a b", "algorithm": "rsa1"})).await.faults().len(), 2);
    assert_eq!(stranger.get(&path).await.problem(404).0, "not_found");
    assert_eq!(stranger.delete(&path).await.problem(404).0, "not_found");

    let wish = |domain: &str, more: Value| {
        let mut wish = json!({"zone_id": zone, "domain": format!("{domain}.{name}"), "private_key_id": key["id"]});
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        wish
    };
    let one = caller.post("/certificates", wish("one", json!({}))).await.expect(StatusCode::ACCEPTED);
    assert_eq!((&one["key_policy"], &one["key_algorithm"], &one["private_key_id"]), (&json!("keep"), &json!("ecdsa_p256"), &key["id"]));
    let foreign = caller.post("/certificates", wish("two", json!({"private_key_id": "key_x"}))).await;
    assert_eq!(foreign.problem(404).0, "key_not_found");
    let theirs = stranger.post("/keys", json!({"name": "theirs", "algorithm": "ecdsa_p256"})).await.expect(StatusCode::CREATED);
    let foreign = caller.post("/certificates", wish("two", json!({"private_key_id": theirs["id"]}))).await;
    assert_eq!(foreign.problem(404).0, "key_not_found");
    let mismatch = caller.post("/certificates", wish("two", json!({"key_algorithm": "rsa2048", "key_policy": "rotate"}))).await;
    assert_eq!(mismatch.faults().into_values().collect::<Vec<_>>(), ["key_algorithm_mismatch", "shared_key_is_kept"]);
    let two = caller.certificate(&zone, &format!("two.{name}")).await;
    let changed =
        caller.patch(&format!("/certificates/{}", text(&two["id"])), json!({"private_key_id": key["id"]})).await.expect(StatusCode::OK);
    assert_eq!((&changed["private_key_id"], &changed["key_policy"]), (&key["id"], &json!("keep")));
    for certificate in [&one, &two] {
        let path = format!("/certificates/{}", text(&certificate["id"]));
        assert_eq!(caller.patch(&path, json!({"key_policy": "rotate"})).await.problem(400).0, "shared_key_is_kept");
        assert_eq!(caller.patch(&path, json!({"key_algorithm": "rsa2048"})).await.problem(400).0, "key_algorithm_mismatch");
    }
    let listed = caller.get("/keys").await.expect(StatusCode::OK);
    assert!(!listed.to_string().contains("PRIVATE"), "{listed}");
    let seen = listed["keys"].as_array().unwrap().iter().find(|seen| seen["id"] == key["id"]).unwrap();
    assert_eq!(seen["certificate_ids"], json!([one["id"], two["id"]]));
    let page = caller.get("/keys?limit=1").await.expect(StatusCode::OK);
    let rest = caller.get(&format!("/keys?cursor={}", text(&page["next_cursor"]))).await.expect(StatusCode::OK);
    assert_eq!(page["keys"].as_array().unwrap().len() + rest["keys"].as_array().unwrap().len(), listed["keys"].as_array().unwrap().len());

    assert_eq!(caller.delete(&path).await.problem(409).0, "key_in_use");
    for certificate in [&one, &two] {
        caller.delete(&format!("/certificates/{}", text(&certificate["id"]))).await;
    }
    let left = api
        .sql(&format!("SELECT sealed IS NOT NULL AS there FROM key_versions WHERE private_key_id = '{}'", crate::support::uuid(&key["id"])))
        .await;
    assert_eq!(left, [json!({"there": true})], "a key of its own does not go with the certificates");
    let renamed = caller.patch(&path, json!({"name": "again"})).await.expect(StatusCode::OK);
    assert_eq!(renamed["name"], "again");
    assert_eq!(caller.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(caller.get(&path).await.problem(404).0, "not_found");
    let left = api
        .sql(&format!("SELECT sealed IS NOT NULL AS there FROM key_versions WHERE private_key_id = '{}'", crate::support::uuid(&key["id"])))
        .await;
    assert_eq!(left, [json!({"there": false})]);
    let actions = api.sql("SELECT DISTINCT action FROM audit_log WHERE action LIKE 'key.%' ORDER BY action").await;
    assert_eq!(actions.len(), 3, "{actions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_its_own_is_downloaded_before_any_certificate_uses_it() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let key = caller.post("/keys", json!({"name": "early", "algorithm": "ecdsa_p256"})).await.expect(StatusCode::CREATED);
    let made = make(&caller, &format!("/keys/{}", text(&key["id"]))).await.expect(StatusCode::CREATED);
    let path = "/legocerthub/api/v1/download/privatekeys/early";
    let answer = api.send_with(Method::GET, path, None, None, &[("X-API-Key", text(&made["api_key"]))]).await;
    assert!(answer.status == StatusCode::OK && answer.text.starts_with("-----BEGIN PRIVATE KEY-----"), "{}", answer.text);
    // Of a certificate's own key there is nothing before that is issued.
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &format!("app.{name}")).await;
    let made = make(&caller, &format!("/keys/{}", text(&certificate["private_key_id"]))).await.expect(StatusCode::CREATED);
    let path = format!("/legocerthub/api/v1/download/privatekeys/app.{name}");
    let answer = api.send_with(Method::GET, &path, None, None, &[("X-API-Key", text(&made["api_key"]))]).await;
    assert_eq!(answer.problem(404).0, "nothing_to_download");
    let files = issue(&caller, &certificate, 80, "issued").await;
    let answer = api.send_with(Method::GET, &path, None, None, &[("X-API-Key", text(&made["api_key"]))]).await;
    assert_eq!(answer.text, files.key);
}
