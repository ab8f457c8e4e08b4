//! The one thread that starts every child process and runs the proxy.
//!
//! Linux sends a child its parent-death signal when the *thread* that started it ends (prctl(2), `PR_SET_PDEATHSIG`), and a task
//! dies with its runtime. Threads of a test's runtime come and go; this one lives as long as the process.

use std::future::{Future, pending};
use std::sync::{OnceLock, mpsc};

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;

fn handle() -> Result<&'static Handle> {
    static KEEPER: OnceLock<Option<Handle>> = OnceLock::new();
    KEEPER.get_or_init(start).as_ref().context("the devstack's keeper thread could not be started")
}

fn start() -> Option<Handle> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("devstack-keeper".to_owned())
        .spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime
                && sender.send(runtime.handle().clone()).is_ok()
            {
                runtime.block_on(pending::<()>());
            }
        })
        .ok()?;
    receiver.recv().ok()
}

/// Runs `work` on the keeper's thread and waits for what it answers.
pub(crate) async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    handle()?.spawn(work).await.context("the devstack's keeper thread lost a task")
}

/// Work on the keeper's thread. It ends when this is dropped.
pub(crate) struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts `work` on the keeper's thread, where it outlives the caller's runtime.
pub(crate) fn start_task(work: impl Future<Output = ()> + Send + 'static) -> Result<Task> {
    Ok(Task(handle()?.spawn(work).abort_handle()))
}
