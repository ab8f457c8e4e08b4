//! PKCS#12 files, read by the `openssl` command.

use zonecert_pki::pfx::{Encryption, MAX_PASSWORD_BYTES};
use zonecert_pki::{CertificateChain, PfxFile, PkiError, PrivateKey};

use crate::authority::Family;
use crate::openssl_command::openssl;

const PASSWORD: &str = "zck_a-password_of_43";

struct Pair {
    chain: CertificateChain,
    key: PrivateKey,
}

impl Pair {
    fn new() -> Self {
        let family = Family::new();
        let key = PrivateKey::from_pkcs8_der(&family.leaf.key.private_key_to_pkcs8().unwrap()).unwrap();
        Self { chain: CertificateChain::parse_pem(&family.pem()).unwrap(), key }
    }

    fn make(&self, encryption: Encryption) -> PfxFile {
        PfxFile::make(&self.chain, &self.key, "app.example.test", PASSWORD, encryption).unwrap()
    }
}

fn info(file: &PfxFile, password: &str) -> Result<String, String> {
    openssl(&["pkcs12", "-info", "-noenc", "-passin", &format!("pass:{password}")], file.der())
}

#[test]
fn openssl_finds_key_leaf_and_chain_encrypted_as_promised() {
    let pair = Pair::new();
    for (encryption, promised, digest) in [
        (Encryption::Aes256, "PBES2, PBKDF2, AES-256-CBC, Iteration 20480, PRF hmacWithSHA256", "MAC: sha256, Iteration 20480"),
        (Encryption::TripleDes, "pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048", "MAC: sha1, Iteration 2048"),
    ] {
        let said = info(&pair.make(encryption), PASSWORD).unwrap();
        assert_eq!(said.matches(promised).count(), 2, "key and certificates: {said}");
        assert!(said.contains(digest), "{said}");
        assert!(said.contains("friendlyName: app.example.test"), "{said}");
        assert_eq!(said.matches("-----BEGIN CERTIFICATE-----").count(), pair.chain.certificate_count());
        assert!(said.contains(pair.chain.leaf_pem().trim()) && said.contains(pair.key.to_pkcs8_pem().unwrap().trim()), "{said}");
    }
}

#[test]
fn another_password_opens_nothing() {
    let file = Pair::new().make(Encryption::default());
    assert!(info(&file, "zck_another").unwrap_err().contains("invalid password"));
}

#[test]
fn salts_are_random_and_what_was_kept_is_found_by_its_password_alone() {
    let pair = Pair::new();
    let (first, second) = (pair.make(Encryption::Aes256), pair.make(Encryption::Aes256));
    assert_ne!(first.der(), second.der());
    let kept = first.to_bytes();
    assert_eq!(PfxFile::open(&kept, PASSWORD).unwrap().as_slice(), first.der());
    for other in ["", "zck_another", &PASSWORD[1..], &format!("{PASSWORD}x")] {
        assert!(PfxFile::open(&kept, other).is_none(), "{other}");
    }
    assert!(PfxFile::open(&[], "").is_none() && PfxFile::open(&[9, 1], "x").is_none());
}

#[test]
fn a_password_that_cannot_be_one_is_refused() {
    let pair = Pair::new();
    let make = |password: &str| PfxFile::make(&pair.chain, &pair.key, "app", password, Encryption::Aes256);
    for password in ["", "a\0b", &"x".repeat(MAX_PASSWORD_BYTES + 1)] {
        assert!(matches!(make(password), Err(PkiError::InvalidPassword)));
    }
    assert!(make(&"x".repeat(MAX_PASSWORD_BYTES)).is_ok());
}
