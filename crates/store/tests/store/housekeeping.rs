//! What is over is deleted by its age, of all tenants.

use std::time::Duration;

use zonecert_store::housekeeping::Leftovers;

use crate::database::{Database, Role};
use crate::outcome::{Outcome, attempt};
use crate::world::World;

const MONTH: Duration = Duration::from_hours(24 * 30);

/// Three persons' rows of one kind in each of two accounts, each of them `number` days past the month.
async fn fill(world: &World, insert: &str) {
    for _ in 0..2 {
        let account = world.tenant().await.account.0;
        let statement = insert.replace("$account", &format!("'{account}'"));
        world.run_replica(&statement).await;
    }
}

async fn delete(world: &World, leftovers: Leftovers) -> [i64; 3] {
    let mut deleted = [0; 3];
    for count in &mut deleted {
        *count = world.worker.platform(async |conn| leftovers.delete(conn, MONTH, 3).await).await.unwrap();
    }
    deleted
}

#[tokio::test]
async fn refresh_tokens_are_deleted_a_month_after_they_have_expired_whether_used_or_not() {
    let world = World::new().await;
    fill(
        &world,
        "INSERT INTO refresh_tokens (id, account_id, user_id, family_id, token_sha256, expires_at, used_at, revoked_at)
         SELECT gen_random_uuid(), $account, gen_random_uuid(), gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), now() - ended, used, revoked
         FROM (VALUES (interval '30 days', NULL::timestamptz, NULL::timestamptz), ('31 days', now() - interval '40 days', NULL),
             ('29 days', now() - interval '40 days', now() - interval '40 days'), ('-1 day', NULL, now() - interval '40 days')) AS t (ended, used, revoked)",
    )
    .await;
    assert_eq!(delete(&world, Leftovers::RefreshTokens).await, [3, 1, 0]);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM refresh_tokens").await, 4);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM refresh_tokens WHERE expires_at <= now() - interval '30 days'").await, 0);
}

#[tokio::test]
async fn tokens_of_mails_are_deleted_a_month_after_they_have_expired() {
    let world = World::new().await;
    fill(
        &world,
        "INSERT INTO email_tokens (id, account_id, user_id, purpose, email, token_sha256, expires_at, used_at)
         SELECT gen_random_uuid(), $account, gen_random_uuid(), 'verify_email', 'a@b.test', sha256(gen_random_uuid()::text::bytea), now() - ended, used
         FROM (VALUES (interval '30 days', NULL::timestamptz), ('40 days', now()), ('29 days', now()), ('-1 hour', now())) AS t (ended, used)",
    )
    .await;
    assert_eq!(delete(&world, Leftovers::EmailTokens).await, [3, 1, 0]);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM email_tokens").await, 4);
}

#[tokio::test]
async fn messages_to_webhooks_are_deleted_a_month_after_they_were_over_and_secrets_after_their_end() {
    let world = World::new().await;
    fill(
        &world,
        "INSERT INTO webhook_deliveries (id, account_id, webhook_id, event, body, status, next_attempt_at, created_at, finished_at)
         SELECT gen_random_uuid(), $account, gen_random_uuid(), 'webhook.test', '{}', status, next, now() - interval '90 days', now() - age
         FROM (VALUES (interval '30 days', 'delivered', NULL::timestamptz), ('31 days', 'failed', NULL), ('29 days', 'delivered', NULL), (NULL, 'pending', now()))
             AS t (age, status, next)",
    )
    .await;
    assert_eq!(delete(&world, Leftovers::WebhookDeliveries).await, [3, 1, 0]);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM webhook_deliveries").await, 4);
    fill(
        &world,
        "INSERT INTO webhook_secrets (id, account_id, webhook_id, data_key_id, sealed, expires_at)
         SELECT gen_random_uuid(), $account, gen_random_uuid(), gen_random_uuid(), '', ends
         FROM (VALUES (now() - interval '30 days'), (now() - interval '40 days'), (now() + interval '1 day'), (NULL)) AS t (ends)",
    )
    .await;
    assert_eq!(delete(&world, Leftovers::WebhookSecrets).await, [3, 1, 0]);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM webhook_secrets").await, 4);
}

#[tokio::test]
async fn mails_are_deleted_a_month_after_they_were_written_unless_they_wait() {
    let world = World::new().await;
    fill(
        &world,
        "INSERT INTO mails (id, account_id, recipient, template, data_key_id, sealed, next_attempt_at, created_at, sent_at, failed_at)
         SELECT gen_random_uuid(), $account, 'a@b.test', 'reset', gen_random_uuid(), sealed, next, now() - age, sent, failed
         FROM (VALUES (interval '30 days', NULL::bytea, NULL::timestamptz, now(), NULL::timestamptz), ('30 days', NULL, NULL, NULL, now()),
             ('29 days', NULL, NULL, now(), NULL), ('40 days', 'x', now(), NULL, NULL)) AS t (age, sealed, next, sent, failed)",
    )
    .await;
    assert_eq!(delete(&world, Leftovers::Mails).await, [3, 1, 0]);
    let left: Vec<bool> = world.database.column("SELECT sent_at IS NULL FROM mails ORDER BY 1").await;
    assert_eq!(left, [false, false, true, true]);
}

#[tokio::test]
async fn the_owner_of_the_sweeps_can_delete_nothing_that_is_in_use() {
    let database = Database::migrated().await;
    crate::tables::fill_two_tenants(&database).await;
    database.run("UPDATE refresh_tokens SET expires_at = now() + interval '1 day'").await;
    database.run("UPDATE email_tokens SET expires_at = now() + interval '1 day'").await;
    database.run("BEGIN; SET LOCAL ROLE zonecert_sweep").await;
    for table in ["refresh_tokens", "email_tokens", "mails"] {
        assert_eq!(attempt(&database.admin, &format!("DELETE FROM {table}")).await, Outcome::Rows(0), "{table}");
    }
    database.run("ROLLBACK").await;
    let api = database.connect(Role::Api).await;
    for sweep in ["sweep_refresh_tokens", "sweep_email_tokens", "sweep_finished_mails"] {
        assert_eq!(attempt(&api, &format!("SELECT {sweep}('0', 10)")).await, Outcome::NoGrant, "{sweep}");
    }
}
