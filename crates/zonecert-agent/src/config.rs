//! The configuration: one TOML file.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::api::{self, Api};
use crate::pair::Part;
use crate::probe::Target;
use crate::schedule;

/// No certificate is asked for more often by itself.
const SHORTEST_INTERVAL: Duration = Duration::from_mins(1);

/// What is to be done, checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// The base of all paths.
    pub(crate) api_url: Url,
    /// The credential.
    pub(crate) token: Token,
    /// Where it came from, for a warning.
    pub(crate) token_file: Option<PathBuf>,
    /// Between two looks at a certificate.
    pub(crate) interval: Duration,
    /// In the order in which they are written down.
    pub(crate) certificates: Vec<Wanted>,
}

/// A credential, which no log shows.
pub(crate) struct Token(Zeroizing<String>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// A certificate that is to be kept up to date.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// `cert_…`
    pub(crate) id: String,
    /// As which this server reports.
    pub(crate) target: String,
    /// Where its files are.
    pub(crate) directory: PathBuf,
    /// Which files, by name.
    pub(crate) files: Vec<WantedFile>,
    /// Whose they are; as whom we run where there is none.
    pub(crate) owner: Option<u32>,
    /// Of which group they are.
    pub(crate) group: Option<u32>,
    /// Program and arguments; empty for none.
    pub(crate) reload: Vec<String>,
    /// How long it may take.
    pub(crate) reload_within: Duration,
    /// Where the service is looked at.
    pub(crate) probe: Option<Target>,
}

/// A file of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedFile {
    /// In the directory.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) part: Part,
    /// Permission bits.
    pub(crate) mode: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    api_url: String,
    token_file: Option<PathBuf>,
    target: Option<String>,
    poll_interval_seconds: Option<u64>,
    #[serde(default)]
    certificate: Vec<WrittenCertificate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCertificate {
    id: String,
    target: Option<String>,
    directory: PathBuf,
    fullchain: Option<String>,
    cert: Option<String>,
    chain: Option<String>,
    key: Option<String>,
    combined: Option<String>,
    mode: Option<String>,
    key_mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
    #[serde(default)]
    reload: Vec<String>,
    reload_timeout_seconds: Option<u64>,
    probe: Option<WrittenProbe>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProbe {
    address: String,
    server_name: String,
}

impl Config {
    /// Reads the file. `token` comes from the environment and goes before `token_file`.
    pub(crate) fn read(path: &Path, token: Option<String>) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read; give the configuration's path by --config", path.display()))?;
        Self::parse(&text, token).with_context(|| path.display().to_string())
    }

    fn parse(text: &str, token: Option<String>) -> Result<Self> {
        let written: Written = toml::from_str(text)?;
        let api_url = api::base_url(&written.api_url)?;
        let (token, token_file) = match (token, written.token_file) {
            (Some(token), _) => (token, None),
            (None, Some(file)) => {
                let read = std::fs::read_to_string(&file);
                (read.with_context(|| format!("the token cannot be read from {}", file.display()))?, Some(file))
            }
            (None, None) => bail!("there is no token; name its file by token_file, or set ZONECERT_AGENT_TOKEN"),
        };
        let token = Token(Zeroizing::new(token.trim().to_owned()));
        ensure!(!token.0.is_empty(), "the token is empty; put the one that POST /tokens has shown into token_file");
        let interval = Duration::from_secs(written.poll_interval_seconds.unwrap_or(3600));
        ensure!(interval >= SHORTEST_INTERVAL, "poll_interval_seconds must be at least {}", SHORTEST_INTERVAL.as_secs());
        ensure!(
            interval <= schedule::LONGEST,
            "poll_interval_seconds must be at most {}: a server that has not reported for longer counts as silent",
            schedule::LONGEST.as_secs()
        );
        ensure!(!written.certificate.is_empty(), "there is no certificate; add a [[certificate]] with its id and directory");
        let mut certificates = Vec::new();
        for (index, certificate) in written.certificate.into_iter().enumerate() {
            let what = format!("certificate {} ({})", index + 1, certificate.id);
            certificates.push(certificate.check(written.target.as_deref()).context(what)?);
        }
        check_apart(&certificates)?;
        Ok(Self { api_url, token, token_file, interval, certificates })
    }

    /// A client with the credential.
    pub(crate) fn api(&self) -> Result<Api> {
        Api::new(self.api_url.clone(), &self.token.0)
    }

    /// Whether others than its owner may read the file of the token.
    pub(crate) fn token_is_open(&self) -> bool {
        let mode = self.token_file.as_ref().and_then(|file| std::fs::metadata(file).ok()).map(|found| found.permissions().mode());
        mode.is_some_and(is_open)
    }
}

/// No directory and no place of a report is there twice.
fn check_apart(certificates: &[Wanted]) -> Result<()> {
    let (mut directories, mut reports) = (BTreeSet::new(), BTreeSet::new());
    for wanted in certificates {
        ensure!(
            directories.insert(&wanted.directory),
            "{} is the directory of two certificates; give each its own",
            wanted.directory.display()
        );
        ensure!(
            reports.insert((&wanted.id, &wanted.target)),
            "{} is there twice for the target {}; give each a target of its own",
            wanted.id,
            wanted.target
        );
    }
    Ok(())
}

impl WrittenCertificate {
    fn check(self, target: Option<&str>) -> Result<Wanted> {
        let digits = self.id.strip_prefix("cert_").unwrap_or_default();
        ensure!(
            digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            "id is no identifier of a certificate; they look like cert_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f"
        );
        let target = match self.target.as_deref().or(target) {
            Some(target) => target.to_owned(),
            None => host_name().context("this server's name cannot be read; set target")?,
        };
        ensure!(is_target(&target), "target has 1 to 100 letters, digits, `.`, `_`, `-`, `:` and `@`, and begins with a letter or a digit");
        ensure!(self.directory.is_absolute(), "directory must begin with /");
        let files = files(
            &[
                (Part::Fullchain, self.fullchain),
                (Part::Cert, self.cert),
                (Part::Chain, self.chain),
                (Part::Key, self.key),
                (Part::Combined, self.combined),
            ],
            mode("mode", self.mode.as_deref(), 0o644)?,
            mode("key_mode", self.key_mode.as_deref(), 0o600)?,
        )?;
        ensure!(self.reload.first().is_none_or(|program| !program.is_empty()), "reload begins with a program");
        let reload_within = Duration::from_secs(self.reload_timeout_seconds.unwrap_or(60));
        ensure!(!reload_within.is_zero(), "reload_timeout_seconds must be at least 1");
        Ok(Wanted {
            id: self.id,
            target,
            directory: self.directory,
            files,
            owner: self.owner.as_deref().map(|name| identifier("passwd", "owner", name)).transpose()?,
            group: self.group.as_deref().map(|name| identifier("group", "group", name)).transpose()?,
            reload: self.reload,
            reload_within,
            probe: self.probe.map(WrittenProbe::check).transpose()?,
        })
    }
}

impl WrittenProbe {
    fn check(self) -> Result<Target> {
        let has_port = self.address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        ensure!(has_port, "probe.address is a host and a port, as 127.0.0.1:443");
        let server_name = ServerName::try_from(self.server_name).context("probe.server_name is no host name")?;
        Ok(Target { address: self.address, server_name })
    }
}

fn files(named: &[(Part, Option<String>)], mode: u32, key_mode: u32) -> Result<Vec<WantedFile>> {
    ensure!(!is_open(key_mode), "key_mode would have everybody read the private key; take 0600, or 0640 with a group");
    let mut files: Vec<WantedFile> = Vec::new();
    for (part, name) in named {
        let Some(name) = name else { continue };
        let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        ensure!(is_plain, "{} is the name of a file in directory: without / and without . at its beginning", part.as_str());
        ensure!(files.iter().all(|file| file.name != *name), "{name} is the name of two files; give each its own");
        files.push(WantedFile { name: name.clone(), part: *part, mode: if part.holds_key() { key_mode } else { mode } });
    }
    ensure!(!files.is_empty(), "no file is wanted; name some of fullchain, cert, chain, key and combined");
    Ok(files)
}

/// Whether others than owner and group may read, write or enter.
fn is_open(mode: u32) -> bool {
    mode & 0o007 != 0
}

fn mode(field: &str, given: Option<&str>, default: u32) -> Result<u32> {
    let Some(text) = given else { return Ok(default) };
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.with_context(|| format!("{field} is three octal digits in quotes, as \"0640\""))
}

/// The number of a user or a group, asked of the system's databases as everything else here does.
fn identifier(database: &str, field: &str, name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let output = Command::new("getent")
        .args([database, name])
        .output()
        .with_context(|| format!("getent cannot be run; give {field} as a number"))?;
    let line = String::from_utf8_lossy(&output.stdout);
    let number = line.split(':').nth(2).and_then(|text| text.trim().parse().ok());
    number.with_context(|| format!("{field}: this server knows no {name}; create it, or correct the name"))
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// The API's own rule.
fn is_target(text: &str) -> bool {
    text.len() <= 100
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte))
}

#[cfg(test)]
mod tests;
