//! Moments as people are shown them in texts.

use chrono::{DateTime, Utc};

/// To the second: `2027-01-15 08:00:00 UTC`.
pub fn shown(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
