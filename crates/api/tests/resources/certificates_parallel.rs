//! What is counted and what is unique, when everybody comes at once (requirements X13).

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde_json::{Value, json};

use crate::issued::{end, issued};
use crate::support::{Answer, TestApi};

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
async fn fifty_requests_at_once_with_one_idempotency_key_make_one_certificate_and_are_answered_alike() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let body = json!({"zone_id": zone, "domain": name});
    let answers = join_all((0..50).map(|_| caller.post_once("one", "/certificates", body.clone()))).await;
    let distinct: BTreeSet<(u16, &str, &str)> =
        answers.iter().map(|answer| (answer.status.as_u16(), answer.header("location"), answer.text.as_str())).collect();
    assert_eq!(distinct.len(), 1);
    assert_eq!(answers[0].status.as_u16(), 202);
    assert_eq!(answers.iter().filter(|answer| answer.headers.contains_key("idempotency-replayed")).count(), 49);
    assert_eq!(api.sql("SELECT count(*) FROM certificates").await, [json!({"count": 1})]);
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

/// How often each status came.
fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status.as_u16()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_renewals_at_once_one_begins() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    let path = format!("/certificates/{}/renew", certificate["id"].as_str().unwrap());
    let answers = join_all((0..20).map(|_| caller.post(&path, json!({})))).await;
    assert_eq!(statuses(&answers), [(202, 1), (409, 19)].into());
    let refused = answers.iter().filter(|answer| answer.status.as_u16() == 409);
    assert!(refused.into_iter().all(|answer| answer.json()["code"] == "issuance_under_way"));
    assert_eq!(api.sql("SELECT count(*) FROM issuances WHERE status = 'active'").await, [json!({"count": 1})]);
}

/// Failed certificates for one domain, renewed all at once: one gets the domain. For domains of their own: as many as there are slots.
#[tokio::test(flavor = "multi_thread")]
async fn renewals_at_once_take_no_domain_twice_and_no_slot_too_many() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let mut failed = Vec::new();
    for number in 0..16 {
        let domain = if number < 8 { name.clone() } else { format!("h{number}.{name}") };
        let certificate = caller.certificate(&zone, &domain).await;
        end(&caller, &certificate, "failed").await;
        failed.push(format!("/certificates/{}/renew", certificate["id"].as_str().unwrap()));
    }
    let same = join_all(failed[..8].iter().map(|path| caller.post(path, json!({})))).await;
    assert_eq!(statuses(&same), [(202, 1), (409, 7)].into());
    let own = join_all(failed[8..].iter().map(|path| caller.post(path, json!({})))).await;
    assert_eq!(statuses(&own), [(202, 4), (403, 4)].into());
    assert_eq!(caller.get("/limits").await.json()["current_count"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_deleted_while_it_is_renewed_or_changed_leaves_nothing_under_way() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    for _ in 0..8 {
        let certificate = issued(&caller, &zone, &name).await;
        let path = format!("/certificates/{}", certificate["id"].as_str().unwrap());
        let renew = format!("{path}/renew");
        let (renewed, deleted, changed) = tokio::join!(
            caller.post(&renew, json!({})),
            caller.delete(&path),
            caller.patch(&path, json!({"label": "x", "sans": [format!("www.{name}")]})),
        );
        assert_eq!(deleted.status.as_u16(), 204, "{}", deleted.text);
        for other in [&renewed, &changed] {
            assert!([200, 202, 404].contains(&other.status.as_u16()), "{}", other.text);
        }
        assert_eq!(caller.get("/certificates").await.json()["certificates"], json!([]));
    }
    let loose = "SELECT FROM issuances JOIN certificates ON certificates.id = certificate_id
                 WHERE issuances.status = 'active' AND certificates.deleted_at IS NOT NULL AND cancel_requested_at IS NULL";
    assert_eq!(api.sql(loose).await, Vec::<Value>::new());
    let sealed = "SELECT FROM key_versions WHERE destroyed_at IS NULL";
    assert_eq!(api.sql(sealed).await, Vec::<Value>::new());
}

/// What an order is asked for is read when it begins: with the old names or with the new ones, never with a mixture.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_change_while_others_change_them_are_those_of_one_of_them() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = issued(&caller, &zone, &name).await;
    let path = format!("/certificates/{}", certificate["id"].as_str().unwrap());
    let renew = format!("{path}/renew");
    let wishes: Vec<Value> = (0..10).map(|n| json!([format!("a{n}.{name}"), format!("b{n}.{name}"), format!("c{n}.{name}")])).collect();
    let patches = join_all(wishes.iter().map(|sans| caller.patch(&path, json!({"sans": sans}))));
    let (renewed, changed) = tokio::join!(caller.post(&renew, json!({})), patches);
    assert_eq!((renewed.status.as_u16(), statuses(&changed)), (202, [(200, 10)].into()));
    let seen = caller.get(&path).await.json();
    assert!(wishes.contains(&seen["sans"]), "{seen}");
    for answer in [&renewed].into_iter().chain(&changed) {
        let sans = &answer.json()["sans"];
        assert!(wishes.contains(sans) || *sans == json!([]), "{sans}");
    }
}
