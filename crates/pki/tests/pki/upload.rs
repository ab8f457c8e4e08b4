//! Certificates that customers bring with their keys: whole, mended, and mangled.

use chrono::{DateTime, Utc};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::chain::{MAX_PEM_BYTES, Side};
use zonecert_pki::pfx::Encryption;
use zonecert_pki::upload::{MAX_PASSPHRASE_BYTES, MAX_PFX_BYTES, Part, PemUpload, Upload, UploadError, Warning, read_pem, read_pfx};
use zonecert_pki::{CertificateChain, PfxFile, PrivateKey};

use crate::authority::{Family, Recipe, Role, days, new_key, now};
use crate::openssl_command::openssl;

const PASSPHRASE: &str = "correct horse";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn key_pem(key: &PKey<Private>) -> String {
    text(key.private_key_to_pem_pkcs8().unwrap())
}

fn read(certificate: &str, private_key: Option<&str>, passphrase: Option<&str>) -> Result<Upload, UploadError> {
    read_pem(&PemUpload { certificate, chain: None, private_key, passphrase }, now())
}

fn refused(certificate: &str, private_key: Option<&str>, passphrase: Option<&str>) -> UploadError {
    read(certificate, private_key, passphrase).err().expect("this is refused")
}

fn at(moment: &str) -> DateTime<Utc> {
    moment.parse().unwrap()
}

#[test]
fn the_pair_of_the_azion_documentation_is_taken_with_warnings() {
    let (certificate, key) = (include_str!("azion/certificate.pem"), include_str!("azion/key.pem"));
    let sent = PemUpload { certificate, chain: None, private_key: Some(key), passphrase: None };
    let upload = read_pem(&sent, at("2026-11-30T00:00:00Z")).unwrap();
    assert_eq!(upload.warnings, [Warning::SelfSigned, Warning::WeakSignature, Warning::CommonNameOnly]);
    let chain = &upload.chain;
    assert_eq!((chain.subject(), chain.issuer()), ("CN=www.mydomain.com", "CN=www.mydomain.com"));
    assert_eq!((chain.serial_hex(), chain.not_after()), ("fa4c58728c206b80", at("2028-03-24T20:09:04Z")));
    assert_eq!(upload.key.algorithm(), KeyAlgorithm::Rsa2048);
    let details = chain.details().unwrap();
    assert_eq!((details.key_type.as_str(), details.key_bits), ("rsa", 2048));
    assert_eq!((details.signature_algorithm.as_str(), details.side, details.sct_count), ("sha1WithRSAEncryption", Side::Server, 0));
    assert_eq!(details.sha1_fingerprint_hex, "0aed72cfcc140f2c3cc885844f5ea329f29152ba");
    assert!(details.is_self_signed && !details.must_staple && details.crl_urls.is_empty());
    let expired = read_pem(&sent, at("2028-03-24T20:09:05Z")).unwrap();
    assert_eq!(expired.warnings[0], Warning::Expired);
}

#[test]
fn every_form_of_a_key_is_read() {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let ec = EcKey::generate(&group).unwrap();
    let rsa = Rsa::generate(2048).unwrap();
    let (ec_key, rsa_key) = (PKey::from_ec_key(ec.clone()).unwrap(), PKey::from_rsa(rsa.clone()).unwrap());
    let aes = Cipher::aes_256_cbc();
    let word = PASSPHRASE.as_bytes();
    let plain = |key: &PKey<Private>| key_pem(key);
    let encrypted = |key: &PKey<Private>| text(key.private_key_to_pem_pkcs8_passphrase(aes, word).unwrap());
    let by_command = |options: &[&str]| {
        let pass = format!("pass:{PASSPHRASE}");
        let arguments = [["pkcs8", "-topk8", "-passout", &pass].as_slice(), options].concat();
        openssl(&arguments, plain(&ec_key).as_bytes()).unwrap()
    };
    for (name, key, form) in [
        ("PKCS#8, EC", &ec_key, plain(&ec_key)),
        ("PKCS#8, RSA", &rsa_key, plain(&rsa_key)),
        ("SEC1", &ec_key, text(ec.private_key_to_pem().unwrap())),
        ("PKCS#1", &rsa_key, text(rsa.private_key_to_pem().unwrap())),
        ("PKCS#8, encrypted", &rsa_key, encrypted(&rsa_key)),
        ("PKCS#8, encrypted as openssl does it", &ec_key, by_command(&[])),
        ("PKCS#8, SHA-512", &ec_key, by_command(&["-v2prf", "hmacWithSHA512", "-iter", "100000"])),
        ("PKCS#8, triple DES", &ec_key, by_command(&["-v1", "PBE-SHA1-3DES"])),
        ("SEC1, encrypted", &ec_key, text(ec.private_key_to_pem_passphrase(aes, word).unwrap())),
        ("PKCS#1, encrypted", &rsa_key, text(rsa.private_key_to_pem_passphrase(aes, word).unwrap())),
    ] {
        let certificate = text(Recipe::server(&Family::NAMES).sign(key, None).to_pem().unwrap());
        let upload = read(&certificate, Some(&form), Some(PASSPHRASE)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(upload.key.public_key_sha256(), upload.chain.public_key_sha256(), "{name}");
        // In one text as well, and with remarks.
        let bundle = format!("Bag Attributes\r\n    friendlyName: x\r\n{}{certificate}", form.replace('\n', "\r\n"));
        assert!(read(&bundle, None, Some(PASSPHRASE)).is_ok(), "{name}");
        let is_encrypted = form.contains("ENCRYPTED");
        let expected = |error: UploadError| is_encrypted.then_some(error);
        assert_eq!(read(&certificate, Some(&form), None).err(), expected(UploadError::PassphraseMissing), "{name}");
        assert_eq!(read(&certificate, Some(&form), Some("wrong")).err(), expected(UploadError::PassphraseWrong), "{name}");
    }
}

#[test]
fn a_chain_is_put_in_order_and_what_is_not_of_it_left_out() {
    let family = Family::new();
    let (leaf, intermediate, root) = (family.leaf.pem(), family.intermediate.pem(), family.root.pem());
    let key = key_pem(&family.leaf.key);
    let stranger = Recipe::issuer("Intermediate").self_signed().pem();
    let good = leaf.clone() + &intermediate;
    for (sent, kept, warnings) in [
        (leaf.clone(), leaf.clone(), vec![Warning::ChainIncomplete]),
        (good.clone(), good.clone(), vec![]),
        (good.clone() + &root, good.clone() + &root, vec![]),
        (good.clone() + &good, good.clone(), vec![]),
        (root.clone() + &intermediate + &leaf, good.clone() + &root, vec![Warning::ChainReordered]),
        (good.clone() + &stranger, good.clone(), vec![Warning::ChainHasOthers]),
        (stranger + &good, good.clone(), vec![Warning::ChainReordered, Warning::ChainHasOthers]),
        (leaf.clone() + &root, leaf.clone(), vec![Warning::ChainIncomplete, Warning::ChainHasOthers]),
    ] {
        let upload = read(&sent, Some(&key), None).unwrap();
        assert_eq!((upload.chain.full_pem(), upload.warnings), (kept, warnings));
    }
    let apart = PemUpload { certificate: &leaf, chain: Some(&(root + &intermediate)), private_key: Some(&key), passphrase: None };
    assert_eq!(read_pem(&apart, now()).unwrap().chain.certificate_count(), 3);
}

#[test]
fn what_works_but_may_not_be_wanted_is_a_warning() {
    let of = |recipe: &Recipe<'_>| {
        let family = Family::with_leaf(recipe);
        read(&family.pem(), Some(&key_pem(&family.leaf.key)), None).unwrap()
    };
    let server = Recipe::server(&Family::NAMES);
    assert_eq!(of(&Recipe { not_after: now() - days(1), not_before: now() - days(9), ..server.clone() }).warnings, [Warning::Expired]);
    assert_eq!(of(&Recipe { not_before: now() + days(1), ..server.clone() }).warnings, [Warning::NotYetValid]);
    assert_eq!(of(&Recipe { names: &[], ..server.clone() }).warnings, [Warning::CommonNameOnly]);
    assert_eq!(of(&server).chain.details().unwrap().side, Side::Server);
    assert_eq!(of(&Recipe { role: Role::Client, ..server.clone() }).chain.details().unwrap().side, Side::Client);
    let family = Family::with(&Recipe { not_after: now() - days(1), ..Recipe::issuer("Intermediate") }, &server);
    assert_eq!(read(&family.pem(), Some(&key_pem(&family.leaf.key)), None).unwrap().warnings, [Warning::IssuerExpired]);
}

#[test]
fn what_is_mangled_is_refused_by_its_own_name() {
    let family = Family::new();
    let (pem, key) = (family.pem(), key_pem(&family.leaf.key));
    let other = key_pem(&new_key());
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let malformed = |part, line, reason| UploadError::PemMalformed { part, line, reason };
    for (certificate, private_key, expected) in [
        (String::new(), Some(key.clone()), UploadError::CertificateMissing(Part::Certificate)),
        ("hello".to_owned(), Some(key.clone()), UploadError::CertificateMissing(Part::Certificate)),
        (pem.clone(), None, UploadError::KeyMissing(Part::Certificate)),
        (pem.clone(), Some(String::new()), UploadError::KeyMissing(Part::PrivateKey)),
        (pem.clone(), Some(other.clone()), UploadError::KeyMismatch),
        (pem.clone(), Some(key.clone() + &other), UploadError::SeveralKeys),
        (pem.clone() + &other, Some(key.clone()), UploadError::SeveralKeys),
        (pem.clone(), Some(key.repeat(9)), UploadError::SeveralKeys),
        (
            pem[..pem.len() - 40].to_owned(),
            Some(key.clone()),
            malformed(Part::Certificate, pem[..family.leaf.pem().len()].lines().count() + 1, "this block has no end"),
        ),
        (pem.replacen("MII", "M", 1), Some(key.clone()), malformed(Part::Certificate, 1, "this block is not in base64")),
        (format!("{begin}{begin}"), Some(key.clone()), malformed(Part::Certificate, 2, "a block begins inside another")),
        (
            pem.replacen("END CERTIFICATE", "END X", 1),
            Some(key.clone()),
            malformed(Part::Certificate, family.leaf.pem().lines().count(), "a block ends with another name than it begins with"),
        ),
        (
            format!("{begin}AAAA\n-----END CERTIFICATE-----"),
            Some(key.clone()),
            malformed(Part::Certificate, 1, "this is no X.509 certificate"),
        ),
        (pem.replacen('\n', "\0\n", 1), Some(key.clone()), malformed(Part::Certificate, 1, "there is a control character")),
        (pem.replacen('\n', "\u{b}\n", 1), Some(key.clone()), malformed(Part::Certificate, 1, "there is a control character")),
        (
            pem.replacen('\n', "\nAA-----BEGIN X-----\n", 1),
            Some(key.clone()),
            malformed(Part::Certificate, 2, "there are dashes inside a block"),
        ),
        (
            pem.clone(),
            Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".to_owned()),
            UploadError::KeyMalformed(Part::PrivateKey),
        ),
        (
            pem.clone(),
            Some("-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----".to_owned()),
            UploadError::KeyUnsupported(Part::PrivateKey),
        ),
    ] {
        assert_eq!(refused(&certificate, private_key.as_deref(), None), expected);
    }
    // Swapped texts are no fault: what each block is, it says itself.
    assert!(read(&key, Some(&pem), None).is_ok());
    for passphrase in ["a\0b".to_owned(), "x".repeat(MAX_PASSPHRASE_BYTES + 1)] {
        assert_eq!(refused(&pem, Some(&key), Some(&passphrase)), UploadError::PassphraseInvalid);
    }
}

#[test]
fn keys_that_are_not_taken_are_refused() {
    let ec = |curve| PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap();
    for key in [PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap(), ec(Nid::SECP521R1), PKey::generate_ed25519().unwrap()] {
        let certificate = Recipe::server(&Family::NAMES).self_signed().pem();
        assert_eq!(refused(&certificate, Some(&key_pem(&key)), None), UploadError::KeyUnsupported(Part::PrivateKey));
    }
}

#[test]
fn an_rsa_key_with_a_number_that_is_too_long_is_malformed() {
    let good = Rsa::generate(2048).unwrap();
    let certificate = text(Recipe::server(&Family::NAMES).sign(&PKey::from_rsa(good.clone()).unwrap(), None).to_pem().unwrap());
    let numbers = [
        good.n(),
        good.e(),
        good.d(),
        good.p().unwrap(),
        good.q().unwrap(),
        good.dmp1().unwrap(),
        good.dmq1().unwrap(),
        good.iqmp().unwrap(),
    ];
    // With the number at `longer` made so much longer.
    let key = |longer: usize, bits: i32| {
        let mut numbers = numbers.map(|number| number.to_owned().unwrap());
        let mut long = BigNum::new().unwrap();
        long.lshift(&numbers[longer], bits).unwrap();
        numbers[longer] = long;
        let [modulus, public, private, first, second, first_exponent, second_exponent, coefficient] = numbers;
        PKey::from_rsa(
            Rsa::from_private_components(modulus, public, private, first, second, first_exponent, second_exponent, coefficient).unwrap(),
        )
        .unwrap()
    };
    assert!(read(&certificate, Some(&key_pem(&key(1, 0))), None).is_ok());
    for longer in 1..numbers.len() {
        for bits in [64, 4096] {
            let key = key(longer, bits);
            for form in [key_pem(&key), text(key.rsa().unwrap().private_key_to_pem().unwrap())] {
                let refused = refused(&certificate, Some(&form), None);
                assert_eq!(refused, UploadError::KeyMalformed(Part::PrivateKey), "number {longer}, {bits} bits longer");
            }
        }
    }
}

#[test]
fn a_block_that_hides_in_a_key_is_not_opened() {
    let family = Family::new();
    let (leaf, key) = (family.leaf.pem(), key_pem(&family.leaf.key));
    let pass = format!("pass:{PASSPHRASE}");
    let hidden = openssl(&["pkcs8", "-topk8", "-passout", &pass, "-iter", "1000001"], key.as_bytes()).unwrap();
    for kind in ["RSA", "EC"] {
        for end in ["\u{1}", "\u{b}", "\u{7f}", ""] {
            let hidden = hidden.trim_end().replace("-----\n", &format!("-----{end}\n")) + end;
            let sent = format!("-----BEGIN {kind} PRIVATE KEY-----\nAAAA\n{hidden}\n-----END {kind} PRIVATE KEY-----\n");
            let refused = refused(&leaf, Some(&sent), Some(PASSPHRASE));
            assert_eq!(refused.code(), "pem_malformed", "{kind} {end:?}");
        }
        // openssl cuts lines at 254 bytes.
        let padded = format!("DEK-Info: x\n\n{}{}", "A".repeat(254), hidden.lines().next().unwrap());
        let sent = format!("-----BEGIN {kind} PRIVATE KEY-----\n{padded}\n-----END {kind} PRIVATE KEY-----\n");
        assert_eq!(refused(&leaf, Some(&sent), Some(PASSPHRASE)).code(), "pem_malformed", "{kind}");
    }
}

#[test]
fn too_much_is_refused_before_any_of_it_is_looked_at() {
    let family = Family::new();
    let (leaf, key) = (family.leaf.pem(), key_pem(&family.leaf.key));
    let long = "x".repeat(MAX_PEM_BYTES + 1);
    assert_eq!(refused(&long, Some(&key), None), UploadError::TooLarge(Part::Certificate));
    assert_eq!(refused(&leaf, Some(&long), None), UploadError::TooLarge(Part::PrivateKey));
    let tiny = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".repeat(4_000);
    assert_eq!(refused(&tiny, Some(&key), None), UploadError::TooManyCertificates);
    assert_eq!(read_pfx(&vec![0; MAX_PFX_BYTES + 1], "", now()).err(), Some(UploadError::TooLarge(Part::Pfx)));
    let pass = format!("pass:{PASSPHRASE}");
    let slow = openssl(&["pkcs8", "-topk8", "-passout", &pass, "-iter", "1000001"], key.as_bytes()).unwrap();
    assert_eq!(refused(&leaf, Some(&slow), Some(PASSPHRASE)), UploadError::TooManyRounds);
    // SHA-1 gives 20 bytes at a time, and the key of AES-256 has 32.
    let twice = openssl(&["pkcs8", "-topk8", "-passout", &pass, "-v2prf", "hmacWithSHA1", "-iter", "500001"], key.as_bytes()).unwrap();
    assert_eq!(refused(&leaf, Some(&twice), Some(PASSPHRASE)), UploadError::TooManyRounds);
    let scrypt = openssl(&["pkcs8", "-topk8", "-passout", &pass, "-scrypt"], key.as_bytes()).unwrap();
    assert_eq!(refused(&leaf, Some(&scrypt), Some(PASSPHRASE)), UploadError::EncryptionUnsupported);
}

#[test]
fn a_pkcs12_file_is_opened_by_its_passphrase() {
    let family = Family::new();
    let key = PrivateKey::from_pkcs8_der(&family.leaf.key.private_key_to_pkcs8().unwrap()).unwrap();
    let chain = CertificateChain::parse_pem(&family.pem()).unwrap();
    for encryption in Encryption::ALL {
        let file = PfxFile::make(&chain, &key, "app", PASSPHRASE, encryption).unwrap();
        let upload = read_pfx(file.der(), PASSPHRASE, now()).unwrap_or_else(|error| panic!("{encryption:?}: {error}"));
        assert_eq!(upload.chain.full_pem(), chain.full_pem(), "{encryption:?}");
        assert_eq!(upload.key.public_key_sha256(), key.public_key_sha256());
        assert_eq!(upload.warnings, []);
        for wrong in ["", "wrong", "correct hors\u{e9}"] {
            assert_eq!(read_pfx(file.der(), wrong, now()).err(), Some(UploadError::PassphraseWrong), "{encryption:?} {wrong}");
        }
        let der = file.der();
        for length in 0..der.len() {
            assert!(read_pfx(&der[..length], PASSPHRASE, now()).is_err(), "{length} bytes of {}", der.len());
        }
    }
    assert_eq!(read_pfx(b"hello", "", now()).err(), Some(UploadError::PfxMalformed));
}

#[test]
fn names_with_control_characters_are_refused() {
    for (names, common_name) in [
        (&["www.shop.test"][..], "www\u{0}shop"),
        (&["www.shop.test"], "www\nshop"),
        (&["www.shop.test", "a\u{1}b.shop.test"], "www.shop.test"),
    ] {
        let leaf = Recipe { common_name, ..Recipe::server(names) }.self_signed();
        let error = refused(&leaf.pem(), Some(&key_pem(&leaf.key)), None);
        assert_eq!(error.code(), "certificate_unreadable", "{common_name:?}");
    }
}
