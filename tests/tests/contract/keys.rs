//! Private keys as resources, and API keys.

use serde_json::json;

use super::described::Request;
use super::{World, text};

pub(crate) async fn scenario(World { api, callers, things, system, .. }: &World) {
    let token = callers.program.as_str();
    let new = |name: &str| Request::post("/api/v1/keys").by(token).json(json!({"name": name, "algorithm": "ecdsa_p256"}));
    let key = api.expect(201, new("spare")).await;
    assert_eq!(api.expect(409, new("spare")).await["code"], "key_name_taken");
    let path = format!("/api/v1/keys/{}", text(&key["id"]));
    api.expect(200, Request::get(&path).by(token)).await;
    let page = api.expect(200, Request::get("/api/v1/keys?limit=1").by(token)).await;
    api.expect(200, Request::get(format!("/api/v1/keys?cursor={}", text(&page["next_cursor"]))).by(token)).await;
    let change = |body| Request::patch(&path).by(token).json(body);
    assert_eq!(api.expect(200, change(json!({"name": "other", "api_key_via_url": true}))).await["name"], "other");
    let other = api.expect(201, new("spare")).await;
    assert_eq!(api.expect(409, change(json!({"name": "spare"}))).await["code"], "key_name_taken");

    for resource in [path.clone(), format!("/api/v1/certificates/{}", things.id("cert"))] {
        let path = format!("{resource}/api-keys");
        let listed = api.expect(200, Request::get(&path).by(token)).await;
        for _ in listed["api_keys"].as_array().unwrap().len()..2 {
            api.expect(201, Request::post(&path).by(token)).await;
        }
        assert_eq!(api.expect(409, Request::post(&path).by(token)).await["code"], "api_key_limit_reached");
        let listed = api.expect(200, Request::get(&path).by(token)).await;
        let oldest = text(&listed["api_keys"][0]["id"]);
        api.expect(204, Request::delete(format!("{path}/{oldest}")).by(token)).await;
    }

    let used = format!("/api/v1/keys/{}", things.id("key"));
    assert_eq!(api.expect(409, Request::delete(&used).by(token)).await["code"], "key_in_use");
    for path in [path, format!("/api/v1/keys/{}", text(&other["id"]))] {
        api.expect(204, Request::delete(path).by(token)).await;
    }
    // Only a paid plan makes any.
    let free = system.account("free").await.unwrap().access_token;
    let refused = api.expect(403, Request::post("/api/v1/keys").by(&free).json(json!({"name": "x"}))).await;
    assert_eq!(refused["code"], "paid_plan_required");
}
