//! Renewals by themselves: claimed by one scanner, begun once, by what stands now; and what has expired.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId, VersionId};
use zonecert_domain::issuance::{IssuanceEvent, IssuanceReason};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::renewal::RenewalBlock;
use zonecert_pki::PrivateKey;
use zonecert_store::certificates::{self, Certificate};
use zonecert_store::issuances;
use zonecert_store::issuing::{self, Issued, Outcome};
use zonecert_store::{Connection, StoreError, renewal_schedule, renewals};

use crate::world::{Requested, Tenant, World, in_a_day, now};

const PUT_OFF: Duration = Duration::from_mins(10);

/// A tenant on this plan.
pub(crate) async fn tenant_on(world: &World, plan: &str) -> Tenant {
    let tenant = world.tenant().await;
    world.database.run(&format!("UPDATE accounts SET plan = '{plan}' WHERE id = '{}'", tenant.account.0)).await;
    tenant
}

/// Brings the live issuance to its end with a version that became valid `age` ago and is valid for 90 days in all.
pub(crate) async fn issue(world: &World, requested: Requested, age: TimeDelta) -> VersionId {
    let Requested { account, certificate, .. } = requested;
    let lease = world.lease(requested).await;
    let (order, _) = world.begin_order(requested, &lease).await;
    let key_version = world.key_version(requested, &PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap()).await;
    let version = VersionId::new();
    let not_before = now() - age;
    let not_after = not_before + TimeDelta::days(90) - TimeDelta::seconds(1);
    let statements = format!(
        "UPDATE orders SET status = 'failed', finished_at = now() WHERE id = '{}';
         INSERT INTO versions (id, account_id, certificate_id, number, source, order_id, key_version_id, chain_pem, names, serial, fingerprint_sha256, issuer,
             subject, not_before, not_after, alternate)
         SELECT '{}', '{}', '{}', 1 + count(*), 'acme', '{}', '{}', '', '{{}}', '', '', '', '', '{not_before}', '{not_after}',
             (SELECT alternate FROM issuances WHERE id = '{}') FROM versions
         WHERE certificate_id = '{}'",
        order.0, version.0, account.0, certificate.0, order.0, key_version.0, requested.issuance.0, certificate.0
    );
    world.database.run(&statements).await;
    let issued = world.held(&lease, async |conn| {
        issuances::end(conn, &lease, IssuanceEvent::Succeeded, None).await?;
        issuing::record_issued(conn, account, certificate, Issued { version, not_after }).await
    });
    issued.await.unwrap();
    version
}

/// A certificate of 90 days that has been valid for `days`.
pub(crate) async fn issued(world: &World, tenant: &Tenant, label: &str, days: i64) -> Requested {
    let requested = world.request(tenant, label).await;
    issue(world, requested, TimeDelta::days(days)).await;
    requested
}

async fn claim(world: &World, batch: i32) -> Vec<(AccountId, CertificateId)> {
    world.worker.platform(async |conn| renewals::claim_due(conn, PUT_OFF, batch).await).await.unwrap()
}

async fn begin(world: &World, account: AccountId, certificate: CertificateId) -> Option<IssuanceId> {
    world.worker.tenant_write(account, async |conn| renewals::begin_if_due(conn, account, certificate).await).await.unwrap()
}

pub(crate) async fn get(world: &World, Requested { account, certificate, .. }: Requested) -> Certificate {
    world.api.tenant(account, async |conn| certificates::get_certificate(conn, account, certificate).await).await.unwrap()
}

/// A moment of the certificate's row.
pub(crate) async fn moment(world: &World, requested: Requested, column: &str) -> Option<DateTime<Utc>> {
    let query =
        format!("SELECT (extract(epoch FROM {column}) * 1000000)::bigint FROM certificates WHERE id = '{}'", requested.certificate.0);
    let microseconds: Option<i64> = world.database.value(&query).await;
    microseconds.map(|microseconds| DateTime::UNIX_EPOCH + TimeDelta::microseconds(microseconds))
}

/// The events of the certificate, oldest first.
pub(crate) async fn events(world: &World, requested: Requested) -> Vec<String> {
    world.database.column(&format!("SELECT event FROM events WHERE certificate_id = '{}' ORDER BY number", requested.certificate.0)).await
}

#[tokio::test]
async fn of_many_scanners_at_once_one_begins_each_renewal() {
    let world = World::new().await;
    let (one, other) = (tenant_on(&world, "pro").await, tenant_on(&world, "pro").await);
    let mut due = Vec::new();
    for number in 0..3 {
        for tenant in [&one, &other] {
            due.push(issued(&world, tenant, &format!("due{number}"), 61).await);
            issued(&world, tenant, &format!("later{number}"), 59).await;
        }
    }
    let scan = async || {
        let mut begun = 0;
        for (account, certificate) in claim(&world, 2).await {
            begun += usize::from(begin(&world, account, certificate).await.is_some());
        }
        begun
    };
    let begun: usize = futures::future::join_all((0..8).map(|_| scan())).await.into_iter().sum();
    assert_eq!(begun, due.len());
    assert_eq!(claim(&world, 100).await, []);
    for requested in due {
        let certificate = requested.certificate.0;
        let renewals =
            format!("SELECT count(*) FROM issuances WHERE certificate_id = '{certificate}' AND reason = 'renewal' AND status = 'active'");
        assert_eq!(world.database.value::<i64>(&renewals).await, 1);
        let jobs = format!(
            "SELECT count(*) FROM apalis.jobs JOIN issuances ON idempotency_key = issuances.id || ':1' WHERE certificate_id = '{certificate}' AND reason = 'renewal'"
        );
        assert_eq!(world.database.value::<i64>(&jobs).await, 1);
        let gives_up = format!(
            "SELECT give_up_at = expires_at FROM issuances JOIN certificates ON certificates.id = certificate_id WHERE certificate_id = '{certificate}' AND reason = 'renewal'"
        );
        assert!(world.database.value::<bool>(&gives_up).await, "a renewal gives up when there is nothing valid left");
        assert_eq!(
            (get(&world, requested).await.status, moment(&world, requested, "renewal_due_at").await),
            (CertificateStatus::Issued, None)
        );
        assert_eq!(events(&world, requested).await, ["renewal_begun"]);
        // Whoever held an old claim finds it taken care of.
        assert_eq!(begin(&world, requested.account, requested.certificate).await, None);
    }
}

#[tokio::test]
async fn a_claim_that_is_lost_is_due_again_after_a_while() {
    let world = World::new().await;
    let requested = issued(&world, &tenant_on(&world, "pro").await, "app", 61).await;
    let claimed = [(requested.account, requested.certificate)];
    assert_eq!(claim(&world, 10).await, claimed);
    assert_eq!(claim(&world, 10).await, []);
    assert!((moment(&world, requested, "renewal_due_at").await.unwrap() - now() - TimeDelta::minutes(10)).abs() < TimeDelta::minutes(1));
    world.database.run("UPDATE certificates SET renewal_due_at = now() WHERE renewal_due_at IS NOT NULL").await;
    assert_eq!(claim(&world, 10).await, claimed);
    let other = world.tenant().await;
    assert_eq!(begin(&world, other.account, requested.certificate).await, None, "another account cannot begin it");
    assert!(begin(&world, requested.account, requested.certificate).await.is_some());
}

#[tokio::test]
async fn what_is_not_due_any_more_by_what_stands_now_does_not_begin() {
    let world = World::new().await;
    for (what, change, block) in [
        ("plan", "UPDATE accounts SET plan = 'plus' WHERE id = '{account}'", Some(RenewalBlock::Plan)),
        (
            "abuse",
            "UPDATE accounts SET status = 'suspended_abuse', suspended_at = now() WHERE id = '{account}'",
            Some(RenewalBlock::Suspended),
        ),
        (
            "unpaid for long",
            "UPDATE accounts SET status = 'suspended_payment', suspended_at = now() - interval '15 days' WHERE id = '{account}'",
            Some(RenewalBlock::Suspended),
        ),
        ("zone lost", "UPDATE zones SET status = 'lost' WHERE account_id = '{account}'", Some(RenewalBlock::ZoneLost)),
        ("zone deleted", "UPDATE zones SET deleted_at = now() WHERE account_id = '{account}'", Some(RenewalBlock::ZoneDeleted)),
        ("wish", "UPDATE certificates SET auto_renew = false WHERE account_id = '{account}'", None),
        ("revoked", "UPDATE versions SET revoked_at = now() WHERE account_id = '{account}'", None),
    ] {
        let requested = issued(&world, &tenant_on(&world, "pro").await, "app", 61).await;
        // Somebody changes a fact and forgets the schedule, or the change comes between claim and begin.
        assert_eq!(claim(&world, 1).await.len(), 1, "{what}");
        world.database.run(&change.replace("{account}", &requested.account.0.to_string())).await;
        for _ in 0..2 {
            assert_eq!(begin(&world, requested.account, requested.certificate).await, None, "{what}");
        }
        let certificate = get(&world, requested).await;
        assert_eq!((certificate.status, certificate.next_renewal_at), (CertificateStatus::Issued, None), "{what}");
        let blocked_by = format!("SELECT renewal_blocked_by FROM certificates WHERE id = '{}'", requested.certificate.0);
        assert_eq!(world.database.value::<Option<String>>(&blocked_by).await.as_deref(), block.map(RenewalBlock::as_str), "{what}");
        assert_eq!(moment(&world, requested, "renewal_due_at").await, None, "{what}");
        let told: &[&str] = if block.is_some() { &["renewal_blocked"] } else { &[] };
        assert_eq!(events(&world, requested).await, told, "{what}: told once");
    }
}

#[tokio::test]
async fn payment_missing_for_less_than_14_days_lets_renewals_go_on() {
    let world = World::new().await;
    let requested = issued(&world, &tenant_on(&world, "pro").await, "app", 61).await;
    world.database.run("UPDATE accounts SET status = 'suspended_payment', suspended_at = now() - interval '13 days'").await;
    assert!(begin(&world, requested.account, requested.certificate).await.is_some());
}

/// Moments are stored in microseconds, and lengths of time are computed in nanoseconds.
fn is_30_days_before(moment: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> bool {
    let (moment, end) = moment.zip(end).expect("both are there");
    (end - moment - TimeDelta::days(30)).abs() <= TimeDelta::microseconds(2)
}

#[tokio::test]
async fn a_downgrade_and_an_upgrade_later_the_wish_is_what_it_was_and_the_moment_is_back() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let requested = issued(&world, &tenant, "app", 10).await;
    let planned = get(&world, requested).await.next_renewal_at;
    assert!(is_30_days_before(planned, get(&world, requested).await.expires_at));
    let mut seen = Vec::new();
    for plan in ["plus", "pro", "plus", "elite"] {
        world.database.run(&format!("UPDATE accounts SET plan = '{plan}' WHERE id = '{}'", tenant.account.0)).await;
        let rescheduled =
            world.worker.tenant_write(tenant.account, async |conn| renewal_schedule::reschedule_account(conn, tenant.account).await);
        rescheduled.await.unwrap();
        let certificate = get(&world, requested).await;
        assert!(certificate.auto_renew);
        seen.push((certificate.next_renewal_at, moment(&world, requested, "renewal_due_at").await));
    }
    assert_eq!(seen, [(None, None), (planned, planned), (None, None), (planned, planned)]);
    assert_eq!(events(&world, requested).await, ["renewal_blocked", "renewal_unblocked", "renewal_blocked", "renewal_unblocked"]);
}

#[tokio::test]
async fn a_wildcard_renews_only_on_a_plan_that_has_wildcards() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "elite").await;
    let requested = issued(&world, &tenant, "app", 10).await;
    world.database.run("UPDATE certificate_names SET name = '*.' || name").await;
    for (plan, block) in [("pro", Some("plan")), ("elite", None)] {
        world.database.run(&format!("UPDATE accounts SET plan = '{plan}'")).await;
        let account = tenant.account;
        world.worker.tenant_write(account, async |conn| renewal_schedule::reschedule_account(conn, account).await).await.unwrap();
        let blocked_by: Option<String> = world.database.value("SELECT renewal_blocked_by FROM certificates").await;
        assert_eq!(blocked_by.as_deref(), block, "{plan}");
        let found = world.worker.tenant(account, async |conn| renewal_schedule::find_block(conn, account, requested.certificate).await);
        assert_eq!(found.await.unwrap(), block.and_then(RenewalBlock::parse), "{plan}");
    }
}

#[tokio::test]
async fn while_an_issuance_is_live_nothing_is_due_and_a_failure_for_good_puts_the_next_off_by_a_day() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let first = issued(&world, &tenant, "app", 61).await;
    let planned = get(&world, first).await.next_renewal_at.unwrap();
    let account = first.account;
    let by_hand = world.api.tenant_write(account, async |conn| {
        issuances::insert_issuance(conn, account, first.certificate, IssuanceReason::ByHand, in_a_day()).await
    });
    let requested = Requested { issuance: by_hand.await.unwrap(), ..first };
    assert_eq!(moment(&world, requested, "renewal_due_at").await, None);
    assert_eq!(get(&world, requested).await.next_renewal_at, Some(planned), "people see the moment all the same");

    let lease = world.lease(requested).await;
    let failed = world.held(&lease, async |conn| {
        issuances::end(conn, &lease, IssuanceEvent::Failed, Some(json!({}))).await?;
        issuing::record_outcome(conn, account, first.certificate, Outcome::Failed(json!({"code": "acme_caa"}))).await
    });
    failed.await.unwrap();
    let certificate = get(&world, requested).await;
    assert_eq!((certificate.status, certificate.next_renewal_at), (CertificateStatus::Issued, Some(planned)), "S3.35");
    assert!(planned < now() && certificate.last_error.is_some() && certificate.downloadable);
    let due = moment(&world, requested, "renewal_due_at").await.unwrap();
    assert!((due - now() - TimeDelta::days(1)).abs() < TimeDelta::minutes(1), "{due}");
    assert_eq!(begin(&world, account, first.certificate).await, None);
    world.database.run("UPDATE issuances SET finished_at = finished_at - interval '25 hours' WHERE status = 'failed'").await;
    // What has failed counts only since the version in use came.
    world.run_replica("UPDATE versions SET created_at = created_at - interval '30 hours'").await;
    assert!(begin(&world, account, first.certificate).await.is_some());
}

#[tokio::test]
async fn a_new_version_is_planned_for_anew_and_the_ca_is_asked_about_it_at_once() {
    let world = World::new().await;
    let first = issued(&world, &tenant_on(&world, "pro").await, "app", 61).await;
    world
        .database
        .run(
            "UPDATE certificates SET renewal_info_start = now(), renewal_info_end = now() + interval '1 day', renewal_info_explanation_url = 'https://ca.test/why',
                 renewal_info_checked_at = now(), renewal_info_due_at = now() + interval '6 hours', renewal_info_failures = 3",
        )
        .await;
    world.run_replica("UPDATE versions SET not_before = not_before - interval '1 day', not_after = not_after - interval '1 day'").await;
    let account = first.account;
    let renewal = world.worker.tenant_write(account, async |conn| {
        issuances::insert_issuance(conn, account, first.certificate, IssuanceReason::Renewal, in_a_day()).await
    });
    let requested = Requested { issuance: renewal.await.unwrap(), ..first };
    issue(&world, requested, TimeDelta::zero()).await;
    let certificate = get(&world, requested).await;
    assert!(is_30_days_before(certificate.next_renewal_at, certificate.expires_at), "S3.34");
    assert_eq!(moment(&world, requested, "renewal_due_at").await, certificate.next_renewal_at);
    let forgotten: bool = world
        .database
        .value(
            "SELECT (renewal_info_start, renewal_info_end, renewal_info_explanation_url, renewal_info_checked_at) IS NULL AND renewal_info_due_at <= now()
                 AND renewal_info_failures = 0 FROM certificates",
        )
        .await;
    assert!(forgotten);
}

#[tokio::test]
async fn what_is_past_its_end_expires_and_frees_its_slot_and_its_domain() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let account = tenant.account;
    let requested = issued(&world, &tenant, "app", 91).await;
    let valid = issued(&world, &tenant, "valid", 89).await;
    // A version that is past its end when it comes is never taken for valid; this one has come before.
    world.database.run("UPDATE certificates SET status = 'issued'").await;
    let list = async || world.worker.platform(async |conn| renewals::list_expired(conn, 10).await).await.unwrap();
    let mark = async |certificate| {
        world.worker.tenant_write(account, async |conn| issuing::record_expired(conn, account, certificate).await).await.unwrap()
    };
    assert_eq!(list().await, [(account, requested.certificate)]);
    let stranger = world.tenant().await.account;
    let theirs =
        world.worker.tenant_write(stranger, async |conn| issuing::record_expired(conn, stranger, requested.certificate).await).await;
    assert!(matches!(theirs, Ok(false) | Err(StoreError::NotFound)), "{theirs:?}");
    assert_eq!((mark(requested.certificate).await, mark(requested.certificate).await, mark(valid.certificate).await), (true, false, false));
    assert_eq!(list().await, []);
    let certificate = get(&world, requested).await;
    assert_eq!((certificate.status, certificate.next_renewal_at, certificate.downloadable), (CertificateStatus::Expired, None, false));
    assert_eq!(moment(&world, requested, "renewal_due_at").await, None);
    assert_eq!(events(&world, requested).await, ["expired"]);
    let slots = world.api.tenant(account, async |conn| certificates::count_slots(conn, account).await).await;
    assert_eq!(slots.unwrap(), 1);
    world.certificate(&tenant, "app").await;
}

#[tokio::test]
async fn what_expires_during_a_renewal_waits_for_its_end() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    let account = tenant.account;
    let first = issued(&world, &tenant, "app", 91).await;
    let mark = async || {
        world.worker.tenant_write(account, async |conn| issuing::record_expired(conn, account, first.certificate).await).await.unwrap()
    };
    let renewal = world.worker.tenant_write(account, async |conn| {
        issuances::insert_issuance(conn, account, first.certificate, IssuanceReason::Renewal, in_a_day()).await
    });
    let requested = Requested { issuance: renewal.await.unwrap(), ..first };
    world.database.run("UPDATE certificates SET status = 'validating'").await;
    assert!(!mark().await);
    assert_eq!(get(&world, requested).await.status, CertificateStatus::Validating);
    // Between two attempts it is shown as what it is: without anything valid, and with something to come.
    world.database.run("UPDATE certificates SET status = 'issued'").await;
    assert!(mark().await);
    assert_eq!(get(&world, requested).await.status, CertificateStatus::Pending);
    let lease = world.lease(requested).await;
    let failed = world.held(&lease, async |conn| {
        issuances::end(conn, &lease, IssuanceEvent::Failed, Some(json!({}))).await?;
        issuing::record_outcome(conn, account, first.certificate, Outcome::Failed(json!({}))).await
    });
    failed.await.unwrap();
    assert_eq!(get(&world, requested).await.status, CertificateStatus::Expired);
    assert_eq!(events(&world, requested).await, ["expired"], "told when it was seen, and not again");
}

#[tokio::test]
async fn what_expired_under_an_order_is_told_when_that_is_over_without_another_version() {
    let world = World::new().await;
    let tenant = tenant_on(&world, "pro").await;
    for (name, outcomes) in [
        ("failed", vec![Outcome::Running, Outcome::Failed(json!({}))]),
        ("waiting", vec![Outcome::Running, Outcome::Waiting(json!({})), Outcome::Running, Outcome::Failed(json!({}))]),
        ("cancelled", vec![Outcome::Running, Outcome::Cancelled]),
    ] {
        let Requested { account, certificate, .. } = issued(&world, &tenant, name, 91).await;
        let told = async || {
            let query = format!("SELECT event FROM events WHERE certificate_id = '{}' AND event = 'expired'", certificate.0);
            world.database.column::<String>(&query).await.len()
        };
        let already = told().await;
        assert_eq!(already, 0, "{name}");
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let record = async |conn: &mut Connection| issuing::record_outcome(conn, account, certificate, outcome).await;
            let noticed = world.worker.tenant_write(account, record).await.unwrap();
            assert_eq!(noticed, number == 1, "whoever counts what expires counts it once: {name}, {number}");
            assert_eq!(told().await, usize::from(number > 0), "{name}, {number}");
        }
    }
    // Of one that is valid there is nothing to tell.
    let Requested { account, certificate, .. } = issued(&world, &tenant, "valid", 80).await;
    let failed = Outcome::Failed(json!({}));
    world.worker.tenant_write(account, async |conn| issuing::record_outcome(conn, account, certificate, failed).await).await.unwrap();
    let told: i64 = world.database.value(&format!("SELECT count(*) FROM events WHERE certificate_id = '{}'", certificate.0)).await;
    assert_eq!(told, 0);
}
