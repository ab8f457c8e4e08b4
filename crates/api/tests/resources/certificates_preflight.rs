//! What stands in the way of a certificate: seen in a real DNS server, in the ledger of the CA, and by a rehearsal of the request.

use std::net::{Ipv4Addr, UdpSocket};

use reqwest::StatusCode;
use serde_json::{Value, json};
use zonecert_devstack::{PowerDns, unique_label};

use crate::support::{ACME_DIRECTORY, Caller, NAME_SERVERS, TestApi, uuid};

/// A verified zone, and the customers' DNS, which serves it with these name servers.
async fn served<'a>(caller: &Caller<'a>, name_servers: &[&str]) -> (String, String, &'a PowerDns) {
    let (zone, name) = caller.verified_zone().await;
    let dns = &caller.api.stack.customer_dns;
    dns.create_zone(&name, name_servers).await.unwrap();
    (zone, name, dns)
}

async fn check(caller: &Caller<'_>, body: Value) -> Value {
    caller.post("/certificates/preflight", body).await.expect(StatusCode::OK)
}

fn codes(answer: &Value) -> Vec<&str> {
    answer["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_well_nothing_is_found_and_nothing_is_stored_or_spent() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name, _) = served(&caller, &NAME_SERVERS).await;
    let tables = ["certificates", "certificate_names", "issuances", "events", "audit_log", "ca_budget", "idempotency_keys", "apalis.jobs"];
    let mut before = Vec::new();
    for table in tables {
        before.push(api.count(table).await);
    }
    let body = json!({"zone_id": zone, "domain": name, "wildcard": true});
    let answer = check(&caller, body.clone()).await;
    assert_eq!((&answer["ready"], &answer["findings"]), (&json!(true), &json!([])), "{answer}");
    assert_eq!(answer["names"].as_array().unwrap().len(), 2, "{answer}");
    let line = |kind: &str, subject: Value, limit: u32, window: u32| json!({"kind": kind, "subject": subject, "limit": limit, "remaining": limit, "window_seconds": window, "free_at": null});
    assert_eq!(
        answer["ca_budget"],
        json!([
            line("order", Value::Null, 300, 10_800),
            line("exact_names", Value::Null, 5, 604_800),
            line("registered_domain", json!(name), 50, 604_800),
            line("failed_authorization", json!(name), 5, 3_600),
        ])
    );
    for (table, before) in tables.into_iter().zip(before) {
        assert_eq!(api.count(table).await, before, "{table}");
    }
    // Who may see certificates may look.
    let viewer = caller.with_token(&["certificates:read"]).await;
    assert_eq!(check(&viewer, body).await["ready"], true);
    assert_eq!(caller.certificate(&zone, &format!("app.{name}")).await["number"], 1, "no number was used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caa_record_forbids_what_it_is_about_and_the_nearest_one_counts() {
    let api = TestApi::start().await;
    let caller = api.register("elite").await;
    let (zone, name, dns) = served(&caller, &NAME_SERVERS).await;
    let caa = async |at: &str, contents: &[&str]| {
        let contents: Vec<String> = contents.iter().map(ToString::to_string).collect();
        dns.set_rrset(&name, at, "CAA", &contents).await.unwrap();
    };
    let plain = json!({"zone_id": zone, "domain": format!("a.b.{name}")});
    let wildcard = json!({"zone_id": zone, "domain": format!("*.b.{name}"), "include_base": false});

    caa(&name, &["0 issue \"other-ca.test\""]).await;
    let answer = check(&caller, plain.clone()).await;
    assert_eq!((codes(&answer), &answer["ready"]), (vec!["caa_forbids"], &json!(false)));
    let finding = &answer["findings"][0];
    assert_eq!((&finding["name"], &finding["severity"]), (&json!(name), &json!("error")));
    assert_eq!(finding["seen"][0]["server"], dns.dns_address().to_string());
    assert_eq!(finding["seen"][0]["answer"], format!("{name} has CAA 0 \"issue\" \"other-ca.test\""));
    assert!(finding["remedy"].as_str().unwrap().contains("0 issue \"letsencrypt.org\""), "{finding}");

    caa(&format!("b.{name}"), &["0 issue \"letsencrypt.org\"", "0 issuewild \";\""]).await;
    assert_eq!(codes(&check(&caller, plain.clone()).await), Vec::<&str>::new());
    assert_eq!(codes(&check(&caller, wildcard.clone()).await), ["caa_forbids"]);
    caa(&format!("b.{name}"), &["0 issue \";\"", "0 issuewild \"letsencrypt.org\""]).await;
    assert_eq!(codes(&check(&caller, plain.clone()).await), ["caa_forbids"]);
    assert_eq!(codes(&check(&caller, wildcard).await), Vec::<&str>::new());

    caa(&format!("b.{name}"), &["0 issue \"letsencrypt.org; validationmethods=http-01\""]).await;
    assert_eq!(codes(&check(&caller, plain.clone()).await), ["caa_method_forbidden"]);
    caa(&format!("b.{name}"), &["0 issue \"letsencrypt.org; accounturi=https://ca.test/acct/1\""]).await;
    let warned = check(&caller, plain.clone()).await;
    assert_eq!((codes(&warned), &warned["ready"]), (vec!["caa_account_bound"], &json!(true)));
    caa(&format!("b.{name}"), &["128 tbs \"unknown\"", "0 issue \"letsencrypt.org\""]).await;
    assert_eq!(codes(&check(&caller, plain).await), ["caa_critical_unknown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_at_the_challenge_name_of_a_hosted_zone_is_told() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name, dns) = served(&caller, &NAME_SERVERS).await;
    let body = json!({"zone_id": zone, "domain": format!("app.{name}")});
    let at = format!("_acme-challenge.app.{name}");

    dns.set_txt(&name, &at, &["left by another client".to_owned()]).await.unwrap();
    let answer = check(&caller, body.clone()).await;
    assert_eq!((codes(&answer), &answer["ready"]), (vec!["challenge_has_other_values"], &json!(true)));
    assert_eq!(answer["findings"][0]["seen"][0]["answer"], format!("{at} has TXT \"left by another client\""));
    dns.set_txt(&name, &at, &[]).await.unwrap();

    dns.set_rrset(&name, &at, "CNAME", &["elsewhere.test.".to_owned()]).await.unwrap();
    let answer = check(&caller, body).await;
    assert_eq!((codes(&answer), &answer["findings"][0]["name"]), (vec!["challenge_is_alias"], &json!(at)));
    assert_eq!(answer["findings"][0]["seen"][0]["answer"], format!("{at} has CNAME elsewhere.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegated_zone_needs_its_aliases_and_no_name_servers_of_ours() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let name = format!("{}.test", unique_label());
    let zone = caller.post("/zones", json!({"name": name, "mode": "delegated"})).await.expect(StatusCode::CREATED);
    let zone = zone["id"].as_str().unwrap();
    api.execute(&format!("UPDATE zones SET status = 'verified', verified_at = now() WHERE id = '{}'", uuid(&json!(zone)))).await;
    let dns = &api.stack.customer_dns;
    dns.create_zone(&name, &["ns1.customer.test"]).await.unwrap();
    let body = json!({"zone_id": zone, "domain": format!("app.{name}")});
    let cname = caller.get(&format!("/zones/{zone}/cname?name=app.{name}")).await.expect(StatusCode::OK);
    let (at, target) = (cname["name"].as_str().unwrap(), cname["target"].as_str().unwrap());

    let missing = check(&caller, body.clone()).await;
    assert_eq!(codes(&missing), ["challenge_cname_missing"]);
    assert!(missing["findings"][0]["remedy"].as_str().unwrap().contains(&format!("{at} CNAME {target}")), "{missing}");
    dns.set_rrset(&name, at, "CNAME", &["elsewhere.test.".to_owned()]).await.unwrap();
    assert_eq!(codes(&check(&caller, body.clone()).await), ["challenge_cname_wrong"]);
    dns.set_rrset(&name, at, "CNAME", &[format!("{}.", target.trim_end_matches('.'))]).await.unwrap();
    assert_eq!(codes(&check(&caller, body).await), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_not_delegated_to_us_alone_is_told_with_the_name_servers_that_it_has() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name, dns) = served(&caller, &["ns1.customer.test"]).await;
    let body = json!({"zone_id": zone, "domain": format!("app.{name}")});
    let elsewhere = check(&caller, body.clone()).await;
    assert_eq!(codes(&elsewhere), ["zone_delegated_elsewhere"]);
    assert_eq!(elsewhere["findings"][0]["seen"][0]["answer"], format!("{name} has NS ns1.customer.test"));
    for server in NAME_SERVERS {
        assert!(elsewhere["findings"][0]["remedy"].as_str().unwrap().contains(server), "{elsewhere}");
    }
    let servers = ["ns1.customer.test.".to_owned(), format!("{}.", NAME_SERVERS[0])];
    dns.set_rrset(&name, &name, "NS", &servers).await.unwrap();
    assert_eq!(codes(&check(&caller, body).await), ["zone_delegated_partly"]);

    // The zone above knows nothing of it.
    let below = format!("below.{name}");
    let zone = caller.verified_zone_named(&below).await;
    let gone = check(&caller, json!({"zone_id": zone, "domain": below})).await;
    assert_eq!(codes(&gone), ["zone_not_delegated"]);
    assert_eq!(gone["findings"][0]["seen"][0]["answer"], format!("{below} does not exist (NXDOMAIN)"));
    // Nobody serves it.
    let (zone, name) = caller.verified_zone().await;
    let silent = check(&caller, json!({"zone_id": zone, "domain": format!("app.{name}")})).await;
    assert_eq!(codes(&silent), ["zone_unreachable"]);
    assert_eq!(silent["findings"][0]["seen"][0]["answer"], format!("the DNS answered REFUSED for {name}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ds_record_without_its_key_is_told() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let dns = &api.stack.customer_dns;
    let above = format!("{}.test", unique_label());
    let name = format!("zone.{above}");
    let zone = caller.verified_zone_named(&name).await;
    dns.create_zone(&above, &["ns1.customer.test"]).await.unwrap();
    dns.create_zone(&name, &NAME_SERVERS).await.unwrap();
    let servers = NAME_SERVERS.map(|server| format!("{server}."));
    dns.set_rrset(&above, &name, "NS", &servers).await.unwrap();
    let body = json!({"zone_id": zone, "domain": format!("app.{name}")});
    assert_eq!(codes(&check(&caller, body.clone()).await), Vec::<&str>::new());

    dns.set_rrset(&above, &name, "DS", &[format!("60485 13 2 {}", "ab".repeat(32))]).await.unwrap();
    let answer = check(&caller, body).await;
    assert_eq!(codes(&answer), ["dnssec_unsigned"]);
    let seen: Vec<&str> = answer["findings"][0]["seen"].as_array().unwrap().iter().map(|sight| sight["answer"].as_str().unwrap()).collect();
    assert_eq!(seen, [format!("{name} has DS key 60485, algorithm 13"), format!("{name} has no DNSKEY record")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_ca_that_is_used_up_is_told_with_the_moment_at_which_there_is_room_again() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name, _) = served(&caller, &NAME_SERVERS).await;
    let domain = format!("app.{name}");
    let body = json!({"zone_id": zone, "domain": domain});
    // Six, of which the second-oldest has to go before there are fewer than five.
    let spend = |directory: &str| {
        format!(
            "INSERT INTO ca_budget (directory_url, kind, subject, account_id, at) SELECT '{directory}', 'failed_authorization', '{domain}', \
             gen_random_uuid(), timestamptz '2026-11-21 12:00:00Z' + make_interval(mins => n) + (now() - timestamptz '2026-11-21 12:30:00Z') \
             FROM generate_series(1, 6) AS n"
        )
    };
    api.execute(&spend("https://another-ca.test/directory")).await;
    assert_eq!(check(&caller, body.clone()).await["ready"], true);
    api.execute(&spend(ACME_DIRECTORY)).await;
    let statement = format!(
        "SELECT to_char((at + interval '1 hour') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC') AS text FROM ca_budget \
         WHERE directory_url = '{ACME_DIRECTORY}' ORDER BY at OFFSET 1 LIMIT 1"
    );
    let second = api.sql(&statement).await[0]["text"].as_str().unwrap().to_owned();

    let answer = check(&caller, body.clone()).await;
    assert_eq!((codes(&answer), &answer["ready"]), (vec!["ca_limit_reached"], &json!(false)));
    let finding = &answer["findings"][0];
    assert_eq!((&finding["name"], &finding["seen"]), (&json!(domain), &json!([])));
    assert!(finding["remedy"].as_str().unwrap().contains(&second), "{finding}: {second}");
    let line = &answer["ca_budget"][3];
    assert_eq!((&line["kind"], &line["remaining"]), (&json!("failed_authorization"), &json!(0)));
    assert!(line["free_at"].as_str().unwrap().starts_with(&second.replace(" UTC", "").replace(' ', "T")), "{line}: {second}");

    // What others have spent on names of theirs is nothing to somebody who has not proven the zone.
    let stranger = api.register("plus").await;
    let pending = stranger.post("/zones", json!({"name": name})).await.expect(StatusCode::CREATED);
    let answer = check(&stranger, json!({"zone_id": pending["id"], "domain": domain})).await;
    assert_eq!((codes(&answer), &answer["ca_budget"]), (vec!["zone_not_verified"], &json!([])));
    assert_eq!(stranger.post("/certificates/preflight", body).await.problem(404).0, "zone_not_found");
}

/// Whatever the request would be refused for is found beforehand, in the same words.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_foreseen() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    let (zone, name, _) = served(&caller, &NAME_SERVERS).await;
    let foreseen = async |code: &str, body: Value| {
        let answer = check(&caller, body.clone()).await;
        assert_eq!((codes(&answer), &answer["ready"]), (vec![code], &json!(false)));
        let refused = caller.post("/certificates", body).await.json();
        assert_eq!((&refused["code"], &refused["detail"]), (&json!(code), &answer["findings"][0]["detail"]));
        assert!(!answer["findings"][0]["remedy"].as_str().unwrap().is_empty());
    };
    let body = |domain: &str| json!({"zone_id": zone, "domain": format!("{domain}.{name}")});
    let with = |domain: &str, field: &str, value: Value| {
        let mut body = body(domain);
        body[field] = value;
        body
    };

    foreseen("wildcard_requires_elite", body("*")).await;
    foreseen("auto_renew_requires_pro", with("app", "auto_renew", json!(true))).await;
    caller.post("/certificates", with("app", "name", json!("shop"))).await.expect(StatusCode::ACCEPTED);
    foreseen("certificate_exists", body("app")).await;
    foreseen("certificate_name_taken", with("www", "name", json!("shop"))).await;
    for number in 1..5 {
        caller.certificate(&zone, &format!("n{number}.{name}")).await;
    }
    foreseen("certificate_limit_reached", body("one-more")).await;
    caller.set_plan("free").await;
    foreseen("paid_plan_required", body("www")).await;
    caller.set_plan("plus").await;
    api.execute("UPDATE zones SET status = 'lost', lost_at = now()").await;
    foreseen("zone_not_verified", body("www")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_or_not_there_is_refused_as_a_request_would_be() {
    let api = TestApi::start().await;
    let (caller, other) = (api.register("plus").await, api.register("plus").await);
    let (zone, name) = caller.verified_zone().await;
    let (foreign, foreign_name) = other.verified_zone().await;
    for (body, status, code) in [
        (json!({"zone_id": foreign, "domain": format!("app.{foreign_name}")}), 404, "zone_not_found"),
        (json!({"zone_id": "zone_x", "domain": format!("app.{name}")}), 404, "zone_not_found"),
        (json!({"zone_id": zone, "domain": format!("app.{foreign_name}")}), 400, "domain_not_under_zone"),
        (json!({"zone_id": zone, "domain": "127.0.0.1"}), 400, "name_is_ip_address"),
        (json!({"zone_id": zone}), 400, "required"),
        (json!({"zone_id": zone, "domain": format!("app.{name}"), "colour": "blue"}), 400, "unknown_field"),
    ] {
        assert_eq!(caller.post("/certificates/preflight", body.clone()).await.problem(status).0, code, "{body}");
        assert_eq!(caller.post("/certificates", body.clone()).await.problem(status).0, code, "{body}");
    }
    let program = caller.with_token(&["zones:read", "certificates:write"]).await;
    let body = json!({"zone_id": zone, "domain": format!("app.{name}")});
    assert_eq!(program.post("/certificates/preflight", body).await.problem(403).0, "scope_missing");
}

/// A resolver that says nothing: what the plan says is told all the same, and soon.
#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_does_not_answer_is_said_and_stops_nobody() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let api = TestApi::start_with(true, Some(silent.local_addr().unwrap())).await;
    let caller = api.register("plus").await;
    let (zone, name) = caller.verified_zone().await;
    let sans: Vec<String> = (0..98).map(|number| format!("n{number}.{name}")).collect();
    let answer = check(&caller, json!({"zone_id": zone, "domain": format!("*.w.{name}"), "sans": sans})).await;
    assert_eq!(codes(&answer), ["wildcard_requires_elite", "resolver_unreachable"]);
}
