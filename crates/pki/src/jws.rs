//! Signatures of a certificate's own key in the form that ACME wants (RFC 7515, RFC 7518): whoever has the key may revoke the certificate
//! (RFC 8555 §7.6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::sign::Signer;
use zonecert_domain::key::KeyAlgorithm;

use crate::{PkiError, PrivateKey};

impl PrivateKey {
    /// The JSON Web Algorithm that it signs with (RFC 7518 §3.1).
    pub fn jws_algorithm(&self) -> &'static str {
        match self.algorithm() {
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => "RS256",
            KeyAlgorithm::EcdsaP256 => "ES256",
            KeyAlgorithm::EcdsaP384 => "ES384",
        }
    }

    /// The public key as a JSON Web Key (RFC 7517), its members in the order of RFC 7638 §3.2.
    pub fn public_jwk_json(&self) -> Result<String, PkiError> {
        self.jwk().map_err(PkiError::openssl("encode a public key"))
    }

    /// The signature over the octets of a JWS signing input (RFC 7515 §5.1).
    pub fn sign_jws(&self, signing_input: &[u8]) -> Result<Vec<u8>, PkiError> {
        self.sign(signing_input).map_err(PkiError::openssl("sign with a private key"))
    }

    fn jwk(&self) -> Result<String, ErrorStack> {
        let Some((curve, bytes)) = self.curve() else {
            let key = self.openssl().rsa()?;
            return Ok(format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(&key.e().to_vec()), encode(&key.n().to_vec())));
        };
        let key = self.openssl().ec_key()?;
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut *BigNumContext::new()?)?;
        Ok(format!(
            r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#,
            encode(&x.to_vec_padded(bytes)?),
            encode(&y.to_vec_padded(bytes)?)
        ))
    }

    fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let digest = if self.algorithm() == KeyAlgorithm::EcdsaP384 { MessageDigest::sha384() } else { MessageDigest::sha256() };
        let signature = Signer::new(digest, self.openssl())?.sign_oneshot_to_vec(signing_input)?;
        let Some((_, bytes)) = self.curve() else { return Ok(signature) };
        // Both numbers in full length, with the zeros in front that DER leaves out (RFC 7518 §3.4).
        let numbers = EcdsaSig::from_der(&signature)?;
        Ok([numbers.r().to_vec_padded(bytes)?, numbers.s().to_vec_padded(bytes)?].concat())
    }

    /// Name and length of a number in bytes, where the key is on a curve (RFC 7518 §6.2.1).
    fn curve(&self) -> Option<(&'static str, i32)> {
        match self.algorithm() {
            KeyAlgorithm::EcdsaP256 => Some(("P-256", 32)),
            KeyAlgorithm::EcdsaP384 => Some(("P-384", 48)),
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => None,
        }
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
