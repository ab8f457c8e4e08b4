//! The private key that a customer wants for a certificate: one that is there already (requirements S0.4, X19).

use serde_json::json;
use zonecert_domain::id::{AccountId, CertificateId, KeyId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_store::certificates::KeyPolicy;
use zonecert_store::events::{self, NewEvent};
use zonecert_store::key_resources::{self, KeyResource};
use zonecert_store::{Connection, StoreError};

use crate::faults::Faults;
use crate::problem::{FieldError, Problem};

/// None where the text is no identifier of a key: then there is no such key.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyChoice(Option<KeyId>);

impl KeyChoice {
    pub(super) fn parse(text: &str) -> Self {
        Self(text.parse().ok())
    }

    pub(super) async fn get(self, conn: &mut Connection, account: AccountId) -> Result<KeyResource, Problem> {
        let not_found = || Problem::absent("key_not_found", "Private key not found or no permission");
        let Some(id) = self.0 else { return Err(not_found()) };
        key_resources::get_key(conn, account, id).await.map_err(|error| match error {
            StoreError::NotFound => not_found(),
            other => other.into(),
        })
    }
}

/// Whether what is wished for goes with a key that is shared: it stays as it is, for as long as it is used.
pub(super) fn check(key: &KeyResource, algorithm: Option<KeyAlgorithm>, policy: Option<KeyPolicy>) -> Result<(), Problem> {
    let mut faults = Faults::default();
    if algorithm.is_some_and(|algorithm| algorithm != key.algorithm) {
        let detail = format!("The key {} is {}, and stays so; leave the algorithm out, or use another key", key.name, key.algorithm);
        faults.extend([FieldError::new("/key_algorithm", "key_algorithm_mismatch", detail)]);
    }
    if policy == Some(KeyPolicy::Rotate) {
        let detail = format!("The key {} is shared, and kept at renewals; leave the policy out, or use another key", key.name);
        faults.extend([FieldError::new("/key_policy", "shared_key_is_kept", detail)]);
    }
    faults.finish(Some(()))
}

/// Has a certificate use this key from its next version on. Others that were to rotate it keep it too, and their logs say so.
pub(super) async fn take(
    conn: &mut Connection,
    account: AccountId,
    certificate: CertificateId,
    key: &KeyResource,
) -> Result<(), StoreError> {
    let kept = key_resources::use_key(conn, account, certificate, key).await?;
    note_kept(conn, account, &kept, "another certificate uses it too").await
}

/// Says in the logs of certificates that their key is kept from now on, and why.
pub(crate) async fn note_kept(
    conn: &mut Connection,
    account: AccountId,
    certificates: &[CertificateId],
    why: &str,
) -> Result<(), StoreError> {
    for &certificate in certificates {
        let message = format!("The private key is kept at renewals from now on: {why}");
        let details = json!({"changed": {"key_policy": {"from": "rotate", "to": "keep"}}});
        let event = NewEvent { certificate: Some(certificate), details, ..NewEvent::info("certificate_changed", message) };
        events::record(conn, account, event).await?;
    }
    Ok(())
}
