//! Certificates are deleted while they are being issued: nothing is left of it, and what the CA has made of it is revoked.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::{Hold, PebbleOptions, PebbleServer, Stack, StackHandle, shared, wait};
use zonecert_tests::{Account, PATIENCE, System, Zone, uuid};

/// One name's order asks these of the CA, one after the other; at the last of them the certificate is deleted.
const STEPS: [(&str, &[&str]); 7] = [
    ("sends newOrder", &["/order-plz"]),
    ("reads the authorizations", &["/authZ/"]),
    ("tells the CA to look", &["/chalZ/"]),
    ("looks at the authorizations", &["/chalZ/", "/authZ/"]),
    ("sends the certificate request", &["/finalize-order/"]),
    ("looks at the order", &["/finalize-order/", "/my-order/"]),
    ("fetches the certificate", &["/certZ/"]),
];

/// The step at which the CA issues.
const FINALIZE: usize = 4;

/// A CA of the test's own that can be held. It rejects no nonce, so that what is held is what was meant.
struct Scene {
    ca: PebbleServer,
    system: System,
    account: Account,
    zone: Zone,
    certificates: AtomicUsize,
}

impl Scene {
    async fn new(stack: &StackHandle, propagation: &str) -> Result<Self> {
        let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
        let quick = |product: Product| product.with(setting::PROPAGATION_SECONDS, propagation).with(setting::LEASE_SECONDS, "2");
        let system = System::start_at(stack, &ca, quick).await?;
        let account = system.account("elite").await?;
        let zone = system.verified_zone(&account).await?;
        Ok(Self { ca, system, account, zone, certificates: AtomicUsize::new(0) })
    }

    fn new_label(&self) -> String {
        format!("app{}", self.certificates.fetch_add(1, Ordering::Relaxed))
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let deleted = self.account.client.send(reqwest::Method::DELETE, &format!("/certificates/{id}"), None).await?;
        ensure!(deleted.status.is_success(), "{}: {}", deleted.status, deleted.text);
        let gone = self.account.client.get(&format!("/certificates/{id}")).await?;
        ensure!(gone.status == 404, "{}", gone.text);
        Ok(())
    }

    /// Nothing is left of an issuance whose certificate was deleted. Returns whether the CA had issued.
    async fn nothing_is_left(&self, label: &str, id: &str) -> Result<bool> {
        let id = uuid(id);
        let database = self.system.database().await?;
        wait::until("the issuance is cancelled and everything is revoked", PATIENCE, async || {
            let query = "SELECT status || ' ' || (SELECT count(*) FROM revocations WHERE status = 'active') FROM issuances
                         WHERE certificate_id::text = $1";
            let status: String = database.query_one(query, &[&id]).await?.get(0);
            Ok((status == "cancelled 0").then_some(()))
        })
        .await?;
        self.system.challenges_are_gone(&self.zone.name).await?;
        for (what, query) in [
            ("versions", "SELECT count(*) FROM versions WHERE certificate_id::text = $1"),
            (
                "keys",
                "SELECT count(*) FROM key_versions JOIN orders ON orders.key_version_id = key_versions.id
                 WHERE certificate_id::text = $1 AND sealed IS NOT NULL",
            ),
            ("live orders", "SELECT count(*) FROM orders WHERE certificate_id::text = $1 AND status <> 'abandoned'"),
            ("refused revocations", "SELECT count(*) FROM revocations WHERE certificate_id::text = $1 AND status <> 'succeeded'"),
        ] {
            let left: i64 = database.query_one(query, &[&id]).await?.get(0);
            ensure!(left == 0, "{left} {what} are left");
        }
        wait::until("no TXT value is on record", PATIENCE, async || {
            let left: i64 = database.query_one("SELECT count(*) FROM challenge_records", &[]).await?.get(0);
            Ok((left == 0).then_some(()))
        })
        .await?;
        let seen = self.ca.seen().await?;
        let orders = seen.orders_for(&format!("{label}.{}", self.zone.name));
        let issued = orders.iter().any(|order| seen.finalizations_of(order).iter().any(|finalization| finalization.status == 200));
        let late = "SELECT details ->> 'serial' FROM events WHERE event = 'late_certificate' AND certificate_id::text = $1";
        let late: Vec<String> = database.query(late, &[&id]).await?.iter().map(|row| row.get(0)).collect();
        ensure!(late.len() == usize::from(issued), "the CA has issued: {issued}; revoked were {late:?}");
        for serial in &late {
            let status = self.ca.certificate_status(serial).await?;
            ensure!(status["Status"] == "Revoked", "{status}");
        }
        Ok(issued)
    }
}

/// Deletes a certificate at each step, while the CA's request or answer (as `hold` says) is on its way; it arrives afterwards.
async fn delete_at_each_step(hold: fn(&PebbleServer, &str) -> Hold) -> Result<()> {
    let scene = Scene::new(&shared().await?, "0.3").await?;
    for (number, (step, paths)) in STEPS.into_iter().enumerate() {
        let label = scene.new_label();
        let (last, before) = paths.split_last().context("a path")?;
        let mut before_it: Option<Hold> = None;
        let mut requested = None;
        for path in before {
            let next = scene.ca.hold_answer(path);
            drop(before_it.take());
            if requested.is_none() {
                requested = Some(scene.account.request(&scene.zone, &label, &[]).await?);
            }
            next.reached().await.with_context(|| format!("while a worker {step}"))?;
            before_it = Some(next);
        }
        let middle = hold(&scene.ca, last);
        drop(before_it);
        let id = match requested {
            Some(id) => id,
            None => scene.account.request(&scene.zone, &label, &[]).await?,
        };
        middle.reached().await.with_context(|| format!("while a worker {step}"))?;

        scene.delete(&id).await?;
        middle.release();
        // Slot and domain are free at once.
        let second = scene.account.request(&scene.zone, &label, &[]).await?;
        scene.delete(&second).await?;

        let issued = scene.nothing_is_left(&label, &id).await.with_context(|| format!("deleted while a worker {step}"))?;
        match number.cmp(&FINALIZE) {
            std::cmp::Ordering::Less => ensure!(!issued, "while a worker {step}: the CA has issued"),
            // A request that is held may be given up before it goes on; an answer is one to a request that has arrived.
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => ensure!(issued, "while a worker {step}: the CA has not issued"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn deleted_at_each_step_before_the_ca_hears_of_it_nothing_is_left() -> Result<()> {
    delete_at_each_step(PebbleServer::hold_request).await
}

#[tokio::test]
async fn deleted_at_each_step_before_the_cas_answer_arrives_nothing_is_left() -> Result<()> {
    delete_at_each_step(PebbleServer::hold_answer).await
}

/// The worker dies with the answer; another one finds what the CA has made of the request.
#[tokio::test]
async fn deleted_and_killed_while_the_ca_issues_the_certificate_is_revoked() -> Result<()> {
    let mut scene = Scene::new(&shared().await?, "0.3").await?;
    for step in ["/finalize-order/", "/certZ/"] {
        let label = scene.new_label();
        let held = scene.ca.hold_answer(step);
        let id = scene.account.request(&scene.zone, &label, &[]).await?;
        held.reached().await?;
        scene.system.worker.kill().await?;
        scene.delete(&id).await?;
        held.release();
        scene.system.worker.start().await?;
        ensure!(scene.nothing_is_left(&label, &id).await?, "{step}: the CA has issued");
    }
    Ok(())
}

#[tokio::test]
async fn deleted_while_the_key_is_made_or_resolvers_are_given_time_nothing_is_left() -> Result<()> {
    let scene = Scene::new(&shared().await?, "5").await?;
    for (event, algorithm) in [("challenges_presented", "rsa4096"), ("key_prepared", "ecdsa_p256")] {
        let label = scene.new_label();
        let wish = json!({ "zone_id": scene.zone.id, "domain": format!("{label}.{}", scene.zone.name), "key_algorithm": algorithm });
        let certificate = scene.account.client.post("/certificates", &wish).await?.expect(202)?;
        let id = certificate["id"].as_str().context("id")?;
        scene.account.logs(id, event).await?;
        scene.delete(id).await?;
        ensure!(!scene.nothing_is_left(&label, id).await.context(event)?);
    }
    Ok(())
}

#[tokio::test]
async fn deleted_while_powerdns_is_away_its_txt_goes_once_it_is_back() -> Result<()> {
    let mut stack = Stack::temporary(PebbleOptions::default()).await?;
    let scene = Scene::new(&stack.handle(), "3").await?;
    scene.system.zone_is_served(&scene.zone.name).await?;
    // Away before the value is there, and after.
    for event in ["challenges_written", "challenges_presented"] {
        let label = scene.new_label();
        if event == "challenges_written" {
            stack.powerdns.stop().await?;
        }
        let id = scene.account.request(&scene.zone, &label, &[]).await?;
        scene.account.logs(&id, event).await?;
        stack.powerdns.stop().await?;
        scene.delete(&id).await?;
        stack.powerdns.start().await?;
        ensure!(!scene.nothing_is_left(&label, &id).await.context(event)?);
    }
    Ok(())
}

/// The CA is asked until it answers: what it has made of an order must not stay.
#[tokio::test]
async fn deleted_while_the_ca_is_away_the_certificate_is_revoked_once_it_is_back() -> Result<()> {
    let scene = Scene::new(&shared().await?, "0.3").await?;
    let label = scene.new_label();
    let held = scene.ca.hold_answer("/finalize-order/");
    let id = scene.account.request(&scene.zone, &label, &[]).await?;
    held.reached().await?;
    let refusal = scene.ca.refuse("/my-order/", reqwest::StatusCode::INTERNAL_SERVER_ERROR);
    scene.delete(&id).await?;
    held.release();
    refusal.reached(2).await?;
    drop(refusal);
    ensure!(scene.nothing_is_left(&label, &id).await?, "the CA has issued");
    Ok(())
}
