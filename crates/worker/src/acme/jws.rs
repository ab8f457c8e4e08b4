//! Requests that we sign ourselves, where the ACME library has no call for them (RFC 8555 §6.2, RFC 7515).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use hyper::body::Bytes;
use instant_acme::{BodyWrapper, Error, Problem};
use serde_json::{Value, json};
use zonecert_pki::{PkiError, PrivateKey};

use super::http::AcmeHttp;

/// How often a request is sent whose nonce was refused (RFC 8555 §6.5).
const ATTEMPTS: usize = 3;

/// A key, and how the CA is told whose it is (RFC 8555 §6.2).
#[derive(Clone, Copy)]
pub(super) enum Signer<'a> {
    /// By the key itself (`jwk`).
    Key(&'a PrivateKey),
    /// By the URL of the account that it is the key of (`kid`).
    Account(&'a str, &'a PrivateKey),
}

impl Signer<'_> {
    /// A flattened JWS (RFC 7515 §7.2.2) for this URL. Without a nonce it is one that goes inside of another (RFC 8555 §7.3.5).
    pub(super) fn sign(self, url: &str, nonce: Option<&str>, payload: &Value) -> Result<Value, Error> {
        let (key, mut header) = match self {
            Self::Key(key) => (key, json!({ "alg": key.jws_algorithm(), "jwk": jwk(key)?, "url": url })),
            Self::Account(account_url, key) => (key, json!({ "alg": key.jws_algorithm(), "kid": account_url, "url": url })),
        };
        if let Some(nonce) = nonce {
            header["nonce"] = json!(nonce);
        }
        let (header, payload) = (URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
        let signature = key.sign_jws(format!("{header}.{payload}").as_bytes()).map_err(unusable)?;
        Ok(json!({ "protected": header, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(signature) }))
    }
}

/// The public key as a JSON Web Key (RFC 7517).
pub(super) fn jwk(key: &PrivateKey) -> Result<Value, Error> {
    Ok(serde_json::from_str(&key.public_jwk_json().map_err(unusable)?)?)
}

fn unusable(error: PkiError) -> Error {
    Error::Other(Box::new(error))
}

impl AcmeHttp {
    /// POST of a payload that is signed for its URL, anew where the nonce was refused. Answers the CA's answer where that is a yes, and its problem elsewhere.
    pub(super) async fn post_signed(
        &self,
        new_nonce_url: &str,
        url: &str,
        signer: Signer<'_>,
        payload: &Value,
    ) -> Result<Response<Bytes>, Error> {
        let mut nonce = None;
        for attempt in 1.. {
            let fresh = if let Some(nonce) = nonce.take() {
                nonce
            } else {
                let request = Request::head(new_nonce_url).body(BodyWrapper::default())?;
                nonce_of(self.send(request).await?.headers()).ok_or("the CA gave no nonce")?
            };
            let body = serde_json::to_vec(&signer.sign(url, Some(&fresh), payload)?)?;
            let request = Request::post(url).header(CONTENT_TYPE, "application/jose+json").body(BodyWrapper::from(body))?;
            let answered = self.send(request).await?;
            if answered.status().is_success() {
                return Ok(answered);
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

fn nonce_of(headers: &HeaderMap) -> Option<String> {
    headers.get("replay-nonce")?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use zonecert_domain::key::KeyAlgorithm;

    use super::*;

    const URL: &str = "https://ca.test/resource";

    fn part(jws: &Value, name: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jws[name].as_str().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn the_signer_is_named_by_the_key_or_by_the_account() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let payload = json!({ "answer": 42 });
        let by_key = Signer::Key(&key).sign(URL, Some("once"), &payload).unwrap();
        let expected = json!({ "alg": "ES256", "jwk": jwk(&key).unwrap(), "nonce": "once", "url": URL });
        assert_eq!((part(&by_key, "protected"), part(&by_key, "payload")), (expected, payload.clone()));
        let by_account = Signer::Account("https://ca.test/account/1", &key).sign(URL, Some("once"), &payload).unwrap();
        let expected = json!({ "alg": "ES256", "kid": "https://ca.test/account/1", "nonce": "once", "url": URL });
        assert_eq!((part(&by_account, "protected"), part(&by_account, "payload")), (expected, payload));
        for jws in [by_key, by_account] {
            let signature = URL_SAFE_NO_PAD.decode(jws["signature"].as_str().unwrap()).unwrap();
            assert_eq!(signature.len(), 64, "two numbers of 32 bytes (RFC 7518 §3.4)");
            assert_eq!(jws.as_object().unwrap().len(), 3, "flattened: {jws}");
        }
    }

    #[test]
    fn what_goes_inside_of_another_has_no_nonce_and_nothing_of_the_private_key() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let inner = Signer::Key(&key).sign(URL, None, &json!({})).unwrap();
        let header = part(&inner, "protected");
        assert!(header.get("nonce").is_none(), "{header}");
        let members: Vec<&String> = header["jwk"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["crv", "kty", "x", "y"]);
    }
}
