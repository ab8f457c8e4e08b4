//! A zone is given up, lost, or passes from one account to another.

use anyhow::Result;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn of_a_zone_that_was_there_before_us_deletion_takes_what_came_by_us_and_leaves_the_rest() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.server().create_zone(&world.zone, &["ns.elsewhere.test."]).await?;
    world.server().set_rrset(&world.zone, &world.host("before"), "A", &["192.0.2.1".to_owned()]).await?;
    world.server().set_rrset(&world.zone, &world.host("changed"), "A", &["192.0.2.2".to_owned()]).await?;
    let generation = world.request_projection().await?;
    projector.project(&world.zone, Some(generation)).await?;
    world.set("changed", "A", &["192.0.2.3"]).await?;
    let generation = world.set("by-us", "A", &["192.0.2.4"]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.shown().await?.len(), 4, "two, one of ours, and the proof of control");

    let generation = world.delete_zone().await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.shown().await?, [format!("{}. A 192.0.2.1", world.host("before"))]);
    assert_eq!(world.listed().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_we_made_goes_with_all_its_records() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let generation = world.set("www", "A", &["192.0.2.1"]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    let generation = world.delete_zone().await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert!(world.server().find_zone(&world.zone).await?.is_none());
    assert_eq!(world.listed().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_lost_stands_as_it_is_until_somebody_else_proves_it() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let generation = world.set("www", "A", &["192.0.2.1"]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    let before = world.shown().await?;
    let generation = world.change_zone(world.account, "status = 'lost', lost_at = now()").await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.shown().await?, before, "pointing the registrar at us again is enough to have it back");

    // Somebody who has yet to prove it changes nothing.
    let another = world.another("pending").await?;
    let generation = world.set_for(another, "early", "A", &["192.0.2.9"]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.shown().await?, before);

    let generation = world.change_zone(another, "status = 'verified', verified_at = now()").await?;
    projector.project(&world.zone, Some(generation)).await?;
    let theirs = [format!("_zonecert.{}. TXT \"another's\"", world.zone), format!("{}. A 192.0.2.9", world.host("early"))];
    assert_eq!(world.shown().await?, theirs);
    assert_eq!(world.listed().await?, [format!("{} A", world.host("early"))]);

    // Nor does it come back to who had it before when the new holder gives it up.
    let generation = world.change_zone(another, "deleted_at = now()").await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert!(world.server().find_zone(&world.zone).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_us_passes_on_to_the_next_holder() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.server().create_zone(&world.zone, &["ns.elsewhere.test."]).await?;
    world.server().set_rrset(&world.zone, &world.host("before"), "A", &["192.0.2.1".to_owned()]).await?;
    let generation = world.set("by-us", "A", &["192.0.2.2"]).await?;
    projector.project(&world.zone, Some(generation)).await?;

    // Both at once: deleted by one and proven by the other before anybody came to look.
    world.delete_zone().await?;
    world.another("verified").await?;
    let generation = world.request_projection().await?;
    projector.project(&world.zone, Some(generation)).await?;
    let theirs = [format!("_zonecert.{}. TXT \"another's\"", world.zone), format!("{}. A 192.0.2.1", world.host("before"))];
    assert_eq!(world.shown().await?, theirs);
    assert_eq!(world.listed().await?, [format!("{} A adopted", world.host("before"))]);
    assert_eq!(world.told("zone_adopted").await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_set_again_while_it_is_removed_stays() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let generation = world.set("www", "A", &["192.0.2.1"]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    world.unset("www", "A").await?;
    // Whoever has read the row as deleted comes to delete it after it was set again.
    let id: String = world.admin.query_one("SELECT id::text FROM zone_records", &[]).await?.get(0);
    let generation = world.set("www", "A", &["192.0.2.2"]).await?;
    let deleted =
        world.store.platform(async |conn| zonecert_store::hosted_zones::delete_gone(conn, &world.zone, &[id.parse().unwrap()]).await);
    assert_eq!(deleted.await?, 0);
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.server().resolve(&world.host("www"), "A").await?, ["192.0.2.2"]);
    Ok(())
}
