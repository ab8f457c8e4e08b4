//! Control of zones, looked at again: kept, warned about, lost and regained.

use anyhow::Result;
use futures::future::try_join_all;
use serde_json::json;
use zonecert_domain::id::AccountId;
use zonecert_resolver::Resolver;
use zonecert_worker::dns::NameServers;
use zonecert_worker::zone_check::ZoneChecks;

use crate::world::{NAMESERVERS, World};

impl World {
    fn checks(&self) -> Result<ZoneChecks> {
        let resolver = Resolver::new(&[self.stack.customer_dns.dns_address()])?;
        Ok(ZoneChecks::new(self.store.clone(), resolver, NameServers::parse(NAMESERVERS)?))
    }

    /// The customer's DNS of today, which names other servers than ours.
    async fn customer_dns(&self) -> Result<()> {
        self.stack.customer_dns.create_zone(&self.zone, &["ns.elsewhere.test."]).await
    }

    async fn show_proof(&self, value: &str) -> Result<()> {
        self.stack.customer_dns.set_txt(&self.zone, &format!("_zonecert.{}", self.zone), &[value.to_owned()]).await
    }

    async fn hide_proof(&self) -> Result<()> {
        self.stack.customer_dns.set_txt(&self.zone, &format!("_zonecert.{}", self.zone), &[]).await
    }

    /// Its time comes, and the zone is looked at.
    async fn look(&self) -> Result<()> {
        self.admin.execute("UPDATE zones SET next_check_at = now() WHERE next_check_at IS NOT NULL", &[]).await?;
        assert!(self.checks()?.check_due().await? > 0);
        Ok(())
    }

    /// Status, looks without a proof, and in how many hours the next one is due.
    async fn standing(&self, account: AccountId) -> Result<(String, i32, Option<i32>)> {
        let statement = "SELECT status, failed_checks, round(extract(epoch FROM next_check_at - now()) / 3600)::int FROM zones
                         WHERE name = $1 AND account_id = $2::text::uuid";
        let row = self.admin.query_one(statement, &[&self.zone, &account.0.to_string()]).await?;
        Ok((row.get(0), row.get(1), row.get(2)))
    }

    /// A certificate under the zone with a version that is valid, and what is on record of its renewal.
    async fn certificate(&self) -> Result<()> {
        let statement = "WITH zone AS (SELECT id, account_id FROM zones WHERE name = $1),
             key AS (INSERT INTO private_keys (id, account_id, name, algorithm) SELECT gen_random_uuid(), account_id, 'key', 'rsa2048' FROM zone
                 RETURNING id, account_id),
             data_key AS (INSERT INTO data_keys (id, account_id, master_key_id, wrapped) SELECT gen_random_uuid(), account_id, 'm', 'x' FROM zone
                 RETURNING id, account_id),
             material AS (INSERT INTO key_versions (id, account_id, private_key_id, data_key_id, sealed, public_key_sha256)
                 SELECT gen_random_uuid(), key.account_id, key.id, data_key.id, 'x', 'x' FROM key, data_key RETURNING id),
             certificate AS (INSERT INTO certificates (id, account_id, zone_id, private_key_id, name, number, domain, key_algorithm, auto_renew, status,
                     issued_at, expires_at)
                 SELECT gen_random_uuid(), zone.account_id, zone.id, key.id, 'app', 1, $1, 'rsa2048', true, 'issued', now(), now() + interval '89 days'
                 FROM zone, key RETURNING id, account_id)
             INSERT INTO versions (id, account_id, certificate_id, number, source, key_version_id, chain_pem, names, serial, fingerprint_sha256, issuer, subject,
                 not_before, not_after)
             SELECT gen_random_uuid(), certificate.account_id, certificate.id, 1, 'upload', material.id, '', '{}', '01', '', '', '',
                 now() - interval '1 day', now() + interval '89 days' FROM certificate, material";
        assert_eq!(self.admin.execute(statement, &[&self.zone]).await?, 1);
        self.admin.batch_execute("UPDATE certificates SET current_version_id = (SELECT id FROM versions)").await?;
        Ok(())
    }

    /// Whether the certificate renews, and what stands in the way.
    async fn renewal(&self) -> Result<(bool, Option<String>)> {
        let row = self.admin.query_one("SELECT renewal_due_at IS NOT NULL, renewal_blocked_by FROM certificates", &[]).await?;
        Ok((row.get(0), row.get(1)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_proof_is_there_is_looked_at_daily() -> Result<()> {
    let world = World::new().await?;
    world.customer_dns().await?;
    world.show_proof("v").await?;
    world.change_zone(world.account, "next_check_at = now(), failed_checks = 4").await?;
    assert_eq!(world.checks()?.check_due().await?, 1);
    assert_eq!(world.standing(world.account).await?, ("verified".to_owned(), 0, Some(24)));
    assert_eq!(world.told("zone_check_passed").await?.len(), 1, "it had been warned of");
    assert_eq!(world.checks()?.check_due().await?, 0, "not before tomorrow");
    world.look().await?;
    assert_eq!(world.told("zone_check_passed").await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosted_zone_that_names_our_servers_and_no_others_is_held_without_its_txt() -> Result<()> {
    let world = World::new().await?;
    world.change_zone(world.account, "next_check_at = now()").await?;
    world.stack.customer_dns.create_zone(&world.zone, &NAMESERVERS).await?;
    world.look().await?;
    assert_eq!(world.standing(world.account).await?, ("verified".to_owned(), 0, Some(24)));

    // Where the customer's records live elsewhere, the servers say nothing about whose the zone is.
    world.change_zone(world.account, "mode = 'delegated'").await?;
    world.look().await?;
    assert_eq!(world.standing(world.account).await?, ("verified".to_owned(), 1, Some(1)));
    world.change_zone(world.account, "mode = 'hosted', failed_checks = 0").await?;
    let both = [NAMESERVERS[0].to_owned(), "ns.elsewhere.test.".to_owned()];
    world.stack.customer_dns.set_rrset(&world.zone, &world.zone, "NS", &both).await?;
    world.look().await?;
    assert_eq!(world.standing(world.account).await?.1, 1, "somebody else is named too");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_without_its_proof_is_warned_of_then_lost_and_its_certificates_stop_renewing() -> Result<()> {
    let world = World::new().await?;
    world.customer_dns().await?;
    world.show_proof("somebody else's").await?;
    world.certificate().await?;
    world.change_zone(world.account, "next_check_at = now()").await?;
    let mut waits = Vec::new();
    for failed in 1..10 {
        world.look().await?;
        let (status, failed_checks, wait) = world.standing(world.account).await?;
        assert_eq!((status.as_str(), failed_checks), ("verified", failed));
        waits.extend(wait);
    }
    assert_eq!(waits, [1, 6, 24, 24, 24, 24, 24, 24, 24]);
    let warnings = world.told("zone_check_failed").await?;
    assert_eq!(warnings.len(), 9);
    let (level, details) = &warnings[8];
    assert_eq!((level.as_str(), &details["checks_left"], &details["failed_checks"]), ("warning", &json!(1), &json!(9)));
    assert!(details["seen"].as_str().unwrap().contains("somebody else's"), "{details}");
    assert_eq!((details["record"].as_str(), details["value"].as_str()), (Some(&*format!("_zonecert.{}", world.zone)), Some("v")));

    world.look().await?;
    assert_eq!(world.standing(world.account).await?, ("lost".to_owned(), 10, Some(24)));
    let told = world.told("zone_lost").await?;
    assert_eq!((told.len(), told[0].0.as_str()), (1, "error"));
    assert_eq!(world.renewal().await?, (false, Some("zone_lost".to_owned())));
    let stopped = world.told("renewal_stopped").await?;
    assert_eq!((stopped.len(), &stopped[0].1["reason"]), (1, &json!("zone_lost")), "its log says so too");

    world.look().await?;
    assert_eq!(world.told("zone_lost").await?.len(), 1, "it is lost once");
    world.show_proof("v").await?;
    world.look().await?;
    assert_eq!(world.standing(world.account).await?, ("verified".to_owned(), 0, Some(24)));
    assert_eq!(world.told("zone_verified").await?.len(), 1);
    assert_eq!(world.renewal().await?, (true, None));
    let lost_at: bool = world.admin.query_one("SELECT lost_at IS NULL FROM zones", &[]).await?.get(0);
    assert!(lost_at);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_dns_loses_no_zone() -> Result<()> {
    let world = World::new().await?;
    // The customer's DNS refuses to answer for a zone that it does not have.
    world.change_zone(world.account, "next_check_at = now(), failed_checks = 9").await?;
    for _ in 0..3 {
        world.look().await?;
        assert_eq!(world.standing(world.account).await?, ("verified".to_owned(), 9, Some(1)));
    }
    // Nor does a resolver that is gone.
    let gone = Resolver::new(&["127.0.0.1:1".parse()?])?;
    world.change_zone(world.account, "next_check_at = now()").await?;
    assert_eq!(ZoneChecks::new(world.store.clone(), gone, NameServers::parse(NAMESERVERS)?).check_due().await?, 1);
    assert_eq!(world.standing(world.account).await?, ("verified".to_owned(), 9, Some(1)));
    assert!(world.told("zone_check_failed").await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_zone_comes_back_by_its_own_proof_only_and_not_while_another_account_holds_it() -> Result<()> {
    let world = World::new().await?;
    world.stack.customer_dns.create_zone(&world.zone, &NAMESERVERS).await?;
    let lost = "status = 'lost', lost_at = now() - interval '1 day', failed_checks = 10, next_check_at = now()";
    world.change_zone(world.account, lost).await?;
    world.look().await?;
    let still_lost = ("lost".to_owned(), 10, Some(24));
    assert_eq!(world.standing(world.account).await?, still_lost, "our name servers do not say whose zone it is");

    let another = world.another("verified").await?;
    world.show_proof("v").await?;
    world.look().await?;
    assert_eq!(world.standing(world.account).await?, still_lost);
    assert_eq!(world.standing(another).await?.0, "verified");
    assert!(world.told("zone_verified").await?.is_empty());

    world.change_zone(another, "deleted_at = now()").await?;
    world.look().await?;
    assert_eq!(world.standing(world.account).await?.0, "verified");

    world.change_zone(world.account, lost).await?;
    world.change_zone(world.account, "lost_at = now() - interval '30 days'").await?;
    world.hide_proof().await?;
    world.look().await?;
    assert_eq!(world.standing(world.account).await?, ("lost".to_owned(), 10, None), "it is looked for no longer");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_workers_look_at_a_zone_once() -> Result<()> {
    let world = World::new().await?;
    world.customer_dns().await?;
    world.another("lost").await?;
    world.another("pending").await?;
    world.admin.execute("UPDATE zones SET next_check_at = now(), lost_at = CASE WHEN status = 'lost' THEN now() END", &[]).await?;
    let deleted = world.another("verified");
    assert!(deleted.await.is_err(), "one account holds a zone at a time");
    let looked: usize = try_join_all((0..6).map(async |_| anyhow::Ok(world.checks()?.check_due().await?))).await?.into_iter().sum();
    // One that waits for its first proof has no such moment in life; it is passed over.
    assert_eq!(looked, 3);
    assert_eq!(world.told("zone_check_failed").await?.len(), 1);
    assert_eq!(world.standing(world.account).await?, ("verified".to_owned(), 1, Some(1)));

    world.change_zone(world.account, "deleted_at = now()").await?;
    world.admin.execute("UPDATE zones SET next_check_at = now()", &[]).await?;
    assert_eq!(world.checks()?.check_due().await?, 2, "a deleted zone is nobody's");
    assert_eq!(world.told("zone_check_failed").await?.len(), 1);
    Ok(())
}
