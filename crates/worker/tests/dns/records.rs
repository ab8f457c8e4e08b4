//! Customers' records are served, and what was in a zone before us is read in and stays.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_customer_sets_is_served_until_they_delete_it() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    world.set("www", "A", &["192.0.2.1", "192.0.2.2"]).await?;
    world.set("", "MX", &["10 mail.elsewhere.test.", "20 mail2.elsewhere.test."]).await?;
    world.set("", "TXT", &["\"v=spf1 -all\""]).await?;
    world.set("", "CAA", &["0 issue \"letsencrypt.org\""]).await?;
    world.set("_sip._tcp", "SRV", &["1 2 5060 sip.elsewhere.test."]).await?;
    world.set("*.wild", "AAAA", &["2001:db8::1"]).await?;
    let generation = world.set("alias", "CNAME", &["elsewhere.test."]).await?;
    projector.project(&world.zone, Some(generation)).await?;

    let (server, host) = (world.server(), |label: &str| world.host(label));
    assert_eq!(server.resolve(&host("www"), "A").await?, ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(server.resolve(&host(""), "MX").await?, ["10 mail.elsewhere.test.", "20 mail2.elsewhere.test."]);
    assert_eq!(server.resolve_txt(&host("")).await?, ["v=spf1 -all"]);
    assert_eq!(server.resolve(&host(""), "CAA").await?.len(), 1);
    assert_eq!(server.resolve(&host("_sip._tcp"), "SRV").await?, ["1 2 5060 sip.elsewhere.test."]);
    assert_eq!(server.resolve(&host("any.wild"), "AAAA").await?, ["2001:db8::1"]);
    assert_eq!(server.resolve(&host("alias"), "CNAME").await?, ["elsewhere.test."]);
    assert_eq!(server.resolve_txt(&format!("_zonecert.{}", world.zone)).await?, ["v"], "the proof of control stands beside them");
    assert_eq!(world.listed().await?.len(), 7);
    assert!(world.listed().await?.iter().all(|row| !row.contains(':')), "none was refused: {:?}", world.listed().await?);

    world.set("www", "A", &["192.0.2.3"]).await?;
    world.unset("alias", "CNAME").await?;
    let generation = world.unset("", "MX").await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(server.resolve(&host("www"), "A").await?, ["192.0.2.3"]);
    assert_eq!(server.resolve(&host("alias"), "CNAME").await?, Vec::<String>::new());
    assert_eq!(server.resolve(&host(""), "MX").await?, Vec::<String>::new());
    assert_eq!(world.listed().await?.len(), 5, "a row goes once its records are gone");
    assert!(world.projection().await?.is_through(generation));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_read_in_once_and_left_alone_until_the_customer_changes_it() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let server = world.server();
    server.create_zone(&world.zone, &["ns.elsewhere.test."]).await?;
    let set = async |label: &str, record_type: &str, contents: &[&str]| {
        let contents: Vec<String> = contents.iter().map(|&content| content.to_owned()).collect();
        server.set_rrset(&world.zone, &world.host(label), record_type, &contents).await
    };
    set("www", "A", &["192.0.2.1"]).await?;
    set("", "MX", &["10 mail.elsewhere.test."]).await?;
    set("sub", "NS", &["ns.elsewhere.test."]).await?;
    set("old", "A", &["192.0.2.9"]).await?;
    set("_acme-challenge", "TXT", &["\"foreign\""]).await?;
    // What the customer has set before we come to read wins.
    let generation = world.set("old", "A", &["192.0.2.10"]).await?;
    projector.project(&world.zone, Some(generation)).await?;

    let row = |label: &str, rest: &str| format!("{} {rest}", world.host(label));
    let mut expected = vec![row("", "MX adopted"), row("old", "A"), row("sub", "NS adopted"), row("www", "A adopted")];
    expected.sort_unstable();
    assert_eq!(world.listed().await?, expected);
    let told = world.told("zone_adopted").await?;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0.as_str(), &told[0].1["record_sets"], &told[0].1["left_out"]), ("info", &json!(3), &json!(0)));
    assert_eq!(server.resolve(&world.host("old"), "A").await?, ["192.0.2.10"]);

    // Whoever else writes to the zone goes on doing so.
    set("www", "A", &["192.0.2.2"]).await?;
    set("new", "A", &["192.0.2.3"]).await?;
    let generation = world.request_projection().await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(server.resolve(&world.host("www"), "A").await?, ["192.0.2.2"]);
    assert_eq!(server.resolve(&world.host("new"), "A").await?, ["192.0.2.3"]);
    assert_eq!(world.listed().await?, expected, "it was read in once");

    world.set("www", "A", &["192.0.2.4"]).await?;
    let generation = world.unset("", "MX").await?;
    projector.project(&world.zone, Some(generation)).await?;
    assert_eq!(server.resolve(&world.host("www"), "A").await?, ["192.0.2.4"]);
    assert_eq!(server.resolve(&world.host(""), "MX").await?, Vec::<String>::new());
    assert_eq!(world.told("zone_adopted").await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_large_zone_so_much_is_read_in_as_a_zone_may_list_and_all_is_served() -> Result<()> {
    let world = World::new().await?;
    world.server().create_zone(&world.zone, &["ns.elsewhere.test."]).await?;
    let rrset = |number: usize| {
        let name = format!("n{number:03}.{}.", world.zone);
        json!({"name": name, "type": "A", "ttl": 300, "changetype": "REPLACE", "records": [{"content": "192.0.2.1", "disabled": false}]})
    };
    let all: Vec<_> = (0..510).map(rrset).collect();
    world.meddle(Method::PATCH, json!({ "rrsets": all })).await?;
    world.set("n000", "A", &["192.0.2.2"]).await?;
    let generation = world.set("zzz", "A", &["192.0.2.3"]).await?;
    world.projector()?.project(&world.zone, Some(generation)).await?;

    let listed = world.listed().await?;
    assert_eq!(listed.len(), 500);
    assert!(listed.contains(&format!("{} A", world.host("zzz"))) && listed.contains(&format!("{} A adopted", world.host("n498"))));
    let told = world.told("zone_adopted").await?;
    assert_eq!((told[0].0.as_str(), &told[0].1["record_sets"], &told[0].1["left_out"]), ("warning", &json!(498), &json!(11)));
    assert_eq!(world.server().resolve(&world.host("n509"), "A").await?, ["192.0.2.1"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_record_sets_are_written_in_a_few_changes() -> Result<()> {
    let world = World::new().await?;
    let projector = world.projector()?;
    let generation = world.request_projection().await?;
    projector.project(&world.zone, Some(generation)).await?;
    let serial_before = world.server().get_zone(&world.zone).await?.serial;
    let insert = "INSERT INTO zone_records (id, account_id, zone_id, name, record_type, ttl_seconds, contents)
                  SELECT gen_random_uuid(), account_id, id, 'n' || number || '.' || name, 'TXT', 300, ARRAY['\"' || repeat('x', 200) || '\"']
                  FROM zones, generate_series(1, 500) AS number WHERE name = $1";
    assert_eq!(world.admin.execute(insert, &[&world.zone]).await?, 500);
    let (_, generation) = world.want(&[("", "ours")]).await?;
    projector.project(&world.zone, Some(generation)).await?;

    let zone = world.server().get_zone(&world.zone).await?;
    assert_eq!(zone.rrsets.iter().filter(|rrset| rrset.record_type == "TXT").count(), 502);
    assert!(zone.serial - serial_before <= 6, "{} changes", zone.serial - serial_before);
    assert_eq!(world.values("").await?, ["ours"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_zone_is_made_where_it_is_missing_and_no_accounts_rows_have_a_say_in_it() -> Result<()> {
    let world = World::new().await?;
    let (projector, zone) = (world.projector()?, world.challenge_zone());
    projector.request_challenge_zone().await?;
    projector.request_challenge_zone().await?;
    projector.project(&zone, None).await?;
    assert!(world.server().find_zone(&zone).await?.is_some(), "it can be delegated before the first order");
    let generations = "SELECT generation FROM zone_projections WHERE dns_zone = $1";
    assert_eq!(world.admin.query_one(generations, &[&zone]).await?.get::<_, i64>(0), 1, "it was asked for once");

    // The API refuses to import it; whatever happens, nobody's records get there, and nobody's deletion takes it away.
    let hostile = "INSERT INTO zones (id, account_id, name, status, verification_value, verified_at)
                   SELECT gen_random_uuid(), account_id, $1, 'verified', 'hostile', now() FROM zones WHERE name = $2";
    world.admin.execute(hostile, &[&zone, &world.zone]).await?;
    let record = "INSERT INTO zone_records (id, account_id, zone_id, name, record_type, ttl_seconds, contents)
                  SELECT gen_random_uuid(), account_id, id, 'www.' || name, 'A', 300, ARRAY['192.0.2.1'] FROM zones WHERE name = $1";
    world.admin.execute(record, &[&zone]).await?;
    world.admin.execute("SELECT request_projection($1)", &[&zone]).await?;
    projector.project(&zone, None).await?;
    world.admin.execute("UPDATE zones SET deleted_at = now() WHERE name = $1", &[&zone]).await?;
    world.admin.execute("SELECT request_projection($1)", &[&zone]).await?;
    projector.project(&zone, None).await?;
    let found = world.server().get_zone(&zone).await?;
    assert!(found.rrsets.iter().all(|rrset| matches!(rrset.record_type.as_str(), "SOA" | "NS")), "{found:?}");
    Ok(())
}
