//! When the queue looks for jobs: at every notification and at every tick, none of them lost.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis::prelude::{PollSnapshot, PollStrategy};
use apalis_postgres::{PgListener, PgPool};
use futures::{Stream, StreamExt, stream};
use tokio::sync::broadcast;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A channel of apalis: a trigger notifies it of every job that is due at once.
const CHANNEL: &str = "apalis::job::insert";

/// A look that is under way may not see a job that was committed meanwhile: the next one follows after this.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// Stands for every queue: look, whatever it was.
const EVERY_QUEUE: &str = "";

/// The one LISTEN of this process; it fans out the names of queues that have a new job.
#[derive(Clone)]
pub(super) struct Listener {
    queues: broadcast::Sender<Arc<str>>,
    task: Arc<tokio::task::AbortHandle>,
}

impl Listener {
    pub(super) fn spawn(pool: PgPool) -> Self {
        let (queues, _) = broadcast::channel(256);
        let sender = queues.clone();
        let task = tokio::spawn(async move {
            loop {
                let Err(error) = listen(&pool, &sender).await else { continue };
                tracing::warn!(%error, "not listening for jobs; looking at every tick meanwhile");
                crate::wait::pause(Duration::from_secs(1)).await;
            }
        });
        Self { queues, task: Arc::new(task.abort_handle()) }
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

async fn listen(pool: &PgPool, queues: &broadcast::Sender<Arc<str>>) -> Result<(), sqlx::Error> {
    #[derive(serde::Deserialize)]
    struct Inserted {
        job_type: String,
    }

    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    let _ = queues.send(EVERY_QUEUE.into());
    loop {
        let queue: Arc<str> = match listener.try_recv().await? {
            Some(notification) => match serde_json::from_str::<Inserted>(notification.payload()) {
                Ok(inserted) => inserted.job_type.into(),
                Err(_) => EVERY_QUEUE.into(),
            },
            // The connection was lost and is back: anything may have come meanwhile.
            None => EVERY_QUEUE.into(),
        };
        let _ = queues.send(queue);
    }
}

/// The poll strategy of one queue. Both sources are drained until they are pending, so that a waker is registered with each.
pub(super) struct Wake {
    tick: Interval,
    notified: Pin<Box<dyn Stream<Item = ()> + Send>>,
}

impl Wake {
    pub(super) fn new(period: Duration, listener: &Listener, queue: &'static str) -> Self {
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let notified = stream::unfold(listener.queues.subscribe(), move |mut queues| async move {
            loop {
                match queues.recv().await {
                    Ok(name) if *name == *queue || *name == *EVERY_QUEUE => return Some(((), queues)),
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => return Some(((), queues)),
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        Self { tick, notified: Box::pin(notified.fuse()) }
    }
}

impl PollStrategy for Wake {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut fired = false;
        while let Poll::Ready(Some(())) = self.notified.as_mut().poll_next(cx) {
            fired = true;
        }
        if fired {
            self.tick.reset_after(SECOND_LOOK);
        }
        while self.tick.poll_tick(cx).is_ready() {
            fired = true;
        }
        if fired { Poll::Ready(Some(())) } else { Poll::Pending }
    }
}
