//! The process, its configuration, and the proxy before it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use super::Pebble;
use super::proxy::{Behind, Proxy};
use super::seen::Seen;
use super::tls::Tls;
use crate::interference::{Hold, Refusal, Shared};
use crate::layout::{self, Layout};
use crate::ports::{self, Ports};
use crate::powerdns::PowerDns;
use crate::process::{Process, Spec};
use crate::program;
use crate::stack::temporary_dir;

const ATTEMPTS: usize = 3;
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How Pebble shall behave. The default is unkind as real CAs are: it rejects nonces and reuses no authorization.
#[derive(Clone, Debug)]
pub struct PebbleOptions {
    /// Life of the certificates it issues.
    pub certificate_validity: Duration,
    /// How many of a hundred good nonces it rejects (`badNonce`, RFC 8555 §6.5).
    pub rejected_nonces_percent: u8,
    /// How many of a hundred valid authorizations it reuses in a new order. Pebble 2.4.0 still reuses about 1 % at 0.
    pub reused_authorizations_percent: u8,
    /// An account that customers of this CA have elsewhere, by key identifier and MAC key in base64url: new ACME accounts have to be bound to it (RFC 8555 §7.3.4).
    pub external_account: Option<(String, String)>,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        let ninety_days = Duration::from_hours(90 * 24);
        // The ACME library gives a request up after three rejections in a row: at 5 % one in 8,000, which some test would meet every day.
        Self { certificate_validity: ninety_days, rejected_nonces_percent: 1, reused_authorizations_percent: 0, external_account: None }
    }
}

impl PebbleOptions {
    /// Rejects no nonce, for tests that hold or refuse requests: what is held is what was meant.
    pub fn unfailing() -> Self {
        Self { rejected_nonces_percent: 0, ..Self::default() }
    }
}

/// Pebble behind its proxy, on ports that stay the same through stop and start. Derefs to [`Pebble`].
///
/// All its state (accounts, orders, roots) is new at each start.
pub struct PebbleServer {
    pebble: Pebble,
    spec: Spec,
    acme_port: u16,
    tls: Tls,
    seen: Arc<Mutex<Seen>>,
    interference: Shared,
    running: Option<(Proxy, Process)>,
    /// Holds the directory of one that belongs to no stack; goes last.
    _scratch: Option<TempDir>,
}

impl Deref for PebbleServer {
    type Target = Pebble;

    fn deref(&self) -> &Pebble {
        &self.pebble
    }
}

impl PebbleServer {
    /// One of a test's own that behaves otherwise than that of the stack which tests share, and validates against the same `PowerDNS`.
    pub async fn beside(powerdns: &PowerDns, options: &PebbleOptions) -> Result<Self> {
        let scratch = temporary_dir()?;
        let layout = Layout::create(scratch.path())?;
        let server = Self::launch(&layout, &Ports::load(&layout)?, powerdns.dns_address(), options).await?;
        Ok(Self { _scratch: Some(scratch), ..server })
    }

    /// `resolver` answers the TXT look-ups of its validation: every challenge is validated for real.
    pub(crate) async fn launch(layout: &Layout, ports: &Ports, resolver: SocketAddr, options: &PebbleOptions) -> Result<Self> {
        let dir = layout.part("pebble")?;
        let config_file = dir.join("pebble.json");
        let mut spec = Spec::new(layout, "pebble", program::get("pebble", "pebble")?, dir.clone());
        spec = spec.args(["-config".to_owned(), config_file.display().to_string(), "-dnsserver".to_owned(), resolver.to_string()]);
        spec.env = BTreeMap::from([
            // Otherwise it waits up to 15 s before each validation.
            ("PEBBLE_VA_NOSLEEP".to_owned(), "1".to_owned()),
            ("PEBBLE_WFE_NONCEREJECT".to_owned(), options.rejected_nonces_percent.to_string()),
            ("PEBBLE_AUTHZREUSE".to_owned(), options.reused_authorizations_percent.to_string()),
        ]);
        let names = ["pebble", "pebble-acme", "pebble-management"];
        for attempt in 1.. {
            let [proxy, acme, management] = [ports.pick(names[0])?, ports.pick(names[1])?, ports.pick(names[2])?];
            let tls = Tls::create(&dir)?;
            layout::write_private(&config_file, &configuration(acme, management, &tls, options))?;
            let pebble = Pebble::new(proxy, management, tls.ca_file.clone());
            let (seen, interference) = (Arc::default(), Arc::default());
            let mut server = Self { pebble, spec: spec.clone(), acme_port: acme, tls, seen, interference, running: None, _scratch: None };
            match server.start().await {
                Ok(()) => return Ok(server),
                Err(error) if attempt < ATTEMPTS && ports::says_port_taken(&error) => names.iter().for_each(|name| ports.forget(name)),
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop ends by its attempts")
    }

    /// Starts Pebble and proxy on their ports, and waits until the directory answers. Fine when they run.
    pub async fn start(&mut self) -> Result<()> {
        if self.running.is_none() {
            let mut process = Process::spawn(self.spec.clone()).await?;
            let (seen, interference) = (Arc::clone(&self.seen), Arc::clone(&self.interference));
            let behind = Behind { port: self.acme_port, ca_file: &self.tls.ca_file, seen, interference, script: None };
            let proxy = Proxy::start(self.pebble.proxy_port(), Arc::clone(&self.tls.server), behind).await?;
            process.ready(READY_WITHIN, || self.pebble.probe()).await?;
            self.running = Some((proxy, process));
        }
        Ok(())
    }

    /// Stops both: connections are refused until [`PebbleServer::start`].
    pub async fn stop(&mut self) -> Result<()> {
        match self.running.take() {
            Some((proxy, process)) => {
                drop(proxy);
                process.end().await
            }
            None => Ok(()),
        }
    }

    /// Stop and start: the same URLs, but no account, order or root of before.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Holds back the next request to a path that begins so: Pebble does not hear of it until it is released.
    pub fn hold_request(&self, path: &str) -> Hold {
        self.interference.hold_request(path)
    }

    /// Holds back the answer to the next request to a path that begins so: Pebble has done what it was asked, and the client does not know.
    pub fn hold_answer(&self, path: &str) -> Hold {
        self.interference.hold_answer(path)
    }

    /// Answers every request to a path that begins so with this status, for as long as the refusal lives.
    pub fn refuse(&self, path: &str, status: StatusCode) -> Refusal {
        self.interference.refuse(path, status)
    }

    /// Answers the next request to a path that begins so with a problem of this type (RFC 8555 §6.7), named without its namespace.
    pub fn object(&self, path: &str, status: StatusCode, problem_type: &str) -> Refusal {
        self.interference.object(path, status, problem_type)
    }

    /// An error with the last log lines, when Pebble has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.running.as_mut().map_or(Ok(()), |(_, process)| process.check())
    }

    /// Process id of Pebble, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|(_, process)| process.pid())
    }

    /// Where Pebble writes what it does.
    pub fn log(&self) -> PathBuf {
        self.spec.log.clone()
    }
}

fn configuration(acme_port: u16, management_port: u16, tls: &Tls, options: &PebbleOptions) -> String {
    let config = json!({"pebble": {
        "listenAddress": format!("127.0.0.1:{acme_port}"),
        "managementListenAddress": format!("127.0.0.1:{management_port}"),
        "certificate": tls.certificate_file,
        "privateKey": tls.key_file,
        // Where http-01 and tls-alpn-01 would be validated; we use dns-01 only.
        "httpPort": 5002,
        "tlsPort": 5001,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": options.external_account.is_some(),
        "externalAccountMACKeys": options.external_account.iter().cloned().collect::<BTreeMap<_, _>>(),
        "certificateValidityPeriod": options.certificate_validity.as_secs(),
    }});
    config.to_string()
}
