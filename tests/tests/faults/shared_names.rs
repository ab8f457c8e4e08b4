//! Many orders want TXT values at one name at the same time, beside somebody else's.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use zonecert_devstack::product::setting;
use zonecert_devstack::shared;
use zonecert_tests::{Account, System, Zone};

const ORDERS: usize = 20;

/// Requests certificates that are all proven at the apex of the zone: by its name, by its wildcard, or by both.
async fn request_all(account: &Account, zone: &Zone) -> Result<Vec<String>> {
    let (apex, wildcard) = (zone.name.clone(), format!("*.{}", zone.name));
    let mut ids = Vec::new();
    for number in 0..ORDERS {
        // A name that the wildcard does not cover.
        let sans = match number % 3 {
            0 => vec![apex.clone()],
            1 => vec![wildcard.clone()],
            _ => vec![apex.clone(), wildcard.clone()],
        };
        let wish = json!({ "zone_id": zone.id, "domain": format!("h{number}.x.{apex}"), "sans": sans, "key_algorithm": "ecdsa_p256" });
        let certificate = account.client.post("/certificates", &wish).await?.expect(202)?;
        ids.push(certificate["id"].as_str().context("id")?.to_owned());
    }
    Ok(ids)
}

#[tokio::test]
async fn forty_orders_that_share_two_names_all_issue_and_a_foreign_value_survives() -> Result<()> {
    let stack = shared().await?;
    let mut system = System::start_with(&stack, |product| product.with(setting::PROPAGATION_SECONDS, "0.2")).await?;
    let (account, other) = (system.account("elite").await?, system.account("elite").await?);
    let zone = system.verified_zone(&account).await?;
    let sub = system.verified_zone_named(&other, &format!("sub.{}", zone.name)).await?;
    let foreign = format!("_acme-challenge.{}", zone.name);
    for zone in [&zone, &sub] {
        system.zone_is_served(&zone.name).await?;
    }
    stack.powerdns.add_txt(&zone.name, &foreign, "somebody-elses").await?;

    // All of them at once: nobody works before the last was asked for.
    system.worker.stop().await?;
    let (ids, others) = (request_all(&account, &zone).await?, request_all(&other, &sub).await?);
    system.worker.start().await?;
    for (account, ids) in [(&account, &ids), (&other, &others)] {
        for id in ids {
            account.becomes(id, "issued").await?;
        }
    }

    system.challenges_are_gone(&sub.name).await?;
    let gone = zonecert_devstack::wait::until("only the foreign value is left", zonecert_tests::PATIENCE, async || {
        let left = stack.powerdns.challenge_values(&zone.name).await?;
        ensure!(left.iter().any(|(_, value)| value == "somebody-elses"), "the foreign value is gone: {left:?}");
        Ok((left.len() == 1).then_some(()))
    });
    gone.await?;
    let seen = stack.pebble.seen().await?;
    for zone in [&zone, &sub] {
        for number in 0..ORDERS {
            let orders = seen.orders_for(&format!("h{number}.x.{}", zone.name)).len();
            ensure!(orders == 1, "h{number}.x.{} took {orders} orders", zone.name);
        }
    }
    Ok(())
}
