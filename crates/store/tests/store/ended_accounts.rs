//! The end of an account.

use std::time::Duration;

use zonecert_domain::id::AccountId;
use zonecert_domain::revocation::RevocationReason;
use zonecert_store::ended_accounts::{self, Ending};
use zonecert_store::{StoreError, accounts, private_keys, revocations};

use crate::tables;
use crate::world::World;

async fn end(world: &World, account: AccountId) -> Result<Ending, StoreError> {
    world.worker.tenant_write(account, async |conn| ended_accounts::end_account(conn, account).await).await
}

async fn list(world: &World) -> Vec<AccountId> {
    world.worker.platform(async |conn| ended_accounts::list_ended(conn, 10).await).await.unwrap()
}

/// An owner asks for the end, and time passes.
async fn ask(world: &World, account: AccountId, ago: &str) {
    world.api.tenant_write(account, async |conn| accounts::set_deletion_requested(conn, account, true).await).await.unwrap();
    world.database.run(&format!("UPDATE accounts SET deletion_requested_at = now() - interval '{ago}' WHERE id = '{}'", account.0)).await;
}

/// How many rows of the account hold what must be gone.
async fn left(world: &World, account: AccountId) -> Vec<String> {
    let mut left = Vec::new();
    for (table, is_left) in [
        ("data_keys", "wrapped IS NOT NULL"),
        ("key_versions", "sealed IS NOT NULL"),
        ("private_keys", "deleted_at IS NULL"),
        ("users", "deleted_at IS NULL"),
        ("users", "email <> ''"),
        ("users", "password_hash <> ''"),
        ("invitations", "email <> ''"),
        ("email_tokens", "email <> ''"),
        ("mails", "recipient <> ''"),
        ("api_tokens", "revoked_at IS NULL"),
        ("api_keys", "revoked_at IS NULL"),
        ("pfx_files", "sealed IS NOT NULL"),
        ("refresh_tokens", "revoked_at IS NULL"),
        ("invitations", "revoked_at IS NULL"),
        ("email_tokens", "used_at IS NULL"),
        ("mails", "sealed IS NOT NULL"),
        ("certificates", "deleted_at IS NULL"),
        ("zones", "deleted_at IS NULL"),
        ("deployments", "true"),
        ("own_acme_accounts", "deleted_at IS NULL OR contact <> '{}' OR name <> '' OR sealed_eab IS NOT NULL"),
        ("issuances", "status = 'active' AND cancel_requested_at IS NULL"),
    ] {
        let rows: i64 =
            world.database.value(&format!("SELECT count(*) FROM {table} WHERE account_id = '{}' AND ({is_left})", account.0)).await;
        if rows > 0 {
            left.push(format!("{table}: {rows}"));
        }
    }
    left
}

#[tokio::test]
async fn nothing_of_an_account_can_be_opened_once_its_time_is_over() {
    let world = World::new().await;
    let (ended, other) = tables::fill_two_tenants(&world.database).await;
    // An account with a row in every table; its revocation has come to an end.
    world.database.run("UPDATE revocations SET status = 'succeeded', next_attempt_at = NULL, finished_at = now(); UPDATE accounts SET last_event_number = 1")
        .await;
    assert_eq!(left(&world, ended).await.len(), 21, "the test has something to end of each kind");
    let others: Vec<String> = left(&world, other).await;
    ask(&world, ended, "30 days").await;
    assert_eq!(list(&world).await, [ended]);

    assert_eq!(end(&world, ended).await.unwrap(), Ending::Winding, "an order is under way, of which the CA may make something");

    assert_eq!(left(&world, ended).await, [""; 0]);
    assert_eq!(left(&world, other).await, others, "another account has lost nothing");
    assert_eq!(list(&world).await, [], "nothing more can be done for now");
    assert_eq!(end(&world, ended).await.unwrap(), Ending::Winding, "it can be repeated");
    let zone = format!("used.{}.test", ended.0);
    let projected: Vec<String> =
        world.database.column("SELECT dns_zone FROM zone_projections WHERE generation > projected_generation").await;
    assert!(projected.contains(&zone), "{projected:?}");
    let jobs: i64 = world
        .database
        .value(&format!("SELECT count(*) FROM apalis.jobs WHERE job_type = 'issue' AND convert_from(job, 'UTF8') LIKE '%{}%'", ended.0))
        .await;
    assert_eq!(jobs, 1, "whoever cancels the issuance was sent for, once");
    let audited: Vec<String> = world
        .database
        .column(&format!("SELECT action FROM audit_log WHERE account_id = '{}' AND actor = 'system' ORDER BY at", ended.0))
        .await;
    assert_eq!(audited.iter().filter(|action| *action == "account.ended").count(), 1);

    world.database.run("UPDATE issuances SET status = 'cancelled', next_wake_at = NULL, finished_at = now() WHERE status = 'active' AND cancel_requested_at IS NOT NULL").await;
    assert_eq!(list(&world).await, [], "a CA has to be told of ACME accounts");
    world
        .database
        .run("UPDATE own_acme_accounts SET status = 'deactivated', next_attempt_at = NULL, work_since = NULL WHERE deleted_at IS NOT NULL")
        .await;
    assert_eq!(list(&world).await, [ended]);
    assert_eq!(end(&world, ended).await.unwrap(), Ending::Over);
    assert_eq!(list(&world).await, []);
    assert!(matches!(end(&world, ended).await, Err(StoreError::NotFound)), "there is no such account any more");
    let columns: bool = world
        .database
        .value(&format!("SELECT deleted_at IS NOT NULL AND destroyed_at IS NOT NULL FROM accounts WHERE id = '{}'", ended.0))
        .await;
    assert!(columns);
}

#[tokio::test]
async fn an_owner_may_change_their_mind_for_thirty_days() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let issued = world.issued(&tenant, "app").await;
    assert_eq!(end(&world, account).await.unwrap(), Ending::Stays);
    ask(&world, account, "29 days 23 hours").await;
    assert_eq!(list(&world).await, []);
    assert_eq!(end(&world, account).await.unwrap(), Ending::Stays);
    // The sweep has found it when they change their mind: the last word is theirs.
    ask(&world, account, "31 days").await;
    assert_eq!(list(&world).await, [account]);
    world.api.tenant_write(account, async |conn| accounts::set_deletion_requested(conn, account, false).await).await.unwrap();
    assert_eq!(end(&world, account).await.unwrap(), Ending::Stays);
    let key = world
        .api
        .tenant(account, async |conn| private_keys::open_key_version(conn, &world.masters, account, issued.key_version).await)
        .await;
    assert!(key.is_ok());
}

#[tokio::test]
async fn an_account_is_closed_when_the_ca_has_been_told_of_every_revocation() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let issued = world.issued(&tenant, "app").await;
    let certificate = issued.requested.certificate;
    let asked = world.api.tenant_write(account, async |conn| {
        revocations::request_all(conn, account, RevocationReason::CessationOfOperation, "user_1").await
    });
    assert_eq!(asked.await.unwrap(), 1);
    ask(&world, account, "30 days").await;
    assert_eq!(end(&world, account).await.unwrap(), Ending::Winding);
    let key = world
        .worker
        .tenant(account, async |conn| private_keys::open_key_version(conn, &world.masters, account, issued.key_version).await)
        .await;
    assert!(matches!(key, Err(StoreError::NotFound)), "the key goes with the account, whatever the CA says");

    // The CA is told without any secret of the account.
    let id =
        world.worker.tenant(account, async |conn| revocations::list_revocations(conn, account, certificate).await).await.unwrap()[0].id;
    let told = world.worker.tenant_write(account, async |conn| {
        let claim = revocations::claim(conn, account, id, Duration::from_mins(1)).await?.expect("it is due");
        revocations::record_succeeded(conn, account, &claim, claim.reason).await
    });
    told.await.unwrap();
    assert_eq!(list(&world).await, [account]);
    assert_eq!(end(&world, account).await.unwrap(), Ending::Over);
}
