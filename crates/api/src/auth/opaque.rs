//! Random tokens that mean nothing by themselves: 256 bits, known to the database by their SHA-256 alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const SECRET_BYTES: usize = 32;

/// base64url without padding of [`SECRET_BYTES`].
const SECRET_CHARACTERS: usize = 43;

/// A token in the clear, for its one way to its owner. It implements neither `Debug` nor `Display` and is wiped when dropped.
pub(crate) struct OpaqueToken(Zeroizing<String>);

impl OpaqueToken {
    /// A new one. The prefix says what it is for, so that a scanner for leaked secrets recognises it.
    pub(crate) fn generate(prefix: &str) -> Self {
        let mut secret = Zeroizing::new([0_u8; SECRET_BYTES]);
        rand::fill(secret.as_mut_slice());
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + SECRET_CHARACTERS));
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(secret.as_slice(), &mut text);
        Self(text)
    }

    /// What the database keeps.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The token itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// The SHA-256 of what has the form of a token with this prefix.
pub(crate) fn sha256_of(prefix: &str, text: &str) -> Option<[u8; 32]> {
    let secret = text.strip_prefix(prefix)?;
    let fits = secret.len() == SECRET_CHARACTERS && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    fits.then(|| Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_again_by_its_text() {
        let token = OpaqueToken::generate("zc_");
        assert_eq!(token.reveal().len(), 3 + SECRET_CHARACTERS);
        assert_eq!(sha256_of("zc_", token.reveal()), Some(token.sha256()));
        assert_ne!(OpaqueToken::generate("zc_").sha256(), token.sha256());
    }

    #[test]
    fn what_is_no_token_of_this_kind_is_told_apart() {
        let token = OpaqueToken::generate("zcr_");
        let text = token.reveal();
        for other in ["", "zc_", text, &text[4..], "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"] {
            assert_eq!(sha256_of("zc_", other), None);
        }
        assert_eq!(sha256_of("zcr_", &format!("{text}A")), None);
        assert_eq!(sha256_of("zcr_", &text[..text.len() - 1]), None);
        assert_eq!(sha256_of("zcr_", &format!("{}=", &text[..text.len() - 1])), None);
    }
}
