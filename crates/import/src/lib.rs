//! Certificates and their private keys, read from where other programs keep them, and what is to become of each.
//!
//! Only reads: nothing is written or locked there, and no key leaves memory that is wiped. Each reader knows one layout, and [`Found::new`] holds
//! every pair to what the API would hold it to.

mod acme_sh;
mod cert_warden;
mod certbot;
mod files;
mod lego;
mod pem;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;
use zonecert_pki::upload::{PemUpload, Upload, read_pem};

pub use plan::{Action, Existing, decide};

/// More certificates are not taken at once.
const MAX_FOUND: usize = 10_000;

/// Longest name that the API takes, in characters.
const MAX_NAME_LENGTH: usize = 100;

/// Whose layout it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `/etc/letsencrypt`.
    Certbot,
    /// `.lego`.
    Lego,
    /// `~/.acme.sh`.
    AcmeSh,
    /// The database of Cert Warden, which was `LeGo CertHub`.
    CertWarden,
    /// Files in PEM with any names.
    Pem,
}

impl Format {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 5] = [Self::CertWarden, Self::Certbot, Self::Lego, Self::AcmeSh, Self::Pem];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certbot => "certbot",
            Self::Lego => "lego",
            Self::AcmeSh => "acme.sh",
            Self::CertWarden => "cert-warden",
            Self::Pem => "pem",
        }
    }

    /// What lies at a path; every directory and file without another layout may hold PEM.
    pub fn of(path: &Path) -> Self {
        let is_there = |format: &Self| match format {
            Self::CertWarden => cert_warden::database(path).is_some(),
            Self::Certbot => path.join("live").is_dir(),
            Self::Lego => lego::is_there(path),
            Self::AcmeSh => acme_sh::is_there(path),
            Self::Pem => true,
        };
        Self::ALL.into_iter().find(is_there).unwrap_or(Self::Pem)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A certificate that was found.
pub struct Found {
    /// What it is called there, as far as a name here may be so. It stays the same when it is renewed there.
    pub name: String,
    /// The file that it stands in.
    pub source: PathBuf,
    /// Certificate, chain and key, if they can be used.
    pub upload: Option<Upload>,
    /// Why it is not imported.
    pub fault: Option<String>,
}

/// A text of PEM, or why there is none.
type Text = Result<Zeroizing<String>, String>;

impl Found {
    /// Holds certificate and key to each other.
    fn new(name: &str, source: &Path, certificate: Text, chain: Option<&str>, key: Text, now: DateTime<Utc>) -> Self {
        let read = certificate.and_then(|certificate| key.map(|key| (certificate, key))).and_then(|(certificate, key)| {
            let sent = PemUpload { certificate: &certificate, chain, private_key: Some(&key), passphrase: None };
            read_pem(&sent, now).map_err(|error| error.to_string())
        });
        match read {
            Ok(upload) => {
                let end = upload.chain.not_after();
                let fault = (end < now).then(|| "it has expired".to_owned());
                Self { name: safe_name(name), source: source.to_owned(), upload: Some(upload), fault }
            }
            Err(fault) => Self::unusable(name, source, fault),
        }
    }

    fn unusable(name: &str, source: &Path, fault: String) -> Self {
        Self { name: safe_name(name), source: source.to_owned(), upload: None, fault: Some(fault) }
    }

    /// What is to be uploaded, unless there is a fault.
    pub fn usable(&self) -> Option<&Upload> {
        self.upload.as_ref().filter(|_| self.fault.is_none())
    }

    /// The DNS names in it; without these, its common name.
    pub fn domains(&self) -> Vec<String> {
        let Some(chain) = self.upload.as_ref().map(|upload| &upload.chain) else { return Vec::new() };
        if chain.dns_names().is_empty() { chain.common_name().into_iter().collect() } else { chain.dns_names().to_vec() }
    }
}

/// Every certificate at `path`, in the order of its names. What cannot be imported is there with its fault; fails where nothing can be read at all.
///
/// Burns up to half a second of CPU for each: not for an async thread.
pub fn read(path: &Path, format: Format, now: DateTime<Utc>) -> Result<Vec<Found>> {
    ensure!(path.exists(), "there is no {}, or it may not be seen; correct the path, or run this as root", path.display());
    let found = match format {
        Format::Certbot => certbot::read(path, now),
        Format::Lego => lego::read(path, now),
        Format::AcmeSh => acme_sh::read(path, now),
        Format::CertWarden => cert_warden::read(path, now),
        Format::Pem => pem::read(path, now),
    };
    let mut found = found.with_context(|| format!("{} cannot be read as {format}; correct the path, or --from", path.display()))?;
    ensure!(found.len() <= MAX_FOUND, "there are more than {MAX_FOUND} certificates; import parts of them");
    found.sort_by(|one, other| (&one.name, &one.source).cmp(&(&other.name, &other.source)));
    mark_duplicates(&mut found);
    Ok(found)
}

/// One of several that are the same certificate, or have the same name, is imported.
fn mark_duplicates(found: &mut [Found]) {
    let (mut fingerprints, mut names) = (HashMap::new(), HashMap::new());
    for one in found {
        let Some(fingerprint) = one.usable().map(|upload| upload.chain.sha256_fingerprint_hex().to_owned()) else { continue };
        let source = one.source.display().to_string();
        if let Some(first) = fingerprints.get(&fingerprint) {
            one.fault = Some(format!("it is the same as {first}"));
        } else if let Some(first) = names.get(&one.name) {
            one.fault = Some(format!("it has the name of {first}; import it by itself, from another path"));
        } else {
            fingerprints.insert(fingerprint, source.clone());
            names.insert(one.name.clone(), source);
        }
    }
}

/// As the API takes it: letters, digits, `.`, `_` and `-`, a letter or digit first.
fn safe_name(name: &str) -> String {
    let name = match name.strip_prefix("*.").or_else(|| name.strip_prefix("_.")) {
        Some(rest) => format!("wildcard.{rest}"),
        None => name.to_owned(),
    };
    let is_safe = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    let name: String = name.chars().map(|character| if is_safe(character) { character } else { '-' }).collect();
    let mut name = name.trim_start_matches(|character: char| !character.is_ascii_alphanumeric()).to_owned();
    name.truncate(MAX_NAME_LENGTH);
    if name.is_empty() { "imported".to_owned() } else { name }
}
