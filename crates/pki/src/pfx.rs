//! A certificate with its chain and its private key in one encrypted file: PKCS#12 (RFC 7292), which Windows and Java call PFX.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::stack::Stack;
use zeroize::Zeroizing;

use crate::{CertificateChain, PkiError, PrivateKey};

/// Longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 128;

/// Rounds of the key derivation and of the MAC: ten times what openssl takes by default, for passwords that people choose, and few enough for the small
/// devices that read these files.
const ROUNDS: u32 = 20_480;

/// Rounds that old readers expect.
const LEGACY_ROUNDS: u32 = 2_048;

/// How the file is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// PBES2 with AES-256 in CBC and PBKDF2 with HMAC-SHA-256 (RFC 8018), and a MAC with SHA-256.
    #[default]
    Aes256,
    /// Triple DES and a MAC with SHA-1 (RFC 7292 appendix C), for readers that know no other.
    TripleDes,
}

impl Encryption {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Aes256, Self::TripleDes];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes256 => "aes256",
            Self::TripleDes => "3des",
        }
    }
}

/// A file, and the password that it was made for. It implements neither `Debug` nor `Display` and is wiped when dropped.
pub struct PfxFile {
    encryption: Encryption,
    password: Zeroizing<String>,
    der: Zeroizing<Vec<u8>>,
}

impl PfxFile {
    /// Makes a file with random salts: each time another one. `name` is its `friendlyName`, which key stores show. Takes some 10 ms of CPU.
    ///
    /// Fails on a password that is empty, longer than [`MAX_PASSWORD_BYTES`] or holds a zero byte, and on a name with one.
    pub fn make(chain: &CertificateChain, key: &PrivateKey, name: &str, password: &str, encryption: Encryption) -> Result<Self, PkiError> {
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES || password.contains('\0') || name.contains('\0') {
            return Err(PkiError::InvalidPassword);
        }
        let der = encode(chain, key, name, password, encryption).map_err(PkiError::openssl("make a PKCS#12 file"))?;
        Ok(Self { encryption, password: Zeroizing::new(password.to_owned()), der: Zeroizing::new(der) })
    }

    /// The file.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// How it is encrypted.
    pub fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// Password and file in one, to be sealed: a byte that says how long the password is, the password, the file.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + self.password.len() + self.der.len()));
        bytes.push(u8::try_from(self.password.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(self.password.as_bytes());
        bytes.extend_from_slice(&self.der);
        bytes
    }

    /// The file from what [`Self::to_bytes`] wrote, if it was made for this password.
    pub fn open(bytes: &[u8], password: &str) -> Option<Zeroizing<Vec<u8>>> {
        let (&length, rest) = bytes.split_first()?;
        let (kept, der) = rest.split_at_checked(usize::from(length))?;
        let same = kept.len() == password.len() && memcmp::eq(kept, password.as_bytes());
        same.then(|| Zeroizing::new(der.to_vec()))
    }
}

fn encode(chain: &CertificateChain, key: &PrivateKey, name: &str, password: &str, encryption: Encryption) -> Result<Vec<u8>, ErrorStack> {
    let (cipher, digest, rounds) = match encryption {
        Encryption::Aes256 => (Nid::AES_256_CBC, MessageDigest::sha256(), ROUNDS),
        Encryption::TripleDes => (Nid::PBE_WITHSHA1AND3_KEY_TRIPLEDES_CBC, MessageDigest::sha1(), LEGACY_ROUNDS),
    };
    let mut builder = Pkcs12::builder();
    builder.name(name).pkey(key.openssl()).key_algorithm(cipher).cert_algorithm(cipher);
    builder.key_iter(rounds).mac_iter(rounds).mac_md(digest);
    if let Some((leaf, issuers)) = chain.openssl().split_first() {
        builder.cert(leaf);
        let mut others = Stack::new()?;
        for issuer in issuers {
            others.push(issuer.clone())?;
        }
        builder.ca(others);
    }
    builder.build2(password)?.to_der()
}
