//! Several CAs: the next takes new orders over while the first does not answer or has no room; what was ordered stays where it was.

use anyhow::{Context as _, Result};
use serde_json::json;
use tempfile::TempDir;
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{PebbleOptions, PebbleServer, StackHandle, shared};
use zonecert_tests::{Account, System};

/// Two CAs of a test's own, the second of which wants accounts bound.
struct TwoCas {
    first: PebbleServer,
    second: PebbleServer,
    system: System,
    _files: TempDir,
}

async fn two_cas(stack: &StackHandle, adjust: impl FnOnce(Product) -> Product) -> Result<TwoCas> {
    let mac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let bound = PebbleOptions { external_account: Some(("customer-2".to_owned(), mac_key.to_owned())), ..PebbleOptions::unfailing() };
    let first = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let second = PebbleServer::beside(&stack.powerdns, &bound).await?;
    let files = tempfile::tempdir()?;
    let (key_file, more_file) = (files.path().join("mac-key"), files.path().join("authorities.json"));
    std::fs::write(&key_file, mac_key)?;
    let more = json!([{
        "directory": second.directory_url(), "caa_identities": ["second-ca.test"], "limits": "off", "ca_file": second.ca_file(),
        "eab_key_id": "customer-2", "eab_mac_key_file": key_file,
    }]);
    std::fs::write(&more_file, more.to_string())?;
    let more_file = more_file.display().to_string();
    let with_both = |product: Product| adjust(product.with(setting::MORE_AUTHORITIES_FILE, more_file));
    let system = System::start_at(stack, &first, with_both).await?;
    Ok(TwoCas { first, second, system, _files: files })
}

async fn issued_by(account: &Account, id: &str) -> Result<String> {
    account.becomes(id, "issued").await?;
    let issued = account.logs(id, "issued").await?;
    Ok(issued["details"]["directory"].as_str().context("directory")?.to_owned())
}

#[tokio::test]
async fn while_a_ca_is_away_the_next_takes_over_and_what_was_ordered_stays() -> Result<()> {
    let stack = shared().await?;
    let mut cas = two_cas(&stack, |product| product).await?;
    let account = cas.system.account("pro").await?;
    let zone = cas.system.verified_zone(&account).await?;
    let before = account.request(&zone, "before", &[]).await?;
    assert_eq!(issued_by(&account, &before).await?, cas.first.directory_url());

    cas.first.stop().await?;
    let during = account.request(&zone, "during", &[]).await?;
    assert_eq!(issued_by(&account, &during).await?, cas.second.directory_url());
    account.logs(&during, "ca_away").await?;
    // Whoever comes next does not find out anew.
    let next = account.request(&zone, "next", &[]).await?;
    assert_eq!(issued_by(&account, &next).await?, cas.second.directory_url());
    assert!(account.log(&next).await?.iter().all(|entry| entry["event"] != "ca_away"));

    // The moment comes at which it is tried again. It has forgotten all accounts, as Pebble does at each start.
    cas.first.start().await?;
    let database = cas.system.database().await?;
    database.batch_execute("UPDATE ca_pauses SET until = now() - interval '1 second'").await?;
    let after = account.request(&zone, "after", &[]).await?;
    assert_eq!(issued_by(&account, &after).await?, cas.first.directory_url());
    let away: i64 = database.query_one("SELECT count(*) FROM ca_pauses WHERE kind = 'outage'", &[]).await?.get(0);
    assert_eq!(away, 0, "it is known to answer again");

    // A renewal goes to the first again, and says what it replaces only to the CA that has issued that.
    account.client.post(&format!("/certificates/{during}/renew"), &json!({})).await?.expect(202)?;
    zonecert_devstack::wait::until("renewed", zonecert_tests::PATIENCE, async || {
        let log = account.log(&during).await?;
        Ok((log.iter().filter(|entry| entry["event"] == "issued").count() == 2).then_some(()))
    })
    .await?;
    let log = account.log(&during).await?;
    let placed = log.iter().rfind(|entry| entry["event"] == "order_placed").context("order_placed")?;
    assert!(placed["details"]["replaces"].is_null(), "{placed}");
    // The CA that has issued a certificate revokes it.
    account.client.post(&format!("/certificates/{next}/revoke"), &json!({})).await?.expect(202)?;
    account.becomes(&next, "revoked").await?;
    Ok(())
}

#[tokio::test]
async fn a_ca_that_has_no_room_hands_new_orders_to_the_next_unless_caa_forbids_it() -> Result<()> {
    let stack = shared().await?;
    let cas = two_cas(&stack, |product| product.with(setting::CA_LIMITS, "order=1/10800")).await?;
    let account = cas.system.account("pro").await?;
    let zone = cas.system.verified_zone(&account).await?;
    let first = account.request(&zone, "first", &[]).await?;
    assert_eq!(issued_by(&account, &first).await?, cas.first.directory_url());
    let second = account.request(&zone, "second", &[]).await?;
    assert_eq!(issued_by(&account, &second).await?, cas.second.directory_url());

    // The customer's DNS of today is where our resolver looks.
    let dns = &stack.customer_dns;
    dns.set_rrset(&zone.name, &zone.name, "CAA", &["0 issue \"letsencrypt.org\"".to_owned()]).await?;
    let third = account.request(&zone, "third", &[]).await?;
    account.logs(&third, "budget_spent").await?;
    assert!(cas.second.seen().await?.orders_for(&format!("third.{}", zone.name)).is_empty());
    Ok(())
}
