//! Lists, logs and limits.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::issued::{issue, issued};
use crate::support::{Caller, TestApi, uuid};

/// The domains of every page, newest first, and how many pages there were.
async fn walk(caller: &Caller<'_>, query: &str) -> (Vec<String>, usize) {
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = caller.get(&format!("/certificates?{query}{cursor}")).await.expect(StatusCode::OK);
        let rows = page["certificates"].as_array().unwrap();
        seen.extend(rows.iter().map(|row| row["domain"].as_str().unwrap().split('.').next().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["next_cursor"].as_str() else { return (seen, pages) };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_carries_limits_and_is_read_newest_first_page_by_page() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("pro").await, api.register("pro").await);
    let (zone, name) = caller.verified_zone().await;
    let (theirs, their_name) = other.verified_zone().await;
    other.certificate(&theirs, &their_name).await;
    let empty = caller.get("/certificates").await.expect(StatusCode::OK);
    let limits = json!({
        "plan": "pro", "max_certificates": 25, "current_count": 0, "max_uploads": 250, "current_uploads": 0,
        "wildcard_enabled": false, "auto_renew_enabled": true, "over_limit": false,
    });
    assert_eq!(empty, json!({"certificates": [], "limits": limits, "next_cursor": null}));

    let mut made = Vec::new();
    for domain in ["a", "b", "c", "d", "e"] {
        let body = json!({"zone_id": zone, "domain": format!("{domain}.{name}"), "sans": [format!("x.{name}"), format!("y.{name}")]});
        made.push(caller.post("/certificates", body).await.expect(StatusCode::ACCEPTED));
    }
    assert_eq!(walk(&caller, "limit=2").await, (vec!["e", "d", "c", "b", "a"].into_iter().map(str::to_owned).collect(), 3));
    assert_eq!(walk(&caller, "limit=5").await.1, 1);
    // Rows of one moment are told apart by their identifiers.
    api.execute("UPDATE certificates SET created_at = '2026-01-01T00:00:00.000001Z'").await;
    assert_eq!(walk(&caller, "limit=1").await, (vec!["e", "d", "c", "b", "a"].into_iter().map(str::to_owned).collect(), 5));

    let list = caller.get("/certificates").await.expect(StatusCode::OK);
    assert_eq!(list["limits"]["current_count"], 5);
    for (row, made) in list["certificates"].as_array().unwrap().iter().rev().zip(&made) {
        let mut made = made.clone();
        made["created_at"] = json!("2026-01-01T00:00:00.000001Z");
        assert_eq!(row, &made);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_by_state_zone_and_name() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (one, one_name) = caller.verified_zone().await;
    let (two, two_name) = caller.verified_zone().await;
    let failed = caller.certificate(&one, &format!("a.{one_name}")).await;
    caller.certificate(&one, &format!("b.{one_name}")).await;
    caller.certificate(&two, &format!("c.{two_name}")).await;
    api.execute(&format!("UPDATE certificates SET status = 'failed' WHERE id = '{}'", uuid(&failed["id"]))).await;

    let found = async |query: String| walk(&caller, &query).await.0;
    assert_eq!(found("status=pending".to_owned()).await, ["c", "b"]);
    assert_eq!(found("status=failed".to_owned()).await, ["a"]);
    for several in
        ["status=pending,failed", "status=pending&status=failed&limit=1", "status=issued,failed&status=pending", "status=failed%2Cpending"]
    {
        assert_eq!(found(several.to_owned()).await, ["c", "b", "a"], "{several}");
    }
    assert_eq!(found(format!("zone_id={one}")).await, ["b", "a"]);
    assert_eq!(found(format!("zone_id={one}&status=pending&limit=1")).await, ["b"]);
    assert_eq!(found(format!("name=c.{two_name}")).await, ["c"]);
    // No match is an empty list, and so is what cannot match.
    for nothing in [
        "status=revoked",
        "name=nobody",
        "name=%00",
        "name=a%2Fb",
        "zone_id=nonsense",
        "zone_id=zone_00000000000000000000000000000000",
        "q=%00",
        "q=a%20b",
        "q=%25",
        "q=_",
        "q=nowhere.invalid",
        "expiring_before=2099-01-01T00:00:00Z",
    ] {
        assert_eq!(found(nothing.to_owned()).await, Vec::<String>::new(), "{nothing}");
    }
    for (query, pointer, code) in [
        ("status=broken", "?status", "unknown_choice"),
        ("status=", "?status", "unknown_choice"),
        ("status=issued,", "?status", "unknown_choice"),
        ("limit=0", "?limit", "limit_out_of_range"),
        ("cursor=nonsense", "?cursor", "cursor_invalid"),
        ("expiring_before=tomorrow", "?expiring_before", "date_time_invalid"),
        ("expiring_before=", "?expiring_before", "date_time_invalid"),
    ] {
        let answer = caller.get(&format!("/certificates?{query}")).await;
        assert_eq!(answer.faults(), [(pointer.to_owned(), code.to_owned())].into(), "{query}");
    }
    for unreadable in ["state=pending", "limit=1&limit=2", "q=a&q=b"] {
        assert_eq!(caller.get(&format!("/certificates?{unreadable}")).await.problem(400).0, "invalid_query", "{unreadable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_finds_every_certificate_with_a_name_that_holds_it() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("elite").await, api.register("elite").await);
    let (zone, name) = caller.verified_zone().await;
    let (theirs, their_name) = other.verified_zone().await;
    other.certificate(&theirs, &format!("shop.{their_name}")).await;
    let add = async |domain: String, sans: Vec<String>| {
        caller.post("/certificates", json!({"zone_id": zone, "domain": domain, "sans": sans})).await.expect(StatusCode::ACCEPTED)
    };
    add(format!("shop.{name}"), vec![]).await;
    add(format!("www.{name}"), vec![format!("workshop.eu.{name}"), format!("bücher.{name}")]).await;
    add(format!("*.api.{name}"), vec![]).await;
    let found = async |text: &str| walk(&caller, &format!("q={text}&limit=1")).await.0;
    for (text, expected) in [
        ("shop", vec!["www", "shop"]),
        ("SHOP.", vec!["www", "shop"]),
        ("shop.eu", vec!["www"]),
        ("*.api", vec!["*"]),
        ("%2A.", vec!["*"]),
        ("b%C3%BCcher", vec!["www"]),
        ("xn--bcher", vec!["www"]),
        (name.as_str(), vec!["*", "www", "shop"]),
        (format!(".{}.", name.to_uppercase()).as_str(), vec!["*", "www", "shop"]),
        ("", vec!["*", "www", "shop"]),
        (their_name.as_str(), vec![]),
    ] {
        assert_eq!(found(text).await, expected, "{text}");
    }
    // Filters are taken together.
    assert_eq!(walk(&caller, &format!("q=shop&name=shop.{name}&status=pending&zone_id={zone}")).await.0, ["shop"]);
    assert_eq!(walk(&caller, "q=shop&status=issued").await.0, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_before_a_moment_is_found_as_long_as_it_is_in_use() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    for (label, days, status) in [
        ("late", 60, "issued"),
        ("soon", 10, "issued"),
        ("renewing", 20, "validating"),
        ("over", -1, "expired"),
        ("revoked", 10, "revoked"),
    ] {
        let certificate = caller.certificate(&zone, &format!("{label}.{name}")).await;
        issue(&caller, &certificate, days, status).await;
    }
    caller.certificate(&zone, &format!("pending.{name}")).await;
    let within = async |days: i64| {
        let moment = api.sql(&format!("SELECT to_char(now() + interval '{days} days', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at")).await;
        walk(&caller, &format!("expiring_before={}", moment[0]["at"].as_str().unwrap())).await.0
    };
    assert_eq!(within(5).await, Vec::<String>::new());
    assert_eq!(within(15).await, ["soon"]);
    assert_eq!(within(30).await, ["renewing", "soon"]);
    assert_eq!(within(90).await, ["renewing", "soon", "late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_in_use_and_what_the_ca_says_of_it_are_shown() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &format!("*.{name}")).await;
    let files = issue(&caller, &certificate, 80, "issued").await;
    let id = uuid(&certificate["id"]);
    api.execute(&format!(
        "UPDATE certificates SET renewal_info_start = '2026-12-01T00:00:00Z', renewal_info_end = '2026-12-02T00:00:00Z',
             renewal_info_explanation_url = 'https://ca.test/why', renewal_info_checked_at = '2026-11-21T10:00:00Z' WHERE id = '{id}'"
    ))
    .await;
    let seen = caller.get(&format!("/certificates/cert_{id}")).await.expect(StatusCode::OK);
    let info = json!({
        "window_start": "2026-12-01T00:00:00Z", "window_end": "2026-12-02T00:00:00Z", "explanation_url": "https://ca.test/why",
        "checked_at": "2026-11-21T10:00:00Z",
    });
    assert_eq!((&seen["renewal_info"], &seen["revocation"]), (&info, &Value::Null));
    let version = &seen["current_version"];
    assert_eq!((&version["id"], &version["serial"]), (&json!(files.version), &json!("01ab")));
    assert_eq!((&version["issuer"], &version["fingerprint_sha256"]), (&json!("CN=Test CA"), &json!("ab".repeat(32))));
    assert_eq!((&version["not_after"], &version["names"]), (&seen["expires_at"], &json!([format!("*.{name}"), name])));
    assert!(version["not_before"].is_string());
    assert_eq!(caller.get("/certificates").await.expect(StatusCode::OK)["certificates"], json!([seen]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_oldest_first_page_by_page() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let certificate = caller.certificate(&zone, &name).await;
    caller.certificate(&zone, &format!("other.{name}")).await;
    let id = uuid(&certificate["id"]);
    let account = caller.account.0;
    for number in 100..104 {
        api.execute(&format!(
            "INSERT INTO events (account_id, number, level, event, message, certificate_id, order_id, details)
             VALUES ('{account}', {number}, 'warning', 'step_{number}', 'Step {number}', '{id}', '{account}', '{{\"n\": {number}}}')"
        ))
        .await;
    }
    let (mut events, mut pages, mut path) = (Vec::new(), 0, format!("/certificates/cert_{id}/logs?limit=2"));
    loop {
        let page = caller.get(&path).await.expect(StatusCode::OK);
        events.extend(page["logs"].as_array().unwrap().clone());
        pages += 1;
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/certificates/cert_{id}/logs?limit=2&cursor={next}");
    }
    let words: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((words, pages), (vec!["certificate_requested", "step_100", "step_101", "step_102", "step_103"], 3));
    let order = format!("order_{}", account.simple());
    let expected = json!({
        "at": events[1]["at"], "level": "warning", "event": "step_100", "message": "Step 100", "issuance_id": null, "order_id": order,
        "details": {"n": 100},
    });
    assert_eq!(events[1], expected);
    assert_eq!(caller.get(&format!("/certificates/cert_{id}/logs?cursor=x")).await.problem(400).0, "cursor_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_keeps_what_is_there_and_says_so() {
    let api = TestApi::start().await;
    let caller = api.register("pro").await;
    let (zone, name) = caller.verified_zone().await;
    for number in 0..5 {
        caller.certificate(&zone, &format!("h{number}.{name}")).await;
    }
    let before = issued(&caller, &zone, &format!("h5.{name}")).await;
    assert!(before["next_renewal_at"].is_string());
    let first = async || caller.get("/certificates?limit=1").await.expect(StatusCode::OK)["certificates"][0].clone();

    caller.change_plan("plus").await;
    let resting = first().await;
    let block = json!({
        "code": "plan", "detail": "the plan does not include it",
        "remedy": "Upgrade, and it renews by itself again; until then renew it by hand where the plan allows that.",
    });
    assert_eq!((&resting["renewal_blocked_by"], &resting["next_renewal_at"]), (&block, &Value::Null));
    assert_eq!((&resting["auto_renew"], &resting["status"], &resting["downloadable"]), (&json!(true), &json!("issued"), &json!(true)));
    let limits = json!({
        "plan": "plus", "max_certificates": 5, "current_count": 6, "max_uploads": 25, "current_uploads": 0,
        "wildcard_enabled": false, "auto_renew_enabled": false, "over_limit": true,
    });
    assert_eq!(caller.get("/certificates").await.expect(StatusCode::OK)["limits"], limits);
    assert_eq!(caller.get("/limits").await.expect(StatusCode::OK), limits);
    let refused = caller.post("/certificates", json!({"zone_id": zone, "domain": name})).await.problem(403);
    assert_eq!(refused.0, "certificate_limit_reached");

    caller.change_plan("elite").await;
    assert_eq!(first().await, before);
    assert_eq!(caller.get("/limits").await.expect(StatusCode::OK)["over_limit"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_an_attempt_failed_and_when_the_next_is_due_can_be_seen() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let id = caller.certificate(&zone, &name).await["id"].as_str().unwrap().to_owned();
    let error = json!({"code": "acme_dns", "detail": "NXDOMAIN", "remedy": "Check it.", "at": "2026-11-21T10:00:00Z"});
    api.execute(&format!(
        "UPDATE certificates SET last_error = '{error}'; UPDATE issuances SET attempts = 1, next_wake_at = '2026-11-21T10:10:00Z'"
    ))
    .await;
    let certificate = caller.get(&format!("/certificates/{id}")).await.expect(StatusCode::OK);
    assert_eq!((&certificate["last_error"], &certificate["next_attempt_at"]), (&error, &json!("2026-11-21T10:10:00Z")));
    api.execute("UPDATE certificates SET status = 'validating'").await;
    let running = caller.get(&format!("/certificates/{id}")).await.expect(StatusCode::OK);
    assert_eq!((&running["status"], &running["next_attempt_at"]), (&json!("validating"), &Value::Null));
}
