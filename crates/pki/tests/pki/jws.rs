//! Signatures in the form of RFC 7515, checked by openssl's command line.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::PrivateKey;

use crate::openssl_command::openssl;

const INPUT: &[u8] = b"eyJhbGciOiJFUzI1NiJ9.eyJjZXJ0aWZpY2F0ZSI6IiJ9";

/// The length of a number in bytes, for keys on a curve.
fn number_bytes(algorithm: KeyAlgorithm) -> Option<usize> {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => Some(32),
        KeyAlgorithm::EcdsaP384 => Some(48),
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => None,
    }
}

fn verify(key: &PrivateKey, signature: &[u8]) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let der = match number_bytes(key.algorithm()) {
        Some(bytes) => {
            assert_eq!(signature.len(), 2 * bytes, "both numbers in full length");
            let (r, s) = signature.split_at(bytes);
            EcdsaSig::from_private_components(BigNum::from_slice(r).unwrap(), BigNum::from_slice(s).unwrap()).unwrap().to_der().unwrap()
        }
        None => signature.to_vec(),
    };
    std::fs::write(path("key.pem"), key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    std::fs::write(path("signature"), der).unwrap();
    let digest = if key.algorithm() == KeyAlgorithm::EcdsaP384 { "-sha384" } else { "-sha256" };
    openssl(&["dgst", digest, "-prverify", &path("key.pem"), "-signature", &path("signature")], INPUT)
}

#[test]
fn every_key_signs_so_that_others_can_verify_it() {
    for (algorithm, name) in [
        (KeyAlgorithm::Rsa2048, "RS256"),
        (KeyAlgorithm::Rsa3072, "RS256"),
        (KeyAlgorithm::EcdsaP256, "ES256"),
        (KeyAlgorithm::EcdsaP384, "ES384"),
    ] {
        let key = PrivateKey::generate(algorithm).unwrap();
        assert_eq!(key.jws_algorithm(), name);
        let mut signature = key.sign_jws(INPUT).unwrap();
        assert_eq!(verify(&key, &signature).unwrap().trim(), "Verified OK", "{algorithm:?}");
        *signature.last_mut().unwrap() ^= 1;
        assert!(verify(&key, &signature).is_err(), "{algorithm:?}: another signature was taken");
    }
}

/// One number in 128 begins with a zero byte, which DER leaves out.
#[test]
fn no_signature_or_coordinate_is_ever_too_short() {
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
        let bytes = number_bytes(algorithm).unwrap();
        for _ in 0..300 {
            let key = PrivateKey::generate(algorithm).unwrap();
            assert_eq!(key.sign_jws(INPUT).unwrap().len(), 2 * bytes);
            let jwk = key.public_jwk_json().unwrap();
            for coordinate in ["\"x\":\"", "\"y\":\""] {
                let (_, rest) = jwk.split_once(coordinate).unwrap();
                let (value, _) = rest.split_once('"').unwrap();
                assert_eq!(URL_SAFE_NO_PAD.decode(value).unwrap().len(), bytes, "{jwk}");
            }
        }
    }
}

#[test]
fn the_public_key_is_the_one_of_the_key_and_nothing_of_the_private_one() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let public = openssl(&["pkey", "-pubout"], key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
        let der = STANDARD.decode(public.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        let jwk = key.public_jwk_json().unwrap();
        let members: Vec<&str> = jwk.split('"').skip(1).step_by(4).collect();
        let expected: &[&str] = if number_bytes(algorithm).is_some() { &["crv", "kty", "x", "y"] } else { &["e", "kty", "n"] };
        assert_eq!(members, expected, "{jwk}");
        let numbers: &[&str] = if number_bytes(algorithm).is_some() { &["x", "y"] } else { &["e", "n"] };
        for member in numbers {
            let (_, rest) = jwk.split_once(&format!("\"{member}\":\"")).unwrap();
            let number = URL_SAFE_NO_PAD.decode(rest.split_once('"').unwrap().0).unwrap();
            assert!(der.windows(number.len()).any(|window| window == number), "{algorithm:?}: {member} is not in the public key");
        }
    }
}
