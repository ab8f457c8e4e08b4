//! Tokens, limits and what is noted of who did what.

use serde_json::{Value, json};

use super::described::Request;
use super::{World, text};

pub(crate) async fn scenario(World { api, callers, system, .. }: &World) {
    let person = callers.person.as_str();
    let wish = json!({"name": "short", "scopes": ["zones:read"], "expires_at": "2036-01-01T00:00:00Z", "cidrs": ["127.0.0.0/8"]});
    let made = api.expect(201, Request::post("/api/v1/tokens").by(person).json(wish)).await;
    assert!(api.expect(200, Request::get("/api/v1/me").by(&text(&made["token"]))).await["user"].is_null());
    let path = format!("/api/v1/tokens/{}", text(&made["id"]));
    api.expect(200, Request::get("/api/v1/tokens").by(person)).await;
    api.expect(200, Request::get(&path).by(person)).await;
    api.expect(204, Request::delete(&path).by(person)).await;

    let many = system.account("plus").await.unwrap().access_token;
    let one_more = || Request::post("/api/v1/tokens").by(&many).json(json!({"name": "x", "scopes": ["zones:read"]}));
    for _ in 0..100 {
        api.expect(201, one_more()).await;
    }
    assert_eq!(api.expect(409, one_more()).await["code"], "token_limit_reached");

    api.expect(200, Request::get("/api/v1/limits").by(person)).await;
    api.expect(200, Request::get("/api/v1/plans/plus/preview").by(person)).await;
    let log = api.expect(200, Request::get("/api/v1/audit?limit=1&since=2020-01-01T00:00:00Z").by(person)).await;
    api.expect(200, Request::get(format!("/api/v1/audit?cursor={}", text(&log["next_cursor"]))).by(person)).await;
    let stream = api.expect(200, Request::get("/api/v1/events?last_event_id=0").by(person)).await;
    assert!(text(&stream).starts_with("retry:"), "{stream}");
    let stream = text(&stream);
    let event: Value = serde_json::from_str(stream.split("data: ").nth(1).unwrap().split("\n\n").next().unwrap()).unwrap();
    api.document.hold(&json!({"$ref": "#/components/schemas/Event"}), &event, "an event of the stream");
}
