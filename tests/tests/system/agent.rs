//! The agent on a customer's server: files that are right for others, a service that is looked at, and reports that say what it shows.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use zonecert_devstack::{product, shared, wait};
use zonecert_tests::{Account, PATIENCE, System, names_of};

/// A server with the agent on it.
pub(super) struct Host {
    pub(super) dir: tempfile::TempDir,
    certificate: String,
    api_url: String,
    token: String,
    address: SocketAddr,
    pub(super) server_name: String,
}

impl Host {
    pub(super) fn files(&self) -> PathBuf {
        self.dir.path().join("certificates/app")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.files().join(name)
    }

    /// Writes the configuration, with a look at the service or without.
    pub(super) fn configure(&self, with_probe: bool, reload: &str) -> Result<()> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        std::fs::write(path("token"), &self.token)?;
        std::fs::set_permissions(path("token"), std::fs::Permissions::from_mode(0o600))?;
        let probe = format!("probe = {{ address = \"{}\", server_name = \"{}\" }}", self.address, self.server_name);
        let text = format!(
            "api_url = \"{}\"\ntoken_file = \"{}\"\ntarget = \"web1\"\n[[certificate]]\nid = \"{}\"\ndirectory = \"{}\"\n\
             fullchain = \"fullchain.pem\"\ncert = \"cert.pem\"\nchain = \"chain.pem\"\nkey = \"key.pem\"\ncombined = \"all.pem\"\n\
             reload = [\"sh\", \"-c\", \"{reload}\"]\n{}\n",
            self.api_url,
            path("token"),
            self.certificate,
            self.files().display(),
            if with_probe { &probe } else { "" },
        );
        std::fs::write(path("agent.toml"), text)?;
        Ok(())
    }

    /// Runs the agent to its end. Nothing that it prints has a secret in it.
    pub(super) async fn run(&self, arguments: &[&str], code: i32) -> Result<String> {
        let Output { status, stdout, stderr } = tokio::process::Command::from(self.command(arguments)?).output().await?;
        let said = format!("{}{}", String::from_utf8(stdout)?, String::from_utf8(stderr)?);
        ensure!(status.code() == Some(code), "{arguments:?} ended with {status}, not with {code}: {said}");
        ensure!(!said.contains("PRIVATE KEY") && !said.contains(&self.token), "a secret is printed: {said}");
        if let Ok(key) = std::fs::read_to_string(self.file("key.pem")) {
            let line = key.lines().nth(3).context("a key has lines")?;
            ensure!(!said.contains(line), "the key is printed: {said}");
        }
        Ok(said)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let binary = product::binary()?.with_file_name("zonecert-agent");
        ensure!(binary.is_file(), "there is no {}; build it: cargo build --workspace --bins", binary.display());
        let mut command = Command::new(binary);
        command.args(arguments).arg("--config").arg(self.dir.path().join("agent.toml")).args(["--log", "debug"]);
        command.env_remove("ZONECERT_AGENT_TOKEN").stdin(Stdio::null());
        Ok(command)
    }

    /// A service that reads its files when it starts, and never again.
    async fn serve(&self) -> Result<Service> {
        let child = Command::new("openssl")
            .args(["s_server", "-www", "-accept", &self.address.to_string()])
            .arg("-cert")
            .arg(self.file("cert.pem"))
            .arg("-cert_chain")
            .arg(self.file("chain.pem"))
            .arg("-key")
            .arg(self.file("key.pem"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("openssl cannot be run")?;
        let service = Service(child);
        wait::until("the service listens", PATIENCE, async || Ok(TcpStream::connect(self.address).is_ok().then_some(()))).await?;
        Ok(service)
    }
}

struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) async fn host(system: &System, account: &Account, zone_name: &str, certificate: &str) -> Result<Host> {
    let scopes = ["certificates:read", "keys:read", "deployments:write"];
    let token = account.client.post("/tokens", &json!({"name": "web1", "scopes": scopes})).await?.expect(201)?;
    // Free a moment ago; whoever takes it meanwhile is not the service, and seen as such.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    Ok(Host {
        dir: tempfile::tempdir()?,
        certificate: certificate.to_owned(),
        api_url: system.api.api_url().to_owned(),
        token: token["token"].as_str().context("token")?.to_owned(),
        address,
        server_name: format!("app.{zone_name}"),
    })
}

pub(super) fn openssl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("openssl").args(arguments).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// What the files are to somebody else: the chain leads to the root, the key is the leaf's, and the leaf is the version in use.
fn check_files(host: &Host, root: &Path, certificate: &Value) -> Result<()> {
    let path = |name: &str| host.file(name).display().to_string();
    let (leaf, chain, key, all) = (path("cert.pem"), path("chain.pem"), path("key.pem"), path("all.pem"));
    openssl(&["verify", "-CAfile", &root.display().to_string(), "-untrusted", &chain, &leaf])?;
    openssl(&["verify", "-CAfile", &root.display().to_string(), "-untrusted", &path("fullchain.pem"), &path("fullchain.pem")])?;
    let public = openssl(&["x509", "-in", &leaf, "-noout", "-pubkey"])?;
    for holds_key in [&key, &all] {
        ensure!(openssl(&["pkey", "-in", holds_key, "-pubout"])? == public, "{holds_key} has another key");
        ensure!(std::fs::metadata(holds_key)?.permissions().mode() & 0o777 == 0o600, "{holds_key} is not for its owner alone");
    }
    for holds_leaf in [&leaf, &path("fullchain.pem"), &all] {
        let fingerprint = openssl(&["x509", "-in", holds_leaf, "-noout", "-fingerprint", "-sha256"])?;
        let digits: String = fingerprint.split('=').nth(1).context("a fingerprint")?.trim().replace(':', "").to_lowercase();
        ensure!(certificate["current_version"]["fingerprint_sha256"] == digits.as_str(), "{holds_leaf}: {certificate}");
    }
    ensure!(names_of(&std::fs::read_to_string(&leaf)?)? == std::slice::from_ref(&host.server_name));
    Ok(())
}

async fn deployed(account: &Account, id: &str) -> Result<Value> {
    Ok(account.certificate(id).await?["deployed"][0].clone())
}

#[tokio::test]
async fn a_renewed_certificate_reaches_the_server_and_the_api_knows_what_is_really_served() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let (account, zone) = system.account_with_zone("pro").await?;
    let id = account.request(&zone, "app", &[]).await?;
    let first = account.becomes(&id, "issued").await?;
    let host = host(&system, &account, &zone.name, &id).await?;
    let root = host.dir.path().join("root.pem");
    std::fs::write(&root, stack.pebble.root_certificate_pem().await?)?;
    let reload = format!("echo reloaded >> {}", host.dir.path().join("reloads").display());
    let reloads = || std::fs::read_to_string(host.dir.path().join("reloads")).unwrap_or_default().lines().count();

    host.configure(false, &reload)?;
    let would = host.run(&["check"], 0).await?;
    ensure!(would.contains("key.pem (key), mode 0600") && would.contains("would run sh") && !host.files().exists(), "{would}");
    host.run(&["--once"], 0).await?;
    check_files(&host, &root, &first)?;
    ensure!(reloads() == 1);
    let installed = deployed(&account, &id).await?;
    ensure!(installed["target"] == "web1" && installed["state"] == "serving", "{installed}");
    let nothing_new = host.run(&["--once"], 0).await?;
    ensure!(nothing_new.contains("nothing new") && reloads() == 1, "{nothing_new}");

    host.configure(true, &reload)?;
    let closed = host.run(&["--once"], 1).await?;
    ensure!(closed.contains("cannot be looked at: no connection"), "{closed}");
    ensure!(deployed(&account, &id).await?["state"] == "unknown");
    let service = host.serve().await?;
    host.run(&["--once"], 0).await?;
    ensure!(deployed(&account, &id).await?["state"] == "serving");

    // The service has not been told: it goes on with what it has read.
    account.client.post(&format!("/certificates/{id}/renew"), &json!({})).await?.expect(202)?;
    let renewed = account.becomes(&id, "issued").await?;
    ensure!(renewed["current_version"]["id"] != first["current_version"]["id"], "{renewed}");
    ensure!(deployed(&account, &id).await?["state"] == "stale");
    let stale = host.run(&["--once"], 1).await?;
    ensure!(stale.contains("shows another certificate than the one that is installed"), "{stale}");
    check_files(&host, &root, &renewed)?;
    ensure!(reloads() == 2);
    let list = account.client.get(&format!("/certificates/{id}/deployments")).await?.expect(200)?["deployments"][0].clone();
    ensure!(list["state"] == "stale" && list["served_sha256"] == first["current_version"]["fingerprint_sha256"], "{list}");
    ensure!(list["installed_version_id"] == renewed["current_version"]["id"] && list["error"].is_string(), "{list}");

    drop(service);
    let _service = host.serve().await?;
    host.run(&["--once"], 0).await?;
    ensure!(deployed(&account, &id).await?["state"] == "serving" && reloads() == 2);
    let checked = host.run(&["check"], 0).await?;
    ensure!(checked.contains("it is installed in") && checked.contains("shows what is installed"), "{checked}");
    let log: Vec<String> = account.log(&id).await?.iter().map(|entry| entry["event"].as_str().unwrap_or_default().to_owned()).collect();
    let told: Vec<&String> = log.iter().filter(|event| event.starts_with("deployment_")).collect();
    let states = ["serving", "unknown", "serving", "stale", "serving"].map(|state| format!("deployment_{state}"));
    ensure!(told == states.iter().collect::<Vec<_>>(), "{log:?}");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_goes_on_works_alone_and_ends_when_it_is_told_to() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let (account, zone) = system.account_with_zone("plus").await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    let host = host(&system, &account, &zone.name, &id).await?;
    host.configure(false, "true")?;
    let mut running = host.command(&[])?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let is_told = async || Ok(deployed(&account, &id).await?.is_object().then_some(()));
    let told = wait::until("the agent has reported", PATIENCE, is_told).await;
    let second = match told {
        Ok(()) => host.run(&["--once"], 3).await,
        Err(error) => Err(error),
    };
    let stopped = Command::new("sh").args(["-c", &format!("kill -TERM {}", running.id())]).status()?;
    let status = running.wait()?;
    let second = second?;
    ensure!(second.contains("another zonecert-agent works on"), "{second}");
    ensure!(stopped.success() && status.code() == Some(0), "{status}");

    // Whatever is wrong with the command line or the configuration is told by its own exit code.
    std::fs::write(host.dir.path().join("agent.toml"), "api_url = 1")?;
    host.run(&["--once"], 2).await?;
    host.run(&["--twice"], 2).await?;
    let nobody = Host { token: "zc_nonsense".to_owned(), ..host };
    nobody.configure(false, "true")?;
    let refused = nobody.run(&["--once"], 1).await?;
    ensure!(refused.contains("401: credential_invalid") && refused.contains("deployments:write"), "{refused}");
    Ok(())
}
