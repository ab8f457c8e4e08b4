//! Another account's things do not exist.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;
use zonecert_devstack::shared;
use zonecert_tests::System;

#[tokio::test]
async fn every_route_that_names_a_thing_of_another_account_answers_404() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let (owner, stranger) = (system.account("elite").await?, system.account("elite").await?);
    let zone = system.verified_zone(&owner).await?;
    let certificate = owner.request(&zone, "app", &[]).await?;
    owner.becomes(&certificate, "issued").await?;
    let token = owner.client.post("/tokens", &json!({ "name": "deploy", "scopes": ["zones:read"] })).await?.expect(201)?;
    let token = token["id"].as_str().unwrap().to_owned();

    let mut checked = 0;
    for (method, path) in routes()? {
        let Some(path) = fill(&path, &zone.id, &certificate, &token) else { continue };
        let body = (method != Method::GET).then(|| json!({}));
        let theirs = stranger.client.send(method.clone(), &path, body.as_ref()).await?;
        ensure!(theirs.status == 404, "{method} {path} answers a stranger {}: {}", theirs.status, theirs.text);
        // The same, to the letter but for the request, as for what has never been there.
        let absent = path_of_nothing(&path);
        let nothing = stranger.client.send(method.clone(), &absent, body.as_ref()).await?;
        let without_instance = |text: &str| -> Result<serde_json::Value> {
            let mut problem: serde_json::Value = serde_json::from_str(text)?;
            problem.as_object_mut().map(|fields| fields.remove("instance"));
            Ok(problem)
        };
        ensure!(nothing.status == 404, "{method} {absent} answers {}", nothing.status);
        ensure!(without_instance(&theirs.text)? == without_instance(&nothing.text)?, "{method} {path} tells a stranger more than {absent}");
        checked += 1;
    }
    ensure!(checked >= 8, "only {checked} routes name a thing");
    let wish = json!({ "zone_id": zone.id, "domain": format!("mine.{}", zone.name) });
    let refused = stranger.client.post("/certificates", &wish).await?;
    ensure!(refused.status == 404 && refused.json()?["detail"] == "Zone not found or no permission", "{}", refused.text);
    for list in ["/zones", "/certificates", "/tokens"] {
        let seen = stranger.client.get(list).await?;
        ensure!(seen.status == 200 && !seen.text.contains(&zone.name), "{list} shows a stranger {}", seen.text);
    }
    // And the owner still has it all.
    owner.client.get(&format!("/certificates/{certificate}/download")).await?.expect(200)?;
    owner.client.get(&format!("/tokens/{token}")).await?.expect(200)?;
    Ok(())
}

/// Method and path of every documented route; that the document holds every route of the router is tested elsewhere.
fn routes() -> Result<Vec<(Method, String)>> {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi.yaml"))?;
    let mut routes = Vec::new();
    let mut path = None;
    for line in document.lines() {
        if let Some(found) = line.strip_prefix("  /").and_then(|rest| rest.split(':').next()) {
            path = Some(format!("/{found}"));
        } else if let (Some(path), Some(method)) = (&path, line.strip_prefix("    ").and_then(|rest| rest.strip_suffix(':')))
            && let "get" | "post" | "put" | "patch" | "delete" = method
        {
            routes.push((Method::from_bytes(method.to_uppercase().as_bytes())?, path.trim_start_matches("/api/v1").to_owned()));
        }
    }
    ensure!(routes.len() > 15, "openapi.yaml was not understood: {routes:?}");
    Ok(routes)
}

/// The path with identifiers in place, if it has a place for one.
fn fill(path: &str, zone: &str, certificate: &str, token: &str) -> Option<String> {
    let (before, after) = path.split_once('{')?;
    let (_, after) = after.split_once('}')?;
    let id = if before.starts_with("/zones") {
        zone
    } else if before.starts_with("/certificates") {
        certificate
    } else {
        token
    };
    Some(format!("{before}{id}{after}"))
}

/// The path with an identifier that nobody has.
fn path_of_nothing(path: &str) -> String {
    path.split('/')
        .map(|part| match part.split_once('_') {
            Some((prefix, digits)) if digits.len() == 32 => format!("{prefix}_{}", "0".repeat(32)),
            _ => part.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("/")
}
