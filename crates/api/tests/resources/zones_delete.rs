//! Deletion of zones that certificates are under, and what becomes of those.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::issued::issue;
use crate::support::{Caller, TestApi, uuid};

/// The UUID of a certificate with a version that is valid for another 89 days.
async fn issued(caller: &Caller<'_>, zone: &str, domain: &str) -> String {
    let certificate = caller.certificate(zone, domain).await;
    issue(caller, &certificate, 89, "issued").await;
    uuid(&certificate["id"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_in_use_stays_unless_it_is_forced() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let (spare, _) = caller.verified_zone().await;
    let certificate = uuid(&caller.certificate(&zone, &format!("app.{name}")).await["id"]);
    for status in ["pending", "validating", "issued"] {
        api.execute(&format!("UPDATE certificates SET status = '{status}' WHERE id = '{certificate}'")).await;
        for query in ["", "?force=false"] {
            let (code, detail) = caller.delete(&format!("/zones/{zone}{query}")).await.problem(409);
            assert_eq!(code, "zone_in_use", "{status}");
            let expected = format!(
                "1 certificate is pending, validating or issued under {name}; delete them first, or add ?force=true, which stops their renewal"
            );
            assert_eq!(detail, expected);
        }
    }
    caller.certificate(&zone, &name).await;
    assert!(caller.delete(&format!("/zones/{zone}")).await.problem(409).1.starts_with("2 certificates are"));
    for query in ["?force=yes", "?force", "?force=", "?forced=true"] {
        assert_eq!(caller.delete(&format!("/zones/{zone}{query}")).await.problem(400).0, "invalid_query", "{query}");
    }
    assert_eq!(caller.delete(&format!("/zones/{spare}")).await.status, StatusCode::NO_CONTENT);
    api.execute("UPDATE certificates SET status = 'failed'").await;
    assert_eq!(caller.delete(&format!("/zones/{zone}")).await.status, StatusCode::NO_CONTENT);
    // What was issued under it can still be seen.
    assert_eq!(caller.get(&format!("/certificates/cert_{certificate}")).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_deletion_stops_renewal_and_leaves_what_was_issued() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let (other_zone, other_name) = caller.verified_zone().await;
    let done = issued(&caller, &zone, &format!("done.{name}")).await;
    let elsewhere = issued(&caller, &other_zone, &other_name).await;
    let first = uuid(&caller.certificate(&zone, &format!("first.{name}")).await["id"]);

    assert_eq!(caller.delete(&format!("/zones/{zone}?force=true")).await.status, StatusCode::NO_CONTENT);
    let why = caller.get(&format!("/certificates/cert_{first}")).await.json();
    assert_eq!((&why["last_error"]["code"], &why["last_error"]["next_attempt_at"]), (&json!("zone_deleted"), &json!(null)));
    let rows = api
        .sql(
            "SELECT replace(id::text, '-', '') AS id, renewal_blocked_by, renewal_due_at IS NULL AS rests, status FROM certificates
             ORDER BY number",
        )
        .await;
    assert_eq!(
        rows,
        [
            json!({"id": done, "renewal_blocked_by": "zone_deleted", "rests": true, "status": "issued"}),
            json!({"id": elsewhere, "renewal_blocked_by": null, "rests": false, "status": "issued"}),
            json!({"id": first, "renewal_blocked_by": null, "rests": true, "status": "pending"}),
        ]
    );
    // Whoever works on the issuance is to end it.
    let cancelled = api
        .sql("SELECT replace(certificate_id::text, '-', '') AS certificate_id FROM issuances WHERE cancel_requested_at IS NOT NULL")
        .await;
    assert_eq!(cancelled, [json!({"certificate_id": first})]);
    assert_eq!(caller.get(&format!("/certificates/cert_{done}/chain")).await.status, StatusCode::OK);
    assert_eq!(caller.get(&format!("/zones/{zone}")).await.problem(404).0, "not_found");

    let events = api
        .sql(
            "SELECT event, level, replace(certificate_id::text, '-', '') AS certificate_id FROM events
             WHERE event IN ('renewal_stopped', 'zone_deleted') ORDER BY number",
        )
        .await;
    assert_eq!(
        events,
        [
            json!({"event": "renewal_stopped", "level": "warning", "certificate_id": done}),
            json!({"event": "renewal_stopped", "level": "warning", "certificate_id": first}),
            json!({"event": "zone_deleted", "level": "info", "certificate_id": null}),
        ]
    );
    let logs = caller.get(&format!("/certificates/cert_{done}/logs")).await.expect(StatusCode::OK);
    assert!(logs.to_string().contains("The zone"), "{logs}");
    let audit = api.sql("SELECT details FROM audit_log WHERE action = 'zone.deleted'").await;
    assert_eq!(audit, [json!({"details": {"name": name, "live_certificates": 2}})]);
    assert_eq!(api.jobs("project").await, [json!({"dns_zone": name})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_comes_back_has_its_certificates_again() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("elite").await, api.register("elite").await);
    let (zone, name) = caller.verified_zone().await;
    let dns = &api.stack.customer_dns;
    dns.create_zone(&name, &["ns1.customer.test"]).await.unwrap();
    let certificate = issued(&caller, &zone, &format!("app.{name}")).await;
    assert_eq!(caller.delete(&format!("/zones/{zone}?force=true")).await.status, StatusCode::NO_CONTENT);

    // Another account's zone of the same name has nothing of it.
    let theirs = other.verified_zone_named(&name).await;
    assert_eq!(other.delete(&format!("/zones/{theirs}")).await.status, StatusCode::NO_CONTENT);

    let imported = caller.post("/zones", json!({"name": name, "mode": "delegated"})).await.expect(StatusCode::CREATED);
    let blocked =
        async || api.sql(&format!("SELECT zone_id, renewal_blocked_by FROM certificates WHERE id = '{certificate}'")).await.remove(0);
    assert_eq!(
        blocked().await,
        json!({"zone_id": zone_uuid(&zone), "renewal_blocked_by": "zone_deleted"}),
        "until control is proven again"
    );
    let value = imported["verification"]["value"].as_str().unwrap();
    dns.add_txt(&name, &format!("_zonecert.{name}"), value).await.unwrap();
    let id = imported["id"].as_str().unwrap();
    caller.send(reqwest::Method::POST, &format!("/zones/{id}/verify"), None).await.expect(StatusCode::OK);
    assert_eq!(blocked().await, json!({"zone_id": zone_uuid(id), "renewal_blocked_by": null}));
    let due = api.sql(&format!("SELECT renewal_due_at IS NOT NULL AS due FROM certificates WHERE id = '{certificate}'")).await;
    assert_eq!(due, [json!({"due": true})]);
    let event = api.sql("SELECT details->'certificates_regained' AS regained FROM events WHERE event = 'zone_verified'").await;
    assert_eq!(event, [json!({"regained": 1})]);
    // It keeps the zone from being deleted as before.
    assert_eq!(caller.delete(&format!("/zones/{id}")).await.problem(409).0, "zone_in_use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_and_the_deletion_of_its_zone_do_not_miss_each_other() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    for _ in 0..5 {
        let (zone, name) = caller.verified_zone().await;
        let path = format!("/zones/{zone}");
        let domain = format!("app.{name}");
        let (deleted, requested) =
            tokio::join!(caller.delete(&path), caller.post("/certificates", json!({"zone_id": zone, "domain": domain})));
        match (deleted.status.as_u16(), requested.status.as_u16()) {
            (204, 404) | (409, 202) => {}
            other => panic!("{other:?}"),
        }
    }
    let orphans = api
        .sql("SELECT certificates.id FROM certificates JOIN zones ON zones.id = certificates.zone_id WHERE zones.deleted_at IS NOT NULL")
        .await;
    assert_eq!(orphans, Vec::<Value>::new());
}

fn zone_uuid(id: &str) -> String {
    let digits = id.strip_prefix("zone_").unwrap();
    uuid_with_hyphens(digits)
}

fn uuid_with_hyphens(digits: &str) -> String {
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}
