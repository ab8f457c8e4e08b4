//! Reading chains.

use chrono::DateTime;
use proptest::prelude::*;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::chain::{MAX_CERTIFICATES, MAX_PEM_BYTES};
use zonecert_pki::{CertificateChain, PkiError};

use crate::authority::{Family, Recipe, days, now};
use crate::openssl_command::openssl;

/// The example of RFC 9773, appendix A.
const RFC_9773_EXAMPLE: &str = "-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
";

/// The self-signed certificate of requirements S4.6: RSA-2048, SHA-1, no subjectAltName.
const SHA1_SELF_SIGNED: &str = "-----BEGIN CERTIFICATE-----
MIIDCTCCAfGgAwIBAgIJAPpMWHKMIGuAMA0GCSqGSIb3DQEBBQUAMBsxGTAXBgNV
BAMMEHd3dy5teWRvbWFpbi5jb20wHhcNMTgwMzI3MjAwOTA0WhcNMjgwMzI0MjAw
OTA0WjAbMRkwFwYDVQQDDBB3d3cubXlkb21haW4uY29tMIIBIjANBgkqhkiG9w0B
AQEFAAOCAQ8AMIIBCgKCAQEAt25cziDBsHbZzZhy9BPLApPf9OmE67k9pr7VezsR
kIw4trY2xtJXFB7itT1p7HxbLBoL5u8FGmMKssB+XTmztmgty43ogor1KSjUgfZg
rpAqyXtrbSM5g+14c0VO9S0LkkePlHvul0UiblJj7K+gkvc6sZqXZY+TI1BPqeuO
s9A4LLCUGziyNv0qJfIL5RZm07Yy35BEBTTxUWVL2msfaUH2uPM5XN5eFC7oKN0/
3NuYIboRmyk+P7CDC99M8Mp/wOjiB+yVGZVTjeqGPI8nFWJl2waXkc54VvW84xQP
jwtid1v1KENK/ixMAAXi2cQ9gNRX+/USoneuWj5n4QUj6QIDAQABo1AwTjAdBgNV
HQ4EFgQU2sDgtyYMDXvw79OhdvAFqcLmcwkwHwYDVR0jBBgwFoAU2sDgtyYMDXvw
79OhdvAFqcLmcwkwDAYDVR0TBAUwAwEB/zANBgkqhkiG9w0BAQUFAAOCAQEAKzCM
iG67IPwJK6MIJ31N734AofnjLf+fffxNtfYmH0XGORHPYUxCxsLxXiSFgPvubWh+
7vLsKAm67bflMWbnxohuiOR0O/LJhLvhj6F+wgv0aDXpu581Hm8Ob/88ldbF6ND1
TqzVATS0WDfl+z1QBKtNdDm3Nv45IZ83ob7OhIzD9MwL6tflBPDpWOYtmBDn0xSP
6ra9d8oa6jK1fe2/5A7LY41acjbbNrLbFDYP7hcx02TmCfSMut+ysaZ/blay4Sbb
wNlt92KhJw07UEKgXXbgyXGoFQkU8V+r2AZcgt0XM9jvwTc01Sbq/gegd2GMAj3x
rTwkn5UNzFs56FCgNg==
-----END CERTIFICATE-----
";

#[test]
fn a_leaf_is_read_as_openssl_reads_it() {
    let family = Family::with_leaf(&Recipe::server(&["App.Example.test", "www.example.test"]));
    let chain = CertificateChain::parse_pem(&family.pem()).unwrap();
    let asked = ["x509", "-noout", "-serial", "-fingerprint", "-sha256", "-subject", "-issuer", "-nameopt", "RFC2253"];
    let said = openssl(&asked, family.pem().as_bytes()).unwrap();

    assert!(said.contains(&format!("serial={}\n", chain.serial_hex().to_uppercase())), "{said}");
    assert!(said.contains(&format!("subject={}\n", chain.subject())), "{said}");
    assert!(said.contains(&format!("issuer={}\n", chain.issuer())), "{said}");
    let fingerprint = said.replace(':', "").to_lowercase();
    assert!(fingerprint.contains(&format!("fingerprint={}\n", chain.sha256_fingerprint_hex())), "{said}");

    assert_eq!(chain.subject(), "CN=App.Example.test,O=Test\\, Inc,C=DE");
    assert_eq!(chain.serial_hex(), "8a0badcafe");
    assert_eq!(chain.dns_names(), ["app.example.test", "www.example.test"]);
    assert_eq!(chain.not_before(), now() - days(1));
    assert_eq!(chain.not_after(), now() + days(89));
    assert_eq!(chain.public_key_sha256(), family.leaf.public_key_sha256());
    assert_eq!(chain.certificate_count(), 2);
}

#[test]
fn pem_is_written_the_same_however_it_came() {
    let family = Family::new();
    let (leaf, intermediate) = (family.leaf.pem(), family.intermediate.pem());
    let with_other_line_ends = format!("\r\n{}\r\n\r\n{}", leaf.replace('\n', "\r\n"), intermediate.trim_end());
    let in_one_line = |pem: &str| {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----")
    };
    let unwrapped = format!("{}\n{}", in_one_line(&leaf), in_one_line(&intermediate));
    for text in [family.pem(), with_other_line_ends, unwrapped] {
        let chain = CertificateChain::parse_pem(&text).unwrap();
        assert_eq!(chain.leaf_pem(), leaf);
        assert_eq!(chain.issuers_pem(), intermediate);
        assert_eq!(chain.full_pem(), family.pem());
    }
    let alone = CertificateChain::parse_pem(&leaf).unwrap();
    assert_eq!((alone.issuers_pem(), alone.full_pem()), ("", leaf));
}

#[test]
fn the_example_of_rfc_9773_has_its_renewal_info_identifier() {
    let chain = CertificateChain::parse_pem(RFC_9773_EXAMPLE).unwrap();
    assert_eq!(chain.renewal_info_identifier(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
    assert_eq!(chain.serial_hex(), "87654321");
    assert_eq!(chain.issuer(), "CN=Example CA");
    assert_eq!(chain.not_after(), "0001-01-01T00:00:00Z".parse::<DateTime<chrono::Utc>>().unwrap());
}

#[test]
fn a_leaf_without_authority_key_identifier_has_no_renewal_info_identifier() {
    let family = Family::with_leaf(&Recipe { key_identifiers: false, ..Recipe::server(&Family::NAMES) });
    assert_eq!(CertificateChain::parse_pem(&family.pem()).unwrap().renewal_info_identifier(), None);
}

#[test]
fn an_old_self_signed_certificate_is_read() {
    let chain = CertificateChain::parse_pem(SHA1_SELF_SIGNED).unwrap();
    assert_eq!(chain.subject(), "CN=www.mydomain.com");
    assert_eq!(chain.subject(), chain.issuer());
    assert!(chain.dns_names().is_empty());
    assert_eq!(chain.serial_hex(), "fa4c58728c206b80");
    assert_eq!(chain.key_algorithm(), Some(KeyAlgorithm::Rsa2048));
    assert_eq!(chain.not_after().to_rfc3339(), "2028-03-24T20:09:04+00:00");
}

#[test]
fn text_without_a_certificate_is_an_empty_chain() {
    for text in ["", "\n", " \r\n\t\n"] {
        assert!(matches!(CertificateChain::parse_pem(text), Err(PkiError::ChainEmpty)), "{text:?}");
    }
}

#[test]
fn a_private_key_in_a_chain_is_refused_wherever_it_stands_and_never_shown() {
    let family = Family::new();
    let secret = String::from_utf8(family.leaf.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let sec1 = String::from_utf8(family.leaf.key.ec_key().unwrap().private_key_to_pem().unwrap()).unwrap();
    for text in [
        format!("{}{secret}", family.pem()),
        format!("{secret}{}", family.pem()),
        format!("{}{sec1}{}", family.leaf.pem(), family.intermediate.pem()),
        secret.clone(),
    ] {
        let refused = CertificateChain::parse_pem(&text).unwrap_err();
        assert!(matches!(refused, PkiError::ChainHasPrivateKey), "{refused}");
        let body = secret.lines().nth(1).unwrap();
        assert!(!format!("{refused} {refused:?}").contains(body));
    }
}

#[test]
fn malformed_text_is_refused_with_the_line_where_it_went_wrong() {
    let leaf = Family::new().leaf.pem();
    let lines = leaf.lines().count();
    let begin = "-----BEGIN CERTIFICATE-----";
    let end = "-----END CERTIFICATE-----";
    let with_trailing_byte = {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::STANDARD;
        let body: String = leaf.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = engine.decode(body).unwrap();
        der.push(0);
        format!("{begin}\n{}\n{end}\n", engine.encode(der))
    };
    let cases = [
        ("hello".to_owned(), 1, "text outside of a certificate"),
        (format!("\n\nsubject=CN = x\n{leaf}"), 3, "text outside of a certificate"),
        (format!("{leaf}trailer"), lines + 1, "text outside of a certificate"),
        (leaf.replace(begin, "-----BEGIN X509 CRL-----"), 1, "text outside of a certificate"),
        (leaf.replace(end, ""), 1, "this certificate has no end"),
        (format!("{leaf}{begin}\n"), lines + 1, "this certificate has no end"),
        (leaf.replace(end, begin), lines, "a certificate begins inside another"),
        (format!("\n{begin}\nMIIB!!!!\n{end}"), 2, "this certificate is not in base64"),
        (format!("{begin}\naGVsbG8=\n{end}"), 1, "this is no X.509 certificate"),
        (format!("{begin}\n{end}"), 1, "this is no X.509 certificate"),
        (with_trailing_byte, 1, "this certificate is not in DER, or bytes follow it"),
    ];
    for (text, expected_line, expected_reason) in cases {
        match CertificateChain::parse_pem(&text) {
            Err(PkiError::ChainMalformed { line, reason }) => assert_eq!((line, reason), (expected_line, expected_reason)),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_chain_has_bounds() {
    let leaf = Family::new().leaf.pem();
    assert!(CertificateChain::parse_pem(&leaf.repeat(MAX_CERTIFICATES)).is_ok());
    let one_more = CertificateChain::parse_pem(&leaf.repeat(MAX_CERTIFICATES + 1)).unwrap_err();
    assert!(matches!(one_more, PkiError::ChainTooLong), "{one_more}");

    let filled = leaf.clone() + &"\n".repeat(MAX_PEM_BYTES - leaf.len());
    assert!(CertificateChain::parse_pem(&filled).is_ok());
    let too_long = CertificateChain::parse_pem(&(filled + "\n")).unwrap_err();
    assert!(matches!(too_long, PkiError::ChainTooLong), "{too_long}");
    assert!(too_long.to_string().contains("262144 bytes or 16 certificates"), "{too_long}");
}

#[test]
fn a_hundred_names_of_full_length_are_within_the_bounds() {
    let label = "a".repeat(60);
    let names: Vec<String> = (0..100).map(|number| format!("{number:03}{label}.{label}.{label}.{label}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let family = Family::with_leaf(&Recipe { common_name: "many", ..Recipe::server(&names) });
    let chain = CertificateChain::parse_pem(&family.pem()).unwrap();
    assert_eq!(chain.dns_names(), names);
    assert!(chain.full_pem().len() < MAX_PEM_BYTES / 4);
}

proptest! {
    #[test]
    fn arbitrary_text_is_no_chain_and_no_panic(text in any::<String>()) {
        prop_assert!(CertificateChain::parse_pem(&text).is_err());
    }

    #[test]
    fn arbitrary_bytes_in_a_certificates_place_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(bytes);
        let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        prop_assert!(CertificateChain::parse_pem(&text).is_err());
    }

    #[test]
    fn a_damaged_certificate_is_no_panic_and_never_passes_for_the_original(
        position in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        use base64::Engine as _;
        let family = Family::new();
        let mut der = family.leaf.certificate.to_der().unwrap();
        *position.get_mut(&mut der) ^= change;
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n{}", family.intermediate.pem());
        if let Ok(chain) = CertificateChain::parse_pem(&text) {
            prop_assert!(chain.check(family.leaf.public_key_sha256(), &Family::NAMES, now()).is_err());
        }
    }
}
