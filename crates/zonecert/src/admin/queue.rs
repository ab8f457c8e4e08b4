//! What waits, since when.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;
use zonecert_domain::id::{IssuanceId, RevocationId};
use zonecert_store::platform_state::{self, PlatformState, QUEUES};
use zonecert_store::troubles::{self, Waiting};
use zonecert_store::{Connection, StoreError};

use super::output::{OutputArgs, Said, ago, length, seconds, table};
use crate::settings::database::DatabaseUrl;

/// Shows what waits.
#[derive(Args)]
pub(crate) struct Queue {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    output: OutputArgs,
    /// Of each queue, so many of those that have waited longest.
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(i32).range(0..=1000))]
    limit: i32,
}

type Lines = Vec<(&'static str, Waiting)>;

pub(super) async fn run(args: &Queue) -> Result<Said> {
    let limit = args.limit;
    let read = async move |conn: &mut Connection| {
        let state = platform_state::read(conn).await?;
        let mut waiting = Lines::new();
        for queue in QUEUES {
            waiting.extend(troubles::list_waiting(conn, queue, limit).await?.into_iter().map(|line| (queue, line)));
        }
        Ok::<_, StoreError>((state, waiting))
    };
    let (state, waiting) = args.database.open()?.platform(read).await?;
    Ok(Said::either(args.output, &value(&state, &waiting), text(&state, &waiting)))
}

fn text(state: &PlatformState, waiting: &Lines) -> String {
    let mut rows = vec![["queue", "due", "oldest"].map(str::to_owned)];
    rows.extend(state.queues.iter().map(|(queue, (due, age))| [queue.clone(), due.to_string(), length(seconds(*age))]));
    let mut text = table(&rows);
    let _ = write!(
        text,
        "\nissuances: {} in hand, {} resting\nrenewals:  {} due and not begun, {} overdue\nworkers:   {} working, {} draining\n",
        state.issuances_running,
        state.issuances_resting,
        state.renewals_due,
        state.renewals_late.values().sum::<f64>(),
        state.workers_working,
        state.workers_draining
    );
    if !waiting.is_empty() {
        let mut rows = vec![["queue", "what", "account", "due for"].map(str::to_owned)];
        rows.extend(waiting.iter().map(|(queue, line)| {
            let account = line.account.map_or_else(|| "-".to_owned(), |account| account.to_string());
            [(*queue).to_owned(), name(queue, &line.id), account, ago(line.since, state.now)]
        }));
        let _ = write!(text, "\n{}", table(&rows));
    }
    text
}

fn value(state: &PlatformState, waiting: &Lines) -> Value {
    let queues: serde_json::Map<String, Value> =
        state.queues.iter().map(|(queue, (due, age))| (queue.clone(), json!({ "due": due, "oldest_due_seconds": age }))).collect();
    let waiting: Vec<Value> = waiting
        .iter()
        .map(|(queue, line)| json!({ "queue": queue, "id": name(queue, &line.id), "account_id": line.account, "due_since": line.since }))
        .collect();
    json!({
        "queues": queues,
        "issuances": { "running": state.issuances_running, "resting": state.issuances_resting },
        "renewals": { "due": state.renewals_due, "overdue": state.renewals_late },
        "workers": { "working": state.workers_working, "draining": state.workers_draining },
        "waiting": waiting,
    })
}

/// Identifiers as everywhere else.
fn name(queue: &str, id: &str) -> String {
    match (queue, Uuid::parse_str(id)) {
        ("issue", Ok(id)) => IssuanceId(id).to_string(),
        ("revoke", Ok(id)) => RevocationId(id).to_string(),
        _ => id.to_owned(),
    }
}
