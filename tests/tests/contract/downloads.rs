//! The download API of LeGo CertHub and Cert Warden: every kind, by header and in the URL.

use anyhow::Result;
use serde_json::json;

use super::described::Request;
use super::{World, operators, text};

const LEGO: [&str; 4] = ["privatekeys", "certificates", "privatecerts", "certrootchains"];
const CERT_WARDEN: [&str; 6] = ["privatekeys", "certificates", "privatecerts", "privatecertchains", "certrootchains", "pfx"];

pub(crate) async fn scenario(world: &World) -> Result<()> {
    let World { api, system, .. } = world;
    let owner = system.account("elite").await?;
    let zone = system.verified_zone(&owner).await?;
    let by = owner.access_token.as_str();
    let wish = json!({"zone_id": zone.id, "domain": format!("shop.{}", zone.name), "name": "shop", "place_order": false});
    let certificate = api.expect(201, Request::post("/api/v1/certificates").by(by).json(wish)).await;
    let resources = [("certificates", text(&certificate["id"])), ("keys", text(&certificate["private_key_id"]))];
    let mut keys = Vec::new();
    for (kind, id) in &resources {
        let path = format!("/api/v1/{kind}/{id}");
        keys.push(text(&api.expect(201, Request::post(format!("{path}/api-keys")).by(by)).await["api_key"]));
        api.expect(200, Request::patch(path).by(by).json(json!({"api_key_via_url": true}))).await;
    }
    let key_of = |kind: &str| match kind {
        "privatekeys" => keys[1].clone(),
        "certificates" | "certrootchains" => keys[0].clone(),
        _ => format!("{}.{}", keys[0], keys[1]),
    };
    let calls = |face: &str, kind: &str, key: &str| {
        let path = format!("/{face}/api/v1/download/{kind}/shop");
        [Request::get(&path).header("x-api-key", key), Request::get(format!("{path}/{key}"))]
    };
    let all = || {
        let lego = LEGO.into_iter().map(|kind| ("legocerthub", kind));
        lego.chain(CERT_WARDEN.into_iter().map(|kind| ("certwarden", kind)))
    };
    for (face, kind) in all() {
        for call in calls(face, kind, &key_of(kind)) {
            assert_eq!(api.expect(404, call).await["code"], "nothing_to_download", "{face} {kind}");
        }
    }
    for face in ["legocerthub", "certwarden"] {
        for call in calls(face, "keyrings", &key_of("certificates")) {
            assert_eq!(api.expect(404, call).await["code"], "not_found", "{face}");
        }
    }
    let renew = format!("/api/v1/certificates/{}/renew", resources[0].1);
    api.expect(202, Request::post(renew).by(by)).await;
    owner.becomes(&resources[0].1, "issued").await?;
    for (face, kind) in all() {
        for call in calls(face, kind, &key_of(kind)) {
            let first = api.answer(call.clone()).await;
            let tag = first.header("etag");
            first.is(200);
            api.expect(304, call.header("if-none-match", tag)).await;
        }
        for call in calls(face, kind, "zck_nonsense") {
            assert_eq!(api.expect(401, call).await["code"], "api_key_refused", "{face} {kind}");
        }
    }
    // A password of the caller's own.
    let pfx = Request::get(format!("/api/v1/certificates/{}/pfx?encryption=3des", resources[0].1))
        .by(by)
        .header("x-pfx-password", "correct horse");
    let first = api.answer(pfx.clone()).await;
    let tag = first.header("etag");
    first.is(200);
    api.expect(304, pfx.header("if-none-match", tag)).await;

    operators::suspend(world, &owner, "abuse").await;
    for (face, kind) in all() {
        for call in calls(face, kind, &key_of(kind)) {
            assert_eq!(api.expect(403, call).await["code"], "account_suspended", "{face} {kind}");
        }
    }
    Ok(())
}
