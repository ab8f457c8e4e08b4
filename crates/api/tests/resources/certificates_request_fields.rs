//! What a certificate's requests say beside names and key: fields of the subject, and the CA's profile.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Caller, TestApi};

const OFFERED: &str = "INSERT INTO ca_profiles (environment, directory_url, name, description) VALUES
    ('production', 'https://a.test/dir', 'shortlived', 'https://a.test/shortlived'), ('production', 'https://b.test/dir', 'shortlived', 'six days'),
    ('production', 'https://b.test/dir', 'tlsserver', ''), ('staging', 'https://c.test/dir', 'classic', 'as ever')";

/// Requests a certificate with more fields, whose answer must have this status.
async fn request(caller: &Caller<'_>, zone: &str, domain: &str, more: Value, status: StatusCode) -> Value {
    let mut body = json!({"zone_id": zone, "domain": domain});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    caller.post("/certificates", body).await.expect(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_the_subject_are_kept_shown_replaced_as_a_whole_and_taken_away() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let subject =
        json!({"country": "ch", "state": "Bern", "locality": " Thun ", "organization": "Zürich & Co", "organizational_unit": "Web"});
    let certificate = request(&caller, &zone, &name, json!({"subject": subject}), StatusCode::ACCEPTED).await;
    let kept = json!({"country": "CH", "state": "Bern", "locality": "Thun", "organization": "Zürich & Co", "organizational_unit": "Web"});
    assert_eq!(certificate["subject"], kept);
    let path = format!("/certificates/{}", certificate["id"].as_str().unwrap());
    assert_eq!(caller.get(&path).await.expect(StatusCode::OK)["subject"], kept);

    let changed = caller.patch(&path, json!({"label": "x"})).await.expect(StatusCode::OK);
    assert_eq!(changed["subject"], kept, "what is absent stays");
    let changed = caller.patch(&path, json!({"subject": {"organization": "Other AG"}})).await.expect(StatusCode::OK);
    let other = json!({"country": null, "state": null, "locality": null, "organization": "Other AG", "organizational_unit": null});
    assert_eq!(changed["subject"], other);
    let log = caller.get(&format!("{path}/logs")).await.json()["logs"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(log["message"], "Changed: subject; the next version has it");
    assert_eq!(log["details"]["changed"]["subject"], json!({"from": kept, "to": {"organization": "Other AG"}}));
    for nothing in [json!(null), json!({}), json!({"state": null})] {
        caller.patch(&path, json!({"subject": {"state": "Bern"}})).await.expect(StatusCode::OK);
        let changed = caller.patch(&path, json!({"subject": nothing})).await.expect(StatusCode::OK);
        assert_eq!(changed["subject"], Value::Null, "{nothing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_rules_of_a_subject_is_pointed_at() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let path = format!("/certificates/{}", caller.certificate(&zone, &name).await["id"].as_str().unwrap());
    for (subject, pointer, code) in [
        (json!({"country": "CHE"}), "/subject/country", "country_invalid"),
        (json!({"country": "1a"}), "/subject/country", "country_invalid"),
        (json!({"country": ""}), "/subject/country", "country_invalid"),
        (json!({"state": "x".repeat(129)}), "/subject/state", "text_too_long"),
        (json!({"locality": "a\u{0}"}), "/subject/locality", "text_has_control_characters"),
        (json!({"organization": "ü".repeat(65)}), "/subject/organization", "text_too_long"),
        (json!({"organizational_unit": " "}), "/subject/organizational_unit", "text_empty"),
        (json!({"organization": 1}), "/subject/organization", "wrong_type"),
        (json!({"email": "a@example.test"}), "/subject/email", "unknown_field"),
    ] {
        let expected = [(pointer.to_owned(), code.to_owned())].into();
        let requested = json!({"zone_id": zone, "domain": format!("app.{name}"), "subject": subject});
        assert_eq!(caller.post("/certificates", requested).await.faults(), expected, "{subject}");
        assert_eq!(caller.patch(&path, json!({"subject": subject})).await.faults(), expected, "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_one_that_a_ca_of_the_environment_offers() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    assert_eq!(caller.get("/certificates/profiles").await.expect(StatusCode::OK), json!({"profiles": []}));
    let wish = |domain: &str, profile: &str, environment: &str| json!({"zone_id": zone, "domain": format!("{domain}.{name}"), "profile": profile, "environment": environment});
    let nothing = caller.post("/certificates", wish("a", "shortlived", "production")).await.problem(400);
    assert_eq!(nothing, ("profile_not_offered".to_owned(), "No CA offers profiles; leave the profile out".to_owned()));

    api.execute(OFFERED).await;
    let row = |environment: &str, directory: &str, name: &str, description: &str| json!({"environment": environment, "directory_url": format!("https://{directory}.test/dir"), "name": name, "description": description});
    let offered = json!({"profiles": [
        row("production", "a", "shortlived", "https://a.test/shortlived"), row("production", "b", "shortlived", "six days"),
        row("production", "b", "tlsserver", ""), row("staging", "c", "classic", "as ever"),
    ]});
    assert_eq!(caller.get("/certificates/profiles").await.expect(StatusCode::OK), offered);
    for (profile, environment, names) in [
        ("classic", "production", "shortlived, tlsserver"),
        ("shortlived", "staging", "classic"),
        ("a\u{0}", "staging", "classic"),
        ("", "staging", "classic"),
    ] {
        for path in ["/certificates", "/certificates/preflight"] {
            let refused = caller.post(path, wish("a", profile, environment)).await;
            let detail = format!("Give one of {names}, or leave the profile out");
            assert_eq!(refused.problem(400), ("profile_not_offered".to_owned(), detail), "{path} {profile:?}");
            assert_eq!(refused.faults(), [("/profile".to_owned(), "profile_not_offered".to_owned())].into());
        }
    }
    let certificate = caller.post("/certificates", wish("a", "shortlived", "production")).await.expect(StatusCode::ACCEPTED);
    assert_eq!(certificate["profile"], "shortlived");
    let staging = caller.post("/certificates", wish("b", "classic", "staging")).await.expect(StatusCode::ACCEPTED);
    assert_eq!(staging["profile"], "classic");

    let path = format!("/certificates/{}", certificate["id"].as_str().unwrap());
    assert_eq!(caller.patch(&path, json!({"profile": "classic"})).await.problem(400).0, "profile_not_offered");
    assert_eq!(caller.patch(&path, json!({"profile": "tlsserver"})).await.expect(StatusCode::OK)["profile"], "tlsserver");
    // It is not offered any more: what is there stays, and other changes go on.
    api.execute("DELETE FROM ca_profiles").await;
    assert_eq!(caller.patch(&path, json!({"label": "x"})).await.expect(StatusCode::OK)["profile"], "tlsserver");
    assert_eq!(caller.patch(&path, json!({"profile": null})).await.expect(StatusCode::OK)["profile"], Value::Null);
    let log = caller.get(&format!("{path}/logs")).await.json()["logs"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(log["details"]["changed"], json!({"profile": {"from": "tlsserver", "to": null}}));
}
