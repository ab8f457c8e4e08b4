//! Certificate requests: PKCS#10 (RFC 2986), sent in the finalize request of an order (RFC 8555 §7.4).

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::stack::Stack;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name, X509Req, X509ReqBuilder, X509ReqRef};
use zonecert_domain::csr_subject::CsrSubject;
use zonecert_domain::key::KeyAlgorithm;

use crate::alternative_names::AlternativeNames;
use crate::key::{algorithm_of, public_key_sha256};
use crate::{PkiError, PrivateKey};

/// Upper bound of a common name in octets (RFC 5280 appendix A.1, `ub-common-name`).
const MAX_COMMON_NAME_BYTES: usize = 64;

/// Longest DNS name in text form, with room for a leading `*.`.
const MAX_NAME_BYTES: usize = 255;

/// Makes a certificate request in DER, signed with SHA-256. What `subject` says comes first in its subject, before the common name.
///
/// All `names` become subjectAltNames, in order; give them as A-labels. The common name is the first of them that has at most 64
/// octets, and there is none if none has. That is what every CA takes: the common name is redundant (the CA/Browser Forum
/// discourages it, and Let's Encrypt and Pebble look at the subjectAltNames), yet some CAs still refuse a request that could have
/// one and does not; all refuse one that is longer than 64 octets (RFC 5280) or that is not among the subjectAltNames.
pub fn certificate_request(key: &PrivateKey, names: &[impl AsRef<str>], subject: &CsrSubject) -> Result<Vec<u8>, PkiError> {
    if names.is_empty() {
        return Err(PkiError::NoNames);
    }
    if let Some(index) = names.iter().position(|name| !can_stand_in_a_certificate(name.as_ref())) {
        return Err(PkiError::InvalidName { position: index + 1 });
    }
    build(key, names, subject).map_err(PkiError::openssl("make a certificate request"))
}

fn build(key: &PrivateKey, names: &[impl AsRef<str>], subject: &CsrSubject) -> Result<Vec<u8>, ErrorStack> {
    let common_name = names.iter().map(AsRef::as_ref).find(|name| name.len() <= MAX_COMMON_NAME_BYTES);
    let attributes = [
        (Nid::COUNTRYNAME, subject.country.as_deref()),
        (Nid::STATEORPROVINCENAME, subject.state.as_deref()),
        (Nid::LOCALITYNAME, subject.locality.as_deref()),
        (Nid::ORGANIZATIONNAME, subject.organization.as_deref()),
        (Nid::ORGANIZATIONALUNITNAME, subject.organizational_unit.as_deref()),
        (Nid::COMMONNAME, common_name),
    ];
    let mut subject = X509Name::builder()?;
    for (attribute, value) in attributes {
        if let Some(value) = value {
            subject.append_entry_by_nid(attribute, value)?;
        }
    }
    let mut alternative_names = SubjectAlternativeName::new();
    for name in names {
        alternative_names.dns(name.as_ref());
    }
    let mut request = X509ReqBuilder::new()?;
    request.set_version(0)?;
    request.set_subject_name(&subject.build())?;
    request.set_pubkey(key.openssl())?;
    let mut extensions = Stack::new()?;
    extensions.push(alternative_names.build(&request.x509v3_context(None))?)?;
    request.add_extensions(&extensions)?;
    request.sign(key.openssl(), MessageDigest::sha256())?;
    request.build().to_der()
}

/// Whether a name can be written as an `IA5String` without meaning something else there. What a *good* name is, the domain decides.
fn can_stand_in_a_certificate(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*'))
}

/// What a stored certificate request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContents {
    /// The subjectAltNames in lower case, in order.
    pub names: Vec<String>,
    /// SHA-256 of the `SubjectPublicKeyInfo`: the same as [`PrivateKey::public_key_sha256`] of its key.
    pub public_key_sha256: [u8; 32],
    /// Algorithm and size of its key; `None` if it is none of those that are offered.
    pub key_algorithm: Option<KeyAlgorithm>,
}

/// Reads a request that [`certificate_request`] made, so that an order that is taken up again can prove that its stored request
/// belongs to its stored key. Fails if the bytes are no request, are not signed by the key inside, or ask for no names or for names
/// that are not DNS names.
pub fn read_certificate_request(der: &[u8]) -> Result<RequestContents, PkiError> {
    let invalid = |reason| PkiError::InvalidRequest { reason };
    let request = X509Req::from_der(der).map_err(|_| invalid("no PKCS#10 in DER"))?;
    if request.to_der().ok().as_deref() != Some(der) {
        return Err(invalid("bytes follow the request"));
    }
    let key = request.public_key().map_err(|_| invalid("the public key is of an unknown kind"))?;
    if !request.verify(&key).unwrap_or(false) {
        return Err(invalid("the signature does not fit"));
    }
    let names = alternative_names(&request).map_err(PkiError::openssl("read a certificate request"))?;
    if names.dns.is_empty() || names.has_others {
        return Err(invalid("it does not ask for DNS names and nothing else"));
    }
    Ok(RequestContents { names: names.dns, public_key_sha256: public_key_sha256(&key)?, key_algorithm: algorithm_of(&key).ok() })
}

/// The extension is read through an unsigned certificate that borrows it: the bindings decode subjectAltNames for certificates only.
fn alternative_names(request: &X509ReqRef) -> Result<AlternativeNames, ErrorStack> {
    // A request without extensions answers with an error here on some versions of openssl, with an empty list on others.
    let Ok(extensions) = request.extensions() else {
        return Ok(AlternativeNames::default());
    };
    let mut carrier = X509::builder()?;
    for extension in &extensions {
        carrier.append_extension2(extension)?;
    }
    Ok(carrier.build().subject_alt_names().map(|names| AlternativeNames::read(&names)).unwrap_or_default())
}
