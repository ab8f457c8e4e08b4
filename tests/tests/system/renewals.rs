//! Certificates renew by themselves: at their moment, once, and without a moment in which nothing valid can be downloaded.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use zonecert_devstack::product::{Product, Role, setting};
use zonecert_devstack::{PebbleOptions, PebbleServer, StackHandle, shared, wait};
use zonecert_tests::{Account, PATIENCE, System, Zone, check_download};

const DAY: u64 = 86_400;

/// Looks for what is due every second.
fn often(product: Product) -> Product {
    product.with(setting::RENEWAL_SCAN_SECONDS, "1").with(setting::PROPAGATION_SECONDS, "0.2")
}

/// One whose certificates last so long.
async fn ca_of(stack: &StackHandle, days: u64) -> Result<(PebbleServer, StackHandle)> {
    let options = PebbleOptions { certificate_validity: Duration::from_secs(days * DAY), ..PebbleOptions::default() };
    let pebble = PebbleServer::beside(&stack.powerdns, &options).await?;
    let handle = StackHandle { pebble: (*pebble).clone(), ..stack.clone() };
    Ok((pebble, handle))
}

#[tokio::test]
async fn a_90_day_certificate_renews_30_days_before_its_end_and_stays_downloadable_all_along() -> Result<()> {
    renews_once(&shared().await?, "2592000").await
}

#[tokio::test]
async fn a_45_day_certificate_renews_with_a_third_of_its_time_left() -> Result<()> {
    let (_pebble, stack) = ca_of(&shared().await?, 45).await?;
    renews_once(&stack, "extract(epoch FROM versions.not_after - versions.not_before + interval '1 second') / 3").await
}

#[tokio::test]
async fn a_6_day_certificate_renews_at_half_its_time() -> Result<()> {
    let (_pebble, stack) = ca_of(&shared().await?, 6).await?;
    renews_once(&stack, "extract(epoch FROM versions.not_after - versions.not_before + interval '1 second') / 2").await
}

/// Renews exactly this long before its end, in seconds, once, and then not again.
async fn renews_once(stack: &StackHandle, lead: &str) -> Result<()> {
    let system = System::start_with(stack, |product| often(product).with(setting::PROPAGATION_SECONDS, "1")).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    let first = account.becomes(&id, "issued").await?;
    ensure!(first["next_renewal_at"].is_string(), "{first}");
    let as_planned = format!("abs(extract(epoch FROM expires_at - next_renewal_at) - {lead}) < 0.001 AND renewal_due_at = next_renewal_at");
    ensure!(system.holds(&id, &as_planned).await?, "not planned as it should be: {first}");

    let left = "extract(epoch FROM next_renewal_at - now()) BETWEEN 3500 AND 3600";
    let until_an_hour_before = system
        .database()
        .await?
        .query_one("SELECT (next_renewal_at - now() - interval '1 hour')::text FROM certificates", &[])
        .await?
        .get::<_, String>(0);
    system.let_pass(&id, &until_an_hour_before).await?;
    ensure!(system.holds(&id, left).await?, "the clock was moved");
    system.scans_again(2).await?;
    ensure!(system.versions(&id).await? == 1, "an hour before its moment nothing renews");

    system.let_pass(&id, "1 hour").await?;
    let seen = watch(&account, &id, 2).await?;
    ensure!(seen.statuses == BTreeSet::from(["issued", "validating"].map(str::to_owned)), "{:?}", seen.statuses);
    let renewed = account.certificate(&id).await?;
    ensure!(renewed["id"] == first["id"] && renewed["last_error"].is_null(), "{renewed}");
    ensure!(system.holds(&id, &as_planned).await? && system.holds(&id, "next_renewal_at > now()").await?, "planned anew: {renewed}");
    let download = account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)?;
    check_download(&download, &stack.pebble.root_certificate_pem().await?)?;

    system.scans_again(3).await?;
    ensure!(system.versions(&id).await? == 2, "it renews once");
    ensure!(stack.pebble.seen().await?.orders_for(&format!("app.{}", zone.name)).len() == 2);
    let log: Vec<String> = account.log(&id).await?.iter().map(|entry| entry["event"].as_str().unwrap_or_default().to_owned()).collect();
    ensure!(log.iter().filter(|event| *event == "renewal_begun").count() == 1, "{log:?}");
    system.challenges_are_gone(&zone.name).await
}

/// What a client sees that reads a certificate and downloads it again and again.
#[derive(Default)]
struct Watched {
    leaves: Vec<String>,
    statuses: BTreeSet<String>,
}

/// Downloads until so many different certificates were seen. Fails if there is ever none.
async fn watch(account: &Account, id: &str, different: usize) -> Result<Watched> {
    let mut watched = Watched::default();
    let path = format!("/certificates/{id}/download");
    wait::until("the renewed certificate is downloaded", PATIENCE, async || {
        let certificate = account.certificate(id).await?;
        ensure!(certificate["downloadable"] == true, "{certificate}");
        watched.statuses.insert(certificate["status"].as_str().unwrap_or_default().to_owned());
        let leaf = account.client.get(&path).await?.expect(200)?["certificate"].as_str().unwrap_or_default().to_owned();
        if watched.leaves.last() != Some(&leaf) {
            ensure!(!watched.leaves.contains(&leaf), "a download went back to an older version");
            watched.leaves.push(leaf);
        }
        Ok((watched.leaves.len() == different).then_some(()))
    })
    .await?;
    Ok(watched)
}

#[tokio::test]
async fn three_workers_renew_each_certificate_once() -> Result<()> {
    let stack = shared().await?;
    let system = System::start_with(&stack, often).await?;
    let (_second, _third) = tokio::try_join!(system.product.work(), system.product.work())?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(account.request(&zone, &format!("app{number}"), &[]).await?);
    }
    for id in &ids {
        account.becomes(id, "issued").await?;
    }
    for id in &ids {
        system.let_pass(id, "61 days").await?;
    }
    for (number, id) in ids.iter().enumerate() {
        wait::until("it has renewed", PATIENCE, async || Ok((system.versions(id).await? == 2).then_some(()))).await?;
        account.becomes(id, "issued").await?;
        let orders = stack.pebble.seen().await?.orders_for(&format!("app{number}.{}", zone.name)).len();
        ensure!(orders == 2, "app{number} was ordered {orders} times");
    }
    system.scans_again(2).await?;
    for id in &ids {
        let renewals = "SELECT count(*) FROM issuances WHERE reason = 'renewal' AND certificate_id::text = $1";
        ensure!(system.count(id, renewals).await? == 1 && system.versions(id).await? == 2, "{id} renewed more than once");
    }
    // One job a tick, whoever came first.
    let ticks =
        "SELECT count(*) = count(DISTINCT idempotency_key) AND count(*) > 2 FROM apalis.jobs WHERE idempotency_key LIKE 'renewal-scan:%'";
    ensure!(system.database().await?.query_one(ticks, &[]).await?.get::<_, bool>(0), "a tick has had more than one job");
    Ok(())
}

/// Names below it are not to be seen by the CA any more: a zone of somebody else's in the same DNS server hides our TXT values.
async fn hide(stack: &StackHandle, zone: &Zone) -> Result<()> {
    stack.powerdns.create_zone(&format!("hidden.{}", zone.name), &["ns1.customer.test"]).await
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_certificate_issued_and_is_tried_again_a_day_later() -> Result<()> {
    let stack = shared().await?;
    let system = System::start_with(&stack, |product| {
        often(product).with(setting::RETRY_LADDER_SECONDS, "2").with(setting::PROPAGATION_CHECK, "off")
    })
    .await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app.hidden", &[]).await?;
    account.becomes(&id, "issued").await?;
    let before = account.client.get(&format!("/certificates/{id}/pem")).await?.text;

    hide(&stack, &zone).await?;
    system.let_pass(&id, "61 days").await?;
    account.logs(&id, "attempt_failed").await?;
    system.database().await?.execute("UPDATE issuances SET give_up_at = now() WHERE status = 'active'", &[]).await?;
    account.logs(&id, "issuance_failed").await?;

    let failed = account.becomes(&id, "issued").await?;
    ensure!(
        failed["downloadable"] == true && failed["last_error"]["code"].is_string() && failed["last_error"]["remedy"].is_string(),
        "{failed}"
    );
    ensure!(
        system
            .holds(&id, "next_renewal_at < now() AND renewal_due_at BETWEEN now() + interval '23 hours' AND now() + interval '1 day'")
            .await?
    );
    ensure!(account.client.get(&format!("/certificates/{id}/pem")).await?.text == before);
    let spent = "SELECT count(*) FROM ca_budget WHERE kind = 'failed_authorization'";
    ensure!(
        system.database().await?.query_one(spent, &[]).await?.get::<_, i64>(0) >= 1,
        "a failed authorization counts against the CA's limits"
    );

    stack.powerdns.delete_zone(&format!("hidden.{}", zone.name)).await?;
    system.let_pass(&id, "25 hours").await?;
    wait::until("it renews the day after", PATIENCE, async || Ok((system.versions(&id).await? == 2).then_some(()))).await?;
    let renewed = account.becomes(&id, "issued").await?;
    ensure!(renewed["last_error"].is_null(), "{renewed}");
    Ok(())
}

#[tokio::test]
async fn pro_to_plus_to_pro_keeps_the_wish_and_renews_when_it_may_again() -> Result<()> {
    let stack = shared().await?;
    let system = System::start_with(&stack, often).await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;

    set_plan(&system, &account, "plus").await?;
    let on_plus = account.certificate(&id).await?;
    ensure!(on_plus["auto_renew"] == true && on_plus["next_renewal_at"].is_null() && on_plus["downloadable"] == true, "{on_plus}");
    system.let_pass(&id, "70 days").await?;
    system.scans_again(2).await?;
    ensure!(system.versions(&id).await? == 1 && account.certificate(&id).await?["status"] == "issued");

    set_plan(&system, &account, "pro").await?;
    wait::until("it renews at once", PATIENCE, async || Ok((system.versions(&id).await? == 2).then_some(()))).await?;
    let renewed = account.becomes(&id, "issued").await?;
    ensure!(renewed["auto_renew"] == true && renewed["next_renewal_at"].is_string(), "{renewed}");
    let log: Vec<String> = account.log(&id).await?.iter().map(|entry| entry["event"].as_str().unwrap_or_default().to_owned()).collect();
    let blocks: Vec<&String> = log.iter().filter(|event| event.starts_with("renewal_") && event.ends_with("blocked")).collect();
    ensure!(blocks == ["renewal_blocked", "renewal_unblocked"], "{log:?}");
    Ok(())
}

#[tokio::test]
async fn a_renewal_that_the_plan_forbids_meanwhile_is_called_off_before_another_order() -> Result<()> {
    let stack = shared().await?;
    let system = System::start_with(&stack, |product| {
        often(product).with(setting::RETRY_LADDER_SECONDS, "3").with(setting::PROPAGATION_CHECK, "off")
    })
    .await?;
    let account = system.account("pro").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app.hidden", &[]).await?;
    account.becomes(&id, "issued").await?;
    hide(&stack, &zone).await?;
    system.let_pass(&id, "61 days").await?;
    account.logs(&id, "attempt_failed").await?;

    set_plan(&system, &account, "free").await?;
    let called_off = account.logs(&id, "renewal_called_off").await?;
    ensure!(called_off["details"]["code"] == "plan" && called_off["details"]["remedy"].is_string(), "{called_off}");
    let certificate = account.becomes(&id, "issued").await?;
    ensure!(certificate["downloadable"] == true && certificate["next_renewal_at"].is_null(), "{certificate}");
    ensure!(system.holds(&id, "renewal_blocked_by = 'plan' AND renewal_due_at IS NULL").await?);
    let ended = "SELECT count(*) FROM issuances WHERE reason = 'renewal' AND status = 'cancelled' AND certificate_id::text = $1";
    ensure!(system.count(&id, ended).await? == 1);
    system.challenges_are_gone(&zone.name).await
}

#[tokio::test]
async fn what_nobody_renews_expires_and_gives_slot_and_domain_back() -> Result<()> {
    let stack = shared().await?;
    let system = System::start_with(&stack, often).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    system.let_pass(&id, "91 days").await?;

    let expired = account.becomes(&id, "expired").await?;
    ensure!(expired["downloadable"] == false && expired["next_renewal_at"].is_null(), "{expired}");
    let told = account.logs(&id, "expired").await?;
    ensure!(told["level"] == "warning" && told["details"]["expires_at"].is_string(), "{told}");
    let list = account.client.get("/certificates").await?.expect(200)?;
    ensure!(list["limits"]["current_count"] == 0, "{list}");
    let again = account.request(&zone, "app", &[]).await?;
    account.becomes(&again, "issued").await?;
    Ok(())
}

async fn set_plan(system: &System, account: &Account, plan: &str) -> Result<()> {
    system.product.run(Role::Owner, &["admin", "set-plan", &account.email, plan]).await.map(drop)
}
