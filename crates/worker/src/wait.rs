//! Waiting: the home of every pause of the worker.

use std::time::Duration;

/// Lets `duration` pass. Nothing is held meanwhile but what the caller holds: no database connection, by the rule of the house.
#[expect(clippy::disallowed_methods, reason = "the one home of pauses in the worker")]
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
