//! The CA says when to renew (RFC 9773): a directory of the test's own before Pebble, which does not.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{RenewalInfoAnswer, RenewalInfoDirectory, StackHandle, shared, wait};
use zonecert_tests::{Account, PATIENCE, System, check_download};

/// A CA that tells, the product that uses it, and a certificate of it.
struct Scene {
    stack: StackHandle,
    ca: RenewalInfoDirectory,
    system: System,
    account: Account,
    id: String,
    name: String,
}

impl Scene {
    /// A certificate of 90 days that has just been issued; the CA says `answer` about it.
    async fn new(answer: Option<RenewalInfoAnswer>) -> Result<Self> {
        let stack = shared().await?;
        let ca = RenewalInfoDirectory::before(&stack.pebble).await?;
        if let Some(answer) = answer {
            ca.answer(answer);
        }
        let settings = |product: Product| {
            product
                .at_ca(ca.directory_url(), ca.ca_file())
                .with(setting::RENEWAL_SCAN_SECONDS, "1")
                .with(setting::PROPAGATION_SECONDS, "0.2")
        };
        let system = System::start_with(&stack, settings).await?;
        let account = system.account("pro").await?;
        let zone = system.verified_zone(&account).await?;
        let id = account.request(&zone, "app", &[]).await?;
        account.becomes(&id, "issued").await?;
        Ok(Self { stack, ca, system, account, id, name: format!("app.{}", zone.name) })
    }

    /// Waits until the CA was asked so many times.
    async fn asked(&self, times: usize) -> Result<Vec<String>> {
        wait::until("the CA is asked", PATIENCE, async || {
            let asked = self.ca.asked_about();
            Ok((asked.len() >= times).then_some(asked))
        })
        .await
    }

    /// Has the CA asked again now.
    async fn ask_again(&self) -> Result<()> {
        // An answer that is still to be recorded would be taken for that of the question that follows.
        self.becomes_so("the first answer is recorded", "renewal_info_checked_at IS NOT NULL OR renewal_info_failures > 0").await?;
        let asked = self.ca.asked_about().len();
        self.system.database().await?.execute("UPDATE certificates SET renewal_info_due_at = now()", &[]).await?;
        self.asked(asked + 1).await.map(drop)
    }

    async fn becomes_so(&self, what: &str, condition: &str) -> Result<()> {
        wait::until(what, PATIENCE, async || Ok(self.system.holds(&self.id, condition).await?.then_some(()))).await
    }

    async fn renews(&self) -> Result<Value> {
        wait::until("it renews", PATIENCE, async || Ok((self.system.versions(&self.id).await? == 2).then_some(()))).await?;
        self.account.becomes(&self.id, "issued").await
    }

    /// A window in so many days from now by the database's clock, for two days.
    async fn window(&self, days: i32) -> Result<RenewalInfoAnswer> {
        window(&self.system, days).await
    }
}

async fn window(system: &System, days: i32) -> Result<RenewalInfoAnswer> {
    let query = "SELECT to_char(now() AT TIME ZONE 'UTC' + make_interval(days => $1), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                     to_char(now() AT TIME ZONE 'UTC' + make_interval(days => $1 + 2), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let row = system.database().await?.query_one(query, &[&days]).await?;
    let explanation_url = Some("https://ca.test/incident".to_owned());
    Ok(RenewalInfoAnswer::Window { start: row.get(0), end: row.get(1), explanation_url, retry_after: Some("7200".to_owned()) })
}

#[tokio::test]
async fn the_window_of_the_ca_moves_the_moment_and_it_is_asked_again_when_it_says() -> Result<()> {
    let scene = Scene::new(None).await?;
    scene.asked(1).await?;
    // It knows nothing yet: the rules of the lifetime hold.
    scene.becomes_so("the lifetime decides", "expires_at - next_renewal_at = interval '30 days' AND renewal_info_failures > 0").await?;

    scene.ca.answer(scene.window(10).await?);
    scene.ask_again().await?;
    let inside = "next_renewal_at BETWEEN renewal_info_start AND renewal_info_end AND renewal_due_at = next_renewal_at
                  AND renewal_info_start > now() + interval '9 days' AND renewal_info_end < now() + interval '13 days'";
    scene.becomes_so("the window decides", inside).await?;
    let in_two_hours = "renewal_info_due_at BETWEEN now() + interval '100 minutes' AND now() + interval '2 hours'";
    ensure!(scene.system.holds(&scene.id, in_two_hours).await?, "Retry-After was 7200");
    ensure!(
        scene.system.holds(&scene.id, "renewal_info_explanation_url = 'https://ca.test/incident' AND renewal_info_failures = 0").await?
    );
    let moved = scene.account.logs(&scene.id, "renewal_moved").await?;
    ensure!(moved["details"]["explanation_url"] == "https://ca.test/incident", "{moved}");
    let asked = scene.ca.asked_about();
    ensure!(asked.iter().all(|identifier| *identifier == asked[0] && identifier.contains('.')), "{asked:?}");

    // Whatever it answers then, what it has said holds, and it is asked again ever later.
    for (failures, answer) in [
        (1, RenewalInfoAnswer::Other { status: 500, body: "{}".to_owned() }),
        (2, RenewalInfoAnswer::Other { status: 200, body: "<html>".to_owned() }),
        (
            3,
            RenewalInfoAnswer::Other {
                status: 200,
                body: r#"{"suggestedWindow": {"start": "2031-01-02T00:00:00Z", "end": "2031-01-01T00:00:00Z"}}"#.to_owned(),
            },
        ),
    ] {
        scene.ca.answer(answer);
        scene.ask_again().await?;
        scene.becomes_so("a failure is counted", &format!("renewal_info_failures = {failures}")).await?;
        ensure!(scene.system.holds(&scene.id, inside).await?, "after failure {failures}");
    }
    ensure!(
        scene.system.holds(&scene.id, "renewal_info_due_at BETWEEN now() + interval '1 minute' AND now() + interval '4 minutes'").await?
    );
    ensure!(scene.system.versions(&scene.id).await? == 1);
    Ok(())
}

#[tokio::test]
async fn a_window_that_is_over_renews_at_once_names_what_is_replaced_and_does_not_loop() -> Result<()> {
    let scene = Scene::new(None).await?;
    let first = scene.asked(1).await?[0].clone();
    scene.ca.answer(scene.window(-5).await?);
    scene.ask_again().await?;
    let renewed = scene.renews().await?;
    ensure!(renewed["last_error"].is_null(), "{renewed}");

    let seen = scene.ca.seen();
    let orders = seen.orders_for(&scene.name);
    ensure!(orders.len() == 2 && orders[0].replaces.is_none(), "{orders:?}");
    ensure!(orders[1].replaces.as_ref() == Some(&first), "{orders:?}: not the certificate that was asked about, {first}");
    let download = scene.account.client.get(&format!("/certificates/{}/download", scene.id)).await?.expect(200)?;
    check_download(&download, &scene.stack.pebble.root_certificate_pem().await?)?;

    // About the new one the CA says the same: it is asked, and left alone for a day.
    wait::until("the CA is asked about the new one", PATIENCE, async || {
        Ok(scene.ca.asked_about().iter().any(|identifier| *identifier != first).then_some(()))
    })
    .await?;
    scene.becomes_so("the new one is planned for", "renewal_info_start < now() AND next_renewal_at > now() + interval '23 hours'").await?;
    scene.system.scans_again(2).await?;
    ensure!(scene.system.versions(&scene.id).await? == 2);
    // A renewal that the CA has asked for costs nothing of its limits.
    let kinds = "SELECT string_agg(kind, ' ' ORDER BY kind) FROM ca_budget";
    let spent: String = scene.system.database().await?.query_one(kinds, &[]).await?.get(0);
    ensure!(spent == "exact_names order registered_domain", "{spent}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_was_replaced_already_is_renewed_without_saying_so() -> Result<()> {
    falls_back(409, "alreadyReplaced").await
}

#[tokio::test]
async fn a_ca_that_cannot_deal_with_a_replacement_gets_an_order_without_it() -> Result<()> {
    falls_back(500, "serverInternal").await
}

/// The order is placed again at once, and nothing of it counts as a failed attempt.
async fn falls_back(status: u16, problem_type: &str) -> Result<()> {
    let scene = Scene::new(None).await?;
    scene.ca.refuse_replacements(status, problem_type);
    scene.system.let_pass(&scene.id, "61 days").await?;
    scene.renews().await?;
    let refused = scene.ca.refused_replacements();
    ensure!(refused.len() == 1 && refused[0].contains('.'), "{refused:?}");
    let seen = scene.ca.seen();
    let orders = seen.orders_for(&scene.name);
    ensure!(orders.len() == 2 && orders[1].replaces.is_none(), "{orders:?}");
    let told = scene.account.logs(&scene.id, "replaces_refused").await?;
    ensure!(told["details"]["replaces"] == refused[0].as_str(), "{told}");
    let log = scene.account.log(&scene.id).await?;
    ensure!(!log.iter().any(|entry| entry["event"] == "attempt_failed" || entry["event"] == "step_failed"), "{log:?}");
    let attempts = "SELECT sum(attempts) FROM issuances WHERE certificate_id::text = $1";
    ensure!(scene.system.count(&scene.id, attempts).await? == 0);
    // Without being a replacement it costs what every order costs.
    let orders = scene.system.database().await?.query_one("SELECT count(*) FROM ca_budget WHERE kind = 'order'", &[]).await?;
    ensure!(orders.get::<_, i64>(0) == 2);
    Ok(())
}

#[tokio::test]
async fn a_ca_that_answers_nonsense_never_keeps_a_certificate_from_renewing() -> Result<()> {
    let scene = Scene::new(Some(RenewalInfoAnswer::Other { status: 503, body: "no".to_owned() })).await?;
    scene.asked(1).await?;
    scene.system.let_pass(&scene.id, "61 days").await?;
    scene.renews().await.context("the lifetime decides")?;
    let seen = scene.ca.seen();
    let orders = seen.orders_for(&scene.name);
    ensure!(orders.len() == 2 && orders[1].replaces.is_some(), "what is replaced is said all the same: {orders:?}");
    Ok(())
}
