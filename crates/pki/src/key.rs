//! Private keys of certificates.

use openssl::ec::{Asn1Flag, EcGroup, EcGroupRef, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use zeroize::Zeroizing;
use zonecert_domain::key::KeyAlgorithm;

use crate::PkiError;
use crate::der::{Elements, SEQUENCE};

/// A private key of one of the algorithms that are offered (requirements X2).
///
/// It implements neither `Debug` nor `Display`, and openssl wipes the private numbers when it is dropped.
pub struct PrivateKey {
    key: PKey<Private>,
    algorithm: KeyAlgorithm,
    public_key_sha256: [u8; 32],
}

impl PrivateKey {
    /// Makes a new key.
    ///
    /// This burns CPU and must not run on an async thread (use `spawn_blocking`). On one busy core of a small server it takes about
    /// 0.2 s for RSA-2048, 0.7 s for RSA-3072 and 2 s for RSA-4096, three times that with bad luck; ECDSA takes 2 ms at most.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, PkiError> {
        let key = match algorithm {
            KeyAlgorithm::Rsa2048 => generate_rsa(2048),
            KeyAlgorithm::Rsa3072 => generate_rsa(3072),
            KeyAlgorithm::Rsa4096 => generate_rsa(4096),
            KeyAlgorithm::EcdsaP256 => generate_ec(Nid::X9_62_PRIME256V1),
            KeyAlgorithm::EcdsaP384 => generate_ec(Nid::SECP384R1),
        };
        Self::from_openssl(key.map_err(PkiError::openssl("generate a private key"))?)
    }

    /// Reads what [`Self::to_pkcs8_der`] wrote (unencrypted PKCS#8, RFC 5958). Fails if it is no such key or of an algorithm that is
    /// not offered.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, PkiError> {
        let key = PKey::private_key_from_pkcs8(der).map_err(|_| PkiError::InvalidKey)?;
        Self::from_openssl(key)
    }

    fn from_openssl(key: PKey<Private>) -> Result<Self, PkiError> {
        let algorithm = algorithm_of(&key)?;
        if key.id() == Id::RSA && !has_bounded_numbers(&key) {
            return Err(PkiError::InvalidKey);
        }
        Ok(Self { algorithm, public_key_sha256: public_key_sha256(&key)?, key })
    }

    /// The key as unencrypted PKCS#8 in DER: the form that is sealed and stored.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, PkiError> {
        self.key.private_key_to_pkcs8().map(Zeroizing::new).map_err(PkiError::openssl("encode a private key"))
    }

    /// The key as unencrypted PKCS#8 in PEM (`BEGIN PRIVATE KEY`): the form that its owner downloads (requirements S3.2).
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, PkiError> {
        let pem = self.key.private_key_to_pem_pkcs8().map_err(PkiError::openssl("encode a private key"))?;
        String::from_utf8(pem).map(Zeroizing::new).map_err(|_| PkiError::InvalidKey)
    }

    /// SHA-256 of the `SubjectPublicKeyInfo` in DER: tells whether a request or a certificate belongs to this key. Not secret.
    pub fn public_key_sha256(&self) -> [u8; 32] {
        self.public_key_sha256
    }

    /// Algorithm and size of the key.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    pub(crate) fn openssl(&self) -> &PKeyRef<Private> {
        &self.key
    }
}

fn generate_rsa(bits: u32) -> Result<PKey<Private>, ErrorStack> {
    PKey::from_rsa(Rsa::generate(bits)?)
}

fn generate_ec(curve: Nid) -> Result<PKey<Private>, ErrorStack> {
    PKey::from_ec_key(EcKey::generate(EcGroup::from_curve_name(curve)?.as_ref())?)
}

/// Whether the numbers of an RSA key are two primes of half the modulus and what belongs to them (RFC 8017 §A.1.2). With longer ones, which openssl reads as
/// well, a single signature takes up to hours.
fn has_bounded_numbers(key: &PKeyRef<Private>) -> bool {
    const LONGEST_EXPONENT: usize = 9;
    let Ok(der) = key.rsa().and_then(|rsa| rsa.private_key_to_der()).map(Zeroizing::new) else { return false };
    let Some(numbers) = Elements::new(&der).enter(SEQUENCE) else { return false };
    let numbers: Vec<&[u8]> = numbers.map(|number| number.content).collect();
    let [version, modulus, exponent, private_exponent, rest @ ..] = numbers.as_slice() else { return false };
    // A leading zero, and primes of slightly different lengths.
    let half = modulus.len() / 2 + 3;
    *version == [0]
        && exponent.len() <= LONGEST_EXPONENT
        && private_exponent.len() <= modulus.len()
        && rest.len() == 5
        && rest.iter().all(|number| number.len() <= half)
}

/// Fails where it is none of those that are offered.
pub(crate) fn algorithm_of<T: HasPublic>(key: &PKeyRef<T>) -> Result<KeyAlgorithm, PkiError> {
    let algorithm = match (key.id(), key.bits()) {
        (Id::RSA, 2048) => Some(KeyAlgorithm::Rsa2048),
        (Id::RSA, 3072) => Some(KeyAlgorithm::Rsa3072),
        (Id::RSA, 4096) => Some(KeyAlgorithm::Rsa4096),
        (Id::EC, _) => match key.ec_key().ok().and_then(|ec| named_curve(ec.group())) {
            Some(Nid::X9_62_PRIME256V1) => Some(KeyAlgorithm::EcdsaP256),
            Some(Nid::SECP384R1) => Some(KeyAlgorithm::EcdsaP384),
            _ => None,
        },
        _ => None,
    };
    algorithm.ok_or(PkiError::UnsupportedKey)
}

/// The curve that the key names. A key that spells out the parameters of a curve has none: CAs refuse it (RFC 5480 §2.1.1).
fn named_curve(group: &EcGroupRef) -> Option<Nid> {
    group.curve_name().filter(|_| group.asn1_flag() == Asn1Flag::NAMED_CURVE)
}

/// SHA-256 of the `SubjectPublicKeyInfo` that openssl writes for `key`; the same for the key, its request and its certificate.
pub(crate) fn public_key_sha256<T: HasPublic>(key: &PKeyRef<T>) -> Result<[u8; 32], PkiError> {
    key.public_key_to_der().map(|der| sha256(&der)).map_err(PkiError::openssl("encode a public key"))
}
