//! What belongs to another account is not there, and scopes are asked for before anything else.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestApi;

/// Every route of zones and certificates that names one of them: method, path with `{id}`, and whose identifier stands there.
const ROUTES: [(&str, &str, &str); 30] = [
    ("GET", "/zones/{id}", "zone"),
    ("DELETE", "/zones/{id}", "zone"),
    ("POST", "/zones/{id}/verify", "zone"),
    ("GET", "/zones/{id}/cname?name=app.example.test", "zone"),
    ("GET", "/zones/{id}/records", "zone"),
    ("PUT", "/zones/{id}/records", "zone"),
    ("DELETE", "/zones/{id}/records?name=a.test&type=A", "zone"),
    ("GET", "/zones/{id}/records/rrset_00000000000000000000000000000000", "zone"),
    ("DELETE", "/zones/{id}/records/rrset_00000000000000000000000000000000", "zone"),
    ("POST", "/zones/{id}/import", "zone"),
    ("GET", "/certificates/{id}", "cert"),
    ("PATCH", "/certificates/{id}", "cert"),
    ("DELETE", "/certificates/{id}?revoke=true", "cert"),
    ("POST", "/certificates/{id}/renew", "cert"),
    ("POST", "/certificates/{id}/revoke", "cert"),
    ("GET", "/certificates/{id}/logs", "cert"),
    ("GET", "/certificates/{id}/download", "cert"),
    ("GET", "/certificates/{id}/pem", "cert"),
    ("GET", "/certificates/{id}/chain", "cert"),
    ("GET", "/certificates/{id}/key", "cert"),
    ("GET", "/certificates/{id}/orders", "cert"),
    ("GET", "/certificates/{id}/orders/order_00000000000000000000000000000000", "cert"),
    ("GET", "/certificates/{id}/versions", "cert"),
    ("GET", "/certificates/{id}/versions/ver_00000000000000000000000000000000", "cert"),
    ("POST", "/certificates/{id}/versions/ver_00000000000000000000000000000000/revoke", "cert"),
    ("POST", "/certificates/{id}/versions/ver_00000000000000000000000000000000/activate", "cert"),
    ("GET", "/certificates/{id}/versions/ver_00000000000000000000000000000000/download", "cert"),
    ("GET", "/certificates/{id}/versions/ver_00000000000000000000000000000000/pem", "cert"),
    ("GET", "/certificates/{id}/versions/ver_00000000000000000000000000000000/chain", "cert"),
    ("GET", "/certificates/{id}/versions/ver_00000000000000000000000000000000/key", "cert"),
];

/// What a route wants to read before it looks for what it is about.
fn body(method: &Method, route: &str) -> Option<Value> {
    match (method.as_str(), route) {
        ("PUT", "/zones/{id}/records") => Some(json!({"name": "a.test", "type": "A", "contents": ["192.0.2.1"]})),
        ("POST", "/zones/{id}/import") => Some(json!({"zone_file": "", "replace": true})),
        ("PATCH", "/certificates/{id}") => Some(json!({"auto_renew": false})),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_zones_and_certificates_are_not_found_on_any_route() {
    let api = TestApi::start().await;
    let (owner, stranger) = (api.register("elite").await, api.register("elite").await);
    let (zone, name) = owner.verified_zone().await;
    let certificate = owner.certificate(&zone, &name).await["id"].as_str().unwrap().to_owned();
    for (method, route, prefix) in ROUTES {
        let method: Method = method.parse().unwrap();
        let theirs = if prefix == "zone" { &zone } else { &certificate };
        let nobodys = format!("{prefix}_00000000000000000000000000000000");
        let mut bodies = Vec::new();
        for id in [theirs.as_str(), &nobodys, "nonsense", "%00", &theirs.to_uppercase(), &theirs[5..], "..%2f.."] {
            let answer = stranger.send(method.clone(), &route.replace("{id}", id), body(&method, route)).await;
            assert_eq!(answer.problem(404).0, "not_found", "{method} {route} {id}");
            let mut body = answer.json();
            // The path that was asked for.
            body.as_object_mut().unwrap().remove("instance");
            bodies.push(body);
        }
        assert!(bodies.iter().all(|body| body == &bodies[0]), "{method} {route}: {bodies:?}");
    }
    // Nothing of it has happened, and the owner sees both.
    for path in [format!("/zones/{zone}"), format!("/certificates/{certificate}")] {
        assert_eq!(owner.get(&path).await.status, 200, "{path}");
    }
    for list in ["/zones", "/certificates"] {
        let page = stranger.get(list).await.json();
        assert_eq!(page[list.trim_start_matches('/')], json!([]), "{list}");
    }
    let filtered = stranger.get(&format!("/certificates?zone_id={zone}")).await.json();
    assert_eq!(filtered["certificates"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_wants_a_credential_and_its_scope() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let none = caller.with_token(&["account:admin"]).await;
    let lists = [
        ("GET", "/zones", ""),
        ("POST", "/zones", ""),
        ("GET", "/certificates", ""),
        ("POST", "/certificates", ""),
        ("GET", "/limits", ""),
    ];
    for (method, route, prefix) in ROUTES.into_iter().chain(lists) {
        let method: Method = method.parse().unwrap();
        let path = route.replace("{id}", &format!("{prefix}_00000000000000000000000000000000"));
        let anonymous = api.send(method.clone(), &format!("/api/v1{path}"), None, None).await;
        assert_eq!(anonymous.problem(401).0, "credential_missing", "{method} {route}");
        let answer = none.send(method.clone(), &path, None).await;
        assert_eq!(answer.problem(403).0, "scope_missing", "{method} {route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_does_not_include_writing() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let reader = caller.with_token(&["zones:read", "certificates:read", "keys:read"]).await;
    let id = caller.certificate(&zone, &format!("a.{name}")).await["id"].as_str().unwrap().to_owned();
    let bodies: [(&str, String, Value); 14] = [
        ("POST", "/zones".to_owned(), json!({"name": "new.test"})),
        ("POST", format!("/zones/{zone}/verify"), json!({})),
        ("DELETE", format!("/zones/{zone}"), Value::Null),
        ("PUT", format!("/zones/{zone}/records"), json!({"name": name, "type": "A", "contents": ["192.0.2.1"]})),
        ("DELETE", format!("/zones/{zone}/records?name={name}&type=A"), Value::Null),
        ("DELETE", format!("/zones/{zone}/records/rrset_00000000000000000000000000000000"), Value::Null),
        ("POST", format!("/zones/{zone}/import"), json!({"zone_file": ""})),
        ("POST", "/certificates".to_owned(), json!({"zone_id": zone, "domain": name})),
        ("PATCH", format!("/certificates/{id}"), json!({"auto_renew": false})),
        ("DELETE", format!("/certificates/{id}"), Value::Null),
        ("POST", format!("/certificates/{id}/renew"), json!({})),
        ("POST", format!("/certificates/{id}/revoke"), json!({})),
        ("POST", format!("/certificates/{id}/versions/ver_00000000000000000000000000000000/revoke"), json!({})),
        ("POST", format!("/certificates/{id}/versions/ver_00000000000000000000000000000000/activate"), json!({})),
    ];
    for (method, path, body) in bodies {
        let answer = reader.send(method.parse().unwrap(), &path, Some(body)).await;
        assert_eq!(answer.problem(403).0, "scope_missing", "{method} {path}");
    }
    let writer = caller.with_token(&["zones:write", "certificates:write"]).await;
    assert_eq!(writer.get("/certificates").await.problem(403).0, "scope_missing");
    assert_eq!(writer.post("/certificates", json!({"zone_id": zone, "domain": name})).await.status, 202);
}
