//! TXT values come and go, and nobody's is lost.

use anyhow::Result;
use futures::future::try_join_all;
use serde_json::json;
use zonecert_domain::failure::FailureCode;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_projections_at_once_from_two_workers_lose_nothing() -> Result<()> {
    let world = World::new().await?;
    let workers = [world.projector()?, world.projector()?];
    world.request_projection().await?;
    workers[0].project(&world.zone, None).await?;
    let (serial_before, label) = (world.server().get_zone(&world.zone).await?.serial, |number: usize| format!("n{number}"));
    world.meddle_with_records(&label(0), "TXT", 60, json!([{"content": "\"foreign\""}]), json!([])).await?;

    let orders = try_join_all((0..32).map(async |number| {
        let (order, generation) = world.want(&[(&label(number), &format!("value-{number}"))]).await?;
        workers[number % 2].project(&world.zone, Some(generation)).await?;
        let value = format!("value-{number}");
        assert!(world.server().resolve_txt(&world.name(&label(number))).await?.contains(&value), "{value} is not there when told so");
        anyhow::Ok(order)
    }));
    let orders = orders.await?;

    let zone = world.server().get_zone(&world.zone).await?;
    assert_eq!(world.server().challenge_values(&world.zone).await?.len(), 33);
    assert_eq!(world.values(&label(0)).await?, ["foreign", "value-0"]);
    assert_eq!(world.server().count_soa_records(&world.zone).await?, 1);
    assert_eq!(world.server().resolve_soa_count(&world.zone).await?, 1);
    assert!(zone.serial - serial_before < 32, "changes are batched: the serial rises once for each");

    try_join_all(orders.into_iter().enumerate().map(async |(number, order)| {
        let generation = world.unwant(order).await?;
        anyhow::Ok(workers[(number + 1) % 2].project(&world.zone, Some(generation)).await?)
    }))
    .await?;
    assert_eq!(world.server().challenge_values(&world.zone).await?, [(format!("{}.", world.name("n0")), "foreign".to_owned())]);
    assert_eq!(world.server().count_soa_records(&world.zone).await?, 1);
    assert_eq!(world.rows().await?, 0);
    assert!(world.projection().await?.is_through(world.projection().await?.generation));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_keep_beside_our_value_survives_it() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.request_projection().await?;
    projector.project(&world.zone, None).await?;
    let foreign = json!([{"content": r#""in two" "strings \"quoted\" \\ \195\182""#}, {"content": "\"off\"", "disabled": true}]);
    let comments = json!([{"content": "ask the mail team first", "account": "them", "modified_at": 5}]);
    world.meddle_with_records("", "TXT", 4711, foreign, comments).await?;
    let rrset = async || {
        let statement = "SELECT content, ttl, disabled FROM records WHERE name = $1 AND type = 'TXT' UNION ALL
                         SELECT comment, modified_at, NULL FROM comments WHERE name = $1 ORDER BY 1";
        let rows = world.powerdns_database().await?.query(statement, &[&world.name("")]).await?;
        anyhow::Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect::<Vec<(String, i32, Option<bool>)>>())
    };
    let before = rrset().await?;
    assert_eq!(before.len(), 3);

    let (order, generation) = world.want(&[("", "ours")]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    let mut during = rrset().await?;
    during.retain(|(content, ..)| content != "\"ours\"");
    assert_eq!(during, before);
    assert!(world.values("").await?.contains(&"ours".to_owned()));

    let generation = world.unwant(order).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(rrset().await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_outlives_our_last_value() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let (order, generation) = world.want(&[("", "ours")]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    let comments = json!([{"content": "who put this here?", "account": "them", "modified_at": 5}]);
    world.meddle_with_records("", "TXT", 60, json!([{"content": "\"ours\""}]), comments).await?;

    let generation = world.unwant(order).await?;
    projector.project(&world.zone, Some(generation)).await?;

    assert_eq!(world.values("").await?, Vec::<String>::new());
    let pdns = world.powerdns_database().await?;
    let kept: String = pdns.query_one("SELECT comment FROM comments WHERE name = $1", &[&world.name("")]).await?.get(0);
    assert_eq!(kept, "who put this here?");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn apex_and_wildcard_share_a_name_and_go_one_by_one() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let (first, _) = world.want(&[("", "apex"), ("", "wildcard")]).await?;
    let (second, generation) = world.want(&[("", "another order")]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.values("").await?, ["another order", "apex", "wildcard"]);

    let generation = world.unwant(second).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.values("").await?, ["apex", "wildcard"]);

    let generation = world.unwant(first).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.values("").await?, Vec::<String>::new());
    assert_eq!(world.rows().await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_two_orders_want_stays_until_both_are_done() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let (first, _) = world.want(&[("", "shared")]).await?;
    let (second, generation) = world.want(&[("", "shared")]).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(world.values("").await?, ["shared"]);

    let generation = world.unwant(first).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!((world.values("").await?, world.rows().await?), (vec!["shared".to_owned()], 1));

    let generation = world.unwant(second).await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!((world.values("").await?, world.rows().await?), (Vec::new(), 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_changed_does_not_hold_up_the_others() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.request_projection().await?;
    projector.project(&world.zone, None).await?;
    world.meddle_with_records("taken", "CNAME", 60, json!([{"content": "elsewhere.test."}]), json!([])).await?;

    let (refused, first) = world.want(&[("taken", "one")]).await?;
    let (_, second) = world.want(&[("free", "two")]).await?;
    let (taken, free) = ([world.name("taken")], [world.name("free")]);
    projector.project_names(&world.zone, Some(second), &free).await?;
    assert_eq!(world.values("free").await?, ["two"]);
    let failure = projector.project_names(&world.zone, Some(first), &taken).await.expect_err("a CNAME is in the way");
    assert_eq!(failure.code, FailureCode::DnsProviderRefused);
    assert!(failure.detail().contains("Conflicts with pre-existing RRset"), "{failure}");
    assert!(projector.project(&world.zone, None).await.is_err(), "the zone as a whole is behind");
    assert!(!world.projection().await?.is_through(first));

    let third = world.unwant(refused).await?;
    projector.project(&world.zone, Some(third)).await?;
    assert_eq!((world.values("free").await?, world.rows().await?), (vec!["two".to_owned()], 1));
    Ok(())
}
