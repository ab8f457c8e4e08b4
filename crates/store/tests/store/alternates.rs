//! Dual certificates: the version with the other key follows the first, and neither waits for the other.

use chrono::TimeDelta;
use serde_json::json;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{IssuanceId, VersionId};
use zonecert_domain::issuance::{IssuanceEvent, IssuanceReason};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::revocation::RevocationReason;
use zonecert_store::issuing::{self, Outcome};
use zonecert_store::renewals_by_hand::{self, LiveIssuance};
use zonecert_store::{StoreError, alternates, issuances, private_keys, renewals, revocations, versions_in_use};

use crate::renewals::{get, issue, issued, moment, tenant_on};
use crate::world::{Requested, Tenant, World};

/// A certificate of 90 days that was made a dual one, has been valid for so many days, and whose issuance for the other key has just begun.
async fn dual(world: &World, tenant: &Tenant, label: &str, days: i64) -> Requested {
    let requested = world.request(tenant, label).await;
    let Requested { account, certificate, .. } = requested;
    let made =
        world.api.tenant_write(account, async |conn| alternates::insert_alternate(conn, account, certificate, KeyAlgorithm::Rsa2048).await);
    made.await.unwrap();
    issue(world, requested, TimeDelta::days(days)).await;
    live(world, requested).await.expect("the other key comes next")
}

/// The same certificate with its live issuance.
async fn live(world: &World, requested: Requested) -> Option<Requested> {
    let query = format!("SELECT id::text FROM issuances WHERE certificate_id = '{}' AND status = 'active'", requested.certificate.0);
    let id = world.database.column::<String>(&query).await.pop()?.parse().unwrap();
    Some(Requested { issuance: IssuanceId(id), ..requested })
}

async fn fail(world: &World, requested: Requested) {
    let Requested { account, certificate, .. } = requested;
    let lease = world.lease(requested).await;
    let failed = world.held(&lease, async |conn| {
        issuances::end(conn, &lease, IssuanceEvent::Failed, Some(json!({"code": "caa"}))).await?;
        issuing::record_outcome(conn, account, certificate, Outcome::Failed(json!({"code": "caa"}))).await
    });
    failed.await.unwrap();
}

async fn begin_if_due(world: &World, requested: Requested) -> Option<Requested> {
    let Requested { account, certificate, .. } = requested;
    let begun = world.worker.tenant_write(account, async |conn| renewals::begin_if_due(conn, account, certificate).await).await.unwrap();
    begun.map(|issuance| Requested { issuance, ..requested })
}

async fn in_use(world: &World, requested: Requested) -> (Option<VersionId>, Option<VersionId>) {
    let certificate = get(world, requested).await;
    (certificate.current_version.map(|version| version.id), certificate.alternate.unwrap().version.map(|version| version.id))
}

#[tokio::test]
async fn the_other_key_follows_the_first_and_both_are_in_use() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let second = dual(&world, &tenant, "app", 1).await;
    let issuance = world.issuance(second).await;
    assert!(issuance.alternate);
    assert_eq!((issuance.reason, issuance.live_order.is_none()), (IssuanceReason::First, true));
    assert_eq!(world.jobs(second).await.len(), 1);
    let before = get(&world, second).await;
    assert_eq!((before.status, before.downloadable), (CertificateStatus::Issued, true), "issued as soon as the first is");
    assert!(!before.alternate.as_ref().unwrap().downloadable);

    let outcome = Outcome::running(&issuance);
    let Requested { account, certificate, .. } = second;
    world.worker.tenant_write(account, async |conn| issuing::record_outcome(conn, account, certificate, outcome).await).await.unwrap();
    assert_eq!(get(&world, second).await.status, CertificateStatus::Issued);
    let version = issue(&world, second, TimeDelta::days(1)).await;
    let after = get(&world, second).await;
    let alternate = after.alternate.unwrap();
    assert_eq!(after.current_version.unwrap().id, before.current_version.unwrap().id);
    assert_eq!((alternate.version.unwrap().id, alternate.downloadable), (version, true));
    assert_ne!(after.private_key, Some(alternate.private_key));
    assert_eq!((after.status, after.expires_at, after.last_error), (CertificateStatus::Issued, before.expires_at, None));
    assert!(live(&world, second).await.is_none(), "nothing follows the second");
    assert_eq!(moment(&world, second, "renewal_due_at").await, after.next_renewal_at);
    // Each key has its own material.
    let keys = format!(
        "SELECT count(DISTINCT private_key_id) FROM key_versions JOIN versions ON key_version_id = key_versions.id WHERE certificate_id = '{}'",
        certificate.0
    );
    assert_eq!(world.database.value::<i64>(&keys).await, 2);
}

#[tokio::test]
async fn a_certificate_with_one_key_has_nothing_follow() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let one = issued(&world, &tenant, "app", 1).await;
    assert!(live(&world, one).await.is_none() && get(&world, one).await.alternate.is_none());
}

#[tokio::test]
async fn a_renewal_renews_both() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let second = dual(&world, &tenant, "app", 61).await;
    issue(&world, second, TimeDelta::days(61)).await;
    let before = in_use(&world, second).await;
    let first = begin_if_due(&world, second).await.expect("it is due");
    assert!(!world.issuance(first).await.alternate);
    let renewed = issue(&world, first, TimeDelta::zero()).await;
    assert_eq!(in_use(&world, first).await, (Some(renewed), before.1), "what was in use of the other key stays until the next is issued");
    let second = live(&world, first).await.unwrap();
    let issuance = world.issuance(second).await;
    assert_eq!((issuance.alternate, issuance.reason), (true, IssuanceReason::Renewal));
    let other = issue(&world, second, TimeDelta::zero()).await;
    assert_eq!(in_use(&world, second).await, (Some(renewed), Some(other)));
    assert!(begin_if_due(&world, second).await.is_none());
}

#[tokio::test]
async fn where_the_other_key_fails_the_first_stays_and_only_the_other_is_tried_again() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let second = dual(&world, &tenant, "app", 1).await;
    let (version, _) = in_use(&world, second).await;
    fail(&world, second).await;
    let failed = get(&world, second).await;
    assert_eq!((failed.status, failed.downloadable, failed.current_version.map(|v| v.id)), (CertificateStatus::Issued, true, version));
    assert_eq!(failed.last_error, Some(json!({"code": "caa"})));
    let (planned, due) = (failed.next_renewal_at.unwrap(), moment(&world, second, "renewal_due_at").await.unwrap());
    assert!(planned - due > TimeDelta::days(50), "the first renews as planned, the other is tried again within a day");
    assert!(begin_if_due(&world, second).await.is_none(), "but not at once");

    world.run_replica("UPDATE issuances SET finished_at = finished_at - interval '2 days' WHERE status = 'failed'").await;
    world.run_replica("UPDATE versions SET created_at = created_at - interval '3 days'").await;
    let again = begin_if_due(&world, second).await.expect("a day later");
    assert!(world.issuance(again).await.alternate);
    let other = issue(&world, again, TimeDelta::zero()).await;
    assert_eq!(in_use(&world, again).await, (version, Some(other)), "the first was not asked for again");
    assert_eq!(get(&world, again).await.last_error, None);
    assert_eq!(moment(&world, again, "renewal_due_at").await, Some(planned));
}

#[tokio::test]
async fn a_renewal_by_hand_while_the_other_key_rests_begins_with_the_first() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let second = dual(&world, &tenant, "app", 1).await;
    let Requested { account, certificate, issuance } = second;
    let find =
        async || world.api.tenant_write(account, async |conn| renewals_by_hand::find_live(conn, account, certificate).await).await.unwrap();
    world.shift(second, "next_wake_at = now() + interval '1 h'").await;
    assert_eq!(find().await, Some(LiveIssuance::Resting(issuance)));
    world.shift(second, "next_wake_at = now()").await;
    let lease = world.lease(second).await;
    world.begin_order(second, &lease).await;
    world.shift(second, "next_wake_at = now() + interval '1 h', lease_owner = NULL, lease_expires_at = NULL").await;
    assert_eq!(find().await, Some(LiveIssuance::UnderWay(issuance)), "its order waits for the CA");
    world.database.run("UPDATE orders SET status = 'failed', finished_at = now() WHERE finished_at IS NULL").await;

    world.api.tenant_write(account, async |conn| renewals_by_hand::resume(conn, account, issuance).await).await.unwrap();
    let resumed = world.issuance(second).await;
    assert_eq!((resumed.alternate, resumed.reason), (false, IssuanceReason::ByHand));
    let version = issue(&world, second, TimeDelta::zero()).await;
    assert_eq!(in_use(&world, second).await.0, Some(version));
    assert!(world.issuance(live(&world, second).await.unwrap()).await.alternate, "and the other follows");
}

#[tokio::test]
async fn an_earlier_version_takes_the_place_of_the_one_with_the_same_key() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let second = dual(&world, &tenant, "app", 61).await;
    let old = issue(&world, second, TimeDelta::days(61)).await;
    let first = begin_if_due(&world, second).await.unwrap();
    issue(&world, first, TimeDelta::zero()).await;
    let second = live(&world, first).await.unwrap();
    let new = issue(&world, second, TimeDelta::zero()).await;
    let Requested { account, certificate, .. } = second;
    let (current, _) = in_use(&world, second).await;

    let usable = async |id: VersionId| {
        let read =
            world.api.tenant(account, async |conn| zonecert_store::version_history::get_version(conn, account, certificate, id).await);
        read.await
    };
    // Chains of these tests are empty, which the history reads as a key of no algorithm.
    let old_version = usable(old).await.unwrap();
    assert!(old_version.is_alternate && !old_version.is_current && usable(new).await.unwrap().is_current);
    let back = world
        .api
        .tenant_write(account, async |conn| versions_in_use::activate(conn, account, certificate, old_version.usable(), "user_1").await);
    back.await.unwrap();
    assert_eq!(in_use(&world, second).await, (current, Some(old)));
    assert!(begin_if_due(&world, second).await.is_none(), "it is kept");

    // What is revoked at the CA gives its place to the other.
    world.run_replica(&format!("UPDATE versions SET revoked_at = now() WHERE id = '{}'", old.0)).await;
    world.worker.tenant_write(account, async |conn| issuing::record_revoked(conn, account, certificate).await).await.unwrap();
    assert_eq!(in_use(&world, second).await, (current, Some(new)));
    assert_eq!(get(&world, second).await.status, CertificateStatus::Issued);
}

#[tokio::test]
async fn a_deleted_certificate_leaves_neither_key() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let second = dual(&world, &tenant, "app", 1).await;
    issue(&world, second, TimeDelta::days(1)).await;
    let Requested { account, certificate, .. } = second;
    let destroy = async || {
        let destroyed = async |conn: &mut zonecert_store::Connection| -> Result<usize, StoreError> {
            private_keys::destroy_unused(conn, account, certificate).await
        };
        world.api.tenant_write(account, destroyed).await.unwrap()
    };
    assert_eq!(destroy().await, 0, "both are in use");
    world.database.run(&format!("UPDATE certificates SET deleted_at = now() WHERE id = '{}'", certificate.0)).await;
    assert_eq!(destroy().await, 2);
    let left = "SELECT count(*) FROM private_keys WHERE deleted_at IS NULL";
    assert_eq!(world.database.value::<i64>(left).await, 0);
}

#[tokio::test]
async fn revoking_a_certificate_revokes_the_versions_with_both_keys() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let requested = world.request(&tenant, "app").await;
    let Requested { account, certificate, .. } = requested;
    let made =
        world.api.tenant_write(account, async |conn| alternates::insert_alternate(conn, account, certificate, KeyAlgorithm::Rsa2048).await);
    made.await.unwrap();
    let issue_next = async |requested: Requested, algorithm: KeyAlgorithm| {
        let key = zonecert_pki::PrivateKey::generate(algorithm).unwrap();
        let key_version = world.key_version(requested, &key).await;
        world.issue_with(requested, &key, key_version).await
    };
    issue_next(requested, KeyAlgorithm::EcdsaP256).await;
    issue_next(live(&world, requested).await.unwrap(), KeyAlgorithm::Rsa2048).await;
    let wished = world
        .api
        .tenant_write(account, async |conn| revocations::request(conn, account, certificate, RevocationReason::Superseded, "user_1").await);
    assert_eq!(wished.await.unwrap(), 2);
}
