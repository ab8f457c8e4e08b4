//! The proof of control, looked up in a real DNS server.

use std::net::{Ipv4Addr, UdpSocket};

use reqwest::StatusCode;
use serde_json::{Value, json};
use zonecert_devstack::unique_label;

use crate::support::{Caller, TestApi};

const NAMESERVERS: [&str; 1] = ["ns1.customer.test"];

/// A zone that the customers' DNS serves, imported.
async fn imported(caller: &Caller<'_>, name: &str) -> (String, String) {
    let zone = caller.post("/zones", json!({"name": name})).await.expect(StatusCode::CREATED);
    (format!("/zones/{}", zone["id"].as_str().unwrap()), zone["verification"]["value"].as_str().unwrap().to_owned())
}

async fn served(api: &TestApi) -> String {
    let name = format!("{}.test", unique_label());
    api.stack.customer_dns.create_zone(&name, &NAMESERVERS).await.unwrap();
    name
}

async fn verify(caller: &Caller<'_>, path: &str) -> crate::support::Answer {
    caller.api.send(reqwest::Method::POST, &format!("/api/v1{path}/verify"), Some(&caller.token), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_can_stand_in_the_dns_is_told_apart_until_the_right_one_does() {
    let api = TestApi::start().await;
    let caller = api.register("free").await;
    let name = served(&api).await;
    let dns = &api.stack.customer_dns;
    let (path, value) = imported(&caller, &name).await;
    let record = format!("_zonecert.{name}");
    let remedy =
        format!("Set a TXT record at {record} with the value {value} in the present DNS of {name}, then POST /api/v1{path}/verify");

    let (code, detail) = verify(&caller, &path).await.problem(409);
    assert_eq!(code, "zone_verification_failed");
    let seen = format!("The zone is not verified: {record} does not exist (NXDOMAIN)");
    assert!(detail.starts_with(&seen) && detail.ends_with(&remedy), "{detail}");
    let zone = caller.get(&path).await.expect(StatusCode::OK);
    assert_eq!(zone["status"], "pending");
    assert!(zone["last_checked_at"].is_string());

    dns.set_rrset(&name, &record, "A", &["192.0.2.1".to_owned()]).await.unwrap();
    let (code, detail) = verify(&caller, &path).await.problem(409);
    assert_eq!(code, "zone_verification_failed");
    assert!(detail.starts_with(&format!("The zone is not verified: {record} exists but has no TXT record")), "{detail}");

    dns.set_txt(&name, &record, &["v=spf1 -all".to_owned(), format!("{value}0")]).await.unwrap();
    let (code, detail) = verify(&caller, &path).await.problem(409);
    assert_eq!(code, "zone_verification_failed");
    assert!(detail.contains(&format!("{record} has other TXT values: ")), "{detail}");
    assert!(detail.contains("\"v=spf1 -all\"") && detail.contains(&format!("\"{value}0\"")), "{detail}");
    assert_eq!(api.jobs("project").await, Vec::<Value>::new());

    dns.add_txt(&name, &record, &value).await.unwrap();
    let zone = verify(&caller, &path).await.expect(StatusCode::OK);
    assert_eq!(zone["status"], "verified");
    assert!(zone["verified_at"].is_string());
    let kept = zone["verification"]["instructions"].as_str().unwrap();
    assert!(kept.contains("Leave the TXT record") && kept.contains("our name servers"), "{kept}");
    assert_eq!((&zone["projection"], &zone["record_count"]), (&json!({"state": "pending", "last_error": null}), &json!(0)));
    assert!(zone["next_check_at"].is_string());
    assert_eq!(api.jobs("project").await, [json!({"dns_zone": name})]);
    let events = api.sql("SELECT event FROM events ORDER BY number").await;
    assert_eq!(events, [json!({"event": "zone_imported"}), json!({"event": "zone_verified"})]);

    // Asked again, nothing happens again, whatever the DNS says by then.
    dns.set_txt(&name, &record, &[]).await.unwrap();
    assert_eq!(verify(&caller, &path).await.expect(StatusCode::OK), zone);
    assert_eq!(api.jobs("project").await.len(), 1);
    assert_eq!(api.sql("SELECT generation FROM zone_projections").await, [json!({"generation": 1})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_another_account_holds_is_said_to_be_only_after_the_proof() {
    let api = TestApi::start().await;
    let (first, second) = (api.register("plus").await, api.register("plus").await);
    let name = served(&api).await;
    let record = format!("_zonecert.{name}");
    let (first_path, first_value) = imported(&first, &name).await;
    api.stack.customer_dns.add_txt(&name, &record, &first_value).await.unwrap();
    verify(&first, &first_path).await.expect(StatusCode::OK);

    let (second_path, second_value) = imported(&second, &name).await;
    assert_eq!(verify(&second, &second_path).await.problem(409).0, "zone_verification_failed");
    api.stack.customer_dns.add_txt(&name, &record, &second_value).await.unwrap();
    let (code, detail) = verify(&second, &second_path).await.problem(409);
    assert_eq!(code, "zone_held_by_another_account");
    assert!(detail.contains(&name), "{detail}");
    assert_eq!(second.get(&second_path).await.expect(StatusCode::OK)["status"], "pending");
    assert_eq!(api.jobs("project").await.len(), 1);

    assert_eq!(first.delete(&first_path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(verify(&second, &second_path).await.expect(StatusCode::OK)["status"], "verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_verifications_at_once_take_the_zone_once() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let name = served(&api).await;
    let (path, value) = imported(&caller, &name).await;
    api.stack.customer_dns.add_txt(&name, &format!("_zonecert.{name}"), &value).await.unwrap();
    let answers = futures::future::join_all((0..10).map(|_| verify(&caller, &path))).await;
    for answer in answers {
        assert_eq!(answer.expect(StatusCode::OK)["status"], "verified");
    }
    assert_eq!(api.jobs("project").await.len(), 1);
    let verified = api.sql("SELECT count(*) FROM events WHERE event = 'zone_verified'").await;
    assert_eq!(verified, [json!({"count": 1})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_the_dns_server_refuses_is_told_in_its_words() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    // The customers' DNS does not serve it, and does not ask others.
    let (path, _) = imported(&caller, &format!("{}.test", unique_label())).await;
    let (code, detail) = verify(&caller, &path).await.problem(409);
    assert_eq!(code, "zone_verification_failed");
    assert!(detail.contains("the DNS answered REFUSED"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_cannot_be_reached_is_our_fault() {
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let api = TestApi::start_with(true, Some(closed)).await;
    let caller = api.register("plus").await;
    let (path, _) = imported(&caller, "unreachable.test").await;
    let answer = verify(&caller, &path).await;
    assert_eq!(answer.problem(503).0, "resolver_unavailable");
    assert_eq!(answer.header("retry-after"), "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_two_accounts_prove_at_once_becomes_one_accounts() {
    let api = TestApi::start().await;
    let callers = [api.register("plus").await, api.register("plus").await, api.register("plus").await];
    let name = served(&api).await;
    let mut paths = Vec::new();
    for caller in &callers {
        let (path, value) = imported(caller, &name).await;
        api.stack.customer_dns.add_txt(&name, &format!("_zonecert.{name}"), &value).await.unwrap();
        paths.push(path);
    }
    let answers = futures::future::join_all(callers.iter().zip(&paths).map(|(caller, path)| verify(caller, path))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        assert_eq!(answer.problem(409).0, "zone_held_by_another_account");
    }
    assert_eq!(api.sql("SELECT count(*) FROM zones WHERE status = 'verified'").await, [json!({"count": 1})]);
    assert_eq!(api.jobs("project").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_below_another_accounts_is_had_by_its_own_proof() {
    let api = TestApi::start().await;
    let (above, below) = (api.register("plus").await, api.register("plus").await);
    let name = served(&api).await;
    let (above_path, above_value) = imported(&above, &name).await;
    let (below_path, below_value) = imported(&below, &format!("sub.{name}")).await;
    let dns = &api.stack.customer_dns;
    dns.add_txt(&name, &format!("_zonecert.{name}"), &above_value).await.unwrap();
    verify(&above, &above_path).await.expect(StatusCode::OK);
    // The proof of the zone above proves nothing of the one below.
    assert_eq!(verify(&below, &below_path).await.problem(409).0, "zone_verification_failed");
    dns.add_txt(&name, &format!("_zonecert.sub.{name}"), &below_value).await.unwrap();
    verify(&below, &below_path).await.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_zone_is_verified_anew() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let name = served(&api).await;
    let (path, value) = imported(&caller, &name).await;
    api.stack.customer_dns.add_txt(&name, &format!("_zonecert.{name}"), &value).await.unwrap();
    verify(&caller, &path).await.expect(StatusCode::OK);
    let zone = path.strip_prefix("/zones/").unwrap();
    let certificate = caller.certificate(zone, &name).await["id"].as_str().unwrap().to_owned();
    let lost = "UPDATE zones SET status = 'lost', lost_at = now(), failed_checks = 10, next_check_at = NULL";
    api.execute(lost).await;
    api.execute("UPDATE certificates SET renewal_blocked_by = 'zone_lost'").await;
    let seen = caller.get(&path).await.expect(StatusCode::OK);
    assert_eq!((&seen["status"], &seen["projection"]), (&json!("lost"), &Value::Null));
    assert!(seen["lost_at"].is_string());
    assert!(seen["verification"]["instructions"].as_str().unwrap().contains(&value));
    assert_eq!(
        caller.post("/certificates", json!({"zone_id": zone, "domain": format!("a.{name}")})).await.problem(409).0,
        "zone_not_verified"
    );

    let again = verify(&caller, &path).await.expect(StatusCode::OK);
    assert_eq!((&again["status"], &again["lost_at"]), (&json!("verified"), &Value::Null));
    assert!(again["next_check_at"].is_string());
    let rows = api.sql("SELECT renewal_blocked_by FROM certificates").await;
    assert_eq!(rows, [json!({"renewal_blocked_by": null})], "{certificate}");
}
