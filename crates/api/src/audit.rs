//! Who did what: the audit log, as requests write it.

use serde_json::Value;
use zonecert_store::audit_log::{self, Entry};
use zonecert_store::{Connection, StoreError};

use crate::auth::caller::Caller;

/// Notes that the caller did `action` to `subject`, in the transaction in which it happens. `details` is a JSON object and holds no secret.
pub(crate) async fn record(conn: &mut Connection, caller: &Caller, action: &str, subject: &str, details: Value) -> Result<(), StoreError> {
    let (actor, request_id) = (caller.actor(), caller.request_id.as_str());
    let entry = Entry { actor: &actor, action, subject: Some(subject), request_id: Some(request_id), details };
    audit_log::insert_entry(conn, caller.account, &entry).await
}
