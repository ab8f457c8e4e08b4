//! The queue: apalis on PostgreSQL, as a transport and nothing else (`docs/adr/0004-queue.md`).
//!
//! A job wakes a worker up; the row that it names says what is to be done. A job that runs twice, late or never costs time and nothing
//! else, which is why every handler ends well and no job is ever tried again by the queue.

mod wake;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{BackendExt, BoxDynError, Data, Monitor, WorkerBuilder};
use apalis_postgres::{Config, PgPool, PostgresStorage};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tracing::Instrument;

use crate::issue::{self, IssueJob};
use crate::mail::{self, MailJob};
use crate::revoke::{self, RevokeJob};
use crate::scan::{self, Scan, ScanJob};
use crate::webhook::{self, WebhookJob};
use crate::worker::{Worker, WorkerError};
use wake::{Listener, Wake};

/// Looks at an issuance.
pub const ISSUE: &str = "issue";
/// Brings a zone in PowerDNS to what its rows say.
pub const PROJECT: &str = "project";
/// Asks a CA to revoke a certificate.
pub const REVOKE: &str = "revoke";

/// Sends a mail.
pub const MAIL: &str = zonecert_store::mails::QUEUE;

/// Sends messages to a webhook.
pub const WEBHOOK: &str = zonecert_store::webhook_deliveries::QUEUE;

/// Looks for what is due.
pub const SCAN: &str = "scan";

/// Zones projected at the same time.
const PROJECTIONS: usize = 8;

/// Certificates revoked at the same time.
const REVOCATIONS: usize = 4;

/// Mails sent at the same time: a relay wants few connections from one host.
const MAILS: usize = 4;

/// Webhooks that messages are sent to at the same time. Each job is one message at a time, and a few at one webhook.
const WEBHOOKS: usize = 64;

/// At a stop, what is still in hand is looked at this often.
const LOOK_AT_HANDS: Duration = Duration::from_millis(50);

/// So long the queue has to note that the last jobs have ended. It does not always hear of one that ends after it was told to stop.
const NOTE_WITHIN: Duration = Duration::from_millis(500);

/// A stop does not wait for a database that is away.
const HAND_BACK_WITHIN: Duration = Duration::from_secs(3);

/// Without a notification the queue is looked at this often.
const TICK: Duration = Duration::from_millis(500);

/// A job held by a process that has not been seen for `HEARTBEAT × MISSED_HEARTBEATS` is given to another.
const HEARTBEAT: Duration = Duration::from_secs(5);
const MISSED_HEARTBEATS: usize = 6;

/// A loop of the queue that has ended is started again after this: a database that refuses connections at once is not asked in a circle.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

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

/// Takes jobs until the worker is told to stop and those under way have ended, or the grace is over, however often and long the database is away. While the
/// worker is drained it takes none, and what is under way goes on to where it rests or ends.
pub(crate) async fn run(worker: Arc<Worker>, queue_url: &str) -> Result<(), WorkerError> {
    let connections = u32::try_from(worker.settings.concurrency / 8 + 8).unwrap_or(32).min(32);
    let pool =
        PgPoolOptions::new().max_connections(connections).connect_lazy(queue_url).map_err(|error| WorkerError::Queue(error.to_string()))?;
    let listener = Listener::spawn(pool.clone());
    let stopped = stopped(Arc::clone(&worker)).boxed().shared();
    let mut rounds = 0;
    loop {
        rounds += 1;
        worker.metrics.takes_jobs(true);
        let take = |queue, concurrency| take_jobs(&worker, &pool, &listener, &stopped, (queue, rounds), concurrency);
        // Mail is left to a worker that can send.
        let mails = async {
            if worker.mailer.is_some() {
                take(MAIL, MAILS).await;
            }
        };
        let webhooks = async {
            if worker.webhooks.is_some() {
                take(WEBHOOK, WEBHOOKS).await;
            }
        };
        tokio::join!(
            take(ISSUE, worker.settings.concurrency),
            take(PROJECT, PROJECTIONS),
            take(SCAN, Scan::ALL.len()),
            take(REVOKE, REVOCATIONS),
            mails,
            webhooks
        );
        worker.metrics.takes_jobs(false);
        if worker.is_stopping() {
            break;
        }
        tracing::info!("drained: nothing is in hand, and nothing new is taken until somebody says otherwise");
        tokio::select! {
            () = worker.told_to_stop() => break,
            () = worker.told_to_drain(false) => tracing::info!("taking jobs again"),
        }
    }
    listener.stop();
    stopped.await;
    let handed_back = async {
        hand_back(&pool, &worker.name).await;
        pool.close().await;
    };
    if tokio::time::timeout(HAND_BACK_WITHIN, handed_back).await.is_err() {
        tracing::warn!("jobs could not be given back, as the database is away; they are found when our heartbeats are missed");
    }
    Ok(())
}

/// After the worker was told to stop: until every job has ended, with the queue or without it, or the grace is over.
async fn stopped(worker: Arc<Worker>) {
    worker.told_to_stop().await;
    let ended = async {
        while worker.jobs_under_way() > 0 {
            crate::wait::pause(LOOK_AT_HANDS).await;
        }
    };
    if tokio::time::timeout(worker.settings.stop_grace, ended).await.is_err() {
        tracing::warn!(in_hand = worker.issuances_in_hand(), "the grace is over: what is under way is left to others");
    }
}

/// Takes the jobs of a queue until the worker is told to stop or to take nothing new, and those under way have ended. The loop of the queue ends with every
/// error of the database; it is then begun anew.
async fn take_jobs(
    worker: &Arc<Worker>,
    pool: &PgPool,
    listener: &Listener,
    stopped: &Shared<BoxFuture<'static, ()>>,
    (queue, round): (&'static str, usize),
    concurrency: usize,
) {
    let config =
        Config::default().queue(queue).batch_size(1).lock_tasks(false).heartbeat_interval(HEARTBEAT).missed_heartbeats(MISSED_HEARTBEATS);
    for attempt in 1_usize.. {
        let (failures, stopped) = (worker.metrics.queue_failures(), stopped.clone());
        // A drain takes as long as it takes; a stop has its grace.
        let out_of_time = async move {
            stopped.await;
            crate::wait::pause(NOTE_WITHIN).await;
        };
        let monitor = Monitor::new().with_terminator(out_of_time).should_restart(move |loop_, error| {
            failures.inc();
            tracing::warn!(queue_loop = loop_.name(), %error, "a loop of the queue ended; it is begun anew");
            false
        });
        let (config, taken, pool, listener) = (config.clone(), Arc::clone(worker), pool.clone(), listener.clone());
        let monitor = monitor.register(move |_| {
            // A name that has been used before would leave the jobs of its last bearer running for ever.
            WorkerBuilder::new(format!("{}/{queue}/{round}/{attempt}", taken.name))
                .backend(
                    PostgresStorage::<Value>::new(&pool).with_config(config.clone()).poll_with_strategy(Wake::new(TICK, &listener, queue)),
                )
                .data((queue, Arc::clone(&taken)))
                .concurrency(concurrency)
                .build(handle)
        });
        let asked = AtomicBool::new(false);
        let told = async {
            worker.told_to_take_nothing().await;
            asked.store(true, Ordering::Relaxed);
            Ok(())
        };
        // The error was told above.
        let _ = monitor.run_with_signal(told).await;
        if asked.load(Ordering::Relaxed) {
            return;
        }
        tokio::select! {
            () = crate::wait::pause(PAUSE_AFTER_FAILURE) => {}
            () = worker.told_to_take_nothing() => return,
        }
    }
}

type Context = (&'static str, Arc<Worker>);

/// Runs a job on a task of its own: a panic is that job's alone, and the queue sees every job end well.
async fn handle(payload: Value, context: Data<Context>) -> Result<(), BoxDynError> {
    let (queue, worker): &Context = &context;
    let (queue, worker) = (*queue, Arc::clone(worker));
    let span = tracing::Span::current();
    let (job, under_way) = (Arc::clone(&worker), Arc::clone(&worker.jobs));
    let work = async move {
        dispatch(queue, payload, &job).await;
        drop(under_way);
    };
    let task = tokio::spawn(work.instrument(span));
    if let Err(error) = (InHand { task, worker }).join().await {
        tracing::error!(queue, %error, "a job panicked; the sweeper will send another");
    }
    Ok(())
}

async fn dispatch(queue: &'static str, payload: Value, worker: &Worker) {
    let read = match queue {
        ISSUE => serde_json::from_value(payload).map(Job::Issue),
        REVOKE => serde_json::from_value(payload).map(Job::Revoke),
        MAIL => serde_json::from_value(payload).map(Job::Mail),
        WEBHOOK => serde_json::from_value(payload).map(Job::Webhook),
        SCAN => serde_json::from_value(payload).map(Job::Scan),
        _ => serde_json::from_value(payload).map(Job::Project),
    };
    match read {
        Ok(job) => job.run(worker).await,
        Err(error) => tracing::error!(queue, %error, "a job that cannot be read was dropped"),
    }
}

/// What a job asks for.
enum Job {
    Issue(IssueJob),
    Mail(MailJob),
    Project(ProjectJob),
    Revoke(RevokeJob),
    Scan(ScanJob),
    Webhook(WebhookJob),
}

impl Job {
    async fn run(self, worker: &Worker) {
        match self {
            Self::Issue(job) => {
                if let Err(error) = issue::run(worker, job).await {
                    tracing::warn!(issuance = %job.issuance_id, %error, "an issuance was left; it is taken up again when its lease is over");
                }
            }
            Self::Revoke(job) => {
                if let Err(error) = revoke::run(worker, job).await {
                    tracing::warn!(revocation = %job.revocation_id, %error, "a revocation was left; it is taken up again when it is due");
                }
            }
            Self::Mail(job) => {
                if let Err(error) = mail::run(worker, job).await {
                    tracing::warn!(mail = %job.mail_id, %error, "a mail was left; it is taken up again when it is due");
                }
            }
            Self::Webhook(job) => {
                if let Err(error) = webhook::run(worker, job).await {
                    tracing::warn!(webhook = %job.webhook_id, %error, "a webhook was left; it is taken up again when something is due");
                }
            }
            Self::Scan(job) => {
                if let Err(error) = scan::look(worker, job.scan).await {
                    tracing::warn!(scan = job.scan.as_str(), %error, "a scan was left; the next tick goes on");
                }
            }
            Self::Project(job) => {
                if let Err(failure) = worker.projector.project(&job.dns_zone, None).await {
                    tracing::warn!(
                        zone = job.dns_zone,
                        code = failure.code.as_str(),
                        detail = failure.detail(),
                        "the zone is not through yet; another job is on its way"
                    );
                }
            }
        }
    }
}

/// A job under way. The queue forgets it where a loop of the queue ends because the database is away: it then goes on by itself, since what the CA is doing for it
/// must not be forgotten. Once the grace of a stop is over it ends.
struct InHand {
    task: tokio::task::JoinHandle<()>,
    worker: Arc<Worker>,
}

impl InHand {
    async fn join(mut self) -> Result<(), tokio::task::JoinError> {
        (&mut self.task).await
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if self.worker.is_stopping() {
            self.task.abort();
        }
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
