//! Wishes for revocation: who may wish, who may act on them, and what they end in.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use zonecert_domain::id::{AccountId, CertificateId, RevocationId};
use zonecert_domain::issuance::IssuanceReason;
use zonecert_domain::revocation::{RevocationReason, RevocationStatus};
use zonecert_store::orders::NewOrder;
use zonecert_store::revocations::{self, Claim, Revocation};
use zonecert_store::{StoreError, issuances, issuing};

use crate::world::{DIRECTORY, Issued, World, in_a_day, now};

const PUT_OFF: Duration = Duration::from_mins(1);

async fn request(world: &World, account: AccountId, certificate: CertificateId) -> usize {
    let reason = RevocationReason::Superseded;
    let made = world.api.tenant_write(account, async |conn| revocations::request(conn, account, certificate, reason, "user_1").await);
    made.await.unwrap()
}

async fn list(world: &World, account: AccountId, certificate: CertificateId) -> Vec<Revocation> {
    world.api.tenant(account, async |conn| revocations::list_revocations(conn, account, certificate).await).await.unwrap()
}

async fn try_claim(world: &World, account: AccountId, id: RevocationId) -> Option<Claim> {
    world.worker.tenant(account, async |conn| revocations::claim(conn, account, id, PUT_OFF).await).await.unwrap()
}

/// Changes the row of a revocation behind everybody's back.
async fn shift(world: &World, id: RevocationId, change: &str) {
    world.database.run(&format!("UPDATE revocations SET {change} WHERE id = '{}'", id.0)).await;
}

async fn certificate_status(world: &World, certificate: CertificateId) -> String {
    world.database.value(&format!("SELECT status FROM certificates WHERE id = '{}'", certificate.0)).await
}

async fn job_keys(world: &World) -> Vec<String> {
    world.database.column("SELECT idempotency_key FROM apalis.jobs WHERE job_type = 'revoke' ORDER BY id").await
}

/// A tenant's issued certificate with a revocation, and the claim to it.
async fn claimed(world: &World) -> (Issued, Claim) {
    let issued = world.issued(&world.tenant().await, "app").await;
    let (account, certificate) = (issued.requested.account, issued.requested.certificate);
    assert_eq!(request(world, account, certificate).await, 1);
    let id = list(world, account, certificate).await[0].id;
    let claim = try_claim(world, account, id).await.expect("it is due at once");
    (issued, claim)
}

#[tokio::test]
async fn every_version_that_could_be_of_use_is_revoked_once() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let issued = world.issued(&tenant, "app").await;
    let (account, certificate) = (tenant.account, issued.requested.certificate);
    // One more of each kind: still valid, past its end, revoked before, and uploaded.
    for (number, not_after, revoked_at, source) in [
        (2, "now() + interval '1 day'", "NULL", "acme"),
        (3, "now()", "NULL", "acme"),
        (4, "now() + interval '1 day'", "now()", "acme"),
        (5, "now() + interval '1 day'", "NULL", "upload"),
    ] {
        world.database.run(&format!(
            "INSERT INTO orders SELECT (jsonb_populate_record(orders, jsonb_build_object('id', gen_random_uuid(), 'url', 'https://ca.test/{number}'))).* FROM orders WHERE id = '{order}';
             INSERT INTO versions SELECT (jsonb_populate_record(versions, jsonb_build_object('id', gen_random_uuid(), 'number', {number}, 'source', '{source}',
                 'order_id', (SELECT id FROM orders WHERE url = 'https://ca.test/{number}' AND '{source}' = 'acme'), 'not_after', {not_after}, 'revoked_at', {revoked_at}))).*
             FROM versions WHERE id = '{version}'",
            order = issued.order.0, version = issued.version.0
        )).await;
    }

    assert_eq!(request(&world, account, certificate).await, 2);
    assert_eq!(request(&world, account, certificate).await, 0, "they are about to be revoked");
    let wished = list(&world, account, certificate).await;
    assert_eq!(wished.len(), 2);
    let oldest = &wished[1];
    assert_eq!(oldest.version, Some(issued.version));
    assert_eq!((oldest.reason, &*oldest.requested_by, oldest.status), (RevocationReason::Superseded, "user_1", RevocationStatus::Active));
    assert!(oldest.next_attempt_at.is_some() && oldest.finished_at.is_none() && oldest.failure.is_none());
    assert_eq!(job_keys(&world).await.len(), 2);
    let told: Vec<String> = world.database.column("SELECT details ->> 'reason' FROM events WHERE event = 'revocation_requested'").await;
    assert_eq!(told, ["superseded"], "one event for both, and none for nothing");

    let claim = try_claim(&world, account, oldest.id).await.expect("it is due at once");
    assert_eq!((claim.order, claim.key_version, &*claim.directory_url), (issued.order, Some(issued.key_version), DIRECTORY));
    assert_eq!((claim.not_after, claim.attempts, claim.reason), (issued.not_after, 1, RevocationReason::Superseded));
    assert!(claim.acme_account_id.is_some());
    let pem: String = world.database.value(&format!("SELECT chain_pem FROM versions WHERE id = '{}'", issued.version.0)).await;
    assert_eq!(zonecert_pki::CertificateChain::parse_pem(&pem).unwrap().leaf_der().unwrap(), claim.leaf_der);
}

#[tokio::test]
async fn all_of_an_account_is_revoked_what_was_deleted_included_and_nothing_of_another() {
    let world = World::new().await;
    let (mine, theirs) = (world.tenant().await, world.tenant().await);
    let (one, deleted, foreign) = (world.issued(&mine, "one").await, world.issued(&mine, "two").await, world.issued(&theirs, "one").await);
    world.request(&mine, "not-issued").await;
    world.database.run(&format!("UPDATE certificates SET deleted_at = now() WHERE id = '{}'", deleted.requested.certificate.0)).await;
    let revoke_all = async || {
        let account = mine.account;
        let made = world.api.tenant_write(account, async |conn| {
            revocations::request_all(conn, account, RevocationReason::CessationOfOperation, "user_1").await
        });
        made.await.unwrap()
    };
    assert_eq!(revoke_all().await, 2);
    assert_eq!(revoke_all().await, 0);
    for issued in [one, deleted] {
        assert_eq!(list(&world, mine.account, issued.requested.certificate).await.len(), 1);
    }
    assert!(list(&world, theirs.account, foreign.requested.certificate).await.is_empty());
}

#[tokio::test]
async fn nobody_has_another_accounts_certificate_revoked_or_sees_its_revocations() {
    let world = World::new().await;
    let (issued, claim) = claimed(&world).await;
    let (owner, certificate) = (issued.requested.account, issued.requested.certificate);
    shift(&world, claim.id, "status = 'failed', next_attempt_at = NULL, finished_at = now()").await;
    let stranger = world.tenant().await.account;
    for asked in [stranger, owner] {
        let tried = world.api.tenant_write(stranger, async |conn| {
            revocations::request(conn, asked, certificate, RevocationReason::KeyCompromise, "user_2").await
        });
        assert_eq!(tried.await.unwrap(), 0);
        let seen = world.api.tenant(stranger, async |conn| revocations::list_revocations(conn, asked, certificate).await).await;
        assert!(seen.unwrap().is_empty());
    }
    shift(&world, claim.id, "status = 'active', next_attempt_at = now(), finished_at = NULL").await;
    assert!(try_claim(&world, stranger, claim.id).await.is_none());
    assert_eq!(request(&world, owner, certificate).await, 0);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM revocations").await, 1);
}

#[tokio::test]
async fn a_revocation_is_claimed_by_one_at_a_time_and_again_when_that_one_is_gone() {
    let world = World::new().await;
    let (issued, claim) = claimed(&world).await;
    let account = issued.requested.account;
    assert!(try_claim(&world, account, claim.id).await.is_none(), "somebody is about to ask the CA");
    shift(&world, claim.id, "next_attempt_at = now()").await;
    let many = futures::future::join_all((0..8).map(|_| try_claim(&world, account, claim.id))).await;
    let won: Vec<Claim> = many.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert_eq!(won[0].attempts, 2);

    // Whoever was taken for dead may not say that it failed, and may say that it succeeded.
    let trouble = world.worker.tenant_write(account, async |conn| {
        revocations::record_trouble(conn, account, &claim, json!({}), now() + TimeDelta::days(1)).await
    });
    assert!(matches!(trouble.await, Err(StoreError::Stale)));
    let end = world.worker.tenant_write(account, async |conn| {
        revocations::record_end(conn, account, &claim, RevocationStatus::Failed, Some(json!({}))).await
    });
    assert!(matches!(end.await, Err(StoreError::Stale)));
    let succeed = async |claim: &Claim| {
        let recorded = world
            .worker
            .tenant_write(account, async |conn| revocations::record_succeeded(conn, account, claim, RevocationReason::Superseded).await);
        recorded.await
    };
    succeed(&claim).await.unwrap();
    assert!(matches!(succeed(&won[0]).await, Err(StoreError::Stale)), "it is on record already");
}

#[tokio::test]
async fn trouble_is_shown_and_the_next_job_is_sent_for_the_moment_that_was_chosen() {
    let world = World::new().await;
    let (issued, claim) = claimed(&world).await;
    let (account, certificate) = (issued.requested.account, issued.requested.certificate);
    let later = now() + TimeDelta::hours(1);
    let failure = json!({ "code": "ca_unreachable" });
    let recorded =
        world.worker.tenant_write(account, async |conn| revocations::record_trouble(conn, account, &claim, failure.clone(), later).await);
    recorded.await.unwrap();
    let seen = list(&world, account, certificate).await;
    assert_eq!((seen[0].status, seen[0].failure.as_ref()), (RevocationStatus::Active, Some(&failure)));
    assert!((seen[0].next_attempt_at.unwrap() - later).num_seconds().abs() < 1);
    let due: Vec<bool> =
        world.database.column("SELECT run_at > now() + interval '59 min' FROM apalis.jobs WHERE job_type = 'revoke' ORDER BY id").await;
    assert_eq!(due, [false, true]);
    assert!(try_claim(&world, account, claim.id).await.is_none(), "not before its time");
    assert_eq!(certificate_status(&world, certificate).await, "issued");
}

#[tokio::test]
async fn a_certificate_is_revoked_unless_something_is_under_way_for_it() {
    let world = World::new().await;
    for (live, status) in [(None, "revoked"), (Some(false), "pending"), (Some(true), "validating")] {
        let (issued, claim) = claimed(&world).await;
        let (account, certificate) = (issued.requested.account, issued.requested.certificate);
        if let Some(has_order) = live {
            let begun = world.worker.tenant_write(account, async |conn| {
                let issuance = issuances::insert_issuance(conn, account, certificate, IssuanceReason::ByHand, in_a_day()).await?;
                if has_order {
                    let new = NewOrder {
                        issuance,
                        certificate,
                        directory_url: DIRECTORY,
                        own_acme_account: None,
                        names: &[],
                        replaces: None,
                        profile: None,
                    };
                    zonecert_store::orders::insert_order(conn, account, &new).await?;
                }
                Ok::<_, StoreError>(())
            });
            begun.await.unwrap();
        }
        let recorded = world.worker.tenant_write(account, async |conn| {
            revocations::record_succeeded(conn, account, &claim, RevocationReason::Unspecified).await?;
            issuing::record_revoked(conn, account, certificate).await
        });
        recorded.await.unwrap();
        assert_eq!(certificate_status(&world, certificate).await, status);
        let version = format!("SELECT revoked_at IS NOT NULL AND revocation_reason = 0 FROM versions WHERE id = '{}'", issued.version.0);
        assert!(world.database.value::<bool>(&version).await);
        let ended = list(&world, account, certificate).await;
        assert_eq!((ended[0].status, ended[0].reason), (RevocationStatus::Succeeded, RevocationReason::Unspecified));
        assert!(ended[0].finished_at.is_some() && ended[0].next_attempt_at.is_none());
        assert_eq!(request(&world, account, certificate).await, 0, "nothing is left to be revoked");
    }
}

#[tokio::test]
async fn a_revocation_that_was_refused_can_be_wished_for_again() {
    let world = World::new().await;
    let (issued, claim) = claimed(&world).await;
    let (account, certificate) = (issued.requested.account, issued.requested.certificate);
    let refused = json!({ "code": "revocation_refused" });
    let ended = world.worker.tenant_write(account, async |conn| {
        revocations::record_end(conn, account, &claim, RevocationStatus::Failed, Some(refused.clone())).await
    });
    ended.await.unwrap();
    assert_eq!(request(&world, account, certificate).await, 1);
    let seen: Vec<_> =
        list(&world, account, certificate).await.into_iter().map(|revocation| (revocation.status, revocation.failure)).collect();
    assert_eq!(seen, [(RevocationStatus::Active, None), (RevocationStatus::Failed, Some(refused))]);
}

#[tokio::test]
async fn a_revocation_whose_job_got_lost_is_found_and_any_number_of_sweepers_send_one() {
    let world = World::new().await;
    let (issued, claim) = claimed(&world).await;
    let account = issued.requested.account;
    let grace = Duration::from_secs(10);
    let due = async || world.worker.platform(async |conn| revocations::list_due(conn, 10).await).await.unwrap();
    let wake = async || world.worker.tenant(account, async |conn| revocations::wake_forgotten(conn, claim.id, grace).await).await.unwrap();
    assert_eq!(due().await, [], "somebody is about to ask the CA");

    shift(&world, claim.id, "next_attempt_at = now() - interval '5 s'").await;
    assert_eq!(due().await, [(account, claim.id)]);
    assert!(!wake().await, "its job may still come");
    // Twice, as when the job of the sweeper gets lost as well.
    for sent in 2..4 {
        shift(&world, claim.id, "next_attempt_at = now() - interval '11 s'").await;
        let woken = futures::future::join_all((0..8).map(|_| wake())).await;
        assert_eq!(woken.into_iter().filter(|woken| *woken).count(), 1);
        assert_eq!(job_keys(&world).await.len(), sent);
    }
    shift(&world, claim.id, "status = 'expired', next_attempt_at = NULL, finished_at = now()").await;
    assert_eq!(due().await, []);
    assert!(!wake().await);
}
