//! Certificates, from the request to the deletion.

use anyhow::Result;
use serde_json::json;
use zonecert_devstack::wait;
use zonecert_tests::PATIENCE;

use super::described::Request;
use super::{World, text};

const FILES: [&str; 4] = ["download", "pem", "chain", "key"];

pub(crate) async fn scenario(world: &World) -> Result<()> {
    let World { api, callers, owner, things, .. } = world;
    let (token, zone) = (callers.program.as_str(), &things.zone);
    let at = |id: &str| format!("/api/v1/certificates/{id}");
    let request = || Request::post("/api/v1/certificates").by(token);

    let check = Request::post("/api/v1/certificates/preflight").by(token);
    let again = json!({"zone_id": zone.id, "domain": format!("app.{}", zone.name), "name": "later"});
    let found = api.once(200, check.clone().json(again), "again=1").await;
    let codes: Vec<&str> = found["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["certificate_exists", "zone_delegated_elsewhere"]);
    let nowhere = json!({"zone_id": "zone_x", "domain": "app.example.test"});
    assert_eq!(api.expect(404, check.json(nowhere)).await["code"], "zone_not_found");

    let wish = json!({"zone_id": zone.id, "domain": format!("contract.{}", zone.name), "sans": [format!("*.deeper.{}", zone.name)]});
    let requested = api.once(202, request().json(wish.clone()), "again=1").await;
    assert_eq!(api.expect(409, request().json(wish)).await["code"], "certificate_exists");
    let nowhere = json!({"zone_id": "zone_x", "domain": "app.example.test"});
    assert_eq!(api.expect(404, request().json(nowhere)).await["code"], "zone_not_found");
    let later = json!({"zone_id": zone.id, "domain": format!("later.{}", zone.name), "key_algorithm": "ecdsa_p256", "place_order": false});
    let later = text(&api.expect(201, request().json(later)).await["id"]);
    for file in FILES {
        api.expect(409, Request::get(format!("{}/{file}", at(&later))).by(token)).await;
    }
    let pfx = Request::get(format!("{}/pfx", at(&later))).by(token);
    assert_eq!(api.expect(400, pfx.clone()).await["code"], "pfx_password_missing");
    assert_eq!(api.expect(409, pfx.header("x-pfx-password", "correct horse")).await["code"], "certificate_not_ready");
    assert_eq!(api.expect(409, Request::post(format!("{}/revoke", at(&later))).by(token)).await["code"], "nothing_to_revoke");

    lists(world).await;
    let issued = text(&requested["id"]);
    owner.becomes(&issued, "issued").await?;
    files(world, &at(&issued)).await;
    for file in FILES {
        let other = Request::get(format!("{}/{file}?key_type=ecdsa", at(&issued))).by(token);
        assert_eq!(api.expect(409, other).await["code"], "no_version_of_key_type", "{file}");
        assert_eq!(api.expect(400, Request::get(format!("{}/{file}?key_type=dsa", at(&issued))).by(token)).await["code"], "unknown_choice");
    }
    change(world, &at(&issued)).await;
    deployments(world, &at(&issued)).await;
    push_targets(world, &at(&issued)).await;
    uploads(world, &at(&issued)).await;

    let renew = Request::post(format!("{}/renew", at(&issued))).by(token);
    api.once(202, renew.clone(), "again=1").await;
    assert_eq!(api.expect(409, renew).await["code"], "issuance_under_way");
    owner.becomes(&issued, "issued").await?;
    versions(world, &at(&issued)).await?;
    let revoke = Request::post(format!("{}/revoke", at(&issued))).by(token).json(json!({"reason": "superseded"}));
    api.once(202, revoke, "again=1").await;
    api.expect(204, Request::delete(format!("{}?revoke=true", at(&later))).by(token)).await;
    Ok(())
}

async fn lists(World { api, callers, things, .. }: &World) {
    let token = callers.program.as_str();
    let page = api.expect(200, Request::get("/api/v1/certificates?limit=1").by(token)).await;
    api.expect(200, Request::get(format!("/api/v1/certificates?cursor={}", text(&page["next_cursor"]))).by(token)).await;
    let filters =
        format!("status=issued&zone_id={}&name=app.{}&q=APP&expiring_before=2100-01-01T00:00:00Z", things.zone.id, things.zone.name);
    let filtered = api.expect(200, Request::get(format!("/api/v1/certificates?{filters}")).by(token)).await;
    assert_eq!(filtered["certificates"].as_array().unwrap().len(), 1);
    let export = |query: &str| Request::get(format!("/api/v1/certificates/export?{query}")).by(token);
    let table = api.expect(200, export("kind=managed")).await;
    assert!(table.as_str().unwrap().starts_with("id,name,"), "{table}");
    let exported = api.expect(200, export(&format!("format=json&{filters}"))).await;
    assert_eq!(exported["certificates"], filtered["certificates"]);
    assert_eq!(api.expect(400, export("format=xml")).await["code"], "unknown_choice");
    // Pebble has none.
    let profiles = api.expect(200, Request::get("/api/v1/certificates/profiles").by(token)).await;
    assert_eq!(profiles, json!({"profiles": []}));
    assert_eq!(api.expect(400, Request::get("/api/v1/certificates?status=happy").by(token)).await["code"], "unknown_choice");
}

async fn files(World { api, callers, .. }: &World, path: &str) {
    let token = callers.program.as_str();
    for file in FILES {
        let request = Request::get(format!("{path}/{file}")).by(token);
        let first = api.answer(request.clone()).await;
        let tag = first.header("etag");
        first.is(200);
        api.expect(304, request.header("if-none-match", tag)).await;
    }
    api.expect(200, Request::get(path).by(token)).await;
    let log = api.expect(200, Request::get(format!("{path}/logs")).by(token)).await;
    assert!(log["logs"].as_array().unwrap().len() > 5);
}

/// Of a certificate that was renewed once.
async fn versions(World { api, callers, .. }: &World, path: &str) -> Result<()> {
    let token = callers.program.as_str();
    let get = |path: String| Request::get(path).by(token);
    let post = |path: String| Request::post(path).by(token);
    for list in ["orders", "versions"] {
        let page = api.expect(200, get(format!("{path}/{list}?limit=1"))).await;
        let rest = api.expect(200, get(format!("{path}/{list}?cursor={}", text(&page["next_cursor"])))).await;
        assert!(!rest[list].as_array().unwrap().is_empty());
        api.expect(200, get(format!("{path}/{list}/{}", text(&rest[list][0]["id"])))).await;
    }
    let all = api.expect(200, get(format!("{path}/versions"))).await;
    let [newer, older] = [0, 1].map(|place| format!("{path}/versions/{}", text(&all["versions"][place]["id"])));
    for file in FILES {
        let request = get(format!("{older}/{file}"));
        let first = api.answer(request.clone()).await;
        let tag = first.header("etag");
        first.is(200);
        api.expect(304, request.header("if-none-match", tag)).await;
    }
    api.once(200, post(format!("{older}/activate")), "again=1").await;
    assert_eq!(api.expect(200, get(older.clone())).await["is_current"], true);
    api.expect(200, post(format!("{newer}/activate"))).await;
    api.once(202, post(format!("{newer}/post-process")), "again=1").await;
    assert_eq!(api.expect(409, post(format!("{older}/post-process"))).await["code"], "version_not_in_use");

    let revoke = post(format!("{older}/revoke"));
    api.once(202, revoke.clone().json(json!({"reason": "superseded"})), "again=1").await;
    wait::until("the version is revoked", PATIENCE, async || {
        let version = api.expect(200, get(older.clone())).await;
        Ok((!version["revoked_at"].is_null()).then_some(()))
    })
    .await?;
    assert_eq!(api.expect(409, revoke).await["code"], "nothing_to_revoke");
    assert_eq!(api.expect(409, post(format!("{older}/activate"))).await["code"], "version_revoked");
    for file in FILES {
        assert_eq!(api.expect(409, get(format!("{older}/{file}"))).await["code"], "version_revoked");
    }
    Ok(())
}

async fn push_targets(World { api, callers, .. }: &World, path: &str) {
    let token = callers.program.as_str();
    let targets = format!("{path}/push-targets");
    let request = |address: &str| Request::post(&targets).by(token).json(json!({"address": address}));
    let made = api.expect(201, request("web1.customer.test")).await;
    let target = format!("{targets}/{}", text(&made["id"]));
    api.expect(201, request("web2.customer.test:8443")).await;
    assert_eq!(api.expect(409, request("web1.customer.test:5055")).await["code"], "push_target_exists");
    assert_eq!(api.expect(400, request("https://web3.customer.test")).await["code"], "address_invalid");
    api.expect(200, Request::get(&targets).by(token)).await;
    api.expect(200, Request::get(&target).by(token)).await;
    let change = |body| Request::patch(&target).by(token).json(body);
    api.expect(200, change(json!({"enabled": false, "client_key": made["client_key"]}))).await;
    assert_eq!(api.expect(409, change(json!({"address": "web2.customer.test:8443"}))).await["code"], "push_target_exists");
    assert_eq!(api.expect(400, change(json!({"client_key": "short"}))).await["code"], "client_key_invalid");
    api.expect(200, Request::get(format!("{target}/deliveries?limit=1")).by(token)).await;
    assert_eq!(api.expect(400, Request::get(format!("{target}/deliveries?status=lost")).by(token)).await["code"], "unknown_choice");
    api.expect(204, Request::delete(&target).by(token)).await;
}

/// What was issued is uploaded again, as a certificate of its own.
async fn uploads(World { api, callers, .. }: &World, path: &str) {
    let token = callers.program.as_str();
    let files = api.expect(200, Request::get(format!("{path}/download")).by(token)).await;
    let pair = json!({"certificate": files["certificate"], "chain": files["chain"], "private_key": files["private_key"]});
    let upload = |body| Request::post("/api/v1/certificates/upload").by(token).json(body);
    let mut named = pair.clone();
    named["name"] = json!("uploaded");
    let stored = api.once(201, upload(named.clone()), "again=1").await;
    assert_eq!(stored["certificate"]["kind"], "uploaded");
    assert_eq!(api.expect(409, upload(named)).await["code"], "certificate_name_taken");
    api.expect(400, upload(json!({"certificate": files["chain"], "private_key": files["private_key"]}))).await;
    let uploaded = format!("/api/v1/certificates/{}", text(&stored["certificate"]["id"]));
    let version = |path: &str| Request::post(format!("{path}/versions")).by(token).json(pair.clone());
    api.once(201, version(&uploaded), "again=1").await;
    assert_eq!(api.expect(409, version(path)).await["code"], "certificate_is_managed");
    assert_eq!(api.expect(409, Request::post(format!("{uploaded}/renew")).by(token)).await["code"], "certificate_is_uploaded");
    let again = api.expect(200, Request::get(format!("{uploaded}/download")).by(token)).await;
    assert_eq!((&again["certificate"], &again["private_key"]), (&files["certificate"], &files["private_key"]));
    api.expect(204, Request::delete(uploaded).by(token)).await;
}

async fn deployments(World { api, callers, .. }: &World, path: &str) {
    let token = callers.program.as_str();
    let version = api.expect(200, Request::get(path).by(token)).await["current_version"].clone();
    let report = |target: &str, body| Request::put(format!("{path}/deployments/{target}")).by(token).json(body);
    let whole = json!({
        "served_sha256": version["fingerprint_sha256"], "installed_sha256": version["fingerprint_sha256"], "installed_version_id": version["id"],
        "agent_version": "0.1.0", "error": null,
    });
    let kept = api.expect(200, report("web1.example.test:443", whole)).await;
    assert_eq!((&kept["state"], &kept["installed_version_id"]), (&json!("serving"), &version["id"]));
    let shown = api.expect(200, Request::get(path).by(token)).await;
    assert_eq!((&shown["deployed"][0]["target"], &shown["deployed"][0]["state"]), (&json!("web1.example.test:443"), &json!("serving")));
    let unknown = json!({"installed_version_id": format!("ver_{}", "0".repeat(32))});
    assert_eq!(api.expect(400, report("web1", unknown)).await["code"], "version_unknown");
    for number in 1..50 {
        api.expect(200, report(&format!("more{number}"), json!({"error": "no answer from 127.0.0.1:443"}))).await;
    }
    assert_eq!(api.expect(409, report("more50", json!({}))).await["code"], "deployment_limit_reached");
    let list = api.expect(200, Request::get(format!("{path}/deployments")).by(token)).await;
    assert_eq!(list["deployments"].as_array().unwrap().len(), 50);
    api.expect(204, Request::delete(format!("{path}/deployments/more1")).by(token)).await;
}

async fn change(World { api, callers, things, .. }: &World, path: &str) {
    let change = |body| Request::patch(path).by(&callers.program).json(body);
    let changed = api.expect(200, change(json!({"auto_renew": false, "label": "contract", "key_policy": "keep"}))).await;
    assert_eq!(changed["label"], "contract");
    let owned = api.expect(200, change(json!({"subject": {"country": "CH", "organization": "Example AG"}, "profile": null}))).await;
    assert_eq!(owned["subject"]["organization"], "Example AG");
    assert_eq!(api.expect(400, change(json!({"profile": "shortlived"}))).await["code"], "profile_not_offered");
    let taken = change(json!({"name": format!("app.{}", things.zone.name)}));
    assert_eq!(api.expect(409, taken).await["code"], "certificate_name_taken");
}
