//! What a test lets happen between a client and the server behind a proxy: requests and answers that are held, and faults.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::StatusCode;
use serde_json::json;
use tokio::sync::watch;

use crate::answer::{self, Answer};
use crate::fault::Fault;
use crate::wait;

/// Longer than anything that is awaited takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The rules of one proxy. Each is about the requests whose path begins as it says.
#[derive(Default)]
pub(crate) struct Interference(Mutex<Vec<Rule>>);

struct Rule {
    path: String,
    what: What,
    /// Raised when a request meets the rule, which ends once nobody looks any more.
    met: watch::Sender<usize>,
}

#[derive(Clone)]
enum What {
    /// The first request does not reach Pebble before it is released.
    HoldRequest(watch::Receiver<bool>),
    /// The answer to the first request does not leave the proxy before it is released.
    HoldAnswer(watch::Receiver<bool>),
    /// Every request is answered with this status, and Pebble hears of none.
    Refuse(StatusCode),
    /// The first request is answered with this problem document (RFC 8555 §6.7), and Pebble does not hear of it.
    Object(StatusCode, String),
    /// So many requests suffer this.
    Strike(Fault, usize),
}

impl What {
    /// How many requests it is about.
    const fn limit(&self) -> usize {
        match self {
            Self::Refuse(_) => usize::MAX,
            Self::Strike(_, times) => *times,
            Self::HoldRequest(_) | Self::HoldAnswer(_) | Self::Object(..) => 1,
        }
    }

    /// Whether it is about the answer, once the server behind has done what it was asked.
    const fn is_about_the_answer(&self) -> bool {
        match self {
            Self::HoldAnswer(_) => true,
            Self::Strike(fault, _) => !fault.is_on_the_way_there(),
            Self::HoldRequest(_) | Self::Refuse(_) | Self::Object(..) => false,
        }
    }
}

/// A request or answer that is held back, or will be. Dropping it lets it go, and ends the rule.
pub struct Hold {
    path: String,
    met: watch::Receiver<usize>,
    released: watch::Sender<bool>,
}

/// Requests that are refused, or suffer a fault, while this lives.
pub struct Refusal {
    path: String,
    met: watch::Receiver<usize>,
}

impl Hold {
    /// Waits until it holds something.
    pub async fn reached(&self) -> Result<()> {
        reached(&self.met, 1).await.with_context(|| format!("no request to {}", self.path))
    }

    /// Lets it go.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.released.send_replace(true);
    }
}

impl Refusal {
    /// Waits until so many requests were refused.
    pub async fn reached(&self, times: usize) -> Result<()> {
        reached(&self.met, times).await.with_context(|| format!("no {times} requests to {}", self.path))
    }

    /// How many requests were refused, or suffered the fault, so far.
    pub fn times(&self) -> usize {
        *self.met.borrow()
    }
}

async fn reached(met: &watch::Receiver<usize>, times: usize) -> Result<()> {
    let mut met = met.clone();
    tokio::time::timeout(PATIENCE, met.wait_for(|met| *met >= times)).await.context("none came in time")??;
    Ok(())
}

impl Interference {
    pub(crate) fn hold_request(&self, path: &str) -> Hold {
        self.hold(path, What::HoldRequest)
    }

    pub(crate) fn hold_answer(&self, path: &str) -> Hold {
        self.hold(path, What::HoldAnswer)
    }

    pub(crate) fn refuse(&self, path: &str, status: StatusCode) -> Refusal {
        let (sender, met) = watch::channel(0);
        self.add(path, What::Refuse(status), sender);
        Refusal { path: path.to_owned(), met }
    }

    pub(crate) fn object(&self, path: &str, status: StatusCode, problem_type: &str) -> Refusal {
        let (sender, met) = watch::channel(0);
        let problem = json!({ "type": format!("urn:ietf:params:acme:error:{problem_type}"), "detail": "the test objects", "status": status.as_u16() });
        self.add(path, What::Object(status, problem.to_string()), sender);
        Refusal { path: path.to_owned(), met }
    }

    /// Has the next `times` requests to a path that begins so suffer this.
    pub(crate) fn strike(&self, path: &str, fault: Fault, times: usize) -> Refusal {
        let (sender, met) = watch::channel(0);
        self.add(path, What::Strike(fault, times), sender);
        Refusal { path: path.to_owned(), met }
    }

    fn hold(&self, path: &str, what: fn(watch::Receiver<bool>) -> What) -> Hold {
        let ((sender, met), (released, release)) = (watch::channel(0), watch::channel(false));
        self.add(path, what(release), sender);
        Hold { path: path.to_owned(), met, released }
    }

    fn add(&self, path: &str, what: What, met: watch::Sender<usize>) {
        self.rules().push(Rule { path: path.to_owned(), what, met });
    }

    /// Before a request goes to the server: waits while it is held, and answers in place of the server where it is refused.
    pub(crate) async fn before(&self, path: &str) -> Option<Answer> {
        match self.meet(path, |what| !what.is_about_the_answer())? {
            What::HoldRequest(release) => wait_for(release).await,
            What::Refuse(status) => return Some(answer::text(status, "refused by the test\n".to_owned())),
            What::Object(status, problem) => return Some(answer::text(status, problem)),
            What::Strike(Fault::Slow(pause), _) => wait::pause(pause).await,
            What::Strike(fault, _) => return fault.refusal(),
            What::HoldAnswer(_) => {}
        }
        None
    }

    /// Before the server's answer leaves: waits while it is held. Returns what leaves, and whether that is the answer as it was.
    pub(crate) async fn after(&self, path: &str, answered: Answer) -> (Answer, bool) {
        match self.meet(path, What::is_about_the_answer) {
            Some(What::HoldAnswer(release)) => {
                wait_for(release).await;
                (answered, true)
            }
            Some(What::Strike(fault, _)) => (fault.spoil(answered), false),
            _ => (answered, true),
        }
    }

    /// The first rule of this kind that a request to `path` meets. Rules that nobody looks at any more are over, and so is one that has met all that it is about.
    fn meet(&self, path: &str, kind: impl Fn(&What) -> bool) -> Option<What> {
        let mut rules = self.rules();
        rules.retain(|rule| rule.met.receiver_count() > 0);
        let rule = rules.iter().find(|rule| {
            let spent = *rule.met.borrow() >= rule.what.limit();
            path.starts_with(&rule.path) && kind(&rule.what) && !spent
        })?;
        rule.met.send_modify(|met| *met += 1);
        Some(rule.what.clone())
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its sender may be gone, which releases as well.
async fn wait_for(mut release: watch::Receiver<bool>) {
    let _ = release.wait_for(|released| *released).await;
}

/// Shared by the proxies of one server, which come and go with it.
pub(crate) type Shared = Arc<Interference>;
