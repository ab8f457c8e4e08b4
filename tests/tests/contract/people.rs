//! People: what needs mail, somebody else, or a sign-in that went wrong.

use anyhow::Result;
use serde_json::{Value, json};
use zonecert_devstack::unique_label;
use zonecert_tests::{Account, read_mail};

use super::described::Request;
use super::{World, operators, text};

const PASSWORD: &str = "four words are enough";

/// Somebody who has registered.
struct Person {
    email: String,
    access: String,
    refresh: String,
}

pub(crate) async fn scenario(world: &World) -> Result<()> {
    let ada = register(world, "Ada").await;
    sign_in(world, &ada).await;
    mail(world, &ada).await?;
    invitations(world, &ada).await?;
    users(world).await;
    suspended(world).await?;
    account(world).await?;
    let Account { access_token, .. } = world.system.account("free").await?;
    world.api.expect(204, Request::post("/api/v1/auth/logout-everywhere").by(&access_token)).await;
    Ok(())
}

async fn register(world: &World, name: &str) -> Person {
    let email = format!("{}@customers.test", unique_label());
    let registration = json!({"email": email, "password": PASSWORD, "account_name": name});
    let made = world.api.expect(201, Request::post("/api/v1/auth/register").json(registration.clone())).await;
    world.api.expect(409, Request::post("/api/v1/auth/register").json(registration)).await;
    Person { email, access: text(&made["access_token"]), refresh: text(&made["refresh_token"]) }
}

async fn sign_in(World { api, .. }: &World, person: &Person) {
    let login = |password: &str| Request::post("/api/v1/auth/login").json(json!({"email": person.email, "password": password}));
    api.expect(401, login("wrong")).await;
    let session = api.expect(200, login(PASSWORD)).await;
    let refresh = |token: &Value| Request::post("/api/v1/auth/refresh").json(json!({"refresh_token": token}));
    let next = api.expect(200, refresh(&session["refresh_token"])).await;
    let logout = Request::post("/api/v1/auth/logout");
    api.expect(204, logout.clone().json(json!({"refresh_token": next["refresh_token"]}))).await;
    api.expect(401, refresh(&next["refresh_token"])).await;
    // Another site makes a browser send the cookie.
    let cookie = format!("zonecert_refresh={}", person.refresh);
    for path in ["/api/v1/auth/refresh", "/api/v1/auth/logout"] {
        let foreign = Request::post(path).header("cookie", cookie.clone()).header("origin", "https://evil.test");
        assert_eq!(api.expect(403, foreign).await["code"], "cross_origin_request");
    }

    let name = Request::patch("/api/v1/me").by(&person.access).json(json!({"name": "Ada"}));
    assert_eq!(api.expect(200, name).await["user"]["name"], "Ada");
    assert!(api.expect(200, Request::get("/api/v1/me").by(&person.access)).await["token"].is_null());
    let change = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    let changed = api.expect(200, Request::post("/api/v1/me/password").by(&person.access).json(change)).await;
    // Whoever had signed in before is out.
    api.expect(401, Request::get("/api/v1/me").by(&person.access)).await;
    api.expect(200, Request::get("/api/v1/me").by(&text(&changed["access_token"]))).await;
}

/// Answers by what arrives in the mail.
async fn mail(world: &World, person: &Person) -> Result<()> {
    let api = &world.api;
    let access = login(world, &person.email, PASSWORD).await;
    api.once(202, Request::post("/api/v1/me/verify-email").by(&access), "again=1").await;
    let confirm = read_mail(&world.mail, &person.email, "Confirm your e-mail address").await?;
    api.expect(400, Request::post("/api/v1/auth/verify-email").json(json!({"token": "zce_nonsense"}))).await;
    // The first link was sent at the registration, and is as good as the second.
    api.expect(204, Request::post("/api/v1/auth/verify-email").json(json!({"token": confirm}))).await;
    api.expect(409, Request::post("/api/v1/me/verify-email").by(&access)).await;

    api.expect(202, Request::post("/api/v1/auth/forgot-password").json(json!({"email": person.email}))).await;
    let reset = json!({"token": read_mail(&world.mail, &person.email, "Set a new password").await?, "new_password": PASSWORD});
    api.expect(204, Request::post("/api/v1/auth/reset-password").json(reset)).await;
    Ok(())
}

async fn invitations(world: &World, host: &Person) -> Result<()> {
    let (api, access) = (&world.api, login(world, &host.email, PASSWORD).await);
    let guest = format!("{}@customers.test", unique_label());
    let wish = json!({"email": guest, "role": "member"});
    let invite = Request::post("/api/v1/invitations").by(&access).json(wish);
    let open = api.once(201, invite.clone(), "again=1").await;
    api.expect(409, invite).await;
    let path = format!("/api/v1/invitations/{}", text(&open["id"]));
    api.expect(200, Request::get(&path).by(&access)).await;
    api.expect(200, Request::get("/api/v1/invitations").by(&access)).await;
    api.expect(429, Request::post(format!("{path}/resend")).by(&access)).await;
    let hour_ago = "UPDATE invitations SET sent_at = sent_at - interval '1 hour', created_at = created_at - interval '1 hour'";
    world.system.database().await?.execute(hour_ago, &[]).await?;
    let about = "Join \"Ada\" on Zonecert";
    let first = read_mail(&world.mail, &guest, about).await?;
    api.once(200, Request::post(format!("{path}/resend")).by(&access), "again=1").await;

    let accept = |token: &str| Request::post("/api/v1/auth/accept-invitation").json(json!({"token": token, "password": PASSWORD}));
    // Sent again: the link of the first mail is void.
    api.expect(400, accept(&first)).await;

    let invite = |email: &str| Request::post("/api/v1/invitations").by(&access).json(json!({"email": email, "role": "viewer"}));
    let newcomer = format!("{}@customers.test", unique_label());
    api.expect(201, invite(&newcomer)).await;
    let link = read_mail(&world.mail, &newcomer, about).await?;
    let account = text(&api.expect(200, Request::get("/api/v1/account").by(&access)).await["id"]);
    operators::suspend_account(world, &account, "payment").await;
    assert_eq!(api.expect(403, accept(&link)).await["code"], "account_suspended");
    operators::resume_account(world, &account).await;
    api.expect(201, accept(&link)).await;

    let elsewhere = register(world, "Elsewhere").await;
    api.expect(201, invite(&elsewhere.email)).await;
    let link = read_mail(&world.mail, &elsewhere.email, about).await?;
    api.expect(409, accept(&link)).await;
    api.expect(204, Request::delete(&path).by(&access)).await;

    // The newcomer changes role, and goes.
    let users = api.expect(200, Request::get("/api/v1/users").by(&access)).await;
    let newcomer = users["users"].as_array().unwrap().iter().find(|user| user["email"] == newcomer.as_str()).unwrap();
    let path = format!("/api/v1/users/{}", text(&newcomer["id"]));
    api.expect(200, Request::patch(&path).by(&access).json(json!({"role": "member"}))).await;
    api.expect(204, Request::delete(&path).by(&access)).await;
    Ok(())
}

async fn users(World { api, callers, things, .. }: &World) {
    let path = format!("/api/v1/users/{}", things.id("user"));
    api.expect(200, Request::get(&path).by(&callers.person)).await;
    let demote = Request::patch(&path).by(&callers.person).json(json!({"role": "viewer"}));
    assert_eq!(api.expect(409, demote).await["code"], "last_owner");
    assert_eq!(api.expect(409, Request::delete(&path).by(&callers.person)).await["code"], "last_owner");
}

/// Links and sign-ins of an account that is suspended.
async fn suspended(world: &World) -> Result<()> {
    let (api, person) = (&world.api, register(world, "Mallory").await);
    let confirm = read_mail(&world.mail, &person.email, "Confirm your e-mail address").await?;
    api.expect(202, Request::post("/api/v1/auth/forgot-password").json(json!({"email": person.email}))).await;
    let reset = read_mail(&world.mail, &person.email, "Set a new password").await?;
    let account = text(&api.expect(200, Request::get("/api/v1/account").by(&person.access)).await["id"]);
    operators::suspend_account(world, &account, "abuse").await;
    for (path, body) in [
        ("login", json!({"email": person.email, "password": PASSWORD})),
        ("refresh", json!({"refresh_token": person.refresh})),
        ("verify-email", json!({"token": confirm})),
        ("reset-password", json!({"token": reset, "new_password": PASSWORD})),
    ] {
        let refused = api.expect(403, Request::post(format!("/api/v1/auth/{path}")).json(body)).await;
        assert_eq!(refused["code"], "account_suspended", "{path}");
    }
    Ok(())
}

async fn account(world: &World) -> Result<()> {
    let (api, account) = (&world.api, world.system.account("plus").await?);
    let token = account.access_token.as_str();
    api.expect(200, Request::get("/api/v1/account").by(token)).await;
    api.expect(200, Request::patch("/api/v1/account").by(token).json(json!({"name": "Other"}))).await;
    let wrong = Request::put("/api/v1/account/deletion").by(token).json(json!({"password": "wrong"}));
    assert_eq!(api.expect(403, wrong).await["code"], "password_wrong");
    let right = json!({"password": account.password, "revoke_certificates": true});
    let ending = api.expect(200, Request::put("/api/v1/account/deletion").by(token).json(right)).await;
    assert!(ending["deletion"].is_object());
    assert!(api.expect(200, Request::delete("/api/v1/account/deletion").by(token)).await["deletion"].is_null());
    Ok(())
}

async fn login(world: &World, email: &str, password: &str) -> String {
    let session = Request::post("/api/v1/auth/login").json(json!({"email": email, "password": password}));
    text(&world.api.expect(200, session).await["access_token"])
}
