//! Workers: which run, and which of them are to take nothing new.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};
use zonecert_store::issuances::database_now;
use zonecert_store::workers::{self, GONE_AFTER, SeenWorker};
use zonecert_store::{Connection, Store, StoreError};

use super::output::{OutputArgs, Said, ago, table};
use crate::settings::database::DatabaseUrl;

const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Lists the workers.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    output: OutputArgs,
}

/// Drains a worker.
#[derive(Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    output: OutputArgs,
    /// Its name, as `zonecert admin workers` shows it; the beginning is enough where no other begins so.
    worker: String,
    /// Has it take jobs again.
    #[arg(long)]
    off: bool,
    /// Waits until it has nothing in hand, for so many seconds at the most.
    #[arg(long, default_value = "0", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait_seconds: u64,
}

pub(super) async fn list(args: &List) -> Result<Said> {
    let (seen, now) = read(&args.database.open()?).await?;
    let mut rows = vec![["worker", "host", "version", "runs for", "seen ago", "in hand", "state"].map(str::to_owned)];
    rows.extend(seen.iter().map(|worker| {
        let (runs, age) = (ago(worker.started_at, now), ago(worker.seen_at, now));
        [
            worker.name.clone(),
            worker.host.clone(),
            worker.version.clone(),
            runs,
            age,
            worker.in_hand.to_string(),
            state(worker, now).to_owned(),
        ]
    }));
    let text = if seen.is_empty() { "no worker runs\n".to_owned() } else { table(&rows) };
    let values: Vec<Value> = seen.iter().map(|worker| value(worker, now)).collect();
    Ok(Said::either(args.output, &json!({ "workers": values }), text))
}

pub(super) async fn drain(args: &Drain) -> Result<Said> {
    let store = args.database.open()?;
    let (seen, _) = read(&store).await?;
    let named: Vec<&SeenWorker> = seen.iter().filter(|worker| worker.name.starts_with(&args.worker)).collect();
    let [worker] = named.as_slice() else {
        bail!("{} workers have a name that begins with {:?}; `zonecert admin workers` shows them", named.len(), args.worker);
    };
    let (name, drain) = (worker.name.as_str(), !args.off);
    if !store.platform(async |conn| workers::request_drain(conn, name, drain).await).await? {
        bail!("{name} has stopped meanwhile");
    }
    let deadline = Instant::now() + Duration::from_secs(args.wait_seconds);
    let mut last = read_one(&store, name).await?;
    while drain && Instant::now() < deadline && last.as_ref().is_some_and(|worker| worker.drained_at.is_none()) {
        zonecert_worker::wait::pause(BETWEEN_LOOKS).await;
        last = read_one(&store, name).await?;
    }
    let in_hand = last.as_ref().map(|worker| worker.in_hand);
    let empty = last.as_ref().is_none_or(|worker| worker.drained_at.is_some());
    let text = match (drain, in_hand) {
        (false, _) => format!("{name} takes jobs again\n"),
        (true, None) => format!("{name} has stopped\n"),
        (true, Some(_)) if empty => format!("{name} takes nothing new, and has nothing in hand: it can be stopped\n"),
        (true, Some(in_hand)) => format!("{name} takes nothing new; it had {in_hand} issuances in hand when it was last seen\n"),
    };
    let value = json!({ "worker": name, "draining": drain, "drained": drain && empty, "in_hand": in_hand });
    Ok(Said::either(args.output, &value, text).with_health(args.wait_seconds == 0 || !drain || empty))
}

async fn read(store: &Store) -> Result<(Vec<SeenWorker>, DateTime<Utc>), StoreError> {
    store.platform(async |conn: &mut Connection| Ok((workers::list(conn).await?, database_now(conn).await?))).await
}

async fn read_one(store: &Store, name: &str) -> Result<Option<SeenWorker>, StoreError> {
    Ok(read(store).await?.0.into_iter().find(|worker| worker.name == name))
}

fn state(worker: &SeenWorker, now: DateTime<Utc>) -> &'static str {
    if (now - worker.seen_at).to_std().is_ok_and(|age| age > GONE_AFTER) {
        return "gone";
    }
    match (worker.drained_at, worker.drain_requested_at) {
        (Some(_), Some(_)) => "drained",
        (None, Some(_)) => "draining",
        (_, None) => "working",
    }
}

fn value(worker: &SeenWorker, now: DateTime<Utc>) -> Value {
    json!({
        "name": worker.name, "host": worker.host, "version": worker.version, "started_at": worker.started_at, "seen_at": worker.seen_at,
        "in_hand": worker.in_hand, "state": state(worker, now), "drain_requested_at": worker.drain_requested_at,
    })
}
