//! Another key for our account at the CA (RFC 8555 §7.3.5, docs/adr/0023-acme-account-keys.md).
//!
//! The ACME library makes the new key in the call that sends it, so that whoever dies between the CA's yes and the record of it has lost the account. Here the key
//! is on record, sealed, before the CA hears of it. Whoever comes next asks the CA by which of the two it knows the account, and goes on from there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use http::header::LOCATION;
use hyper::body::Bytes;
use instant_acme::{Error, Key};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_pki::PrivateKey;
use zonecert_store::StoreError;
use zonecert_store::acme_accounts::{self, find_next_credentials, insert_next_credentials, promote_next_credentials};

use super::account::{AcmeAccount, AcmeDirectory, read_credentials};
use super::failure::{About, classify, from_store};
use super::http::recorded;
use super::jws::{Signer, jwk};

/// The resources that a change of keys takes, of those in the CA's directory (RFC 8555 §7.1.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resources {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    key_change: Option<String>,
}

/// An account in the form that the ACME library reads.
#[derive(Serialize)]
struct Credentials<'a> {
    id: &'a str,
    key_pkcs8: &'a str,
    directory: &'a str,
}

/// Why the key of our account at a CA was not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyChangeError {
    /// There is no account whose key could be changed.
    #[error("we have no account there yet, or not any more; the next order makes one, with a new key")]
    NoAccount,
    /// The directory does not name the resource.
    #[error("the CA offers no change of keys (no keyChange in its directory, RFC 8555 §7.3.5); ask the CA how an account gets another key")]
    NotOffered,
    /// The CA has not taken it, or its answer got lost.
    #[error(
        "{0}; do it again, and the CA is asked by which key it knows the account; where it never takes our signature, restore the row of acme_accounts from a newer backup"
    )]
    Ca(Failure),
    /// A key could not be made, read or used for a signature.
    #[error("the account's key cannot be {0}; check the installed libcrypto, or restore the row of acme_accounts from a backup")]
    Key(&'static str),
    /// Our database, or the keys that seal its secrets.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeyChangeError {
    /// As whoever has just placed an order sees it.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Ca(failure) => failure,
            Self::Store(error) => from_store(&error),
            Self::NoAccount | Self::NotOffered | Self::Key(_) => {
                tracing::error!(error = %self, "a change of our account's key cannot be finished");
                Failure::new(FailureCode::Internal, "our account at the CA could not be loaded or stored")
            }
        }
    }
}

impl AcmeDirectory {
    /// Finishes a change of our account's key that was cut off after the CA had taken it. False where there is none such.
    pub async fn finish_key_change(&self) -> Result<bool, KeyChangeError> {
        let account = self.find_stored().await?.ok_or(KeyChangeError::NoAccount)?;
        self.finish(&account).await
    }

    /// Gives our account another key, or finishes such a change: with the key that is on record for it where there is one.
    ///
    /// TXT values that were made of the old key are of no use any more: see to it that none stand ([`zonecert_store::ca_pauses::record_key_change`]).
    pub async fn change_key(&self) -> Result<(), KeyChangeError> {
        let account = self.find_stored().await?.ok_or(KeyChangeError::NoAccount)?;
        if self.finish(&account).await? {
            return Ok(());
        }
        let (directory_url, account_url) = (self.directory_url(), account.account_url.as_str());
        let old = read_key(&account.credentials)?;
        let (resources, answer) = recorded(self.resources()).await;
        let resources = resources.map_err(|error| KeyChangeError::Ca(classify(&error, &answer, About::Directory)))?;
        let key_change = resources.key_change.as_deref().ok_or(KeyChangeError::NotOffered)?;
        let made = make_credentials(account_url, directory_url)?;
        let next = self.store.platform(async |conn| insert_next_credentials(conn, &self.masters, account.id, &made).await).await?;
        let new = read_key(&next)?;
        tracing::info!(directory_url, account_url, "the CA is asked to know our account by another key");
        let (sent, answer) = recorded(self.send_key_change(&resources, key_change, account_url, (&old, &new))).await;
        if let Err(error) = sent {
            let failure = classify(&error, &answer, About::Directory);
            tracing::warn!(directory_url, account_url, %failure, "the CA has not said that it knows our account by another key");
            // It may do so all the same, by this request or by one of another process.
            if !self.knows_by(account_url, &new).await.unwrap_or(false) {
                return Err(KeyChangeError::Ca(failure));
            }
        }
        self.promote(&account, &next).await
    }

    /// Whether the CA may have refused what `account` has signed for no other reason than that our account has another key by now: one that is on record, or one that
    /// the CA has taken from somebody who has died since. The next use of the account is with that.
    pub(super) async fn has_another_key(&self, account: &AcmeAccount) -> Result<bool, Failure> {
        let stored = self.find_stored().await.map_err(|error| from_store(&error))?;
        // Another account is another matter.
        let Some(stored) = stored.filter(|stored| stored.id == account.id) else { return Ok(false) };
        if stored.key_changed_at == account.key_changed_at && !self.finish(&stored).await.map_err(KeyChangeError::into_failure)? {
            return Ok(false);
        }
        let (directory_url, account_url) = (self.directory_url(), stored.account_url.as_str());
        tracing::info!(directory_url, account_url, "our account has another key by now: what was refused is signed with that");
        self.forget(account).await;
        Ok(true)
    }

    async fn finish(&self, account: &acme_accounts::AcmeAccount) -> Result<bool, KeyChangeError> {
        let next = self.store.platform(async |conn| find_next_credentials(conn, &self.masters, account.id).await).await?;
        let Some(next) = next else { return Ok(false) };
        if !self.knows_by(&account.account_url, &read_key(&next)?).await.map_err(KeyChangeError::Ca)? {
            return Ok(false);
        }
        self.promote(account, &next).await?;
        Ok(true)
    }

    /// The CA knows our account by the key of `next`.
    async fn promote(&self, account: &acme_accounts::AcmeAccount, next: &[u8]) -> Result<(), KeyChangeError> {
        let promote = self.store.platform(async |conn| promote_next_credentials(conn, &self.masters, account.id, next).await);
        // Else somebody else has put it on record.
        if promote.await? {
            tracing::info!(directory_url = self.directory_url(), account_url = account.account_url, "our account has another key");
        }
        Ok(())
    }

    pub(super) async fn resources(&self) -> Result<Resources, Error> {
        let directory = self.http.get(self.directory_url()).await?;
        Ok(serde_json::from_slice(directory.body())?)
    }

    /// Whether this is the key of our account at the CA (RFC 8555 §7.3.1).
    async fn knows_by(&self, account_url: &str, key: &PrivateKey) -> Result<bool, Failure> {
        match self.find_by(key).await? {
            Some(answered) if location(&answered).is_none_or(|url| url == account_url) => Ok(true),
            Some(_) => Err(Failure::new(FailureCode::CaMalformedAnswer, "the CA knows another account by the key that was made for ours")),
            None => Ok(false),
        }
    }

    /// What the CA answers of the account with this key; none where it knows none.
    pub(super) async fn find_by(&self, key: &PrivateKey) -> Result<Option<Response<Bytes>>, Failure> {
        let asked = async {
            let resources = self.resources().await?;
            let payload = json!({ "onlyReturnExisting": true });
            self.http.post_signed(&resources.new_nonce, &resources.new_account, Signer::Key(key), &payload).await
        };
        match recorded(asked).await {
            (Ok(answered), _) => Ok(Some(answered)),
            (Err(Error::Api(problem)), _) if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist") => {
                Ok(None)
            }
            (Err(error), answer) => Err(classify(&error, &answer, About::Directory)),
        }
    }

    /// The old key signs that the new one has signed that it is to take its place.
    async fn send_key_change(
        &self,
        resources: &Resources,
        key_change: &str,
        account_url: &str,
        (old, new): (&PrivateKey, &PrivateKey),
    ) -> Result<(), Error> {
        let inner = Signer::Key(new).sign(key_change, None, &json!({ "account": account_url, "oldKey": jwk(old)? }))?;
        self.http.post_signed(&resources.new_nonce, key_change, Signer::Account(account_url, old), &inner).await.map(drop)
    }
}

pub(super) fn location(answered: &Response<Bytes>) -> Option<&str> {
    answered.headers().get(LOCATION)?.to_str().ok()
}

/// A new key of the kind that the library signs with, in its form.
pub(super) fn make_credentials(account_url: &str, directory_url: &str) -> Result<Zeroizing<Vec<u8>>, KeyChangeError> {
    let (_, pkcs8) = Key::generate_pkcs8().map_err(|_| KeyChangeError::Key("made"))?;
    write_credentials(account_url, directory_url, pkcs8.secret_pkcs8_der())
}

/// The same with the account's URL, which the CA has told since.
pub(super) fn with_account_url(credentials: &[u8], account_url: &str, directory_url: &str) -> Result<Zeroizing<Vec<u8>>, KeyChangeError> {
    let credentials = read_credentials(credentials)?;
    write_credentials(account_url, directory_url, credentials.private_key().secret_pkcs8_der())
}

fn write_credentials(account_url: &str, directory_url: &str, pkcs8: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyChangeError> {
    let key_pkcs8 = Zeroizing::new(URL_SAFE_NO_PAD.encode(pkcs8));
    let credentials = Credentials { id: account_url, key_pkcs8: &key_pkcs8, directory: directory_url };
    let json = Zeroizing::new(serde_json::to_vec(&credentials).map_err(|_| KeyChangeError::Key("written down"))?);
    // What the library could not read would be found out when it is too late.
    read_key(&json)?;
    Ok(json)
}

/// The private key of an account.
pub(super) fn read_key(credentials: &[u8]) -> Result<PrivateKey, KeyChangeError> {
    let credentials = read_credentials(credentials)?;
    PrivateKey::from_pkcs8_der(credentials.private_key().secret_pkcs8_der()).map_err(|_| KeyChangeError::Key("read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_credentials_are_read_by_the_library_and_hold_another_key_each_time() {
        let make = || make_credentials("https://ca.test/account/1", "https://ca.test/dir").unwrap();
        let (one, other) = (make(), make());
        let read: serde_json::Value = serde_json::from_slice(&one).unwrap();
        assert_eq!((&read["id"], &read["directory"]), (&json!("https://ca.test/account/1"), &json!("https://ca.test/dir")));
        let [one, other] = [one, other].map(|credentials| read_key(&credentials).unwrap());
        assert_eq!(one.jws_algorithm(), "ES256");
        assert_ne!(one.public_key_sha256(), other.public_key_sha256());
    }
}
