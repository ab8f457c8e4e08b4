//! Deletes a zone.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::{CertificateId, ZoneId};
use zonecert_domain::scope::Scope;
use zonecert_store::events::{Level, NewEvent};
use zonecert_store::zones::{self, Zone};
use zonecert_store::{Connection, StoreError, certificates, events, issuances, renewal_schedule};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::{Id, Query};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Whether the zone goes even with live certificates under it: those stay downloadable, and are no longer issued or renewed.
    force: Option<bool>,
}

/// Delete a zone
///
/// A zone that the service made on its name servers is taken off them; of one that was there before, the records that were set here go, and the others
/// stay. Certificates that failed, expired or were revoked do not stand in the way. With `force`, those that live do not either: they are no longer issued
/// or renewed, stay downloadable, and renew again once the account imports and verifies a zone of the same name.
#[utoipa::path(
    delete, path = "/api/v1/zones/{id}", tag = "zones", operation_id = "deleteZone",
    params(("id" = inline(values::ZoneId), Path), Parameters),
    responses(
        (status = 204, description = "Deleted."),
        (status = 409, description = "`zone_in_use`: 1 certificate is pending, validating or issued under your-domain.com; delete them first, or \
            add ?force=true, which stops their renewal"),
    ),
)]
pub(super) async fn delete(app: web::Data<App>, caller: Caller, id: Id<ZoneId>, query: Query<Parameters>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let (id, force) = (id.read()?, query.read()?.force.unwrap_or(false));
    app.store.tenant_write(caller.account, async move |conn| delete_zone(conn, &caller, id, force).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Whoever adds a certificate holds the same lock on the account, so none comes in between.
async fn delete_zone(conn: &mut Connection, caller: &Caller, id: ZoneId, force: bool) -> Result<(), Problem> {
    let account = caller.account;
    let zone = zones::get_zone(conn, account, id).await?;
    let live = certificates::list_in_zone(conn, account, id).await?;
    if !live.is_empty() && !force {
        return Err(in_use(&zone, live.len()));
    }
    zones::delete_zone(conn, account, id).await?;
    for &certificate in &live {
        stop_renewal(conn, caller, &zone, certificate).await?;
    }
    renewal_schedule::reschedule_zone(conn, account, id).await?;
    let (name, id) = (&zone.name, id.to_string());
    audit::record(conn, caller, "zone.deleted", &id, json!({"name": name, "live_certificates": live.len()})).await?;
    let details = json!({"zone_id": id, "zone": name, "live_certificates": live.len()});
    events::record(conn, account, NewEvent { details, ..NewEvent::info("zone_deleted", format!("Zone {name} deleted")) }).await?;
    Ok(())
}

/// What was issued stays downloadable; what is under way ends.
async fn stop_renewal(conn: &mut Connection, caller: &Caller, zone: &Zone, certificate: CertificateId) -> Result<(), StoreError> {
    if issuances::request_cancel(conn, caller.account, certificate).await? {
        let failure = Failure::new(FailureCode::ZoneDeleted, format!("the zone {} was deleted", zone.name));
        certificates::record_failure(conn, caller.account, certificate, &failure).await?;
    }
    let message = format!(
        "The zone {} was deleted: the certificate is no longer issued or renewed; what was issued stays downloadable. Import and verify the zone again to go on",
        zone.name
    );
    let event = NewEvent {
        level: Level::Warning,
        certificate: Some(certificate),
        details: json!({"zone_id": zone.id, "zone": zone.name, "reason": "zone_deleted"}),
        ..NewEvent::info("renewal_stopped", message)
    };
    events::record(conn, caller.account, event).await?;
    Ok(())
}

fn in_use(zone: &Zone, live: usize) -> Problem {
    let certificates = if live == 1 { "1 certificate is".to_owned() } else { format!("{live} certificates are") };
    let detail = format!(
        "{certificates} pending, validating or issued under {}; delete them first, or add ?force=true, which stops their renewal",
        zone.name
    );
    Problem::conflict("zone_in_use", detail)
}
