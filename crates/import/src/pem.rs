//! A folder of PEM with any names: which key belongs to which certificate, and who has issued whom, is found out by what is in them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;
use zonecert_pki::CertificateChain;
use zonecert_pki::chain::MAX_CERTIFICATES;
use zonecert_pki::upload::read_key;

use crate::{Found, MAX_FOUND, files};

/// Directories below directories are not looked into any deeper.
const MAX_DEPTH: usize = 8;

/// Other blocks whose label ends in `PRIVATE KEY`, such as those of OpenSSH, are of no certificate.
const KEY_LABELS: [&str; 4] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"];

/// A single certificate.
struct Certificate {
    read: CertificateChain,
    /// Which file it stands in.
    file: usize,
}

#[derive(Default)]
struct Folder {
    files: Vec<PathBuf>,
    certificates: Vec<Certificate>,
    /// By the SHA-256 of their public keys.
    keys: HashMap<[u8; 32], Zeroizing<String>>,
    /// Files with what is no certificate or key that can be used, and why.
    faults: Vec<(usize, String)>,
}

pub(crate) fn read(path: &Path, now: DateTime<Utc>) -> Result<Vec<Found>> {
    let mut folder = Folder::default();
    if path.is_dir() {
        folder.walk(path, 0)?;
    } else {
        folder.files.push(path.to_owned());
    }
    for file in 0..folder.files.len() {
        folder.read_file(file);
    }
    let base = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    Ok(folder.found(base, now))
}

impl Folder {
    /// Links to files are followed, links to directories are not: they may lead in circles.
    fn walk(&mut self, directory: &Path, depth: usize) -> Result<()> {
        for (_, path) in files::entries(directory)? {
            let is_directory = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            if is_directory && depth < MAX_DEPTH {
                self.walk(&path, depth + 1)?;
            } else if path.is_file() {
                ensure!(self.files.len() < MAX_FOUND, "there are more than {MAX_FOUND} files; import parts of them");
                self.files.push(path);
            }
        }
        Ok(())
    }

    /// What is no PEM is left alone.
    fn read_file(&mut self, file: usize) {
        let text = match files::read(&self.files[file]) {
            Ok(text) => text,
            Err(fault) => {
                // What is no text, or too long, is no PEM. What may not be read may be what is missed.
                if File::open(&self.files[file]).is_err() {
                    self.faults.push((file, fault));
                }
                return;
            }
        };
        for (label, block) in blocks(&text) {
            if label == "CERTIFICATE" {
                match CertificateChain::parse_pem(&block) {
                    Ok(read) => self.certificates.push(Certificate { read, file }),
                    Err(error) => self.faults.push((file, error.to_string())),
                }
            } else if KEY_LABELS.contains(&label.as_str()) {
                match read_key(&block) {
                    Ok(key) => drop(self.keys.insert(key.public_key_sha256(), block)),
                    Err(error) => self.faults.push((file, error.to_string())),
                }
            }
        }
    }

    fn found(&self, base: &Path, now: DateTime<Utc>) -> Vec<Found> {
        let leaves = self.leaves();
        let mut in_file: HashMap<usize, usize> = HashMap::new();
        for leaf in &leaves {
            *in_file.entry(leaf.file).or_default() += 1;
        }
        let mut found = Vec::new();
        for leaf in leaves {
            let source = &self.files[leaf.file];
            // A file with several is no name for each of them.
            let name = match leaf.read.dns_names().first() {
                Some(domain) if in_file[&leaf.file] > 1 => domain.clone(),
                _ => name_of(source, base),
            };
            let pem = Ok(Zeroizing::new(leaf.read.leaf_pem().to_owned()));
            let key = self.keys.get(&leaf.read.public_key_sha256()).cloned();
            let key = key.ok_or_else(|| "there is no private key for it".to_owned());
            found.push(Found::new(&name, source, pem, Some(&self.issuers(leaf)), key, now));
        }
        let faults = self.faults.iter().map(|(file, fault)| {
            let source = &self.files[*file];
            Found::unusable(&name_of(source, base), source, fault.clone())
        });
        found.extend(faults);
        found
    }

    /// Those that have a key here, and those for which one is missed: what has DNS names is no issuer. Each once, from the file that has most of its chain.
    fn leaves(&self) -> Vec<&Certificate> {
        let mut in_file: HashMap<usize, usize> = HashMap::new();
        for certificate in &self.certificates {
            *in_file.entry(certificate.file).or_default() += 1;
        }
        let mut best: HashMap<&str, &Certificate> = HashMap::new();
        for certificate in &self.certificates {
            let read = &certificate.read;
            if !self.keys.contains_key(&read.public_key_sha256()) && read.dns_names().is_empty() {
                continue;
            }
            let known = best.entry(read.sha256_fingerprint_hex()).or_insert(certificate);
            if in_file[&certificate.file] > in_file[&known.file] {
                *known = certificate;
            }
        }
        let mut leaves: Vec<&Certificate> = best.into_values().collect();
        leaves.sort_by_key(|leaf| (leaf.file, leaf.read.sha256_fingerprint_hex()));
        leaves
    }

    /// The rest of a file with a chain; else whoever is named as the issuer, up to the root, which is left out. Signatures are checked where the pair is.
    fn issuers(&self, leaf: &Certificate) -> String {
        let beside: Vec<&Certificate> = self.certificates.iter().filter(|other| other.file == leaf.file).collect();
        let is_chain = beside.iter().any(|other| other.read.subject() == leaf.read.issuer() && is_other(other, leaf));
        if is_chain && beside.len() <= MAX_CERTIFICATES {
            return beside.iter().filter(|other| is_other(other, leaf)).map(|other| other.read.leaf_pem()).collect();
        }
        let (mut pem, mut wanted, mut seen) = (String::new(), leaf.read.issuer(), HashSet::new());
        while seen.len() + 1 < MAX_CERTIFICATES {
            // Of issuers with one name and several keys each is a candidate; one of them has signed.
            let candidates = self.certificates.iter().filter(|other| other.read.subject() == wanted && wanted != other.read.issuer());
            let mut next = None;
            for candidate in candidates.filter(|other| is_other(other, leaf)) {
                if seen.len() + 1 < MAX_CERTIFICATES && seen.insert(candidate.read.sha256_fingerprint_hex()) {
                    pem.push_str(candidate.read.leaf_pem());
                    next = Some(candidate.read.issuer());
                }
            }
            match next {
                Some(issuer) => wanted = issuer,
                None => break,
            }
        }
        pem
    }
}

fn is_other(one: &Certificate, other: &Certificate) -> bool {
    one.read.sha256_fingerprint_hex() != other.read.sha256_fingerprint_hex()
}

/// Its path below the folder, without what stands behind the last dot: `shop/fullchain.pem` is `shop-fullchain`.
fn name_of(file: &Path, base: &Path) -> String {
    let below = file.strip_prefix(base).unwrap_or(file).with_extension("");
    below.display().to_string().replace('/', "-")
}

/// Each block with its label, as it stands there. What has no end is none.
fn blocks(text: &str) -> Vec<(String, Zeroizing<String>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Zeroizing<String>)> = None;
    for line in text.lines().map(str::trim) {
        let label = |word: &str| line.strip_prefix("-----")?.strip_prefix(word)?.strip_suffix("-----");
        if let Some(begun) = label("BEGIN ") {
            // No block is longer than the text.
            open = Some((begun, Zeroizing::new(String::with_capacity(text.len() + 1))));
        }
        if let Some((begun, block)) = &mut open {
            block.push_str(line);
            block.push('\n');
            if label("END ") == Some(*begun)
                && let Some((begun, block)) = open.take()
            {
                blocks.push((begun.to_owned(), block));
            }
        }
    }
    blocks
}
