//! `PATCH /certificates/{id}`: what can be changed, by whom, and what follows.

use reqwest::StatusCode;
use serde_json::{Value, json};
use zonecert_devstack::unique_label;

use crate::issued::issued;
use crate::support::{Answer, Caller, TestApi, uuid};

const AUTO_RENEW: &str = "Auto-renewal requires Pro or Elite plan";
const PAID: &str = "Certificate management requires paid subscription";

async fn patch(caller: &Caller<'_>, certificate: &Value, body: Value) -> Answer {
    caller.patch(&format!("/certificates/{}", certificate["id"].as_str().unwrap()), body).await
}

/// The certificate without what every change moves.
fn still(certificate: &Value) -> Value {
    let mut certificate = certificate.clone();
    certificate.as_object_mut().unwrap().remove("updated_at");
    certificate
}

#[tokio::test(flavor = "multi_thread")]
async fn name_label_and_key_are_changed_and_both_logs_say_so() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let before = issued(&caller, &zone, &name).await;
    let wish = json!({"name": "shop", "label": " Our shop ", "key_algorithm": "ecdsa_p256", "key_policy": "keep"});
    let changed = patch(&caller, &before, wish).await.expect(StatusCode::OK);
    let mut expected = before.clone();
    for (field, value) in [("name", "shop"), ("label", "Our shop"), ("key_algorithm", "ecdsa_p256"), ("key_policy", "keep")] {
        expected[field] = json!(value);
    }
    assert_eq!(still(&changed), still(&expected));
    assert!(changed["updated_at"].as_str() > before["updated_at"].as_str());
    assert_eq!(caller.get(&format!("/certificates/{}", before["id"].as_str().unwrap())).await.json(), changed);
    assert_eq!(api.sql("SELECT algorithm FROM private_keys").await, [json!({"algorithm": "ecdsa_p256"})]);

    let path = format!("/certificates/{}/logs", before["id"].as_str().unwrap());
    let log = caller.get(&path).await.json()["logs"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&log["event"], &log["level"]), (&json!("certificate_changed"), &json!("info")));
    let details = json!({"changed": {
        "name": {"from": name, "to": "shop"}, "label": {"from": null, "to": "Our shop"},
        "key_algorithm": {"from": "rsa2048", "to": "ecdsa_p256"}, "key_policy": {"from": "rotate", "to": "keep"},
    }});
    assert_eq!(log["details"], details);
    let audit = api.sql("SELECT subject, details FROM audit_log WHERE action = 'certificate.changed'").await;
    assert_eq!(audit, [json!({"subject": before["id"], "details": details})]);

    assert_eq!(patch(&caller, &before, json!({"label": null})).await.expect(StatusCode::OK)["label"], Value::Null);
    // What changes nothing is no change.
    let again = patch(&caller, &before, json!({"name": "shop", "label": null, "auto_renew": false})).await.expect(StatusCode::OK);
    assert_eq!(patch(&caller, &before, json!({})).await.expect(StatusCode::OK), again);
    assert_eq!(api.sql("SELECT 1 FROM events WHERE event = 'certificate_changed'").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_renewal_is_toggled_at_once_where_the_plan_has_it() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let (zone, name) = caller.verified_zone().await;
    let before = issued(&caller, &zone, &name).await;
    assert_eq!(before["auto_renew"], true);
    let off = patch(&caller, &before, json!({"auto_renew": false})).await.expect(StatusCode::OK);
    assert_eq!((&off["auto_renew"], &off["next_renewal_at"]), (&json!(false), &Value::Null));
    let due = "SELECT renewal_due_at IS NOT NULL AS due FROM certificates";
    assert_eq!(api.sql(due).await, [json!({"due": false})]);
    let on = patch(&caller, &before, json!({"auto_renew": true})).await.expect(StatusCode::OK);
    assert_eq!((&on["auto_renew"], &on["next_renewal_at"]), (&json!(true), &before["next_renewal_at"]));
    assert_eq!(api.sql(due).await, [json!({"due": true})]);

    // The wish outlives a downgrade, and can be taken back on any plan, but not made.
    for (plan, code, detail) in [("plus", "auto_renew_requires_pro", AUTO_RENEW), ("free", "paid_plan_required", PAID)] {
        caller.change_plan(plan).await;
        let refused = patch(&caller, &before, json!({"auto_renew": true})).await.problem(403);
        assert_eq!(refused, (code.to_owned(), detail.to_owned()));
        assert_eq!(caller.get("/certificates").await.json()["certificates"][0]["auto_renew"], true, "{plan}");
    }
    let off = patch(&caller, &before, json!({"auto_renew": false})).await.expect(StatusCode::OK);
    assert_eq!((&off["auto_renew"], &off["renewal_blocked_by"]), (&json!(false), &Value::Null));
    caller.change_plan("pro").await;
    let stays_off = caller.get("/certificates").await.json()["certificates"][0].clone();
    assert_eq!((&stays_off["auto_renew"], &stays_off["next_renewal_at"]), (&json!(false), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_free_plan_takes_no_other_change_whatever_it_is() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &name).await;
    caller.change_plan("free").await;
    for body in
        [json!({"name": "shop"}), json!({"auto_renew": false, "label": "x"}), json!({"auto_renew": 1}), json!("{nonsense"), json!({})]
    {
        let refused = patch(&caller, &certificate, body).await.problem(403);
        assert_eq!(refused, ("paid_plan_required".to_owned(), PAID.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_are_checked_as_those_of_a_new_certificate_and_go_into_the_next_version() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let before = issued(&caller, &zone, &format!("app.{name}")).await;
    let wish = json!({"sans": [format!("WWW.{name}."), format!("www.{name}"), format!("*.eu.{name}"), format!("app.{name}")]});
    let changed = patch(&caller, &before, wish).await.expect(StatusCode::OK);
    assert_eq!(changed["sans"], json!([format!("www.{name}"), format!("*.eu.{name}")]));
    assert_eq!((&changed["is_wildcard"], &changed["domain"]), (&json!(true), &before["domain"]));
    assert_eq!(changed["current_version"], before["current_version"]);
    assert_eq!(changed["status"], "issued");
    let stored = api.sql("SELECT position, name FROM certificate_names ORDER BY position").await;
    let names = [format!("app.{name}"), format!("www.{name}"), format!("*.eu.{name}")];
    let expected: Vec<Value> = names.iter().enumerate().map(|(position, name)| json!({"position": position, "name": name})).collect();
    assert_eq!(stored, expected);
    assert_eq!(caller.get("/certificates?q=www").await.json()["certificates"].as_array().unwrap().len(), 1);

    let refused = async |sans: Value, status: u16, code: &str| {
        let answer = patch(&caller, &before, json!({"sans": sans})).await;
        assert_eq!(answer.problem(status).0, code, "{sans}");
        answer
    };
    let outside = refused(json!([format!("www.{name}"), "zonecert.io"]), 400, "domain_not_under_zone").await;
    assert_eq!(outside.problem(400).1, "Domain not under zone");
    assert_eq!(outside.faults(), [("/sans/1".to_owned(), "domain_not_under_zone".to_owned())].into());
    refused(json!([format!("*.{name}")]), 400, "name_redundant_with_wildcard").await;
    let hundred: Vec<String> = (0..100).map(|number| format!("h{number}.{name}")).collect();
    let too_many = refused(json!(hundred), 400, "too_many_names").await;
    assert_eq!(too_many.faults(), [("/sans".to_owned(), "too_many_names".to_owned())].into());
    patch(&caller, &before, json!({"sans": hundred[1..]})).await.expect(StatusCode::OK);
    assert_eq!(patch(&caller, &before, json!({"sans": []})).await.expect(StatusCode::OK)["sans"], json!([]));

    caller.change_plan("pro").await;
    let wildcard = refused(json!([format!("*.eu.{name}")]), 403, "wildcard_requires_elite").await;
    assert_eq!(wildcard.problem(403).1, "Wildcard certificates require Elite plan");
    patch(&caller, &before, json!({"sans": [format!("www.{name}")]})).await.expect(StatusCode::OK);
    api.execute("UPDATE zones SET status = 'lost'").await;
    refused(json!([]), 409, "zone_not_verified").await;
    api.execute("UPDATE zones SET deleted_at = now()").await;
    let gone = refused(json!([]), 404, "zone_not_found").await;
    assert_eq!(gone.problem(404).1, "Zone not found or no permission");
    // All else can be changed without the zone.
    patch(&caller, &before, json!({"label": "x"})).await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_certificates_alone() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("plus").await, api.register("plus").await);
    let (zone, name) = caller.verified_zone().await;
    let (one, two) = (caller.certificate(&zone, &format!("a.{name}")).await, caller.certificate(&zone, &format!("b.{name}")).await);
    patch(&caller, &one, json!({"name": "shop"})).await.expect(StatusCode::OK);
    let (code, detail) = patch(&caller, &two, json!({"name": "shop"})).await.problem(409);
    assert_eq!(code, "certificate_name_taken");
    assert!(detail.contains("shop"), "{detail}");
    patch(&caller, &one, json!({"name": "shop"})).await.expect(StatusCode::OK);
    let (theirs, their_name) = other.verified_zone().await;
    let foreign = other.certificate(&theirs, &their_name).await;
    patch(&other, &foreign, json!({"name": "shop"})).await.expect(StatusCode::OK);
    caller.delete(&format!("/certificates/{}", one["id"].as_str().unwrap())).await;
    patch(&caller, &two, json!({"name": "shop"})).await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_or_cannot_be_changed_is_refused_and_changes_nothing() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &name).await;
    let long = "x".repeat(201);
    for (body, pointer, code) in [
        (json!({"auto_renew": "yes"}), "/auto_renew", "wrong_type"),
        (json!({"auto_renew": null}), "/auto_renew", "wrong_type"),
        (json!({"name": null}), "/name", "wrong_type"),
        (json!({"name": ""}), "/name", "certificate_name_invalid"),
        (json!({"name": "a/b"}), "/name", "certificate_name_invalid"),
        (json!({"label": 1}), "/label", "wrong_type"),
        (json!({"label": ""}), "/label", "text_empty"),
        (json!({"label": long}), "/label", "text_too_long"),
        (json!({"label": "a\u{0}b"}), "/label", "text_has_control_characters"),
        (json!({"key_algorithm": "rsa1024"}), "/key_algorithm", "unknown_choice"),
        (json!({"key_algorithm": null}), "/key_algorithm", "wrong_type"),
        (json!({"key_policy": "burn"}), "/key_policy", "unknown_choice"),
        (json!({"sans": "a.example.test,b.example.test"}), "/sans", "wrong_type"),
        (json!({"sans": null}), "/sans", "wrong_type"),
        (json!({"sans": [1]}), "/sans/0", "wrong_type"),
        (json!({"sans": [format!("a.{name}"), "co.uk"]}), "/sans/1", "name_is_public_suffix"),
    ] {
        assert_eq!(patch(&caller, &certificate, body.clone()).await.faults(), [(pointer.to_owned(), code.to_owned())].into(), "{body}");
    }
    for field in ["domain", "zone_id", "environment", "wildcard", "place_order", "status", "id", "autorenew"] {
        let answer = patch(&caller, &certificate, json!({field: "x", "label": "x"})).await;
        assert_eq!(answer.problem(400).0, "unknown_field", "{field}");
    }
    let several = patch(&caller, &certificate, json!({"name": "-", "key_policy": "x", "sans": ["co.uk"]})).await;
    assert_eq!(several.problem(400).0, "invalid_input");
    assert_eq!(several.faults().into_keys().collect::<Vec<_>>(), ["/key_policy", "/name", "/sans/0"]);
    for raw in ["", "null", "[]", "{\"name\":"] {
        patch(&caller, &certificate, json!(raw)).await.problem(400);
    }
    let path = format!("/certificates/{}", certificate["id"].as_str().unwrap());
    assert_eq!(caller.send(reqwest::Method::PATCH, &path, None).await.problem(415).0, "unsupported_media_type");
    assert_eq!(caller.get(&path).await.expect(StatusCode::OK), certificate);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_can_be_changed_in_every_state_until_it_is_deleted() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &name).await;
    for status in ["pending", "validating", "issued", "failed", "expired", "revoked"] {
        api.execute(&format!("UPDATE certificates SET status = '{status}' WHERE id = '{}'", uuid(&certificate["id"]))).await;
        let body = json!({"label": status, "sans": [format!("{status}.{name}")]});
        let changed = patch(&caller, &certificate, body).await.expect(StatusCode::OK);
        assert_eq!((&changed["status"], &changed["label"]), (&json!(status), &json!(status)));
    }
    caller.delete(&format!("/certificates/{}", certificate["id"].as_str().unwrap())).await;
    assert_eq!(patch(&caller, &certificate, json!({"label": "x"})).await.problem(404).0, "not_found");
    let nobodys = json!({"id": format!("cert_{}", unique_label())});
    assert_eq!(patch(&caller, &nobodys, json!({"label": "x"})).await.problem(404).0, "not_found");
}
