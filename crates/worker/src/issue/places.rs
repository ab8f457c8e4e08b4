//! Where the TXT values of an order are written: in the zone itself where we host it, else in the challenge zone (requirements S3.71).

use zonecert_domain::delegation;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::ZoneId;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::issuing::Subject;
use zonecert_store::zones::ZoneMode;

use super::Run;

/// Where the values of a certificate's names stand.
pub(super) enum Places {
    /// In this zone of ours, where the CA looks.
    Hosted(String),
    /// In the challenge zone, where the aliases of this zone lead.
    Delegated(ZoneId, ZoneName),
}

impl Places {
    /// The zone in `PowerDNS`, without trailing dot.
    pub(super) fn dns_zone(&self) -> &str {
        match self {
            Self::Hosted(zone) => zone,
            Self::Delegated(_, challenge_zone) => challenge_zone.as_str(),
        }
    }

    /// Where the value of a name stands, without trailing dot. `*.` in front is passed over (RFC 8555 §8.4).
    pub(super) fn name(&self, name: &str) -> String {
        match self {
            Self::Hosted(_) => delegation::alias(name),
            Self::Delegated(zone, challenge_zone) => delegation::target(*zone, name, challenge_zone),
        }
    }
}

impl Run<'_> {
    pub(super) fn places(&self, subject: &Subject) -> Result<Places, Failure> {
        match (subject.zone_mode, self.worker.projector.challenge_zone()) {
            (ZoneMode::Hosted, _) => Ok(Places::Hosted(subject.zone.clone())),
            (ZoneMode::Delegated, Some(challenge_zone)) => Ok(Places::Delegated(subject.zone_id, challenge_zone.clone())),
            (ZoneMode::Delegated, None) => {
                Err(Failure::new(FailureCode::Internal, "no challenge zone is configured, which delegated zones need"))
            }
        }
    }
}
