//! Certificate requests.

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::stack::Stack;
use openssl::x509::X509ReqBuilder;
use openssl::x509::extension::SubjectAlternativeName;
use proptest::prelude::*;
use zonecert_domain::csr_subject::CsrSubject;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::csr::read_certificate_request;
use zonecert_pki::{PkiError, PrivateKey};

use crate::key::ecdsa;
use crate::openssl_command::openssl;

/// Without more in the subject than a common name.
fn certificate_request(key: &PrivateKey, names: &[impl AsRef<str>]) -> Result<Vec<u8>, PkiError> {
    zonecert_pki::csr::certificate_request(key, names, &CsrSubject::default())
}

fn described(der: &[u8]) -> String {
    openssl(&["req", "-inform", "DER", "-verify", "-noout", "-text", "-nameopt", "RFC2253"], der).unwrap()
}

#[test]
fn a_request_of_every_kind_of_key_is_read_back_and_verified_by_openssl() {
    let names = ["app.example.test", "*.example.test", "example.test", "xn--bcher-kva.example.test"];
    // Larger RSA keys take another path nowhere here and seconds to make.
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let der = certificate_request(&key, &names).unwrap();
        let contents = read_certificate_request(&der).unwrap();
        assert_eq!(contents.names, names);
        assert_eq!(contents.public_key_sha256, key.public_key_sha256());
        assert_eq!(contents.key_algorithm, Some(algorithm));

        let text = described(&der);
        assert!(text.contains("verify OK"), "{text}");
        assert!(text.contains("DNS:app.example.test, DNS:*.example.test, DNS:example.test, DNS:xn--bcher-kva.example.test"), "{text}");
        assert!(text.contains("Subject: CN=app.example.test\n"), "{text}");
        assert!(text.to_lowercase().contains("sha256"), "{text}");
    }
}

#[test]
fn the_common_name_is_the_first_name_that_fits() {
    let long = format!("{}.example.test", "a".repeat(52));
    let longest = format!("{}.example.test", "a".repeat(51));
    assert_eq!((long.len(), longest.len()), (65, 64));
    let key = ecdsa();
    let text = described(&certificate_request(&key, &[long.as_str(), "short.example.test"]).unwrap());
    assert!(text.contains("Subject: CN=short.example.test\n"), "{text}");
    let text = described(&certificate_request(&key, &[longest.as_str()]).unwrap());
    assert!(text.contains(&format!("Subject: CN={longest}\n")), "{text}");
}

#[test]
fn the_subject_is_empty_when_no_name_fits() {
    let label = "a".repeat(63);
    let longest = format!("*.{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 255);
    let der = certificate_request(&ecdsa(), std::slice::from_ref(&longest)).unwrap();
    let text = described(&der);
    assert!(text.contains("Subject: \n") && text.contains("verify OK"), "{text}");
    assert_eq!(read_certificate_request(&der).unwrap().names, [longest]);
}

#[test]
fn the_fields_of_the_subject_come_in_order_before_the_common_name() {
    let field = |text: &str| Some(text.to_owned());
    let all = CsrSubject {
        country: field("CH"),
        state: field("Zürich"),
        locality: field(&"ü".repeat(128)),
        organization: field(&"株".repeat(64)),
        organizational_unit: field("Web + Mail"),
    };
    let der = zonecert_pki::csr::certificate_request(&ecdsa(), &["app.example.test"], &all).unwrap();
    let subject =
        openssl(&["req", "-inform", "DER", "-verify", "-noout", "-subject", "-nameopt", "utf8,show_type,sname,sep_multiline"], &der);
    let lines: Vec<String> =
        subject.unwrap().lines().filter(|line| line.contains('=')).skip(1).map(|line| line.trim().to_owned()).collect();
    let expected = [
        "C=PRINTABLESTRING:CH".to_owned(),
        "ST=UTF8STRING:Zürich".to_owned(),
        format!("L=UTF8STRING:{}", "ü".repeat(128)),
        format!("O=UTF8STRING:{}", "株".repeat(64)),
        "OU=UTF8STRING:Web + Mail".to_owned(),
        "CN=UTF8STRING:app.example.test".to_owned(),
    ];
    assert_eq!(lines, expected);
    assert_eq!(read_certificate_request(&der).unwrap().names, ["app.example.test"]);

    // Some of them, and a name that is too long to be a common name.
    let some = CsrSubject { organization: field("Example AG"), country: field("DE"), ..CsrSubject::default() };
    let long = format!("{}.example.test", "a".repeat(52));
    let text = described(&zonecert_pki::csr::certificate_request(&ecdsa(), &[long], &some).unwrap());
    assert!(text.contains("Subject: O=Example AG,C=DE\n"), "{text}");
}

#[test]
fn a_hundred_names_fit_into_one_request() {
    let names: Vec<String> = (0..100).map(|number| format!("n{number}.example.test")).collect();
    let der = certificate_request(&ecdsa(), &names).unwrap();
    assert_eq!(read_certificate_request(&der).unwrap().names, names);
}

#[test]
fn names_that_mean_something_else_in_a_certificate_are_refused_with_their_position() {
    let key = ecdsa();
    assert!(matches!(certificate_request(&key, &[] as &[&str]), Err(PkiError::NoNames)));
    let too_long = "a".repeat(256);
    for bad in ["", "a b", "a,DNS:evil.test", "b\u{fc}cher.test", "nul\0.test", "a/b", "a:b", too_long.as_str()] {
        let refused = certificate_request(&key, &["good.test", bad]).unwrap_err();
        assert!(matches!(refused, PkiError::InvalidName { position: 2 }), "{bad:?}: {refused}");
    }
}

/// A request that our own code would not make.
fn foreign_request(names: Option<&SubjectAlternativeName>, signed_by_another: bool) -> Vec<u8> {
    let key = crate::authority::new_key();
    let mut request = X509ReqBuilder::new().unwrap();
    request.set_pubkey(&key).unwrap();
    if let Some(names) = names {
        let mut extensions = Stack::new().unwrap();
        extensions.push(names.build(&request.x509v3_context(None)).unwrap()).unwrap();
        request.add_extensions(&extensions).unwrap();
    }
    let signer = if signed_by_another { crate::authority::new_key() } else { key };
    request.sign(&signer, MessageDigest::sha256()).unwrap();
    request.build().to_der().unwrap()
}

fn refusal(der: &[u8]) -> &'static str {
    match read_certificate_request(der) {
        Err(PkiError::InvalidRequest { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_that_we_would_not_make_are_refused() {
    let mut names = SubjectAlternativeName::new();
    names.dns("app.example.test");
    assert!(read_certificate_request(&foreign_request(Some(&names), false)).is_ok());
    assert_eq!(refusal(&foreign_request(Some(&names), true)), "the signature does not fit");
    assert_eq!(refusal(&foreign_request(None, false)), "it does not ask for DNS names and nothing else");
    names.ip("192.0.2.1");
    assert_eq!(refusal(&foreign_request(Some(&names), false)), "it does not ask for DNS names and nothing else");
    assert_eq!(refusal(b""), "no PKCS#10 in DER");
    assert_eq!(refusal(b"-----BEGIN CERTIFICATE REQUEST-----"), "no PKCS#10 in DER");

    let mut longer = certificate_request(&ecdsa(), &["a.test"]).unwrap();
    longer.push(0);
    assert_eq!(refusal(&longer), "bytes follow the request");
}

#[test]
fn a_stored_request_is_told_from_the_one_of_another_key() {
    let (first, second) = (ecdsa(), ecdsa());
    let contents = read_certificate_request(&certificate_request(&first, &["a.test"]).unwrap()).unwrap();
    assert_eq!(contents.public_key_sha256, first.public_key_sha256());
    assert_ne!(contents.public_key_sha256, second.public_key_sha256());
}

#[test]
fn a_request_holds_nothing_of_the_private_key() {
    let key = ecdsa();
    let der = certificate_request(&key, &["a.test"]).unwrap();
    let pkcs8 = key.to_pkcs8_der().unwrap();
    let private_number = PKey::private_key_from_pkcs8(&pkcs8).unwrap().ec_key().unwrap().private_key().to_vec();
    assert!(!der.windows(16).any(|window| window == &private_number[..16]));
    assert!(PrivateKey::from_pkcs8_der(&der).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_request_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read_certificate_request(&bytes).is_err());
    }

    #[test]
    fn names_are_read_back_as_they_were_given(names in prop::collection::vec("[a-z0-9]{1,20}(\\.[a-z0-9]{1,20}){1,4}", 1..20)) {
        let der = certificate_request(&ecdsa(), &names).unwrap();
        prop_assert_eq!(read_certificate_request(&der).unwrap().names, names);
    }

    #[test]
    fn a_changed_request_is_never_taken_for_the_original(position in any::<prop::sample::Index>(), change in 1_u8..) {
        let der = certificate_request(&ecdsa(), &["a.example.test", "b.example.test"]).unwrap();
        let mut changed = der.clone();
        *position.get_mut(&mut changed) ^= change;
        prop_assert!(read_certificate_request(&changed).is_err());
    }
}
