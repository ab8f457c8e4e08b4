//! Issuances that nobody wants any more, and keys that nothing is left of.

use zonecert_domain::id::{AccountId, CertificateId, KeyVersionId};
use zonecert_domain::issuance::{IssuanceEvent, IssuanceStatus, cancel_gives_up_at};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::order::OrderEvent;
use zonecert_domain::revocation::RevocationReason;
use zonecert_pki::PrivateKey;
use zonecert_store::issuances;
use zonecert_store::issuing::{self, Outcome};
use zonecert_store::orders::{self, OrderChange};
use zonecert_store::revocations::{self, NewRevocation};
use zonecert_store::{StoreError, private_keys};

use crate::world::{Issued, Requested, World, step_taken};

async fn cancel(world: &World, account: AccountId, certificate: CertificateId) -> bool {
    world.api.tenant_write(account, async |conn| issuances::request_cancel(conn, account, certificate).await).await.unwrap()
}

async fn delete(world: &World, certificate: CertificateId) {
    world.database.run(&format!("UPDATE certificates SET deleted_at = now() WHERE id = '{}'", certificate.0)).await;
}

async fn destroy(world: &World, account: AccountId, certificate: CertificateId) -> usize {
    world.api.tenant_write(account, async |conn| private_keys::destroy_unused(conn, account, certificate).await).await.unwrap()
}

async fn is_destroyed(world: &World, key: KeyVersionId) -> bool {
    world.database.value(&format!("SELECT destroyed_at IS NOT NULL AND sealed IS NULL FROM key_versions WHERE id = '{}'", key.0)).await
}

async fn key_is_deleted(world: &World, certificate: CertificateId) -> bool {
    let key = format!("(SELECT private_key_id FROM certificates WHERE id = '{}')", certificate.0);
    world.database.value(&format!("SELECT deleted_at IS NOT NULL FROM private_keys WHERE id = {key}")).await
}

#[tokio::test]
async fn whoever_works_on_a_cancelled_issuance_records_nothing_more_and_the_next_is_sent_for_at_once() {
    let world = World::new().await;
    let requested = world.requested().await;
    let Requested { account, certificate, issuance } = requested;
    let lease = world.lease(requested).await;
    world.shift(requested, "attempts = 3, step_failures = 2, next_wake_at = now() + interval '1 h'").await;
    let before = world.jobs(requested).await.len();

    assert!(cancel(&world, account, certificate).await);

    let late = world.held(&lease, async |conn| step_taken(conn, &lease).await).await;
    assert!(matches!(late, Err(StoreError::Stale)), "{late:?}");
    let kept =
        world.worker.tenant(account, async |conn| issuances::renew_lease(conn, &lease, std::time::Duration::from_mins(1)).await).await;
    assert!(matches!(kept, Err(StoreError::Stale)), "{kept:?}");
    assert_eq!(world.jobs(requested).await.len(), before + 1);
    let cancelled = world.issuance(requested).await;
    let cancelled_at = cancelled.cancel_requested_at.expect("it is on record");
    assert!(cancelled.progress().cancel_requested);
    assert_eq!((cancelled.attempts, cancelled.step_failures, cancelled.status), (0, 0, IssuanceStatus::Active));
    assert!((cancelled.give_up_at - cancel_gives_up_at(cancelled_at)).num_seconds().abs() < 1);

    // Once is enough: whoever has taken it up since is not disturbed.
    let next = world.lease(requested).await;
    assert!(next.fence > lease.fence);
    assert!(!cancel(&world, account, certificate).await);
    assert_eq!(world.jobs(requested).await.len(), before + 1);
    world.held(&next, async |conn| issuances::end(conn, &next, IssuanceEvent::Cancelled, None).await).await.unwrap();
    assert_eq!(world.database.value::<String>(&format!("SELECT status FROM issuances WHERE id = '{}'", issuance.0)).await, "cancelled");
    assert!(!cancel(&world, account, certificate).await, "nothing is left to cancel");
}

#[tokio::test]
async fn another_accounts_issuance_is_not_cancelled() {
    let world = World::new().await;
    let (requested, stranger) = (world.requested().await, world.tenant().await.account);
    for asked in [stranger, requested.account] {
        let certificate = requested.certificate;
        let tried = world.api.tenant_write(stranger, async |conn| issuances::request_cancel(conn, asked, certificate).await).await;
        assert!(!tried.unwrap());
        let tried = world.api.tenant_write(stranger, async |conn| private_keys::destroy_unused(conn, asked, certificate).await).await;
        assert_eq!(tried.unwrap(), 0);
    }
    assert_eq!(world.issuance(requested).await.cancel_requested_at, None);
}

#[tokio::test]
async fn what_becomes_of_its_issuance_does_not_touch_a_certificate_that_was_deleted() {
    let world = World::new().await;
    let requested = world.requested().await;
    let Requested { account, certificate, .. } = requested;
    delete(&world, certificate).await;
    for outcome in [Outcome::Running, Outcome::Cancelled, Outcome::Failed(serde_json::json!({}))] {
        world.worker.tenant_write(account, async |conn| issuing::record_outcome(conn, account, certificate, outcome).await).await.unwrap();
        let status: String = world.database.value(&format!("SELECT status FROM certificates WHERE id = '{}'", certificate.0)).await;
        assert_eq!(status, "pending");
    }
}

#[tokio::test]
async fn the_keys_of_a_deleted_certificate_are_destroyed_and_their_name_is_free_again() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let Issued { requested, key_version, .. } = world.issued(&tenant, "app").await;
    let (account, certificate) = (tenant.account, requested.certificate);
    // Of an order that brought nothing, too.
    let spare = world.key_version(requested, &PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap()).await;
    world
        .database
        .run(&format!(
        "INSERT INTO orders (id, account_id, issuance_id, certificate_id, directory_url, status, names, key_version_id, csr, finished_at)
         VALUES (gen_random_uuid(), '{}', '{}', '{}', 'https://ca.test', 'failed', '{{}}', '{}', '', now())",
        account.0, requested.issuance.0, certificate.0, spare.0
    ))
        .await;

    assert_eq!(destroy(&world, account, certificate).await, 0, "it was not deleted");
    delete(&world, certificate).await;
    assert_eq!(destroy(&world, account, certificate).await, 2);
    assert!(is_destroyed(&world, key_version).await && is_destroyed(&world, spare).await && key_is_deleted(&world, certificate).await);
    assert_eq!(destroy(&world, account, certificate).await, 0, "once is enough");

    let again = world.issued(&tenant, "app").await;
    let names: Vec<String> = world.database.column("SELECT name FROM private_keys WHERE deleted_at IS NULL").await;
    assert_eq!(names, ["app"]);
    assert!(!is_destroyed(&world, again.key_version).await);
}

#[tokio::test]
async fn a_key_that_is_shared_stays_until_the_last_certificate_that_has_it_goes() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let first = world.issued(&tenant, "first").await;
    let second = world.request(&tenant, "second").await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    world
        .database
        .run(&format!(
            "UPDATE certificates SET private_key_id = (SELECT private_key_id FROM certificates WHERE id = '{}') WHERE id = '{}'",
            first.requested.certificate.0, second.certificate.0
        ))
        .await;
    let second = world.issue_with(second, &key, first.key_version).await;

    delete(&world, first.requested.certificate).await;
    assert_eq!(destroy(&world, account, first.requested.certificate).await, 0);
    assert!(!key_is_deleted(&world, first.requested.certificate).await);
    // A version alone is reason enough, if the certificate has another key by now.
    world.database.run(&format!("UPDATE certificates SET private_key_id = NULL WHERE id = '{}'", second.requested.certificate.0)).await;
    assert_eq!(destroy(&world, account, first.requested.certificate).await, 0);
    delete(&world, second.requested.certificate).await;
    assert_eq!(destroy(&world, account, second.requested.certificate).await, 1);
    assert!(is_destroyed(&world, first.key_version).await);
}

#[tokio::test]
async fn a_key_stays_while_an_order_is_under_way_or_a_revocation_is_not_confirmed() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let requested = world.request(&tenant, "app").await;
    let (account, certificate) = (tenant.account, requested.certificate);
    let key = world.key_version(requested, &PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap()).await;
    let lease = world.lease(requested).await;
    let (order, _) = world.begin_order(requested, &lease).await;
    world.finalize(order, key).await;
    delete(&world, certificate).await;
    assert_eq!(destroy(&world, account, certificate).await, 0, "an order is under way");

    let late = world.held(&lease, async |conn| {
        let live = issuances::get_issuance(conn, account, requested.issuance).await?.live_order.unwrap();
        orders::advance(conn, account, &live, OrderEvent::Abandoned, OrderChange::default(), None).await?;
        let reason = RevocationReason::CessationOfOperation;
        let not_after = crate::world::in_a_day();
        let wish = NewRevocation { certificate, version: None, order, leaf_der: b"late", not_after, reason };
        revocations::insert(conn, account, &wish, "system").await
    });
    let late = late.await.unwrap();
    assert_eq!(destroy(&world, account, certificate).await, 0, "the CA has not confirmed");
    world
        .database
        .run(&format!("UPDATE revocations SET status = 'expired', next_attempt_at = NULL, finished_at = now() WHERE id = '{}'", late.0))
        .await;
    assert_eq!(destroy(&world, account, certificate).await, 1);
}
