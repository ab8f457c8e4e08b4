//! The zone that the names of a certificate are under (requirements S3.11, S3.12).

use zonecert_domain::id::{AccountId, ZoneId};
use zonecert_domain::name::NameSet;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::zones::{self, Zone, ZoneStatus};
use zonecert_store::{Connection, StoreError};

use crate::problem::{FieldError, Problem};

/// The zone, proven or not. Requirements section 1 fixes the text of 404: the same for a zone that is not there, for one that was deleted and for another
/// account's.
pub(super) async fn get(conn: &mut Connection, account: AccountId, zone: Option<ZoneId>) -> Result<Zone, Problem> {
    let absent = || Problem::absent("zone_not_found", "Zone not found or no permission");
    zones::get_zone(conn, account, zone.ok_or_else(absent)?).await.map_err(|error| match error {
        StoreError::NotFound => absent(),
        other => other.into(),
    })
}

/// The zone, whose control must be proven now.
pub(super) async fn get_verified(conn: &mut Connection, account: AccountId, zone: Option<ZoneId>) -> Result<Zone, Problem> {
    let zone = get(conn, account, zone).await?;
    let verify = format!("POST /api/v1/zones/{}/verify", zone.id);
    match zone.status {
        ZoneStatus::Verified => Ok(zone),
        ZoneStatus::Pending => {
            let detail = format!("The zone {} is not verified yet; set its TXT record and {verify} first", zone.name);
            Err(Problem::conflict("zone_not_verified", detail))
        }
        ZoneStatus::Lost => {
            let detail = format!("Control of the zone {} is no longer proven; set its TXT record again and {verify}", zone.name);
            Err(Problem::conflict("zone_not_verified", detail))
        }
    }
}

/// Whether all names are the zone's apex or below it.
pub(super) fn check_under(names: &NameSet, zone: &ZoneName) -> Result<(), Problem> {
    let fault = |name| format!("{name} is neither {zone} nor below it");
    let errors: Vec<_> =
        names.outside(zone).map(|(field, name)| FieldError::new(field.pointer(), "domain_not_under_zone", fault(name))).collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Problem::bad_request("domain_not_under_zone", "Domain not under zone").with_errors(errors))
}
