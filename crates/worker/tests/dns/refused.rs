//! Records that `PowerDNS` will not have hold up nothing and nobody.

use anyhow::Result;
use serde_json::json;

use crate::world::World;

const CONFLICT: &str = "Conflicts with pre-existing RRset";

/// As if the records had last been changed an hour ago.
async fn let_time_pass(world: &World) -> Result<()> {
    let shift = "UPDATE zone_records SET updated_at = updated_at - interval '1 hour', refused_at = refused_at - interval '30 minutes'";
    world.admin.execute(shift, &[]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_powerdns_refuses_holds_up_no_challenge_and_no_other_record() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.set("www", "CNAME", &["elsewhere.test."]).await?;
    world.set("www", "A", &["192.0.2.1"]).await?;
    world.set("bad", "AAAA", &["192.0.2.1"]).await?;
    for number in 0..40 {
        world.set(&format!("n{number}"), "A", &["192.0.2.2"]).await?;
    }
    let (_, generation) = world.want(&[("", "ours")]).await?;
    projector.project(&world.zone, Some(generation)).await?;

    assert_eq!(world.values("").await?, ["ours"]);
    let row = world.projection().await?;
    assert!(row.is_through(generation) && row.failures == 0, "{row:?}");
    for number in 0..40 {
        assert_eq!(world.server().resolve(&world.host(&format!("n{number}")), "A").await?, ["192.0.2.2"], "n{number}");
    }
    let refused: Vec<String> = world.listed().await?.into_iter().filter(|row| row.contains(':')).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    // Which of two that do not go together comes first is nobody's promise.
    assert!(refused.iter().any(|row| row.starts_with(&world.host("bad"))), "{refused:?}");
    assert!(refused.iter().any(|row| row.starts_with(&world.host("www")) && row.contains(CONFLICT)), "{refused:?}");
    let told = world.told("zone_record_refused").await?;
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|(level, details)| level == "warning" && details["zone"] == world.zone.as_str()), "{told:?}");
    let error: String = world.admin.query_one("SELECT last_error FROM zone_projections WHERE dns_zone = $1", &[&world.zone]).await?.get(0);
    assert!(error.starts_with("2 record sets were refused by our DNS server; "), "{error}");
    assert_eq!(world.jobs().await?.0, 0, "nothing is tried again by itself");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_tried_again_when_the_records_change_and_not_before() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let generation = world.set("www", "CNAME", &["elsewhere.test."]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    let generation = world.set("www", "A", &["192.0.2.1"]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.told("zone_record_refused").await?.len(), 1);

    // Somebody else makes room for it, which we do not know: it stays as it is.
    let_time_pass(&world).await?;
    world.admin.execute("UPDATE zone_records SET adopted = true WHERE record_type = 'CNAME'", &[]).await?;
    world.server().set_rrset(&world.zone, &world.host("www"), "CNAME", &[]).await?;
    let (_, generation) = world.want(&[("", "ours")]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.server().resolve(&world.host("www"), "A").await?, Vec::<String>::new());
    assert_eq!(world.values("").await?, ["ours"]);
    let remark =
        async || anyhow::Ok(world.admin.query_one("SELECT last_error FROM zone_projections", &[]).await?.get::<_, Option<String>>(0));
    let said = format!("1 record set was refused by our DNS server; {} A: ", world.host("www"));
    assert!(remark().await?.is_some_and(|remark| remark.starts_with(&said)), "it is still not there");
    world.server().set_rrset(&world.zone, &world.host("www"), "CNAME", &["elsewhere.test.".to_owned()]).await?;

    let generation = world.set("other", "A", &["192.0.2.3"]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.told("zone_record_refused").await?.len(), 1, "it was refused again, and that is no news");

    // In one change: what is in the way goes before what it makes room for comes.
    let generation = world.unset("www", "CNAME").await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.server().resolve(&world.host("www"), "A").await?, ["192.0.2.1"]);
    assert!(world.listed().await?.iter().all(|row| !row.contains(':')), "{:?}", world.listed().await?);
    assert_eq!(remark().await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_what_was_refused_is_tried_again_all_the_same() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.set("www", "CNAME", &["elsewhere.test."]).await?;
    let generation = world.set("www", "A", &["192.0.2.1"]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    let refused = world.listed().await?.into_iter().find(|row| row.contains(CONFLICT)).expect("one of them is refused");
    let winner = if refused.contains(" A:") { "CNAME" } else { "A" };
    let shift = "UPDATE zone_records SET updated_at = updated_at - interval '2 days', refused_at = refused_at - interval '25 hours'";
    world.admin.execute(shift, &[]).await?;
    world.admin.execute("UPDATE zone_records SET adopted = true WHERE record_type = $1", &[&winner]).await?;
    world.server().set_rrset(&world.zone, &world.host("www"), winner, &[]).await?;
    let generation = world.request_projection().await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert!(world.listed().await?.iter().all(|row| !row.contains(':')), "{:?}", world.listed().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cname_of_the_customer_at_a_challenges_name_is_in_the_way_until_they_delete_it() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.server().create_zone(&world.zone, &["ns.elsewhere.test."]).await?;
    world.meddle_with_records("", "CNAME", 60, json!([{"content": "elsewhere.test."}]), json!([])).await?;
    let generation = world.request_projection().await?;
    projector.project(&world.zone, Some(generation)).await?;
    let (_, generation) = world.want(&[("", "ours")]).await?;
    let failure = projector.project_names(&world.zone, Some(generation), &[world.name("")]).await.expect_err("a CNAME is in the way");
    assert!(failure.detail().contains(CONFLICT), "{failure}");

    let generation = world.unset("_acme-challenge", "CNAME").await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.values("").await?, ["ours"]);
    Ok(())
}
