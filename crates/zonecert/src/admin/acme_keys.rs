//! `zonecert admin roll-acme-key`: other keys for our accounts at the CAs, while everything runs (docs/adr/0023-acme-account-keys.md).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use zonecert_pki::MasterKeys;
use zonecert_store::acme_accounts::{AcmeAccount, count_orders_being_proven, find_acme_account};
use zonecert_store::{Store, StoreError, ca_pauses};
use zonecert_worker::acme::AcmeDirectory;

use super::output::{OutputArgs, Said};
use crate::settings::acme::AcmeArgs;
use crate::settings::ca::CaArgs;
use crate::settings::database::DatabaseUrl;
use crate::settings::secrets::MasterKeyArgs;

/// The orders that are being proven are counted so often, and first so long after no more are to come: who was just writing values down has done so by then.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Longer than a change takes: a few requests, each of which is given up after 20 s.
const LONGEST_CHANGE: Duration = Duration::from_mins(3);

/// Changes keys. Takes the CA's settings of `work`, and the database's URL as its owner.
#[derive(Args)]
pub(crate) struct RollAcmeKey {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
    #[command(flatten)]
    ca: CaArgs,
    #[command(flatten)]
    acme: AcmeArgs,
    /// Only at the CA with this ACME directory; without it at each that is set.
    #[arg(long, value_name = "URL")]
    directory: Option<String>,
    /// Waits for the orders that are being proven, for so many seconds at the most. Those that are left then are ordered anew by themselves.
    #[arg(long, default_value = "120", value_parser = clap::value_parser!(u64).range(0..=3600))]
    wait_seconds: u64,
}

/// What became of the account at one CA.
enum Outcome {
    /// None is on record.
    NoAccount,
    /// It has another key. So many orders were being proven with values of the old one.
    Changed { account_url: String, orders_left: i64 },
    /// The CA had taken another key before, which is on record now.
    Finished { account_url: String },
    /// It may be as it was.
    Failed(anyhow::Error),
}

/// One CA after the other; where one says no, the others have their turn all the same.
pub(super) async fn roll(args: &RollAcmeKey) -> Result<Said> {
    let masters = args.master_keys.read()?;
    let store = args.database.open()?;
    let directories = args.acme.directories(&args.ca, &store, &masters)?;
    let mut chosen: Vec<&AcmeDirectory> = Vec::new();
    for authority in directories.production.iter().chain(&directories.staging) {
        let url = authority.directory.directory_url();
        // One directory may serve both environments, with one account.
        let is_new = chosen.iter().all(|known| known.directory_url() != url);
        if is_new && args.directory.as_deref().is_none_or(|wanted| wanted == url) {
            chosen.push(&authority.directory);
        }
    }
    let named = args.directory.as_deref().unwrap_or_default();
    ensure!(!chosen.is_empty(), "no CA with the ACME directory {named:?} is set; give it as it is set for the workers");
    let wait = Duration::from_secs(args.wait_seconds);
    let mut outcomes = Vec::new();
    for directory in chosen {
        let outcome = change(&store, &masters, directory, wait).await.unwrap_or_else(Outcome::Failed);
        outcomes.push((directory.directory_url(), outcome));
    }
    let well = outcomes.iter().all(|(_, outcome)| match outcome {
        Outcome::Failed(_) => false,
        Outcome::NoAccount => args.directory.is_none(),
        Outcome::Changed { .. } | Outcome::Finished { .. } => true,
    });
    let values: Vec<Value> = outcomes.iter().map(|(url, outcome)| value(url, outcome)).collect();
    Ok(Said::either(args.output, &json!({ "accounts": values }), text(&outcomes)).with_health(well))
}

async fn change(store: &Store, masters: &MasterKeys, directory: &AcmeDirectory, wait: Duration) -> Result<Outcome> {
    let url = directory.directory_url();
    let Some(account) = store.platform(async |conn| find_acme_account(conn, masters, url).await).await? else {
        return Ok(Outcome::NoAccount);
    };
    let changed = change_in_a_pause(store, directory, &account, wait).await;
    let lifted = store.platform(async |conn| ca_pauses::record_key_changed(conn, url).await).await;
    if let Err(error) = lifted {
        let most = (wait + LONGEST_CHANGE).as_secs();
        eprintln!("zonecert: {url}: orders wait for up to {most} s more, since that cannot be taken back: {error}");
    }
    changed
}

/// The pause ends by itself where nobody is left to lift it.
async fn change_in_a_pause(store: &Store, directory: &AcmeDirectory, account: &AcmeAccount, wait: Duration) -> Result<Outcome> {
    let (url, account_url) = (directory.directory_url(), account.account_url.clone());
    if directory.finish_key_change().await? {
        return Ok(Outcome::Finished { account_url });
    }
    let pause = wait + LONGEST_CHANGE;
    store.platform(async |conn| ca_pauses::record_key_change(conn, url, pause).await).await?;
    let orders_left = wait_for_orders(store, account, url, wait).await?;
    directory.change_key().await?;
    Ok(Outcome::Changed { account_url, orders_left })
}

/// How many orders are being proven when it is none, or when the time is over. Says how they get on.
async fn wait_for_orders(store: &Store, account: &AcmeAccount, url: &str, wait: Duration) -> Result<i64, StoreError> {
    let id = account.id;
    let deadline = Instant::now() + wait;
    let mut told = 0;
    loop {
        zonecert_worker::wait::pause(BETWEEN_LOOKS).await;
        let left = store.platform(async |conn| count_orders_being_proven(conn, id).await).await?;
        let time = deadline.saturating_duration_since(Instant::now());
        if left == 0 || time.is_zero() {
            return Ok(left);
        }
        if left != told {
            eprintln!("zonecert: {url}: {left} orders are being proven, which are waited for, for up to {} s more", time.as_secs());
            told = left;
        }
    }
}

fn text(outcomes: &[(&str, Outcome)]) -> String {
    let mut text = String::new();
    for (url, outcome) in outcomes {
        let _ = match outcome {
            Outcome::NoAccount => writeln!(text, "{url}: we have no account there yet; the first order makes one, with a new key"),
            Outcome::Changed { account_url, orders_left: 0 } => writeln!(text, "{url}: the account {account_url} has another key"),
            Outcome::Changed { account_url, orders_left } => writeln!(
                text,
                "{url}: the account {account_url} has another key; {orders_left} orders were still being proven with the old one, and are placed anew by themselves where \
                 the CA does not take that"
            ),
            Outcome::Finished { account_url } => {
                writeln!(text, "{url}: the account {account_url} has another key: a change that was cut off is finished")
            }
            Outcome::Failed(error) => writeln!(text, "{url}: the account's key was not changed: {error:#}"),
        };
    }
    text
}

fn value(url: &str, outcome: &Outcome) -> Value {
    match outcome {
        Outcome::NoAccount => json!({ "directory": url, "outcome": "no_account" }),
        Outcome::Changed { account_url, orders_left } => {
            json!({ "directory": url, "outcome": "changed", "account_url": account_url, "orders_left": orders_left })
        }
        Outcome::Finished { account_url } => json!({ "directory": url, "outcome": "finished", "account_url": account_url }),
        Outcome::Failed(error) => json!({ "directory": url, "outcome": "failed", "error": format!("{error:#}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ca_is_told_with_what_became_of_the_account_there() {
        let account_url = || "https://ca.test/account/1".to_owned();
        let outcomes = [
            ("https://a.test", Outcome::NoAccount),
            ("https://b.test", Outcome::Changed { account_url: account_url(), orders_left: 2 }),
            ("https://c.test", Outcome::Failed(anyhow::anyhow!("no answer; do it again"))),
        ];
        let text = text(&outcomes);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("has another key; 2 orders") && text.contains("not changed: no answer; do it again"), "{text}");
        let values: Vec<Value> = outcomes.iter().map(|(url, outcome)| value(url, outcome)).collect();
        assert_eq!(values[1]["orders_left"], 2);
        assert_eq!(values[2]["error"], "no answer; do it again");
    }
}
