//! A migrated database of its own for each test, as the worker's role sees it.

use std::time::Duration;

use anyhow::Result;
use zonecert_devstack::{StackHandle, unique_label};
use zonecert_pki::MasterKeys;
use zonecert_store::Store;
use zonecert_store::migrate::{self, LoginRole};

/// Roles belong to the whole server: one test at a time sets them up. Any number would do.
const LOCK: i64 = 0x7a63_6163_6d65;

/// The stack of this test run. Boxed, as below: the future that starts a stack is too large for the callers' own.
pub(crate) async fn stack() -> Result<StackHandle> {
    Box::pin(zonecert_devstack::shared()).await
}

/// One database. Every test has a server full of others beside it.
pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) name: String,
}

pub(crate) async fn fresh(stack: &StackHandle) -> Result<Database> {
    let postgres = &stack.postgres;
    let name = format!("acme_{}", unique_label());
    postgres.create_database(&name).await?;
    let owner_url = postgres.owner_url(&name);
    {
        let turn = postgres.connect_as_admin("postgres").await?;
        turn.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
        Box::pin(migrate::run(&owner_url, zonecert_worker::queue::migrate(&owner_url))).await?;
        migrate::set_password(&owner_url, LoginRole::Worker, postgres.worker_password()).await?;
    }
    let store = Store::open(&postgres.worker_url(&name), 4, Duration::from_secs(20))?;
    Ok(Database { store, name })
}

/// A master key of letters: 32 bytes in base64.
pub(crate) fn master_keys(letter: char) -> MasterKeys {
    let key: String = std::iter::repeat_n(letter, 42).collect();
    MasterKeys::parse(&format!("test:{key}A=")).expect("42 letters and an A are 32 bytes in base64")
}
