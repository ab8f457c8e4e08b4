//! Zones are verified, looked at again, lost and regained; what stood in them is read in.

use std::time::Duration;

use zonecert_domain::id::{AccountId, ZoneId};
use zonecert_store::hosted_zones::{self, FoundRecord};
use zonecert_store::zone_checks::{self, ZoneCheck};
use zonecert_store::zones::{self, VERIFIED_NAME_KEY};
use zonecert_store::{Store, StoreError};

use crate::world::{Tenant, World};

const PUT_OFF: Duration = Duration::from_mins(15);

async fn take(store: &Store) -> Vec<(AccountId, ZoneId)> {
    store.platform(async |conn| zone_checks::take_due(conn, PUT_OFF, 10).await).await.unwrap()
}

async fn find(world: &World, tenant: &Tenant) -> Option<ZoneCheck> {
    let (account, zone) = (tenant.account, tenant.zone);
    world.worker.tenant(account, async |conn| zone_checks::find_check(conn, account, zone).await).await.unwrap()
}

/// The generation of the zone in `PowerDNS`: how often something was asked of it.
async fn generation(world: &World, tenant: &Tenant) -> i64 {
    let query = format!("SELECT generation FROM zone_projections WHERE dns_zone = '{}'", tenant.zone_name);
    world.database.value(&query).await
}

#[tokio::test]
async fn a_zone_that_is_due_is_taken_by_one_and_is_due_again_when_nothing_was_recorded() {
    let world = World::new().await;
    let (one, other) = (world.tenant().await, world.tenant().await);
    assert_eq!(take(&world.worker).await, [], "it was verified just now");
    world.database.run(&format!("UPDATE zones SET next_check_at = now() WHERE id = '{}'", one.zone.0)).await;
    assert_eq!(take(&world.worker).await, [(one.account, one.zone)]);
    assert_eq!(take(&world.worker).await, [], "somebody looks at it");
    world.database.run("UPDATE zones SET next_check_at = next_check_at - interval '15 minutes'").await;
    assert_eq!(take(&world.worker).await, [(one.account, one.zone)]);
    world.database.run("UPDATE zones SET next_check_at = now(), deleted_at = now()").await;
    assert_eq!(take(&world.worker).await, []);
    assert!(find(&world, &other).await.is_none(), "a deleted zone is looked at by nobody");
    world.database.run("UPDATE zones SET deleted_at = NULL, status = 'pending'").await;
    assert!(find(&world, &other).await.is_none(), "nor is one that waits for its first proof");
}

#[tokio::test]
async fn what_is_found_of_a_zone_that_has_moved_on_meanwhile_is_not_recorded() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let check = find(&world, &tenant).await.unwrap();
    for change in ["failed_checks = 1", "failed_checks = 0, status = 'lost', lost_at = now()", "status = 'verified', deleted_at = now()"] {
        world.database.run(&format!("UPDATE zones SET {change}")).await;
        let before: String = world.database.value("SELECT zones::text FROM zones").await;
        let stale = [
            world.worker.tenant_write(tenant.account, async |conn| zone_checks::record_check(conn, &check, 5, None).await).await,
            world.worker.tenant_write(tenant.account, async |conn| zone_checks::mark_lost(conn, &check, None).await).await,
        ];
        assert!(stale.iter().all(|outcome| matches!(outcome, Err(StoreError::Stale))), "{change}: {stale:?}");
        assert_eq!(world.database.value::<String>("SELECT zones::text FROM zones").await, before, "{change}");
    }
}

#[tokio::test]
async fn a_proof_begins_everything_anew_and_renewals_with_it() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let Tenant { account, zone, .. } = tenant;
    world.issued(&tenant, "app").await;
    world.database.run("UPDATE accounts SET plan = 'elite'").await;
    let blocked = "SELECT coalesce(renewal_blocked_by, '') || ' ' || (renewal_due_at IS NOT NULL) FROM certificates";
    let check = find(&world, &tenant).await.unwrap();
    world.worker.tenant_write(account, async |conn| zone_checks::mark_lost(conn, &check, None).await).await.unwrap();
    assert_eq!(world.database.value::<String>(blocked).await, "zone_lost false");
    let lost = find(&world, &tenant).await.unwrap();
    assert!(lost.lost_at.is_some() && lost.failed_checks == 1);
    world.database.run("UPDATE zones SET adopted_at = now()").await;
    let before = generation(&world, &tenant).await;

    // The customer has it verified before the next look comes.
    world.api.tenant_write(account, async |conn| zones::mark_verified(conn, account, zone).await).await.unwrap();
    let anew =
        "SELECT lost_at IS NULL AND failed_checks = 0 AND adopted_at IS NULL AND next_check_at > now() + interval '23 hours' FROM zones";
    assert!(world.database.value::<bool>(anew).await);
    assert_eq!(world.database.value::<String>(blocked).await, " true");
    assert_eq!(generation(&world, &tenant).await, before + 1);
    let late = world.worker.tenant_write(account, async |conn| zone_checks::mark_regained(conn, &lost, None).await).await;
    assert!(matches!(late, Err(StoreError::Stale)), "{late:?}");

    world.database.run("UPDATE zones SET status = 'lost', lost_at = now()").await;
    let lost = find(&world, &tenant).await.unwrap();
    world.worker.tenant_write(account, async |conn| zone_checks::mark_regained(conn, &lost, None).await).await.unwrap();
    assert_eq!(world.database.value::<String>("SELECT status FROM zones").await, "verified");
    assert_eq!(generation(&world, &tenant).await, before + 2);
}

#[tokio::test]
async fn a_zone_that_another_account_holds_by_now_is_not_regained() {
    let world = World::new().await;
    let (one, other) = (world.tenant().await, world.tenant().await);
    world.database.run(&format!("UPDATE zones SET status = 'lost', lost_at = now() WHERE id = '{}'", one.zone.0)).await;
    world.database.run(&format!("UPDATE zones SET name = '{}' WHERE id = '{}'", one.zone_name, other.zone.0)).await;
    let lost = find(&world, &one).await.unwrap();
    let refused = world.worker.tenant_write(one.account, async |conn| zone_checks::mark_regained(conn, &lost, None).await).await;
    assert!(refused.unwrap_err().is_constraint(VERIFIED_NAME_KEY));
}

#[tokio::test]
async fn a_zone_that_stays_where_it_is_asks_nothing_of_powerdns() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let Tenant { account, zone, .. } = tenant;
    let before = generation(&world, &tenant).await;
    world.database.run("UPDATE zones SET mode = 'delegated', status = 'pending'").await;
    world.api.tenant_write(account, async |conn| zones::mark_verified(conn, account, zone).await).await.unwrap();
    world.api.tenant_write(account, async |conn| zones::delete_zone(conn, account, zone).await).await.unwrap();
    assert_eq!(generation(&world, &tenant).await, before);
}

#[tokio::test]
async fn what_stood_in_a_zone_is_read_in_beside_what_its_holder_has_set() {
    let world = World::new().await;
    let (tenant, stranger) = (world.tenant().await, world.tenant().await);
    let holder = world.worker.platform(async |conn| hosted_zones::find_holder(conn, &tenant.zone_name).await).await.unwrap().unwrap();
    assert_eq!((holder.account, holder.zone, holder.adopted), (tenant.account, tenant.zone, false));
    let set = format!(
        "INSERT INTO zone_records (id, account_id, zone_id, name, record_type, ttl_seconds, contents)
         VALUES (gen_random_uuid(), '{}', '{}', 'www.{}', 'A', 300, '{{192.0.2.1}}')",
        tenant.account.0, tenant.zone.0, tenant.zone_name
    );
    world.database.run(&set).await;
    let found = |record_type: &str| FoundRecord {
        name: format!("www.{}", tenant.zone_name),
        record_type: record_type.to_owned(),
        ttl_seconds: 60,
        contents: vec!["found".to_owned()],
    };
    let adopt = async |found: Vec<FoundRecord>| {
        world.worker.tenant_write(tenant.account, async |conn| hosted_zones::adopt(conn, &holder, &found).await).await
    };
    assert_eq!(adopt(Vec::new()).await.unwrap(), 0);
    assert_eq!(adopt(vec![found("A"), found("TXT")]).await.unwrap(), 1);
    let room = world.worker.tenant(tenant.account, async |conn| hosted_zones::count_room(conn, &holder).await).await.unwrap();
    assert_eq!(room, 498);
    let records = world.worker.platform(async |conn| hosted_zones::list_records(conn, &tenant.zone_name).await).await.unwrap();
    let listed: Vec<_> = records.iter().map(|record| (&*record.record_type, &*record.contents[0], record.adopted, record.held)).collect();
    assert_eq!(listed, [("A", "192.0.2.1", false, true), ("TXT", "found", true, true)]);
    let holder_now = world.worker.platform(async |conn| hosted_zones::find_holder(conn, &tenant.zone_name).await).await.unwrap();
    assert!(holder_now.unwrap().adopted);

    // What one tenant's row is told says nothing to another tenant.
    let (id, other) = (records[0].id, stranger.account);
    world.worker.tenant_write(other, async |conn| hosted_zones::record_refusal(conn, other, id, "no").await).await.unwrap();
    let refused = "SELECT count(*) FROM zone_records WHERE refusal IS NOT NULL";
    assert_eq!(world.database.value::<i64>(refused).await, 0);
    let mine = tenant.account;
    world.worker.tenant_write(mine, async |conn| hosted_zones::record_refusal(conn, mine, id, "no").await).await.unwrap();
    assert_eq!(world.database.value::<i64>(refused).await, 1);
    world.worker.tenant_write(mine, async |conn| hosted_zones::forget_refusals(conn, mine, &[id]).await).await.unwrap();
    assert_eq!(world.database.value::<i64>(refused).await, 0);

    world.database.run(&format!("UPDATE zones SET deleted_at = now() WHERE id = '{}'", tenant.zone.0)).await;
    assert!(matches!(adopt(vec![found("MX")]).await, Err(StoreError::Stale)));
}
