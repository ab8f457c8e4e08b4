//! What is read out of a leaf, once, so that reading it later cannot fail.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::bn::BigNumRef;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::{X509NameEntryRef, X509NameRef, X509Ref};
use zonecert_domain::key::KeyAlgorithm;

use crate::PkiError;
use crate::alternative_names::AlternativeNames;
use crate::key::{algorithm_of, public_key_sha256};

#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) serial_hex: String,
    pub(super) not_before: DateTime<Utc>,
    pub(super) not_after: DateTime<Utc>,
    pub(super) names: AlternativeNames,
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) sha256_fingerprint_hex: String,
    pub(super) public_key_sha256: [u8; 32],
    pub(super) key_algorithm: Option<KeyAlgorithm>,
    pub(super) renewal_info_identifier: Option<String>,
}

impl Leaf {
    pub(super) fn read(certificate: &X509Ref) -> Result<Self, PkiError> {
        let unreadable = |what| PkiError::LeafUnreadable { what };
        let serial = certificate.serial_number().to_bn().map_err(|_| unreadable("serial number"))?;
        let key = certificate.public_key().map_err(|_| unreadable("public key"))?;
        let fingerprint = certificate.digest(MessageDigest::sha256()).map_err(PkiError::openssl("hash a certificate"))?;
        Ok(Self {
            serial_hex: hex::encode(magnitude(&serial)),
            not_before: to_utc(certificate.not_before()).ok_or(unreadable("first moment of validity"))?,
            not_after: to_utc(certificate.not_after()).ok_or(unreadable("last moment of validity"))?,
            names: certificate.subject_alt_names().map(|names| AlternativeNames::read(&names)).unwrap_or_default(),
            issuer: name_text(certificate.issuer_name()),
            subject: name_text(certificate.subject_name()),
            sha256_fingerprint_hex: hex::encode(fingerprint),
            public_key_sha256: public_key_sha256(&key)?,
            key_algorithm: algorithm_of(&key).ok(),
            renewal_info_identifier: certificate.authority_key_id().map(|authority| renewal_info_identifier(authority.as_slice(), &serial)),
        })
    }
}

/// Big-endian bytes of a number; one zero byte for zero.
fn magnitude(number: &BigNumRef) -> Vec<u8> {
    let bytes = number.to_vec();
    if bytes.is_empty() { vec![0] } else { bytes }
}

/// The moment of an ASN.1 time; `None` if it is malformed.
pub(crate) fn to_utc(time: &Asn1TimeRef) -> Option<DateTime<Utc>> {
    let since_epoch = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    DateTime::from_timestamp(i64::from(since_epoch.days) * 86_400 + i64::from(since_epoch.secs), 0)
}

/// base64url of the authority key identifier, a dot, base64url of the serial number as DER writes it: with a zero byte in front
/// where the first bit is set (RFC 9773 §4.1).
fn renewal_info_identifier(authority_key_identifier: &[u8], serial: &BigNumRef) -> String {
    let mut serial = magnitude(serial);
    if serial[0] >= 0x80 {
        serial.insert(0, 0);
    }
    format!("{}.{}", URL_SAFE_NO_PAD.encode(authority_key_identifier), URL_SAFE_NO_PAD.encode(serial))
}

/// A distinguished name in the manner of RFC 4514: the most specific part first, special characters escaped. Parts that stand in one
/// set are separated like all others.
fn name_text(name: &X509NameRef) -> String {
    let mut parts: Vec<String> = name.entries().map(entry_text).collect();
    parts.reverse();
    parts.join(",")
}

fn entry_text(entry: &X509NameEntryRef) -> String {
    let kind = match entry.object().nid() {
        Nid::UNDEF => entry.object().to_string(),
        nid => nid.short_name().map_or_else(|_| entry.object().to_string(), str::to_owned),
    };
    match entry.data().to_string() {
        Ok(value) => format!("{kind}={}", escape(&value)),
        Err(_) => format!("{kind}=#{}", hex::encode(entry.data().as_slice())),
    }
}

/// Escapes as RFC 4514 §2.4 asks, and every control character besides, so that a name stays on its line in a log.
fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (index, character) in value.chars().enumerate() {
        let at_an_end = index == 0 || index == last;
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', character]),
            '#' if index == 0 => escaped.push_str("\\#"),
            ' ' if at_an_end => escaped.push_str("\\ "),
            _ if character.is_control() => {
                let mut utf8 = [0; 4];
                for byte in character.encode_utf8(&mut utf8).as_bytes() {
                    escaped.push('\\');
                    escaped.push_str(&hex::encode_upper([*byte]));
                }
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use openssl::bn::BigNum;

    use super::*;

    #[test]
    fn the_renewal_info_identifier_is_the_one_of_the_rfcs_example() {
        let authority = hex::decode("69885b6b87464041e1b37b847ba0ae2cde01c8d4").unwrap();
        let serial = BigNum::from_hex_str("87654321").unwrap();
        assert_eq!(renewal_info_identifier(&authority, &serial), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }

    #[test]
    fn special_characters_of_names_are_escaped() {
        assert_eq!(escape("Let's Encrypt"), "Let's Encrypt");
        assert_eq!(escape(" a, b+c=d "), "\\ a\\, b\\+c=d\\ ");
        assert_eq!(escape("#1 \"x\"\\;<>"), "\\#1 \\\"x\\\"\\\\\\;\\<\\>");
        assert_eq!(escape("a\nb\0"), "a\\0Ab\\00");
        assert_eq!(escape(" "), "\\ ");
        assert_eq!(escape(""), "");
    }

    #[test]
    fn a_serial_number_of_zero_has_digits() {
        let zero = BigNum::from_u32(0).unwrap();
        assert_eq!(magnitude(&zero), [0]);
        assert_eq!(renewal_info_identifier(&[1], &zero), "AQ.AA");
    }
}
