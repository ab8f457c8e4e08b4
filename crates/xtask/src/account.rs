//! An account of the highest plan with a verified zone and an API token, made where it is missing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zonecert_devstack::product::setting::STACK_NAMESERVERS;
use zonecert_devstack::{Product, wait};

use crate::api::{Api, text};
use crate::report::say;

const EMAIL: &str = "demo@zonecert.test";
const VERIFIED_WITHIN: Duration = Duration::from_secs(30);

/// Kept in a file between runs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) email: String,
    password: String,
    /// An API token: `zc_…`.
    pub(crate) token: Option<String>,
}

impl Account {
    /// The account kept in `file`, created where there is none.
    pub(crate) async fn ensure(product: &Product, api: &Api, file: &Path) -> Result<Self> {
        if let Ok(kept) = std::fs::read(file) {
            let mut account: Self = serde_json::from_slice(&kept).with_context(|| format!("{} is damaged; delete it", file.display()))?;
            account.ensure_token(api, file).await?;
            say(&format!("account {} (Elite), as before", account.email));
            return Ok(account);
        }
        let mut account = Self { email: EMAIL.to_owned(), password: zonecert_devstack::random_password(), token: None };
        let created = product.create_account(&account.email, &account.password, "elite").await;
        created.context("if the account exists already, start over with --fresh")?;
        // Kept at once: the password cannot be read back from anywhere.
        account.keep(file)?;
        account.ensure_token(api, file).await?;
        say(&format!("account {} (Elite) created by `zonecert admin create-account`", account.email));
        Ok(account)
    }

    async fn ensure_token(&mut self, api: &Api, file: &Path) -> Result<()> {
        if let Some(token) = &self.token
            && api.with_bearer(token).get("/zones").await?.status == StatusCode::OK
        {
            return Ok(());
        }
        let signed_in = api.with_bearer(&api.sign_in(&self.email, &self.password).await?);
        let scopes = ["zones:read", "zones:write", "certificates:read", "certificates:write", "keys:read"];
        let token = signed_in.post("/tokens", &json!({"name": "demo", "scopes": scopes})).await?.expect(StatusCode::CREATED)?;
        self.token = Some(text(&token, "token")?);
        self.keep(file)
    }

    fn keep(&self, file: &Path) -> Result<()> {
        zonecert_devstack::write_private(file, &serde_json::to_string_pretty(self)?)
    }
}

/// Imports `zone` and proves its ownership by a TXT record in the customer's DNS. Answers the zone's id.
pub(crate) async fn ensure_verified_zone(product: &Product, api: &Api, zone: &str) -> Result<String> {
    let listed = api.get("/zones").await?.expect(StatusCode::OK)?;
    let listed = listed["zones"].as_array().context("the API answered no list of zones")?;
    let known = listed.iter().find(|listed| listed["name"] == zone);
    if let Some(known) = known
        && known["status"] == "verified"
    {
        delegate(product, zone).await?;
        say(&format!("zone {zone} is verified, as before"));
        return text(known, "id");
    }
    let imported = match known {
        Some(known) => api.get(&format!("/zones/{}", text(known, "id")?)).await?.expect(StatusCode::OK)?,
        None => api.post("/zones", &json!({"name": zone})).await?.expect(StatusCode::CREATED)?,
    };
    let id = text(&imported, "id")?;
    let (record, value) = (text(&imported["verification"], "record")?, text(&imported["verification"], "value")?);
    say(&format!("zone {zone} imported; its owner is asked for TXT {record}"));

    let customer_dns = &product.stack().customer_dns;
    customer_dns.ensure_zone(zone, &["ns1.customer.test"]).await?;
    customer_dns.add_txt(zone, &record, &value).await?;
    let path = format!("/zones/{id}/verify");
    let what = format!("zone {zone} is verified");
    wait::until(&what, VERIFIED_WITHIN, async || {
        let answer = api.post(&path, &Value::Null).await?;
        Ok((answer.status == StatusCode::OK && answer.body["status"] == "verified").then_some(()))
    })
    .await?;
    say(&format!("zone {zone} verified by a TXT look-up at {}", customer_dns.dns_address()));
    delegate(product, zone).await?;
    Ok(id)
}

/// What its owner does at the registrar: points the zone at our name servers.
async fn delegate(product: &Product, zone: &str) -> Result<()> {
    let ours = STACK_NAMESERVERS.map(|server| format!("{server}."));
    product.stack().customer_dns.set_rrset(zone, zone, "NS", &ours).await
}
