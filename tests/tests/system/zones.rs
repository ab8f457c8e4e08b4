//! Zones in both modes: aliases followed by the CA, records served by our name servers, control looked at again.

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};
use zonecert_devstack::product::setting;
use zonecert_devstack::{shared, unique_label, wait};
use zonecert_tests::{Account, PATIENCE, System, Zone, check_download};

async fn get_zone(account: &Account, zone: &Zone) -> Result<Value> {
    account.client.get(&format!("/zones/{}", zone.id)).await?.expect(200)
}

/// Waits until our name servers show what the zone should hold.
async fn is_current(account: &Account, zone: &Zone) -> Result<()> {
    wait::until("the zone is current", PATIENCE, async || {
        Ok((get_zone(account, zone).await?["projection"]["state"] == "current").then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_zone_that_stays_with_its_own_name_servers_gets_certificates_through_its_aliases() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("elite").await?;
    let zone = system.delegated_zone(&account).await?;
    for label in ["app", "www"] {
        system.set_alias(&account, &zone, label).await?;
    }

    // A name and its wildcard are proven at one place.
    let id = account.request(&zone, "app", &["*.app", "www"]).await?;
    account.becomes(&id, "issued").await?;

    let download = account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
    let names = check_download(&download, &stack.pebble.root_certificate_pem().await?)?;
    assert_eq!(names, ["*.app", "app", "www"].map(|label| format!("{label}.{}", zone.name)));
    assert!(stack.powerdns.find_zone(&zone.name).await?.is_none(), "the zone is not ours to serve");
    let challenge_zone = system.product.challenge_zone();
    wait::until("no TXT is left", PATIENCE, async || {
        let left = stack.powerdns.get_zone(&challenge_zone).await?.rrsets.into_iter().filter(|rrset| rrset.record_type == "TXT").count();
        Ok((left == 0).then_some(()))
    })
    .await?;
    assert_eq!(stack.powerdns.count_soa_records(&challenge_zone).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_missing_alias_is_named_costs_no_order_and_heals_once_it_is_set() -> Result<()> {
    let stack = shared().await?;
    let system = System::start_with(&stack, |product| product.with(setting::RETRY_LADDER_SECONDS, "2")).await?;
    let account = system.account("plus").await?;
    let zone = system.delegated_zone(&account).await?;
    system.set_alias(&account, &zone, "www").await?;

    let id = account.request(&zone, "app", &["www"]).await?;
    account.logs(&id, "attempt_failed").await?;
    let error = account.certificate(&id).await?["last_error"].clone();
    let (alias, challenge_zone) = (format!("_acme-challenge.app.{}", zone.name), system.product.challenge_zone());
    assert_eq!(error["code"], "challenge_cname_missing");
    assert_eq!(error["detail"], format!("{alias} does not exist (NXDOMAIN)"));
    let remedy = error["remedy"].as_str().context("remedy")?;
    assert!(remedy.contains(&format!("{alias} CNAME ")) && remedy.contains(&challenge_zone), "{remedy}");
    assert!(!remedy.contains("www"), "the other one is there: {remedy}");

    // One that leads elsewhere is no better.
    stack.customer_dns.set_rrset(&zone.name, &alias, "CNAME", &["elsewhere.test.".to_owned()]).await?;
    wait::until("it is seen", PATIENCE, async || {
        let detail = account.certificate(&id).await?["last_error"]["detail"].clone();
        Ok((detail == format!("{alias} has CNAME elsewhere.test")).then_some(()))
    })
    .await?;
    assert!(stack.pebble.seen().await?.orders_for(&format!("app.{}", zone.name)).is_empty(), "the CA is not bothered");

    system.set_alias(&account, &zone, "app").await?;
    account.becomes(&id, "issued").await?;
    assert_eq!(stack.pebble.seen().await?.orders_for(&format!("app.{}", zone.name)).len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_a_hosted_zone_held_before_is_listed_and_served_beside_what_its_customer_sets() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("elite").await?;
    let name = format!("{}.test", unique_label());
    let dns = &stack.powerdns;
    dns.create_zone(&name, &["ns1.elsewhere.test."]).await?;
    dns.set_rrset(&name, &format!("before.{name}"), "A", &["192.0.2.1".to_owned()]).await?;
    dns.set_rrset(&name, &name, "MX", &["10 mail.elsewhere.test.".to_owned()]).await?;
    let zone = system.verified_zone_named(&account, &name).await?;
    let records = format!("/zones/{}/records", zone.id);
    let listed = async || {
        let page = account.client.get(&records).await?.expect(200)?;
        let all = page["records"].as_array().context("records")?.clone();
        anyhow::Ok(all.iter().map(|set| format!("{} {} {}", set["name"], set["type"], set["adopted"])).collect::<Vec<_>>())
    };
    wait::until("what was there is read in", PATIENCE, async || Ok((listed().await?.len() == 2).then_some(()))).await?;
    assert_eq!(listed().await?, [format!("\"before.{name}\" \"A\" true"), format!("\"{name}\" \"MX\" true")]);

    let set = async |name: &str, record_type: &str, content: &str| {
        let wish = json!({ "name": name, "type": record_type, "contents": [content], "ttl": 300 });
        account.client.send(Method::PUT, &records, Some(&wish)).await?.expect(200)
    };
    set(&format!("www.{name}"), "A", "192.0.2.2").await?;
    set(&format!("alias.{name}"), "CNAME", "www.elsewhere.test.").await?;
    set(&name, "TXT", "v=spf1 -all").await?;
    let id = account.request(&zone, "www", &[""]).await?;
    is_current(&account, &zone).await?;
    assert_eq!(dns.resolve(&format!("before.{name}"), "A").await?, ["192.0.2.1"]);
    assert_eq!(dns.resolve(&format!("www.{name}"), "A").await?, ["192.0.2.2"]);
    assert_eq!(dns.resolve(&format!("alias.{name}"), "CNAME").await?, ["www.elsewhere.test."]);
    assert_eq!(dns.resolve_txt(&name).await?, ["v=spf1 -all"]);
    let proof = get_zone(&account, &zone).await?["verification"]["value"].clone();
    assert_eq!(json!(dns.resolve_txt(&format!("_zonecert.{name}")).await?), json!([proof]), "so it stays proven");
    account.becomes(&id, "issued").await?;
    assert_eq!(dns.count_soa_records(&name).await?, 1);

    account.client.send(Method::DELETE, &format!("{records}?name=alias.{name}&type=CNAME"), None).await?.expect(204)?;
    wait::until("it is gone", PATIENCE, async || Ok(dns.resolve(&format!("alias.{name}"), "CNAME").await?.is_empty().then_some(())))
        .await?;
    account.client.send(Method::DELETE, &format!("/zones/{}?force=true", zone.id), None).await?;
    wait::until("what came by us is gone", PATIENCE, async || Ok(dns.resolve(&format!("www.{name}"), "A").await?.is_empty().then_some(())))
        .await?;
    assert_eq!(dns.resolve(&format!("before.{name}"), "A").await?, ["192.0.2.1"]);
    assert_eq!(dns.resolve(&name, "MX").await?, ["10 mail.elsewhere.test."]);
    assert!(dns.resolve_txt(&format!("_zonecert.{name}")).await?.is_empty() && dns.resolve_txt(&name).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_zone_whose_proof_is_gone_is_lost_with_its_renewals_and_comes_back_with_it() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    assert!(account.becomes(&id, "issued").await?["next_renewal_at"].is_string());

    let (database, record) = (system.database().await?, format!("_zonecert.{}", zone.name));
    let proof = get_zone(&account, &zone).await?["verification"]["value"].as_str().context("value")?.to_owned();
    stack.customer_dns.set_txt(&zone.name, &record, &[]).await?;
    // A week of looks passes.
    database.execute("UPDATE zones SET next_check_at = now(), failed_checks = 9", &[]).await?;
    wait::until("the zone is lost", PATIENCE, async || Ok((get_zone(&account, &zone).await?["status"] == "lost").then_some(()))).await?;
    let certificate = account.certificate(&id).await?;
    assert_eq!((&certificate["status"], &certificate["downloadable"]), (&json!("issued"), &json!(true)), "{certificate}");
    assert_eq!(certificate["next_renewal_at"], Value::Null);
    account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
    assert_eq!(stack.powerdns.resolve_txt(&record).await?, [proof.as_str()], "pointing the registrar at us is enough to have it back");

    stack.customer_dns.set_txt(&zone.name, &record, &[proof]).await?;
    database.execute("UPDATE zones SET next_check_at = now()", &[]).await?;
    wait::until("it is verified", PATIENCE, async || Ok((get_zone(&account, &zone).await?["status"] == "verified").then_some(()))).await?;
    assert!(account.certificate(&id).await?["next_renewal_at"].is_string());
    Ok(())
}
