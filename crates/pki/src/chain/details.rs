//! What a leaf says beside its names and its validity (requirements S2.1), read from its X.509.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::Id;
use openssl::x509::{X509, X509Ref, X509VerifyResult};
use serde::{Deserialize, Serialize};

use super::CertificateChain;
use crate::PkiError;
use crate::der::{Elements, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, context, context_primitive};

/// Whom a certificate is for, by its extended key usage (RFC 5280 §4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// TLS servers, and whatever is not said to be for clients alone.
    Server,
    /// TLS clients, and not servers.
    Client,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Server, Self::Client];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// What a leaf says beside its names and its validity. Lists read it as it was stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// SHA-1 of the leaf in DER, in lower-case hex: what many programs call the thumbprint.
    pub sha1_fingerprint_hex: String,
    /// `rsa`, `ec`, or as openssl names it.
    pub key_type: String,
    /// Size of the key in bits.
    pub key_bits: u32,
    /// As openssl names it: `sha256WithRSAEncryption`.
    pub signature_algorithm: String,
    /// Where lists of revoked certificates are (RFC 5280 §4.2.1.13).
    pub crl_urls: Vec<String>,
    /// Where OCSP is answered (RFC 5280 §4.2.2.1).
    pub ocsp_urls: Vec<String>,
    /// Where the issuer's certificate is (RFC 5280 §4.2.2.1).
    pub ca_issuer_urls: Vec<String>,
    /// Whether servers must staple an OCSP answer (RFC 7633).
    pub must_staple: bool,
    /// Whom it is for.
    pub side: Side,
    /// How many signed certificate timestamps are in it (RFC 6962 §3.3).
    pub sct_count: usize,
    /// Whether it is signed by its own key.
    pub is_self_signed: bool,
}

impl CertificateChain {
    /// What the leaf says beside its names and its validity. A part that is malformed counts as absent.
    pub fn details(&self) -> Result<Details, PkiError> {
        let leaf = &self.certificates[0];
        let key = leaf.public_key().map_err(|_| PkiError::LeafUnreadable { what: "public key" })?;
        let digest = leaf.digest(MessageDigest::sha1()).map_err(PkiError::openssl("hash a certificate"))?;
        let der = leaf.to_der().map_err(PkiError::openssl("encode a certificate"))?;
        let extension = |oid: &[u8]| extension(&der, oid);
        let access = |nid| access_urls(leaf, nid);
        Ok(Details {
            sha1_fingerprint_hex: hex::encode(digest),
            key_type: match key.id() {
                Id::RSA => "rsa".to_owned(),
                Id::EC => "ec".to_owned(),
                other => Nid::from_raw(other.as_raw()).short_name().unwrap_or("unknown").to_ascii_lowercase(),
            },
            key_bits: key.bits(),
            signature_algorithm: signature_algorithm(leaf),
            crl_urls: extension(CRL_DISTRIBUTION_POINTS).map(crl_urls).unwrap_or_default(),
            ocsp_urls: access(Nid::AD_OCSP),
            ca_issuer_urls: access(Nid::AD_CA_ISSUERS),
            must_staple: extension(TLS_FEATURE).is_some_and(must_staple),
            side: extension(EXTENDED_KEY_USAGE).map_or(Side::Server, side),
            sct_count: extension(EMBEDDED_SCTS).and_then(count_scts).unwrap_or(0),
            is_self_signed: is_self_signed(leaf),
        })
    }

    /// The common name of the leaf's subject, the last where there are several.
    pub fn common_name(&self) -> Option<String> {
        let name = self.certificates[0].subject_name().entries_by_nid(Nid::COMMONNAME).last()?;
        name.data().to_string().ok().map(|text| String::clone(&text))
    }
}

pub(crate) fn signature_algorithm(certificate: &X509Ref) -> String {
    certificate.signature_algorithm().object().to_string()
}

/// Whether a certificate names another as its issuer, may be issued by it, and is signed by its key.
pub(crate) fn issued(issuer: &X509Ref, certificate: &X509Ref) -> bool {
    issuer.issued(certificate) == X509VerifyResult::OK && is_signed_by(certificate, issuer)
}

/// Whether a certificate names itself as its issuer, and is signed by its own key. It need not be one that may issue others.
pub(crate) fn is_self_signed(certificate: &X509Ref) -> bool {
    let is_self_issued = certificate.subject_name().try_cmp(certificate.issuer_name()).is_ok_and(std::cmp::Ordering::is_eq);
    is_self_issued && is_signed_by(certificate, certificate)
}

/// What does not fit leaves its reason in openssl's queue of this thread, where a later failure would report it as its own.
fn is_signed_by(certificate: &X509Ref, issuer: &X509Ref) -> bool {
    let signed = issuer.public_key().and_then(|key| certificate.verify(&key)).unwrap_or(false);
    drop(ErrorStack::get());
    signed
}

/// `id-ce-cRLDistributionPoints`.
const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];

/// `id-ce-extKeyUsage`.
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];

/// `id-kp-serverAuth`, `id-kp-clientAuth` and `anyExtendedKeyUsage`.
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0];

/// `id-pe-tlsfeature` (RFC 7633 §4).
const TLS_FEATURE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 0x18];

/// 1.3.6.1.4.1.11129.2.4.2 (RFC 6962 §3.3).
const EMBEDDED_SCTS: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];

/// `status_request` among the extensions of TLS.
const STATUS_REQUEST: u64 = 5;

/// The value of an extension (RFC 5280 §4.1).
fn extension<'a>(certificate: &'a [u8], oid: &[u8]) -> Option<&'a [u8]> {
    let tbs = Elements::new(certificate).enter(SEQUENCE)?.enter(SEQUENCE)?;
    let extensions = tbs.into_iter().find(|element| element.tag == context(3))?.content;
    Elements::new(extensions).enter(SEQUENCE)?.filter(|element| element.tag == SEQUENCE).find_map(|element| {
        let mut parts = Elements::new(element.content);
        (parts.value(OBJECT_IDENTIFIER)? == oid).then(|| parts.find(|part| part.tag == OCTET_STRING))?.map(|value| value.content)
    })
}

/// The addresses among the full names of distribution points.
fn crl_urls(value: &[u8]) -> Vec<String> {
    let Some(points) = Elements::new(value).enter(SEQUENCE) else { return Vec::new() };
    let names = points.filter_map(|point| Elements::new(point.content).enter(context(0))?.enter(context(0)));
    let addresses = names.flatten().filter(|name| name.tag == context_primitive(6));
    addresses.filter_map(|name| String::from_utf8(name.content.to_vec()).ok()).collect()
}

fn must_staple(value: &[u8]) -> bool {
    let Some(mut features) = Elements::new(value).enter(SEQUENCE) else { return false };
    while let Some(feature) = features.number() {
        if feature == STATUS_REQUEST {
            return true;
        }
    }
    false
}

fn side(value: &[u8]) -> Side {
    let usages: Vec<&[u8]> = Elements::new(value).enter(SEQUENCE).into_iter().flatten().map(|usage| usage.content).collect();
    let has = |usage: &[u8]| usages.contains(&usage);
    if has(CLIENT_AUTH) && !has(SERVER_AUTH) && !has(ANY_USAGE) { Side::Client } else { Side::Server }
}

/// A list in TLS' own encoding, in an OCTET STRING: its length in two bytes, then each element behind its length in two bytes.
fn count_scts(value: &[u8]) -> Option<usize> {
    let list = Elements::new(value).value(OCTET_STRING)?;
    let (_, mut rest) = list.split_at_checked(2)?;
    let mut count = 0;
    while let Some((length, behind)) = rest.split_at_checked(2) {
        (_, rest) = behind.split_at_checked(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
        count += 1;
    }
    Some(count)
}

fn access_urls(certificate: &X509, method: Nid) -> Vec<String> {
    let Some(descriptions) = certificate.authority_info() else { return Vec::new() };
    let of_method = descriptions.iter().filter(|description| description.method().nid() == method);
    of_method.filter_map(|description| description.location().uri().map(str::to_owned)).collect()
}
