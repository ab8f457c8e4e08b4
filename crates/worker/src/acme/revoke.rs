//! Revocation at the CA (RFC 8555 §7.6): signed by the account that ordered the certificate, or by the certificate's own key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{Error, RevocationRequest};
use rustls_pki_types::CertificateDer;
use serde_json::json;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::revocation::RevocationReason;
use zonecert_pki::PrivateKey;

use super::account::AcmeDirectory;
use super::failure::{About, classify, from_answer};
use super::http::recorded;
use super::jws::Signer;

/// The resources that revocation takes, of those in the CA's directory (RFC 8555 §7.1.1).
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resources {
    new_nonce: String,
    revoke_cert: String,
}

impl AcmeDirectory {
    /// Has a certificate (DER) revoked by our account. The CA takes it from the account that ordered it, and from one that has proven all its names.
    ///
    /// Errors, beside those of any call: `acme_already_revoked`, `acme_bad_revocation_reason`, `revocation_refused`, `certificate_unknown`,
    /// `acme_account_does_not_exist`.
    pub async fn revoke(&self, leaf_der: &[u8], reason: RevocationReason) -> Result<(), Failure> {
        let certificate = CertificateDer::from(leaf_der);
        let request = RevocationRequest { certificate: &certificate, reason: library_reason(reason) };
        loop {
            let account = self.account().await?;
            let (revoked, answer) = recorded(account.client.revoke(&request)).await;
            // The library takes whatever is no error for a yes.
            if revoked.is_ok() && !answer.is_success() {
                return Err(from_answer(&answer));
            }
            match self.settle(&account, About::Certificate, (revoked, answer)).await {
                None => {}
                // This is what is said of an account that was lost and may be replaced.
                Some(Err(failure)) if failure.code == FailureCode::OrderLost => {
                    return Err(Failure::new(FailureCode::AcmeAccountDoesNotExist, failure.detail()));
                }
                Some(settled) => return settled,
            }
        }
    }

    /// Has a certificate (DER) revoked by its own key, where our account that ordered it is lost. Errors as [`Self::revoke`].
    pub async fn revoke_with_key(&self, leaf_der: &[u8], key: &PrivateKey, reason: RevocationReason) -> Result<(), Failure> {
        let (revoked, answer) = recorded(self.send_with_key(leaf_der, key, reason)).await;
        revoked.map_err(|error| classify(&error, &answer, About::Certificate))
    }

    async fn send_with_key(&self, leaf_der: &[u8], key: &PrivateKey, reason: RevocationReason) -> Result<(), Error> {
        let mut payload = json!({ "certificate": URL_SAFE_NO_PAD.encode(leaf_der) });
        if reason != RevocationReason::Unspecified {
            payload["reason"] = json!(reason.number());
        }
        let directory = self.http.get(self.directory_url()).await?;
        let resources: Resources = serde_json::from_slice(directory.body())?;
        self.http.post_signed(&resources.new_nonce, &resources.revoke_cert, Signer::Key(key), &payload).await.map(drop)
    }
}

/// Without a reason the CA need not say one in its lists.
fn library_reason(reason: RevocationReason) -> Option<instant_acme::RevocationReason> {
    match reason {
        RevocationReason::Unspecified => None,
        RevocationReason::KeyCompromise => Some(instant_acme::RevocationReason::KeyCompromise),
        RevocationReason::AffiliationChanged => Some(instant_acme::RevocationReason::AffiliationChanged),
        RevocationReason::Superseded => Some(instant_acme::RevocationReason::Superseded),
        RevocationReason::CessationOfOperation => Some(instant_acme::RevocationReason::CessationOfOperation),
    }
}
