//! A certificate with its chain and key, as the API gave them, and whether they belong together.

use chrono::{DateTime, TimeDelta, Utc};
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Clocks of servers differ; by more than this something is wrong.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// What a download holds.
#[derive(Deserialize)]
pub(crate) struct Pair {
    /// The leaf, in PEM.
    certificate: String,
    /// The issuers, in PEM, each the issuer of the one before.
    chain: String,
    /// PKCS#8, in PEM.
    #[serde(deserialize_with = "secret")]
    private_key: Zeroizing<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// What the API says of the version in use.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Version {
    /// Its identifier, which the `ETag` of a download names.
    pub(crate) id: String,
    /// SHA-256 of the leaf, in hexadecimal digits.
    pub(crate) fingerprint_sha256: String,
    /// The first moment of its validity.
    pub(crate) not_before: DateTime<Utc>,
    /// The last.
    pub(crate) not_after: DateTime<Utc>,
    /// The names in it.
    pub(crate) names: Vec<String>,
}

/// Why a download is not put in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PairFault {
    #[error("the download is damaged: its {0} is not PEM as it should be; it is fetched again next time")]
    NotPem(&'static str),
    #[error("the download is damaged: the certificate is not the one that the API names; it is fetched again next time")]
    AnotherCertificate,
    #[error("the private key is not that of the certificate; renew the certificate")]
    AnotherKey,
    #[error("the private key cannot be used: {0}; renew the certificate with another key_algorithm")]
    Key(String),
    #[error("the chain is not in order: {0}; renew the certificate")]
    Chain(String),
    #[error("the certificate does not hold {0}, which it should; renew the certificate")]
    Name(String),
    #[error("the certificate does not hold {0}, which probe.server_name asks for; correct that, or add it to the certificate")]
    ProbeName(String),
    #[error("the certificate has expired at {0}; renew it, or set this server's clock")]
    Expired(DateTime<Utc>),
    #[error("the certificate is valid from {0} on, which is still to come; set this server's clock")]
    NotYet(DateTime<Utc>),
}

impl Pair {
    /// The parts, unchecked.
    #[cfg(test)]
    pub(crate) fn new(certificate: String, chain: String, private_key: String) -> Self {
        Self { certificate, chain, private_key: Zeroizing::new(private_key) }
    }

    /// Whether this is what the API says, its key is that of the leaf, its chain is in order, and it is valid now, for `probe_name` as well.
    pub(crate) fn check(&self, version: &Version, probe_name: Option<&ServerName<'static>>, now: DateTime<Utc>) -> Result<(), PairFault> {
        let leaf = leaf_of(&self.certificate).ok_or(PairFault::NotPem("certificate"))?;
        let issuers = certificates(&self.chain).ok_or(PairFault::NotPem("chain"))?;
        if sha256_hex(&leaf) != version.fingerprint_sha256 {
            return Err(PairFault::AnotherCertificate);
        }
        check_key(&leaf, &self.private_key)?;
        if version.not_after < now {
            return Err(PairFault::Expired(version.not_after));
        }
        if version.not_before > now + CLOCK_SKEW {
            return Err(PairFault::NotYet(version.not_before));
        }
        let parsed = ParsedCertificate::try_from(&leaf).map_err(|_| PairFault::NotPem("certificate"))?;
        for name in &version.names {
            check_name(&parsed, name)?;
        }
        if let Some(name) = probe_name
            && verify_server_name(&parsed, name).is_err()
        {
            return Err(PairFault::ProbeName(name.to_str().into_owned()));
        }
        check_chain(&parsed, &issuers, now.max(version.not_before))
    }

    /// SHA-256 of the leaf, in hexadecimal digits.
    pub(crate) fn leaf_sha256(&self) -> Option<String> {
        leaf_of(&self.certificate).map(|leaf| sha256_hex(&leaf))
    }

    /// What is in a file.
    pub(crate) fn part(&self, part: Part) -> Zeroizing<String> {
        let texts: &[&str] = match part {
            Part::Fullchain => &[&self.certificate, &self.chain],
            Part::Cert => &[&self.certificate],
            Part::Chain => &[&self.chain],
            Part::Key => &[&self.private_key],
            Part::Combined => &[&self.private_key, &self.certificate, &self.chain],
        };
        // Grows nowhere, so that no copy of a key is left behind.
        let mut joined = Zeroizing::new(String::with_capacity(texts.iter().map(|text| text.len() + 1).sum()));
        for text in texts {
            joined.push_str(text);
            if !text.is_empty() && !text.ends_with('\n') {
                joined.push('\n');
            }
        }
        joined
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Leaf and issuers.
    Fullchain,
    /// The leaf.
    Cert,
    /// The issuers.
    Chain,
    /// The private key.
    Key,
    /// Private key, leaf and issuers.
    Combined,
}

impl Part {
    /// As the configuration names it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Fullchain => "fullchain",
            Self::Cert => "cert",
            Self::Chain => "chain",
            Self::Key => "key",
            Self::Combined => "combined",
        }
    }

    /// Whether the private key is in it.
    pub(crate) fn holds_key(self) -> bool {
        matches!(self, Self::Key | Self::Combined)
    }

    /// Whether the leaf is in it.
    pub(crate) fn holds_leaf(self) -> bool {
        matches!(self, Self::Fullchain | Self::Cert | Self::Combined)
    }
}

/// The first certificate of a file.
pub(crate) fn leaf_of(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether a key in PEM is that of the leaf.
pub(crate) fn check_key(leaf: &CertificateDer<'static>, key_pem: &str) -> Result<(), PairFault> {
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| PairFault::NotPem("private key"))?;
    // Whoever has made the error has not put the key in it: rustls names what is wrong and nothing else.
    let key = provider().key_provider.load_private_key(key).map_err(|error| PairFault::Key(error.to_string()))?;
    CertifiedKey::new(vec![leaf.clone()], key).keys_match().map_err(|_| PairFault::AnotherKey)
}

fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().ok()
}

/// Each has issued the one before: with each in turn as the root, what stands before it must lead there. A self-signed certificate has no chain.
fn check_chain(leaf: &ParsedCertificate<'_>, issuers: &[CertificateDer<'static>], now: DateTime<Utc>) -> Result<(), PairFault> {
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    for (number, issuer) in issuers.iter().enumerate() {
        let fault =
            |error: rustls::Error| PairFault::Chain(format!("certificate {} has not issued what stands before it ({error})", number + 2));
        let mut roots = RootCertStore::empty();
        roots.add(issuer.clone()).map_err(fault)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(leaf, &roots, &issuers[..number], now, algorithms).map_err(fault)?;
    }
    Ok(())
}

/// A wildcard holds a name with any first label.
fn check_name(leaf: &ParsedCertificate<'_>, name: &str) -> Result<(), PairFault> {
    let fault = || PairFault::Name(name.to_owned());
    let host = name.strip_prefix("*.").map_or_else(|| name.to_owned(), |rest| format!("any.{rest}"));
    let host = ServerName::try_from(host).map_err(|_| fault())?;
    verify_server_name(leaf, &host).map_err(|_| fault())
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}
