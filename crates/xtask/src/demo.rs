//! The demonstration: one certificate from request to files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::StatusCode;
use serde_json::json;
use zonecert_devstack::{Product, StackHandle, wait};

use crate::account::{self, Account};
use crate::api::{Api, text};
use crate::certificate::{Show, issue};
use crate::openssl::{self, Files, Summary};
use crate::report::say;
use crate::workspace;

const ZONE: &str = "example.test";
const CLEAN_WITHIN: Duration = Duration::from_secs(30);

/// What there is at the end.
pub(crate) struct Demo {
    pub(crate) token: String,
    pub(crate) certificate_id: String,
    zone_id: String,
    dir: PathBuf,
    summary: Summary,
    next_domain: String,
}

/// Gets a certificate for the first `app…` of the zone that has none yet, checks it, and waits until its challenges are gone.
pub(crate) async fn run(product: &Product, api: &Api, account_file: &Path) -> Result<Demo> {
    let account = Account::ensure(product, api, account_file).await?;
    let token = account.token.context("the account has no token")?;
    let api = api.with_bearer(&token);
    let zone_id = account::ensure_verified_zone(product, &api, ZONE).await?;

    let number = first_free_number(&api).await?;
    let [domain, san] = names(number);
    preflight(&api, &zone_id, &domain, &san).await?;
    let (certificate, _) = issue(&api, &zone_id, &domain, &[&san], Show::Everything).await?;
    let certificate_id = text(&certificate, "id")?;

    let dir = workspace::dev("demo")?;
    download(product.stack(), &api, &certificate_id, &dir).await?;
    let path = |file: &str| dir.join(file);
    let (root, chain, certificate, key) = (path("root.pem"), path("chain.pem"), path("certificate.pem"), path("key.pem"));
    openssl::verify(&Files { root: &root, chain: &chain, certificate: &certificate, key: &key }, &[&domain, &san])?;
    say("openssl accepts the chain, both names and the key");

    // Only at its own names: an issuance of an earlier run that was cut off may just be going on.
    let challenges = [&domain, &san].map(|name| format!("_acme-challenge.{name}."));
    let powerdns = &product.stack().powerdns;
    wait::until("no TXT is left at the _acme-challenge names", CLEAN_WITHIN, async || {
        let values = powerdns.challenge_values(ZONE).await?;
        Ok((!values.iter().any(|(name, _)| challenges.contains(name))).then_some(()))
    })
    .await?;
    say(&format!("no TXT is left at {}", challenges.join(" and ")));
    let [next_domain, _] = names(number + 1);
    Ok(Demo { token, certificate_id, zone_id, summary: openssl::summarise(&certificate)?, dir, next_domain })
}

/// What stands in the way of the certificate must be nothing.
async fn preflight(api: &Api, zone_id: &str, domain: &str, san: &str) -> Result<()> {
    let wish = json!({"zone_id": zone_id, "domain": domain, "sans": [san]});
    let found = api.post("/certificates/preflight", &wish).await?.expect(StatusCode::OK)?;
    if found["ready"] != true || found["findings"].as_array().is_none_or(|findings| !findings.is_empty()) {
        bail!("the preflight of {domain} finds something: {}", found["findings"]);
    }
    say(&format!("nothing stands in the way of a certificate for {domain} and {san}"));
    Ok(())
}

fn names(number: u32) -> [String; 2] {
    let suffix = if number == 1 { String::new() } else { number.to_string() };
    [format!("app{suffix}.{ZONE}"), format!("www{suffix}.{ZONE}")]
}

/// A domain has one active certificate (requirements S3.50), so each run asks for the next name.
async fn first_free_number(api: &Api) -> Result<u32> {
    let (mut domains, mut page) = (Vec::new(), String::from("/certificates?limit=100"));
    while !page.is_empty() {
        let list = api.get(&page).await?.expect(StatusCode::OK)?;
        let certificates = list["certificates"].as_array().context("the API answered no list of certificates")?;
        domains.extend(certificates.iter().filter_map(|certificate| certificate["domain"].as_str().map(str::to_owned)));
        let limits = &list["limits"];
        let (Some(count), Some(max)) = (limits["current_count"].as_u64(), limits["max_certificates"].as_u64()) else {
            bail!("the API answered no limits with the list of certificates");
        };
        if count >= max {
            bail!("the demo account has reached its {max} certificates; start over with --fresh");
        }
        page = list["next_cursor"].as_str().map_or_else(String::new, |cursor| format!("/certificates?limit=100&cursor={cursor}"));
    }
    if !domains.is_empty() {
        say(&format!("the account has {} certificates of earlier runs; this run asks for one more", domains.len()));
    }
    let taken = |number: u32| domains.contains(&names(number)[0]);
    (1..=u32::MAX).find(|number| !taken(*number)).context("no name is left")
}

async fn download(stack: &StackHandle, api: &Api, id: &str, dir: &Path) -> Result<()> {
    let files = api.get(&format!("/certificates/{id}/download")).await?.expect(StatusCode::OK)?;
    std::fs::create_dir_all(dir)?;
    let write = |name: &str, content: &str| std::fs::write(dir.join(name), content).with_context(|| format!("cannot write {name}"));
    write("certificate.pem", &text(&files, "certificate")?)?;
    write("chain.pem", &text(&files, "chain")?)?;
    write("fullchain.pem", &api.get_text(&format!("/certificates/{id}/pem")).await?)?;
    write("root.pem", &stack.pebble.root_certificate_pem().await?)?;
    zonecert_devstack::write_private(&dir.join("key.pem"), &text(&files, "private_key")?)?;
    say(&format!("downloaded to {}", dir.display()));
    Ok(())
}

impl Demo {
    /// Prints what there is, and how to go on.
    pub(crate) fn print(&self, api_url: &str) {
        let Summary { subject, names, issuer, expires } = &self.summary;
        let (dir, id, token, next) = (self.dir.display(), &self.certificate_id, &self.token, &self.next_domain);
        println!(
            "
Certificate  {id}
  subject    {subject}
  names      {names}
  issuer     {issuer}
  expires    {expires}
  files      {dir}/{{certificate,chain,fullchain,root,key}}.pem

dashboard    {api_url}/register
API          {api_url}
token        {token}

Go on with:
  export API={api_url}/api/v1 TOKEN={token}
  curl -sH \"Authorization: Bearer $TOKEN\" $API/certificates
  curl -sH \"Authorization: Bearer $TOKEN\" $API/certificates/{id}/logs
  curl -sH \"Authorization: Bearer $TOKEN\" $API/certificates/{id}/pem
  curl -sH \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\
       -d '{{\"zone_id\":\"{}\",\"domain\":\"{next}\"}}' $API/certificates
  openssl verify -CAfile {dir}/root.pem -untrusted {dir}/chain.pem {dir}/certificate.pem
",
            self.zone_id
        );
    }
}
