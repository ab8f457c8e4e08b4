//! `/certificates/{id}/versions` and `/certificates/{id}/orders`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::issued::{Files, issue, names};
use crate::support::{Answer, Caller, TestApi, uuid};

const FILES: [&str; 4] = ["download", "pem", "chain", "key"];

/// A certificate with two valid versions, the older first.
async fn issued_twice(caller: &Caller<'_>) -> (Value, [Files; 2]) {
    let (zone, name) = caller.verified_zone().await;
    let wish = json!({"zone_id": zone, "domain": name, "sans": [format!("www.{name}")], "name": "shop"});
    let certificate = caller.post("/certificates", wish).await.expect(StatusCode::ACCEPTED);
    let first = issue(caller, &certificate, 20, "issued").await;
    let second = issue(caller, &certificate, 80, "issued").await;
    (certificate, [first, second])
}

fn at(certificate: &Value) -> String {
    format!("/certificates/{}", certificate["id"].as_str().unwrap())
}

async fn seen(caller: &Caller<'_>, certificate: &Value) -> Value {
    caller.get(&at(certificate)).await.expect(StatusCode::OK)
}

async fn version(caller: &Caller<'_>, certificate: &Value, id: &str) -> Value {
    caller.get(&format!("{}/versions/{id}", at(certificate))).await.expect(StatusCode::OK)
}

async fn post(caller: &Caller<'_>, certificate: &Value, version: &str, what: &str) -> Answer {
    caller.send(Method::POST, &format!("{}/versions/{version}/{what}", at(certificate)), None).await
}

async fn change_version(api: &TestApi, version: &str, change: &str) {
    let id = version.split_once('_').unwrap().1;
    let statement =
        format!("SET session_replication_role = replica; UPDATE versions SET {change} WHERE id = '{id}'; RESET session_replication_role");
    api.execute(&statement).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_shown_newest_first_in_pages() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (certificate, [first, second]) = issued_twice(&caller).await;
    let list = format!("{}/versions", at(&certificate));
    let page = caller.get(&format!("{list}?limit=1")).await.expect(StatusCode::OK);
    assert_eq!(page["versions"].as_array().unwrap().len(), 1);
    let newest = &page["versions"][0];
    assert_eq!(newest, &version(&caller, &certificate, &second.version).await);
    let expected = json!({
        "id": second.version, "number": 2, "is_current": true, "downloadable": true, "source": "acme", "directory_url": "https://ca.test/dir",
        "names": names(&certificate), "serial": "01ab", "fingerprint_sha256": "ab".repeat(32), "issuer": "CN=Test CA", "subject": "",
        "revoked_at": null, "revocation_reason": null, "revocation": null,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&newest[field], value, "{field}");
    }
    assert_eq!(newest["key"]["algorithm"], "ecdsa_p256");
    assert_eq!(newest["not_after"], seen(&caller, &certificate).await["expires_at"]);
    assert!(newest["order_id"].as_str().unwrap().starts_with("order_"));

    let next = page["next_cursor"].as_str().unwrap();
    let page = caller.get(&format!("{list}?cursor={next}")).await.expect(StatusCode::OK);
    assert_eq!((page["versions"].as_array().unwrap().len(), &page["next_cursor"]), (1, &Value::Null));
    let oldest = &page["versions"][0];
    assert_eq!((&oldest["id"], &oldest["is_current"], &oldest["downloadable"]), (&json!(first.version), &json!(false), &json!(true)));
    assert_eq!(oldest["key"]["id"], newest["key"]["id"], "the same key");
    assert_ne!(oldest["key"]["version_id"], newest["key"]["version_id"], "with other material");

    assert_eq!(caller.get(&format!("{list}?cursor=nonsense")).await.problem(400).0, "cursor_invalid");
    assert_eq!(caller.get(&format!("{list}?limit=0")).await.problem(400).0, "limit_out_of_range");
    let (zone, name) = caller.verified_zone().await;
    let another = caller.certificate(&zone, &name).await;
    assert_eq!(caller.get(&format!("{}/versions", at(&another))).await.json(), json!({"versions": [], "next_cursor": null}));
    for what in ["", "/pem", "/key", "/chain", "/download"] {
        let elsewhere = caller.get(&format!("{}/versions/{}{what}", at(&another), first.version)).await;
        assert_eq!(elsewhere.problem(404).0, "not_found", "of another certificate: {what}");
        assert_eq!(caller.get(&format!("{list}/nonsense{what}")).await.problem(404).0, "not_found");
    }
    for what in ["revoke", "activate"] {
        assert_eq!(post(&caller, &another, &first.version, what).await.problem(404).0, "not_found", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_every_valid_version_are_given_out() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (certificate, versions) = issued_twice(&caller).await;
    let file = async |id: &str, kind: &str| caller.get(&format!("{}/versions/{id}/{kind}", at(&certificate))).await;
    for files in &versions {
        let tag = format!("\"{}\"", files.version);
        let all = file(&files.version, "download").await;
        assert_eq!(all.expect(StatusCode::OK), json!({"certificate": files.leaf, "chain": files.chain, "private_key": files.key}));
        for (kind, body, name) in [
            ("pem", format!("{}{}", files.leaf, files.chain), "shop.crt"),
            ("chain", files.chain.clone(), "shop.chain.pem"),
            ("key", files.key.clone(), "shop.key"),
        ] {
            let answer = file(&files.version, kind).await;
            assert_eq!((answer.status, &answer.text), (StatusCode::OK, &body), "{kind}");
            assert_eq!((answer.header("content-type"), answer.header("etag")), ("application/x-pem-file", tag.as_str()));
            assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{name}\""));
            let path = format!("/api/v1{}/versions/{}/{kind}", at(&certificate), files.version);
            let again = api.send_with(Method::GET, &path, Some(&caller.token), None, &[("If-None-Match", &tag)]).await;
            assert_eq!((again.status, &*again.text, again.header("etag")), (StatusCode::NOT_MODIFIED, "", tag.as_str()), "{kind}");
        }
    }
    // The one in use is the same under both addresses.
    let in_use = caller.get(&format!("{}/pem", at(&certificate))).await;
    let newest = file(&versions[1].version, "pem").await;
    assert_eq!((&in_use.text, in_use.header("etag")), (&newest.text, newest.header("etag")));

    let audit = "SELECT details ->> 'version_id' AS version, count(*) FROM audit_log WHERE action = 'key.downloaded' GROUP BY 1 ORDER BY 2";
    let noted = api.sql(audit).await;
    assert_eq!(noted.len(), 2);
    assert!(noted.iter().all(|row| row["count"] == 2), "{noted:?}");

    change_version(&api, &versions[0].version, "not_after = now() - interval '1 second'").await;
    change_version(&api, &versions[1].version, "revoked_at = now(), revocation_reason = 4").await;
    for kind in FILES {
        assert_eq!(file(&versions[0].version, kind).await.problem(409).0, "version_expired", "{kind}");
        let answer = file(&versions[1].version, kind).await;
        assert_eq!(answer.problem(409).0, "version_revoked", "{kind}");
        assert!(!answer.text.contains("PRIVATE KEY"));
    }
    let revoked = version(&caller, &certificate, &versions[1].version).await;
    assert_eq!((&revoked["downloadable"], &revoked["revocation_reason"]), (&json!(false), &json!("superseded")));
    assert!(revoked["revoked_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_version_needs_a_scope_of_its_own() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (certificate, [first, _]) = issued_twice(&caller).await;
    let reader = caller.with_token(&["certificates:read"]).await;
    let keys = caller.with_token(&["keys:read"]).await;
    for (kind, may_read, may_keys) in
        [("", true, false), ("/pem", true, false), ("/chain", true, false), ("/key", false, true), ("/download", false, false)]
    {
        for (token, may) in [(&reader, may_read), (&keys, may_keys)] {
            let answer = token.get(&format!("{}/versions/{}{kind}", at(&certificate), first.version)).await;
            if may {
                assert_eq!(answer.status, StatusCode::OK, "{kind}");
            } else {
                assert_eq!(answer.problem(403).0, "scope_missing", "{kind}");
            }
        }
    }
    // Downloads go on working on every plan.
    caller.set_plan("free").await;
    assert_eq!(keys.get(&format!("{}/versions/{}/key", at(&certificate), first.version)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_version_is_asked_to_be_revoked_and_the_others_are_left_alone() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (certificate, [first, second]) = issued_twice(&caller).await;
    let before = seen(&caller, &certificate).await;
    let path = format!("{}/versions/{}/revoke", at(&certificate), first.version);
    let answer = caller.post_once("k", &path, json!({"reason": "superseded"})).await;
    let revoked = answer.expect(StatusCode::ACCEPTED);
    assert_eq!((&revoked["id"], &revoked["revocation"]["status"]), (&json!(first.version), &json!("active")));
    assert_eq!((&revoked["revocation"]["reason"], &revoked["revoked_at"]), (&json!("superseded"), &Value::Null));
    assert_eq!(caller.post_once("k", &path, json!({"reason": "superseded"})).await.json(), revoked);
    assert_eq!(version(&caller, &certificate, &second.version).await["revocation"], Value::Null);
    assert_eq!(seen(&caller, &certificate).await, before);
    let rows = "SELECT number, reason FROM revocations JOIN versions ON versions.id = version_id";
    assert_eq!(api.sql(rows).await, [json!({"number": 1, "reason": 4})]);
    assert_eq!(api.jobs("revoke").await.len(), 1);
    let audit = api.sql("SELECT subject, details FROM audit_log WHERE action = 'certificate.revocation_requested'").await;
    let details = json!({"reason": "superseded", "versions": 1, "version_id": first.version});
    assert_eq!(audit, [json!({"subject": certificate["id"], "details": details})]);

    let (code, detail) = post(&caller, &certificate, &first.version, "revoke").await.problem(409);
    assert_eq!(code, "nothing_to_revoke");
    assert!(detail.contains("already; `revocation`"), "{detail}");
    change_version(&api, &second.version, "not_after = now() - interval '1 second'").await;
    let (code, detail) = post(&caller, &certificate, &second.version, "revoke").await.problem(409);
    assert_eq!(code, "nothing_to_revoke");
    assert!(detail.contains("expired or revoked"), "{detail}");
    let wrong = caller.post(&path, json!({"reason": "ca_compromise"})).await;
    assert_eq!(wrong.faults(), [("/reason".to_owned(), "unknown_choice".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_goes_back_to_an_earlier_version() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let (certificate, [first, second]) = issued_twice(&caller).await;
    let before = seen(&caller, &certificate).await;
    change_version(&api, &first.version, "not_before = now() - interval '70 days'").await;
    let path = format!("{}/versions/{}/activate", at(&certificate), first.version);
    let answer = caller.post_once("k", &path, json!({})).await;
    let after = answer.expect(StatusCode::OK);
    assert_eq!(
        (&after["current_version"]["id"], &after["status"], &after["downloadable"]),
        (&json!(first.version), &json!("issued"), &json!(true))
    );
    assert_eq!(after, seen(&caller, &certificate).await);
    let old = version(&caller, &certificate, &first.version).await;
    assert_eq!((&old["is_current"], &after["expires_at"], &after["issued_at"]), (&json!(true), &old["not_after"], &old["issued_at"]));
    assert!(version(&caller, &certificate, &second.version).await["is_current"] == false);
    // Of 90 days 20 are left, so its renewal has been due for 10: it comes after a day.
    let renewal = "SELECT next_renewal_at - version_activated_at = interval '1 day' AND renewal_due_at = next_renewal_at AS in_a_day FROM certificates";
    assert_eq!(api.sql(renewal).await, [json!({"in_a_day": true})]);
    assert_ne!(before["next_renewal_at"], after["next_renewal_at"]);

    let pem = caller.get(&format!("{}/pem", at(&certificate))).await;
    assert_eq!((&pem.text, pem.header("etag")), (&format!("{}{}", first.leaf, first.chain), format!("\"{}\"", first.version).as_str()));
    assert_eq!(caller.get(&format!("{}/key", at(&certificate))).await.text, first.key);

    let log = caller.get(&format!("{}/logs", at(&certificate))).await.json();
    let last = log["logs"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["event"], &last["details"]["version_id"]), (&json!("version_activated"), &json!(first.version)));
    let noted = "SELECT subject, details FROM audit_log WHERE action = 'certificate.version_activated'";
    let details = json!({"version_id": first.version, "version_left": second.version});
    let once = [json!({"subject": certificate["id"], "details": details})];
    assert_eq!(api.sql(noted).await, once);
    // The one in use is answered as it is, and nothing is noted.
    assert_eq!(caller.post_once("k", &path, json!({})).await.json(), after);
    assert_eq!(post(&caller, &certificate, &first.version, "activate").await.expect(StatusCode::OK), after);
    assert_eq!(api.sql(noted).await, once);

    let third = issue(&caller, &certificate, 80, "issued").await;
    assert_eq!(seen(&caller, &certificate).await["current_version"]["id"], third.version.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_goes_back_to_a_version_that_is_of_no_use() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let (certificate, [first, second]) = issued_twice(&caller).await;
    let refused = async |code: &str| {
        assert_eq!(post(&caller, &certificate, &first.version, "activate").await.problem(409).0, code);
        assert_eq!(seen(&caller, &certificate).await["current_version"]["id"], second.version.as_str(), "{code}");
    };
    // Names that the next version is to have and this one has not, and the other way round.
    let more: Vec<String> =
        names(&certificate)[1..].iter().cloned().chain([format!("api.{}", certificate["domain"].as_str().unwrap())]).collect();
    caller.patch(&at(&certificate), json!({"sans": more})).await.expect(StatusCode::OK);
    refused("version_names_differ").await;
    caller.patch(&at(&certificate), json!({"sans": []})).await.expect(StatusCode::OK);
    refused("version_names_differ").await;
    caller.patch(&at(&certificate), json!({"sans": certificate["sans"]})).await.expect(StatusCode::OK);

    post(&caller, &certificate, &first.version, "revoke").await.expect(StatusCode::ACCEPTED);
    refused("version_revoked").await;
    api.execute("UPDATE revocations SET status = 'failed', next_attempt_at = NULL, finished_at = now()").await;
    refused("version_revoked").await;
    api.execute("DELETE FROM revocations").await;
    change_version(&api, &first.version, "revoked_at = now(), revocation_reason = 0").await;
    refused("version_revoked").await;
    change_version(&api, &first.version, "revoked_at = NULL, not_after = now() - interval '1 second'").await;
    refused("version_expired").await;
    change_version(&api, &first.version, "not_after = now() + interval '1 day'").await;
    api.execute(&format!("UPDATE certificates SET status = 'expired' WHERE id = '{}'", uuid(&certificate["id"]))).await;
    refused("certificate_not_ready").await;
    api.execute("UPDATE certificates SET status = 'validating'").await;
    post(&caller, &certificate, &first.version, "activate").await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_payment_is_missing_a_version_is_revoked_and_downloaded_but_not_gone_back_to() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let (certificate, [first, _]) = issued_twice(&caller).await;
    let suspension = format!("/accounts/{}/suspension", caller.account);
    api.operate(Method::PUT, &suspension, Some(json!({"reason": "payment"}))).await.expect(StatusCode::OK);
    assert_eq!(post(&caller, &certificate, &first.version, "activate").await.problem(403).0, "account_suspended");
    assert_eq!(caller.get(&format!("{}/versions/{}/pem", at(&certificate), first.version)).await.status, StatusCode::OK);
    post(&caller, &certificate, &first.version, "revoke").await.expect(StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_shown_newest_first_with_their_steps_and_what_came_of_them() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (certificate, [first, second]) = issued_twice(&caller).await;
    let id = uuid(&certificate["id"]);
    // One that failed after its first steps, and an event of it that is no step.
    api.execute(&format!(
        "INSERT INTO orders (id, account_id, issuance_id, certificate_id, directory_url, status, names, failure, created_at, finished_at)
         SELECT gen_random_uuid(), account_id, id, certificate_id, 'https://ca.test/dir', 'failed', '{{a.test}}',
             '{{\"code\": \"acme_dns\", \"detail\": \"no TXT\", \"remedy\": \"Set it.\"}}', now() + interval '1 minute', now() + interval '2 minutes'
         FROM issuances WHERE certificate_id = '{id}' AND reason = 'by_hand' LIMIT 1;
         INSERT INTO events (account_id, number, level, event, message, certificate_id, order_id, at)
         SELECT orders.account_id, last_event_number + 1000 + n, 'info', event, '', certificate_id, orders.id, orders.created_at + n * interval '1.5 s'
         FROM orders JOIN accounts ON accounts.id = orders.account_id,
             (VALUES (0, 'order_begun'), (1, 'order_placed'), (2, 'attempt_failed')) AS told (n, event)
         WHERE orders.status = 'failed'"
    ))
    .await;
    let list = format!("{}/orders", at(&certificate));
    let page = caller.get(&format!("{list}?limit=2")).await.expect(StatusCode::OK);
    let (failed, newest) = (&page["orders"][0], &page["orders"][1]);
    assert_eq!((&failed["status"], &failed["reason"], &failed["names"]), (&json!("failed"), &json!("by_hand"), &json!(["a.test"])));
    assert_eq!(failed["problem"], json!({"code": "acme_dns", "detail": "no TXT", "remedy": "Set it."}));
    assert_eq!((&failed["version_id"], &failed["key"], &failed["url"]), (&Value::Null, &Value::Null, &Value::Null));
    let steps: Vec<(&Value, &Value)> =
        failed["steps"].as_array().unwrap().iter().map(|step| (&step["step"], &step["after_seconds"])).collect();
    assert_eq!(steps, [(&json!("order_begun"), &json!(0.0)), (&json!("order_placed"), &json!(1.5))]);

    assert_eq!((&newest["status"], &newest["version_id"], &newest["problem"]), (&json!("issued"), &json!(second.version), &Value::Null));
    assert_eq!(newest["names"], json!(names(&certificate)));
    assert_eq!((&newest["directory_url"], newest["finished_at"].is_string()), (&json!("https://ca.test/dir"), true));
    assert!(newest["url"].as_str().unwrap().starts_with("https://ca.test/order/"));
    let of_version = version(&caller, &certificate, &second.version).await;
    assert_eq!((&newest["id"], &newest["key"]["version_id"]), (&of_version["order_id"], &of_version["key"]["version_id"]));
    assert_eq!(caller.get(&format!("{list}/{}", newest["id"].as_str().unwrap())).await.expect(StatusCode::OK), *newest);

    let next = page["next_cursor"].as_str().unwrap();
    let rest = caller.get(&format!("{list}?cursor={next}")).await.expect(StatusCode::OK);
    assert_eq!((rest["orders"].as_array().unwrap().len(), &rest["orders"][0]["version_id"]), (1, &json!(first.version)));
    let versions = caller.get(&format!("{}/versions?limit=1", at(&certificate))).await.json();
    let foreign = format!("{list}?cursor={}", versions["next_cursor"].as_str().unwrap());
    assert_eq!(caller.get(&foreign).await.problem(400).0, "cursor_invalid", "of another list");
    let (zone, name) = caller.verified_zone().await;
    let another = caller.certificate(&zone, &name).await;
    assert_eq!(caller.get(&format!("{}/orders/{}", at(&another), newest["id"].as_str().unwrap())).await.problem(404).0, "not_found");
    assert_eq!(caller.get(&format!("{list}/nonsense")).await.problem(404).0, "not_found");
    // What was deleted is gone with all of it.
    assert_eq!(caller.delete(&at(&certificate)).await.status, StatusCode::NO_CONTENT);
    for path in [&list, &format!("{list}/{}", newest["id"].as_str().unwrap()), &format!("{}/versions", at(&certificate))] {
        assert_eq!(caller.get(path).await.problem(404).0, "not_found", "{path}");
    }
}
