//! Certificates that customers bring with their keys: read from what they send, put in order and checked (requirements S2.3, S4.6).
//!
//! What is sent is bounded in bytes, certificates and rounds of key derivation before any cryptography begins. What cannot be used is an [`UploadError`];
//! what works, though it may not be what its owner wants, a [`Warning`]: the other systems take it too.

mod encrypted;
mod pem;
mod pfx;

use chrono::{DateTime, Utc};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::{Signer, Verifier};
use openssl::x509::{X509, X509Ref};
use zeroize::Zeroizing;

pub use self::encrypted::MAX_ROUNDS;
use self::encrypted::Purse;
use crate::chain::details::{is_self_signed, issued, signature_algorithm};
use crate::chain::{MAX_CERTIFICATES, MAX_PEM_BYTES, NOT_BEFORE_TOLERANCE};
use crate::key::public_key_sha256;
use crate::{CertificateChain, PkiError, PrivateKey};

/// Longest PKCS#12 file that is read, in bytes.
pub const MAX_PFX_BYTES: usize = 256 * 1024;

/// Longest passphrase, in bytes.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;

/// Keys that are looked at in one upload. More than one is an error; the same one twice is not.
const MAX_KEYS: usize = 4;

/// Most DNS names in a leaf: twice as many as CAs put in.
pub const MAX_DNS_NAMES: usize = 200;

/// What a customer sends in PEM.
#[derive(Clone, Copy)]
pub struct PemUpload<'a> {
    /// Certificates in any order, and the key where it is not apart.
    pub certificate: &'a str,
    /// More certificates, in any order.
    pub chain: Option<&'a str>,
    /// PKCS#1, PKCS#8 or SEC1, encrypted or not.
    pub private_key: Option<&'a str>,
    /// For an encrypted key.
    pub passphrase: Option<&'a str>,
}

/// A certificate that belongs to its key, with its issuers in order.
pub struct Upload {
    /// Leaf and issuers.
    pub chain: CertificateChain,
    /// The key of the leaf.
    pub key: PrivateKey,
    /// What its owner may want to know.
    pub warnings: Vec<Warning>,
}

/// Part of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Of [`PemUpload`].
    Certificate,
    /// Of [`PemUpload`].
    Chain,
    /// Of [`PemUpload`].
    PrivateKey,
    /// A PKCS#12 file.
    Pfx,
    /// Of either.
    Passphrase,
}

impl Part {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Chain => "chain",
            Self::PrivateKey => "private_key",
            Self::Pfx => "pfx",
            Self::Passphrase => "passphrase",
        }
    }
}

/// Why what was sent is not taken. No variant holds any of it, so that every one may be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// A text or file has more bytes than are read.
    #[error("this has more bytes than the {max_bytes} that are read; send the certificate, its issuers and its key only", max_bytes = MAX_PEM_BYTES)]
    TooLarge(Part),
    /// There are more certificates than any real chain has.
    #[error("there are more than {max} certificates; send the leaf and its issuers only", max = MAX_CERTIFICATES)]
    TooManyCertificates,
    /// The text is no PEM.
    #[error("line {line}: {reason}; send PEM as its issuer gave it")]
    PemMalformed {
        /// Of which text.
        part: Part,
        /// Line of the text, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// There is no certificate.
    #[error("there is no certificate; send one that begins with -----BEGIN CERTIFICATE-----")]
    CertificateMissing(Part),
    /// There is no key.
    #[error("there is no private key; send the one that the certificate was requested with")]
    KeyMissing(Part),
    /// There are several keys.
    #[error("there are several private keys; send the one that the certificate was requested with")]
    SeveralKeys,
    /// The key cannot be read.
    #[error("the private key cannot be read; send it as PKCS#8, PKCS#1 or SEC1 in PEM")]
    KeyMalformed(Part),
    /// The key is of a kind that is not taken.
    #[error(
        "the private key is neither RSA of 2048, 3072 or 4096 bits nor ECDSA on P-256 or P-384; have a certificate issued for one of these"
    )]
    KeyUnsupported(Part),
    /// No certificate is for the key.
    #[error("the private key belongs to none of the certificates; send the one that the certificate was requested with")]
    KeyMismatch,
    /// Something is encrypted, and there is no passphrase.
    #[error("this is encrypted; send the passphrase as well")]
    PassphraseMissing,
    /// The passphrase does not fit.
    #[error("the passphrase does not open it; send the one that it was encrypted with")]
    PassphraseWrong,
    /// No passphrase is that long.
    #[error("a passphrase has at most {max} bytes and no zero byte; encrypt it with such a one", max = MAX_PASSPHRASE_BYTES)]
    PassphraseInvalid,
    /// It is encrypted in a way that is not read.
    #[error(
        "it is encrypted in a way that is not read here; export it with AES (PBES2 with PBKDF2) or triple DES, as `openssl pkcs12 -export` and \
         `openssl pkcs8 -topk8` do"
    )]
    EncryptionUnsupported,
    /// It asks for too much work.
    #[error("it takes more than {max} rounds of key derivation to open; export it with fewer", max = MAX_ROUNDS)]
    TooManyRounds,
    /// The file is no PKCS#12.
    #[error("this is no PKCS#12 file in DER; export it anew, with `openssl pkcs12 -export`")]
    PfxMalformed,
    /// The leaf has more names than are kept.
    #[error("the certificate has more than {max} names; split it", max = MAX_DNS_NAMES)]
    TooManyNames,
    /// The leaf lacks what every certificate has.
    #[error("the certificate cannot be read as X.509; ask its issuer for one that follows RFC 5280")]
    LeafUnreadable,
}

impl UploadError {
    /// Stable name for the API.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "upload_too_large",
            Self::TooManyCertificates => "chain_too_long",
            Self::PemMalformed { .. } => "pem_malformed",
            Self::CertificateMissing(_) => "certificate_missing",
            Self::KeyMissing(_) => "private_key_missing",
            Self::SeveralKeys => "several_private_keys",
            Self::KeyMalformed(_) => "private_key_malformed",
            Self::KeyUnsupported(_) => "private_key_unsupported",
            Self::KeyMismatch => "private_key_mismatch",
            Self::PassphraseMissing => "passphrase_missing",
            Self::PassphraseWrong => "passphrase_wrong",
            Self::PassphraseInvalid => "passphrase_invalid",
            Self::EncryptionUnsupported => "encryption_unsupported",
            Self::TooManyRounds => "encryption_too_slow",
            Self::PfxMalformed => "pfx_malformed",
            Self::TooManyNames => "too_many_names",
            Self::LeafUnreadable => "certificate_unreadable",
        }
    }

    /// Which part of what was sent is meant; none where several are.
    pub const fn part(&self) -> Option<Part> {
        match self {
            Self::TooLarge(part)
            | Self::PemMalformed { part, .. }
            | Self::CertificateMissing(part)
            | Self::KeyMissing(part)
            | Self::KeyMalformed(part)
            | Self::KeyUnsupported(part) => Some(*part),
            Self::PassphraseMissing | Self::PassphraseWrong | Self::PassphraseInvalid => Some(Part::Passphrase),
            Self::PfxMalformed => Some(Part::Pfx),
            _ => None,
        }
    }
}

/// What the owner of an upload that was taken may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Warning {
    /// The leaf's validity is over.
    Expired,
    /// The leaf's validity has not begun.
    NotYetValid,
    /// It is its own issuer.
    SelfSigned,
    /// The leaf, or an issuer that is no root, is signed by way of MD5 or SHA-1.
    WeakSignature,
    /// No issuer was sent along.
    ChainIncomplete,
    /// The certificates stood in another order.
    ChainReordered,
    /// Some certificates do not belong to the chain, and were left out.
    ChainHasOthers,
    /// An issuer's validity is over.
    IssuerExpired,
    /// There is no DNS name among the alternative names, only in the subject.
    CommonNameOnly,
    /// There is no DNS name at all.
    NoDnsName,
}

impl Warning {
    /// All of them, in the order in which they are given.
    pub const ALL: [Self; 10] = [
        Self::Expired,
        Self::NotYetValid,
        Self::SelfSigned,
        Self::WeakSignature,
        Self::ChainIncomplete,
        Self::ChainReordered,
        Self::ChainHasOthers,
        Self::IssuerExpired,
        Self::CommonNameOnly,
        Self::NoDnsName,
    ];

    /// Stable name for the API.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Expired => "certificate_expired",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::SelfSigned => "self_signed",
            Self::WeakSignature => "weak_signature",
            Self::ChainIncomplete => "chain_incomplete",
            Self::ChainReordered => "chain_reordered",
            Self::ChainHasOthers => "chain_has_others",
            Self::IssuerExpired => "issuer_expired",
            Self::CommonNameOnly => "common_name_only",
            Self::NoDnsName => "no_dns_name",
        }
    }

    /// What it means, and what can be done.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Expired => "The certificate has expired, so it cannot be downloaded; upload its successor as a new version",
            Self::NotYetValid => "The certificate is not valid yet; clients refuse it until then",
            Self::SelfSigned => "The certificate is its own issuer; clients trust it only where it was installed",
            Self::WeakSignature => "A certificate is signed by way of MD5 or SHA-1, which browsers refuse; have it issued anew",
            Self::ChainIncomplete => {
                "No issuer was sent along; clients that do not know it refuse the certificate, so send its intermediates in `chain`"
            }
            Self::ChainReordered => "The certificates were put in order, the leaf first, then each issuer",
            Self::ChainHasOthers => "Certificates that are no issuers of this one were left out",
            Self::IssuerExpired => "An issuer in the chain has expired; ask the CA for the chain of today",
            Self::CommonNameOnly => {
                "The name stands in the subject alone, where browsers do not look; have it issued with a subjectAltName"
            }
            Self::NoDnsName => "The certificate has no DNS name, so it is found by its name here and not by a domain",
        }
    }
}

/// Certificates and keys, as they were found.
#[derive(Default)]
pub(crate) struct Found {
    certificates: Vec<X509>,
    keys: Vec<PKey<Private>>,
}

impl Found {
    /// Whether the same is there already does not matter.
    fn add_certificate(&mut self, der: &[u8]) -> Result<(), &'static str> {
        let certificate = crate::chain::pem::from_der(der)?;
        if !self.certificates.iter().any(|known| same(known, &certificate)) {
            self.certificates.push(certificate);
        }
        Ok(())
    }

    fn add_key(&mut self, key: PKey<Private>) -> Result<(), UploadError> {
        if self.keys.iter().any(|known| known.public_eq(&key)) {
            return Ok(());
        }
        if self.keys.len() == MAX_KEYS {
            return Err(UploadError::SeveralKeys);
        }
        self.keys.push(key);
        Ok(())
    }
}

/// Reads a certificate and its key in PEM. Burns up to half a second of CPU: not for an async thread.
pub fn read_pem(sent: &PemUpload<'_>, now: DateTime<Utc>) -> Result<Upload, UploadError> {
    check_passphrase(sent.passphrase)?;
    let texts = [(Part::Certificate, Some(sent.certificate)), (Part::Chain, sent.chain), (Part::PrivateKey, sent.private_key)];
    let texts = texts.into_iter().filter_map(|(part, text)| text.map(|text| (part, text)));
    let mut blocks = Vec::new();
    for (part, text) in texts {
        pem::read(part, text, &mut blocks)?;
    }
    if blocks.iter().filter(|block| block.is_certificate()).count() > MAX_CERTIFICATES {
        return Err(UploadError::TooManyCertificates);
    }
    if blocks.iter().filter(|block| block.is_key()).count() > MAX_KEYS {
        return Err(UploadError::SeveralKeys);
    }
    let (mut found, mut purse) = (Found::default(), Purse::new(sent.passphrase));
    for block in &blocks {
        block.open(&mut purse, &mut found)?;
    }
    let key_part = if sent.private_key.is_some() { Part::PrivateKey } else { Part::Certificate };
    assemble(found, Part::Certificate, key_part, now)
}

/// Reads one private key in PEM that is not encrypted: whoever has many keys and certificates finds out by it which belong together.
pub fn read_key(text: &str) -> Result<PrivateKey, UploadError> {
    let mut blocks = Vec::new();
    pem::read(Part::PrivateKey, text, &mut blocks)?;
    let (mut found, mut purse) = (Found::default(), Purse::new(None));
    let opened = blocks.iter().filter(|block| block.is_key()).try_for_each(|block| block.open(&mut purse, &mut found));
    // As in `assemble`.
    drop(ErrorStack::get());
    opened?;
    let key = found.keys.pop().ok_or(UploadError::KeyMissing(Part::PrivateKey))?;
    if !found.keys.is_empty() {
        return Err(UploadError::SeveralKeys);
    }
    private_key(&key, Part::PrivateKey)
}

/// Reads a PKCS#12 file. Burns up to half a second of CPU: not for an async thread.
pub fn read_pfx(der: &[u8], passphrase: &str, now: DateTime<Utc>) -> Result<Upload, UploadError> {
    check_passphrase(Some(passphrase))?;
    if der.len() > MAX_PFX_BYTES {
        return Err(UploadError::TooLarge(Part::Pfx));
    }
    let mut found = Found::default();
    pfx::read(der, &mut Purse::new(Some(passphrase)), &mut found)?;
    assemble(found, Part::Pfx, Part::Pfx, now)
}

fn check_passphrase(passphrase: Option<&str>) -> Result<(), UploadError> {
    let valid = passphrase.is_none_or(|passphrase| passphrase.len() <= MAX_PASSPHRASE_BYTES && !passphrase.contains('\0'));
    if valid { Ok(()) } else { Err(UploadError::PassphraseInvalid) }
}

fn assemble(found: Found, certificate_part: Part, key_part: Part, now: DateTime<Utc>) -> Result<Upload, UploadError> {
    let outcome = put_together(found, certificate_part, key_part, now);
    // Comparisons that fail leave their reasons in openssl's queue of this thread, where a later failure would report them as its own.
    drop(ErrorStack::get());
    outcome
}

fn put_together(found: Found, certificate_part: Part, key_part: Part, now: DateTime<Utc>) -> Result<Upload, UploadError> {
    let Found { certificates: sent, mut keys } = found;
    if sent.is_empty() {
        return Err(UploadError::CertificateMissing(certificate_part));
    }
    let key = keys.pop().ok_or(UploadError::KeyMissing(key_part))?;
    if !keys.is_empty() {
        return Err(UploadError::SeveralKeys);
    }
    let key = private_key(&key, key_part)?;
    let is_for_key = |certificate: &&X509| {
        certificate.public_key().is_ok_and(|public| public_key_sha256(&public).is_ok_and(|hash| hash == key.public_key_sha256()))
    };
    let leaf = sent.iter().find(is_for_key).ok_or(UploadError::KeyMismatch)?;
    if !signs_for(&key, leaf) {
        return Err(UploadError::KeyMismatch);
    }
    let ordered = in_order(leaf, &sent);
    let unreadable = |_: PkiError| UploadError::LeafUnreadable;
    let mut warnings = Warnings(Vec::new());
    warnings.add_if(Warning::ChainReordered, !sent.iter().zip(&ordered).all(|(sent, ordered)| same(sent, ordered)));
    warnings.add_if(Warning::ChainHasOthers, ordered.len() < sent.len());
    let chain = CertificateChain::new(ordered).map_err(unreadable)?;
    if chain.dns_names().len() > MAX_DNS_NAMES {
        return Err(UploadError::TooManyNames);
    }
    // They are kept and shown as they are, and no text of the database holds a zero byte.
    if chain.dns_names().iter().any(|name| has_control(name)) || chain.common_name().is_some_and(|name| has_control(&name)) {
        return Err(UploadError::LeafUnreadable);
    }
    warnings.look(&chain, now);
    Ok(Upload { chain, key, warnings: warnings.0 })
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn private_key(key: &PKey<Private>, part: Part) -> Result<PrivateKey, UploadError> {
    let der = key.private_key_to_pkcs8().map(Zeroizing::new).map_err(|_| UploadError::KeyMalformed(part))?;
    PrivateKey::from_pkcs8_der(&der).map_err(|error| match error {
        PkiError::UnsupportedKey => UploadError::KeyUnsupported(part),
        _ => UploadError::KeyMalformed(part),
    })
}

/// Whether what the key signs is by the leaf's key: a key whose public numbers are right may have wrong secret ones.
fn signs_for(key: &PrivateKey, leaf: &X509Ref) -> bool {
    const TEXT: &[u8] = b"zonecert";
    let check = || -> Result<bool, ErrorStack> {
        let signature = Signer::new(MessageDigest::sha256(), key.openssl())?.sign_oneshot_to_vec(TEXT)?;
        Verifier::new(MessageDigest::sha256(), &*leaf.public_key()?)?.verify_oneshot(&signature, TEXT)
    };
    check().unwrap_or(false)
}

/// The leaf, and each certificate's issuer behind it, as far as they were sent.
fn in_order(leaf: &X509, sent: &[X509]) -> Vec<X509> {
    let mut rest: Vec<&X509> = sent.iter().filter(|other| !same(other, leaf)).collect();
    let mut ordered = vec![leaf.clone()];
    while let Some(last) = ordered.last().filter(|last| !is_self_signed(last)) {
        let Some(position) = rest.iter().position(|other| issued(other, last)) else { break };
        ordered.push(rest.swap_remove(position).clone());
    }
    ordered
}

fn same(one: &X509Ref, other: &X509Ref) -> bool {
    one.to_der().is_ok_and(|one| other.to_der().is_ok_and(|other| one == other))
}

struct Warnings(Vec<Warning>);

impl Warnings {
    fn add_if(&mut self, warning: Warning, applies: bool) {
        if applies {
            self.0.push(warning);
        }
    }

    fn look(&mut self, chain: &CertificateChain, now: DateTime<Utc>) {
        let certificates = chain.openssl();
        let self_signed = is_self_signed(&certificates[0]);
        let is_root = |position: usize, certificate: &X509Ref| position > 0 && is_self_signed(certificate);
        let weak = |(position, certificate): (usize, &X509)| !is_root(position, certificate) && is_weak(&signature_algorithm(certificate));
        let expired = |issuer: &X509| crate::chain::to_utc(issuer.not_after()).is_none_or(|end| end < now);
        self.add_if(Warning::Expired, chain.not_after() < now);
        self.add_if(Warning::NotYetValid, chain.not_before() > now + NOT_BEFORE_TOLERANCE);
        self.add_if(Warning::SelfSigned, self_signed);
        self.add_if(Warning::WeakSignature, certificates.iter().enumerate().any(weak));
        self.add_if(Warning::ChainIncomplete, certificates.len() == 1 && !self_signed);
        self.add_if(Warning::IssuerExpired, certificates[1..].iter().any(expired));
        self.add_if(Warning::CommonNameOnly, chain.dns_names().is_empty() && chain.common_name().is_some());
        self.add_if(Warning::NoDnsName, chain.dns_names().is_empty() && chain.common_name().is_none());
        self.0.sort_by_key(|warning| Warning::ALL.iter().position(|known| known == warning));
    }
}

fn is_weak(signature_algorithm: &str) -> bool {
    let name = signature_algorithm.to_ascii_lowercase();
    name.contains("sha1") || name.contains("md5") || name.contains("md4") || name.contains("md2")
}
