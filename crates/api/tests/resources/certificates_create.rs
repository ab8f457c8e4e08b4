//! Requesting a certificate: what is stored, and every refusal with its exact text (requirements section 1).

use reqwest::StatusCode;
use serde_json::{Value, json};
use zonecert_devstack::unique_label;

use crate::support::{Answer, Caller, TestApi, uuid};

const EXISTS: &str = "Certificate already exists for domain";
const LIMIT: &str = "Certificate limit reached for plan";
const NO_ZONE: &str = "Zone not found or no permission";
const NOT_UNDER: &str = "Domain not under zone";
const PAID: &str = "Certificate management requires paid subscription";
const WILDCARD: &str = "Wildcard certificates require Elite plan";
const AUTO_RENEW: &str = "Auto-renewal requires Pro or Elite plan";

/// The body with more fields.
fn with(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, detail: &str) {
    assert_eq!(answer.problem(status), (code.to_owned(), detail.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_pending_at_once_and_a_job_is_sent_for_it() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let domain = format!("app.{name}");
    let body = json!({"zone_id": zone, "domain": domain, "sans": [format!("www.{name}")], "label": " Our shop "});
    let answer = caller.post("/certificates", body).await;
    let certificate = answer.expect(StatusCode::ACCEPTED);
    let id = certificate["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/certificates/{id}"));
    let expected = json!({
        "id": id, "kind": "managed", "name": domain, "number": 1, "label": "Our shop", "zone_id": zone, "domain": domain, "sans": [format!("www.{name}")],
        "is_wildcard": false, "auto_renew": true, "status": "pending", "downloadable": false, "environment": "production",
        "key_algorithm": "rsa2048", "key_policy": "rotate", "alternate": null, "subject": null, "profile": null, "acme_account_id": null,
        "private_key_id": certificate["private_key_id"], "api_key_via_url": false, "issued_at": null, "expires_at": null, "next_renewal_at": null,
        "renewal_blocked_by": null, "renewal_info": null, "current_version": null, "deployed": [], "revocation": null, "last_error": null, "next_attempt_at": certificate["next_attempt_at"], "created_at": certificate["created_at"],
        "updated_at": certificate["created_at"],
    });
    assert_eq!(certificate, expected);
    assert!(certificate["next_attempt_at"].is_string() && certificate["private_key_id"].as_str().unwrap().starts_with("key_"));
    assert_eq!(caller.get(&format!("/certificates/{id}")).await.expect(StatusCode::OK), certificate);

    let issuances = api.sql("SELECT id, reason, status, wake_seq, give_up_at - created_at AS patience FROM issuances").await;
    let issuance = &issuances[0];
    assert_eq!((&issuance["reason"], &issuance["status"], &issuance["wake_seq"]), (&json!("first"), &json!("active"), &json!(1)));
    assert!(["1 day", "24:00:00"].iter().any(|day| issuance["patience"].as_str().unwrap().starts_with(day)), "{issuance}");
    assert_eq!(api.jobs("issue").await, [json!({"account_id": caller.account.0, "issuance_id": issuance["id"]})]);
    let names = api.sql("SELECT position, name, reversed_name FROM certificate_names ORDER BY position").await;
    let reversed = format!("test.{}.app", name.strip_suffix(".test").unwrap());
    assert_eq!(names[0], json!({"position": 0, "name": domain, "reversed_name": reversed}));

    let logs = caller.get(&format!("/certificates/{id}/logs")).await.expect(StatusCode::OK);
    assert_eq!(logs["logs"].as_array().unwrap().len(), 1);
    assert_eq!((&logs["logs"][0]["event"], &logs["logs"][0]["level"]), (&json!("certificate_requested"), &json!("info")));
    assert_eq!(logs["logs"][0]["details"]["domain"], domain);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_order_nothing_is_under_way() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let body = json!({"zone_id": zone, "domain": name, "place_order": false});
    let answer = caller.post("/certificates", body.clone()).await;
    let certificate = answer.expect(StatusCode::CREATED);
    assert_eq!((&certificate["status"], &certificate["next_attempt_at"]), (&json!("pending"), &Value::Null));
    assert_eq!(answer.header("location"), format!("/api/v1/certificates/{}", certificate["id"].as_str().unwrap()));
    assert_eq!((api.count("issuances").await, api.jobs("issue").await.len()), (0, 0));
    // It holds its domain and its slot all the same.
    refused(&caller.post("/certificates", body).await, 409, "certificate_exists", EXISTS);
    assert_eq!(caller.get("/limits").await.expect(StatusCode::OK)["current_count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_exact_text() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("plus").await, api.register("plus").await);
    let (zone, name) = caller.verified_zone().await;
    let (foreign, foreign_name) = other.verified_zone().await;
    let body = json!({"zone_id": zone, "domain": format!("app.{name}")});
    let post = async |body: &Value| caller.post("/certificates", body.clone()).await;

    caller.set_plan("free").await;
    refused(&post(&body).await, 403, "paid_plan_required", PAID);
    caller.set_plan("plus").await;

    let foreign_body = json!({"zone_id": foreign, "domain": format!("app.{foreign_name}")});
    refused(&post(&foreign_body).await, 404, "zone_not_found", NO_ZONE);
    for absent in ["zone_00000000000000000000000000000000", "zone_x", "", "cert_00000000000000000000000000000000", "'; --", "\0"] {
        refused(&post(&with(&body, &json!({"zone_id": absent}))).await, 404, "zone_not_found", NO_ZONE);
    }

    let outside = [foreign_name.clone(), format!("app.{foreign_name}"), format!("not{name}"), "zonecert.io".to_owned()];
    for domain in outside {
        refused(&post(&with(&body, &json!({"domain": domain}))).await, 400, "domain_not_under_zone", NOT_UNDER);
        let answer = post(&with(&body, &json!({"sans": [format!("www.{name}"), domain]}))).await;
        refused(&answer, 400, "domain_not_under_zone", NOT_UNDER);
        assert_eq!(answer.faults(), [("/sans/1".to_owned(), "domain_not_under_zone".to_owned())].into());
    }

    for wildcard in
        [json!({"domain": format!("*.{name}")}), json!({"domain": name, "wildcard": true}), json!({"sans": [format!("*.api.{name}")]})]
    {
        for plan in ["plus", "pro"] {
            caller.set_plan(plan).await;
            refused(&post(&with(&body, &wildcard)).await, 403, "wildcard_requires_elite", WILDCARD);
        }
    }
    caller.set_plan("plus").await;
    refused(&post(&with(&body, &json!({"auto_renew": true}))).await, 403, "auto_renew_requires_pro", AUTO_RENEW);
    assert_eq!((api.count("certificates").await, api.count("issuances").await), (0, 0));

    for number in 0..5 {
        post(&with(&body, &json!({"domain": format!("h{number}.{name}")}))).await.expect(StatusCode::ACCEPTED);
    }
    refused(&post(&body).await, 403, "certificate_limit_reached", LIMIT);
    refused(&post(&with(&body, &json!({"domain": format!("h0.{name}")}))).await, 409, "certificate_exists", EXISTS);
    assert_eq!((api.count("certificates").await, api.jobs("issue").await.len()), (5, 5));
}

/// Requirements S3.53: of several that apply, the first.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_errors_the_first_in_order_is_told() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    for number in 0..5 {
        caller.certificate(&zone, &format!("h{number}.{name}")).await;
    }
    let absent = "zone_00000000000000000000000000000000";
    let wildcard = format!("*.{name}");
    caller.post("/certificates", json!({"zone_id": zone, "domain": wildcard})).await.problem(403);
    let everything = json!({"zone_id": absent, "domain": "*.zonecert.io", "sans": ["co.uk"], "auto_renew": true});

    let anonymous = api.send(reqwest::Method::POST, "/api/v1/certificates", None, Some(everything.clone())).await;
    assert_eq!(anonymous.problem(401).0, "credential_missing");
    caller.set_plan("free").await;
    for body in [everything.clone(), json!("{nonsense"), json!([]), json!({"zone_id": 1})] {
        refused(&caller.post("/certificates", body).await, 403, "paid_plan_required", PAID);
    }
    caller.set_plan("plus").await;
    let steps = [
        (everything, 400, "name_is_public_suffix"),
        (json!({"zone_id": absent, "domain": "*.zonecert.io", "auto_renew": true}), 404, "zone_not_found"),
        (json!({"zone_id": zone, "domain": "*.zonecert.io", "auto_renew": true}), 400, "domain_not_under_zone"),
        (
            json!({"zone_id": zone, "domain": format!("h0.{name}"), "sans": [format!("*.a.{name}")], "auto_renew": true}),
            403,
            "wildcard_requires_elite",
        ),
        (json!({"zone_id": zone, "domain": format!("h0.{name}"), "auto_renew": true}), 403, "auto_renew_requires_pro"),
        (json!({"zone_id": zone, "domain": format!("h0.{name}")}), 409, "certificate_exists"),
        (json!({"zone_id": zone, "domain": format!("h5.{name}")}), 403, "certificate_limit_reached"),
    ];
    for (body, status, code) in steps {
        assert_eq!(caller.post("/certificates", body).await.problem(status).0, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_must_be_verified_first() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let name = format!("{}.test", unique_label());
    let zone = caller.post("/zones", json!({"name": name})).await.expect(StatusCode::CREATED);
    let body = json!({"zone_id": zone["id"], "domain": name});
    let (code, detail) = caller.post("/certificates", body.clone()).await.problem(409);
    assert_eq!(code, "zone_not_verified");
    assert!(detail.contains("/verify first"), "{detail}");
    api.execute(&format!("UPDATE zones SET status = 'lost' WHERE id = '{}'", uuid(&zone["id"]))).await;
    assert_eq!(caller.post("/certificates", body.clone()).await.problem(409).0, "zone_not_verified");
    api.execute(&format!("UPDATE zones SET deleted_at = now() WHERE id = '{}'", uuid(&zone["id"]))).await;
    refused(&caller.post("/certificates", body).await, 404, "zone_not_found", NO_ZONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_expired_or_revoked_certificate_holds_neither_domain_nor_slot() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    for status in ["failed", "expired", "revoked"] {
        let certificate = caller.certificate(&zone, &name).await;
        api.execute(&format!("UPDATE certificates SET status = '{status}' WHERE id = '{}'", uuid(&certificate["id"]))).await;
    }
    assert_eq!(caller.get("/limits").await.expect(StatusCode::OK)["current_count"], 0);
    let last = caller.certificate(&zone, &name).await;
    assert_eq!((&last["name"], &last["number"]), (&json!(format!("{name}-4")), &json!(4)));
    refused(&caller.post("/certificates", json!({"zone_id": zone, "domain": name})).await, 409, "certificate_exists", EXISTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_read_in_whatever_spelling_and_count_once() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let upper = name.to_uppercase();
    let body = json!({
        "zone_id": zone, "domain": format!("App.{upper}."),
        "sans": [format!("WWW.{name}"), format!("www.{name}."), format!("app.{name}"), format!("bücher.{name}"), format!("xn--bcher-kva.{name}")],
    });
    let certificate = caller.post("/certificates", body).await.expect(StatusCode::ACCEPTED);
    assert_eq!(certificate["domain"], format!("app.{name}"));
    assert_eq!(certificate["sans"], json!([format!("www.{name}"), format!("xn--bcher-kva.{name}")]));
    for spelling in [format!("APP.{name}"), format!("app.{upper}."), format!("app.{name}")] {
        let answer = caller.post("/certificates", json!({"zone_id": zone, "domain": spelling})).await;
        refused(&answer, 409, "certificate_exists", EXISTS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_is_asked_for_in_two_ways() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    for more in [json!({"domain": "*."}), json!({"domain": "", "wildcard": true}), json!({"domain": "*.", "wildcard": true})] {
        let (zone, name) = caller.verified_zone().await;
        let domain = format!("{}{name}", more["domain"].as_str().unwrap());
        let body = with(&json!({"zone_id": zone}), &with(&more, &json!({"domain": domain})));
        let certificate = caller.post("/certificates", body).await.expect(StatusCode::ACCEPTED);
        assert_eq!((&certificate["domain"], &certificate["sans"]), (&json!(format!("*.{name}")), &json!([name])));
        assert_eq!((&certificate["is_wildcard"], &certificate["name"]), (&json!(true), &json!(format!("wildcard.{name}"))));
    }
    let (zone, name) = caller.verified_zone().await;
    let alone = json!({"zone_id": zone, "domain": name, "wildcard": true, "include_base": false});
    assert_eq!(caller.post("/certificates", alone).await.expect(StatusCode::ACCEPTED)["sans"], json!([]));
    let redundant = json!({"zone_id": zone, "domain": format!("*.b.{name}"), "sans": [format!("www.b.{name}")]});
    let faults = caller.post("/certificates", redundant).await.faults();
    assert_eq!(faults, [("/sans/0".to_owned(), "name_redundant_with_wildcard".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_names_are_taken_and_one_more_is_not() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let sans = |count: usize| (1..=count).map(|number| format!("h{number}.{name}")).collect::<Vec<_>>();
    let body = |count| json!({"zone_id": zone, "domain": format!("h0.{name}"), "sans": sans(count)});
    let answer = caller.post("/certificates", body(100)).await;
    assert_eq!(answer.faults(), [("/sans".to_owned(), "too_many_names".to_owned())].into());
    let certificate = caller.post("/certificates", body(99)).await.expect(StatusCode::ACCEPTED);
    assert_eq!(certificate["sans"].as_array().unwrap().len(), 99);
    let with_doubles = json!({"zone_id": zone, "domain": format!("other.{name}"), "sans": ([sans(99), sans(99)].concat())});
    caller.post("/certificates", with_doubles).await.expect(StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_shape_is_a_problem_that_names_every_field() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let body = json!({"zone_id": zone, "domain": name});
    for (more, pointer, code) in [
        (json!({"domain": null}), "/domain", "wrong_type"),
        (json!({"zone_id": null}), "/zone_id", "wrong_type"),
        (json!({"zone_id": 7}), "/zone_id", "wrong_type"),
        (json!({"sans": "a.test, b.test"}), "/sans", "wrong_type"),
        (json!({"sans": [null]}), "/sans/0", "wrong_type"),
        (json!({"sans": [["a"]]}), "/sans/0", "wrong_type"),
        (json!({"sans": {}}), "/sans", "wrong_type"),
        (json!({"wildcard": "yes"}), "/wildcard", "wrong_type"),
        (json!({"auto_renew": 1}), "/auto_renew", "wrong_type"),
        (json!({"name": ""}), "/name", "certificate_name_invalid"),
        (json!({"name": "a/b"}), "/name", "certificate_name_invalid"),
        (json!({"label": "a\u{0}b"}), "/label", "text_has_control_characters"),
        (json!({"label": "x".repeat(201)}), "/label", "text_too_long"),
        (json!({"key_algorithm": "rsa1024"}), "/key_algorithm", "unknown_choice"),
        (json!({"key_policy": "burn"}), "/key_policy", "unknown_choice"),
        (json!({"environment": "test"}), "/environment", "unknown_choice"),
    ] {
        let faults = caller.post("/certificates", with(&body, &more)).await.faults();
        assert_eq!(faults, [(pointer.to_owned(), code.to_owned())].into(), "{more}");
    }
    for (missing, pointer) in [(json!({"domain": name}), "/zone_id"), (json!({"zone_id": zone}), "/domain")] {
        assert_eq!(caller.post("/certificates", missing).await.faults(), [(pointer.to_owned(), "required".to_owned())].into());
    }
    let unknown = caller.post("/certificates", with(&body, &json!({"autorenew": true}))).await;
    assert_eq!(unknown.problem(400).0, "unknown_field");
    let several = caller.post("/certificates", with(&body, &json!({"sans": ["co.uk", "a_b.test"], "key_policy": "x"}))).await;
    assert_eq!(several.problem(400).0, "invalid_input");
    let pointers: Vec<String> = several.faults().into_keys().collect();
    assert_eq!(pointers, ["/key_policy", "/sans/0", "/sans/1"]);
    for raw in ["", "null", "[]", "\"x\"", "{\"zone_id\":", "{} {}", "\u{feff}{}"] {
        caller.post("/certificates", json!(raw)).await.problem(400);
    }
    assert_eq!(api.count("certificates").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn choices_are_kept() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let chosen = json!({
        "name": "My_cert.1", "key_algorithm": "ecdsa_p384", "key_policy": "keep", "environment": "staging", "auto_renew": false, "label": "Zürich",
    });
    let certificate = caller.post("/certificates", with(&json!({"zone_id": zone, "domain": name}), &chosen)).await;
    let certificate = certificate.expect(StatusCode::ACCEPTED);
    for (field, value) in chosen.as_object().unwrap() {
        assert_eq!(&certificate[field], value, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_renewal_is_on_where_the_plan_has_it_and_nobody_says_otherwise() {
    let api = TestApi::start().await;
    for (plan, expected) in [("plus", false), ("pro", true), ("elite", true)] {
        let caller = api.register(plan).await;
        let (zone, name) = caller.verified_zone().await;
        assert_eq!(caller.certificate(&zone, &name).await["auto_renew"], expected, "{plan}");
        let off = json!({"zone_id": zone, "domain": format!("off.{name}"), "auto_renew": false});
        assert_eq!(caller.post("/certificates", off).await.expect(StatusCode::ACCEPTED)["auto_renew"], false, "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_name_is_unique_and_a_derived_one_makes_room() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("elite").await, api.register("elite").await);
    let (zone, name) = caller.verified_zone().await;
    let post = async |caller: &Caller<'_>, zone: &str, domain: String, chosen: Value| {
        caller.post("/certificates", json!({"zone_id": zone, "domain": domain, "name": chosen})).await
    };
    let derived = format!("b.{name}");
    post(&caller, &zone, format!("a.{name}"), json!(derived)).await.expect(StatusCode::ACCEPTED);
    let (code, detail) = post(&caller, &zone, format!("c.{name}"), json!(derived)).await.problem(409);
    assert_eq!(code, "certificate_name_taken");
    assert!(detail.contains(&derived), "{detail}");
    post(&caller, &zone, format!("d.{name}"), json!(format!("{derived}-3"))).await.expect(StatusCode::ACCEPTED);
    let second = post(&caller, &zone, derived.clone(), Value::Null).await.expect(StatusCode::ACCEPTED);
    assert_eq!(second["name"], format!("{derived}-2"));
    api.execute(&format!("UPDATE certificates SET status = 'failed' WHERE id = '{}'", uuid(&second["id"]))).await;
    let fourth = caller.certificate(&zone, &derived).await;
    assert_eq!(fourth["name"], format!("{derived}-4"));
    // Another account's names are its own.
    let (zone, _) = other.verified_zone().await;
    let domain = other.get(&format!("/zones/{zone}")).await.json()["name"].as_str().unwrap().to_owned();
    post(&other, &zone, domain, json!(derived)).await.expect(StatusCode::ACCEPTED);
}
