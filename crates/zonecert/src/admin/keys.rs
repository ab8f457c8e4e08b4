//! `zonecert admin rotate-keys` and `re-seal`: the keys that seal all others, changed while everything runs.

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};
use zonecert_store::{Store, StoreError, master_keys, re_seal};

use super::accounts::find_account;
use super::output::Said;
use crate::settings::database::DatabaseUrl;
use crate::settings::secrets::MasterKeyArgs;

/// How many failures are shown.
const SHOWN: usize = 20;

/// Wraps every data key anew under the first master key.
#[derive(Args)]
pub(crate) struct RotateKeys {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
}

/// Replaces data keys.
#[derive(Args)]
pub(crate) struct ReSeal {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
    /// The account, as acct_… or by the e-mail address of somebody in it.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    account: Option<String>,
    /// All accounts, and the platform's own secrets.
    #[arg(long)]
    all: bool,
    /// Only data keys that were made before this moment, as 2026-11-28T22:00:00Z. Without it all that are there now. After a run that was cut off, give
    /// the moment that it has printed: what was done is then not done again.
    #[arg(long)]
    before: Option<DateTime<Utc>>,
}

/// Prints what was done, and which master keys wrap nothing any more.
pub(super) async fn rotate(args: &RotateKeys) -> Result<()> {
    let masters = args.master_keys.read()?;
    let store = args.database.open()?;
    let rotation = master_keys::rotate(&store, &masters).await?;
    let removable: Vec<&str> = masters.retired_ids().filter(|id| !rotation.wrapped_by.contains_key(*id)).collect();
    Said::json(&json!({
        "master_key": masters.current_id(),
        "wrapped_anew": { "accounts": rotation.accounts, "platform": rotation.platform },
        "data_keys_by_master_key": rotation.wrapped_by,
        "may_be_removed": removable,
        "failures": shown(&rotation.failures.iter().map(|(id, why)| (format!("data key {id}"), why.clone())).collect::<Vec<_>>()),
    }))
    .print()?;
    if !rotation.failures.is_empty() {
        bail!("{} data keys could not be wrapped anew, and are as they were; remove no master key", rotation.failures.len());
    }
    Ok(())
}

/// Prints what was done, account by account on standard error where there are many.
pub(super) async fn re_seal(args: ReSeal) -> Result<()> {
    let masters = args.master_keys.read()?;
    let store = args.database.open()?;
    let before = match args.before {
        Some(before) => before,
        None => store.platform(async |conn| zonecert_store::issuances::database_now(conn).await).await?,
    };
    let moment = before.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut total = Total::default();
    if let Some(account) = &args.account {
        let account = find_account(&store, account).await?;
        total.add(re_seal::re_seal_account(&store, &masters, account, before).await?);
        total.accounts = 1;
    } else {
        eprintln!("zonecert: if this is cut off, go on by `zonecert admin re-seal --all --before {moment}`");
        total.add(re_seal::re_seal_platform(&store, &masters, before).await?);
        every_account(&store, &masters, before, &mut total).await?;
    }
    Said::json(&json!({
        "before": moment,
        "accounts": total.accounts,
        "sealed_anew": total.secrets,
        "data_keys_destroyed": total.destroyed,
        "failures": shown(&total.failures),
    }))
    .print()?;
    if !total.failures.is_empty() {
        bail!("{} secrets do not open, and are as they were with their data keys; restore their rows from a backup", total.failures.len());
    }
    Ok(())
}

#[derive(Default)]
struct Total {
    accounts: usize,
    secrets: usize,
    destroyed: usize,
    failures: Vec<(String, String)>,
}

impl Total {
    fn add(&mut self, done: re_seal::ReSealed) {
        self.secrets += done.secrets;
        self.destroyed += done.destroyed;
        self.failures.extend(done.failures);
    }
}

async fn every_account(store: &Store, masters: &zonecert_pki::MasterKeys, before: DateTime<Utc>, total: &mut Total) -> Result<()> {
    let mut after = None;
    loop {
        let accounts = re_seal::list_accounts(store, before, after).await?;
        let Some(&last) = accounts.last() else { return Ok(()) };
        after = Some(last);
        for account in accounts {
            match re_seal::re_seal_account(store, masters, account, before).await {
                Ok(done) => total.add(done),
                // It has ended meanwhile, and its data key with it.
                Err(StoreError::NotFound) => continue,
                Err(StoreError::Seal(error)) => total.failures.push((account.to_string(), error.to_string())),
                Err(error) => return Err(error.into()),
            }
            total.accounts += 1;
        }
    }
}

fn shown(failures: &[(String, String)]) -> Vec<Value> {
    failures.iter().take(SHOWN).map(|(what, why)| json!({ "what": what, "why": why })).collect()
}
