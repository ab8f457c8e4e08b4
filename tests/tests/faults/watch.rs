//! A loop of downloads that runs along: what is valid can be had all the time, and stays the same until it is renewed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::AbortHandle;
use zonecert_devstack::wait;
use zonecert_tests::Client;

const BETWEEN_ROUNDS: Duration = Duration::from_millis(30);

/// Runs until it is dropped.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: AbortHandle,
}

#[derive(Default)]
struct Seen {
    certificates: BTreeMap<String, Watched>,
    /// We have cut the database off: an answer may be 503 meanwhile.
    database_in_trouble: bool,
    /// How often we have. A request may have seen all of one: it is asked before, and answered after.
    troubles: usize,
    violations: Vec<String>,
    downloads: usize,
}

#[derive(Clone)]
struct Watched {
    client: Client,
    /// What was downloaded, oldest first, each once.
    bodies: Vec<String>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    pub(crate) fn begin() -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(look_again_and_again(Arc::clone(&seen))).abort_handle();
        Self { seen, task }
    }

    pub(crate) fn add(&self, id: &str, client: &Client) {
        lock(&self.seen).certificates.insert(id.to_owned(), Watched { client: client.clone(), bodies: Vec::new() });
    }

    pub(crate) fn database_is_in_trouble(&self, in_trouble: bool) {
        let mut seen = lock(&self.seen);
        seen.troubles += usize::from(in_trouble);
        seen.database_in_trouble = in_trouble;
    }

    /// What was downloaded of a certificate, oldest first.
    pub(crate) fn bodies(&self, id: &str) -> Vec<String> {
        lock(&self.seen).certificates.get(id).map(|watched| watched.bodies.clone()).unwrap_or_default()
    }

    /// How often was downloaded so far, if never anything else came than should.
    pub(crate) fn check(&self) -> Result<usize> {
        let seen = lock(&self.seen);
        ensure!(seen.violations.is_empty(), "downloads:\n{}", seen.violations.join("\n"));
        Ok(seen.downloads)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look_again_and_again(seen: Arc<Mutex<Seen>>) {
    loop {
        let certificates: Vec<(String, Client)> =
            lock(&seen).certificates.iter().map(|(id, watched)| (id.clone(), watched.client.clone())).collect();
        for (id, client) in certificates {
            let (trouble_before, troubles) = {
                let seen = lock(&seen);
                (seen.database_in_trouble, seen.troubles)
            };
            let answer = client.get(&format!("/certificates/{id}/pem")).await.map(|answer| (answer.status.as_u16(), answer.text));
            let mut seen = lock(&seen);
            let trouble = trouble_before || seen.database_in_trouble || seen.troubles > troubles;
            if let Some(violation) = seen.violation(&id, answer, trouble) {
                seen.violations.push(violation);
            }
        }
        wait::pause(BETWEEN_ROUNDS).await;
    }
}

impl Seen {
    fn violation(&mut self, id: &str, answer: Result<(u16, String)>, trouble: bool) -> Option<String> {
        let watched = self.certificates.get_mut(id)?;
        match answer {
            Ok((200, body)) => {
                self.downloads += 1;
                if watched.bodies.last() == Some(&body) {
                    return None;
                }
                let went_back = watched.bodies.contains(&body);
                watched.bodies.push(body);
                went_back.then(|| format!("{id}: a download went back to an older version"))
            }
            Ok((503, _)) if trouble => None,
            // Nothing was issued yet.
            Ok((409, _)) if watched.bodies.is_empty() => None,
            Ok((status, body)) => Some(format!("{id}: {status} after {} versions: {body}", watched.bodies.len())),
            Err(error) => Some(format!("{id}: {error:#}")),
        }
    }
}
