//! What is encrypted by a passphrase: PKCS#8 keys and the parts of PKCS#12 files.
//!
//! openssl reads all of this too, but does whatever number of rounds a file asks for: one that asks for billions would keep a processor busy for an hour.
//! Here all rounds of a file are paid from one purse.

use openssl::hash::{Hasher, MessageDigest};
use openssl::pkcs5::pbkdf2_hmac;
use openssl::symm::{Cipher, decrypt};
use zeroize::Zeroizing;

use super::UploadError;
use crate::der::{Elements, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};

/// Most rounds of key derivation for one upload: under half a second on one core. Programs ask for 2,048 to 600,000.
pub const MAX_ROUNDS: u64 = 1_000_000;

/// The passphrase of an upload, and the rounds that are left.
pub(super) struct Purse<'a> {
    passphrase: Option<&'a str>,
    rounds: u64,
}

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0c];
/// `pbeWithSHAAnd3-KeyTripleDES-CBC` (RFC 7292 appendix C).
const SHA1_TRIPLE_DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 0x0c, 1, 3];
/// `hmacWithSHA…`, but for the last byte.
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2];
const TRIPLE_DES_CBC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7];
/// AES of NIST, but for the last byte.
const AES: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1];

impl<'a> Purse<'a> {
    pub(super) fn new(passphrase: Option<&'a str>) -> Self {
        Self { passphrase, rounds: MAX_ROUNDS }
    }

    pub(super) fn passphrase(&self) -> Result<&'a str, UploadError> {
        self.passphrase.ok_or(UploadError::PassphraseMissing)
    }

    /// Decrypts by an `AlgorithmIdentifier`, given as its elements.
    pub(super) fn decrypt(&mut self, mut algorithm: Elements<'_>, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, UploadError> {
        let passphrase = self.passphrase()?;
        let oid = algorithm.value(OBJECT_IDENTIFIER).ok_or(UploadError::EncryptionUnsupported)?;
        let parameters = algorithm.enter(SEQUENCE).ok_or(UploadError::EncryptionUnsupported)?;
        let (cipher, key, iv) = match oid {
            PBES2 => self.derive_pbes2(passphrase, parameters)?,
            SHA1_TRIPLE_DES => self.derive_pkcs12(passphrase, parameters)?,
            _ => return Err(UploadError::EncryptionUnsupported),
        };
        if cipher.iv_len() != Some(iv.len()) || cipher.key_len() != key.len() {
            return Err(UploadError::EncryptionUnsupported);
        }
        let plain = decrypt(cipher, &key, Some(&iv), data);
        // What does not fit leaves its reason in openssl's queue of this thread.
        plain.map(Zeroizing::new).map_err(|_| UploadError::PassphraseWrong)
    }

    fn pay(&mut self, rounds: u64) -> Result<usize, UploadError> {
        self.rounds = self.rounds.checked_sub(rounds.max(1)).ok_or(UploadError::TooManyRounds)?;
        usize::try_from(rounds.max(1)).map_err(|_| UploadError::TooManyRounds)
    }

    /// RFC 8018 §6.2, with PBKDF2.
    fn derive_pbes2(&mut self, passphrase: &str, mut parameters: Elements<'_>) -> Result<Derived, UploadError> {
        let unsupported = UploadError::EncryptionUnsupported;
        let mut derivation = parameters.enter(SEQUENCE).ok_or(unsupported.clone())?;
        let mut encryption = parameters.enter(SEQUENCE).ok_or(unsupported.clone())?;
        if derivation.value(OBJECT_IDENTIFIER) != Some(PBKDF2) {
            return Err(unsupported);
        }
        let mut derivation = derivation.enter(SEQUENCE).ok_or(unsupported.clone())?;
        let salt = derivation.value(OCTET_STRING).ok_or(unsupported.clone())?;
        let rounds = derivation.number().ok_or(UploadError::TooManyRounds)?.max(1);
        let digest = match derivation.find(|element| element.tag == SEQUENCE) {
            None => MessageDigest::sha1(),
            Some(prf) => {
                let oid = Elements::new(prf.content).value(OBJECT_IDENTIFIER).and_then(|oid| oid.strip_prefix(HMAC));
                match oid {
                    Some([7]) => MessageDigest::sha1(),
                    Some([8]) => MessageDigest::sha224(),
                    Some([9]) => MessageDigest::sha256(),
                    Some([10]) => MessageDigest::sha384(),
                    Some([11]) => MessageDigest::sha512(),
                    _ => return Err(unsupported),
                }
            }
        };
        let cipher = match encryption.value(OBJECT_IDENTIFIER) {
            Some(TRIPLE_DES_CBC) => Cipher::des_ede3_cbc(),
            Some(oid) => match oid.strip_prefix(AES) {
                Some([2]) => Cipher::aes_128_cbc(),
                Some([22]) => Cipher::aes_192_cbc(),
                Some([42]) => Cipher::aes_256_cbc(),
                _ => return Err(unsupported),
            },
            None => return Err(unsupported),
        };
        let iv = encryption.value(OCTET_STRING).ok_or(unsupported)?.to_vec();
        // Each block of the digest's length takes all rounds.
        let blocks = cipher.key_len().div_ceil(digest.size());
        let rounds = self.pay(rounds.saturating_mul(blocks as u64))? / blocks;
        let mut key = Zeroizing::new(vec![0; cipher.key_len()]);
        pbkdf2_hmac(passphrase.as_bytes(), salt, rounds, digest, &mut key).map_err(|_| UploadError::EncryptionUnsupported)?;
        Ok((cipher, key, iv))
    }

    /// RFC 7292 appendix B.2, with SHA-1 for triple DES.
    fn derive_pkcs12(&mut self, passphrase: &str, mut parameters: Elements<'_>) -> Result<Derived, UploadError> {
        let salt = parameters.value(OCTET_STRING).ok_or(UploadError::EncryptionUnsupported)?;
        let rounds = parameters.number().ok_or(UploadError::TooManyRounds)?;
        // Two blocks for the key, one for the vector.
        let rounds = self.pay(rounds.saturating_mul(3))? / 3;
        let cipher = Cipher::des_ede3_cbc();
        let key = pkcs12_kdf(passphrase, salt, rounds, 1, cipher.key_len()).ok_or(UploadError::EncryptionUnsupported)?;
        let iv = pkcs12_kdf(passphrase, salt, rounds, 2, 8).ok_or(UploadError::EncryptionUnsupported)?;
        Ok((cipher, key, iv.to_vec()))
    }
}

type Derived = (Cipher, Zeroizing<Vec<u8>>, Vec<u8>);

/// `purpose` is 1 for a key and 2 for a vector.
fn pkcs12_kdf(passphrase: &str, salt: &[u8], rounds: usize, purpose: u8, length: usize) -> Option<Zeroizing<Vec<u8>>> {
    const BLOCK: usize = 64;
    let fill = |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().cycle().take(bytes.len().div_ceil(BLOCK) * BLOCK).collect() };
    let password: Zeroizing<Vec<u8>> = Zeroizing::new(passphrase.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let mut input = Zeroizing::new([fill(salt), fill(&password)].concat());
    let mut derived = Zeroizing::new(Vec::new());
    let mut hasher = Hasher::new(MessageDigest::sha1()).ok()?;
    loop {
        hasher.update(&[purpose; BLOCK]).ok()?;
        hasher.update(&input).ok()?;
        let mut digest = hasher.finish().ok()?;
        for _ in 1..rounds {
            hasher.update(&digest).ok()?;
            digest = hasher.finish().ok()?;
        }
        derived.extend_from_slice(&digest);
        if derived.len() >= length {
            derived.truncate(length);
            return Some(derived);
        }
        // Each block of the input becomes itself plus the digest plus one, modulo 2^512.
        let addend: Vec<u8> = digest.iter().copied().cycle().take(BLOCK).collect();
        for block in input.chunks_mut(BLOCK) {
            let mut carry = 1_u16;
            for (byte, add) in block.iter_mut().zip(&addend).rev() {
                let sum = u16::from(*byte) + u16::from(*add) + carry;
                *byte = sum.to_le_bytes()[0];
                carry = sum >> 8;
            }
        }
    }
}
