//! Which version is in use: the newest, what somebody goes back to, and what takes the place of one that is over (requirements S0.2).

use std::time::Duration;

use chrono::TimeDelta;
use zonecert_domain::id::{AccountId, CertificateId, VersionId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::revocation::RevocationReason;
use zonecert_pki::PrivateKey;
use zonecert_store::certificates::Certificate;
use zonecert_store::version_history::{self, Position, RecordedVersion};
use zonecert_store::{StoreError, issuing, renewals_by_hand, revocations, versions_in_use};

use crate::renewals::{events, get, moment, tenant_on};
use crate::world::{Issued, Requested, World, now};

/// A certificate with so many versions, oldest first, all of them valid and with keys of their own.
async fn issued(world: &World, plan: &str, versions: usize) -> (Requested, Vec<Issued>) {
    let tenant = tenant_on(world, plan).await;
    let first = world.issued(&tenant, "app").await;
    let mut all = vec![first];
    while all.len() < versions {
        all.push(another(world, first.requested, None).await);
    }
    (first.requested, all)
}

/// One more version, with the same key as another or with one of its own.
async fn another(world: &World, requested: Requested, same_key: Option<(&PrivateKey, &Issued)>) -> Issued {
    let Requested { account, certificate, .. } = requested;
    let begun = world.api.tenant_write(account, async |conn| renewals_by_hand::begin(conn, account, certificate).await);
    let requested = Requested { issuance: begun.await.unwrap(), ..requested };
    if let Some((key, issued)) = same_key {
        return world.issue_with(requested, key, issued.key_version).await;
    }
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let key_version = world.key_version(requested, &key).await;
    world.issue_with(requested, &key, key_version).await
}

async fn list(world: &World, Requested { account, certificate, .. }: Requested, after: Option<Position>) -> Vec<RecordedVersion> {
    world.api.tenant(account, async |conn| version_history::list_versions(conn, account, certificate, after, 100).await).await.unwrap()
}

async fn version(world: &World, requested: Requested, id: VersionId) -> RecordedVersion {
    let Requested { account, certificate, .. } = requested;
    world.api.tenant(account, async |conn| version_history::get_version(conn, account, certificate, id).await).await.unwrap()
}

async fn activate(world: &World, requested: Requested, id: VersionId) {
    let Requested { account, certificate, .. } = requested;
    let usable = version(world, requested, id).await.usable();
    let done = world.api.tenant_write(account, async |conn| versions_in_use::activate(conn, account, certificate, usable, "user_1").await);
    done.await.unwrap();
}

async fn wish_revoked(world: &World, requested: Requested, id: VersionId, reason: RevocationReason) -> bool {
    let Requested { account, certificate, .. } = requested;
    let wished =
        world.api.tenant_write(account, async |conn| revocations::request_version(conn, account, certificate, id, reason, "user_1").await);
    wished.await.unwrap()
}

/// Has the CA confirm the revocation of a version.
async fn revoke(world: &World, requested: Requested, id: VersionId, reason: RevocationReason) {
    let Requested { account, certificate, .. } = requested;
    assert!(wish_revoked(world, requested, id, reason).await);
    confirm(world, account, certificate, id).await;
}

async fn confirm(world: &World, account: AccountId, certificate: CertificateId, id: VersionId) {
    let all = world.api.tenant(account, async |conn| revocations::list_revocations(conn, account, certificate).await).await.unwrap();
    let revocation = all.iter().find(|revocation| revocation.version == Some(id)).unwrap().id;
    let claimed = world.worker.tenant(account, async |conn| revocations::claim(conn, account, revocation, Duration::from_mins(1)).await);
    let claim = claimed.await.unwrap().expect("it is due at once");
    let recorded = world.worker.tenant_write(account, async |conn| {
        revocations::record_succeeded(conn, account, &claim, claim.reason).await?;
        issuing::record_revoked(conn, account, certificate).await
    });
    recorded.await.unwrap();
}

/// Marks the version in use as past its end, if it is.
async fn expire(world: &World, Requested { account, certificate, .. }: Requested) -> bool {
    world.worker.tenant_write(account, async |conn| issuing::record_expired(conn, account, certificate).await).await.unwrap()
}

/// Changes the row of a version, which nobody else can.
async fn shift(world: &World, id: VersionId, change: &str) {
    world.run_replica(&format!("UPDATE versions SET {change} WHERE id = '{}'", id.0)).await;
}

fn current(certificate: &Certificate) -> VersionId {
    certificate.current_version.as_ref().unwrap().id
}

#[tokio::test]
async fn versions_are_listed_newest_first_with_all_that_is_known_of_them() {
    let world = World::new().await;
    let (requested, all) = issued(&world, "pro", 3).await;
    let seen = list(&world, requested, None).await;
    assert_eq!(seen.iter().map(|version| version.number).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(seen.iter().map(|version| version.is_current).collect::<Vec<_>>(), [true, false, false]);
    let behind = list(&world, requested, Some(Position { number: 2 })).await;
    assert_eq!(behind.iter().map(|version| version.id).collect::<Vec<_>>(), [all[0].version]);
    let (newest, made) = (&seen[0], &all[2]);
    assert_eq!((newest.id, newest.order, newest.key_version), (made.version, Some(made.order), made.key_version));
    assert_eq!((newest.key_algorithm, &*newest.source), (Some(KeyAlgorithm::EcdsaP256), "acme"));
    assert_eq!(newest.directory_url.as_deref(), Some(crate::world::DIRECTORY));
    assert_eq!((newest.names.clone(), newest.not_after), (vec!["app.example.test".to_owned()], made.not_after));
    assert!(newest.is_valid && !newest.is_unwanted && newest.revocation.is_none() && newest.revoked_at.is_none());

    let stranger = world.tenant().await.account;
    for account in [stranger, requested.account] {
        let certificate = requested.certificate;
        let hidden = world.api.tenant(stranger, async |conn| version_history::list_versions(conn, account, certificate, None, 9).await);
        assert!(hidden.await.unwrap().is_empty());
        let id = made.version;
        let hidden = world.api.tenant(stranger, async |conn| version_history::get_version(conn, account, certificate, id).await);
        assert!(matches!(hidden.await, Err(StoreError::NotFound)));
    }
    let other = world.issued(&world.tenant().await, "app").await.requested;
    let (account, id) = (requested.account, made.version);
    let elsewhere = world.api.tenant(account, async |conn| version_history::get_version(conn, account, other.certificate, id).await).await;
    assert!(matches!(elsewhere, Err(StoreError::NotFound)), "of another certificate");
}

#[tokio::test]
async fn what_somebody_goes_back_to_is_in_use_until_the_next_version_is_issued() {
    let world = World::new().await;
    let (requested, all) = issued(&world, "pro", 2).await;
    // The first is two thirds through: its renewal is due already.
    shift(&world, all[0].version, "not_before = now() - interval '70 days', not_after = now() + interval '20 days'").await;
    world
        .database
        .run("UPDATE certificates SET renewal_info_start = now(), renewal_info_end = now(), renewal_info_due_at = now() + interval '1 day'")
        .await;

    activate(&world, requested, all[0].version).await;
    let certificate = get(&world, requested).await;
    assert_eq!((current(&certificate), certificate.status.as_str(), certificate.downloadable), (all[0].version, "issued", true));
    assert_eq!(certificate.expires_at, Some(version(&world, requested, all[0].version).await.not_after));
    assert_eq!(certificate.issued_at, Some(version(&world, requested, all[0].version).await.created_at));
    let renewal = certificate.next_renewal_at.unwrap();
    assert!((renewal - now() - TimeDelta::days(1)).num_seconds().abs() < 60, "{renewal}");
    assert_eq!(moment(&world, requested, "renewal_due_at").await, Some(renewal));
    assert!(certificate.renewal_info.is_none(), "what the CA said was of the other version");
    assert!(moment(&world, requested, "renewal_info_due_at").await.unwrap() <= now(), "it is asked about this one at once");
    assert_eq!(events(&world, requested).await.last().unwrap(), "version_activated");

    let third = another(&world, requested, None).await;
    assert_eq!(current(&get(&world, requested).await), third.version);
    assert_eq!(moment(&world, requested, "version_activated_at").await, None);
}

#[tokio::test]
async fn the_newest_of_use_takes_the_place_of_a_version_in_use_that_was_revoked() {
    let world = World::new().await;
    let (requested, all) = issued(&world, "pro", 4).await;
    // Of the two between, the CA is being asked to revoke one, and the other has run out.
    assert!(wish_revoked(&world, requested, all[2].version, RevocationReason::Superseded).await);
    assert!(version(&world, requested, all[2].version).await.is_unwanted);
    shift(&world, all[1].version, "not_after = now() - interval '1 second'").await;

    revoke(&world, requested, all[3].version, RevocationReason::Superseded).await;
    let certificate = get(&world, requested).await;
    assert_eq!((current(&certificate), certificate.status.as_str(), certificate.downloadable), (all[0].version, "issued", true));
    assert!(certificate.next_renewal_at.is_some() && certificate.revocation.is_none());
    assert_eq!(events(&world, requested).await.last().unwrap(), "version_fallen_back");
    assert_eq!(moment(&world, requested, "version_activated_at").await, None);

    revoke(&world, requested, all[0].version, RevocationReason::Unspecified).await;
    let certificate = get(&world, requested).await;
    assert_eq!((current(&certificate), certificate.status.as_str(), certificate.downloadable), (all[0].version, "revoked", false));
    confirm(&world, requested.account, requested.certificate, all[2].version).await;
    assert_eq!(get(&world, requested).await.status.as_str(), "revoked");
}

#[tokio::test]
async fn nothing_falls_back_to_a_key_that_others_may_have() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let requested = world.request(&tenant, "app").await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let key_version = world.key_version(requested, &key).await;
    let first = world.issue_with(requested, &key, key_version).await;
    let second = another(&world, requested, Some((&key, &first))).await;
    revoke(&world, requested, second.version, RevocationReason::KeyCompromise).await;
    let certificate = get(&world, requested).await;
    assert_eq!((current(&certificate), certificate.status.as_str()), (second.version, "revoked"));
    let first = version(&world, requested, first.version).await;
    assert!(first.is_valid && first.is_unwanted, "the same key");
}

#[tokio::test]
async fn a_version_that_is_not_in_use_is_revoked_without_touching_the_one_that_is() {
    let world = World::new().await;
    let (requested, all) = issued(&world, "pro", 2).await;
    let row = "SELECT (to_jsonb(certificates) - 'updated_at')::text FROM certificates";
    let (before, told) = (world.database.value::<String>(row).await, events(&world, requested).await.len());
    revoke(&world, requested, all[0].version, RevocationReason::Superseded).await;
    assert_eq!(world.database.value::<String>(row).await, before);
    assert_eq!(events(&world, requested).await.len(), told + 1, "the wish");
    let (old, new) = (version(&world, requested, all[0].version).await, version(&world, requested, all[1].version).await);
    assert!(old.revoked_at.is_some() && !old.is_valid && !old.is_current);
    assert_eq!(old.revocation_reason, Some(RevocationReason::Superseded));
    assert!(new.is_valid && new.is_current && new.revocation.is_none());
    assert!(!wish_revoked(&world, requested, all[0].version, RevocationReason::Superseded).await, "it is revoked");
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM revocations").await, 1);
}

#[tokio::test]
async fn when_the_version_that_somebody_went_back_to_runs_out_the_one_that_was_left_takes_its_place() {
    let world = World::new().await;
    let (requested, all) = issued(&world, "plus", 2).await;
    activate(&world, requested, all[0].version).await;
    shift(&world, all[0].version, "not_after = now() - interval '1 second'").await;
    assert!(!expire(&world, requested).await, "the certificate has not expired");
    let certificate = get(&world, requested).await;
    assert_eq!((current(&certificate), certificate.status.as_str(), certificate.downloadable), (all[1].version, "issued", true));
    assert_eq!(certificate.expires_at, Some(all[1].not_after));
    assert_eq!(events(&world, requested).await.last().unwrap(), "version_fallen_back");

    shift(&world, all[1].version, "not_after = now() - interval '1 second'").await;
    assert!(expire(&world, requested).await);
    assert_eq!(get(&world, requested).await.status.as_str(), "expired");
    assert_eq!(events(&world, requested).await.last().unwrap(), "expired");
    // Without its slot it stays as it is.
    shift(&world, all[0].version, "not_after = now() + interval '1 day'").await;
    assert!(!expire(&world, requested).await);
    let Requested { account, certificate, .. } = requested;
    world.worker.tenant_write(account, async |conn| issuing::record_revoked(conn, account, certificate).await).await.unwrap();
    let certificate = get(&world, requested).await;
    assert_eq!((current(&certificate), certificate.status.as_str()), (all[1].version, "expired"));
}
