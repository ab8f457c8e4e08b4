//! What a version says beside its names and its validity (requirements S2.1): read from its X.509.

use serde::Serialize;
use utoipa::ToSchema;
use zonecert_pki::chain::Details;

use crate::openapi::values;

#[derive(Serialize, ToSchema)]
#[schema(as = X509Details)]
pub(super) struct DetailsView<'a> {
    /// Of the leaf, in hexadecimal digits: what many programs call the thumbprint.
    #[schema(example = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3")]
    fingerprint_sha1: &'a str,
    /// `rsa`, `ec`, or as OpenSSL names it.
    #[schema(example = "rsa")]
    key_type: &'a str,
    /// In bits.
    #[schema(example = 2048)]
    key_size: u32,
    /// As OpenSSL names it.
    #[schema(example = "sha256WithRSAEncryption")]
    signature_algorithm: &'a str,
    /// Where lists of revoked certificates are.
    #[schema(example = json!(["http://r11.c.lencr.org/1.crl"]))]
    crl_urls: &'a [String],
    /// Where OCSP is answered.
    #[schema(example = json!([]))]
    ocsp_urls: &'a [String],
    /// Where the issuer's certificate is.
    #[schema(example = json!(["http://r11.i.lencr.org/"]))]
    ca_issuer_urls: &'a [String],
    /// Whether servers must staple an OCSP answer.
    #[schema(example = false)]
    must_staple: bool,
    #[schema(value_type = values::CertificateSide)]
    side: &'static str,
    /// How many signed certificate timestamps are in it.
    #[schema(example = 2)]
    sct_count: usize,
    /// Whether it is signed by its own key.
    #[schema(example = false)]
    self_signed: bool,
}

impl<'a> From<&'a Details> for DetailsView<'a> {
    fn from(details: &'a Details) -> Self {
        Self {
            fingerprint_sha1: &details.sha1_fingerprint_hex,
            key_type: &details.key_type,
            key_size: details.key_bits,
            signature_algorithm: &details.signature_algorithm,
            crl_urls: &details.crl_urls,
            ocsp_urls: &details.ocsp_urls,
            ca_issuer_urls: &details.ca_issuer_urls,
            must_staple: details.must_staple,
            side: details.side.as_str(),
            sct_count: details.sct_count,
            self_signed: details.is_self_signed,
        }
    }
}
