//! The key that a Cert Warden client has, and what is sealed for it (requirements S0.5, `docs/adr/0030-push.md`): AES-256-GCM, with the random nonce in front,
//! the tag behind, and no associated data.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, encrypt_aead};
use zeroize::Zeroizing;

use super::SealError;
use super::envelope::{NONCE_BYTES, SecretKey, TAG_BYTES};

/// What the client reads its key with: the URL-safe alphabet without padding. Like Go's it does not mind what the last character has beyond the key.
const TEXT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);

/// The AES-256 key of a client. Implements neither `Debug` nor `Display` and is wiped when dropped.
pub struct ClientKey(SecretKey);

impl ClientKey {
    /// Makes a new one.
    pub fn generate() -> Result<Self, SealError> {
        SecretKey::generate().map(Self)
    }

    /// Takes the 32 bytes of one. `None` if they are more or fewer.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        SecretKey::from_bytes(bytes).map(Self)
    }

    /// Reads one as the client is given it: 32 bytes in base64url without padding.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(&Zeroizing::new(TEXT.decode(text).ok()?))
    }

    /// The bytes, to be sealed themselves.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// As the client is given it: `CW_CLIENT_AES_KEY_BASE64`.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(TEXT.encode(self.bytes()))
    }

    /// Seals something for the client: nonce, ciphertext, tag.
    ///
    /// The nonce is random, so one key must not seal more than 2^32 times (NIST SP 800-38D §8.3), which no client lives to see.
    pub fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let seal = || -> Result<Vec<u8>, ErrorStack> {
            let (mut nonce, mut tag) = ([0; NONCE_BYTES], [0; TAG_BYTES]);
            rand_bytes(&mut nonce)?;
            let ciphertext = encrypt_aead(Cipher::aes_256_gcm(), self.bytes(), Some(&nonce), &[], plaintext, &mut tag)?;
            Ok([&nonce, &ciphertext[..], &tag].concat())
        };
        seal().map_err(SealError::openssl("seal something for a client"))
    }

    /// Seals something for the client, as text: what [`Self::seal`] gives in base64url without padding.
    pub fn seal_to_text(&self, plaintext: &[u8]) -> Result<String, SealError> {
        Ok(TEXT.encode(self.seal(plaintext)?))
    }
}

#[cfg(test)]
mod tests {
    use openssl::symm::decrypt_aead;

    use super::*;

    #[test]
    fn a_key_is_read_as_the_client_reads_it() {
        let key = ClientKey::generate().unwrap();
        let text = key.reveal();
        assert_eq!(text.len(), 43);
        assert_eq!(ClientKey::parse(&text).unwrap().bytes(), key.bytes());
        let counted: Vec<u8> = (0..32).collect();
        assert_eq!(ClientKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap().bytes(), counted);
        // Go takes it for the same.
        assert_eq!(ClientKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9").unwrap().bytes(), counted);
        assert_eq!(ClientKey::parse("-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_8").unwrap().bytes()[..2], [0xfb, 0xff]);
        for bad in
            ["", "AAEC", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", &"A".repeat(44), &"A".repeat(42), &"+".repeat(43), &"é".repeat(43)]
        {
            assert!(ClientKey::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_sealed_has_another_nonce_each_time_and_opens_unchanged_only() {
        let key = ClientKey::generate().unwrap();
        let (first, second) = (key.seal(b"secret").unwrap(), key.seal(b"secret").unwrap());
        assert_eq!(first.len(), 12 + 6 + 16);
        assert_ne!(first[..12], second[..12]);
        let open =
            |sealed: &[u8]| decrypt_aead(Cipher::aes_256_gcm(), key.bytes(), Some(&sealed[..12]), &[], &sealed[12..18], &sealed[18..]);
        assert_eq!(open(&first).unwrap(), b"secret");
        for byte in 0..first.len() {
            let mut changed = first.clone();
            changed[byte] ^= 1;
            assert!(open(&changed).is_err(), "{byte}");
        }
    }
}
