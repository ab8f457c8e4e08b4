//! `.lego` of lego: `certificates/<name>.crt` with the chain, unless it was run with `--no-bundle`, its key beside it as `<name>.key`, and the chain as
//! `<name>.issuer.crt`. In a name `_` stands for `*`.

use std::path::Path;

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::{Found, files};

const ENDING: &str = ".crt";
const ISSUER_ENDING: &str = ".issuer.crt";

/// lego writes a description beside each certificate.
pub(crate) fn is_there(path: &Path) -> bool {
    let entries = files::entries(&path.join("certificates")).unwrap_or_default();
    entries.iter().any(|(_, file)| file.extension().is_some_and(|extension| extension == "json") && file.with_extension("crt").is_file())
}

pub(crate) fn read(path: &Path, now: DateTime<Utc>) -> Result<Vec<Found>> {
    let directory = path.join("certificates");
    let entries = files::entries(&directory)?;
    let certificates = entries.into_iter().filter(|(file, _)| !file.ends_with(ISSUER_ENDING));
    Ok(certificates
        .filter_map(|(file, source)| {
            let name = file.strip_suffix(ENDING)?;
            let beside = |ending: &str| files::read(&directory.join(format!("{name}{ending}")));
            // What is in both files counts once.
            let issuer = beside(ISSUER_ENDING).ok();
            let chain = issuer.as_ref().map(|text| text.as_str());
            Some(Found::new(name, &source, files::read(&source), chain, beside(".key"), now))
        })
        .collect())
}
