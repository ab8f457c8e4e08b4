//! The people of an account.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Caller, TestApi, uuid};

/// Somebody of the caller's account with this role, signed in.
pub(crate) async fn colleague<'a>(owner: &Caller<'a>, role: &str) -> (String, Caller<'a>) {
    let email = format!("{}@customer.zonecert.io", zonecert_devstack::unique_label());
    owner.api.execute(&format!("UPDATE users SET email_verified_at = now() WHERE account_id = '{}'", owner.account.0)).await;
    owner.post("/invitations", json!({"email": email, "role": role})).await.expect(StatusCode::CREATED);
    let token = owner.api.last_mail(&email, "invitation").await.token();
    let body = json!({"token": token, "password": "correct horse battery staple"});
    let session = owner.api.send(Method::POST, "/api/v1/auth/accept-invitation", None, Some(body)).await.expect(StatusCode::CREATED);
    let caller = Caller { token: session["access_token"].as_str().unwrap().to_owned(), ..owner.clone() };
    (session["user"]["id"].as_str().unwrap().to_owned(), caller)
}

async fn own_id(caller: &Caller<'_>) -> String {
    caller.get("/me").await.expect(StatusCode::OK)["user"]["id"].as_str().unwrap().to_owned()
}

async fn set_role(caller: &Caller<'_>, id: &str, role: &str) -> crate::support::Answer {
    caller.send(Method::PATCH, &format!("/users/{id}"), Some(json!({"role": role}))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_see_everybody_and_others_see_themselves() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let (member_id, member) = colleague(&owner, "member").await;
    let (_, viewer) = colleague(&owner, "viewer").await;
    api.register("plus").await;

    let list = owner.get("/users").await.expect(StatusCode::OK);
    let roles: Vec<&str> = list["users"].as_array().unwrap().iter().map(|user| user["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["owner", "member", "viewer"]);
    let shown = owner.get(&format!("/users/{member_id}")).await.expect(StatusCode::OK);
    assert_eq!(shown, list["users"][1]);
    assert_eq!(shown, member.get("/me").await.expect(StatusCode::OK)["user"]);
    assert_eq!((&shown["email_verified"], &shown["name"]), (&json!(true), &Value::Null));
    for caller in [&member, &viewer] {
        assert_eq!(caller.get("/users").await.problem(403).0, "scope_missing");
        assert_eq!(caller.get(&format!("/users/{member_id}")).await.problem(403).0, "scope_missing");
        assert_eq!(set_role(caller, &member_id, "owner").await.problem(403).0, "scope_missing");
        assert_eq!(caller.delete(&format!("/users/{member_id}")).await.problem(403).0, "scope_missing");
    }
    let program = owner.with_token(&["account:admin"]).await;
    assert_eq!(program.get("/users").await.expect(StatusCode::OK), list);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_people_are_not_found() {
    let api = TestApi::start().await;
    let (owner, stranger) = (api.register("plus").await, api.register("plus").await);
    let (member, _) = colleague(&owner, "member").await;
    for id in [member.as_str(), "user_00000000000000000000000000000000", "nonsense"] {
        let path = format!("/users/{id}");
        assert_eq!(stranger.get(&path).await.problem(404).0, "not_found");
        assert_eq!(set_role(&stranger, id, "viewer").await.problem(404).0, "not_found");
        assert_eq!(stranger.delete(&path).await.problem(404).0, "not_found");
    }
    assert_eq!(owner.get(&format!("/users/{member}")).await.expect(StatusCode::OK)["role"], "member");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_changed_from_the_next_request_on() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let (id, colleague) = colleague(&owner, "viewer").await;
    assert_eq!(set_role(&owner, &id, "owner").await.expect(StatusCode::OK)["role"], "owner");
    assert_eq!(colleague.get("/users").await.status, StatusCode::OK);
    let noted =
        api.sql("SELECT subject, details->>'from' AS was, details->>'to' AS is FROM audit_log WHERE action = 'user.role_changed'").await;
    assert_eq!(noted, [json!({"subject": id, "was": "viewer", "is": "owner"})]);
    let told = api.sql("SELECT details FROM events WHERE event = 'user_role_changed'").await;
    assert_eq!(told, [json!({"details": {"user_id": id, "from": "viewer", "to": "owner"}})]);

    // The same once more is no change.
    set_role(&owner, &id, "owner").await.expect(StatusCode::OK);
    assert_eq!(api.sql("SELECT count(*) FROM audit_log WHERE action = 'user.role_changed'").await, [json!({"count": 1})]);
    for (body, pointer, code) in [
        (json!({}), "/role", "required"),
        (json!({"role": "king"}), "/role", "role_unknown"),
        (json!({"role": 7}), "/role", "wrong_type"),
        (json!({"role": "owner", "email": "a@b.io"}), "/email", "unknown_field"),
    ] {
        let answer = owner.send(Method::PATCH, &format!("/users/{id}"), Some(body)).await;
        assert_eq!(answer.faults(), [(pointer.to_owned(), code.to_owned())].into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_owner_stays() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let id = own_id(&owner).await;
    for role in ["member", "viewer"] {
        assert_eq!(set_role(&owner, &id, role).await.problem(409).0, "last_owner");
    }
    assert_eq!(owner.delete(&format!("/users/{id}")).await.problem(409).0, "last_owner");

    // Of two owners who take each other's role away at the same moment, one stays.
    let (other_id, other) = colleague(&owner, "owner").await;
    let answers = join_all([(&owner, &other_id), (&other, &id)].map(|(caller, id)| set_role(caller, id, "viewer"))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert!(statuses == [200, 409] || statuses == [200, 403], "{statuses:?}");
    assert_eq!(api.sql("SELECT count(*) FROM users WHERE role = 'owner'").await, [json!({"count": 1})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_less_loses_what_they_hold_beyond_it() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let (id, colleague) = colleague(&owner, "owner").await;
    let admin = colleague.with_token(&["account:admin"]).await;
    let writer = colleague.with_token(&["zones:read", "zones:write"]).await;
    let reader = colleague.with_token(&["zones:read"]).await;
    colleague.post("/invitations", json!({"email": "guest@elsewhere.io", "role": "owner"})).await.expect(StatusCode::CREATED);
    let kept = owner.with_token(&["account:admin"]).await;

    set_role(&owner, &id, "member").await.expect(StatusCode::OK);
    assert_eq!(admin.get("/me").await.problem(401).0, "credential_invalid");
    assert_eq!((writer.get("/zones").await.status, reader.get("/zones").await.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(kept.get("/users").await.status, StatusCode::OK);
    assert_eq!(owner.get("/invitations").await.expect(StatusCode::OK)["invitations"], json!([]));
    let query = format!("SELECT count(*) FROM refresh_tokens WHERE user_id = '{}' AND revoked_at IS NULL", uuid(&json!(id)));
    assert_eq!(api.sql(&query).await, [json!({"count": 0})]);
    // Still signed in, as what they are now.
    assert_eq!(colleague.get("/zones").await.status, StatusCode::OK);

    set_role(&owner, &id, "viewer").await.expect(StatusCode::OK);
    assert_eq!(writer.get("/zones").await.problem(401).0, "credential_invalid");
    assert_eq!(reader.get("/zones").await.status, StatusCode::OK);
    let noted = api.sql("SELECT jsonb_array_length(details->'withdrawn'->'tokens') AS tokens FROM audit_log WHERE action = 'user.role_changed' ORDER BY at").await;
    assert_eq!(noted, [json!({"tokens": 1}), json!({"tokens": 1})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_taken_out_is_out_at_once_with_all_their_tokens() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let (id, colleague) = colleague(&owner, "owner").await;
    let email = colleague.get("/me").await.expect(StatusCode::OK)["user"]["email"].as_str().unwrap().to_owned();
    let program = colleague.with_token(&["zones:read"]).await;
    let path = format!("/users/{id}");
    assert_eq!(owner.delete(&path).await.status, StatusCode::NO_CONTENT);
    for caller in [&colleague, &program] {
        assert_eq!(caller.get("/me").await.problem(401).0, "credential_invalid");
    }
    assert_eq!(owner.get(&path).await.problem(404).0, "not_found");
    assert_eq!(owner.delete(&path).await.problem(404).0, "not_found");
    assert_eq!(owner.get("/tokens").await.expect(StatusCode::OK)["tokens"], json!([]));
    let told = api.sql("SELECT event FROM events ORDER BY number DESC LIMIT 1").await;
    assert_eq!(told, [json!({"event": "user_deleted"})]);

    // The address is free again, for an account of their own too.
    let body = json!({"email": email, "password": "correct horse battery staple", "account_name": "Own"});
    api.send(Method::POST, "/api/v1/auth/register", None, Some(body)).await.expect(StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_hands_out_no_role_that_may_more_than_itself() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let (id, _) = colleague(&owner, "viewer").await;
    let narrow = owner.with_token(&["account:admin"]).await;
    let wide = owner.with_token(&["account:admin", "certificates:read", "zones:read"]).await;
    assert_eq!(set_role(&narrow, &id, "owner").await.problem(403).0, "scope_exceeds_own");
    assert_eq!(set_role(&wide, &id, "member").await.problem(403).0, "scope_exceeds_own");
    assert_eq!(wide.post("/invitations", json!({"email": "a@b.io", "role": "owner"})).await.problem(403).0, "scope_exceeds_own");
    set_role(&wide, &id, "viewer").await.expect(StatusCode::OK);
    wide.post("/invitations", json!({"email": "a@b.io", "role": "viewer"})).await.expect(StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_say_what_they_are_called() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let rename = async |body: Value| owner.send(Method::PATCH, "/me", Some(body)).await;
    assert_eq!(rename(json!({"name": " Ada Lovelace "})).await.expect(StatusCode::OK)["user"]["name"], "Ada Lovelace");
    assert_eq!(owner.get("/me").await.json()["user"]["name"], "Ada Lovelace");
    assert_eq!(rename(json!({"name": null})).await.expect(StatusCode::OK)["user"]["name"], Value::Null);
    assert_eq!(rename(json!({})).await.problem(400).0, "nothing_to_change");
    for (body, pointer, code) in [
        (json!({"name": " "}), "/name", "text_empty"),
        (json!({"name": "x".repeat(101)}), "/name", "text_too_long"),
        (json!({"name": "a\r\nBcc: b"}), "/name", "text_has_control_characters"),
        (json!({"name": 1}), "/name", "wrong_type"),
        (json!({"role": "owner"}), "/role", "unknown_field"),
    ] {
        assert_eq!(rename(body).await.faults(), [(pointer.to_owned(), code.to_owned())].into());
    }
    let program = owner.with_token(&["account:admin"]).await;
    assert_eq!(program.send(Method::PATCH, "/me", Some(json!({"name": "Robot"}))).await.problem(403).0, "person_required");
    assert_eq!(program.get("/me").await.expect(StatusCode::OK)["user"], Value::Null);
}
