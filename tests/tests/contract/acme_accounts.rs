//! ACME accounts of one's own.

use serde_json::json;
use zonecert_devstack::wait;
use zonecert_tests::PATIENCE;

use super::described::Request;
use super::{World, text};

pub(crate) async fn scenario(World { api, system, .. }: &World) -> anyhow::Result<()> {
    let (account, zone) = system.account_with_zone("plus").await?;
    let person = account.access_token.as_str();
    let wish = json!({"name": "ours", "contact": ["ops@customer.example"], "terms_of_service_agreed": true});
    let one_more = || Request::post("/api/v1/acme-accounts").by(person).json(wish.clone());
    let made = api.expect(201, one_more()).await;
    let path = format!("/api/v1/acme-accounts/{}", text(&made["id"]));
    wait::until("it is valid", PATIENCE, async || {
        Ok((api.expect(200, Request::get(&path).by(person)).await["status"] == "valid").then_some(()))
    })
    .await?;
    api.expect(200, Request::patch(&path).by(person).json(json!({"name": "theirs"}))).await;
    let certificate = json!({"zone_id": zone.id, "domain": zone.name, "acme_account_id": made["id"], "place_order": false});
    let certificate = api.expect(201, Request::post("/api/v1/certificates").by(person).json(certificate)).await;
    assert_eq!(api.expect(409, Request::delete(&path).by(person)).await["code"], "acme_account_in_use");
    let ours = Request::patch(format!("/api/v1/certificates/{}", text(&certificate["id"])));
    api.expect(200, ours.by(person).json(json!({"acme_account_id": null}))).await;
    api.expect(204, Request::delete(&path).by(person)).await;
    for _ in 0..20 {
        api.expect(201, one_more()).await;
    }
    assert_eq!(api.expect(409, one_more()).await["code"], "acme_account_limit_reached");
    let page = api.expect(200, Request::get("/api/v1/acme-accounts?limit=1").by(person)).await;
    api.expect(200, Request::get(format!("/api/v1/acme-accounts?cursor={}", text(&page["next_cursor"]))).by(person)).await;
    Ok(())
}
