//! The server process: `initdb` once, then `postgres` with every setting on its command line.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::{CONNECTS_OFTEN, Postgres, SUPERUSER, home};
use crate::layout::{self, Layout};
use crate::ports::{self, Ports};
use crate::process::{Process, Spec};
use crate::secrets::Secrets;
use crate::user::User;

const VERSIONS: &str = "/usr/lib/postgresql";
const ATTEMPTS: usize = 3;
const READY_WITHIN: Duration = Duration::from_mins(1);

/// The server, on a port that stays the same through stop and start. Derefs to [`Postgres`].
pub struct PostgresServer {
    postgres: Postgres,
    spec: Spec,
    process: Option<Process>,
}

impl Deref for PostgresServer {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.postgres
    }
}

impl PostgresServer {
    /// `durable: false` trades safety against a power failure for speed, for tests. `statistics` counts statements.
    pub(crate) async fn start(layout: &Layout, ports: &Ports, secrets: &Secrets, durable: bool, statistics: bool) -> Result<Self> {
        let user = User::for_postgres()?;
        let home = home::prepare(layout, user.as_ref())?;
        let data = home.join("data");
        if !data.join("PG_VERSION").exists() {
            initialise(layout, &home, &data, user.as_ref(), secrets).await?;
        }
        let who = format!("host {CONNECTS_OFTEN} {CONNECTS_OFTEN} 127.0.0.1/32 md5\nhost all all 127.0.0.1/32 scram-sha-256\n");
        fs::write(data.join("pg_hba.conf"), who)?;
        let program = program_for(&data)?;
        for attempt in 1.. {
            let port = ports.pick("postgres")?;
            let postgres = Postgres {
                port,
                superuser_password: secrets.superuser.clone(),
                owner_password: secrets.owner.clone(),
                api_password: secrets.api.clone(),
                worker_password: secrets.worker.clone(),
            };
            let mut spec = Spec::new(layout, "postgres", program.join("postgres"), home.clone())
                .args(["-D".to_owned(), data.display().to_string()])
                .args(settings(port, durable, statistics).into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
            spec.user.clone_from(&user);
            // Fast shutdown (postgres(1)): SIGTERM would wait for clients that are about to be stopped themselves.
            spec.end_signal = Signal::INT;
            spec.death_signal = "INT";
            let mut server = Self { postgres, spec, process: None };
            match server.start_again().await {
                Ok(()) => return Ok(server),
                Err(error) if attempt < ATTEMPTS && ports::says_port_taken(&error) => ports.forget("postgres"),
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop ends by its attempts")
    }

    /// Starts the server on its port and its data, and waits until it answers. Fine when it runs.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.process.is_none() {
            let mut process = Process::spawn(self.spec.clone()).await?;
            process.ready(READY_WITHIN, || async { self.postgres.connect_as_admin("postgres").await.map(drop) }).await?;
            self.process = Some(process);
        }
        Ok(())
    }

    /// Stops the server: every connection ends, and new ones are refused until [`PostgresServer::start_again`]. Its data stay.
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

    /// Process id of the server, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }
}

fn settings(port: u16, durable: bool, statistics: bool) -> Vec<String> {
    let mut settings = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        // No socket file: its path may be longer than the 107 bytes that unix(7) allows.
        "unix_socket_directories=".to_owned(),
        "max_connections=200".to_owned(),
        "timezone=UTC".to_owned(),
        "log_statement=none".to_owned(),
        // A statement that failed may hold a password (ALTER ROLE …).
        "log_min_error_statement=panic".to_owned(),
    ];
    if !durable {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    if statistics {
        settings.push("shared_preload_libraries=pg_stat_statements".to_owned());
    }
    settings
}

async fn initialise(layout: &Layout, home: &Path, data: &Path, user: Option<&User>, secrets: &Secrets) -> Result<()> {
    let (_, bin) = versions()?.pop().context("PostgreSQL is not installed; `cargo xtask up` installs it (Debian package postgresql)")?;
    // Renamed when complete, so that an `initdb` that was cut off is never taken for a data directory.
    let draft = home.join("data.new");
    layout::remove_dir(&draft)?;
    let password = home.join("password");
    layout::write_private(&password, &secrets.superuser)?;
    if let Some(user) = user {
        chown(&password, Some(user.uid), Some(user.gid))?;
    }
    let mut spec = Spec::new(layout, "initdb", bin.join("initdb"), home.to_path_buf()).args([
        format!("--pgdata={}", draft.display()),
        format!("--pwfile={}", password.display()),
        format!("--username={SUPERUSER}"),
        "--auth=scram-sha-256".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--locale=C.UTF-8".to_owned(),
        "--no-sync".to_owned(),
    ]);
    spec.user = user.cloned();
    Process::run_to_end(spec, Duration::from_mins(2)).await?;
    layout::remove_file(&password)?;
    fs::rename(&draft, data)?;
    Ok(())
}

/// The `bin` directory of the version that made `data`.
fn program_for(data: &Path) -> Result<PathBuf> {
    let made_by = fs::read_to_string(data.join("PG_VERSION"))?;
    let made_by: u32 = made_by.trim().parse().with_context(|| format!("{} is damaged", data.display()))?;
    match versions()?.into_iter().find(|(version, _)| *version == made_by) {
        Some((_, bin)) => Ok(bin),
        None => bail!("{} was made by PostgreSQL {made_by}, which is not installed any more; start over with --fresh", data.display()),
    }
}

/// A program of the newest installed server.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let newest = versions()?.pop().map(|(_, bin)| bin.join(name)).filter(|program| program.is_file());
    newest.with_context(|| format!("{name} is not installed; it comes with PostgreSQL (Debian package postgresql)"))
}

/// Installed servers, oldest first. Debian's layout, past any shim on the `PATH`.
fn versions() -> Result<Vec<(u32, PathBuf)>> {
    let Ok(entries) = fs::read_dir(VERSIONS) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let bin = entry.path().join("bin");
        let version = entry.file_name().to_string_lossy().parse();
        if let Ok(version) = version
            && bin.join("initdb").is_file()
            && bin.join("postgres").is_file()
        {
            found.push((version, bin));
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn is_installed() -> bool {
    versions().is_ok_and(|versions| !versions.is_empty())
}
