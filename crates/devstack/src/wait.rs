//! Waiting for a condition: the home of every pause in development tools and tests.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Calls `look` every 50 ms until it answers `Some`, for at most `within`.
///
/// # Errors
/// The first error of `look`, or one that says `what` did not happen in time.
pub async fn until<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("{what}: still not so after {} s", within.as_secs_f32());
        }
        pause(BETWEEN_LOOKS).await;
    }
}

/// Lets `duration` pass. Tests wait for a condition instead: see [`until`].
#[expect(clippy::disallowed_methods, reason = "the one home of pauses in the development tools")]
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The blocking twin of [`until`], for `Drop`: true when `look` was true within the time.
pub(crate) fn blocking_until(within: Duration, mut look: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if look() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
