//! Zones are made, adopted and deleted, and each has one SOA record.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use zonecert_domain::failure::FailureCode;

use crate::world::{NAMESERVERS, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_made_where_an_account_holds_it_and_goes_with_its_last_wish() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    projector.project(&world.zone, None).await?;
    assert!(world.server().find_zone(&world.zone).await?.is_none(), "nobody has asked for anything yet");

    let generation = world.request_projection().await?;
    projector.project(&world.zone, Some(generation)).await?;
    let zone = world.server().get_zone(&world.zone).await?;
    let contents = |record_type: &str| {
        let rrset = zone.rrsets.iter().find(|rrset| rrset.record_type == record_type).expect("the record set is there");
        rrset.contents().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(contents("NS"), NAMESERVERS);
    let soa = contents("SOA").remove(0);
    assert!(
        soa.starts_with(&format!("ns1.zonecert.test. hostmaster.{}. 20", world.zone)) && soa.ends_with(" 10800 3600 604800 60"),
        "{soa}"
    );

    let (order, _) = world.want(&[("", "ours")]).await?;
    let generation = world.delete_zone().await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.values("").await?, ["ours"], "an order is still under way");

    let generation = world.unwant(order).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert!(world.server().find_zone(&world.zone).await?.is_none());
    assert!(!world.projection().await?.created_by_us);
    assert_eq!(world.rows().await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_was_there_before_is_adopted_and_never_deleted() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.server().create_zone(&world.zone, &["ns.elsewhere.test."]).await?;
    let before = world.server().get_zone(&world.zone).await?;

    let (order, generation) = world.want(&[("", "ours")]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.values("").await?, ["ours"]);
    world.unwant(order).await?;
    let generation = world.delete_zone().await?;
    projector.project(&world.zone, Some(generation)).await?;

    let after = world.server().get_zone(&world.zone).await?;
    let contents = |zone: &zonecert_devstack::Zone| {
        let kept = zone.rrsets.iter().filter(|rrset| rrset.record_type != "SOA");
        kept.map(|rrset| (rrset.name.clone(), rrset.contents().join(" "))).collect::<Vec<_>>()
    };
    assert_eq!(contents(&after), contents(&before));
    assert!(!world.projection().await?.created_by_us);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_somebody_has_taken_over_from_us_is_not_deleted() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.request_projection().await?;
    projector.project(&world.zone, None).await?;
    assert!(world.projection().await?.created_by_us);
    world.meddle(Method::PUT, json!({"account": "operator"})).await?;

    let generation = world.delete_zone().await?;
    projector.project(&world.zone, Some(generation)).await?;

    assert!(world.server().find_zone(&world.zone).await?.is_some());
    assert!(!world.projection().await?.created_by_us);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_maker_died_at_once_is_known_as_ours() -> Result<()> {
    let world = World::new().await?;
    world.request_projection().await?;
    // What a process leaves behind that dies between the answer of PowerDNS and its next write.
    world.admin.execute("UPDATE zone_projections SET created_by_us = true WHERE dns_zone = $1", &[&world.zone]).await?;
    world.server().create_zone(&world.zone, &NAMESERVERS).await?;
    world.meddle(Method::PUT, json!({"account": "zonecert"})).await?;

    let projector = world.projector()?;
    let generation = world.delete_zone().await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert!(world.server().find_zone(&world.zone).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_a_zone_that_nobody_holds_and_powerdns_lacks_fails() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let (order, _) = world.want(&[("", "ours")]).await?;
    let generation = world.delete_zone().await?;
    let failure = projector.project(&world.zone, Some(generation)).await.expect_err("there is no zone to write to");
    assert_eq!(failure.code, FailureCode::ZoneLost);

    let generation = world.unwant(order).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.rows().await?, 0);
    assert!(world.server().find_zone(&world.zone).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_was_deleted_under_our_hands_is_made_anew() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let (_, generation) = world.want(&[("a", "one")]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    world.server().delete_zone(&world.zone).await?;
    let (_, generation) = world.want(&[("b", "two")]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!((world.values("a").await?, world.values("b").await?), (vec!["one".to_owned()], vec!["two".to_owned()]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_soa_record_is_repaired() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.request_projection().await?;
    projector.project(&world.zone, None).await?;
    let pdns = world.powerdns_database().await?;
    // Without SOA-EDIT-API PowerDNS leaves the SOA alone, so that it is our repair which is seen.
    world.meddle(Method::PUT, json!({"soa_edit_api": ""})).await?;
    let double = "INSERT INTO records (domain_id, name, type, content, ttl, prio, auth)
                  SELECT domain_id, name, type, regexp_replace(content, ' 20[0-9]{8} ', ' 4000000000 '), ttl, prio, auth FROM records
                  WHERE name = $1 AND type = 'SOA'";
    assert_eq!(pdns.execute(double, &[&world.zone]).await?, 1);
    assert_eq!(world.server().count_soa_records(&world.zone).await?, 2);

    let generation = world.request_projection().await?;
    projector.project(&world.zone, Some(generation)).await?;

    assert_eq!(world.server().count_soa_records(&world.zone).await?, 1);
    assert_eq!(world.server().resolve_soa_count(&world.zone).await?, 1);
    assert_eq!(world.server().get_zone(&world.zone).await?.serial, 4_000_000_000, "the highest serial stays");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_soa_record_is_written_anew_with_the_change() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.request_projection().await?;
    projector.project(&world.zone, None).await?;
    let pdns = world.powerdns_database().await?;
    assert_eq!(pdns.execute("DELETE FROM records WHERE name = $1 AND type = 'SOA'", &[&world.zone]).await?, 1);

    let (_, generation) = world.want(&[("", "ours")]).await?;
    projector.project(&world.zone, Some(generation)).await?;

    assert_eq!(world.server().resolve_soa_count(&world.zone).await?, 1);
    assert_eq!(world.server().resolve_txt(&world.name("")).await?, ["ours"]);
    Ok(())
}
