//! The scan for ACME accounts of customers about which a CA is to be asked for something: to register one, to take other addresses, or to take nothing from it any more
//! (`docs/adr/0029-own-acme-accounts.md`).

use std::time::Duration;

use chrono::TimeDelta;
use futures::{StreamExt, stream};
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::{AccountId, AcmeAccountId};
use zonecert_domain::retry::Next;
use zonecert_store::failures::describe;
use zonecert_store::own_acme_accounts::{self, Task, Work};
use zonecert_store::{Connection, StoreError};

use crate::acme::Registered;
use crate::scan::BATCH;
use crate::worker::Worker;

/// CAs that are asked at the same time.
const AT_ONCE: usize = 8;

/// Longer than all that is asked for about an account takes. A claim that a worker took to its grave is taken up again after this.
const CLAIM: Duration = Duration::from_mins(3);

/// So long a CA is asked again.
const PATIENCE: TimeDelta = TimeDelta::days(7);

/// An account that is still needed for an order or a revocation is looked at again after this.
const WAIT_FOR_OTHERS: TimeDelta = TimeDelta::minutes(1);

/// What the CA has done.
enum Done {
    Registered(Registered),
    Told,
    Deactivated,
}

/// Sees to all that is due.
pub(crate) async fn look(worker: &Worker) -> Result<(), StoreError> {
    while !worker.is_stopping() {
        let due = worker.store.autocommit(async |conn| own_acme_accounts::claim_due(conn, CLAIM, BATCH).await).await?;
        if due.is_empty() {
            break;
        }
        let questions = stream::iter(due).for_each_concurrent(AT_ONCE, |(account, id)| async move {
            if let Err(error) = see_to(worker, account, id).await {
                tracing::warn!(%account, acme_account = %id, %error, "an ACME account was left; it is taken up again in a while");
            }
        });
        questions.await;
    }
    Ok(())
}

async fn see_to(worker: &Worker, account: AccountId, id: AcmeAccountId) -> Result<(), StoreError> {
    let (store, masters) = (&worker.store, &worker.masters);
    let work = store.tenant(account, async |conn| own_acme_accounts::find_work(conn, masters, account, id).await).await?;
    let Some(work) = work else { return Ok(()) };
    if work.task == (Task::Deactivate { waits: true }) {
        let again = work.now + WAIT_FOR_OTHERS;
        return store.tenant_write(account, async |conn| own_acme_accounts::put_off(conn, account, id, again).await).await;
    }
    let asked = ask(worker, id, &work).await;
    let record = async |conn: &mut Connection| match &asked {
        Ok(Done::Registered(registered)) => {
            let registered = (registered.account_url.as_str(), registered.credentials.as_slice());
            own_acme_accounts::record_registered(conn, masters, account, id, registered, &work.contact).await
        }
        Ok(Done::Told) => own_acme_accounts::record_told(conn, account, id, &work.contact).await,
        Ok(Done::Deactivated) => own_acme_accounts::record_deactivated(conn, account, id, None).await,
        Err(failure) => record_failure(conn, worker, account, id, &work, failure).await,
    };
    store.tenant_write(account, record).await?;
    match asked {
        Ok(_) => tracing::info!(%account, acme_account = %id, task = ?work.task, "the CA has done what was asked for an ACME account"),
        Err(failure) => tracing::warn!(%account, acme_account = %id, task = ?work.task, %failure, "the CA has not done it"),
    }
    Ok(())
}

async fn ask(worker: &Worker, id: AcmeAccountId, work: &Work) -> Result<Done, Failure> {
    let directory = worker.directories.by_url(&work.directory_url)?;
    match work.task {
        Task::Register => {
            let external = work.external_account.as_ref().map(|(kid, mac_key)| (kid.as_str(), mac_key.as_slice()));
            directory.register(id, &work.contact, external).await.map(Done::Registered)
        }
        Task::ChangeContact => directory.change_contact(id, &work.contact).await.map(|()| Done::Told),
        Task::Deactivate { .. } => directory.deactivate(id).await.map(|()| Done::Deactivated),
    }
}

/// The CA is asked again where that can help. Elsewhere its customer has to do something; whoever has deleted the account is done with it.
async fn record_failure(
    conn: &mut Connection,
    worker: &Worker,
    account: AccountId,
    id: AcmeAccountId,
    work: &Work,
    failure: &Failure,
) -> Result<(), StoreError> {
    let next = if may_heal(failure) {
        worker.settings.ladder.next(work.attempts, failure.retry_after, work.now, work.since + PATIENCE)
    } else {
        Next::GiveUp
    };
    match (next, work.task) {
        (Next::At(again), _) => {
            let failure = failure.clone().with_remedy("Nothing to do: the CA is asked again by itself.");
            own_acme_accounts::record_trouble(conn, account, id, &describe(&failure), again).await
        }
        (Next::GiveUp, Task::Deactivate { .. }) => own_acme_accounts::record_deactivated(conn, account, id, Some(&describe(failure))).await,
        (Next::GiveUp, Task::Register | Task::ChangeContact) => {
            let remedy = "Change the contact, or register another ACME account with what the CA asks for, such as an external account.";
            own_acme_accounts::record_refused(conn, account, id, &describe(&failure.clone().with_remedy(remedy))).await
        }
    }
}

/// What a CA says of contact, binding and terms is for the account's owner to mend, though it would be for us were the account ours.
const fn may_heal(failure: &Failure) -> bool {
    matches!(
        failure.code,
        FailureCode::AcmeBadNonce
            | FailureCode::AcmeRateLimited
            | FailureCode::AcmeServerInternal
            | FailureCode::CaUnreachable
            | FailureCode::CaMalformedAnswer
            | FailureCode::DatabaseUnavailable
            | FailureCode::Internal
    )
}
