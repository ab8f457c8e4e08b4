//! All parts together: [`Stack`] owns the processes, [`StackHandle`] is how to reach them.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::layout::{self, Layout};
use crate::leftover;
use crate::pebble::{Pebble, PebbleOptions, PebbleServer};
use crate::ports::Ports;
use crate::postgres::{Postgres, PostgresServer};
use crate::powerdns::{Backend, PowerDns, PowerDnsServer};
use crate::resolver::Resolver;
use crate::secrets::Secrets;

/// What is temporary lies in `zonecert-<process id>-<random>` of the system's temporary directory.
const TEMPORARY_PREFIX: &str = "zonecert-";

/// Where and how a stack is started.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Holds all data, logs, passwords and process ids. A second start from the same directory goes on with what is there.
    pub dir: PathBuf,
    /// Deletes what an earlier run has stored, first.
    pub fresh: bool,
    /// False for tests: faster, but a power failure may cost the data.
    pub durable: bool,
    /// Counts statements (`pg_stat_statements`), for benches.
    pub statistics: bool,
    /// Pebble's behaviour.
    pub pebble: PebbleOptions,
    /// Told of each part that is ready and of each leftover that was ended.
    pub progress: fn(&str),
}

impl StackOptions {
    /// A durable stack in `dir`, which goes on with what is there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), fresh: false, durable: true, statistics: false, pebble: PebbleOptions::default(), progress: |_| {} }
    }
}

/// How to reach every part of a stack, from any process. Holds passwords: kept in a file that only its owner can read.
#[derive(Clone, Serialize, Deserialize)]
pub struct StackHandle {
    /// The private `PostgreSQL`.
    pub postgres: Postgres,
    /// Our `PowerDNS`, where zones are hosted and challenges are written. The CA sees the zones that it has.
    pub powerdns: PowerDns,
    /// A second `PowerDNS` that plays the customer's DNS of today, where a zone's ownership TXT is looked up. The CA sees its other zones.
    pub customer_dns: PowerDns,
    /// The CA.
    pub pebble: Pebble,
}

impl StackHandle {
    /// Reads the description that a running stack has written: see [`Stack::description_file`].
    pub fn read(file: &Path) -> Result<Self> {
        layout::find_json(file)?.with_context(|| format!("{} is missing: the stack it describes has ended", file.display()))
    }
}

/// Running parts. Dropping it ends them in an orderly way; if this process is killed, the kernel ends them.
pub struct Stack {
    /// The CA and our proxy before it.
    pub pebble: PebbleServer,
    _resolver: Resolver,
    /// The customer's DNS of today.
    pub customer_dns: PowerDnsServer,
    /// Our DNS.
    pub powerdns: PowerDnsServer,
    /// The database server, of ours and of our `PowerDNS`.
    pub postgres: PostgresServer,
    layout: Layout,
    _lock: File,
    // Last: the directory goes when all that use it have ended.
    _scratch: Option<Scratch>,
}

impl Stack {
    /// Starts all parts and waits until each answers.
    ///
    /// # Errors
    /// When a program is missing, the directory is in use, or a part does not come up: then with its last log lines.
    pub async fn start(options: StackOptions) -> Result<Self> {
        Self::start_in(options, None).await
    }

    /// A stack of one's own in a temporary directory, for a test that breaks things. Not durable; gone without a trace when dropped.
    pub async fn temporary(pebble: PebbleOptions) -> Result<Self> {
        sweep_temporary();
        let dir = temporary_dir()?;
        let options = StackOptions { durable: false, pebble, ..StackOptions::new(dir.path()) };
        Self::start_in(options, Some(dir)).await
    }

    async fn start_in(options: StackOptions, dir: Option<TempDir>) -> Result<Self> {
        let layout = Layout::create(&options.dir)?;
        let lock = layout.lock()?;
        let scratch = dir.map(|dir| Scratch { layout: layout.clone(), _dir: dir });
        // We hold the lock, so whoever wrote these records is dead.
        let names = leftover::end_all(&layout.run_dir())?;
        if !names.is_empty() {
            (options.progress)(&format!("ended what a killed run had left behind: {}", names.join(", ")));
        }
        if options.fresh {
            layout.remove_data()?;
        }
        layout.begin_logs()?;
        let (ports, secrets) = (Ports::load(&layout)?, Secrets::load_or_create(&layout)?);
        let ready = |part: String| (options.progress)(&part);

        let ours = async {
            let postgres = PostgresServer::start(&layout, &ports, &secrets, options.durable, options.statistics).await?;
            postgres.ensure_owner_role().await?;
            ready(format!("PostgreSQL on port {}", postgres.port()));
            let backend = Backend::Postgres { postgres: &postgres, password: &secrets.powerdns_database };
            let powerdns = PowerDnsServer::launch(&layout, &ports, "powerdns", &secrets.powerdns_api, backend).await?;
            ready(format!("PowerDNS, ours: DNS {}, API {}", powerdns.dns_address(), powerdns.api_url()));
            Ok((postgres, powerdns))
        };
        let theirs = async {
            let customer_dns = PowerDnsServer::launch(&layout, &ports, "customer-dns", &secrets.customer_dns_api, Backend::Sqlite).await?;
            ready(format!("PowerDNS, the customer's: DNS {}, API {}", customer_dns.dns_address(), customer_dns.api_url()));
            anyhow::Ok(customer_dns)
        };
        let ((postgres, powerdns), customer_dns) = tokio::try_join!(ours, theirs)?;
        let resolver = Resolver::start(&ports, vec![powerdns.dns_address(), customer_dns.dns_address()]).await?;
        let pebble = PebbleServer::launch(&layout, &ports, resolver.address(), &options.pebble).await?;
        ready(format!("Pebble, the CA: {}", pebble.directory_url()));
        let stack = Self { pebble, _resolver: resolver, customer_dns, powerdns, postgres, layout, _lock: lock, _scratch: scratch };
        layout::write_json(&stack.description_file(), &stack.handle())?;
        Ok(stack)
    }

    /// How to reach the parts.
    pub fn handle(&self) -> StackHandle {
        StackHandle {
            postgres: self.postgres.clone(),
            powerdns: self.powerdns.clone(),
            customer_dns: self.customer_dns.clone(),
            pebble: self.pebble.clone(),
        }
    }

    /// The file that describes this stack to other processes: see [`StackHandle::read`].
    pub fn description_file(&self) -> PathBuf {
        self.layout.description()
    }

    /// The directory of the stack.
    pub fn dir(&self) -> &Path {
        self.layout.root()
    }

    /// A port for something else of this run, which stays the same between runs where it is free.
    pub fn port_for(&self, name: &str) -> Result<u16> {
        Ports::load(&self.layout)?.pick(name)
    }

    /// An error that names the part, with its last log lines, when one has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.postgres.check()?;
        self.powerdns.check()?;
        self.customer_dns.check()?;
        self.pebble.check()
    }

    /// Ends all parts in an orderly way.
    pub async fn stop(self) -> Result<()> {
        let description = self.description_file();
        tokio::task::spawn_blocking(move || drop(self)).await?;
        layout::remove_file(&description)
    }
}

/// A directory that goes when it is dropped, and is swept later if we are killed.
pub(crate) fn temporary_dir() -> Result<TempDir> {
    let prefix = format!("{TEMPORARY_PREFIX}{}-", std::process::id());
    // Others may pass through, since the user that PostgreSQL runs as must; what lies inside is closed to them.
    let passable = fs::Permissions::from_mode(0o711);
    Ok(tempfile::Builder::new().prefix(&prefix).permissions(passable).tempdir()?)
}

/// The directory of a temporary stack, and the place outside it where `PostgreSQL`'s data may lie.
struct Scratch {
    layout: Layout,
    _dir: TempDir,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What remains is swept by the next temporary stack.
        let _ = self.layout.remove_data();
    }
}

/// Removes the temporary directories of processes that were killed. What cannot be removed costs only space.
fn sweep_temporary() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY_PREFIX)?.split('-').next()?.parse::<u32>().ok());
        let Some(owner) = owner else { continue };
        // Anybody can make a directory of such a name there: only our own are followed.
        let ours =
            fs::symlink_metadata(entry.path()).is_ok_and(|found| found.is_dir() && found.uid() == rustix::process::geteuid().as_raw());
        if ours && !Path::new("/proc").join(owner.to_string()).exists() {
            let _ = sweep_one(&entry.path());
        }
    }
}

fn sweep_one(dir: &Path) -> Result<()> {
    let layout = Layout::create(dir)?;
    leftover::end_all(&layout.run_dir())?;
    layout.remove_data()?;
    layout::remove_dir(dir)
}
