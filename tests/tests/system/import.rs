//! Certificates that certbot and lego of Debian have made are taken over, as they are, and once.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use zonecert_devstack::product::Role;
use zonecert_devstack::{PebbleOptions, PebbleServer, StackHandle, shared, unique_label};
use zonecert_tests::{Account, System};

use super::agent::openssl;

/// A server on which certificates are made by others.
struct Host {
    dir: tempfile::TempDir,
    ca: PebbleServer,
    stack: StackHandle,
    zone: String,
}

impl Host {
    async fn new(stack: &StackHandle) -> Result<Self> {
        let zone = format!("{}.test", unique_label());
        stack.powerdns.ensure_zone(&zone, &["ns1.zonecert.test"]).await?;
        let ca = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
        let host = Self { dir: tempfile::tempdir()?, ca, stack: stack.clone(), zone };
        std::fs::write(host.path("hook"), host.hook())?;
        Ok(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What certbot runs for each name: the TXT value is set in PowerDNS.
    fn hook(&self) -> String {
        let record = r#"{\"content\":\"\\\"$CERTBOT_VALIDATION\\\"\",\"disabled\":false}"#;
        let names = r#"\"name\":\"_acme-challenge.$CERTBOT_DOMAIN.\",\"type\":\"TXT\",\"ttl\":1,\"changetype\":\"REPLACE\""#;
        format!(
            "exec curl --fail --silent --show-error --request PATCH --header \"X-API-Key: {key}\" --header \"Content-Type: application/json\" \
             --data \"{{\\\"rrsets\\\":[{{{names},\\\"records\\\":[{record}]}}]}}\" {url}/api/v1/servers/localhost/zones/{zone}.\n",
            key = self.stack.powerdns.api_key(),
            url = self.stack.powerdns.api_url(),
            zone = self.zone,
        )
    }

    /// One certificate for the zone and `www` below it, or another version of that.
    async fn certbot(&self) -> Result<()> {
        let hook = format!("sh {}", self.path("hook").display());
        let mut command = Command::new("/usr/bin/certbot");
        command.args(["certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email", "--force-renewal"]);
        command.args(["--server", &self.ca.directory_url(), "--manual", "--preferred-challenges", "dns", "--manual-auth-hook", &hook]);
        command.args(["--domain", &self.zone, "--domain", &format!("www.{}", self.zone)]);
        for (option, directory) in [("--config-dir", "letsencrypt"), ("--work-dir", "work"), ("--logs-dir", "logs")] {
            command.arg(option).arg(self.path(directory));
        }
        run(command.env("REQUESTS_CA_BUNDLE", self.ca.ca_file())).await
    }

    async fn lego(&self) -> Result<()> {
        let mut command = Command::new("/usr/bin/lego");
        command.args(["--server", &self.ca.directory_url(), "--email", "operator@zonecert.test", "--accept-tos"]);
        command.args(["--dns", "pdns", "--dns.disable-cp", "--dns.resolvers", &self.stack.powerdns.dns_address().to_string()]);
        command.args(["--key-type", "ec384", "--domains", &format!("*.{}", self.zone)]).arg("--path").arg(self.path("lego")).arg("run");
        command.env("PDNS_API_URL", self.stack.powerdns.api_url()).env("PDNS_API_KEY", self.stack.powerdns.api_key());
        run(command.env("LEGO_CA_CERTIFICATES", self.ca.ca_file())).await
    }

    fn text(&self, name: &str) -> Result<String> {
        std::fs::read_to_string(self.path(name)).with_context(|| name.to_owned())
    }
}

async fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("the program cannot be run")?;
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    ensure!(output.status.success(), "{} ended with {}: {said}", command.as_std().get_program().display(), output.status);
    Ok(())
}

/// The command as it is typed on that server.
async fn import(system: &System, token_file: &Path, path: &Path, more: &[&str]) -> Result<String> {
    let (path, token_file) = (path.display().to_string(), token_file.display().to_string());
    let arguments = [&["import", &path, "--api", system.api.api_url(), "--token-file", &token_file][..], more].concat();
    let printed = system.product.run(Role::Api, &arguments).await?;
    ensure!(!printed.contains("PRIVATE KEY"), "a key is printed: {printed}");
    Ok(printed)
}

/// The one certificate that is found there.
async fn import_one(system: &System, token_file: &Path, path: &Path, more: &[&str]) -> Result<Value> {
    let printed: Value = serde_json::from_str(&import(system, token_file, path, &[more, &["--json"][..]].concat()).await?)?;
    let certificates = printed["certificates"].as_array().context("certificates")?;
    ensure!(certificates.len() == 1, "{printed}");
    Ok(certificates[0].clone())
}

async fn download(account: &Account, item: &Value) -> Result<Value> {
    let id = item["certificate_id"].as_str().with_context(|| format!("no certificate: {item}"))?;
    account.client.get(&format!("/certificates/{id}/download")).await?.expect(200)
}

async fn count(account: &Account) -> Result<usize> {
    let page = account.client.get("/certificates?kind=uploaded").await?.expect(200)?;
    Ok(page["certificates"].as_array().context("certificates")?.len())
}

/// Programs differ in what they leave between two certificates.
fn without_empty_lines(pem: &str) -> String {
    pem.lines().filter(|line| !line.is_empty()).fold(String::new(), |text, line| text + line + "\n")
}

#[tokio::test]
async fn trees_of_certbot_and_lego_are_imported_once_and_what_they_renew_becomes_a_version() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let account = system.account("pro").await?;
    let wish = json!({"name": "import", "scopes": ["certificates:read", "certificates:write"]});
    let token = account.client.post("/tokens", &wish).await?.expect(201)?;
    let host = Host::new(&stack).await?;
    let token_file = host.path("token");
    std::fs::write(&token_file, token["token"].as_str().context("token")?)?;
    host.certbot().await?;
    host.lego().await?;
    let (certbot, lego) = (host.path("letsencrypt"), host.path("lego"));

    // Nobody is asked here, so nothing is done.
    let shown = import(&system, &token_file, &certbot, &[]).await?;
    ensure!(shown.contains("found as certbot, 1 to import") && shown.contains("--yes") && shown.contains(&host.zone), "{shown}");
    let planned = import_one(&system, &token_file, &lego, &[]).await?;
    ensure!(planned["action"] == "upload" && planned["imported"] == false && planned["certificate_id"].is_null(), "{planned}");
    ensure!(count(&account).await? == 0);

    let first = import_one(&system, &token_file, &certbot, &["--yes"]).await?;
    ensure!(first["imported"] == true && first["name"] == host.zone.as_str() && first["error"].is_null(), "{first}");
    let files = download(&account, &first).await?;
    let live = |name: &str| host.text(&format!("letsencrypt/live/{}/{name}.pem", host.zone));
    ensure!(files["certificate"] == live("cert")? && files["chain"] == live("chain")?, "{files}");
    ensure!(files["private_key"] == live("privkey")?, "the key is another, or in another form");

    let second = import_one(&system, &token_file, &lego, &["--yes"]).await?;
    ensure!(second["imported"] == true && second["name"] == format!("wildcard.{}", host.zone), "{second}");
    let files = download(&account, &second).await?;
    let [leaf, chain, key] = ["certificate", "chain", "private_key"].map(|field| files[field].as_str().unwrap_or_default().to_owned());
    let there = format!("lego/certificates/_.{}", host.zone);
    ensure!(format!("{leaf}{chain}") == without_empty_lines(&host.text(&format!("{there}.crt"))?), "{files}");
    // lego writes keys in the form of SEC1.
    ensure!(key == openssl(&["pkey", "-in", &host.path(&format!("{there}.key")).display().to_string()])?, "the key is another");

    for (path, before) in [(&certbot, &first), (&lego, &second)] {
        let again = import_one(&system, &token_file, path, &["--yes"]).await?;
        ensure!(again["action"] == "already_there" && again["imported"] == false, "{again}");
        ensure!(again["certificate_id"] == before["certificate_id"], "{again}");
    }
    ensure!(count(&account).await? == 2);

    host.certbot().await?;
    let renewed = import_one(&system, &token_file, &certbot, &["--yes"]).await?;
    ensure!(renewed["action"] == "new_version" && renewed["certificate_id"] == first["certificate_id"], "{renewed}");
    ensure!(download(&account, &renewed).await?["certificate"] == live("cert")?);
    let versions = account.client.get(&format!("/certificates/{}/versions", renewed["certificate_id"].as_str().context("id")?)).await?;
    ensure!(versions.expect(200)?["versions"].as_array().map(Vec::len) == Some(2) && count(&account).await? == 2);

    std::fs::write(&token_file, "zc_nonsense")?;
    let refused = import(&system, &token_file, &certbot, &["--yes"]).await.unwrap_err();
    ensure!(format!("{refused:#}").contains("credential_invalid") && format!("{refused:#}").contains("--token-file"), "{refused:#}");
    Ok(())
}
