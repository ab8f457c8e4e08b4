//! A failure as it is stored, and as people are shown it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use zonecert_domain::failure::Failure;

/// What is stored of a failure, and told in events.
pub fn describe(failure: &Failure) -> Value {
    json!({ "code": failure.code.as_str(), "detail": failure.detail(), "remedy": failure.remedy() })
}

/// What a certificate shows of it. Findings are added later, if there are any.
pub fn shown(failure: &Failure, next_attempt_at: Option<DateTime<Utc>>) -> Value {
    shown_limited(failure, next_attempt_at, None)
}

/// The same where the CA's limits leave no room before a moment.
pub fn shown_limited(failure: &Failure, next_attempt_at: Option<DateTime<Utc>>, limited_until: Option<DateTime<Utc>>) -> Value {
    let mut shown = describe(failure);
    shown["next_attempt_at"] = json!(next_attempt_at);
    shown["rate_limited_until"] = json!(limited_until);
    shown["findings"] = json!([]);
    shown
}
