//! Message authentication codes.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::PkiError;

/// HMAC-SHA-256 of a message (RFC 2104, FIPS 180-4): shows whoever has the secret that it is unchanged and from whom else has it.
pub fn hmac_sha256(secret: &[u8], message: &[u8]) -> Result<Vec<u8>, PkiError> {
    let sign = || -> Result<Vec<u8>, ErrorStack> {
        let key = PKey::hmac(secret)?;
        Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(message)
    };
    sign().map_err(PkiError::openssl("compute a message authentication code"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 §4.2, §4.3 and §4.7.
    #[test]
    fn the_codes_are_those_of_the_rfc() {
        for (secret, message, code) in [
            (&[0x0b; 20][..], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex::encode(hmac_sha256(secret, message).unwrap()), code);
        }
    }
}
