//! A zone as clients see it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::delegation;
use zonecert_domain::id::ZoneId;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::zone_overviews::{Projection, ZoneOverview};
use zonecert_store::zones::{Zone, ZoneMode, ZoneStatus};

use crate::openapi::values;
use crate::settings::ApiSettings;

/// Stands before the random part of the value, so that a person who meets it in a zone knows what it is for.
pub(crate) const VALUE_PREFIX: &str = "zonecert-verification=";

/// What does not go with the zone's mode is null.
#[derive(Serialize, ToSchema)]
#[schema(as = Zone)]
pub(crate) struct ZoneView<'a> {
    #[schema(value_type = values::ZoneId)]
    id: ZoneId,
    #[schema(value_type = String, example = "your-domain.com")]
    name: &'a ZoneName,
    #[schema(value_type = values::ZoneMode)]
    mode: &'static str,
    #[schema(value_type = values::ZoneStatus)]
    status: &'static str,
    created_at: DateTime<Utc>,
    #[schema(required, example = json!(null))]
    verified_at: Option<DateTime<Utc>>,
    #[schema(required, example = json!(null))]
    last_checked_at: Option<DateTime<Utc>>,
    #[schema(required, example = json!(null))]
    next_check_at: Option<DateTime<Utc>>,
    #[schema(required, example = json!(null))]
    lost_at: Option<DateTime<Utc>>,
    verification: Verification<'a>,
    /// What the registrar is to point at, for a hosted zone.
    #[schema(value_type = Option<Vec<String>>, required, example = json!(["ns1.zonecert.example", "ns2.zonecert.example"]))]
    name_servers: Option<&'a [ZoneName]>,
    /// Record sets that the customer keeps in a hosted zone.
    #[schema(required, minimum = 0, example = 0)]
    record_count: Option<i64>,
    /// Whether our name servers show what they should; null until a hosted zone is verified.
    #[schema(required)]
    projection: Option<ProjectionView<'a>>,
    /// For a delegated zone.
    #[schema(required)]
    delegation: Option<Delegation>,
}

/// The TXT record that proves control.
#[derive(Serialize, ToSchema)]
#[schema(as = ZoneVerification)]
struct Verification<'a> {
    #[schema(example = "_zonecert.your-domain.com")]
    record: String,
    #[schema(schema_with = values::txt)]
    r#type: &'static str,
    #[schema(pattern = "^zonecert-verification=[0-9a-f]{32}$", example = "zonecert-verification=4f0c1a2b3d4e5f60718293a4b5c6d7e8")]
    value: &'a str,
    /// What to do, for people.
    #[schema(
        example = "Set a TXT record at _zonecert.your-domain.com with the value zonecert-verification=4f0c1a2b3d4e5f60718293a4b5c6d7e8 \
        in the present DNS of your-domain.com, then POST /api/v1/zones/zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/verify"
    )]
    instructions: String,
}

/// What our name servers show of a zone.
#[derive(Serialize, ToSchema)]
#[schema(as = Projection)]
struct ProjectionView<'a> {
    #[schema(value_type = values::ProjectionState)]
    state: &'static str,
    #[schema(required, example = json!(null))]
    last_error: Option<&'a str>,
}

/// The CNAME record by which challenges of the zone's own name, and of its wildcard, come to us.
#[derive(Serialize, ToSchema)]
struct Delegation {
    #[serde(flatten)]
    cname: CnameView,
    /// What to do, for people.
    #[schema(example = "Set this CNAME record in the present DNS of your-domain.com")]
    instructions: String,
}

/// A CNAME record that a delegated zone needs for certificates of a name.
#[derive(Serialize, ToSchema)]
#[schema(as = Cname)]
pub(super) struct CnameView {
    #[schema(example = "_acme-challenge.app.your-domain.com")]
    name: String,
    #[schema(schema_with = values::cname)]
    r#type: &'static str,
    #[schema(example = "4f0c1a2b3d4e5f60.challenges.zonecert.example")]
    target: String,
}

impl<'a> ZoneView<'a> {
    pub(crate) fn new(overview: &'a ZoneOverview, settings: &'a ApiSettings) -> Self {
        let zone = &overview.zone;
        let hosted = zone.mode == ZoneMode::Hosted;
        Self {
            id: zone.id,
            name: &zone.name,
            mode: zone.mode.as_str(),
            status: zone.status.as_str(),
            created_at: zone.created_at,
            verified_at: zone.verified_at,
            last_checked_at: zone.last_checked_at,
            next_check_at: overview.next_check_at,
            lost_at: overview.lost_at,
            verification: Verification {
                record: zone.name.ownership_record(),
                r#type: "TXT",
                value: &zone.verification_value,
                instructions: instructions(zone),
            },
            name_servers: hosted.then_some(settings.name_servers.as_slice()),
            record_count: hosted.then_some(overview.record_sets),
            projection: overview.projection.as_ref().map(ProjectionView::new),
            delegation: settings.challenge_zone.as_ref().filter(|_| !hosted).map(|challenge_zone| Delegation::new(zone, challenge_zone)),
        }
    }
}

impl<'a> ProjectionView<'a> {
    fn new(projection: &'a Projection) -> Self {
        let (state, last_error) = match projection {
            Projection::Current => ("current", None),
            Projection::Pending => ("pending", None),
            Projection::Failing { last_error } => ("failing", last_error.as_deref()),
        };
        Self { state, last_error }
    }
}

impl Delegation {
    fn new(zone: &Zone, challenge_zone: &ZoneName) -> Self {
        let Zone { id, name, .. } = zone;
        let instructions = format!(
            "Set this CNAME record in the present DNS of {name} for certificates of {name} and *.{name}; for other names below it, \
             GET /api/v1/zones/{id}/cname?name=app.{name} says which record they need"
        );
        Self { cname: CnameView::new(*id, name.as_str(), challenge_zone), instructions }
    }
}

impl CnameView {
    pub(super) fn new(zone: ZoneId, name: &str, challenge_zone: &ZoneName) -> Self {
        Self { name: delegation::alias(name), r#type: "CNAME", target: delegation::target(zone, name, challenge_zone) }
    }
}

/// What proves control of the zone, and goes on doing so.
pub(crate) fn instructions(zone: &Zone) -> String {
    let Zone { id, name, verification_value, .. } = zone;
    let record = zone.name.ownership_record();
    match (zone.status, zone.mode) {
        (ZoneStatus::Pending | ZoneStatus::Lost, _) => format!(
            "Set a TXT record at {record} with the value {verification_value} in the present DNS of {name}, then POST /api/v1/zones/{id}/verify"
        ),
        (ZoneStatus::Verified, ZoneMode::Hosted) => {
            format!("Leave the TXT record at {record} in place until the registrar points {name} at our name servers, where we keep it")
        }
        (ZoneStatus::Verified, ZoneMode::Delegated) => {
            format!("Leave the TXT record at {record} in place: it is looked for again from time to time")
        }
    }
}
