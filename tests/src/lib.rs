//! The product as its users meet it: two processes, a database of its own, and clients that speak HTTP.

mod client;
mod mail;
pub mod metrics;
mod openssl;
mod time;

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zonecert_devstack::product::{Product, ProductProcess, Role, setting};
use zonecert_devstack::{Pebble, StackHandle, unique_label};

pub use client::{Answer, Client};
pub use mail::read_mail;
pub use openssl::{check_download, names_of, subject_of_request};
pub use time::uuid;

/// Longer than anything that is awaited takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The product on a database of its own: one API, one worker.
pub struct System {
    /// Database and settings.
    pub product: Product,
    /// `zonecert serve`.
    pub api: ProductProcess,
    /// `zonecert work`.
    pub worker: ProductProcess,
}

impl System {
    /// Starts with propagation cut to half a second, and lost work found within seconds.
    pub async fn start(stack: &StackHandle) -> Result<Self> {
        Self::start_with(stack, |product| product).await
    }

    /// The same, with settings changed by `adjust`.
    pub async fn start_with(stack: &StackHandle, adjust: impl FnOnce(Product) -> Product) -> Result<Self> {
        let product = Product::fresh(stack)
            .await?
            .with(setting::PROPAGATION_SECONDS, "0.5")
            .with(setting::LEASE_SECONDS, "3")
            .with(setting::SWEEP_INTERVAL_SECONDS, "1");
        let product = adjust(product);
        let (api, worker) = tokio::try_join!(product.serve(), product.work())?;
        Ok(Self { product, api, worker })
    }

    /// The same, ordering from a CA of the test's own.
    pub async fn start_at(stack: &StackHandle, ca: &Pebble, adjust: impl FnOnce(Product) -> Product) -> Result<Self> {
        Self::start_with(stack, |product| adjust(product.at_ca(ca.directory_url(), ca.ca_file()))).await
    }

    /// A new account on this plan, and a client that has signed in as its owner.
    pub async fn account(&self, plan: &str) -> Result<Account> {
        let email = format!("{}@customers.test", unique_label());
        let created = self.product.run(Role::Owner, &["admin", "create-account", "--email", &email, "--plan", plan]).await?;
        let created: Value = serde_json::from_str(&created)?;
        let password = created["user"]["password"].as_str().context("create-account prints the password it made")?.to_owned();
        let anonymous = Client::new(self.api.api_url(), None)?;
        let login = anonymous.post("/auth/login", &json!({ "email": email, "password": password })).await?.expect(200)?;
        let access_token = login["access_token"].as_str().context("access_token")?.to_owned();
        let client = Client::new(self.api.api_url(), Some(&access_token))?;
        Ok(Account { email, password, access_token, client })
    }

    /// The same, and a proven zone of that account.
    pub async fn account_with_zone(&self, plan: &str) -> Result<(Account, Zone)> {
        let account = self.account(plan).await?;
        let zone = self.verified_zone(&account).await?;
        Ok((account, zone))
    }

    /// A zone of that account, proven by the TXT record at the customer's DNS of today.
    pub async fn verified_zone(&self, account: &Account) -> Result<Zone> {
        let name = format!("{}.test", unique_label());
        self.verified_zone_named(account, &name).await
    }

    /// The same for a zone of this name.
    pub async fn verified_zone_named(&self, account: &Account, name: &str) -> Result<Zone> {
        self.verify(account, json!({ "name": name })).await
    }

    /// A proven zone that stays with the customer's DNS of today.
    pub async fn delegated_zone(&self, account: &Account) -> Result<Zone> {
        self.verify(account, json!({ "name": format!("{}.test", unique_label()), "mode": "delegated" })).await
    }

    /// Sets the alias that a delegated zone needs for certificates of `label` below it, as the API says it.
    pub async fn set_alias(&self, account: &Account, zone: &Zone, label: &str) -> Result<()> {
        let cname = account.client.get(&format!("/zones/{}/cname?name={label}.{}", zone.id, zone.name)).await?.expect(200)?;
        let target = format!("{}.", cname["target"].as_str().context("target")?);
        self.product.stack().customer_dns.set_rrset(&zone.name, cname["name"].as_str().context("name")?, "CNAME", &[target]).await
    }

    async fn verify(&self, account: &Account, wish: Value) -> Result<Zone> {
        let name = wish["name"].as_str().context("name")?;
        let zone = account.client.post("/zones", &wish).await?.expect(201)?;
        let id = zone["id"].as_str().context("id")?.to_owned();
        let (record, value) = (&zone["verification"]["record"], &zone["verification"]["value"]);
        let dns = &self.product.stack().customer_dns;
        dns.ensure_zone(name, &["ns1.customer.test"]).await?;
        dns.add_txt(name, record.as_str().context("record")?, value.as_str().context("value")?).await?;
        let verified = account.client.post(&format!("/zones/{id}/verify"), &json!({})).await?.expect(200)?;
        anyhow::ensure!(verified["status"] == "verified", "{verified}");
        Ok(Zone { id, name: name.to_owned() })
    }

    /// Waits until our name servers have a zone that was just verified.
    pub async fn zone_is_served(&self, zone: &str) -> Result<()> {
        let dns = &self.product.stack().powerdns;
        zonecert_devstack::wait::until("the zone is served", PATIENCE, async || Ok(dns.find_zone(zone).await?.map(drop))).await
    }

    /// Waits until the API is ready: while it has no connection to the database it answers 503.
    pub async fn is_ready(&self) -> Result<()> {
        zonecert_devstack::wait::until("the API is ready", PATIENCE, async || {
            let ready = reqwest::get(format!("{}/readyz", self.api.api_url())).await?;
            Ok(ready.status().is_success().then_some(()))
        })
        .await
    }

    /// The database, as its superuser: for what no API shows.
    pub async fn database(&self) -> Result<tokio_postgres::Client> {
        self.product.stack().postgres.connect_as_admin(self.product.database()).await
    }

    /// Has somebody's address confirmed, as if they had followed the link.
    pub async fn confirm_email(&self, email: &str) -> Result<()> {
        let confirmed = "UPDATE users SET email_verified_at = now() WHERE email = $1";
        anyhow::ensure!(self.database().await?.execute(confirmed, &[&email]).await? == 1, "nobody signs in with {email}");
        Ok(())
    }

    /// Lets nobody connect to the database any more, and ends every connection.
    pub async fn close_database(&self) -> Result<()> {
        let administrator = self.product.stack().postgres.connect_as_admin("postgres").await?;
        let database = self.product.database();
        administrator.batch_execute(&format!("ALTER DATABASE {database} WITH ALLOW_CONNECTIONS false")).await?;
        administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", &[&database]).await?;
        Ok(())
    }

    /// Waits until no TXT record is left at any `_acme-challenge` name of a zone.
    pub async fn challenges_are_gone(&self, zone: &str) -> Result<()> {
        let dns = &self.product.stack().powerdns;
        zonecert_devstack::wait::until("no challenge left", PATIENCE, async || {
            Ok(dns.challenge_values(zone).await?.is_empty().then_some(()))
        })
        .await
    }
}

/// Somebody's account.
pub struct Account {
    /// The owner's address.
    pub email: String,
    /// The owner's password.
    pub password: String,
    /// What the client sends.
    pub access_token: String,
    /// Signed in as the owner.
    pub client: Client,
}

/// A zone in an account.
pub struct Zone {
    /// `zone_…`
    pub id: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// Requests a certificate for names below the zone: `www` is `www.<zone>`, the empty string its apex.
    pub async fn request(&self, zone: &Zone, domain: &str, sans: &[&str]) -> Result<String> {
        let name = |label: &&str| if label.is_empty() { zone.name.clone() } else { format!("{label}.{}", zone.name) };
        let wish = json!({ "zone_id": zone.id, "domain": name(&domain), "sans": sans.iter().map(name).collect::<Vec<_>>() });
        let certificate = self.client.post("/certificates", &wish).await?.expect(202)?;
        Ok(certificate["id"].as_str().context("id")?.to_owned())
    }

    /// The certificate as it is now.
    pub async fn certificate(&self, id: &str) -> Result<Value> {
        self.client.get(&format!("/certificates/{id}")).await?.expect(200)
    }

    /// Its log, oldest first.
    pub async fn log(&self, id: &str) -> Result<Vec<Value>> {
        let page = self.client.get(&format!("/certificates/{id}/logs?limit=100")).await?.expect(200)?;
        Ok(page["logs"].as_array().context("logs")?.clone())
    }

    /// Waits until the certificate has this status.
    pub async fn becomes(&self, id: &str, status: &str) -> Result<Value> {
        let outcome = zonecert_devstack::wait::until(&format!("{id} is {status}"), PATIENCE, async || {
            let answer = self.client.get(&format!("/certificates/{id}")).await?;
            // The API says so while its database is away, and clients try again.
            if answer.status == 503 {
                return Ok(None);
            }
            let certificate = answer.expect(200)?;
            Ok((certificate["status"] == status).then_some(certificate))
        })
        .await;
        match outcome {
            Ok(certificate) => Ok(certificate),
            Err(error) => {
                let log = self.log(id).await.unwrap_or_default();
                let lines: Vec<String> = log.iter().map(|entry| format!("{} {}", entry["event"], entry["message"])).collect();
                Err(error.context(format!("its log:\n{}", lines.join("\n"))))
            }
        }
    }

    /// Waits until its log holds this event.
    pub async fn logs(&self, id: &str, event: &str) -> Result<Value> {
        zonecert_devstack::wait::until(&format!("{id} logs {event}"), PATIENCE, async || {
            Ok(self.log(id).await?.into_iter().find(|entry| entry["event"] == event))
        })
        .await
    }
}
