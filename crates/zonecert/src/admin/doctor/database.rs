//! What the database knows: itself, and all that waits in it.

use chrono::{TimeDelta, Utc};
use zonecert_domain::id::AccountId;
use zonecert_pki::MasterKeys;
use zonecert_store::platform_state::{self, PlatformState};
use zonecert_store::troubles::{self, Trouble};
use zonecert_store::{Connection, Store, StoreError, accounts, checks, migrate};

use super::Check;
use crate::admin::output::{length, seconds};
use crate::settings::secrets::MasterKeyArgs;

/// Clocks that are further apart than this make leases and look-ups of times wrong.
const MOST_SKEW: TimeDelta = TimeDelta::seconds(5);

/// A queue that has not been worked on for so long is stuck.
const MOST_WAIT_SECONDS: f64 = 300.0;

const ACCOUNTS_AT_A_TIME: i32 = 200;

/// More are counted, and not named.
const MOST_NAMED: usize = 3;

const NAMES: [&str; 9] =
    ["migrations", "row-level security", "roles", "master keys", "clock", "queues", "workers", "renewals", "key stock"];

pub(super) async fn check(store: &Store, master_keys: &MasterKeyArgs, key_stock: u32) -> Vec<Check> {
    let version = match store.platform(async |conn| checks::server_version(conn).await).await {
        Ok(version) => version,
        Err(error) => {
            let gone = Check::wrong(
                "database",
                error.to_string(),
                "Check ZONECERT_DATABASE_URL (the owner's), that PostgreSQL runs, and the way to it.",
            );
            return std::iter::once(gone).chain(NAMES.map(|name| Check::unknown(name, "the database does not answer"))).collect();
        }
    };
    let mut found = vec![Check::well("database", format!("PostgreSQL {version} answers"))];
    let current = store.platform(migrate::is_current).await;
    found.push(migrations(&current));
    if !matches!(current, Ok(true)) {
        found.extend(NAMES[1..].iter().map(|name| Check::unknown(name, "the database is not migrated")));
        return found;
    }
    let faults = |name, read: Result<Vec<String>, StoreError>, well: &str, remedy| match read {
        Ok(faults) if faults.is_empty() => Check::well(name, well),
        Ok(faults) => Check::wrong(name, some(&faults), remedy),
        Err(error) => Check::wrong(name, error.to_string(), REPORT),
    };
    let unprotected = store.platform(async |conn| checks::list_unprotected_tables(conn).await).await;
    let remedy = "Stop the service, and find out who has changed these tables; then ALTER TABLE … ENABLE, and FORCE, ROW LEVEL SECURITY.";
    found.push(faults("row-level security", unprotected, "in force on every tenant's table", remedy));
    let roles = store.platform(async |conn| checks::list_role_faults(conn).await).await;
    let remedy =
        "Take back what these roles were given (docs/adr/0003-row-level-security.md); `zonecert migrate` makes those that are missing.";
    found.push(faults("roles", roles, "as the migrations have made them", remedy));
    found.push(data_keys(store, master_keys).await);
    match store.platform(async |conn| platform_state::read(conn).await).await {
        Ok(state) => {
            let stuck = store.platform(async |conn| troubles::list_troubled(conn, Trouble::Stuck(OLD), 100).await).await;
            found.extend([
                clock(&state),
                queues(&state),
                workers(&state),
                renewals(&state, stuck.map_or(0, |stuck| stuck.len())),
                stock(&state, key_stock),
            ]);
        }
        Err(error) => found.push(Check::wrong("queues", error.to_string(), REPORT)),
    }
    found
}

const OLD: std::time::Duration = std::time::Duration::from_hours(1);

const REPORT: &str = "This must not happen with a database that is migrated: look into PostgreSQL's log.";

fn migrations(current: &Result<bool, StoreError>) -> Check {
    match current {
        Ok(true) => Check::well("migrations", "the database is as new as this program"),
        Ok(false) => Check::wrong("migrations", "the database is older than this program", "Run `zonecert migrate`."),
        Err(error) => Check::wrong("migrations", error.to_string(), "Run `zonecert migrate` as the database's owner."),
    }
}

async fn data_keys(store: &Store, master_keys: &MasterKeyArgs) -> Check {
    const NAME: &str = "master keys";
    let masters = match master_keys.read() {
        Ok(masters) => masters,
        Err(error) => return Check::wrong(NAME, format!("{error:#}"), "Set the master keys as they are set for the service."),
    };
    match open_all(store, &masters).await {
        Ok((count, closed)) if closed.is_empty() => Check::well(NAME, format!("they open all {count} data keys")),
        Ok((_, closed)) => {
            let remedy = "What these data keys seal cannot be read. Put the master key that wraps them back into ZONECERT_MASTER_KEYS, behind the others.";
            Check::wrong(NAME, some(&closed), remedy)
        }
        Err(error) => Check::wrong(NAME, error.to_string(), REPORT),
    }
}

async fn open_all(store: &Store, masters: &MasterKeys) -> Result<(usize, Vec<String>), StoreError> {
    let (mut count, mut closed) = store.platform(async |conn| checks::check_platform_data_keys(conn, masters).await).await?;
    let mut after: Option<AccountId> = None;
    loop {
        let page = store.platform(async |conn: &mut Connection| accounts::list_ids(conn, after, ACCOUNTS_AT_A_TIME).await).await?;
        for &account in &page {
            let (more, faults) = store.tenant(account, async |conn| checks::check_data_keys(conn, masters, account).await).await?;
            count += more;
            closed.extend(faults);
        }
        match page.last() {
            Some(&last) => after = Some(last),
            None => return Ok((count, closed)),
        }
    }
}

fn clock(state: &PlatformState) -> Check {
    #[expect(clippy::disallowed_methods, reason = "the clock of this machine is what is looked at")]
    let skew = Utc::now() - state.now;
    let found = format!("{:+.1} s from the database's", skew.as_seconds_f64());
    if skew.abs() <= MOST_SKEW {
        return Check::well("clock", found);
    }
    Check::wrong("clock", found, "Let both machines keep time by NTP: access tokens and certificates are judged by these clocks.")
}

fn queues(state: &PlatformState) -> Check {
    let stuck: Vec<String> = state
        .queues
        .iter()
        .filter(|(_, (_, age))| *age > MOST_WAIT_SECONDS)
        .map(|(queue, (due, age))| format!("{queue}: {due} wait, the oldest for {}", length(seconds(*age))))
        .collect();
    if stuck.is_empty() {
        let due: f64 = state.queues.values().map(|(due, _)| due).sum();
        return Check::well("queues", format!("{due} due, none for long"));
    }
    Check::wrong("queues", some(&stuck), "See `zonecert admin queue` and the logs of the workers; docs/runbook.md#zonecertqueuestalled.")
}

fn workers(state: &PlatformState) -> Check {
    let found = format!("{} work, {} are drained", state.workers_working, state.workers_draining);
    if state.workers_working >= 1.0 {
        return Check::well("workers", found);
    }
    Check::wrong("workers", found, "Start `zonecert work`, or take a drained one back by `zonecert admin drain NAME --off`.")
}

fn renewals(state: &PlatformState, stuck: usize) -> Check {
    let overdue: f64 = state.renewals_late.values().sum();
    let nearest =
        state.nearest_expiry_seconds.map_or_else(String::new, |left| format!("; the first to expire does so in {}", length(seconds(left))));
    let found = format!("{overdue} overdue, {stuck} issuances without success for an hour{nearest}");
    if overdue > 0.0 || stuck > 0 {
        return Check::doubtful("renewals", found, "See `zonecert admin issuances`; what a customer must mend stands there too.");
    }
    Check::well("renewals", found)
}

fn stock(state: &PlatformState, wanted: u32) -> Check {
    let found = format!("{} of {wanted} private keys", state.key_stock);
    if wanted > 0 && state.key_stock < 1.0 {
        return Check::doubtful(
            "key stock",
            found,
            "It fills while workers have little to do; where it stays empty they are too busy: start more.",
        );
    }
    Check::well("key stock", found)
}

fn some(faults: &[String]) -> String {
    let named = faults.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join("; ");
    if faults.len() > MOST_NAMED { format!("{named}; and {} more", faults.len() - MOST_NAMED) } else { named }
}
