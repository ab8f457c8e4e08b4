//! Invitations: made, sent again, taken back, accepted.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zonecert_devstack::unique_label;

use crate::support::{Answer, Caller, TestApi, uuid};

const PASSWORD: &str = "correct horse battery staple";

fn address() -> String {
    format!("{}@guest.zonecert.io", unique_label())
}

/// An account on Plus whose owner has confirmed their address.
async fn verified_owner(api: &TestApi) -> Caller<'_> {
    let owner = api.register("plus").await;
    api.execute(&format!("UPDATE users SET email_verified_at = now() WHERE account_id = '{}'", owner.account.0)).await;
    owner
}

async fn invite(owner: &Caller<'_>, email: &str, role: &str) -> Answer {
    owner.post("/invitations", json!({"email": email, "role": role})).await
}

async fn accept(api: &TestApi, body: Value) -> Answer {
    api.send(Method::POST, "/api/v1/auth/accept-invitation", None, Some(body)).await
}

async fn accept_token(api: &TestApi, token: &str) -> Answer {
    accept(api, json!({"token": token, "password": PASSWORD})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_leads_into_the_account() {
    let api = TestApi::start().await;
    let owner = verified_owner(&api).await;
    let email = address();
    let answer = invite(&owner, &email.to_uppercase(), "member").await;
    let made = answer.expect(StatusCode::CREATED);
    assert_eq!(answer.header("location"), format!("/api/v1/invitations/{}", made["id"].as_str().unwrap()));
    assert_eq!((&made["email"], &made["role"], &made["status"]), (&json!(email), &json!("member"), &json!("open")));
    assert_eq!(owner.get("/invitations").await.expect(StatusCode::OK)["invitations"], json!([made]));
    assert_eq!(owner.get(&format!("/invitations/{}", made["id"].as_str().unwrap())).await.expect(StatusCode::OK), made);
    let days = "SELECT round(extract(epoch FROM expires_at - now()) / 86400) AS days FROM invitations";
    assert_eq!(api.sql(days).await, [json!({"days": 7})]);

    let mail = api.last_mail(&email.to_uppercase().replace("GUEST.ZONECERT.IO", "guest.zonecert.io"), "invitation").await;
    assert_eq!(mail.subject, "Join \"Customer\" on Zonecert");
    let token = mail.token();
    assert!(mail.body.contains(&format!("https://app.zonecert-platform.test/accept-invitation?token={token}")), "{}", mail.body);
    assert!(!answer.text.contains(&token), "only who reads the mail knows it");

    let session = accept(&api, json!({"token": token, "password": PASSWORD, "name": "Grace"})).await.expect(StatusCode::CREATED);
    assert_eq!(session["account"]["id"], json!(owner.account));
    let user = &session["user"];
    assert_eq!((&user["email"], &user["role"], &user["name"]), (&json!(email), &json!("member"), &json!("Grace")));
    assert_eq!(user["email_verified"], true);
    let guest = Caller { token: session["access_token"].as_str().unwrap().to_owned(), ..owner.clone() };
    assert_eq!(guest.get("/me").await.expect(StatusCode::OK)["user"], *user);
    assert!(session["refresh_token"].as_str().unwrap().starts_with("zcr_"));
    assert_eq!(owner.get("/invitations").await.json()["invitations"], json!([]));

    let noted = api.sql("SELECT actor, action FROM audit_log WHERE action LIKE 'invitation.%' ORDER BY at").await;
    let owner_id = owner.get("/me").await.json()["user"]["id"].clone();
    let expected =
        [json!({"actor": owner_id, "action": "invitation.created"}), json!({"actor": user["id"], "action": "invitation.accepted"})];
    assert_eq!(noted, expected);
    let told = api.sql("SELECT event FROM events ORDER BY number").await;
    assert_eq!(told, [json!({"event": "invitation_created"}), json!({"event": "user_joined"})]);
    // Neither the token nor the password is anywhere in the clear.
    let everything = format!("{:?}{:?}", api.sql("SELECT * FROM invitations").await, api.sql("SELECT * FROM mails").await);
    assert!(!everything.contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_once_and_of_many_at_once_one() {
    let api = TestApi::start().await;
    let owner = verified_owner(&api).await;
    let email = address();
    invite(&owner, &email, "viewer").await.expect(StatusCode::CREATED);
    let token = api.last_mail(&email, "invitation").await.token();
    let answers = join_all((0..6).map(|_| accept_token(&api, &token))).await;
    let joined = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(joined, 1);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        assert_eq!(answer.faults(), [("/token".to_owned(), "token_invalid".to_owned())].into());
    }
    assert_eq!(accept_token(&api, &token).await.problem(400).0, "token_invalid");
    assert_eq!(api.sql("SELECT count(*) FROM users WHERE role = 'viewer'").await, [json!({"count": 1})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_void_is_refused_whatever_the_reason() {
    let api = TestApi::start().await;
    let owner = verified_owner(&api).await;
    let (expired, revoked) = (address(), address());
    invite(&owner, &expired, "viewer").await.expect(StatusCode::CREATED);
    let made = invite(&owner, &revoked, "viewer").await.expect(StatusCode::CREATED);
    let (expired_token, revoked_token) =
        (api.last_mail(&expired, "invitation").await.token(), api.last_mail(&revoked, "invitation").await.token());
    api.execute(&format!("UPDATE invitations SET expires_at = now() WHERE email = '{expired}'")).await;
    let path = format!("/invitations/{}", made["id"].as_str().unwrap());
    assert_eq!(owner.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(owner.delete(&path).await.problem(404).0, "not_found");
    assert_eq!(owner.get(&path).await.problem(404).0, "not_found");

    let unknown = format!("zci_{}", "A".repeat(43));
    let mut texts = Vec::new();
    for token in [expired_token.as_str(), &revoked_token, &unknown, "", "nonsense", "zce_\u{0}"] {
        texts.push(accept_token(&api, token).await.text);
    }
    assert!(texts.iter().all(|text| text == &texts[0] && text.contains("token_invalid")), "{texts:?}");
    let both = accept(&api, json!({"token": "x", "password": "short", "name": ""})).await.faults();
    let expected = [("/token", "token_invalid"), ("/password", "password_too_short"), ("/name", "text_empty")];
    assert_eq!(both, expected.map(|(at, code)| (at.to_owned(), code.to_owned())).into());
    assert_eq!(accept(&api, json!({"token": "x"})).await.faults(), [("/password".to_owned(), "required".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_invitation_is_open_for_an_address_until_it_ends() {
    let api = TestApi::start().await;
    let (owner, other) = (verified_owner(&api).await, verified_owner(&api).await);
    let email = address();
    let answers = join_all((0..5).map(|_| invite(&owner, &email, "member"))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count(), 1);
    let refused = answers.iter().find(|answer| answer.status != StatusCode::CREATED).unwrap();
    let (code, detail) = refused.problem(409);
    assert!(code == "invitation_open" && detail.contains("/resend"), "{detail}");
    assert_eq!(api.sql("SELECT count(*) FROM mails WHERE template = 'invitation'").await, [json!({"count": 1})]);
    // Another account knows nothing of it.
    invite(&other, &email, "member").await.expect(StatusCode::CREATED);

    api.execute("UPDATE invitations SET expires_at = now()").await;
    let listed = owner.get("/invitations").await.expect(StatusCode::OK);
    assert_eq!(listed["invitations"][0]["status"], "expired");
    invite(&owner, &email, "viewer").await.expect(StatusCode::CREATED);
    assert_eq!(owner.get("/invitations").await.json()["invitations"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_again_makes_another_link_and_voids_the_one_before() {
    let api = TestApi::start().await;
    let owner = verified_owner(&api).await;
    let email = address();
    let made = invite(&owner, &email, "member").await.expect(StatusCode::CREATED);
    let path = format!("/invitations/{}/resend", made["id"].as_str().unwrap());
    let first = api.last_mail(&email, "invitation").await.token();
    let too_soon = owner.post(&path, json!({})).await;
    assert_eq!(too_soon.problem(429).0, "too_many_mails");
    assert!((500..=600).contains(&too_soon.header("retry-after").parse::<u32>().unwrap()), "{}", too_soon.header("retry-after"));

    api.execute("UPDATE invitations SET sent_at = sent_at - interval '10 minutes', expires_at = now()").await;
    let sent = owner.post(&path, json!({})).await.expect(StatusCode::OK);
    assert_eq!((&sent["id"], &sent["status"]), (&made["id"], &json!("open")));
    let second = api.last_mail(&email, "invitation").await.token();
    assert_ne!(first, second);
    assert_eq!(accept_token(&api, &first).await.problem(400).0, "token_invalid");
    accept_token(&api, &second).await.expect(StatusCode::CREATED);
    assert_eq!(owner.post(&path, json!({})).await.problem(404).0, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_address_it_is_shows_to_the_holder_of_the_link_alone() {
    let api = TestApi::start().await;
    let (owner, other) = (verified_owner(&api).await, verified_owner(&api).await);
    let known = other.get("/me").await.json()["user"]["email"].as_str().unwrap().to_owned();
    let (unknown, mine) = (address(), owner.get("/me").await.json()["user"]["email"].as_str().unwrap().to_owned());
    let (mut to_known, mut to_unknown) = (
        invite(&owner, &known, "member").await.expect(StatusCode::CREATED),
        invite(&owner, &unknown, "member").await.expect(StatusCode::CREATED),
    );
    for answer in [&mut to_known, &mut to_unknown] {
        for own in ["id", "email", "sent_at", "expires_at", "created_at"] {
            answer.as_object_mut().unwrap().remove(own).unwrap();
        }
    }
    assert_eq!(to_known, to_unknown);

    let token = api.last_mail(&known, "invitation").await.token();
    let (code, detail) = accept_token(&api, &token).await.problem(409);
    assert!(code == "email_taken" && detail.contains("another address"), "{detail}");
    // It stays open: they may leave the other account first.
    api.execute(&format!("UPDATE users SET deleted_at = now() WHERE email = '{known}'")).await;
    accept_token(&api, &token).await.expect(StatusCode::CREATED);
    assert_eq!(invite(&owner, &mine, "member").await.problem(409).0, "already_in_account");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_confirmed_their_address_invites_nobody() {
    let api = TestApi::start().await;
    let owner = api.register("plus").await;
    let program = owner.with_token(&["account:admin", "certificates:read", "zones:read"]).await;
    for caller in [&owner, &program] {
        let (code, detail) = invite(caller, &address(), "viewer").await.problem(403);
        assert!(code == "email_not_verified" && detail.contains("/me/verify-email"), "{detail}");
    }
    assert_eq!(api.sql("SELECT count(*) FROM invitations").await, [json!({"count": 0})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_invitation_is_said_at_once() {
    let api = TestApi::start().await;
    let owner = verified_owner(&api).await;
    let expected = [("/email", "email_needs_one_at"), ("/role", "role_unknown")].map(|(at, code)| (at.to_owned(), code.to_owned()));
    assert_eq!(invite(&owner, "nobody", "Owner").await.faults(), expected.into());
    assert_eq!(invite(&owner, "a@b.io\r\nBcc: c@d.io", "member").await.problem(400).0, "email_needs_one_at");
    assert_eq!(owner.post("/invitations", json!({"email": "a@b.io"})).await.faults(), [("/role".to_owned(), "required".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_invitations_are_not_found_and_members_see_none() {
    let api = TestApi::start().await;
    let (owner, stranger) = (verified_owner(&api).await, verified_owner(&api).await);
    let made = invite(&owner, &address(), "member").await.expect(StatusCode::CREATED);
    let id = made["id"].as_str().unwrap();
    let (_, member) = crate::users::colleague(&owner, "member").await;
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/resend")] {
        let method: Method = method.parse().unwrap();
        for id in [id, "inv_00000000000000000000000000000000", "nonsense"] {
            let path = format!("/invitations/{id}{path}");
            assert_eq!(stranger.send(method.clone(), &path, None).await.problem(404).0, "not_found", "{method} {path}");
            assert_eq!(member.send(method.clone(), &path, None).await.problem(403).0, "scope_missing", "{method} {path}");
        }
    }
    assert_eq!(stranger.get("/invitations").await.json()["invitations"], json!([]));
    assert_eq!(member.get("/invitations").await.problem(403).0, "scope_missing");
    assert_eq!(invite(&member, &address(), "viewer").await.problem(403).0, "scope_missing");
    assert_eq!(owner.get("/invitations").await.json()["invitations"], json!([made]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_room_for_a_hundred_people_and_writes_to_fifty_a_day() {
    let api = TestApi::start().await;
    let owner = verified_owner(&api).await;
    let inviter = uuid(&owner.get("/me").await.json()["user"]["id"]);
    let insert = async |count: u32, revoked: &str, created: &str| {
        api.execute(&format!(
            "INSERT INTO invitations (id, account_id, email, role, token_sha256, invited_by, expires_at, revoked_at, created_at)
             SELECT gen_random_uuid(), '{}', gen_random_uuid() || '@x.io', 'viewer', sha256(convert_to(gen_random_uuid()::text, 'UTF8')), '{inviter}',
                now() + interval '1 day', {revoked}, {created} FROM generate_series(1, {count})",
            owner.account.0
        ))
        .await;
    };
    insert(49, "now()", "now() - interval '1 hour'").await;
    invite(&owner, &address(), "viewer").await.expect(StatusCode::CREATED);
    let refused = invite(&owner, &address(), "viewer").await;
    assert_eq!(refused.problem(429).0, "too_many_mails");
    assert!((82_000..=82_800).contains(&refused.header("retry-after").parse::<u32>().unwrap()), "{}", refused.header("retry-after"));

    api.execute("UPDATE invitations SET created_at = created_at - interval '1 day'").await;
    insert(98, "NULL", "now() - interval '2 days'").await;
    assert_eq!(invite(&owner, &address(), "viewer").await.problem(409).0, "people_limit_reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_an_account_that_is_suspended() {
    let api = TestApi::start().await;
    let owner = verified_owner(&api).await;
    let email = address();
    invite(&owner, &email, "viewer").await.expect(StatusCode::CREATED);
    let token = api.last_mail(&email, "invitation").await.token();
    let suspend = async |status: &str| {
        let since = if status == "active" { "NULL" } else { "now()" };
        api.execute(&format!("UPDATE accounts SET status = '{status}', suspended_at = {since}")).await;
    };
    for status in ["suspended_payment", "suspended_abuse"] {
        suspend(status).await;
        assert_eq!(accept_token(&api, &token).await.problem(403).0, "account_suspended");
    }
    suspend("active").await;
    accept_token(&api, &token).await.expect(StatusCode::CREATED);
}
