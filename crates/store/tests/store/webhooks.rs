//! What webhooks are told: written by whatever changes a certificate, in the same transaction, and taken by one worker at a time.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, WebhookId};
use zonecert_domain::webhook::WebhookEvent;
use zonecert_store::issuing::{self, Outcome};
use zonecert_store::webhook_deliveries::{self, AtOnce, Attempt, Claimed, DeliveryStatus};
use zonecert_store::webhooks::{self, DisabledReason, NewWebhook, WebhookChange};
use zonecert_store::{Connection, StoreError, certificates, ended_accounts, expiry_notices};

use crate::world::{Requested, World, now};

const AT_ONCE: AtOnce = AtOnce { well: 4, failing: 1 };
const CLAIM: Duration = Duration::from_secs(30);
const SECRET: [u8; 32] = [7; 32];

/// A webhook of the account that is told these.
async fn webhook(world: &World, account: AccountId, events: &[WebhookEvent]) -> WebhookId {
    let new = NewWebhook { url: "https://hooks.test/", events, description: None };
    let made = world.api.tenant_write(account, async |conn| webhooks::insert_webhook(conn, &world.masters, account, &new, &SECRET).await);
    made.await.unwrap().id
}

/// What it was told so far, oldest first: bodies without their time.
async fn told(world: &World, webhook: WebhookId) -> Vec<Value> {
    let query = format!("SELECT body FROM webhook_deliveries WHERE webhook_id = '{}' ORDER BY created_at, id", webhook.0);
    let bodies: Vec<String> = world.database.column(&query).await;
    bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

async fn types(world: &World, webhook: WebhookId) -> Vec<String> {
    told(world, webhook).await.iter().map(|body| body["type"].as_str().unwrap().to_owned()).collect()
}

async fn outcome(world: &World, requested: Requested, outcome: Outcome) {
    let Requested { account, certificate, .. } = requested;
    let recorded = world.worker.tenant_write(account, async move |conn| issuing::record_outcome(conn, account, certificate, outcome).await);
    recorded.await.unwrap();
}

async fn claim(world: &World, account: AccountId, webhook: WebhookId) -> Option<Claimed> {
    let claimed = world.worker.tenant(account, async |conn| webhook_deliveries::claim_next(conn, account, webhook, AT_ONCE, CLAIM).await);
    claimed.await.unwrap()
}

fn attempt(error: Option<&str>) -> Attempt {
    Attempt { at: now(), duration_ms: 12, status: Some(500), answer: Some("no".to_owned()), error: error.map(str::to_owned), version: None }
}

async fn note(world: &World, account: AccountId, claimed: &Claimed, outcome: webhook_deliveries::Outcome) -> Option<Duration> {
    let attempt = attempt((outcome != webhook_deliveries::Outcome::Delivered).then_some("it answered 500"));
    let noted = world
        .worker
        .tenant_write(account, async |conn| webhook_deliveries::record_attempt(conn, account, claimed, &attempt, outcome).await);
    noted.await.unwrap()
}

/// The events of the domain and those that the trigger writes are the same words.
#[tokio::test]
async fn the_trigger_tells_what_the_domain_has_words_for() {
    let world = World::new().await;
    let body: String = world.database.value("SELECT prosrc FROM pg_proc WHERE proname = 'certificates_announce'").await;
    for event in WebhookEvent::ALL {
        let after_a_state = CertificateStatus::ALL.iter().any(|status| event.as_str() == format!("certificate.{}", status.as_str()));
        assert!(after_a_state || body.contains(&format!("'{}'", event.as_str())), "{}", event.as_str());
    }
    for word in body.split('\'').filter(|word| word.starts_with("certificate.") && word.len() > "certificate.".len()) {
        assert!(WebhookEvent::parse(word).is_some(), "{word}");
    }
}

#[tokio::test]
async fn each_state_of_a_first_issuance_is_told_with_rising_numbers() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let hook = webhook(&world, tenant.account, &[]).await;
    let requested = world.request(&tenant, "app").await;
    outcome(&world, requested, Outcome::Running).await;
    // Nothing new.
    outcome(&world, requested, Outcome::Running).await;
    let error = |code: &str| json!({ "code": code, "detail": "no", "remedy": "wait", "next_attempt_at": "2026-11-30T00:00:00Z" });
    outcome(&world, requested, Outcome::Waiting(error("acme_connection"))).await;
    outcome(&world, requested, Outcome::Running).await;
    outcome(&world, requested, Outcome::Failed(error("acme_caa"))).await;
    let told = told(&world, hook).await;
    let seen: Vec<_> = told
        .iter()
        .map(|body| (body["type"].as_str().unwrap(), body["data"]["sequence"].as_i64().unwrap(), body["data"]["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("certificate.requested", 1, "pending"),
            ("certificate.validating", 2, "validating"),
            ("certificate.attempt_failed", 3, "pending"),
            ("certificate.validating", 4, "validating"),
            ("certificate.failed", 5, "failed"),
        ]
    );
    assert_eq!(told[2]["data"]["error"], json!({ "code": "acme_connection", "detail": "no", "next_attempt_at": "2026-11-30T00:00:00Z" }));
    assert_eq!(told[4]["data"]["error"]["code"], "acme_caa");
    assert!(told[3]["data"]["error"].is_null());
    let data = &told[0]["data"];
    assert_eq!(data["certificate_id"], requested.certificate.to_string());
    assert_eq!(
        (&data["domain"], &data["name"], &data["auto_renew"]),
        (&json!(format!("app.{}", tenant.zone_name)), &json!("app"), &json!(true))
    );
    let timestamp = told[0]["timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with('Z') && timestamp.len() == 20, "{timestamp}");
    // Each has a job of its own.
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM apalis.jobs WHERE job_type = 'webhook'").await, 5);
    let ids: Vec<String> = world.database.column("SELECT id::text FROM webhook_deliveries ORDER BY created_at, id").await;
    assert!(ids.is_sorted() && ids.iter().all(|id| id.as_bytes()[14] == b'7'), "{ids:?}");
}

/// From now on a certificate may have versions that are not there.
async fn any_version(world: &World) {
    world.database.run("ALTER TABLE certificates DROP CONSTRAINT certificates_account_id_current_version_id_fkey").await;
}

#[tokio::test]
async fn issue_failed_renewal_renewal_expiry_revocation_and_deletion_are_told_once_each() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let hook = webhook(&world, tenant.account, &[]).await;
    let issued = world.issued(&tenant, "app").await;
    let Requested { account, certificate, .. } = issued.requested;
    any_version(&world).await;
    let change = async |change: &str| {
        world.database.run(&format!("UPDATE certificates SET {change} WHERE id = '{}'", certificate.0)).await;
    };
    // A renewal is under way, and fails.
    change("status = 'validating'").await;
    change("status = 'issued', last_error = '{\"code\": \"acme_caa\"}'").await;
    // It fails before it is under way.
    change("status = 'issued', last_error = '{\"code\": \"zone_lost\"}'").await;
    // Another version.
    change("status = 'issued', last_error = NULL, current_version_id = gen_random_uuid()").await;
    // It expires, is renewed by hand, and that fails.
    change("status = 'expired'").await;
    change("status = 'pending'").await;
    change("status = 'validating'").await;
    change("status = 'expired'").await;
    // The next one comes, and is revoked.
    change("status = 'issued', current_version_id = gen_random_uuid()").await;
    change("status = 'revoked'").await;
    let deleted = world.api.tenant_write(account, async |conn| certificates::mark_deleted(conn, account, certificate).await);
    deleted.await.unwrap();
    // Nothing follows.
    change("status = 'expired'").await;
    let types = types(&world, hook).await;
    assert_eq!(
        types,
        [
            "requested",
            "issued",
            "validating",
            "renewal_failed",
            "renewal_failed",
            "renewed",
            "expired",
            "requested",
            "validating",
            "renewal_failed",
            "renewed",
            "revoked",
            "deleted"
        ]
        .map(|word| format!("certificate.{word}"))
    );
}

#[tokio::test]
async fn what_is_taken_back_is_not_told_and_what_nobody_asked_for_neither() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let all = webhook(&world, tenant.account, &[]).await;
    let some = webhook(&world, tenant.account, &[WebhookEvent::Deleted, WebhookEvent::Validating]).await;
    let disabled = webhook(&world, tenant.account, &[]).await;
    let foreign = webhook(&world, other.account, &[]).await;
    let off = world
        .api
        .tenant_write(tenant.account, async |conn| webhooks::disable(conn, tenant.account, disabled, DisabledReason::ByHand).await);
    assert!(off.await.unwrap());
    let rehearsed: Result<(), StoreError> = world
        .api
        .tenant_write(tenant.account, async |conn| {
            world.insert_certificate(conn, &tenant, "rehearsed").await?;
            Err(StoreError::Stale)
        })
        .await;
    assert!(matches!(rehearsed, Err(StoreError::Stale)));
    let requested = world.request(&tenant, "app").await;
    outcome(&world, requested, Outcome::Running).await;
    assert_eq!(types(&world, all).await, ["certificate.requested", "certificate.validating"]);
    assert_eq!(types(&world, some).await, ["certificate.validating"]);
    for silent in [disabled, foreign] {
        assert_eq!(types(&world, silent).await, [""; 0]);
    }
}

/// The certificate of the world is valid from 1975 to 4096.
async fn days_left(world: &World, certificate: CertificateId, hours: i32) {
    world
        .database
        .run(&format!(
            "UPDATE certificates SET expires_at = now() + make_interval(hours => {hours}), issued_at = now() - interval '60 days',
                 expiry_notice_due_at = now() - interval '1 second' WHERE id = '{}'",
            certificate.0
        ))
        .await;
}

async fn scan(world: &World) -> usize {
    let due = world.worker.platform(async |conn: &mut Connection| expiry_notices::claim_due(conn, CLAIM, 10).await).await.unwrap();
    let found = due.len();
    for (account, certificate) in due {
        world.worker.tenant_write(account, async |conn| expiry_notices::announce(conn, account, certificate).await).await.unwrap();
    }
    found
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_30_14_7_and_1_days_before_each_once() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let hook = webhook(&world, tenant.account, &[WebhookEvent::Expiring]).await;
    let issued = world.issued(&tenant, "app").await;
    let certificate = issued.requested.certificate;
    let due_in = "SELECT round(extract(epoch FROM expires_at - expiry_notice_due_at) / 86400)::float8 FROM certificates";
    assert!((world.database.value::<f64>(due_in).await - 30.0).abs() < 0.01);
    assert_eq!(scan(&world).await, 0);
    for (hours, next) in [(24 * 30 - 1, Some(14)), (24 * 14 - 1, Some(7)), (24 * 7 - 1, Some(1)), (23, None)] {
        days_left(&world, certificate, hours).await;
        assert_eq!(scan(&world).await, 1);
        assert_eq!(scan(&world).await, 0);
        let due: Option<f64> = world.database.value(due_in).await;
        assert_eq!(due.map(|days| days.to_string()), next.map(|days: i32| days.to_string()));
    }
    let days: Vec<i64> = told(&world, hook).await.iter().map(|body| body["data"]["days_left"].as_i64().unwrap()).collect();
    assert_eq!(days, [30, 14, 7, 1]);
}

#[tokio::test]
async fn notices_that_were_missed_are_one_and_what_was_renewed_revoked_or_is_short_lived_has_none() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let hook = webhook(&world, tenant.account, &[WebhookEvent::Expiring]).await;
    let certificate = world.issued(&tenant, "late").await.requested.certificate;
    any_version(&world).await;
    days_left(&world, certificate, 24 * 3).await;
    scan(&world).await;
    let told_first = told(&world, hook).await;
    assert_eq!(told_first.len(), 1);
    assert_eq!(told_first[0]["data"]["days_left"], 7);
    for (label, change) in [
        ("revoked", "status = 'revoked'"),
        ("expired", "expires_at = now() - interval '1 minute'"),
        ("renewed", "current_version_id = gen_random_uuid(), expires_at = now() + interval '90 days', issued_at = now()"),
        (
            "short",
            "current_version_id = gen_random_uuid(), expires_at = now() + interval '6 days', issued_at = now(), expiry_notice_due_at = now()",
        ),
        // It renews with a third of its time left.
        (
            "medium",
            "current_version_id = gen_random_uuid(), expires_at = now() + interval '13 days', issued_at = now() - interval '7 days',
             expiry_notice_due_at = now()",
        ),
    ] {
        let certificate = world.issued(&tenant, label).await.requested.certificate;
        days_left(&world, certificate, 24 * 5).await;
        world.database.run(&format!("UPDATE certificates SET {change} WHERE id = '{}'", certificate.0)).await;
        scan(&world).await;
        assert_eq!(told(&world, hook).await.len(), 1, "{label}");
    }
    let of_the_short_one =
        "SELECT round(extract(epoch FROM expires_at - expiry_notice_due_at) / 86400)::float8 FROM certificates WHERE name = 'short'";
    assert!((world.database.value::<f64>(of_the_short_one).await - 1.0).abs() < 0.01);
}

#[tokio::test]
async fn a_message_is_claimed_by_one_and_so_many_are_under_way_to_a_webhook() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let hook = webhook(&world, account, &[WebhookEvent::Requested]).await;
    for number in 0..8 {
        world.certificate(&tenant, &format!("c{number}")).await;
    }
    let claims = futures::future::join_all((0..10).map(|_| claim(&world, account, hook))).await;
    let mut first: Vec<_> = claims.into_iter().flatten().collect();
    assert_eq!(first.len(), 4, "four are under way, however many ask");
    let mut ids: Vec<_> = first.iter().map(|claimed| claimed.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    let failing = note(&world, account, &first.pop().unwrap(), webhook_deliveries::Outcome::Again(CLAIM)).await;
    assert!(failing.is_some());
    assert!(claim(&world, account, hook).await.is_none(), "it fails: one at a time");
    for claimed in &first {
        note(&world, account, claimed, webhook_deliveries::Outcome::Again(CLAIM)).await;
    }
    let one = claim(&world, account, hook).await.unwrap();
    assert!(claim(&world, account, hook).await.is_none());
    assert_eq!(note(&world, account, &one, webhook_deliveries::Outcome::Delivered).await, None);
    assert!(claim(&world, account, hook).await.is_some() && claim(&world, account, hook).await.is_some(), "it is well again");
}

#[tokio::test]
async fn whoever_is_gone_leaves_a_message_to_the_next_and_writes_nothing_late() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let hook = webhook(&world, account, &[]).await;
    world.certificate(&tenant, "app").await;
    let gone = claim(&world, account, hook).await.unwrap();
    assert!(claim(&world, account, hook).await.is_none());
    world
        .database
        .run("UPDATE webhook_deliveries SET next_attempt_at = now() - interval '11 seconds', claimed_until = now() - interval '11 seconds'")
        .await;
    let forgotten = async || {
        let list = async |conn: &mut Connection| webhook_deliveries::list_forgotten(conn, Duration::from_secs(10), 10).await;
        world.worker.platform(list).await.unwrap()
    };
    assert_eq!(forgotten().await, [(account, hook)]);
    let next = claim(&world, account, hook).await.unwrap();
    assert_eq!((next.id, &next.body, next.attempts), (gone.id, &gone.body, 2));
    assert_eq!(forgotten().await, [], "somebody is at it");
    note(&world, account, &gone, webhook_deliveries::Outcome::GivenUp).await;
    let delivery = async || {
        world.api.tenant(account, async |conn| webhook_deliveries::get_delivery(conn, account, hook, gone.id).await).await.unwrap()
    };
    assert_eq!(delivery().await.status, DeliveryStatus::Pending, "it is in other hands");
    note(&world, account, &next, webhook_deliveries::Outcome::Delivered).await;
    let delivered = delivery().await;
    assert_eq!((delivered.status, delivered.attempts.len(), delivered.next_attempt_at), (DeliveryStatus::Delivered, 1, None));
    // It can be sent again, with what was before.
    let replay =
        async || world.api.tenant_write(account, async |conn| webhook_deliveries::replay(conn, account, hook, gone.id).await).await;
    replay().await.unwrap();
    assert!(matches!(replay().await, Err(StoreError::Stale)), "it is on its way");
    let again = claim(&world, account, hook).await.unwrap();
    assert_eq!((again.id, again.attempts), (gone.id, 1));
    for _ in 0..25 {
        note(&world, account, &again, webhook_deliveries::Outcome::Again(Duration::ZERO)).await;
        world.database.run("UPDATE webhook_deliveries SET claimed_until = now()").await;
    }
    assert_eq!(delivery().await.attempts.len(), 20, "the log is bounded");
}

#[tokio::test]
async fn a_disabled_webhook_ends_what_waits_and_one_that_is_enabled_begins_anew() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let hook = webhook(&world, account, &[]).await;
    world.certificate(&tenant, "app").await;
    let claimed = claim(&world, account, hook).await.unwrap();
    note(&world, account, &claimed, webhook_deliveries::Outcome::Again(Duration::ZERO)).await;
    let change = async |enabled| {
        let change = WebhookChange { enabled: Some(enabled), ..WebhookChange::default() };
        world.api.tenant_write(account, async move |conn| webhooks::change_webhook(conn, account, hook, &change).await).await.unwrap()
    };
    let off = change(false).await;
    assert!(off.disabled.is_some_and(|(_, reason)| reason == DisabledReason::ByHand) && off.failing_since.is_some());
    assert!(claim(&world, account, hook).await.is_none());
    let ended =
        world.api.tenant(account, async |conn| webhook_deliveries::get_delivery(conn, account, hook, claimed.id).await).await.unwrap();
    assert_eq!(ended.status, DeliveryStatus::Failed);
    let on = change(true).await;
    assert!(on.disabled.is_none() && on.failing_since.is_none());
    assert!(claim(&world, account, hook).await.is_none(), "what has ended has ended");
}

#[tokio::test]
async fn messages_of_an_account_that_is_suspended_for_abuse_wait() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let hook = webhook(&world, account, &[]).await;
    world.certificate(&tenant, "app").await;
    world.database.run("UPDATE accounts SET status = 'suspended_abuse', suspended_at = now()").await;
    assert!(claim(&world, account, hook).await.is_none());
    let waiting = "SELECT count(*) FROM webhook_deliveries WHERE status = 'pending' AND attempts = 0 AND next_attempt_at > now() + interval '59 minutes'";
    assert_eq!(world.database.value::<i64>(waiting).await, 1);
    world
        .database
        .run("UPDATE accounts SET status = 'active', suspended_at = NULL; UPDATE webhook_deliveries SET next_attempt_at = now()")
        .await;
    assert!(claim(&world, account, hook).await.is_some());
}

#[tokio::test]
async fn two_secrets_are_valid_for_a_while_and_never_three_and_the_api_reads_none() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let hook = webhook(&world, account, &[]).await;
    let secrets = async || {
        let open = async |conn: &mut Connection| webhooks::open_secrets(conn, &world.masters, account, hook).await;
        let opened = world.worker.tenant(account, open).await.unwrap();
        opened.iter().map(|secret| secret[0]).collect::<Vec<u8>>()
    };
    let rotate = async |first: u8| {
        let secret = [first; 32];
        let rotated = world.api.tenant_write(account, async |conn| {
            webhooks::rotate_secret(conn, &world.masters, account, hook, &secret, TimeDelta::hours(24)).await
        });
        rotated.await.unwrap()
    };
    assert_eq!(secrets().await, [7]);
    assert!(rotate(8).await.old_secret_until.is_some_and(|until| until > now() + TimeDelta::hours(23)));
    assert_eq!(secrets().await, [8, 7]);
    rotate(9).await;
    assert_eq!(secrets().await, [9, 8]);
    world.database.run("UPDATE webhook_secrets SET expires_at = now() WHERE expires_at IS NOT NULL").await;
    assert_eq!(secrets().await, [9]);
    let read = world.api.tenant(account, async |conn| webhooks::open_secrets(conn, &world.masters, account, hook).await).await;
    assert!(matches!(read, Err(StoreError::Database(_))), "the API seals secrets, and reads none");
    let shown: String = world.database.value("SELECT string_agg(sealed::text, '') FROM webhook_secrets").await;
    assert!(!shown.contains("0909090909") && !shown.contains("0808080808"));
}

#[tokio::test]
async fn nothing_is_left_of_the_webhooks_of_an_account_that_has_ended() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (account, other) = (tenant.account, world.tenant().await);
    webhook(&world, account, &[]).await;
    webhook(&world, other.account, &[]).await;
    world.certificate(&tenant, "app").await;
    world.certificate(&other, "app").await;
    world.database.run(&format!("UPDATE accounts SET deletion_requested_at = now() - interval '31 days' WHERE id = '{}'", account.0)).await;
    world.worker.tenant_write(account, async |conn| ended_accounts::end_account(conn, account).await).await.unwrap();
    for table in ["webhooks", "webhook_secrets", "webhook_deliveries"] {
        let left: Vec<String> = world.database.column(&format!("SELECT account_id::text FROM {table}")).await;
        assert_eq!(left, [other.account.0.to_string()], "{table}");
    }
}
