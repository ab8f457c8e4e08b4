//! API keys of certificates and private keys (requirements S1.2): `zck_` and 256 random bits, shown once. Without a dot, which joins two of them.

use sha2::{Digest, Sha256};

use crate::auth::opaque::OpaqueToken;

const PREFIX: &str = "zck_";

/// As many characters are kept in the clear, so that people tell their keys apart; 220 bits stay secret.
const SHOWN_CHARACTERS: usize = PREFIX.len() + 6;

/// A new key.
pub(crate) fn generate() -> OpaqueToken {
    OpaqueToken::generate(PREFIX)
}

/// The characters that are kept in the clear.
pub(crate) fn shown(key: &OpaqueToken) -> &str {
    &key.reveal()[..SHOWN_CHARACTERS]
}

/// The SHA-256 of whatever was given for a key, so that nothing is refused any sooner than the rest.
pub(crate) fn sha256(given: &str) -> [u8; 32] {
    Sha256::digest(given.as_bytes()).into()
}
