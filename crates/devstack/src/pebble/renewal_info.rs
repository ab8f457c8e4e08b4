//! A directory of a test's own before a Pebble, with renewal information (RFC 9773) and profiles (draft-ietf-acme-profiles), which Pebble 2.4.0 does not have: the test says
//! what is answered.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use http::Method;
use http::header::RETRY_AFTER;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::Pebble;
use super::proxy::{Behind, NEW_ORDER_PATH, Proxy};
use super::seen::{Seen, jws};
use super::tls::Tls;
use crate::answer::{Answer, json as json_response};
use crate::fault::{Fault, problem};
use crate::interference::{Hold, Refusal, Shared};
use crate::stack::temporary_dir;

const DIRECTORY_PATH: &str = "/dir";
const RENEWAL_INFO_PATH: &str = "/renewal-info";

/// What the CA says about every certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenewalInfoAnswer {
    /// To renew in this time.
    Window {
        /// RFC 3339.
        start: String,
        /// RFC 3339.
        end: String,
        /// A page that says why.
        explanation_url: Option<String>,
        /// As it stands in the header.
        retry_after: Option<String>,
    },
    /// Anything else.
    Other {
        /// HTTP status.
        status: u16,
        /// Body as text, said to be JSON.
        body: String,
    },
}

/// The directory. Dropping it closes its port; the Pebble behind it stays.
pub struct RenewalInfoDirectory {
    proxy: Proxy,
    tls: Tls,
    seen: Arc<Mutex<Seen>>,
    script: Arc<Mutex<Script>>,
    interference: Shared,
    _scratch: TempDir,
}

impl RenewalInfoDirectory {
    /// Stands before this Pebble, and knows nothing about any certificate (404) until [`Self::answer`].
    pub async fn before(pebble: &Pebble) -> Result<Self> {
        let scratch = temporary_dir()?;
        let tls = Tls::create(scratch.path())?;
        let (seen, script, interference) = (Arc::default(), Arc::new(Mutex::new(Script::default())), Shared::default());
        let behind = Behind {
            port: pebble.proxy_port(),
            ca_file: pebble.ca_file(),
            seen: Arc::clone(&seen),
            interference: Arc::clone(&interference),
            script: Some(Arc::clone(&script)),
        };
        let proxy = Proxy::start(0, Arc::clone(&tls.server), behind).await?;
        Ok(Self { proxy, tls, seen, script, interference, _scratch: scratch })
    }

    /// The ACME directory (RFC 8555 §7.1.1).
    pub fn directory_url(&self) -> String {
        format!("https://127.0.0.1:{}{DIRECTORY_PATH}", self.proxy.port())
    }

    /// PEM root that signed its HTTPS certificate.
    pub fn ca_file(&self) -> &Path {
        &self.tls.ca_file
    }

    /// Says this about every certificate from now on.
    pub fn answer(&self, answer: RenewalInfoAnswer) {
        self.script().answer = Some(answer);
    }

    /// Refuses orders that say what they replace, from now on: with this status and problem type, without its namespace (RFC 8555 §6.7).
    pub fn refuse_replacements(&self, status: u16, problem_type: &str) {
        self.script().refusal = Some((status, problem_type.to_owned()));
    }

    /// Offers these profiles from now on, by name with a description, and refuses orders for any other.
    pub fn offer_profiles(&self, profiles: &[(&str, &str)]) {
        self.script().profiles = profiles.iter().map(|(name, description)| ((*name).to_owned(), json!(description))).collect();
    }

    /// The certificates that were asked about, by their identifiers (RFC 9773 §4.1), oldest first.
    pub fn asked_about(&self) -> Vec<String> {
        self.script().asked_about.clone()
    }

    /// What the orders said to replace that were refused for it, oldest first.
    pub fn refused_replacements(&self) -> Vec<String> {
        self.script().refused.clone()
    }

    /// Holds back the next request to a path that begins so: the CA does not hear of it until it is released.
    pub fn hold_request(&self, path: &str) -> Hold {
        self.interference.hold_request(path)
    }

    /// Holds back the answer to the next request to a path that begins so: the CA has done what it was asked, and the client does not know.
    pub fn hold_answer(&self, path: &str) -> Hold {
        self.interference.hold_answer(path)
    }

    /// Has the next `times` requests to a path that begins so suffer this, while what is returned lives.
    pub fn strike(&self, path: &str, fault: Fault, times: usize) -> Refusal {
        self.interference.strike(path, fault, times)
    }

    /// What has gone through to Pebble.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is answered in place of Pebble, and added to its answers.
#[derive(Default)]
pub(super) struct Script {
    answer: Option<RenewalInfoAnswer>,
    refusal: Option<(u16, String)>,
    profiles: Map<String, Value>,
    asked_about: Vec<String>,
    refused: Vec<String>,
}

impl Script {
    /// The answer, where Pebble is not asked.
    pub(super) fn answer_instead(&mut self, method: &Method, path: &str, body: &[u8]) -> Option<Answer> {
        if let Some(identifier) = path.strip_prefix(RENEWAL_INFO_PATH).and_then(|rest| rest.strip_prefix('/')) {
            self.asked_about.push(identifier.to_owned());
            // Renewal information is asked for without a signature (RFC 9773 §4.1).
            return Some(if method == Method::GET { self.renewal_info() } else { problem(405, "malformed") });
        }
        if asked(path, body, "profile").is_some_and(|profile| !self.profiles.contains_key(&profile)) {
            return Some(problem(400, "invalidProfile"));
        }
        let replaces = asked(path, body, "replaces")?;
        let (status, problem_type) = self.refusal.as_ref()?;
        let answer = problem(*status, problem_type);
        self.refused.push(replaces);
        Some(answer)
    }

    fn renewal_info(&self) -> Answer {
        match &self.answer {
            None => problem(404, "malformed"),
            Some(RenewalInfoAnswer::Other { status, body }) => json_response(*status, body.clone()),
            Some(RenewalInfoAnswer::Window { start, end, explanation_url, retry_after }) => {
                let mut info = json!({ "suggestedWindow": { "start": start, "end": end } });
                if let Some(url) = explanation_url {
                    info["explanationURL"] = json!(url);
                }
                let mut response = json_response(200, info.to_string());
                if let Some(value) = retry_after.as_ref().and_then(|value| value.parse().ok()) {
                    response.headers_mut().insert(RETRY_AFTER, value);
                }
                response
            }
        }
    }

    /// Pebble's answer, with what the RFC and the draft want in it.
    pub(super) fn complete(&self, path: &str, host: &str, body: &[u8], answered: Bytes) -> Bytes {
        if path != DIRECTORY_PATH && path != NEW_ORDER_PATH {
            return answered;
        }
        let mut answer: Value = serde_json::from_slice(&answered).unwrap_or_default();
        if path == DIRECTORY_PATH {
            answer["renewalInfo"] = json!(format!("https://{host}{RENEWAL_INFO_PATH}"));
            answer["meta"]["profiles"] = json!(self.profiles);
        }
        for field in ["replaces", "profile"] {
            if let Some(asked) = asked(path, body, field) {
                answer[field] = json!(asked);
            }
        }
        Bytes::from(answer.to_string())
    }
}

/// What a newOrder says in this field.
fn asked(path: &str, body: &[u8], field: &str) -> Option<String> {
    let (_, payload) = (path == NEW_ORDER_PATH).then(|| jws(body))?;
    payload[field].as_str().map(str::to_owned)
}
