//! Records that customers keep in the zones that we host (requirements S3.71). They are set, deleted and listed by name and type: all records of
//! one name and type are one record set, with one TTL.

pub(super) mod change;
pub(super) mod delete;
pub(super) mod import;
pub(super) mod read;
pub(super) mod set;
mod view;

use zonecert_domain::id::{AccountId, ZoneId};
use zonecert_domain::records::RecordError;
use zonecert_store::Connection;
use zonecert_store::zones::{self, Zone, ZoneMode};

use crate::problem::{FieldError, Problem};

/// The zone, if we serve its records.
async fn get_hosted_zone(conn: &mut Connection, account: AccountId, id: ZoneId) -> Result<Zone, Problem> {
    let zone = zones::get_zone(conn, account, id).await?;
    if zone.mode == ZoneMode::Hosted {
        return Ok(zone);
    }
    let detail = format!("The zone {} is delegated: its records are kept where it is served, and not here", zone.name);
    Err(Problem::conflict("zone_not_hosted", detail))
}

/// The problem of a record that [`zonecert_domain::records`] refuses, at this place of the request.
fn problem(error: &RecordError, pointer: &str) -> Problem {
    let fault = FieldError::new(pointer, error.code(), error.detail());
    match error {
        RecordError::Reserved { .. } | RecordError::CnameNotAlone { .. } => {
            Problem::conflict(error.code(), error.detail()).with_errors(vec![fault])
        }
        _ => Problem::invalid(vec![fault]),
    }
}
