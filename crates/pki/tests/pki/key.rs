//! Private keys.

use std::sync::OnceLock;

use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use proptest::prelude::*;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::{DataKey, MasterKeys, PkiError, PrivateKey};

use crate::openssl_command::openssl;

pub(crate) fn ecdsa() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap()
}

#[test]
fn every_algorithm_survives_storing_and_reading_back() {
    for algorithm in KeyAlgorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        let der = key.to_pkcs8_der().unwrap();
        let again = PrivateKey::from_pkcs8_der(&der).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(again.algorithm(), algorithm);
        assert_eq!(again.public_key_sha256(), key.public_key_sha256());
        assert_eq!(*again.to_pkcs8_der().unwrap(), *der);

        let pem = key.to_pkcs8_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.ends_with("-----END PRIVATE KEY-----\n"));
        assert_eq!(pem.matches("-----BEGIN").count(), 1);
        assert_eq!(openssl(&["pkey", "-check", "-noout"], pem.as_bytes()).unwrap().trim(), "Key is valid");
        let expected = match algorithm {
            KeyAlgorithm::Rsa2048 => "Private-Key: (2048 bit",
            KeyAlgorithm::Rsa3072 => "Private-Key: (3072 bit",
            KeyAlgorithm::Rsa4096 => "Private-Key: (4096 bit",
            KeyAlgorithm::EcdsaP256 => "NIST CURVE: P-256",
            KeyAlgorithm::EcdsaP384 => "NIST CURVE: P-384",
        };
        let description = openssl(&["pkey", "-text", "-noout"], pem.as_bytes()).unwrap();
        assert!(description.contains(expected), "{description}");
    }
}

#[test]
fn two_keys_are_never_the_same() {
    assert_ne!(ecdsa().public_key_sha256(), ecdsa().public_key_sha256());
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let p521 = EcGroup::from_curve_name(Nid::SECP521R1).unwrap();
    let mut parameters_spelled_out = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    parameters_spelled_out.set_asn1_flag(Asn1Flag::EXPLICIT_CURVE);
    let others: [PKey<Private>; 5] = [
        PKey::from_ec_key(EcKey::generate(&parameters_spelled_out).unwrap()).unwrap(),
        PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap(),
        PKey::from_ec_key(EcKey::generate(&p521).unwrap()).unwrap(),
        PKey::generate_ed25519().unwrap(),
        PKey::generate_x25519().unwrap(),
    ];
    for key in others {
        let refused = PrivateKey::from_pkcs8_der(&key.private_key_to_pkcs8().unwrap()).err().unwrap();
        assert!(matches!(refused, PkiError::UnsupportedKey), "{refused}");
    }
}

#[test]
fn other_encodings_of_keys_are_refused() {
    let pem = ecdsa().to_pkcs8_pem().unwrap();
    let key = PKey::private_key_from_pem(pem.as_bytes()).unwrap();
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    for bytes in [
        pem.as_bytes().to_vec(),
        key.ec_key().unwrap().private_key_to_der().unwrap(),
        key.public_key_to_der().unwrap(),
        key.private_key_to_pkcs8_passphrase(cipher, b"secret").unwrap(),
        Vec::new(),
    ] {
        let refused = PrivateKey::from_pkcs8_der(&bytes).err().unwrap();
        assert!(matches!(refused, PkiError::InvalidKey), "{refused}");
    }
}

/// Fails to compile when `$type` implements `$trait`: two candidates for `probe` make the call ambiguous then.
macro_rules! assert_not_implemented {
    ($type:ty: $trait:path) => {
        const _: fn() = || {
            trait Probe<Marker> {
                fn probe() {}
            }
            struct Implements;
            impl<T: ?Sized> Probe<()> for T {}
            impl<T: ?Sized + $trait> Probe<Implements> for T {}
            let _ = <$type as Probe<_>>::probe;
        };
    };
}

assert_not_implemented!(PrivateKey: std::fmt::Debug);
assert_not_implemented!(PrivateKey: std::fmt::Display);
assert_not_implemented!(PrivateKey: Clone);
assert_not_implemented!(DataKey: std::fmt::Debug);
assert_not_implemented!(DataKey: std::fmt::Display);
assert_not_implemented!(DataKey: Clone);
assert_not_implemented!(MasterKeys: std::fmt::Debug);
assert_not_implemented!(MasterKeys: std::fmt::Display);
assert_not_implemented!(MasterKeys: Clone);

const _: fn() = || {
    fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<PrivateKey>();
    shared_between_threads::<DataKey>();
    shared_between_threads::<MasterKeys>();
    shared_between_threads::<zonecert_pki::CertificateChain>();
};

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_key_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(PrivateKey::from_pkcs8_der(&bytes).is_err());
    }

    #[test]
    fn a_damaged_key_is_no_panic(position in 0_usize..138, change in 1_u8..) {
        static DER: OnceLock<Vec<u8>> = OnceLock::new();
        let mut der = DER.get_or_init(|| ecdsa().to_pkcs8_der().unwrap().to_vec()).clone();
        der[position] ^= change;
        if let Ok(key) = PrivateKey::from_pkcs8_der(&der) {
            prop_assert_eq!(key.algorithm(), KeyAlgorithm::EcdsaP256);
        }
    }
}
