//! Certificate chains as a CA hands them out (RFC 8555 §7.4.2 and §9.1): the leaf first, then its issuers.

mod check;
pub(crate) mod details;
mod leaf;
pub(crate) mod pem;

use std::fmt;

use chrono::{DateTime, Utc};
use openssl::x509::X509;
use zonecert_domain::key::KeyAlgorithm;

use crate::PkiError;
pub use check::{ChainProblem, NOT_BEFORE_TOLERANCE};
pub use details::{Details, Side};
use leaf::Leaf;
pub(crate) use leaf::to_utc;

/// Longest text that [`CertificateChain::parse_pem`] reads, in bytes. A leaf with 100 names of full length needs under 40 KiB.
pub const MAX_PEM_BYTES: usize = 256 * 1024;

/// Most certificates that [`CertificateChain::parse_pem`] reads. Public CAs send two or three.
pub const MAX_CERTIFICATES: usize = 16;

/// A chain that has been read: at least a leaf, then its issuers in order. Whether they fit each other, [`Self::check`] tells.
#[derive(Clone)]
pub struct CertificateChain {
    certificates: Vec<X509>,
    leaf_pem: String,
    issuers_pem: String,
    leaf: Leaf,
}

impl CertificateChain {
    /// Reads certificates in PEM, the leaf first.
    ///
    /// Empty lines may stand between them and nothing else, as RFC 8555 §9.1 asks of a CA. Fails on text that is empty, longer than
    /// [`MAX_PEM_BYTES`], of more than [`MAX_CERTIFICATES`], that holds a private key, or that is malformed anywhere.
    pub fn parse_pem(text: &str) -> Result<Self, PkiError> {
        Self::new(pem::parse(text)?)
    }

    /// Of certificates that have been read, the leaf first.
    pub(crate) fn new(certificates: Vec<X509>) -> Result<Self, PkiError> {
        let (leaf, issuers) = certificates.split_first().ok_or(PkiError::ChainEmpty)?;
        Ok(Self {
            leaf: Leaf::read(leaf)?,
            leaf_pem: pem::write(std::slice::from_ref(leaf))?,
            issuers_pem: pem::write(issuers)?,
            certificates,
        })
    }

    /// The leaf in PEM, lines of 64 characters, one newline at the end. Like all PEM here it is the same bytes for the same chain,
    /// however the CA had laid out its answer (requirements S1.4).
    pub fn leaf_pem(&self) -> &str {
        &self.leaf_pem
    }

    /// The leaf in DER: what a CA is asked to revoke (RFC 8555 §7.6).
    pub fn leaf_der(&self) -> Result<Vec<u8>, PkiError> {
        self.certificates[0].to_der().map_err(PkiError::openssl("encode a certificate"))
    }

    /// The issuers in PEM, without the leaf; empty if the CA sent none.
    pub fn issuers_pem(&self) -> &str {
        &self.issuers_pem
    }

    /// The leaf and its issuers in PEM: what a TLS server is configured with.
    pub fn full_pem(&self) -> String {
        format!("{}{}", self.leaf_pem, self.issuers_pem)
    }

    pub(crate) fn openssl(&self) -> &[X509] {
        &self.certificates
    }

    /// How many certificates there are, the leaf included.
    pub fn certificate_count(&self) -> usize {
        self.certificates.len()
    }

    /// Serial number of the leaf: lower-case hex of its magnitude, two digits a byte, without leading zero bytes.
    pub fn serial_hex(&self) -> &str {
        &self.leaf.serial_hex
    }

    /// First moment at which the leaf is valid.
    pub fn not_before(&self) -> DateTime<Utc> {
        self.leaf.not_before
    }

    /// Last moment at which the leaf is valid, itself included (RFC 5280 §4.1.2.5).
    pub fn not_after(&self) -> DateTime<Utc> {
        self.leaf.not_after
    }

    /// DNS names among the leaf's subjectAltNames, in lower case, in the order of the certificate.
    pub fn dns_names(&self) -> &[String] {
        &self.leaf.names.dns
    }

    /// Issuer of the leaf, in the manner of RFC 4514: `CN=R11,O=Let's Encrypt,C=US`. For people, not for comparison.
    pub fn issuer(&self) -> &str {
        &self.leaf.issuer
    }

    /// Subject of the leaf, in the manner of RFC 4514; empty for a certificate that names its holder in subjectAltNames only.
    pub fn subject(&self) -> &str {
        &self.leaf.subject
    }

    /// SHA-256 of the leaf in DER, in lower-case hex.
    pub fn sha256_fingerprint_hex(&self) -> &str {
        &self.leaf.sha256_fingerprint_hex
    }

    /// SHA-256 of the leaf's `SubjectPublicKeyInfo`: the same as [`crate::PrivateKey::public_key_sha256`] of its key.
    pub fn public_key_sha256(&self) -> [u8; 32] {
        self.leaf.public_key_sha256
    }

    /// Algorithm and size of the leaf's key; `None` if it is none of those that are offered.
    pub fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        self.leaf.key_algorithm
    }

    /// The name of the leaf in the CA's renewal information (RFC 9773 §4.1); `None` if it has no authority key identifier, and so no
    /// renewal information either.
    pub fn renewal_info_identifier(&self) -> Option<&str> {
        self.leaf.renewal_info_identifier.as_deref()
    }

    /// Checks that this is the chain that was ordered, usable at `now`.
    ///
    /// The leaf has the expected key and exactly the expected names, in any order and case, and no names of another kind. The leaf
    /// and every issuer are valid at `now`; a beginning up to [`NOT_BEFORE_TOLERANCE`] in the future is tolerated. Each certificate
    /// names the next as its issuer and is signed by it. At last openssl validates the path (CA flags, path length, name constraints,
    /// critical extensions, fitness for a TLS server) with the last certificate for its anchor.
    ///
    /// Nothing is compared with a store of roots: those of private CAs are unknown to us. A self-signed root may end the chain, and a
    /// CA may send the leaf alone; then nobody's signature over it can be checked.
    pub fn check(
        &self,
        expected_public_key_sha256: [u8; 32],
        expected_names: &[impl AsRef<str>],
        now: DateTime<Utc>,
    ) -> Result<(), ChainProblem> {
        check::check(self, expected_public_key_sha256, expected_names, now)
    }
}

impl fmt::Debug for CertificateChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateChain")
            .field("serial_hex", &self.leaf.serial_hex)
            .field("dns_names", &self.leaf.names.dns)
            .field("issuer", &self.leaf.issuer)
            .finish_non_exhaustive()
    }
}
