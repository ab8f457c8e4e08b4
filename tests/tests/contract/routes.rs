//! What holds for every route alike.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;

use super::described::Described;

pub(crate) async fn want_a_credential(api: &Described) {
    for operation in api.operations() {
        if operation.is_secured() {
            api.call(operation.method.clone(), &operation.unknown_path(), None, &[], None).await.is(401);
        }
    }
}

/// A token that may read zones and nothing else, and one that may read certificates and nothing else: each operation refuses one of them.
pub(crate) async fn want_a_scope(api: &Described, person: &str) {
    let mut tokens = Vec::new();
    for scope in ["zones:read", "certificates:read"] {
        let made = api.post("/api/v1/tokens", Some(person), &json!({"name": scope, "scopes": [scope]})).await.is(201);
        tokens.push(made["token"].as_str().unwrap().to_owned());
    }
    for operation in api.operations() {
        if operation.is_secured() && operation.path != "/api/v1/me" {
            let needs_zones = operation.described["description"].as_str().unwrap_or_default().contains("`zones:read`");
            let token = &tokens[usize::from(needs_zones)];
            // `certificates:read` is answered 403 to the token for zones, everything else to either.
            api.call(operation.method.clone(), &operation.unknown_path(), Some(token), &[], None).await.is(403);
        }
    }
}

pub(crate) async fn find_nothing_by_an_unknown_identifier(api: &Described, person: &str) {
    for operation in api.operations() {
        if operation.path.contains("{id}") {
            api.call(operation.method.clone(), &operation.unknown_path(), Some(person), &[], None).await.is(404);
        }
    }
}

pub(crate) async fn refuse_bodies_that_cannot_be_read(api: &Described, person: &str) {
    const JSON: (&str, &str) = ("content-type", "application/json");
    for operation in api.operations() {
        if operation.takes_body() {
            let token = operation.is_secured().then_some(person);
            let send = async |headers: &[(&str, &str)], body: &str| {
                api.call(operation.method.clone(), operation.path, token, headers, Some(body.as_bytes().to_vec())).await
            };
            send(&[JSON], "{").await.is(400);
            send(&[JSON], "{}").await.is(400);
            send(&[JSON], &format!("\"{}\"", "x".repeat(70_000))).await.is(413);
            send(&[("content-type", "text/plain")], "{}").await.is(415);
        }
    }
}

/// A method that is not described is answered 405, with exactly the described ones in `Allow`.
pub(crate) async fn refuse_other_methods(api: &Described) {
    let mut described: BTreeMap<String, Vec<Method>> = BTreeMap::new();
    for operation in api.operations() {
        described.entry(operation.unknown_path()).or_default().push(operation.method.clone());
    }
    for (path, methods) in described {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if methods.contains(&method) {
                continue;
            }
            let answer = api.send(method, &path, None, &[], None).await;
            let mut allowed: Vec<String> = answer.header("allow").split(',').map(|method| method.trim().to_owned()).collect();
            allowed.sort();
            answer.is(405);
            let mut expected: Vec<String> = methods.iter().map(Method::to_string).collect();
            expected.sort();
            assert_eq!(allowed, expected, "{path}");
        }
    }
}
