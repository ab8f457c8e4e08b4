//! PEM as RFC 7468 defines it, in the strict form that RFC 8555 §9.1 asks for: certificates and no text between them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::x509::X509;

use super::{MAX_CERTIFICATES, MAX_PEM_BYTES};
use crate::PkiError;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Reads every certificate of `text`, in order.
pub(super) fn parse(text: &str) -> Result<Vec<X509>, PkiError> {
    if text.len() > MAX_PEM_BYTES {
        return Err(PkiError::ChainTooLong);
    }
    // Looked for before anything else, so that whoever pastes the wrong file is told so and not about its first odd line.
    if text.contains("PRIVATE KEY-----") {
        return Err(PkiError::ChainHasPrivateKey);
    }
    let mut certificates = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let malformed = |reason| PkiError::ChainMalformed { line: line_number, reason };
        match (line.trim(), &mut open) {
            ("", None) => {}
            (BEGIN, None) => open = Some((line_number, String::new())),
            (_, None) => return Err(malformed("text outside of a certificate")),
            (END, Some((begin, body))) => {
                if certificates.len() == MAX_CERTIFICATES {
                    return Err(PkiError::ChainTooLong);
                }
                certificates.push(decode(body).map_err(|reason| PkiError::ChainMalformed { line: *begin, reason })?);
                open = None;
            }
            (BEGIN, Some(_)) => return Err(malformed("a certificate begins inside another")),
            (base64, Some((_, body))) => body.push_str(base64),
        }
    }
    match open {
        Some((line, _)) => Err(PkiError::ChainMalformed { line, reason: "this certificate has no end" }),
        None => Ok(certificates),
    }
}

fn decode(base64: &str) -> Result<X509, &'static str> {
    from_der(&STANDARD.decode(base64).map_err(|_| "this certificate is not in base64")?)
}

/// A certificate of these bytes and no more.
pub(crate) fn from_der(der: &[u8]) -> Result<X509, &'static str> {
    let certificate = X509::from_der(der).map_err(|_| "this is no X.509 certificate")?;
    // openssl reads the certificate at the beginning and says nothing of bytes after it.
    if certificate.to_der().is_ok_and(|again| again == der) {
        Ok(certificate)
    } else {
        Err("this certificate is not in DER, or bytes follow it")
    }
}

/// Writes certificates one after the other, lines of 64 characters.
pub(super) fn write(certificates: &[X509]) -> Result<String, PkiError> {
    let mut text = String::new();
    for certificate in certificates {
        let pem = certificate.to_pem().map_err(PkiError::openssl("encode a certificate"))?;
        text.push_str(&String::from_utf8_lossy(&pem));
    }
    Ok(text)
}
