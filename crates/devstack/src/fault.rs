//! What can go wrong with one request, on its way there or back.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use hyper::body::Bytes;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::answer::{self, Answer, AnswerBody};

/// What a proxy does with a request instead of passing it and its answer on as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Refused with this status; the server behind hears of nothing.
    Refused {
        /// HTTP status.
        status: u16,
        /// Seconds of `Retry-After`.
        retry_after: Option<u32>,
    },
    /// Refused with a problem document (RFC 8555 §6.7).
    Problem {
        /// HTTP status.
        status: u16,
        /// Without its namespace.
        problem_type: &'static str,
    },
    /// Reaches the server late.
    Slow(Duration),
    /// Done, and answered with this status all the same.
    DoneButAnswered(u16),
    /// Done, and the connection breaks off in the middle of the answer.
    BrokenOff,
    /// Done, and the answer is half of its JSON.
    Malformed,
    /// An authorization that is valid is shown as pending.
    StuckPending,
    /// An order that is valid is shown as processing.
    StuckProcessing,
    /// A certificate comes for a key that nobody has asked for.
    WrongKey,
}

impl Fault {
    /// Whether it strikes a request before the server behind hears of it.
    pub(crate) const fn is_on_the_way_there(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Problem { .. } | Self::Slow(_))
    }

    /// What is answered in place of the server.
    pub(crate) fn refusal(&self) -> Option<Answer> {
        match self {
            Self::Refused { status, retry_after } => {
                let mut refusal = answer::text(status_of(*status), "a fault of the bench\n".to_owned());
                if let Some(seconds) = retry_after {
                    refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
                }
                Some(refusal)
            }
            Self::Problem { status, problem_type } => Some(problem(*status, problem_type)),
            _ => None,
        }
    }

    /// What becomes of the server's answer.
    pub(crate) fn spoil(&self, answered: Answer) -> Answer {
        match self {
            Self::DoneButAnswered(status) => answer::text(status_of(*status), "a fault of the bench\n".to_owned()),
            Self::BrokenOff => answer::broken_off(answered),
            Self::Malformed => with_body(answered, |body| Some(body.slice(..body.len() / 2))),
            Self::StuckPending => with_body(answered, |body| with_status(&body, "valid", "pending")),
            Self::StuckProcessing => with_body(answered, |body| with_status(&body, "valid", "processing")),
            Self::WrongKey => with_body(answered, |_| stranger().map(Bytes::from)),
            Self::Refused { .. } | Self::Problem { .. } | Self::Slow(_) => answered,
        }
    }
}

/// A problem document (RFC 8555 §6.7) of this type, given without its namespace.
pub(crate) fn problem(status: u16, problem_type: &str) -> Answer {
    let problem = json!({ "type": format!("urn:ietf:params:acme:error:{problem_type}"), "detail": "the test says so", "status": status });
    answer::json(status, problem.to_string())
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn with_body(answered: Answer, change: impl FnOnce(Bytes) -> Option<Bytes>) -> Answer {
    let (head, body) = answered.into_parts();
    let bytes = Bytes::copy_from_slice(body.bytes());
    Answer::from_parts(head, AnswerBody::from(change(bytes.clone()).unwrap_or(bytes)))
}

/// The JSON with another `status`, where it has the one that is meant.
fn with_status(body: &[u8], from: &str, to: &str) -> Option<Bytes> {
    let mut object: Value = serde_json::from_slice(body).ok()?;
    if object["status"] != from {
        return None;
    }
    object["status"] = to.into();
    Some(Bytes::from(object.to_string()))
}

/// A certificate that has nothing to do with anybody here.
fn stranger() -> Option<String> {
    let key = KeyPair::generate().ok()?;
    let certificate = CertificateParams::new(["stranger.test".to_owned()]).ok()?.self_signed(&key).ok()?;
    Some(certificate.pem())
}
