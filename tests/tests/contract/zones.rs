//! Zones and their records.

use anyhow::Result;
use serde_json::{Value, json};
use zonecert_devstack::unique_label;

use super::described::Request;
use super::{World, text};

pub(crate) async fn scenario(world: &World) -> Result<()> {
    let World { api, callers, system, .. } = world;
    let (token, name) = (callers.program.as_str(), format!("{}.test", unique_label()));
    let import = Request::post("/api/v1/zones").by(token).json(json!({"name": name, "mode": "hosted"}));
    let zone = api.once(201, import.clone(), "again=1").await;
    api.expect(409, import).await;
    let path = format!("/api/v1/zones/{}", text(&zone["id"]));
    api.expect(409, Request::post(format!("{path}/verify")).by(token)).await;
    let (record, value) = (text(&zone["verification"]["record"]), text(&zone["verification"]["value"]));
    let dns = &system.product.stack().customer_dns;
    dns.ensure_zone(&name, &["ns1.customer.test"]).await?;
    dns.add_txt(&name, &record, &value).await?;
    api.once(200, Request::post(format!("{path}/verify")).by(token), "again=1").await;
    api.expect(200, Request::post(format!("{path}/verify")).by(token)).await;
    api.expect(200, Request::get(&path).by(token)).await;
    let page = api.expect(200, Request::get("/api/v1/zones?limit=1").by(token)).await;
    api.expect(200, Request::get(format!("/api/v1/zones?cursor={}", text(&page["next_cursor"]))).by(token)).await;
    let filtered = format!("/api/v1/zones?status=verified&mode=hosted&q={name}");
    assert_eq!(api.expect(200, Request::get(filtered).by(token)).await["zones"].as_array().unwrap().len(), 1);
    api.expect(409, Request::get(format!("{path}/cname?name=app.{name}")).by(token)).await;

    records(world, &path, &name).await;
    delegated(world).await?;
    // The certificate of the world is under this one.
    let in_use = format!("/api/v1/zones/{}", world.things.zone.id);
    assert_eq!(api.expect(409, Request::delete(in_use).by(token)).await["code"], "zone_in_use");
    api.expect(204, Request::delete(format!("{path}?force=true")).by(token)).await;
    Ok(())
}

async fn records(World { api, callers, .. }: &World, zone: &str, name: &str) {
    let token = callers.program.as_str();
    let path = format!("{zone}/records");
    let set = |name: String| Request::put(&path).by(token).json(json!({"name": name, "type": "A", "contents": ["192.0.2.1"]}));
    let record_set = api.expect(200, set(format!("www.{name}"))).await;
    assert_eq!(api.expect(409, set(format!("_acme-challenge.{name}"))).await["code"], "record_reserved");
    let one = format!("{path}/{}", text(&record_set["id"]));
    api.expect(200, Request::get(&one).by(token)).await;
    api.expect(200, Request::get(format!("{path}?type=A&name=www.{name}")).by(token)).await;
    api.expect(204, Request::delete(&one).by(token)).await;
    api.expect(200, set(format!("www.{name}"))).await;
    api.expect(204, Request::delete(format!("{path}?name=www.{name}&type=A")).by(token)).await;

    let import = format!("{zone}/import");
    let file = json!({"zone_file": format!("$ORIGIN {name}.\nwww 300 IN A 192.0.2.1\n@ 300 IN SOA a. b. 1 2 3 4 5\n")});
    let imported = api.once(200, Request::post(&import).by(token).json(file), "replace=false").await;
    assert_eq!(imported["left_out"][0]["code"], "soa");
    let bare = Request::post(format!("{import}?replace=true")).by(token).body("text/dns", "mx 300 IN MX 10 mail.example.test.\n");
    assert_eq!(api.expect(200, bare).await["deleted"].as_array().unwrap().len(), 1);
}

/// What is kept elsewhere has no records here.
async fn delegated(World { api, callers, owner, system, .. }: &World) -> Result<()> {
    let token = callers.program.as_str();
    let zone = system.delegated_zone(owner).await?;
    let path = format!("/api/v1/zones/{}", zone.id);
    let cname = api.expect(200, Request::get(format!("{path}/cname?name=*.{}", zone.name)).by(token)).await;
    assert_eq!(cname["name"], format!("_acme-challenge.{}", zone.name));
    let nothing = format!("{path}/records/rrset_{}", "0".repeat(32));
    let wish: Value = json!({"name": format!("www.{}", zone.name), "type": "A", "contents": ["192.0.2.1"]});
    for request in [
        Request::get(format!("{path}/records")),
        Request::put(format!("{path}/records")).json(wish),
        Request::delete(format!("{path}/records?name=www.{}&type=A", zone.name)),
        Request::get(nothing.clone()),
        Request::delete(nothing),
        Request::post(format!("{path}/import")).json(json!({"zone_file": "www 300 IN A 192.0.2.1\n"})),
    ] {
        assert_eq!(api.expect(409, request.by(token)).await["code"], "zone_not_hosted");
    }
    Ok(())
}
