//! The sealed form: AES-256-GCM with a random nonce, a version byte in front, and associated data that cannot be read two ways.

use openssl::error::ErrorStack;
use openssl::rand::{rand_bytes, rand_priv_bytes};
use openssl::symm::{Cipher, Crypter, Mode};
use zeroize::Zeroizing;

use super::{KeyOwner, SealError};

/// Format of the sealed bytes and of the associated data. Raised when either changes.
const VERSION: u8 = 1;
pub(super) const NONCE_BYTES: usize = 12;
pub(super) const TAG_BYTES: usize = 16;

/// Bytes of an AES-256 key.
pub(super) const KEY_BYTES: usize = 32;

/// Longest secret that can be sealed, in bytes.
pub const MAX_PLAINTEXT_BYTES: usize = 1024 * 1024;

/// An AES-256 key: wiped when dropped, and on the heap so that moving it leaves no copy behind.
pub(super) struct SecretKey(Box<Zeroizing<[u8; KEY_BYTES]>>);

impl SecretKey {
    pub(super) fn generate() -> Result<Self, SealError> {
        let mut key = Box::new(Zeroizing::new([0; KEY_BYTES]));
        rand_priv_bytes(key.as_mut_slice()).map_err(SealError::openssl("make random bytes"))?;
        Ok(Self(key))
    }

    /// Takes a key of exactly [`KEY_BYTES`] bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Box::new(Zeroizing::new([0; KEY_BYTES]));
        if bytes.len() != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Associated data: the version, then fields, each with its length in front, so that no two lists of fields give the same bytes.
pub(super) struct AssociatedData(Vec<u8>);

impl AssociatedData {
    /// Begins with what kind of thing is sealed.
    pub(super) fn new(kind: &str) -> Self {
        Self(vec![VERSION]).field(kind.as_bytes())
    }

    pub(super) fn field(mut self, bytes: &[u8]) -> Self {
        self.0.extend((bytes.len() as u64).to_be_bytes());
        self.0.extend(bytes);
        self
    }

    pub(super) fn owner(self, owner: KeyOwner) -> Self {
        match owner {
            KeyOwner::Account(id) => self.field(b"account").field(id.as_bytes()),
            KeyOwner::Platform => self.field(b"platform").field(b""),
        }
    }
}

/// Seals `plaintext`: version, nonce, ciphertext, tag.
pub(super) fn seal(key: &SecretKey, associated: &AssociatedData, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    if plaintext.len() > MAX_PLAINTEXT_BYTES {
        return Err(SealError::TooLong);
    }
    encrypt(key, associated, plaintext).map_err(SealError::openssl("seal a secret"))
}

fn encrypt(key: &SecretKey, associated: &AssociatedData, plaintext: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let mut sealed = vec![0; 1 + NONCE_BYTES + plaintext.len() + TAG_BYTES];
    let (head, body) = sealed.split_at_mut(1 + NONCE_BYTES);
    let (ciphertext, tag) = body.split_at_mut(plaintext.len());
    head[0] = VERSION;
    let nonce = &mut head[1..];
    rand_bytes(nonce)?;
    let mut crypter = Crypter::new(Cipher::aes_256_gcm(), Mode::Encrypt, key.bytes(), Some(nonce))?;
    crypter.aad_update(&associated.0)?;
    crypter.update(plaintext, ciphertext)?;
    crypter.finalize(&mut [])?;
    crypter.get_tag(tag)?;
    Ok(sealed)
}

/// Opens what [`seal`] made.
pub(super) fn open(key: &SecretKey, associated: &AssociatedData, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (&version, rest) = sealed.split_first().ok_or(SealError::Truncated)?;
    if version != VERSION {
        return Err(SealError::UnknownFormat { version });
    }
    let ciphertext_bytes = rest.len().checked_sub(NONCE_BYTES + TAG_BYTES).ok_or(SealError::Truncated)?;
    if ciphertext_bytes > MAX_PLAINTEXT_BYTES {
        return Err(SealError::TooLong);
    }
    let (nonce, rest) = rest.split_at(NONCE_BYTES);
    let (ciphertext, tag) = rest.split_at(ciphertext_bytes);
    // Wiped on the way out even if the tag does not fit: under the right key with the wrong binding it is the true plaintext.
    let mut plaintext = Zeroizing::new(vec![0; ciphertext.len()]);
    let mut crypter =
        Crypter::new(Cipher::aes_256_gcm(), Mode::Decrypt, key.bytes(), Some(nonce)).map_err(SealError::openssl("open a secret"))?;
    crypter.aad_update(&associated.0).map_err(SealError::openssl("open a secret"))?;
    crypter.update(ciphertext, &mut plaintext).map_err(SealError::openssl("open a secret"))?;
    crypter.set_tag(tag).map_err(SealError::openssl("open a secret"))?;
    crypter.finalize(&mut []).map_err(|_| SealError::NotAuthentic)?;
    Ok(plaintext)
}
