//! What holds after every round, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use zonecert_devstack::product::{Role, setting};
use zonecert_devstack::wait;
use zonecert_tests::{PATIENCE, uuid};

use crate::round::MOST_RENEWALS;
use crate::world::World;

impl World {
    /// `due` are the certificates that were to renew since the moment `since`; at most `refused` issuances may have failed for good.
    pub(crate) async fn check(&mut self, due: &[String], since: &str, refused: usize) -> Result<()> {
        let issued = self.ended_for_the_right_reason(due, since, refused).await?;
        self.downloads_are_the_versions(&issued).await?;
        self.note_issued(&issued)?;
        self.zones_are_as_they_were().await?;
        self.orders_are_accounted_for().await?;
        self.slots_are_right().await?;
        self.logs_hold_no_secret().await?;
        self.watch.check()?;
        self.system.worker.check()?;
        self.second.check()?;
        self.system.api.check()
    }

    /// Returns the certificates that have a valid version.
    async fn ended_for_the_right_reason(&mut self, due: &[String], since: &str, refused: usize) -> Result<Vec<String>> {
        let database = self.system.database().await?;
        let (mut issued, mut failed, mut renewed_no_more) = (Vec::new(), 0, Vec::new());
        for certificate in &self.certificates {
            let account = &self.tenants[certificate.tenant].account;
            let shown = account.certificate(&certificate.id).await?;
            let latest = "SELECT status, coalesce(failure ->> 'code', ''), created_at > $2::text::timestamptz FROM issuances
                          WHERE certificate_id::text = $1 ORDER BY created_at DESC LIMIT 1";
            let latest = database.query_one(latest, &[&uuid(&certificate.id), &since]).await?;
            let (status, code, of_this_round): (String, String, bool) = (latest.get(0), latest.get(1), latest.get(2));
            ensure!(of_this_round || !due.contains(&certificate.id), "{} was due and no issuance was begun: {shown}", certificate.id);
            match (shown["status"].as_str(), status.as_str()) {
                (Some("issued"), "succeeded") => {
                    ensure!(shown["last_error"].is_null() && shown["downloadable"] == true, "{shown}");
                    issued.push(certificate.id.clone());
                }
                // What the CA refuses for good fails for that reason; whoever has a version keeps it.
                (Some(shown_as), "failed") => {
                    ensure!(code == "acme_caa" && shown["last_error"]["code"] == "acme_caa", "failed for {code}: {shown}");
                    ensure!(shown_as == if certificate.issued { "issued" } else { "failed" }, "{shown}");
                    failed += usize::from(of_this_round);
                    if certificate.issued {
                        issued.push(certificate.id.clone());
                        // Its version is in its last month: it would have expired when another renewal is due.
                        renewed_no_more.push(certificate.id.clone());
                    }
                }
                (shown_as, status) => anyhow::bail!("a certificate is {shown_as:?} and its last issuance {status} ({code}): {shown}"),
            }
        }
        for certificate in self.certificates.iter_mut().filter(|certificate| renewed_no_more.contains(&certificate.id)) {
            certificate.renewals = MOST_RENEWALS;
        }
        ensure!(failed <= refused, "{failed} issuances failed, the CA refused {refused} for good");
        Ok(issued)
    }

    /// What the loop of downloads has seen is each version once, the newest last.
    async fn downloads_are_the_versions(&self, issued: &[String]) -> Result<()> {
        for id in issued {
            let certificate = self.certificates.iter().find(|certificate| certificate.id == *id).context("the certificate")?;
            let now = self.tenants[certificate.tenant].account.client.get(&format!("/certificates/{id}/pem")).await?;
            ensure!(now.status == 200, "{id} cannot be downloaded: {}", now.text);
            wait::until("the loop of downloads sees the newest version", PATIENCE, async || {
                self.watch.check()?;
                Ok((self.watch.bodies(id).last() == Some(&now.text)).then_some(()))
            })
            .await?;
            let (bodies, versions) = (self.watch.bodies(id).len(), self.system.versions(id).await?);
            ensure!(i64::try_from(bodies)? <= versions, "{id} was downloaded in {bodies} forms and has {versions} versions");
        }
        Ok(())
    }

    /// No TXT value of ours is left, none of anybody else's was touched, and each zone has one SOA.
    async fn zones_are_as_they_were(&self) -> Result<()> {
        let dns = &self.stack.powerdns;
        for tenant in &self.tenants {
            let zone = &tenant.zone.name;
            let values: BTreeSet<_> = dns.challenge_values(zone).await?.into_iter().collect();
            ensure!(values == tenant.foreign, "{zone} holds {values:?}, and should hold {:?}", tenant.foreign);
            ensure!(dns.count_soa_records(zone).await? == 1 && dns.resolve_soa_count(zone).await? == 1, "{zone} has not one SOA");
        }
        Ok(())
    }

    /// One finalized order for an issuance, with one request, but where its certificate was no good; and no more forgotten ones than there may be.
    async fn orders_are_accounted_for(&self) -> Result<()> {
        let query = "SELECT url, issuance_id::text, coalesce(failure ->> 'code', '') FROM orders WHERE url IS NOT NULL";
        let rows = self.system.database().await?.query(query, &[]).await?;
        let known: BTreeMap<String, (String, String)> = rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        let seen = self.ca.seen();
        let mut finalized: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut forgotten, mut lost) = (Vec::new(), 0);
        for order in &seen.orders {
            lost += usize::from(order.answer_lost);
            let sent: BTreeSet<&str> =
                seen.finalizations_of(order).iter().filter(|sent| sent.status < 300).map(|sent| sent.csr.as_str()).collect();
            ensure!(sent.len() <= 1, "{} was finalized with {} requests", order.url, sent.len());
            match known.get(&order.url) {
                None => {
                    ensure!(sent.is_empty(), "nobody knows of {}, which was finalized", order.url);
                    forgotten.push(order.names.join(","));
                }
                Some((issuance, code)) => {
                    // A certificate for another key, or one that never came: another order has to do.
                    let was_no_good = code == "certificate_rejected" || code == "order_timeout";
                    *finalized.entry(issuance).or_default() += usize::from(!sent.is_empty() && !was_no_good);
                }
            }
        }
        let twice: Vec<_> = finalized.iter().filter(|(_, orders)| **orders > 1).collect();
        ensure!(twice.is_empty(), "finalized more than once: {twice:?}");
        let most = self.may_be_forgotten + lost;
        ensure!(forgotten.len() <= most, "{} orders were forgotten, {most} may be: {forgotten:?}", forgotten.len());
        Ok(())
    }

    async fn slots_are_right(&self) -> Result<()> {
        for (index, tenant) in self.tenants.iter().enumerate() {
            let mut holding = 0;
            for certificate in self.certificates.iter().filter(|certificate| certificate.tenant == index) {
                let status = tenant.account.certificate(&certificate.id).await?["status"].clone();
                holding += usize::from(["pending", "validating", "issued"].iter().any(|holds| status == *holds));
            }
            let list = tenant.account.client.get("/certificates").await?.expect(200)?;
            ensure!(list["limits"]["current_count"] == holding, "{holding} certificates hold a slot: {}", list["limits"]);
        }
        Ok(())
    }

    async fn logs_hold_no_secret(&self) -> Result<()> {
        let mut secrets = Vec::new();
        for role in [Role::Api, Role::Worker] {
            let environment = self.system.product.environment(role);
            for name in [setting::API_DB_PASSWORD, setting::WORKER_DB_PASSWORD, setting::POWERDNS_API_KEY] {
                secrets.push(environment[name].clone());
            }
            let master_keys = std::fs::read_to_string(&environment[setting::MASTER_KEYS_FILE])?;
            secrets.push(master_keys.trim().split_once(':').context("id:key")?.1.to_owned());
        }
        for tenant in &self.tenants {
            secrets.extend([tenant.account.password.clone(), tenant.account.access_token.clone()]);
        }
        for certificate in self.certificates.iter().filter(|certificate| certificate.issued) {
            let client = &self.tenants[certificate.tenant].account.client;
            let key = client.get(&format!("/certificates/{}/key", certificate.id)).await?.text;
            secrets.push(key.lines().nth(1).with_context(|| format!("{} has no key: {key}", certificate.id))?.to_owned());
        }
        for log in [self.system.api.log()?, self.system.worker.log()?, self.second.log()?] {
            ensure!(!log.contains("PRIVATE KEY"), "a log holds a private key");
            let found = secrets.iter().position(|secret| log.contains(secret.as_str()));
            ensure!(found.is_none(), "a log holds a secret, the one at {found:?}");
        }
        Ok(())
    }
}
