//! What the rounds are played in: the product with two workers, behind proxies to CA, DNS server and database.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zonecert_devstack::product::{ProductProcess, setting};
use zonecert_devstack::{DatabaseProxy, Hold, PowerDnsProxy, Refusal, RenewalInfoDirectory, StackHandle};
use zonecert_tests::{Account, System, Zone};

use crate::plan::{Server, Strike};
use crate::watch::Watch;

/// Everything but secrets, so that the invariant about logs has something to look at.
const LOG: &str = "info,zonecert=debug,zonecert_api=debug,zonecert_store=debug,zonecert_worker=debug";

pub(crate) struct Tenant {
    pub(crate) account: Account,
    pub(crate) zone: Zone,
    /// TXT values of somebody else's at `_acme-challenge` names.
    pub(crate) foreign: BTreeSet<(String, String)>,
}

pub(crate) struct Certificate {
    pub(crate) id: String,
    pub(crate) tenant: usize,
    pub(crate) renewals: usize,
    /// Whether it has ever had a version.
    pub(crate) issued: bool,
}

pub(crate) struct World {
    pub(crate) stack: StackHandle,
    pub(crate) ca: RenewalInfoDirectory,
    pub(crate) dns: PowerDnsProxy,
    pub(crate) database: DatabaseProxy,
    pub(crate) system: System,
    pub(crate) second: ProductProcess,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) watch: Watch,
    /// Orders that nobody may know of: those that were being placed when a worker was killed or stood still.
    pub(crate) may_be_forgotten: usize,
}

impl World {
    /// Two accounts with a zone each, and a first certificate in each that is issued in peace.
    pub(crate) async fn new(stack: &StackHandle) -> Result<Self> {
        let mut world = Self::with_tenants(stack, 2).await?;
        for tenant in 0..world.tenants.len() {
            let id = world.request(tenant, "first", false).await?;
            world.tenants[tenant].account.becomes(&id, "issued").await?;
            world.note_issued(&[id])?;
        }
        Ok(world)
    }

    /// So many accounts with a zone each.
    pub(crate) async fn with_tenants(stack: &StackHandle, tenants: usize) -> Result<Self> {
        let ca = RenewalInfoDirectory::before(&stack.pebble).await?;
        let dns = PowerDnsProxy::before(&stack.powerdns).await?;
        let database = DatabaseProxy::before(&stack.postgres).await?;
        let system = System::start_with(stack, |product| {
            product
                .at_ca(ca.directory_url(), ca.ca_file())
                .with(setting::PROPAGATION_SECONDS, "0.2")
                .with(setting::RENEWAL_SCAN_SECONDS, "1")
                .with(setting::POLL_INTERVAL_SECONDS, "0.3")
                .with(setting::POLL_LIMIT, "8")
                .with(setting::POWERDNS_URL, dns.api_url())
                .with(setting::LOG, LOG)
                .behind(&database)
        })
        .await?;
        let second = system.product.work().await?;
        let watch = Watch::begin();
        let stack = stack.clone();
        let mut world =
            Self { stack, ca, dns, database, system, second, tenants: Vec::new(), certificates: Vec::new(), watch, may_be_forgotten: 0 };
        for _ in 0..tenants {
            world.add_tenant().await?;
        }
        Ok(world)
    }

    async fn add_tenant(&mut self) -> Result<()> {
        let account = self.system.account("elite").await?;
        let zone = self.system.verified_zone(&account).await?;
        let mut foreign = BTreeSet::new();
        // The zone is made by its projection.
        self.system.zone_is_served(&zone.name).await?;
        for name in [format!("_acme-challenge.{}", zone.name), format!("_acme-challenge.other.{}", zone.name)] {
            self.stack.powerdns.add_txt(&zone.name, &name, "somebody-elses").await?;
            foreign.insert((format!("{name}."), "somebody-elses".to_owned()));
        }
        self.tenants.push(Tenant { account, zone, foreign });
        Ok(())
    }

    /// Requests a certificate, with a key that costs little to make, and watches it from then on.
    pub(crate) async fn request(&mut self, tenant: usize, label: &str, wildcard: bool) -> Result<String> {
        let Tenant { account, zone, .. } = &self.tenants[tenant];
        let domain = format!("{label}.{}", zone.name);
        let wish = json!({ "zone_id": zone.id, "domain": domain, "wildcard": wildcard, "key_algorithm": "ecdsa_p256", "auto_renew": true });
        let certificate: Value = account.client.post("/certificates", &wish).await?.expect(202)?;
        let id = certificate["id"].as_str().context("id")?.to_owned();
        self.watch.add(&id, &account.client);
        self.certificates.push(Certificate { id: id.clone(), tenant, renewals: 0, issued: false });
        Ok(id)
    }

    pub(crate) fn strike(&self, strike: &Strike) -> Refusal {
        match strike.server {
            Server::Ca => self.ca.strike(strike.path, strike.fault.clone(), strike.times),
            Server::Dns => self.dns.strike(strike.path, strike.fault.clone(), strike.times),
        }
    }

    pub(crate) fn hold(&self, server: Server, path: &str, done: bool) -> Hold {
        match (server, done) {
            (Server::Ca, false) => self.ca.hold_request(path),
            (Server::Ca, true) => self.ca.hold_answer(path),
            (Server::Dns, false) => self.dns.hold_request(path),
            (Server::Dns, true) => self.dns.hold_answer(path),
        }
    }
}
