//! Webhooks, and what they were told.

use serde_json::json;

use super::described::Request;
use super::{World, text};

pub(crate) async fn scenario(World { api, callers, system, .. }: &World) {
    let person = callers.person.as_str();
    let wish = json!({"url": "https://hooks.customer.test/a", "events": ["certificate.issued"], "description": "deploys"});
    let made = api.expect(201, Request::post("/api/v1/webhooks").by(person).json(wish)).await;
    let path = format!("/api/v1/webhooks/{}", text(&made["id"]));
    api.expect(200, Request::get("/api/v1/webhooks").by(person)).await;
    api.expect(200, Request::get(&path).by(person)).await;
    let rotated = api.expect(200, Request::post(format!("{path}/rotate-secret")).by(person)).await;
    assert_ne!(rotated["secret"], made["secret"]);

    let test = || Request::post(format!("{path}/test")).by(person);
    let (first, second) = (api.once(202, test(), "again=1").await, api.expect(202, test()).await);
    let page = api.expect(200, Request::get(format!("{path}/deliveries?limit=1&status=pending")).by(person)).await;
    assert_eq!(page["deliveries"][0]["id"], second["id"]);
    api.expect(200, Request::get(format!("{path}/deliveries?cursor={}", text(&page["next_cursor"]))).by(person)).await;
    let delivery = format!("{path}/deliveries/{}", text(&first["id"]));
    api.expect(200, Request::get(&delivery).by(person)).await;
    let replay = || Request::post(format!("{delivery}/replay")).by(person);
    assert_eq!(api.expect(409, replay()).await["code"], "delivery_pending");
    api.expect(200, Request::patch(&path).by(person).json(json!({"enabled": false, "description": null}))).await;
    assert_eq!(api.expect(409, replay()).await["code"], "webhook_disabled");
    assert_eq!(api.expect(409, test()).await["code"], "webhook_disabled");
    api.expect(200, Request::patch(&path).by(person).json(json!({"enabled": true}))).await;
    assert_eq!(api.once(202, replay(), "again=1").await["id"], first["id"]);
    api.expect(204, Request::delete(&path).by(person)).await;

    let many = system.account("plus").await.unwrap().access_token;
    let one_more = || Request::post("/api/v1/webhooks").by(&many).json(json!({"url": "https://hooks.customer.test/"}));
    for _ in 0..20 {
        api.expect(201, one_more()).await;
    }
    assert_eq!(api.expect(409, one_more()).await["code"], "webhook_limit_reached");
}
