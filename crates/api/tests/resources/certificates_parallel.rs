//! What is counted and what is unique, when everybody comes at once (requirements X13).

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::TestApi;

/// How often each status and code came.
async fn post_all(caller: &crate::support::Caller<'_>, bodies: Vec<Value>) -> BTreeMap<(u16, String), usize> {
    let mut counts = BTreeMap::new();
    for answer in join_all(bodies.into_iter().map(|body| caller.post("/certificates", body))).await {
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        *counts.entry((answer.status.as_u16(), code)).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_once_on_plus_make_exactly_five_certificates() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let bodies = (0..50).map(|number| json!({"zone_id": zone, "domain": format!("h{number}.{name}")})).collect();
    let counts = post_all(&caller, bodies).await;
    assert_eq!(counts, [((202, String::new()), 5), ((403, "certificate_limit_reached".to_owned()), 45)].into());
    let stored = api.sql("SELECT count(*), max(number) FROM certificates").await;
    assert_eq!(stored, [json!({"count": 5, "max": 5})]);
    assert_eq!(api.jobs("issue").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_once_for_one_domain_make_exactly_one_certificate() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let bodies = vec![json!({"zone_id": zone, "domain": name}); 50];
    let counts = post_all(&caller, bodies).await;
    assert_eq!(counts, [((202, String::new()), 1), ((409, "certificate_exists".to_owned()), 49)].into());
    assert_eq!(api.jobs("issue").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_requested_at_once_get_names_and_numbers_of_their_own() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    // Names are derived from the first 90 characters of the domain, so these all begin the same.
    let long = "x".repeat(60);
    let bodies = (10..30).map(|number| json!({"zone_id": zone, "domain": format!("{long}.{long}.h{number}.{name}")})).collect();
    assert_eq!(post_all(&caller, bodies).await, [((202, String::new()), 20)].into());
    let stored = api.sql("SELECT count(DISTINCT name) AS names, count(DISTINCT number) AS numbers, max(number) FROM certificates").await;
    assert_eq!(stored, [json!({"names": 20, "numbers": 20, "max": 20})]);
}

/// A zone that goes while a certificate comes: one of the two is refused.
#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_slips_under_a_zone_that_is_being_deleted() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    for _ in 0..10 {
        let (zone, name) = caller.verified_zone().await;
        let path = format!("/zones/{zone}");
        let (created, deleted) = tokio::join!(caller.post("/certificates", json!({"zone_id": zone, "domain": name})), caller.delete(&path));
        match (created.status.as_u16(), deleted.status.as_u16()) {
            (202, 409) | (404, 204) => {}
            other => panic!("{other:?}"),
        }
    }
}
