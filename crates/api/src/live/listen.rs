//! The one connection of this process on which the database announces new events: of orders, and of what the operator does to an account.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use zonecert_store::StoreError;
use zonecert_store::live_events::{Announcement, Listener};

use crate::app::App;

/// Before the next try to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// After so long a silence the connection is asked for a sign of life.
const SILENCE: Duration = Duration::from_secs(15);

/// How long it may take to give one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens until the live streams are closed, and connects again as often as the connection is lost.
pub(crate) async fn run(app: Arc<App>) {
    tokio::select! {
        () = listen_again_and_again(&app) => {}
        () = app.live.until_closed() => {}
    }
}

async fn listen_again_and_again(app: &App) {
    let mut pauses = tokio::time::interval(PAUSE);
    pauses.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_lost = false;
    loop {
        pauses.tick().await;
        let lost = match app.store.listen().await {
            Ok(listener) => {
                tracing::info!("listening for new events");
                was_lost = false;
                announce(listener, app).await
            }
            Err(error) => error,
        };
        // Said once, however long the database is away.
        if !was_lost {
            tracing::warn!(error = %lost, "not listening for new events; live streams look for them at each keep-alive until this is mended");
        }
        was_lost = true;
    }
}

/// Wakes whom an announcement concerns, until the connection is lost.
async fn announce(mut listener: Listener, app: &App) -> StoreError {
    // What happened while nobody listened was not announced.
    app.live.wake_all();
    loop {
        match timeout(SILENCE, listener.next()).await {
            Ok(Ok(Announcement { account, .. })) => {
                app.forget(account);
                app.live.wake(account);
            }
            Ok(Err(error)) => return error,
            Err(_) => match timeout(PATIENCE, listener.ping()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(_) => return StoreError::Unavailable("the listening connection gives no sign of life".to_owned()),
            },
        }
    }
}
