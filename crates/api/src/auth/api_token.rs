//! API tokens: `zc_` and 256 random bits, shown once.

use crate::auth::opaque::{self, OpaqueToken};

const PREFIX: &str = "zc_";

/// As many characters are kept in the clear, so that people tell their tokens apart; 220 bits stay secret.
const SHOWN_CHARACTERS: usize = PREFIX.len() + 6;

/// A new token.
pub(crate) fn generate() -> OpaqueToken {
    OpaqueToken::generate(PREFIX)
}

/// The characters that are kept in the clear.
pub(crate) fn shown(token: &OpaqueToken) -> &str {
    &token.reveal()[..SHOWN_CHARACTERS]
}

/// The SHA-256 of a credential that has the form of an API token.
pub(crate) fn parse(credential: &str) -> Option<[u8; 32]> {
    opaque::sha256_of(PREFIX, credential)
}
