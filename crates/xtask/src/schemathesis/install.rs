//! schemathesis, in an environment of Python's own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::report::say;
use crate::workspace;

const REQUIREMENTS: &str = "tests/schemathesis/requirements.txt";

/// The program, which is installed on the first run and whenever the requirements have changed.
///
/// # Errors
/// When it has to be installed and `no_install` forbids that, or `PyPI` is not reached.
pub(super) async fn install(no_install: bool) -> Result<PathBuf> {
    let (root, home) = (workspace::root()?, workspace::dev("schemathesis")?);
    let (program, marker) = (home.join("bin/schemathesis"), home.join("installed-requirements.txt"));
    let wanted = std::fs::read_to_string(root.join(REQUIREMENTS)).with_context(|| format!("cannot read {REQUIREMENTS}"))?;
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(program);
    }
    if no_install {
        bail!(
            "schemathesis is not installed in {}; without --no-install it is, or by hand: python3 -m venv {0}, {0}/bin/pip install --no-deps \
             --requirement {REQUIREMENTS}, and cp {REQUIREMENTS} {}",
            home.display(),
            marker.display()
        );
    }
    say("schemathesis: installing it from PyPI into .dev/schemathesis, once; some 30 MB");
    if home.exists() {
        std::fs::remove_dir_all(&home).with_context(|| format!("cannot delete {}", home.display()))?;
    }
    run(Path::new("python3"), &["-m", "venv", &home.display().to_string()]).await?;
    let requirements = root.join(REQUIREMENTS).display().to_string();
    let pip = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--requirement", &requirements];
    run(&home.join("bin/pip"), &pip).await.context("is PyPI reached from here? HTTPS_PROXY and PIP_INDEX_URL are respected")?;
    std::fs::write(&marker, wanted).with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(program)
}

async fn run(program: &Path, args: &[&str]) -> Result<()> {
    let status = Command::new(program).args(args).stdin(Stdio::null()).kill_on_drop(true).status().await;
    let status = status.with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(status.success(), "`{} {}` failed ({status}); see above", program.display(), args.join(" "));
    Ok(())
}
