//! The port to a certificate authority: its ACME directory (RFC 8555), as far as issuance, revocation and the change of our account's key need it.
//!
//! The one place that knows the ACME library. Every call names the order by its URL and asks the CA where it stands before it does
//! anything, so each can be repeated by whoever comes next after a crash; every error comes back as a [`Failure`].
//!
//! [`Failure`]: zonecert_domain::failure::Failure

mod account;
mod client;
mod failure;
mod http;
mod jws;
mod key_change;
mod own_account;
mod renewal_info;
mod revoke;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

pub use account::{AcmeAccount, AcmeDirectory};
pub(crate) use account::{DIRECTORY_LIFE, DIRECTORY_RETRY};
pub use client::{Authorization, AuthorizationStatus, NewOrder, OrderState, OrderStatus};
pub(crate) use http::retry_after;
pub use key_change::KeyChangeError;
pub(crate) use own_account::Registered;
pub use renewal_info::{Profile, RenewalInfo};
use zonecert_domain::email::Email;

/// The account that we have with a CA outside of ACME: it binds ours to it (RFC 8555 §7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    key_id: String,
    mac_key: Zeroizing<Vec<u8>>,
}

impl ExternalAccount {
    /// Key identifier and MAC key as CAs hand them out, the latter in base64url with or without padding.
    pub fn new(key_id: impl Into<String>, mac_key: &str) -> Result<Self, AcmeSettingsError> {
        let mac_key = URL_SAFE_NO_PAD.decode(mac_key.trim().trim_end_matches('=')).map_err(|_| AcmeSettingsError::MacKey)?;
        let key_id = key_id.into();
        if key_id.is_empty() || mac_key.is_empty() {
            Err(AcmeSettingsError::MacKey)
        } else {
            Ok(Self { key_id, mac_key: Zeroizing::new(mac_key) })
        }
    }
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalAccount({:?})", self.key_id)
    }
}

/// Which CA, and how to talk to it.
#[derive(Clone, Debug)]
pub struct AcmeSettings {
    /// Where the CA's directory is (RFC 8555 §7.1.1). HTTPS only (§6.1).
    pub directory_url: String,
    /// Whom the CA may write to about our account (RFC 8555 §7.3).
    pub contact: Option<Email>,
    /// A PEM file with roots that the CA's HTTPS certificate may lead to, beside those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// Whether a new account takes the place of one that the CA does not know any more. For development, where the CA forgets everything at
    /// each start; elsewhere a lost account is for a person to look at.
    pub recreate_account: bool,
    /// What a new account there is bound to, where the CA wants that.
    pub external_account: Option<ExternalAccount>,
    /// The longest wait for a TCP connection.
    pub connect_timeout: Duration,
    /// The longest wait for an answer, connection included.
    pub request_timeout: Duration,
}

impl AcmeSettings {
    /// A CA that is reached as public ones are, with 5 s for a connection and 20 s for an answer.
    pub fn new(directory_url: impl Into<String>) -> Self {
        Self {
            directory_url: directory_url.into(),
            contact: None,
            ca_file: None,
            recreate_account: false,
            external_account: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(20),
        }
    }
}

/// What is wrong with [`AcmeSettings`].
#[derive(Debug, thiserror::Error)]
pub enum AcmeSettingsError {
    /// The directory is not an HTTPS URL.
    #[error("the ACME directory {0:?} is not an https URL; give one such as https://acme-v02.api.letsencrypt.org/directory")]
    DirectoryUrl(String),
    /// The file with more roots cannot be read as such.
    #[error("the ACME CA file {path}: {reason}; give a PEM file with the root certificates that the CA's HTTPS certificate leads to", path = .path.display())]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The MAC key of an external account cannot be read.
    #[error("the external account's MAC key is no base64url, or it or the key identifier is empty; copy both as the CA shows them")]
    MacKey,
    /// There are no roots to trust.
    #[error("no TLS roots to trust the CA by: {0}; install the package ca-certificates, or give the CA's own roots as ACME CA file")]
    NoRoots(rustls::Error),
}
