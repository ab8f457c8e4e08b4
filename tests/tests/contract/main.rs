//! The API answers as `openapi.yaml` says: every route is called, every answer is held to the description, and every status that is described has been seen.

mod described;
mod routes;

use described::Described;
use reqwest::Method;
use serde_json::{Value, json};
use zonecert_tests::{Account, PATIENCE, System};

/// What no client can bring about, or only by something that another test does.
const NOT_SEEN: [&str; 4] = [
    "GET /api/v1/me 403: the account is suspended",
    "POST /api/v1/auth/login 403: the account is suspended",
    "POST /api/v1/auth/refresh 403: the account is suspended",
    "POST /api/v1/tokens 409: a hundred tokens are there",
];

#[tokio::test]
async fn every_answer_is_as_described_and_every_described_status_is_answered() -> anyhow::Result<()> {
    let system = System::start(&zonecert_devstack::shared().await?).await?;
    let account = system.account("elite").await?;
    let api = Described::new(system.api.api_url())?;

    open_routes(&api).await;
    people(&api).await;
    let token = tokens(&api, &account).await;
    let zone = zones(&api, &system, &token).await;
    certificates(&api, &zone, &token).await;
    routes::want_a_credential(&api).await;
    routes::want_a_scope(&api, &account.access_token).await;
    routes::find_nothing_by_an_unknown_identifier(&api, &account.access_token).await;
    routes::refuse_bodies_that_cannot_be_read(&api, &account.access_token).await;
    routes::refuse_other_methods(&api).await;

    let not_seen: Vec<String> = api.not_seen().into_iter().filter(|described| !described.ends_with(" 503")).collect();
    let expected: Vec<&str> = NOT_SEEN.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(not_seen, expected, "described, and never answered");
    Ok(())
}

async fn open_routes(api: &Described) {
    for path in ["/healthz", "/readyz", "/api/v1/plans"] {
        api.get(path, None).await.is(200);
    }
}

async fn people(api: &Described) {
    let email = format!("{}@customers.test", zonecert_devstack::unique_label());
    let password = "four words are enough";
    let registration = json!({"email": email, "password": password, "account_name": "Ada & Co"});
    let registered = api.post("/api/v1/auth/register", None, &registration).await.is(201);
    api.post("/api/v1/auth/register", None, &registration).await.is(409);
    let access = text(&registered["access_token"]);
    assert!(api.get("/api/v1/me", Some(&access)).await.is(200)["token"].is_null());
    api.post("/api/v1/tokens", Some(&access), &json!({"name": "x", "scopes": ["zones:read"]})).await.is(403);
    api.post("/api/v1/certificates", Some(&access), &json!({"zone_id": "zone_x", "domain": "app.example.test"})).await.is(403);

    let signed_in = api.post("/api/v1/auth/login", None, &json!({"email": email, "password": password})).await.is(200);
    api.post("/api/v1/auth/login", None, &json!({"email": email, "password": "wrong"})).await.is(401);
    let refresh = json!({"refresh_token": signed_in["refresh_token"]});
    let next = api.post("/api/v1/auth/refresh", None, &refresh).await.is(200);
    api.post("/api/v1/auth/refresh", None, &refresh).await.is(401);
    api.post("/api/v1/auth/logout", None, &json!({"refresh_token": next["refresh_token"]})).await.is(204);
}

/// Answers a token for what follows.
async fn tokens(api: &Described, account: &Account) -> String {
    let person = Some(account.access_token.as_str());
    let scopes = ["zones:read", "zones:write", "certificates:read", "certificates:write", "keys:read"];
    let made = api.post("/api/v1/tokens", person, &json!({"name": "contract", "scopes": scopes, "expires_at": null})).await.is(201);
    let short_lived = json!({"name": "short", "scopes": ["zones:read"], "expires_at": "2036-01-01T00:00:00Z"});
    let other = api.post("/api/v1/tokens", person, &short_lived).await.is(201);
    api.get("/api/v1/tokens", person).await.is(200);
    let path = format!("/api/v1/tokens/{}", text(&other["id"]));
    api.get(&path, person).await.is(200);
    api.delete(&path, person).await.is(204);
    let token = text(&made["token"]);
    assert!(api.get("/api/v1/me", Some(&token)).await.is(200)["user"].is_null());
    api.get("/api/v1/limits", Some(&token)).await.is(200);
    token
}

/// A zone that is verified.
struct Zone {
    id: String,
    name: String,
}

async fn zones(api: &Described, system: &System, token: &str) -> Zone {
    let dns = &system.product.stack().customer_dns;
    let (name, token) = (format!("{}.test", zonecert_devstack::unique_label()), Some(token));
    let zone = api.post("/api/v1/zones", token, &json!({"name": name})).await.is(201);
    let path = format!("/api/v1/zones/{}", text(&zone["id"]));
    api.post("/api/v1/zones", token, &json!({"name": name, "mode": "hosted"})).await.is(409);
    api.post(&format!("{path}/verify"), token, &Value::Null).await.is(409);
    let (record, value) = (text(&zone["verification"]["record"]), text(&zone["verification"]["value"]));
    dns.ensure_zone(&name, &["ns1.customer.test"]).await.unwrap();
    dns.add_txt(&name, &record, &value).await.unwrap();
    api.post(&format!("{path}/verify"), token, &Value::Null).await.is(200);
    api.get(&path, token).await.is(200);

    let other = api.post("/api/v1/zones", token, &json!({"name": format!("other.{name}")})).await.is(201);
    let page = api.get("/api/v1/zones?limit=1", token).await.is(200);
    api.get(&format!("/api/v1/zones?limit=1&cursor={}", text(&page["next_cursor"])), token).await.is(200);
    api.get("/api/v1/zones?limit=0", token).await.is(400);
    api.delete(&format!("/api/v1/zones/{}", text(&other["id"])), token).await.is(204);
    Zone { id: text(&zone["id"]), name }
}

async fn certificates(api: &Described, zone: &Zone, token: &str) {
    let token = Some(token);
    let wish = json!({"zone_id": zone.id, "domain": format!("app.{}", zone.name), "sans": [format!("*.deeper.{}", zone.name)], "label": "contract"});
    let requested = api.post("/api/v1/certificates", token, &wish).await.is(202);
    let path = format!("/api/v1/certificates/{}", text(&requested["id"]));
    api.post("/api/v1/certificates", token, &wish).await.is(409);
    api.delete(&format!("/api/v1/zones/{}", zone.id), token).await.is(409);
    let later = json!({"zone_id": zone.id, "domain": format!("later.{}", zone.name), "key_algorithm": "ecdsa_p256", "place_order": false});
    let later = api.post("/api/v1/certificates", token, &later).await.is(201);
    for file in ["download", "pem", "chain", "key"] {
        api.get(&format!("/api/v1/certificates/{}/{file}", text(&later["id"])), token).await.is(409);
    }
    api.post("/api/v1/certificates", token, &json!({"zone_id": "zone_x", "domain": "app.example.test"})).await.is(404);
    api.post("/api/v1/certificates", token, &json!({"zone_id": zone.id, "domain": "app.elsewhere.test", "sans": ["co.uk"]})).await.is(400);

    zonecert_devstack::wait::until("the certificate is issued", PATIENCE, async || {
        Ok((api.get(&path, token).await.is(200)["status"] == "issued").then_some(()))
    })
    .await
    .unwrap();
    let page = api.get("/api/v1/certificates?limit=1", token).await.is(200);
    api.get(&format!("/api/v1/certificates?limit=1&cursor={}", text(&page["next_cursor"])), token).await.is(200);
    let filtered = api.get(&format!("/api/v1/certificates?status=issued&zone_id={}&name=app.{}", zone.id, zone.name), token).await.is(200);
    assert_eq!(filtered["certificates"].as_array().unwrap().len(), 1);
    api.get("/api/v1/certificates?status=happy", token).await.is(400);
    let log = api.get(&format!("{path}/logs"), token).await.is(200);
    assert!(log["logs"].as_array().unwrap().len() > 5);
    api.get(&format!("{path}/logs?cursor=x"), token).await.is(400);
    for file in ["download", "pem", "chain", "key"] {
        let file = format!("{path}/{file}");
        let first = api.get(&file, token).await;
        let tag = first.header("etag");
        first.is(200);
        api.call(Method::GET, &file, token, &[("if-none-match", &tag)], None).await.is(304);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
