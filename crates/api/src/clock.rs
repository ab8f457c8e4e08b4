//! The clock of this crate: read here, once a request, and passed on.

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "this is the one home of the clock in this crate")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
