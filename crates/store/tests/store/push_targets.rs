//! Push targets: a push is written by whatever brings a version into use, and the newest takes the place of those that wait.

use std::time::Duration;

use zonecert_domain::id::{AccountId, CertificateId, PushTargetId};
use zonecert_store::push_targets::{self, PushTarget, PushTargetChange};
use zonecert_store::webhook_deliveries::{self, AtOnce, Attempt, Claimed, Outcome};
use zonecert_store::{StoreError, ended_accounts, webhooks};

use crate::world::{Issued, World, now};

const URL: &str = "https://web1.test:5055/certwardenclient/api/v1/install";
const KEY: [u8; 32] = [7; 32];
const CLAIM: Duration = Duration::from_secs(30);

async fn target(world: &World, account: AccountId, certificate: CertificateId) -> PushTargetId {
    let made = async |conn: &mut _| push_targets::insert_push_target(conn, &world.masters, account, certificate, URL, &KEY).await;
    world.api.tenant_write(account, made).await.unwrap().id
}

/// How each push to the target is, oldest first.
async fn pushes(world: &World, target: PushTargetId) -> Vec<String> {
    let query = format!(
        "SELECT concat_ws(' ', event, status, last_error) FROM webhook_deliveries WHERE webhook_id = '{}' ORDER BY created_at, id",
        target.0
    );
    world.database.column(&query).await
}

async fn claim(world: &World, account: AccountId, target: PushTargetId) -> Option<Claimed> {
    let at_once = AtOnce { well: 4, failing: 4 };
    let webhook = PushTarget::webhook(target);
    world.worker.tenant(account, async |conn| webhook_deliveries::claim_next(conn, account, webhook, at_once, CLAIM).await).await.unwrap()
}

async fn note(world: &World, account: AccountId, claimed: &Claimed, outcome: Outcome) {
    let error = (outcome != Outcome::Delivered).then(|| "no".to_owned());
    let attempt = Attempt { at: now(), duration_ms: 1, status: Some(200), answer: None, error, version: None };
    let noted = async |conn: &mut _| webhook_deliveries::record_attempt(conn, account, claimed, &attempt, outcome).await;
    world.worker.tenant_write(account, noted).await.unwrap();
}

async fn change(world: &World, issued: Issued, change: &str) {
    world.database.run(&format!("UPDATE certificates SET {change} WHERE id = '{}'", issued.requested.certificate.0)).await;
}

async fn tell_again(world: &World, issued: Issued) {
    let (account, certificate) = (issued.requested.account, issued.requested.certificate);
    world.api.tenant_write(account, async |conn| push_targets::tell_again(conn, account, certificate).await).await.unwrap();
}

/// From now on a certificate may have versions that are not there.
async fn any_version(world: &World) {
    world.database.run("ALTER TABLE certificates DROP CONSTRAINT certificates_account_id_current_version_id_fkey").await;
}

#[tokio::test]
async fn a_version_that_comes_into_use_is_pushed_and_no_other_change() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let (issued, neighbour) = (world.issued(&tenant, "app").await, world.issued(&tenant, "api").await);
    let account = tenant.account;
    let one = target(&world, account, issued.requested.certificate).await;
    let off = target(&world, account, issued.requested.certificate).await;
    let disable = PushTargetChange { enabled: Some(false), ..PushTargetChange::default() };
    let certificate = issued.requested.certificate;
    let disabled = async |conn: &mut _| push_targets::change_push_target(conn, &world.masters, account, certificate, off, &disable).await;
    assert!(!world.api.tenant_write(account, disabled).await.unwrap().enabled);
    let neighbours = target(&world, account, neighbour.requested.certificate).await;
    any_version(&world).await;
    for nothing_new in ["status = 'validating'", "status = 'issued', last_error = '{\"code\": \"acme_caa\"}'", "label = 'a'"] {
        change(&world, issued, nothing_new).await;
    }
    assert_eq!(pushes(&world, one).await, [""; 0]);
    change(&world, issued, "current_version_id = gen_random_uuid()").await;
    assert_eq!(pushes(&world, one).await, ["certificate.renewed pending"]);
    for silent in [off, neighbours] {
        assert_eq!(pushes(&world, silent).await, [""; 0]);
    }
    let jobs = format!("SELECT count(*) FROM apalis.jobs WHERE job_type = 'webhook' AND encode(job, 'escape') LIKE '%{}%'", one.0);
    assert_eq!(world.database.value::<i64>(&jobs).await, 1);
    // What is pushed is made when it is sent.
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM webhook_deliveries WHERE body <> ''").await, 0);
    // It is no webhook of the account, and nobody else's.
    let hidden = world.api.tenant(account, async |conn| webhooks::get_webhook(conn, account, PushTarget::webhook(one)).await).await;
    assert!(matches!(hidden, Err(StoreError::NotFound)));
    assert_eq!(world.api.tenant(account, async |conn| webhooks::count_webhooks(conn, account).await).await.unwrap(), 0);
    let foreign = other.account;
    let seen = world.api.tenant(foreign, async |conn| push_targets::list_push_targets(conn, foreign, certificate).await).await.unwrap();
    assert_eq!(seen.len(), 0);
}

#[tokio::test]
async fn one_push_is_under_way_to_a_target_and_the_newest_takes_the_place_of_those_that_wait() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let issued = world.issued(&tenant, "app").await;
    let (account, certificate) = (tenant.account, issued.requested.certificate);
    let target = target(&world, account, certificate).await;
    for _ in 0..3 {
        tell_again(&world, issued).await;
    }
    let first = claim(&world, account, target).await.unwrap();
    assert_eq!((first.pushed, first.url.as_str(), first.event.as_str()), (Some(certificate), URL, "certificate.issued"));
    let superseded = "certificate.issued failed a newer push has taken its place";
    assert_eq!(pushes(&world, target).await, [superseded, superseded, "certificate.issued pending"]);
    // One comes while that is under way: it waits, and brings what is in use then.
    tell_again(&world, issued).await;
    assert!(claim(&world, account, target).await.is_none());
    note(&world, account, &first, Outcome::Again(Duration::from_mins(5))).await;
    let second = claim(&world, account, target).await.unwrap();
    assert_ne!(second.id, first.id);
    note(&world, account, &second, Outcome::Delivered).await;
    assert!(claim(&world, account, target).await.is_none());
    assert_eq!(pushes(&world, target).await, [superseded, superseded, superseded, "certificate.issued delivered"]);
}

#[tokio::test]
async fn what_is_pushed_is_the_valid_version_in_use_with_its_key() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let issued = world.issued(&tenant, "app").await;
    let (account, certificate) = (tenant.account, issued.requested.certificate);
    let content = async || {
        let find = async |conn: &mut _| push_targets::find_content(conn, &world.masters, account, certificate).await;
        world.worker.tenant(account, find).await.unwrap()
    };
    let found = content().await.unwrap();
    assert_eq!(found.version, issued.version);
    assert!(found.chain_pem.starts_with("-----BEGIN CERTIFICATE-----") && !found.key_der.is_empty());
    any_version(&world).await;
    change(&world, issued, "current_version_id = gen_random_uuid()").await;
    assert!(content().await.is_none(), "another is in use");
    change(&world, issued, &format!("current_version_id = '{}'", issued.version.0)).await;
    assert!(content().await.is_some());
    world.database.run("SET session_replication_role = replica; UPDATE key_versions SET sealed = NULL, destroyed_at = now()").await;
    assert!(content().await.is_none(), "its key was destroyed");
    change(&world, issued, "deleted_at = now()").await;
    assert!(content().await.is_none());
}

#[tokio::test]
async fn a_target_goes_with_its_key_and_its_deliveries_alone_or_with_the_account() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let issued = world.issued(&tenant, "app").await;
    let (account, certificate) = (tenant.account, issued.requested.certificate);
    let (gone, stays) = (target(&world, account, certificate).await, target(&world, account, certificate).await);
    tell_again(&world, issued).await;
    let rows = "SELECT concat_ws(' ', (SELECT count(*) FROM webhooks), (SELECT count(*) FROM webhook_secrets), (SELECT count(*) FROM webhook_deliveries))";
    assert_eq!(world.database.value::<String>(rows).await, "2 2 2");
    let change = PushTargetChange { key: Some(&[9; 32]), url: Some("https://web2.test:5055/"), enabled: None };
    let changed = async |conn: &mut _| push_targets::change_push_target(conn, &world.masters, account, certificate, stays, &change).await;
    assert_eq!(world.api.tenant_write(account, changed).await.unwrap().url, "https://web2.test:5055/");
    let secrets = async |conn: &mut _| webhooks::open_secrets(conn, &world.masters, account, PushTarget::webhook(stays)).await;
    let secrets = world.worker.tenant(account, secrets).await.unwrap();
    assert_eq!(secrets.iter().map(|secret| secret.as_slice()).collect::<Vec<_>>(), [&[9; 32][..]], "the key before is gone");
    let delete = async |conn: &mut _| push_targets::delete_push_target(conn, account, certificate, gone).await;
    world.api.tenant_write(account, delete).await.unwrap();
    assert!(matches!(world.api.tenant_write(account, delete).await, Err(StoreError::NotFound)));
    assert_eq!(world.database.value::<String>(rows).await, "1 1 1");
    world
        .database
        .run(&format!("UPDATE accounts SET deletion_requested_at = now() - interval '31 days' WHERE id = '{account}'", account = account.0))
        .await;
    let end = async |conn: &mut _| ended_accounts::end_account(conn, account).await;
    world.worker.tenant_write(account, end).await.unwrap();
    assert_eq!(world.database.value::<String>(rows).await, "0 0 0");
}
