//! What the operator may do to an account, by the API or by `zonecert admin`. Each is one transaction, is reversible, and deletes nothing
//! (requirements section 6).

use serde_json::json;
use zonecert_domain::id::AccountId;
use zonecert_domain::plan::Plan;
use zonecert_store::accounts::{self, Account, AccountStatus};
use zonecert_store::audit_log::{self, Entry};
use zonecert_store::events::{self, NewEvent};
use zonecert_store::{Connection, Store, StoreError, plan_changes, renewal_schedule};

/// Who did it, in the audit log.
const OPERATOR: &str = "operator";

/// The operator, in a request or at a command line.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// In which request; none at a command line.
    pub request_id: Option<&'a str>,
}

/// An account before and after something was done to it.
pub type Change = (Account, Account);

/// Puts an account on another plan, at once: certificates renew by themselves, or rest, as that plan says.
///
/// Errors with [`StoreError::NotFound`] when there is no such account.
pub async fn change_plan(store: &Store, account: AccountId, plan: Plan, actor: Actor<'_>) -> Result<Change, StoreError> {
    store
        .tenant_write(account, async |conn| {
            let before = accounts::get_account(conn, account).await?;
            if before.plan == plan {
                return Ok((before.clone(), before));
            }
            accounts::set_plan(conn, account, plan).await?;
            renewal_schedule::reschedule_account(conn, account).await?;
            let details = json!({ "from": before.plan, "to": plan });
            record(conn, account, actor, "account.plan_changed", &account.to_string(), details.clone()).await?;
            let message = format!("the plan was changed from {} to {plan}", before.plan);
            events::record(conn, account, NewEvent { details, ..NewEvent::info("plan_changed", message) }).await?;
            Ok((before, accounts::get_account(conn, account).await?))
        })
        .await
}

/// Suspends an account, or takes it back. Workers are woken, so that orders under way of a suspended account are left at once, and those that
/// wait go on after it.
///
/// Errors with [`StoreError::NotFound`] when there is no such account.
pub async fn set_status(
    store: &Store,
    account: AccountId,
    status: AccountStatus,
    note: Option<&str>,
    actor: Actor<'_>,
) -> Result<Change, StoreError> {
    store
        .tenant_write(account, async |conn| {
            let before = accounts::get_account(conn, account).await?;
            accounts::set_status(conn, account, status, note).await?;
            if before.status != status {
                renewal_schedule::reschedule_account(conn, account).await?;
                plan_changes::wake_issuances(conn, account).await?;
                let details = json!({ "from": before.status.as_str(), "to": status.as_str() });
                let (action, event, message) = match status {
                    AccountStatus::Active => ("account.resumed", "account_resumed", "the account is active again"),
                    AccountStatus::SuspendedPayment => ("account.suspended", "account_suspended", "the account was suspended for payment"),
                    AccountStatus::SuspendedAbuse => ("account.suspended", "account_suspended", "the account was suspended"),
                };
                record(conn, account, actor, action, &account.to_string(), details.clone()).await?;
                events::record(conn, account, NewEvent { details, ..NewEvent::info(event, message) }).await?;
            }
            Ok((before, accounts::get_account(conn, account).await?))
        })
        .await
}

pub(super) async fn record(
    conn: &mut Connection,
    account: AccountId,
    actor: Actor<'_>,
    action: &str,
    subject: &str,
    details: serde_json::Value,
) -> Result<(), StoreError> {
    let entry = Entry { actor: OPERATOR, action, subject: Some(subject), request_id: actor.request_id, details };
    audit_log::insert_entry(conn, account, &entry).await
}
