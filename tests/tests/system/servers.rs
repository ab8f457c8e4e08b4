//! nginx and HAProxy with what was issued: fetched as scripts do, and replaced while clients shake hands.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::json;
use zonecert_devstack::{shared, wait};
use zonecert_tests::{PATIENCE, System};

use super::agent;
use super::downloads::{api_key, curl};

/// Nobody waits longer for an answer of a server on the same machine.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Clients at a time.
const CLIENTS: usize = 2;

/// A server that ends with this, by the signal that it takes for it.
struct Server {
    child: Child,
    signal: &'static str,
    socket: PathBuf,
}

impl Server {
    /// On a socket in the file system, so that no port is anybody else's. Where the test is killed, the server ends too.
    async fn start(program: &str, arguments: &[&str], signal: &'static str, socket: PathBuf) -> Result<Self> {
        let mut command = command("setpriv");
        command.args(["--pdeathsig", "TERM", program]).args(arguments).stdin(Stdio::null());
        let child = command.spawn().context("setpriv cannot be run")?;
        let mut server = Self { child, signal, socket };
        let listens = async || {
            if let Some(status) = server.child.try_wait()? {
                anyhow::bail!("{program} has ended with {status}; is it installed? `cargo xtask test` installs it");
            }
            Ok(UnixStream::connect(&server.socket).is_ok().then_some(()))
        };
        wait::until(&format!("{program} listens"), PATIENCE, listens).await?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").args([self.signal, &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Where Debian keeps servers, whoever runs the test.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn check(program: &str, arguments: &[&str]) -> Result<()> {
    let output = command(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{program} cannot be run; `cargo xtask test` installs it"))?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A configuration of nginx, and its arguments.
struct Nginx {
    prefix: String,
    configuration: String,
    socket: PathBuf,
}

impl Nginx {
    fn configure(dir: &Path, fullchain: &Path, key: &Path) -> Result<Self> {
        let (socket, configuration) = (dir.join("nginx.sock"), dir.join("nginx.conf"));
        let (fullchain, key) = (fullchain.display(), key.display());
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {of};")).join(" ");
        let text = format!(
            "pid nginx.pid;\nerror_log error.log;\nevents {{}}\nhttp {{\n  access_log off;\n  {temporary}\n  server {{\n    \
             listen unix:{} ssl;\n    ssl_certificate {fullchain};\n    ssl_certificate_key {key};\n    return 204;\n  }}\n}}\n",
            socket.display()
        );
        std::fs::write(&configuration, text)?;
        Ok(Self { prefix: dir.display().to_string(), configuration: configuration.display().to_string(), socket })
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["-p", &self.prefix, "-c", &self.configuration, "-e", "error.log"], more].concat()
    }

    async fn start(&self) -> Result<Server> {
        check("nginx", &self.arguments(&["-t"]))?;
        Server::start("nginx", &self.arguments(&["-g", "daemon off;"]), "-QUIT", self.socket.clone()).await
    }
}

async fn start_haproxy(dir: &Path, combined: &Path) -> Result<Server> {
    let (socket, configuration) = (dir.join("haproxy.sock"), dir.join("haproxy.cfg"));
    let text = format!(
        "defaults\n  mode http\n  timeout connect 30s\n  timeout client 30s\n  timeout server 30s\nfrontend https\n  bind unix@{} ssl crt {}\n  \
         http-request return status 200\n",
        socket.display(),
        combined.display()
    );
    std::fs::write(&configuration, text)?;
    let configuration = configuration.display().to_string();
    check("haproxy", &["-c", "-f", &configuration])?;
    Server::start("haproxy", &["-db", "-f", &configuration], "-TERM", socket).await
}

/// Whom a client trusts, and by which name it calls.
#[derive(Clone)]
struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    fn new(root_pem: &str, name: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root_pem.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // Each handshake is a whole one, in which the certificate is shown.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self { config: Arc::new(config), name: ServerName::try_from(name.to_owned())? })
    }

    /// Shakes hands, verifying chain, validity and name. Returns the leaf that was shown.
    fn handshake(&self, socket: &Path) -> Result<Vec<u8>> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(HANDSHAKE))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        let leaf = connection.peer_certificates().and_then(<[_]>::first).context("no certificate was shown")?.to_vec();
        connection.send_close_notify();
        // Whoever hangs up first is no failure: the handshake is through.
        let _ = connection.write_tls(&mut stream);
        Ok(leaf)
    }
}

/// What clients have seen.
#[derive(Default)]
struct Seen {
    leaves: BTreeMap<Vec<u8>, u32>,
    failures: Vec<String>,
}

/// Clients that shake hands without a pause.
struct Load {
    seen: Arc<Mutex<Seen>>,
    stopping: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(trust: &Trust, socket: &Path) -> Self {
        let (seen, stopping) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let client = || {
            let (trust, socket, seen, stopping) = (trust.clone(), socket.to_owned(), Arc::clone(&seen), Arc::clone(&stopping));
            std::thread::spawn(move || {
                while !stopping.load(Ordering::Relaxed) {
                    let outcome = trust.handshake(&socket);
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(leaf) => *seen.leaves.entry(leaf).or_default() += 1,
                        Err(error) => seen.failures.push(format!("{error:#}")),
                    }
                }
            })
        };
        let clients = (0..CLIENTS).map(|_| client()).collect();
        Self { seen, stopping, clients }
    }

    /// Waits until this leaf was shown so often.
    async fn shows(&self, what: &str, leaf: &[u8], times: u32) -> Result<()> {
        let look = async || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((seen.leaves.get(leaf).is_some_and(|count| *count >= times) || !seen.failures.is_empty()).then_some(()))
        };
        wait::until(what, PATIENCE, look).await
    }

    fn stop(mut self) -> Result<Seen> {
        self.stopping.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
        }
        Ok(std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

fn leaf_in(file: &Path) -> Result<Vec<u8>> {
    Ok(CertificateDer::from_pem_slice(&std::fs::read(file)?)?.to_vec())
}

#[tokio::test]
async fn nginx_and_haproxy_serve_what_scripts_have_fetched() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let (account, zone) = system.account_with_zone("pro").await?;
    let id = account.request(&zone, "app", &[]).await?;
    let certificate = account.becomes(&id, "issued").await?;
    let name = certificate["name"].as_str().context("name")?;
    let certificate_key = api_key(&account, &format!("/certificates/{id}")).await?;
    let key_key = api_key(&account, &format!("/keys/{}", certificate["private_key_id"].as_str().context("private_key_id")?)).await?;
    let dir = tempfile::tempdir()?;
    let root = stack.pebble.root_certificate_pem().await?;
    std::fs::write(dir.path().join("root.pem"), &root)?;
    let fetch = |kind: &str, key: &str| -> Result<PathBuf> {
        let url = format!("{}/certwarden/api/v1/download/{kind}/{name}", system.api.api_url());
        let fetched = curl(&url, Some(&format!("X-API-Key: {key}")))?;
        ensure!(fetched.status == "200", "{kind}: {}", fetched.status);
        let file = dir.path().join(kind);
        std::fs::write(&file, fetched.bytes)?;
        Ok(file)
    };
    let (fullchain, key) = (fetch("certificates", &certificate_key)?, fetch("privatekeys", &key_key)?);
    let combined = fetch("privatecertchains", &format!("{certificate_key}.{key_key}"))?;
    let path = |file: &Path| file.display().to_string();
    let (root_file, chain_file) = (path(&dir.path().join("root.pem")), path(&fullchain));
    check("openssl", &["verify", "-CAfile", &root_file, "-untrusted", &chain_file, &chain_file])?;

    let trust = Trust::new(&root, certificate["domain"].as_str().context("domain")?)?;
    let leaf = leaf_in(&fullchain)?;
    let nginx = Nginx::configure(dir.path(), &fullchain, &key)?.start().await?;
    ensure!(trust.handshake(&nginx.socket)? == leaf);
    let haproxy = start_haproxy(dir.path(), &combined).await?;
    ensure!(trust.handshake(&haproxy.socket)? == leaf);
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load_and_no_handshake_fails() -> Result<()> {
    let stack = shared().await?;
    let system = System::start(&stack).await?;
    let (account, zone) = system.account_with_zone("pro").await?;
    let id = account.request(&zone, "app", &[]).await?;
    let first = account.becomes(&id, "issued").await?;
    let host = agent::host(&system, &account, &zone.name, &id).await?;
    host.configure(false, "true")?;
    host.run(&["--once"], 0).await?;
    let old = leaf_in(&host.file("fullchain.pem"))?;

    let nginx = Nginx::configure(host.dir.path(), &host.file("fullchain.pem"), &host.file("key.pem"))?;
    let server = nginx.start().await?;
    host.configure(false, &format!("/usr/sbin/nginx {}", nginx.arguments(&["-s", "reload"]).join(" ")))?;
    let trust = Trust::new(&stack.pebble.root_certificate_pem().await?, &host.server_name)?;
    let load = Load::start(&trust, &server.socket);
    load.shows("the certificate is served", &old, 50).await?;

    account.client.post(&format!("/certificates/{id}/renew"), &json!({})).await?.expect(202)?;
    let renewed = account.becomes(&id, "issued").await?;
    ensure!(renewed["current_version"]["id"] != first["current_version"]["id"], "{renewed}");
    host.run(&["--once"], 0).await?;
    let new = leaf_in(&host.file("fullchain.pem"))?;
    ensure!(new != old, "the agent has installed another certificate");
    load.shows("the renewed certificate is served", &new, 200).await?;
    let seen = load.stop()?;
    ensure!(seen.failures.is_empty(), "{} handshakes have failed: {:?}", seen.failures.len(), seen.failures.first());
    ensure!(seen.leaves.keys().all(|leaf| *leaf == old || *leaf == new), "a third certificate was shown");
    ensure!(trust.handshake(&server.socket)? == new);
    Ok(())
}
