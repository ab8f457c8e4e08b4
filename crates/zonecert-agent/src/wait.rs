//! Waiting: the home of every pause.

use std::time::Duration;

/// Lets `duration` pass.
#[expect(clippy::disallowed_methods, reason = "the one home of pauses here")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
