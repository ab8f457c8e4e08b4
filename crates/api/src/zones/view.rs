//! A zone as clients see it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use zonecert_domain::id::ZoneId;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::zones::{Zone, ZoneStatus};

/// Stands before the random part of the value, so that a person who meets it in a zone knows what it is for.
pub(crate) const VALUE_PREFIX: &str = "zonecert-verification=";

#[derive(Serialize)]
pub(crate) struct ZoneView<'a> {
    id: ZoneId,
    name: &'a ZoneName,
    mode: &'static str,
    status: &'static str,
    created_at: DateTime<Utc>,
    verified_at: Option<DateTime<Utc>>,
    last_checked_at: Option<DateTime<Utc>>,
    verification: Verification<'a>,
    /// What to do next; nothing once the zone is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
}

/// The TXT record that proves control.
#[derive(Serialize)]
struct Verification<'a> {
    record: String,
    r#type: &'static str,
    value: &'a str,
}

impl<'a> ZoneView<'a> {
    pub(crate) fn new(zone: &'a Zone) -> Self {
        Self {
            id: zone.id,
            name: &zone.name,
            mode: zone.mode.as_str(),
            status: zone.status.as_str(),
            created_at: zone.created_at,
            verified_at: zone.verified_at,
            last_checked_at: zone.last_checked_at,
            verification: Verification { record: record_name(&zone.name), r#type: "TXT", value: &zone.verification_value },
            instructions: (zone.status != ZoneStatus::Verified).then(|| instructions(zone)),
        }
    }
}

/// Where the proof stands, without trailing dot.
pub(crate) fn record_name(zone: &ZoneName) -> String {
    format!("_zonecert.{zone}")
}

/// What proves control of the zone.
pub(crate) fn instructions(zone: &Zone) -> String {
    format!(
        "Set a TXT record at {} with the value {} in the present DNS of {}, then POST /api/v1/zones/{}/verify",
        record_name(&zone.name),
        zone.verification_value,
        zone.name,
        zone.id
    )
}
