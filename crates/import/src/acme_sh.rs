//! `~/.acme.sh` of acme.sh: a directory for each certificate, `<domain>` or, with an ECDSA key, `<domain>_ecc`, which holds `<domain>.conf`,
//! `<domain>.key` and `fullchain.cer`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::{Found, files};

pub(crate) fn is_there(path: &Path) -> bool {
    directories(path).is_ok_and(|directories| !directories.is_empty())
}

pub(crate) fn read(path: &Path, now: DateTime<Utc>) -> Result<Vec<Found>> {
    let certificate = |(name, directory): (String, PathBuf)| {
        let source = directory.join("fullchain.cer");
        let key = files::read(&directory.join(format!("{}.key", domain(&name))));
        Found::new(&name, &source, files::read(&source), None, key, now)
    };
    Ok(directories(path)?.into_iter().map(certificate).collect())
}

/// Those with a certificate's settings in them.
fn directories(path: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut entries = files::entries(path)?;
    entries.retain(|(name, directory)| directory.join(format!("{}.conf", domain(name))).is_file());
    Ok(entries)
}

fn domain(directory: &str) -> &str {
    directory.strip_suffix("_ecc").unwrap_or(directory)
}
