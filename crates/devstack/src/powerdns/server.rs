//! The server process and its configuration (doc.powerdns.com, "Authoritative Server Settings").

use std::fmt::Write as _;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::PowerDns;
use crate::layout::{self, Layout};
use crate::ports::{self, Ports};
use crate::postgres::{CONNECTS_OFTEN as DATABASE, Postgres};
use crate::process::{Process, Spec};
use crate::program;

const POSTGRES_SCHEMA: &str = "/usr/share/pdns-backend-pgsql/schema/schema.pgsql.sql";
const SQLITE_SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";
const ATTEMPTS: usize = 3;
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What a `PowerDNS` keeps its zones in.
pub(crate) enum Backend<'a> {
    /// A database of the private `PostgreSQL`: takes parallel changes.
    Postgres { postgres: &'a Postgres, password: &'a str },
    /// A file. Parallel changes answer 500 ("database is locked").
    Sqlite,
}

/// A `PowerDNS` on ports that stay the same through [`PowerDnsServer::stop`] and [`PowerDnsServer::start`]. Derefs to [`PowerDns`].
pub struct PowerDnsServer {
    powerdns: PowerDns,
    spec: Spec,
    process: Option<Process>,
}

impl Deref for PowerDnsServer {
    type Target = PowerDns;

    fn deref(&self) -> &PowerDns {
        &self.powerdns
    }
}

impl PowerDnsServer {
    pub(crate) async fn launch(layout: &Layout, ports: &Ports, name: &str, api_key: &str, backend: Backend<'_>) -> Result<Self> {
        let dir = layout.part(name)?;
        let backend = backend.prepare(layout, name, &dir).await?;
        let program = program::get("pdns_server", "pdns-server")?;
        let spec = Spec::new(layout, name, program, dir.clone()).args([format!("--config-dir={}", dir.display())]);
        let (api, dns) = (format!("{name}-api"), format!("{name}-dns"));
        for attempt in 1.. {
            let powerdns = PowerDns::new(ports.pick(&api)?, ports.pick(&dns)?, api_key.to_owned());
            layout::write_private(&dir.join("pdns.conf"), &configuration(&powerdns, &backend))?;
            let mut server = Self { powerdns, spec: spec.clone(), process: None };
            match server.start().await {
                Ok(()) => return Ok(server),
                Err(error) if attempt < ATTEMPTS && ports::says_port_taken(&error) => {
                    ports.forget(&api);
                    ports.forget(&dns);
                }
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop ends by its attempts")
    }

    /// Starts the server on its ports, and waits until API and DNS answer. Fine when it runs.
    pub async fn start(&mut self) -> Result<()> {
        if self.process.is_none() {
            let mut process = Process::spawn(self.spec.clone()).await?;
            process.ready(READY_WITHIN, || self.powerdns.probe()).await?;
            self.process = Some(process);
        }
        Ok(())
    }

    /// Stops the server: connections to both ports are refused until [`PowerDnsServer::start`]. Its zones stay.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.end().await,
            None => Ok(()),
        }
    }

    /// An error with the last log lines, when the server has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }
}

impl Backend<'_> {
    /// Makes the database where it is missing; answers the settings that lead to it.
    async fn prepare(self, layout: &Layout, name: &str, dir: &std::path::Path) -> Result<String> {
        match self {
            Backend::Postgres { postgres, password } => {
                postgres.ensure_role_that_connects_often(DATABASE, password).await?;
                if postgres.ensure_database(DATABASE, DATABASE).await? {
                    let schema = fs::read_to_string(POSTGRES_SCHEMA);
                    let schema = schema.with_context(|| format!("{POSTGRES_SCHEMA} is missing (Debian package pdns-backend-pgsql)"))?;
                    let admin = postgres.connect_as_admin(DATABASE).await?;
                    // One transaction, so that a cut never leaves half a schema; the tables belong to the role that uses them.
                    admin.batch_execute(&format!("BEGIN; SET LOCAL ROLE {DATABASE}; {schema}; COMMIT")).await?;
                }
                Ok(format!(
                    "launch=gpgsql\ngpgsql-host=127.0.0.1\ngpgsql-port={}\ngpgsql-dbname={DATABASE}\ngpgsql-user={DATABASE}\ngpgsql-password={password}\n",
                    postgres.port()
                ))
            }
            Backend::Sqlite => {
                let file = dir.join("zones.sqlite3");
                if !file.exists() {
                    create_sqlite(layout, name, &file).await?;
                }
                Ok(format!("launch=gsqlite3\ngsqlite3-database={}\ngsqlite3-pragma-synchronous=0\n", file.display()))
            }
        }
    }
}

async fn create_sqlite(layout: &Layout, name: &str, file: &std::path::Path) -> Result<()> {
    let draft: PathBuf = file.with_extension("new");
    layout::remove_file(&draft)?;
    let program = program::get("sqlite3", "sqlite3")?;
    let spec = Spec::new(layout, &format!("{name}-schema"), program, layout.root().to_path_buf());
    let spec = spec.args(["-bail".to_owned(), draft.display().to_string(), format!(".read {SQLITE_SCHEMA}")]);
    Process::run_to_end(spec, Duration::from_secs(30)).await?;
    fs::rename(&draft, file)?;
    Ok(())
}

fn configuration(powerdns: &PowerDns, backend: &str) -> String {
    let mut text = backend.to_owned();
    let (api_port, dns_port, key) = (powerdns.api_port(), powerdns.dns_address().port(), powerdns.api_key());
    // The control socket lies in the working directory: a full path may be longer than unix(7) allows. No caches: a test sees each
    // change at once.
    let _ = write!(
        text,
        "local-address=127.0.0.1
local-port={dns_port}
socket-dir=.
daemon=no
guardian=no
disable-syslog=yes
write-pid=no
api=yes
api-key={key}
webserver=yes
webserver-address=127.0.0.1
webserver-port={api_port}
webserver-allow-from=127.0.0.0/8,::1/128
security-poll-suffix=
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
default-soa-edit=
"
    );
    text
}
