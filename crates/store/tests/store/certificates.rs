//! Who holds a domain, and what a certificate's state follows from.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::VersionId;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::renewal::ZoneStanding;
use zonecert_pki::PrivateKey;
use zonecert_store::StoreError;
use zonecert_store::certificates::{self, Certificate, DOMAIN_KEY, KeyPolicy};
use zonecert_store::issuing::{self, Issued, Outcome};
use zonecert_store::zones::ZoneMode;

use crate::database::Role;
use crate::world::{Requested, World, now};

async fn get(world: &World, requested: Requested) -> Certificate {
    let Requested { account, certificate, .. } = requested;
    world.api.tenant(account, async |conn| certificates::get_certificate(conn, account, certificate).await).await.unwrap()
}

/// Puts a version on record that was not issued by any order.
async fn insert_version(world: &World, requested: Requested, number: i32, not_after: DateTime<Utc>, revoked: bool) -> VersionId {
    let key_version = world.key_version(requested, &PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap()).await;
    let id = VersionId::new();
    let statement = format!(
        "INSERT INTO versions (id, account_id, certificate_id, number, source, key_version_id, chain_pem, names, serial, fingerprint_sha256, issuer, subject, not_before, not_after, revoked_at)
         VALUES ('{}', '{}', '{}', {number}, 'upload', '{}', '', '{{}}', '', '', '', '', '{}', '{}', {})",
        id.0,
        requested.account.0,
        requested.certificate.0,
        key_version.0,
        not_after - TimeDelta::days(90),
        not_after,
        if revoked { "now()" } else { "NULL" },
    );
    world.database.run(&statement).await;
    id
}

#[tokio::test]
async fn a_domain_is_held_by_one_certificate_that_is_pending_validating_or_issued() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    for status in CertificateStatus::ALL {
        let label = status.as_str();
        let first = world.certificate(&tenant, label).await;
        let change = async |change: &str| world.database.run(&format!("UPDATE certificates SET {change} WHERE id = '{}'", first.0)).await;
        let again =
            async || world.api.tenant_write(tenant.account, async |conn| world.insert_certificate(conn, &tenant, label).await).await;
        change(&format!("status = '{status}'")).await;
        let holds = matches!(status, CertificateStatus::Pending | CertificateStatus::Validating | CertificateStatus::Issued);
        let second = again().await;
        assert_eq!(matches!(&second, Err(error) if error.is_constraint(DOMAIN_KEY)), holds, "{status}: {second:?}");
        if !holds {
            second.unwrap();
            // Whoever left the domain cannot come back while another has it.
            let back =
                world.database.admin.execute(&format!("UPDATE certificates SET status = 'pending' WHERE id = '{}'", first.0), &[]).await;
            assert_eq!(back.unwrap_err().as_db_error().unwrap().constraint(), Some(DOMAIN_KEY), "{status}");
            continue;
        }
        change("source = 'upload'").await;
        let beside_an_upload = again().await.unwrap();
        world.database.run(&format!("UPDATE certificates SET deleted_at = now() WHERE id = '{}'", beside_an_upload.0)).await;
        change("source = 'managed'").await;
        assert!(again().await.is_err());
        change("deleted_at = now()").await;
        again().await.unwrap();
    }
}

#[tokio::test]
async fn of_many_requests_for_a_domain_at_once_one_is_taken_and_other_accounts_do_not_matter() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let same_zone = crate::world::Tenant { zone_name: tenant.zone_name.clone(), ..other };
    let requests =
        (0..8).map(|_| world.api.tenant_write(tenant.account, async |conn| world.insert_certificate(conn, &tenant, "app").await));
    let answers = futures::future::join_all(requests).await;
    let refused = |answer: &&Result<_, StoreError>| matches!(answer, Err(error) if error.is_constraint(DOMAIN_KEY));
    assert_eq!((answers.iter().filter(|answer| answer.is_ok()).count(), answers.iter().filter(refused).count()), (1, 7), "{answers:?}");
    world.certificate(&same_zone, "app").await;
}

#[tokio::test]
async fn the_state_follows_from_the_issuance_and_the_version_in_use() {
    let world = World::new().await;
    let requested = world.requested().await;
    let (valid, over) = (now() + TimeDelta::days(30), now() - TimeDelta::days(1));
    let versions = [
        ("no version", None),
        ("a valid version", Some(insert_version(&world, requested, 1, valid, false).await)),
        ("an expired version", Some(insert_version(&world, requested, 2, over, false).await)),
        ("a revoked version", Some(insert_version(&world, requested, 3, valid, true).await)),
    ];
    let table = [
        (Outcome::Running, ["validating", "validating", "validating", "validating"]),
        (Outcome::Waiting(json!({"code": "waiting"})), ["pending", "issued", "pending", "pending"]),
        (Outcome::Failed(json!({"code": "failed"})), ["failed", "issued", "expired", "revoked"]),
        (Outcome::Cancelled, ["failed", "issued", "expired", "revoked"]),
    ];
    let Requested { account, certificate, .. } = requested;
    let mut shown = None;
    for (outcome, expected) in table {
        for ((what, version), expected) in versions.into_iter().zip(expected) {
            let version_id = version.map_or("NULL".to_owned(), |version| format!("'{}'", version.0));
            // The valid one is of use only where it is in use: it would take the place of another.
            let of_use = if what == "a valid version" { "NULL" } else { "now()" };
            world.database.run(&format!("UPDATE versions SET revoked_at = {of_use} WHERE number = 1")).await;
            world.database.run(&format!("UPDATE certificates SET current_version_id = {version_id} WHERE id = '{}'", certificate.0)).await;
            let recorded = outcome.clone();
            world
                .worker
                .tenant_write(account, async |conn| issuing::record_outcome(conn, account, certificate, recorded).await)
                .await
                .unwrap();
            let certificate = get(&world, requested).await;
            assert_eq!(certificate.status.as_str(), expected, "{outcome:?} with {what}");
            // What was last shown stays until there is something else to show.
            if let Outcome::Waiting(error) | Outcome::Failed(error) = &outcome {
                shown = Some(error.clone());
            }
            assert_eq!(certificate.last_error, shown, "{outcome:?} with {what}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_issued_has_its_version_its_dates_and_no_error() {
    let world = World::new().await;
    let requested = world.requested().await;
    let Requested { account, certificate, .. } = requested;
    let failed = Outcome::Failed(json!({"code": "failed"}));
    world.worker.tenant_write(account, async |conn| issuing::record_outcome(conn, account, certificate, failed).await).await.unwrap();
    for (number, days, status) in [(1, 90, "issued"), (2, -1, "expired")] {
        let not_after = DateTime::from_timestamp((now() + TimeDelta::days(days)).timestamp(), 0).unwrap();
        let version = insert_version(&world, requested, number, not_after, false).await;
        let issued = Issued { version, not_after };
        world.worker.tenant_write(account, async |conn| issuing::record_issued(conn, account, certificate, issued).await).await.unwrap();
        let read = get(&world, requested).await;
        assert_eq!((read.status.as_str(), read.current_version.map(|version| version.id), read.last_error), (status, Some(version), None));
        assert_eq!((read.expires_at, read.downloadable), (Some(not_after), number == 1));
        assert!((now() - read.issued_at.unwrap()).abs() < TimeDelta::minutes(1));
    }
}

#[tokio::test]
async fn an_issuance_is_asked_for_what_the_certificate_says_now() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let requested = world.request(&tenant, "app").await;
    let Requested { account, certificate, .. } = requested;
    let subject = async || world.worker.tenant(account, async |conn| issuing::get_subject(conn, account, certificate).await).await.unwrap();
    let first = subject().await;
    assert_eq!(
        (&*first.zone, first.zone_standing, first.deleted, first.key_policy, first.auto_renew),
        (&*tenant.zone_name, ZoneStanding::Verified, false, KeyPolicy::Rotate, true)
    );
    assert_eq!((first.names, first.key_algorithm), (vec![format!("app.{}", tenant.zone_name)], KeyAlgorithm::EcdsaP256));
    assert_eq!((first.environment, first.account.id), (issuing::Environment::Production, account));

    world
        .database
        .run("UPDATE certificates SET key_policy = 'keep', environment = 'staging', auto_renew = false, deleted_at = now()")
        .await;
    world.database.run("UPDATE zones SET deleted_at = now()").await;
    let second = subject().await;
    assert_eq!(
        (second.key_policy, second.auto_renew, second.deleted, second.zone_standing),
        (KeyPolicy::Keep, false, true, ZoneStanding::Deleted)
    );
    assert_eq!(second.environment, issuing::Environment::Staging);
    world.database.run("UPDATE zones SET deleted_at = NULL, status = 'lost', mode = 'delegated'").await;
    let third = subject().await;
    assert_eq!((third.zone_standing, third.zone_mode, third.zone_id), (ZoneStanding::Lost, ZoneMode::Delegated, tenant.zone));
}

#[tokio::test]
async fn reading_in_one_round_trip_sees_the_tenants_own_and_leaves_no_tenant_behind() {
    let world = World::new().await;
    let (mine, theirs) = (world.tenant().await, world.tenant().await);
    let (my_certificate, their_certificate) = (world.certificate(&mine, "a").await, world.certificate(&theirs, "b").await);
    // One connection, so that whatever a read leaves behind is found by the next.
    let one = world.database.store(Role::Api, 1);
    // PostgreSQL plans a prepared statement anew for its first five runs, and may keep a plan from then on.
    for _ in 0..8 {
        let read = certificates::read_certificate(&one, mine.account, my_certificate).await.unwrap();
        assert_eq!((read.id, read.names.len()), (my_certificate, 1));
        let foreign = certificates::read_certificate(&one, mine.account, their_certificate).await;
        assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
        let nobody = one.platform(async |conn| certificates::get_certificate(conn, mine.account, my_certificate).await).await;
        assert!(matches!(nobody, Err(StoreError::NotFound)), "a tenant was left behind: {nobody:?}");
    }
    let transaction =
        one.tenant(mine.account, async |conn| certificates::get_certificate(conn, mine.account, my_certificate).await).await.unwrap();
    let question = certificates::read_certificate(&one, mine.account, my_certificate).await.unwrap();
    assert_eq!(format!("{transaction:?}"), format!("{question:?}"));
}
