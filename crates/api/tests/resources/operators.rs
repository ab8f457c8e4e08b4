//! The operator's part of the API: who gets in, plans, suspensions, and what they do to renewals.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Caller, TestApi, uuid};

/// A certificate that was issued 10 days ago for 90 days and wishes to renew.
async fn issued(caller: &Caller<'_>, zone: &str, domain: &str) -> String {
    let certificate = caller.certificate(zone, domain).await;
    let id = uuid(&certificate["id"]);
    let version = uuid::Uuid::new_v4();
    caller
        .api
        .execute(&format!(
            "UPDATE issuances SET status = 'succeeded', next_wake_at = NULL, finished_at = now() WHERE certificate_id = '{id}';
             WITH data_key AS (SELECT id FROM data_keys WHERE account_id = '{account}'),
             key AS (SELECT private_key_id AS id FROM certificates WHERE id = '{id}'),
             material AS (INSERT INTO key_versions (id, account_id, private_key_id, data_key_id, sealed, public_key_sha256)
                SELECT gen_random_uuid(), '{account}', key.id, data_key.id, '\\x00', '\\x00' FROM key, data_key RETURNING id)
             INSERT INTO versions (id, account_id, certificate_id, number, source, key_version_id, chain_pem, names, serial, fingerprint_sha256, issuer, subject, not_before, not_after)
                SELECT '{version}', '{account}', '{id}', 1, 'upload', material.id, '', '{{{domain}}}', '', '', '', '', now() - interval '10 days', now() + interval '80 days' FROM material;
             UPDATE certificates SET status = 'issued', auto_renew = true, current_version_id = '{version}', issued_at = now() - interval '10 days',
                expires_at = now() + interval '80 days' WHERE id = '{id}'",
            account = caller.account.0,
        ))
        .await;
    certificate["id"].as_str().unwrap().to_owned()
}

fn path(caller: &Caller<'_>, rest: &str) -> String {
    format!("/accounts/{}{rest}", caller.account)
}

async fn set_plan(caller: &Caller<'_>, plan: &str) -> Value {
    caller.api.operate(Method::PATCH, &path(caller, ""), Some(json!({ "plan": plan }))).await.expect(StatusCode::OK)
}

#[tokio::test]
async fn only_an_operators_token_gets_in_and_every_other_is_answered_alike() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (other, _) = zonecert_api::operators::OperatorToken::generate();
    let routes = [
        (Method::GET, "/accounts".to_owned()),
        (Method::GET, path(&caller, "")),
        (Method::PATCH, path(&caller, "")),
        (Method::GET, path(&caller, "/plan-preview?plan=plus")),
        (Method::PUT, path(&caller, "/suspension")),
        (Method::DELETE, path(&caller, "/suspension")),
    ];
    for (method, path) in routes {
        for token in [None, Some(caller.token.as_str()), Some(other.as_str()), Some("zca_")] {
            let answer = api.send(method.clone(), &format!("/api/v1/admin{path}"), token, Some(json!({}))).await;
            assert_eq!(answer.problem(401).0, "operator_credential_required", "{method} {path}");
        }
    }
    // And the operator is nobody to the rest of the API.
    let answer = api.send(Method::GET, "/api/v1/certificates", Some(&api.operator_token), None).await;
    assert_eq!(answer.problem(401).0, "credential_invalid");
}

#[tokio::test]
async fn a_plan_changes_at_once_and_both_logs_say_so() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    caller.post("/certificates", json!({})).await.problem(403);
    let account = set_plan(&caller, "pro").await;
    assert_eq!((&account["plan"], &account["limits"]["max_certificates"]), (&json!("pro"), &json!(25)));
    caller.post("/certificates", json!({})).await.problem(400);
    let audit = api.sql("SELECT actor, action, details FROM audit_log WHERE action = 'account.plan_changed'").await;
    assert_eq!(audit, [json!({"actor": "operator", "action": "account.plan_changed", "details": {"from": "free", "to": "pro"}})]);
    set_plan(&caller, "pro").await;
    assert_eq!(api.sql("SELECT 1 FROM events WHERE event = 'plan_changed'").await.len(), 1, "the same plan is no change");
    for (body, code) in
        [(json!({"plan": "gold"}), "invalid_value"), (json!({}), "required"), (json!({"plan": "pro", "x": 1}), "unknown_field")]
    {
        assert_eq!(api.operate(Method::PATCH, &path(&caller, ""), Some(body)).await.problem(400).0, code);
    }
}

#[tokio::test]
async fn a_downgrade_keeps_the_wish_to_renew_and_the_way_back_takes_it_up() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let (zone, name) = caller.verified_zone().await;
    let id = issued(&caller, &zone, &format!("app.{name}")).await;
    set_plan(&caller, "plus").await;
    let resting = caller.get(&format!("/certificates/{id}")).await.expect(StatusCode::OK);
    assert_eq!((&resting["auto_renew"], &resting["next_renewal_at"], &resting["status"]), (&json!(true), &Value::Null, &json!("issued")));
    let row = &api.sql("SELECT renewal_blocked_by, renewal_due_at FROM certificates").await[0];
    assert_eq!(row, &json!({"renewal_blocked_by": "plan", "renewal_due_at": null}));
    set_plan(&caller, "pro").await;
    let back = caller.get(&format!("/certificates/{id}")).await.expect(StatusCode::OK);
    assert!(back["next_renewal_at"].is_string(), "{back}");
    let days = &api.sql("SELECT renewal_due_at = next_renewal_at AND expires_at - renewal_due_at BETWEEN interval '30 days - 2 s' AND interval '30 days' AS due FROM certificates").await[0];
    assert_eq!(days, &json!({"due": true}));
}

#[tokio::test]
async fn what_a_downgrade_would_touch_is_shown_beforehand_and_nothing_changes() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let renewing = issued(&caller, &zone, &format!("a.{name}")).await;
    let wildcard = caller.post("/certificates", json!({"zone_id": zone, "domain": format!("*.{name}"), "auto_renew": false})).await;
    let wildcard = wildcard.expect(StatusCode::ACCEPTED)["id"].clone();
    let shown = caller.get("/plans/plus/preview").await.expect(StatusCode::OK);
    let ids = |list: &Value| list.as_array().unwrap().iter().map(|touched| touched["id"].clone()).collect::<Vec<_>>();
    assert_eq!((&shown["from"], &shown["to"], &shown["limits"]["current_count"]), (&json!("elite"), &json!("plus"), &json!(2)));
    assert_eq!(ids(&shown["auto_renewal_stops"]), [json!(renewing)]);
    assert_eq!(ids(&shown["wildcards_rest"]), [wildcard]);
    assert_eq!(
        (&shown["over_limit_by"], &shown["api_tokens_only_read"], &shown["certificates_rest"]),
        (&json!(0), &json!(false), &json!(false))
    );
    let operators = api.operate(Method::GET, &path(&caller, "/plan-preview?plan=plus"), None).await.expect(StatusCode::OK);
    assert_eq!(operators, shown);
    let free = caller.get("/plans/free/preview").await.expect(StatusCode::OK);
    assert_eq!(
        (&free["over_limit_by"], &free["limits"]["over_limit"], &free["certificates_rest"]),
        (&json!(2), &json!(true), &json!(true))
    );
    assert_eq!(caller.get("/me").await.json()["account"]["plan"], "elite");
    caller.get("/plans/gold/preview").await.problem(404);
    api.operate(Method::GET, &path(&caller, "/plan-preview?plan=gold"), None).await.problem(400);
}

#[tokio::test]
async fn suspended_for_payment_an_account_reads_downloads_and_deletes_and_is_back_as_it_was() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let (zone, name) = caller.verified_zone().await;
    let id = issued(&caller, &zone, &format!("app.{name}")).await;
    let suspended = api.operate(Method::PUT, &path(&caller, "/suspension"), Some(json!({"reason": "payment", "note": "invoice 7"}))).await;
    let suspended = suspended.expect(StatusCode::OK);
    assert_eq!((&suspended["status"], &suspended["suspension_note"]), (&json!("suspended_payment"), &json!("invoice 7")));
    assert_eq!(caller.get(&format!("/certificates/{id}")).await.expect(StatusCode::OK)["status"], "issued");
    assert_eq!(caller.post("/zones", json!({"name": "x.test"})).await.problem(403).0, "account_suspended");
    assert!(!caller.get("/me").await.text.contains("invoice 7"), "the note is the operator's");
    // The renewal is 50 days off: more than the 14 for which renewals go on.
    let blocked = async || api.sql("SELECT renewal_blocked_by FROM certificates").await[0]["renewal_blocked_by"].clone();
    assert_eq!(blocked().await, "suspended");
    let resumed = api.operate(Method::DELETE, &path(&caller, "/suspension"), None).await.expect(StatusCode::OK);
    assert_eq!((&resumed["status"], &resumed["suspended_at"], &resumed["suspension_note"]), (&json!("active"), &Value::Null, &Value::Null));
    assert_eq!(blocked().await, Value::Null);
    caller.post("/zones", json!({"name": format!("x.{name}")})).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn suspended_for_abuse_nothing_answers_and_live_issuances_are_woken() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let (zone, name) = caller.verified_zone().await;
    caller.certificate(&zone, &format!("app.{name}")).await;
    let program = caller.with_token(&["certificates:read", "keys:read"]).await;
    let jobs = api.jobs("issue").await.len();
    let suspend = async |reason: &str| api.operate(Method::PUT, &path(&caller, "/suspension"), Some(json!({ "reason": reason }))).await;
    suspend("abuse").await.expect(StatusCode::OK);
    assert_eq!(api.jobs("issue").await.len(), jobs + 1);
    for caller in [&caller, &program] {
        assert_eq!(caller.get("/certificates").await.problem(403).0, "account_suspended");
    }
    suspend("abuse").await.expect(StatusCode::OK);
    assert_eq!(api.jobs("issue").await.len(), jobs + 1, "suspending twice changes nothing");
    api.operate(Method::DELETE, &path(&caller, "/suspension"), None).await.expect(StatusCode::OK);
    assert_eq!(api.jobs("issue").await.len(), jobs + 2);
    caller.get("/certificates").await.expect(StatusCode::OK);
    assert_eq!(suspend("boredom").await.problem(400).0, "invalid_value");
}

#[tokio::test]
async fn accounts_are_listed_in_pages_and_found_by_an_address() {
    let api = TestApi::start().await;
    let callers = [api.register("free").await, api.register("plus").await, api.register("pro").await];
    let first = api.operate(Method::GET, "/accounts?limit=2", None).await.expect(StatusCode::OK);
    let second = api.operate(Method::GET, &format!("/accounts?limit=2&cursor={}", first["next_cursor"].as_str().unwrap()), None).await;
    let second = second.expect(StatusCode::OK);
    assert_eq!(second["next_cursor"], Value::Null);
    let listed: Vec<_> = [&first, &second].iter().flat_map(|page| page["accounts"].as_array().unwrap().clone()).collect();
    let ids: Vec<_> = listed.iter().map(|account| account["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, callers.each_ref().map(|caller| caller.account.to_string()));
    assert_eq!(api.operate(Method::GET, &path(&callers[1], ""), None).await.expect(StatusCode::OK), listed[1]);
    let email = callers[2].get("/me").await.json()["user"]["email"].as_str().unwrap().to_owned();
    let found = api.operate(Method::GET, &format!("/accounts?email={email}"), None).await.expect(StatusCode::OK);
    assert_eq!(found["accounts"], json!([listed[2]]));
    let nobody = api.operate(Method::GET, "/accounts?email=nobody@example.com", None).await.expect(StatusCode::OK);
    assert_eq!(nobody["accounts"], json!([]));
    for (query, code) in [("limit=0", "limit_out_of_range"), ("cursor=x", "cursor_invalid"), ("email=x", "email_invalid")] {
        let answer = api.operate(Method::GET, &format!("/accounts?{query}"), None).await;
        let (found, detail) = answer.problem(400);
        assert!(found == code || query == "email=x", "{query}: {found} {detail}");
    }
    for id in ["acct_00000000000070008000000000000000", "cert_x", "x"] {
        api.operate(Method::GET, &format!("/accounts/{id}"), None).await.problem(404);
    }
}

#[tokio::test]
async fn an_owner_ends_the_account_with_the_password_and_may_change_their_mind() {
    let api = TestApi::start().await;
    let (mine, theirs) = (api.register("pro").await, api.register("pro").await);
    let end = |password: &str| mine.send(Method::PUT, "/account/deletion", Some(json!({ "password": password })));
    assert_eq!(end("wrong wrong wrong").await.problem(403).0, "password_wrong");
    let ending = end("correct horse battery staple").await.expect(StatusCode::OK);
    assert!(ending["deletion"]["due_at"].is_string());
    assert_eq!(end("correct horse battery staple").await.expect(StatusCode::OK), ending, "asking twice does not put it off");
    assert_eq!(mine.get("/account").await.expect(StatusCode::OK), ending);
    assert_eq!(theirs.get("/account").await.expect(StatusCode::OK)["deletion"], Value::Null);
    let program = mine.with_token(&["account:admin"]).await;
    let refused = program.send(Method::PUT, "/account/deletion", Some(json!({"password": "correct horse battery staple"}))).await;
    assert_eq!(refused.problem(403).0, "person_required");
    let kept = mine.delete("/account/deletion").await.expect(StatusCode::OK);
    assert_eq!(kept["deletion"], Value::Null);
    assert_eq!(mine.delete("/account/deletion").await.expect(StatusCode::OK), kept);
}

#[tokio::test]
async fn the_account_is_renamed_by_whoever_manages_it() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let rename = async |caller: &Caller<'_>, body: Value| caller.send(Method::PATCH, "/account", Some(body)).await;
    assert_eq!(rename(&caller, json!({"name": "Müller & Söhne"})).await.expect(StatusCode::OK)["name"], "Müller & Söhne");
    assert_eq!(caller.get("/me").await.json()["account"]["name"], "Müller & Söhne");
    for body in [json!({"name": ""}), json!({"name": "a\nb"}), json!({"name": null}), json!({})] {
        assert!(rename(&caller, body).await.faults().contains_key("/name"));
    }
    let program = caller.with_token(&["certificates:read"]).await;
    assert_eq!(rename(&program, json!({"name": "x"})).await.problem(403).0, "scope_missing");
}
