//! Revocation at the CA (RFC 8555 §7.6): signed by the account that ordered the certificate, or by the certificate's own key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use instant_acme::{BodyWrapper, Error, Problem, RevocationRequest};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::revocation::RevocationReason;
use zonecert_pki::PrivateKey;

use super::account::AcmeDirectory;
use super::failure::{About, classify, from_answer};
use super::http::recorded;

/// How often a request is sent whose nonce was refused (RFC 8555 §6.5).
const ATTEMPTS: usize = 3;

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
        let account = self.account().await?;
        let certificate = CertificateDer::from(leaf_der);
        let request = RevocationRequest { certificate: &certificate, reason: library_reason(reason) };
        let (revoked, answer) = recorded(account.client.revoke(&request)).await;
        // The library takes whatever is no error for a yes.
        let revoked = if revoked.is_ok() && !answer.is_success() { Err(from_answer(&answer)) } else { Ok(revoked) };
        match self.settle(&account, About::Certificate, (revoked?, answer)).await {
            // This is what is said of an account that was lost and may be replaced.
            Err(failure) if failure.code == FailureCode::OrderLost => {
                Err(Failure::new(FailureCode::AcmeAccountDoesNotExist, failure.detail()))
            }
            settled => settled,
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
        let mut nonce = None;
        for attempt in 1.. {
            let fresh = if let Some(nonce) = nonce.take() {
                nonce
            } else {
                let request = Request::head(&resources.new_nonce).body(BodyWrapper::default())?;
                nonce_of(self.http.send(request).await?.headers()).ok_or("the CA gave no nonce")?
            };
            let body = signed(key, &resources.revoke_cert, &fresh, &payload)?;
            let request =
                Request::post(&resources.revoke_cert).header(CONTENT_TYPE, "application/jose+json").body(BodyWrapper::from(body))?;
            let answered = self.http.send(request).await?;
            if answered.status().is_success() {
                return Ok(());
            }
            let problem: Problem = serde_json::from_slice(answered.body())?;
            if attempt == ATTEMPTS || problem.r#type.as_deref() != Some("urn:ietf:params:acme:error:badNonce") {
                return Err(problem.into());
            }
            nonce = nonce_of(answered.headers());
        }
        unreachable!("the loop ends by its attempts")
    }
}

/// A flattened JWS whose header carries the key itself (RFC 8555 §6.2, RFC 7515 §7.2.2).
fn signed(key: &PrivateKey, url: &str, nonce: &str, payload: &Value) -> Result<Vec<u8>, Error> {
    let unusable = |error: zonecert_pki::PkiError| Error::Other(Box::new(error));
    let jwk: Value = serde_json::from_str(&key.public_jwk_json().map_err(unusable)?)?;
    let header = json!({ "alg": key.jws_algorithm(), "jwk": jwk, "nonce": nonce, "url": url });
    let (header, payload) = (URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
    let signature = key.sign_jws(format!("{header}.{payload}").as_bytes()).map_err(unusable)?;
    Ok(serde_json::to_vec(&json!({ "protected": header, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(signature) }))?)
}

fn nonce_of(headers: &HeaderMap) -> Option<String> {
    headers.get("replay-nonce")?.to_str().ok().map(str::to_owned)
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
