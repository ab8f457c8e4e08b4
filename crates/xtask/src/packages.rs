//! Makes sure that the Debian packages are there, or says which are not.

use anyhow::{Result, bail};
use zonecert_devstack::packages::{Package, install, missing, missing_of};

use crate::report::say;

/// Installs what is missing, having said what and why; with `no_install` it only says so.
///
/// # Errors
/// When something is missing and `no_install` forbids to install it, or apt-get fails.
pub(crate) async fn prepare(no_install: bool) -> Result<()> {
    install_missing(missing()?, no_install).await
}

/// The same for packages that one command alone needs.
pub(crate) async fn prepare_these(packages: &[Package], no_install: bool) -> Result<()> {
    install_missing(missing_of(packages)?, no_install).await
}

async fn install_missing(missing: Vec<Package>, no_install: bool) -> Result<()> {
    if missing.is_empty() {
        say("packages: all that is needed is installed");
        return Ok(());
    }
    say(&format!("packages: {} missing", missing.len()));
    for package in &missing {
        println!("             {:<22} {}", package.name, package.why);
    }
    if no_install {
        let names: Vec<_> = missing.iter().map(|package| package.name).collect();
        bail!("packages are missing; without --no-install they are installed, or by hand: apt-get install {}", names.join(" "));
    }
    say("installing them with apt-get; no service is started, stopped or restarted by it, and PostgreSQL gets no cluster of its own");
    tokio::task::spawn_blocking(move || install(&missing)).await??;
    say("packages: installed");
    Ok(())
}
