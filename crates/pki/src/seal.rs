//! Sealing of secrets at rest (requirements S3.27): AES-256-GCM under a data key per account, itself wrapped by a master key.
//!
//! A [`DataKey`] seals private keys, ACME account keys and webhook secrets; the associated data ties each of them to its owner, table,
//! row, purpose and data key, so that a value copied elsewhere in the database does not open. [`MasterKeys`] come from the environment
//! or a file and wrap data keys only, so that rotating a master key means to wrap the data keys again, not every secret.

mod client;
mod envelope;
mod master;

use openssl::error::ErrorStack;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use client::ClientKey;
pub use envelope::MAX_PLAINTEXT_BYTES;
use envelope::{AssociatedData, SecretKey};
pub use master::{MasterKeys, WrappedDataKey};

/// Whose secrets a data key seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyOwner {
    /// A tenant, by the id of its account.
    Account(Uuid),
    /// The platform itself: ACME accounts, and the stock of keys that belong to nobody yet.
    Platform,
}

/// What a sealed secret is tied to: it opens with exactly the same binding only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Whose secret it is.
    pub owner: KeyOwner,
    /// Table that it is stored in.
    pub table: &'a str,
    /// Id of its row.
    pub row: Uuid,
    /// What it is, as in `private_key`; tells two secrets of one row apart.
    pub purpose: &'a str,
}

/// A key that seals the secrets of one owner. It implements neither `Debug` nor `Display` and is wiped when dropped.
pub struct DataKey {
    id: Uuid,
    key: SecretKey,
}

impl DataKey {
    /// Makes a new data key with a random id.
    pub fn generate() -> Result<Self, SealError> {
        Ok(Self { id: Uuid::new_v4(), key: SecretKey::generate()? })
    }

    /// The id that it is stored under. Not secret.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Seals a secret of at most [`MAX_PLAINTEXT_BYTES`]: a version byte, 12 bytes of nonce, as many bytes as the secret has, 16 bytes
    /// of tag.
    ///
    /// The nonce is random, so one data key must not seal more than 2^32 secrets (NIST SP 800-38D §8.3). A secret a second for 136
    /// years is that many: nobody counts them.
    pub fn seal(&self, plaintext: &[u8], binding: &Binding<'_>) -> Result<Vec<u8>, SealError> {
        envelope::seal(&self.key, &self.associated_data(binding), plaintext)
    }

    /// Opens what [`Self::seal`] made with the same data key and binding. Fails with [`SealError::NotAuthentic`] if either is another,
    /// or if a bit has changed.
    pub fn open(&self, sealed: &[u8], binding: &Binding<'_>) -> Result<Zeroizing<Vec<u8>>, SealError> {
        envelope::open(&self.key, &self.associated_data(binding), sealed)
    }

    fn associated_data(&self, binding: &Binding<'_>) -> AssociatedData {
        AssociatedData::new("zonecert secret")
            .owner(binding.owner)
            .field(binding.table.as_bytes())
            .field(binding.row.as_bytes())
            .field(binding.purpose.as_bytes())
            .field(self.id.as_bytes())
    }
}

/// Why something could not be sealed or opened. No variant holds key bytes or plaintext.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The setting with the master keys is empty.
    #[error("there is no master key; set it to `<id>:<key>`, and make the key with `openssl rand -base64 32`")]
    NoMasterKey,
    /// An entry of the setting is malformed.
    #[error("master key {position}: {reason}; write `<id>:<key>`, separated by commas, and make each key with `openssl rand -base64 32`")]
    BadMasterKey {
        /// Place in the list, counted from 1. The entry itself is never shown: it may be a key in the wrong place.
        position: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A data key is wrapped by a master key that we do not have.
    #[error(
        "the data key is wrapped by master key {id:?}, which is not configured; add it after the current one until `zonecert admin rotate-keys` has run"
    )]
    UnknownMasterKey {
        /// Id of the missing master key.
        id: String,
    },
    /// The sealed bytes have another format.
    #[error("sealed in format {version}, which this version does not know; run the version of zonecert that wrote it, or a newer one")]
    UnknownFormat {
        /// The format's number.
        version: u8,
    },
    /// The sealed bytes are too few to be anything sealed.
    #[error("the sealed value is cut off; restore its row from a backup")]
    Truncated,
    /// Key, binding or bytes are not those that were sealed.
    #[error(
        "the sealed value does not open: wrong key, moved to another row, or altered; check the master keys, then restore its row from a backup"
    )]
    NotAuthentic,
    /// More than any secret of ours has.
    #[error("the value has more than {MAX_PLAINTEXT_BYTES} bytes; secrets are smaller, so store it elsewhere")]
    TooLong,
    /// The library failed at something that only a broken installation or a lack of memory explains.
    #[error("openssl could not {action}; check the installed libcrypto with `openssl version -a` and the free memory")]
    OpenSsl {
        /// What was being done.
        action: &'static str,
        /// What openssl says about it.
        #[source]
        source: ErrorStack,
    },
}

impl SealError {
    fn openssl(action: &'static str) -> impl FnOnce(ErrorStack) -> Self {
        move |source| Self::OpenSsl { action, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_tied_to_the_id_of_its_data_key() {
        let binding = Binding { owner: KeyOwner::Platform, table: "acme_accounts", row: Uuid::from_u128(1), purpose: "credentials" };
        let key = DataKey::generate().unwrap();
        let sealed = key.seal(b"secret", &binding).unwrap();
        let namesake = DataKey { id: key.id, key: SecretKey::from_bytes(key.key.bytes()).unwrap() };
        assert_eq!(**namesake.open(&sealed, &binding).unwrap(), *b"secret");
        let relabelled = DataKey { id: Uuid::from_u128(2), ..namesake };
        assert!(matches!(relabelled.open(&sealed, &binding), Err(SealError::NotAuthentic)));
    }
}
