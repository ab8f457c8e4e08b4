//! The queue: apalis on PostgreSQL, as a transport and nothing else (`docs/adr/0004-queue.md`).
//!
//! A job wakes a worker up; the row that it names says what is to be done. A job that runs twice, late or never costs time and nothing
//! else, which is why every handler ends well and no job is ever tried again by the queue.

mod wake;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{BackendExt, BoxDynError, Data, Monitor, WorkerBuilder};
use apalis_postgres::{Config, PgPool, PostgresStorage};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tracing::Instrument;

use crate::issue::{self, IssueJob};
use crate::worker::{Worker, WorkerError};
use wake::{Listener, Wake};

/// Looks at an issuance.
pub const ISSUE: &str = "issue";
/// Brings a zone in PowerDNS to what its rows say.
pub const PROJECT: &str = "project";

/// Zones projected at the same time.
const PROJECTIONS: usize = 8;

/// Without a notification the queue is looked at this often.
const TICK: Duration = Duration::from_millis(500);

/// A job held by a process that has not been seen for `HEARTBEAT × MISSED_HEARTBEATS` is given to another.
const HEARTBEAT: Duration = Duration::from_secs(5);
const MISSED_HEARTBEATS: usize = 6;

/// Loops of the queue that fail this often, with less than [`CALM`] between one failure and the next, make a process to be started again.
const RESTARTS: usize = 1_000;

/// After this long without a failure, failures are counted anew.
const CALM: Duration = Duration::from_mins(10);

/// How often the loops of the queue have failed of late.
#[derive(Default)]
struct Failures {
    count: usize,
    last: Option<Instant>,
}

impl Failures {
    /// Counts one more, at `now`.
    fn add(&mut self, now: Instant) -> usize {
        if self.last.is_none_or(|last| now.duration_since(last) >= CALM) {
            self.count = 0;
        }
        self.last = Some(now);
        self.count += 1;
        self.count
    }
}

/// The payload of the job [`PROJECT`].
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct ProjectJob {
    dns_zone: String,
}

/// Makes the queue's tables, or brings them up to date. Runs before our own migrations, as the database's owner.
pub async fn migrate(database_url: &str) -> Result<(), apalis_postgres::Error> {
    let pool = PgPool::connect(database_url).await?;
    let done = PostgresStorage::setup(&pool).await;
    pool.close().await;
    done
}

/// Takes jobs until `stop` resolves and those under way have ended, or the grace is over.
pub(crate) async fn run(worker: Arc<Worker>, queue_url: &str, stop: impl Future<Output = ()> + Send) -> Result<(), WorkerError> {
    let connections = u32::try_from(worker.settings.concurrency / 8 + 8).unwrap_or(32).min(32);
    let pool =
        PgPoolOptions::new().max_connections(connections).connect_lazy(queue_url).map_err(|error| WorkerError::Queue(error.to_string()))?;
    let listener = Listener::spawn(pool.clone());
    let failures = Mutex::new(Failures::default());
    let monitor = Monitor::new().shutdown_timeout(worker.settings.stop_grace).should_restart(move |loop_, error| {
        let failed = failures.lock().unwrap_or_else(PoisonError::into_inner).add(Instant::now());
        tracing::warn!(queue_loop = loop_.name(), %error, failed, "a loop of the queue ended; starting it again");
        failed < RESTARTS
    });
    let monitor = register(monitor, &worker, &pool, &listener, ISSUE, worker.settings.concurrency);
    let monitor = register(monitor, &worker, &pool, &listener, PROJECT, PROJECTIONS);
    let ended = monitor
        .run_with_signal(async {
            stop.await;
            Ok(())
        })
        .await;
    listener.stop();
    hand_back(&pool, &worker.name).await;
    pool.close().await;
    if worker.is_stopping() {
        return Ok(());
    }
    Err(WorkerError::Queue(ended.map_or_else(|error| error.to_string(), |()| "every loop has ended".to_owned())))
}

fn register(
    monitor: Monitor,
    worker: &Arc<Worker>,
    pool: &PgPool,
    listener: &Listener,
    queue: &'static str,
    concurrency: usize,
) -> Monitor {
    let config =
        Config::default().queue(queue).batch_size(1).lock_tasks(false).heartbeat_interval(HEARTBEAT).missed_heartbeats(MISSED_HEARTBEATS);
    let (worker, pool, listener) = (Arc::clone(worker), pool.clone(), listener.clone());
    monitor.register(move |restarts| {
        // A name that has been used before would leave the jobs of its last bearer running for ever.
        WorkerBuilder::new(format!("{}/{queue}/{restarts}", worker.name))
            .backend(PostgresStorage::<Value>::new(&pool).with_config(config.clone()).poll_with_strategy(Wake::new(TICK, &listener, queue)))
            .data((queue, Arc::clone(&worker)))
            .concurrency(concurrency)
            .build(handle)
    })
}

type Context = (&'static str, Arc<Worker>);

/// Runs a job on a task of its own: a panic is that job's alone, and the queue sees every job end well.
async fn handle(payload: Value, context: Data<Context>) -> Result<(), BoxDynError> {
    let (queue, worker): &Context = &context;
    let (queue, worker) = (*queue, Arc::clone(worker));
    let span = tracing::Span::current();
    let task = AbortOnDrop(tokio::spawn(async move { dispatch(queue, payload, &worker).await }.instrument(span)));
    if let Err(error) = task.join().await {
        tracing::error!(queue, %error, "a job panicked; the sweeper will send another");
    }
    Ok(())
}

async fn dispatch(queue: &'static str, payload: Value, worker: &Worker) {
    if queue == ISSUE {
        match serde_json::from_value::<IssueJob>(payload) {
            Ok(job) => {
                if let Err(error) = issue::run(worker, job).await {
                    tracing::warn!(issuance = %job.issuance_id, %error, "an issuance was left; it is taken up again when its lease is over");
                }
            }
            Err(error) => tracing::error!(queue, %error, "a job that cannot be read was dropped"),
        }
    } else {
        match serde_json::from_value::<ProjectJob>(payload) {
            Ok(job) => {
                if let Err(failure) = worker.projector.project(&job.dns_zone, None).await {
                    tracing::warn!(
                        zone = job.dns_zone,
                        code = failure.code.as_str(),
                        detail = failure.detail(),
                        "the zone is not through yet; another job is on its way"
                    );
                }
            }
            Err(error) => tracing::error!(queue, %error, "a job that cannot be read was dropped"),
        }
    }
}

/// A task that ends with its handle.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl AbortOnDrop {
    async fn join(mut self) -> Result<(), tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Gives back what did not end within the grace, so that nobody waits for our heartbeats to be missed.
async fn hand_back(pool: &PgPool, name: &str) {
    let ours = format!("{name}/%");
    let handed_back = sqlx::query(
        "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL WHERE lock_by LIKE $1 AND status IN ('Queued', 'Running')",
    )
    .bind(&ours)
    .execute(pool)
    .await;
    match handed_back {
        Ok(done) if done.rows_affected() > 0 => tracing::info!(jobs = done.rows_affected(), "gave jobs back to the queue"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "jobs could not be given back; they are found when our heartbeats are missed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_forgotten_after_a_calm() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        assert_eq!((failures.add(start), failures.add(start + CALM / 2), failures.add(start + CALM)), (1, 2, 3));
        assert_eq!(failures.add(start + CALM * 2), 1);
    }
}
