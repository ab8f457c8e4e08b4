//! Work that takes a core for long: on a thread for such work, and no more of it at once than there are turns.

use actix_web::web;
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// Waits for a turn, and does it.
pub(crate) async fn take<R: Send + 'static>(turns: &'static Semaphore, work: impl FnOnce() -> R + Send + 'static) -> Result<R, Problem> {
    let turn = turns.acquire().await.map_err(|error| Problem::caused_by(&error))?;
    // The thread goes on when the client hangs up, so the turn is its own.
    let work = move || {
        let _turn = turn;
        work()
    };
    web::block(work).await.map_err(|error| Problem::caused_by(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_client_that_hangs_up_makes_no_room_before_the_work_is_done() {
        static TURNS: Semaphore = Semaphore::const_new(1);
        let (start, started) = oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        let mut request = Box::pin(take(&TURNS, move || {
            start.send(()).unwrap();
            ended.recv().unwrap();
        }));
        tokio::select! {
            _ = &mut request => panic!("it cannot have ended"),
            begun = started => begun.unwrap(),
        }
        drop(request);
        assert_eq!(TURNS.available_permits(), 0);
        end.send(()).unwrap();
        drop(TURNS.acquire().await.unwrap());
    }
}
