//! `/etc/letsencrypt` of certbot: `live/<name>` has links to the files of the newest version in `archive/<name>`.

use std::path::Path;

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::{Found, files};

pub(crate) fn read(path: &Path, now: DateTime<Utc>) -> Result<Vec<Found>> {
    let entries = files::entries(&path.join("live"))?;
    let lineages = entries.into_iter().filter(|(_, directory)| directory.is_dir());
    Ok(lineages
        .map(|(name, directory)| {
            let source = directory.join("fullchain.pem");
            Found::new(&name, &source, files::read(&source), None, files::read(&directory.join("privkey.pem")), now)
        })
        .collect())
}
