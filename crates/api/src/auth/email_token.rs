//! What a link in a mail carries: `zce_` to confirm an address or to set a new password, `zci_` to accept an invitation, and 256 random bits.

use chrono::TimeDelta;

use crate::auth::opaque::{self, OpaqueToken};

const PREFIX: &str = "zce_";
const INVITATION_PREFIX: &str = "zci_";

/// How long an address can be confirmed.
pub(crate) const VERIFICATION_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// How long a new password can be set: whoever asks for that reads the mail soon.
pub(crate) const RESET_LIFETIME: TimeDelta = TimeDelta::hours(1);

/// How long an invitation can be accepted.
pub(crate) const INVITATION_LIFETIME: TimeDelta = TimeDelta::days(7);

/// A new token that proves that somebody reads their mail.
pub(crate) fn generate() -> OpaqueToken {
    OpaqueToken::generate(PREFIX)
}

/// The SHA-256 of a text that has the form of one.
pub(crate) fn parse(text: &str) -> Option<[u8; 32]> {
    opaque::sha256_of(PREFIX, text)
}

/// A new token of an invitation.
pub(crate) fn generate_invitation() -> OpaqueToken {
    OpaqueToken::generate(INVITATION_PREFIX)
}

/// The SHA-256 of a text that has the form of one.
pub(crate) fn parse_invitation(text: &str) -> Option<[u8; 32]> {
    opaque::sha256_of(INVITATION_PREFIX, text)
}
