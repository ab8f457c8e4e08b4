//! Who did what: the audit log, as requests write it and read it.

pub(crate) mod list;

use std::net::IpAddr;

use serde_json::{Value, json};
use zonecert_domain::id::{AccountId, ApiKeyId, TokenId, UserId};
use zonecert_store::audit_log::{self, Entry};
use zonecert_store::{Connection, Store, StoreError};

use crate::auth::caller::Caller;
use crate::request_id::RequestId;

/// The actor of what was done by somebody who has not proven who they are.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// Notes that the caller did `action` to `subject`, in the transaction in which it happens. `details` is a JSON object and holds no secret.
pub(crate) async fn record(conn: &mut Connection, caller: &Caller, action: &str, subject: &str, details: Value) -> Result<(), StoreError> {
    let (actor, request_id) = (caller.actor(), caller.request_id.as_str());
    let entry = Entry { actor: &actor, action, subject: Some(subject), request_id: Some(request_id), details };
    audit_log::insert_entry(conn, caller.account, &entry).await
}

/// Notes that a token was used from where it may not be used.
pub(crate) async fn record_misuse(
    store: &Store,
    account: AccountId,
    token: TokenId,
    address: IpAddr,
    request_id: &RequestId,
) -> Result<(), StoreError> {
    record_anonymous(store, account, "token.refused_address", &token.to_string(), json!({ "address": address }), request_id).await
}

/// Notes that somebody failed to sign in as this person, for the `failures`th time of late.
pub(crate) async fn record_failed_sign_in(
    store: &Store,
    account: AccountId,
    user: UserId,
    address: IpAddr,
    failures: u32,
    request_id: &RequestId,
) -> Result<(), StoreError> {
    let details = json!({ "address": address, "failures": failures });
    record_anonymous(store, account, "user.sign_in_failed", &user.to_string(), details, request_id).await
}

/// Notes what was done with an API key, which names nobody but itself.
pub(crate) async fn record_api_key(
    conn: &mut Connection,
    account: AccountId,
    key: ApiKeyId,
    action: &str,
    subject: &str,
    request_id: &RequestId,
    details: Value,
) -> Result<(), StoreError> {
    let actor = key.to_string();
    let entry = Entry { actor: &actor, action, subject: Some(subject), request_id: Some(request_id.as_str()), details };
    audit_log::insert_entry(conn, account, &entry).await
}

async fn record_anonymous(
    store: &Store,
    account: AccountId,
    action: &str,
    subject: &str,
    details: Value,
    request_id: &RequestId,
) -> Result<(), StoreError> {
    let entry = Entry { actor: ANONYMOUS, action, subject: Some(subject), request_id: Some(request_id.as_str()), details };
    store.tenant(account, async |conn| audit_log::insert_entry(conn, account, &entry).await).await
}

/// Notes that a person did `action`, where there is no caller yet: they have proven themselves in this very request.
pub(crate) async fn record_person(
    conn: &mut Connection,
    account: AccountId,
    user: UserId,
    action: &str,
    request_id: &RequestId,
    details: Value,
) -> Result<(), StoreError> {
    let actor = user.to_string();
    let entry = Entry { actor: &actor, action, subject: None, request_id: Some(request_id.as_str()), details };
    audit_log::insert_entry(conn, account, &entry).await
}
