//! What can be wrong with a key, a certificate request or a chain.

use openssl::error::ErrorStack;

/// Why a key, a request or a chain could not be made or read. No variant holds any of the input, so that every one may be logged.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library failed at something that only a broken installation or a lack of memory explains.
    #[error("openssl could not {action}; check the installed libcrypto with `openssl version -a` and the free memory")]
    OpenSsl {
        /// What was being done, as in "generate a key".
        action: &'static str,
        /// What openssl says about it.
        #[source]
        source: ErrorStack,
    },
    /// The bytes are no unencrypted PKCS#8 private key.
    #[error("not an unencrypted PKCS#8 private key; convert it with `openssl pkcs8 -topk8 -nocrypt -outform DER`")]
    InvalidKey,
    /// The key is of a kind that is not offered (requirements X2).
    #[error("the key is neither RSA of 2048, 3072 or 4096 bits nor ECDSA on P-256 or P-384; use a key of one of these")]
    UnsupportedKey,
    /// The password cannot encrypt a file.
    #[error("a password has 1 to {max_bytes} bytes and no zero byte; give such a one", max_bytes = crate::pfx::MAX_PASSWORD_BYTES)]
    InvalidPassword,
    /// A request needs at least one name.
    #[error("a certificate request needs at least one name; give the domain")]
    NoNames,
    /// A name cannot stand in a certificate.
    #[error(
        "name {position} is not a DNS name of 1 to 255 ASCII letters, digits, dots, hyphens, underscores and asterisks; parse names before they get here"
    )]
    InvalidName {
        /// Place in the list, counted from 1.
        position: usize,
    },
    /// The bytes are no PKCS#10 request of the form that we make.
    #[error("not a usable certificate request ({reason}); make a new one from the key")]
    InvalidRequest {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The text holds no certificate.
    #[error("there is no certificate in the chain; give the leaf, then each issuer, in PEM")]
    ChainEmpty,
    /// The text is longer, or holds more certificates, than any real chain.
    #[error(
        "the chain has more than {max_bytes} bytes or {max_certificates} certificates; give the leaf and its issuers only",
        max_bytes = crate::chain::MAX_PEM_BYTES,
        max_certificates = crate::chain::MAX_CERTIFICATES
    )]
    ChainTooLong,
    /// Somebody put a private key where certificates belong.
    #[error("there is a private key among the certificates; remove it from the chain, and replace the key if others could read the file")]
    ChainHasPrivateKey,
    /// A part of the text is no certificate.
    #[error("line {line} of the chain: {reason}; give certificates in PEM with nothing between them")]
    ChainMalformed {
        /// Line of the text, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The leaf is well-formed but lacks something that every certificate has.
    #[error("the {what} of the leaf certificate cannot be read; ask its issuer for a certificate that follows RFC 5280")]
    LeafUnreadable {
        /// The part of the certificate.
        what: &'static str,
    },
}

impl PkiError {
    /// For `map_err`: names what was being done when openssl failed.
    pub(crate) fn openssl(action: &'static str) -> impl FnOnce(ErrorStack) -> Self {
        move |source| Self::OpenSsl { action, source }
    }
}
