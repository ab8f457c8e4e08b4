//! Where certificates are in use: the last report of each target.

use zonecert_domain::deployment::{DeploymentState, Observed};
use zonecert_store::deployments::{self, Deployment, Report};
use zonecert_store::{StoreError, certificates};

use crate::world::{Issued, World};

async fn report(world: &World, issued: Issued, target: &str, seen: &str, state: DeploymentState) -> Deployment {
    let account = issued.requested.account;
    let report = Report {
        target,
        observed: Observed { served_sha256: Some(seen), ..Observed::default() },
        installed_version: Some(issued.version),
        agent_version: Some("0.1.0"),
        error: None,
        state,
    };
    let keep = async |conn: &mut _| deployments::record_report(conn, account, issued.requested.certificate, &report).await;
    world.api.tenant_write(account, keep).await.unwrap()
}

async fn list(world: &World, issued: Issued) -> Vec<Deployment> {
    let account = issued.requested.account;
    world.api.tenant(account, async |conn| deployments::list_deployments(conn, account, issued.requested.certificate).await).await.unwrap()
}

#[tokio::test]
async fn a_report_takes_the_place_of_the_one_before() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let issued = world.issued(&tenant, "app").await;
    let (old, new) = ("0a".repeat(32), "0b".repeat(32));
    let first = report(&world, issued, "web2", &old, DeploymentState::Stale).await;
    assert_eq!((first.served_sha256.as_deref(), first.installed_version), (Some(old.as_str()), Some(issued.version)));
    report(&world, issued, "web1", &old, DeploymentState::Stale).await;
    world
        .database
        .run("UPDATE deployments SET created_at = created_at - interval '1 hour', reported_at = reported_at - interval '1 hour'")
        .await;
    let second = report(&world, issued, "web2", &new, DeploymentState::Serving).await;
    assert_eq!((second.state_then, second.served_sha256.as_deref()), (DeploymentState::Serving, Some(new.as_str())));
    assert!(second.reported_at > first.reported_at && second.created_at < first.created_at, "when it reported first stays");
    assert!(second.age.num_minutes() == 0 && second.age >= chrono::TimeDelta::zero(), "{:?}", second.age);
    let found = list(&world, issued).await;
    let targets: Vec<(&str, i64)> = found.iter().map(|found| (found.target.as_str(), found.age.num_minutes())).collect();
    assert_eq!(targets, [("web1", 60), ("web2", 0)]);
}

#[tokio::test]
async fn a_certificate_shows_what_follows_from_each_report_at_the_time_of_reading() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let issued = world.issued(&tenant, "app").await;
    let (account, certificate) = (tenant.account, issued.requested.certificate);
    let get =
        async || world.api.tenant(account, async |conn| certificates::get_certificate(conn, account, certificate).await).await.unwrap();
    let read = get().await;
    assert_eq!(read.deployed.len(), 0);
    let current = read.current_version.unwrap().fingerprint_sha256;
    report(&world, issued, "current", &current, DeploymentState::Serving).await;
    report(&world, issued, "silent", &current, DeploymentState::Serving).await;
    report(&world, issued, "old", &"0a".repeat(32), DeploymentState::Stale).await;
    world.database.run("UPDATE deployments SET reported_at = now() - interval '25 hours 1 minute' WHERE target = 'silent'").await;
    let states = async || {
        let read = get().await;
        let one = certificates::read_certificate(&world.api, account, certificate).await.unwrap();
        assert_eq!(one.deployed.len(), read.deployed.len());
        read.deployed.into_iter().map(|deployed| format!("{} {}", deployed.target, deployed.state.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(states().await, ["current serving", "old stale", "silent unknown"]);
    // A renewal makes of all that is served an old version.
    world.database.run(&format!("UPDATE certificates SET current_version_id = NULL WHERE id = '{}'", certificate.0)).await;
    assert_eq!(states().await, ["current stale", "old stale", "silent unknown"]);
}

#[tokio::test]
async fn targets_are_counted_forgotten_and_nobody_elses() {
    let world = World::new().await;
    let (mine, theirs) = (world.tenant().await, world.tenant().await);
    let issued = world.issued(&mine, "app").await;
    let certificate = issued.requested.certificate;
    for target in ["web1", "web2", "web3"] {
        report(&world, issued, target, &"0a".repeat(32), DeploymentState::Stale).await;
    }
    let count = async |tenant: &crate::world::Tenant| {
        let account = tenant.account;
        world.api.tenant(account, async |conn| deployments::count_deployments(conn, account, certificate).await).await.unwrap()
    };
    assert_eq!((count(&mine).await, count(&theirs).await), (3, 0));
    let delete = async |tenant: &crate::world::Tenant, target: &str| {
        let (account, target) = (tenant.account, target.to_owned());
        world.api.tenant_write(account, async |conn| deployments::delete_deployment(conn, account, certificate, &target).await).await
    };
    assert!(matches!(delete(&theirs, "web1").await, Err(StoreError::NotFound)));
    delete(&mine, "web1").await.unwrap();
    assert!(matches!(delete(&mine, "web1").await, Err(StoreError::NotFound)));
    assert_eq!(count(&mine).await, 2);
    let account = mine.account;
    let has = async |version| {
        world.api.tenant(account, async |conn| deployments::has_version(conn, account, certificate, version).await).await.unwrap()
    };
    assert!(has(issued.version).await);
    assert!(!has(world.issued(&mine, "other").await.version).await && !has(world.issued(&theirs, "app").await.version).await);
    world.api.tenant_write(account, async |conn| deployments::delete_deployments(conn, account, certificate).await).await.unwrap();
    assert_eq!(count(&mine).await, 0);
}
