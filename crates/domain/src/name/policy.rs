//! Which well-formed names we do not issue for: reserved and internal ones, public suffixes, the platform's own zones
//! (requirements S3.7).

use super::{DnsName, NameError, syntax};
use crate::zone_name::ZoneName;

/// What decides about names beyond their syntax; made once from the settings.
#[derive(Clone, Debug, Default)]
pub struct NamePolicy {
    /// Development: reserved and unknown top-level domains (`example.test`) are accepted. Public suffixes stay refused.
    pub allow_special_use: bool,
    /// The platform's own zones. No customer's zone may be one of them, below or above; no certificate may lie in one.
    pub platform_zones: Vec<ZoneName>,
}

/// Names that the public DNS does not delegate to anybody, and their registry: RFC 6761 (`test`, `localhost`, `invalid`,
/// `example` and its three second-level names), RFC 6762 (`local`), RFC 7686 (`onion`), RFC 9476 (`alt`), ICANN's reservation
/// of 2024 (`internal`), and `arpa` with all of its special names (RFC 3172, RFC 8375 `home.arpa`).
const SPECIAL_USE: [&str; 12] =
    ["alt", "arpa", "example", "example.com", "example.net", "example.org", "internal", "invalid", "local", "localhost", "onion", "test"];

impl NamePolicy {
    /// Checks a normalized name without `*.`, be it a zone's or a certificate's.
    pub(crate) fn check(&self, base: &str) -> Result<(), NameError> {
        if let Some(zone) = self.platform_zones.iter().find(|zone| syntax::is_at_or_below(base, zone.as_str())) {
            return Err(NameError::PlatformZone { zone: zone.clone() });
        }
        if !self.allow_special_use {
            if let Some(suffix) = SPECIAL_USE.into_iter().find(|suffix| syntax::is_at_or_below(base, suffix)) {
                return Err(NameError::SpecialUse { suffix });
            }
            if psl::suffix(base.as_bytes()).is_none_or(|suffix| !suffix.is_known()) {
                return Err(NameError::UnknownTld { tld: base.rsplit('.').next().unwrap_or(base).to_owned() });
            }
        }
        if is_public_suffix(base) {
            return Err(NameError::PublicSuffix { name: base.to_owned() });
        }
        Ok(())
    }

    /// A zone above a platform zone would hold it: refused as well.
    pub(crate) fn check_not_above_platform(&self, zone: &str) -> Result<(), NameError> {
        match self.platform_zones.iter().find(|platform| syntax::is_at_or_below(platform.as_str(), zone)) {
            Some(platform) => Err(NameError::PlatformZone { zone: platform.clone() }),
            None => Ok(()),
        }
    }

    /// A wildcard one level above a platform zone would cover its apex.
    pub(super) fn check_wildcard_beside_platform(&self, name: &DnsName) -> Result<(), NameError> {
        let covers =
            |zone: &&ZoneName| name.is_wildcard() && zone.as_str().split_once('.').is_some_and(|(_, parent)| parent == name.base());
        match self.platform_zones.iter().find(covers) {
            Some(zone) => Err(NameError::PlatformZone { zone: zone.clone() }),
            None => Ok(()),
        }
    }
}

/// Whether others register names directly below this one: it is a suffix itself (`co.uk`, `github.io`), or every name below it
/// is one (`kawasaki.jp`, by the rule `*.kawasaki.jp`, which leaves the name itself unlisted).
fn is_public_suffix(base: &str) -> bool {
    let below = format!("zonecert.{base}");
    psl::domain_str(base).is_none() || psl::domain_str(&below).is_none()
}
