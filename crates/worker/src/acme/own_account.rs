//! A customer's own account at the CA (RFC 8555 §7.3, docs/adr/0029-own-acme-accounts.md): registered with a key that is on record before the CA hears of it, told of
//! other addresses, and deactivated. Each can be repeated.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::Error;
use serde_json::{Value, json};
use zeroize::Zeroizing;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::AcmeAccountId;
use zonecert_pki::{PrivateKey, hmac_sha256};
use zonecert_store::acme_accounts::{AcmeAccount, find_own_acme_account, find_own_credentials, insert_own_credentials};

use super::account::AcmeDirectory;
use super::failure::{About, classify, from_store};
use super::http::recorded;
use super::jws::{Signer, jwk};
use super::key_change::{KeyChangeError, location, make_credentials, read_key, with_account_url};

/// What the CA has registered.
pub(crate) struct Registered {
    /// The account's URL there.
    pub(crate) account_url: String,
    /// What signs for it.
    pub(crate) credentials: Zeroizing<Vec<u8>>,
}

impl AcmeDirectory {
    /// Registers a customer's own account with these addresses, bound to the external account (key identifier and MAC key) if there is one.
    pub(crate) async fn register(
        &self,
        id: AcmeAccountId,
        contact: &[String],
        external_account: Option<(&str, &[u8])>,
    ) -> Result<Registered, Failure> {
        let stored = self.store.platform(async |conn| find_own_credentials(conn, &self.masters, id).await).await;
        let stored = stored.map_err(|error| from_store(&error))?;
        let known = stored.is_some();
        let credentials = if let Some(credentials) = stored {
            credentials
        } else {
            let made = make_credentials("", self.directory_url()).map_err(KeyChangeError::into_failure)?;
            let insert =
                self.store.platform(async |conn| insert_own_credentials(conn, &self.masters, id, self.directory_url(), &made).await);
            insert.await.map_err(|error| from_store(&error))?
        };
        let key = read_key(&credentials).map_err(KeyChangeError::into_failure)?;
        // Somebody may have got as far as that, and the CA may take a binding once only.
        let found = if known { self.find_by(&key).await? } else { None };
        let account_url = if let Some(answered) = found {
            let account_url = location(&answered).map(str::to_owned).ok_or_else(no_location)?;
            self.send(&account_url, &key, &json!({ "contact": mailto(contact) })).await?;
            account_url
        } else {
            let (answered, answer) = recorded(self.send_new_account(&key, contact, external_account)).await;
            answered.map_err(|error| classify(&error, &answer, About::Directory))?.ok_or_else(no_location)?
        };
        let credentials = with_account_url(&credentials, &account_url, self.directory_url()).map_err(KeyChangeError::into_failure)?;
        Ok(Registered { account_url, credentials })
    }

    /// Tells the CA of other addresses of a customer's own account (RFC 8555 §7.3.2).
    pub(crate) async fn change_contact(&self, id: AcmeAccountId, contact: &[String]) -> Result<(), Failure> {
        let stored = self.find_own(id).await?;
        let stored = stored.ok_or_else(|| Failure::new(FailureCode::AcmeAccountNotValid, "the CA does not know the account"))?;
        let key = read_key(&stored.credentials).map_err(KeyChangeError::into_failure)?;
        self.send(&stored.account_url, &key, &json!({ "contact": mailto(contact) })).await
    }

    /// Has the CA take nothing from a customer's own account any more (RFC 8555 §7.3.6). One that it does not know is done with.
    pub(crate) async fn deactivate(&self, id: AcmeAccountId) -> Result<(), Failure> {
        let (account_url, credentials) = if let Some(stored) = self.find_own(id).await? {
            (stored.account_url, stored.credentials)
        } else {
            let stored = self.store.platform(async |conn| find_own_credentials(conn, &self.masters, id).await).await;
            // Whoever was registering it may have been cut off after the CA's yes.
            let Some(credentials) = stored.map_err(|error| from_store(&error))? else { return Ok(()) };
            let key = read_key(&credentials).map_err(KeyChangeError::into_failure)?;
            let Some(answered) = self.find_by(&key).await? else { return Ok(()) };
            (location(&answered).map(str::to_owned).ok_or_else(no_location)?, credentials)
        };
        let key = read_key(&credentials).map_err(KeyChangeError::into_failure)?;
        match self.send(&account_url, &key, &json!({ "status": "deactivated" })).await {
            Err(failure) if matches!(failure.code, FailureCode::AcmeUnauthorized | FailureCode::AcmeAccountDoesNotExist) => Ok(()),
            sent => sent,
        }
    }

    async fn find_own(&self, id: AcmeAccountId) -> Result<Option<AcmeAccount>, Failure> {
        let found = self.store.platform(async |conn| find_own_acme_account(conn, &self.masters, id).await).await;
        found.map_err(|error| from_store(&error))
    }

    async fn send_new_account(
        &self,
        key: &PrivateKey,
        contact: &[String],
        external_account: Option<(&str, &[u8])>,
    ) -> Result<Option<String>, Error> {
        let resources = self.resources().await?;
        let mut payload = json!({ "termsOfServiceAgreed": true, "contact": mailto(contact) });
        if let Some((kid, mac_key)) = external_account {
            payload["externalAccountBinding"] = binding(key, kid, mac_key, &resources.new_account)?;
        }
        let sent = self.http.post_signed(&resources.new_nonce, &resources.new_account, Signer::Key(key), &payload).await?;
        Ok(location(&sent).map(str::to_owned))
    }

    /// POST to the account itself, signed by it.
    async fn send(&self, account_url: &str, key: &PrivateKey, payload: &Value) -> Result<(), Failure> {
        let sent = async {
            let resources = self.resources().await?;
            self.http.post_signed(&resources.new_nonce, account_url, Signer::Account(account_url, key), payload).await
        };
        let (sent, answer) = recorded(sent).await;
        sent.map(drop).map_err(|error| classify(&error, &answer, About::Directory))
    }
}

fn no_location() -> Failure {
    Failure::new(FailureCode::CaMalformedAnswer, "the CA does not say which account it has registered")
}

fn mailto(contact: &[String]) -> Vec<String> {
    contact.iter().map(|address| format!("mailto:{address}")).collect()
}

/// The public key, signed with the MAC key of the external account (RFC 8555 §7.3.4).
fn binding(key: &PrivateKey, kid: &str, mac_key: &[u8], url: &str) -> Result<Value, Error> {
    let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256", "kid": kid, "url": url }).to_string());
    let payload = URL_SAFE_NO_PAD.encode(jwk(key)?.to_string());
    let signature = hmac_sha256(mac_key, format!("{header}.{payload}").as_bytes()).map_err(|error| Error::Other(Box::new(error)))?;
    Ok(json!({ "protected": header, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(signature) }))
}

#[cfg(test)]
mod tests {
    use zonecert_domain::key::KeyAlgorithm;

    use super::*;

    #[test]
    fn a_binding_holds_the_public_key_and_is_signed_with_the_mac_key() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let bound = binding(&key, "customer-1", &[7; 32], "https://ca.test/new-account").unwrap();
        let part = |name: &str| bound[name].as_str().unwrap().to_owned();
        let decoded = |name: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part(name)).unwrap()).unwrap() };
        assert_eq!(decoded("protected"), json!({ "alg": "HS256", "kid": "customer-1", "url": "https://ca.test/new-account" }));
        assert_eq!(decoded("payload"), jwk(&key).unwrap());
        let expected = hmac_sha256(&[7; 32], format!("{}.{}", part("protected"), part("payload")).as_bytes()).unwrap();
        assert_eq!(part("signature"), URL_SAFE_NO_PAD.encode(expected));
    }
}
