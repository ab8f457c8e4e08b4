//! The Debian packages that the stack and the build need, and their installation without side effects.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{postgres, program};

/// Removes every trace of itself, also when it is interrupted: see the comments in the file.
const INSTALL_SCRIPT: &str = include_str!("install.sh");

/// A package of Debian 12 that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// As apt knows it.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub why: &'static str,
}

const NEEDED: [Package; 20] = [
    Package { name: "postgresql", why: "the database" },
    Package { name: "pdns-server", why: "PowerDNS, where zones and challenges live" },
    Package { name: "pdns-backend-pgsql", why: "our PowerDNS keeps its zones in PostgreSQL" },
    Package { name: "pdns-backend-sqlite3", why: "the PowerDNS that plays the customer's DNS keeps its zones in a file" },
    Package { name: "sqlite3", why: "makes that file" },
    Package { name: "pebble", why: "the ACME CA" },
    Package { name: "libssl-dev", why: "the product's keys, CSRs and chains are made with OpenSSL" },
    Package { name: "pkg-config", why: "the build finds OpenSSL by it" },
    Package { name: "openssl", why: "checks the issued certificates independently of our code" },
    Package { name: "curl", why: "fetches files as the scripts do that customers bring along" },
    Package { name: "wget", why: "the same" },
    Package { name: "nginx", why: "serves what was issued, while it is replaced; its service is not started" },
    Package { name: "haproxy", why: "the same" },
    Package { name: "certbot", why: "makes certificates that are then imported; its timer is not started" },
    Package { name: "lego", why: "the same, and is what we are compared with" },
    Package { name: "prometheus", why: "promtool checks the page of metrics and evaluates the rules of alerts; the server is not started" },
    Package { name: "python3-venv", why: "schemathesis, which tries the API out, is installed into an environment of its own" },
    Package { name: "python3-cryptography", why: "opens what is pushed to clients independently of our code" },
    Package { name: "ca-certificates", why: "the product trusts public CAs by it" },
    Package { name: "util-linux", why: "setpriv: children run unprivileged and end with their parent" },
];

impl Package {
    fn is_present(&self) -> Result<bool> {
        Ok(match self.name {
            // Any version will do, and `postgresql` is only the newest one's name.
            "postgresql" => postgres::is_installed(),
            // The package has two names in use.
            "pkg-config" => program::find("pkg-config").is_some(),
            name => {
                let status = Command::new(program::get("dpkg-query", "dpkg")?)
                    .args(["--show", "--showformat=${db:Status-Status}", name])
                    .stderr(Stdio::null())
                    .output()?;
                status.stdout == b"installed"
            }
        })
    }
}

/// What is needed and not installed.
///
/// # Errors
/// Where there is no dpkg, with the list of what is needed.
pub fn missing() -> Result<Vec<Package>> {
    if program::find("dpkg-query").is_none() || program::find("apt-get").is_none() {
        let names = NEEDED.map(|package| package.name).join(" ");
        bail!("this is made for Debian 12, whose apt-get and dpkg-query are not here; it needs what Debian calls {names}");
    }
    missing_of(&NEEDED)
}

/// Which of these are not installed.
///
/// # Errors
/// Where there is no dpkg.
pub fn missing_of(packages: &[Package]) -> Result<Vec<Package>> {
    let mut missing = Vec::new();
    for package in packages {
        if !package.is_present()? {
            missing.push(*package);
        }
    }
    Ok(missing)
}

/// Installs `packages` with apt-get, by sudo when we are not root. No service is started, stopped or restarted by it, and none is
/// started at the next boot; `PostgreSQL` gets no cluster of its own.
///
/// # Errors
/// When apt-get fails; what it said stands on the terminal.
pub fn install(packages: &[Package]) -> Result<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("/bin/sh")
    } else {
        let sudo = program::find("sudo")
            .context("installing packages needs root, and there is no sudo; install them as root, see --no-install")?;
        let mut command = Command::new(sudo);
        command.arg("/bin/sh");
        command
    };
    let status = command.args(["-c", INSTALL_SCRIPT, "zonecert-install"]).args(packages.iter().map(|package| package.name)).status()?;
    if !status.success() {
        bail!("the packages could not be installed ({status}); apt-get says why above");
    }
    let still: Vec<_> = missing_of(packages)?.iter().map(|package| package.name).collect();
    if !still.is_empty() {
        bail!("apt-get ended well, yet these are not installed: {}", still.join(" "));
    }
    Ok(())
}
