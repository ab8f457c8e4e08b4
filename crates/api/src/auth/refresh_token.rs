//! Refresh tokens: `zcr_` and 256 random bits, good for one use (RFC 9700 §4.14.2).

use chrono::TimeDelta;

use crate::auth::opaque::{self, OpaqueToken};

const PREFIX: &str = "zcr_";

/// How long one is good; each use starts it anew.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::days(30);

/// A new token.
pub(crate) fn generate() -> OpaqueToken {
    OpaqueToken::generate(PREFIX)
}

/// The SHA-256 of a text that has the form of a refresh token.
pub(crate) fn parse(text: &str) -> Option<[u8; 32]> {
    opaque::sha256_of(PREFIX, text)
}
