//! The work: once, or until somebody stops it.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::Api;
use crate::cli::Exit;
use crate::config::{Config, Wanted};
use crate::directory::{Directory, Locked};
use crate::round::{self, Outcome};
use crate::schedule::pause_after;
use crate::wait::pause;

/// A certificate, and when it is looked at again.
struct Watched<'a> {
    wanted: &'a Wanted,
    directory: Directory,
    due: Instant,
    /// In a row.
    failures: u32,
}

type Ended = Result<Exit, (Exit, anyhow::Error)>;

/// Looks at every certificate once.
pub(crate) async fn once(config: &Config) -> Ended {
    let (api, mut watched) = begin(config)?;
    let mut exit = Exit::Well;
    for one in &mut watched {
        let outcome = round::run(&api, one.wanted, &mut one.directory).await;
        exit = worse(exit, &outcome);
    }
    Ok(exit)
}

/// Looks at every certificate again and again, until SIGTERM or Ctrl-C. A round that has begun is brought to its end.
pub(crate) async fn go_on(config: &Config) -> Ended {
    let (api, mut watched) = begin(config)?;
    let [mut terminate, mut interrupt] = stop_signals().map_err(|error| (Exit::Trouble, error.into()))?;
    tracing::info!(certificates = watched.len(), interval_seconds = config.interval.as_secs(), "started");
    loop {
        let Some(next) = watched.iter_mut().min_by_key(|one| one.due) else { return Ok(Exit::Well) };
        let wait = next.due.saturating_duration_since(Instant::now());
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = pause(wait) => {}
        }
        let outcome = round::run(&api, next.wanted, &mut next.directory).await;
        next.failures = if outcome.troubles.is_empty() { 0 } else { next.failures.saturating_add(1) };
        let pause = pause_after(config.interval, next.failures, outcome.retry_after, rand::random());
        next.due = Instant::now().checked_add(pause).unwrap_or_else(|| Instant::now() + Duration::from_hours(24));
        tracing::debug!(certificate = next.wanted.id, seconds = pause.as_secs(), "looks again later");
    }
    tracing::info!("stopped");
    Ok(Exit::Well)
}

/// The locks are held until the end.
fn begin(config: &Config) -> Result<(Api, Vec<Watched<'_>>), (Exit, anyhow::Error)> {
    if config.token_is_open() {
        tracing::warn!("everybody on this server may read the file of the token; chmod 600 it");
    }
    let api = config.api().map_err(|error| (Exit::Usage, error))?;
    let mut watched = Vec::new();
    for wanted in &config.certificates {
        let directory = Directory::open(wanted).map_err(|error| {
            let exit = if error.is::<Locked>() { Exit::Locked } else { Exit::Trouble };
            (exit, error)
        })?;
        watched.push(Watched { wanted, directory, due: Instant::now(), failures: 0 });
    }
    Ok((api, watched))
}

fn stop_signals() -> std::io::Result<[Signal; 2]> {
    Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?])
}

/// What needs somebody goes before what may heal.
fn worse(exit: Exit, outcome: &Outcome) -> Exit {
    match (exit, outcome.troubles.is_empty(), outcome.is_temporary) {
        (exit, true, _) => exit,
        (Exit::Well | Exit::Later, false, true) => Exit::Later,
        (_, false, _) => Exit::Trouble,
    }
}
