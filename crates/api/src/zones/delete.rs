//! `DELETE /zones/{id}`.

use actix_web::{HttpResponse, web};
use serde_json::json;
use zonecert_domain::id::ZoneId;
use zonecert_domain::scope::Scope;
use zonecert_store::events::NewEvent;
use zonecert_store::{Connection, certificates, events, zones};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::problem::Problem;
use crate::request::Id;

pub(super) async fn delete(app: web::Data<App>, caller: Caller, id: Id<ZoneId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let id = id.read()?;
    app.store.tenant_write(caller.account, async move |conn| delete_unused(conn, &caller, id).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Whoever adds a certificate holds the same lock on the account, so none comes in between.
async fn delete_unused(conn: &mut Connection, caller: &Caller, id: ZoneId) -> Result<(), Problem> {
    let account = caller.account;
    let zone = zones::get_zone(conn, account, id).await?;
    let in_use = certificates::count_in_zone(conn, account, id).await?;
    if in_use > 0 {
        let certificates = if in_use == 1 { "1 certificate is".to_owned() } else { format!("{in_use} certificates are") };
        let detail = format!("{certificates} pending, validating or issued under {}; a zone can be deleted once none is", zone.name);
        return Err(Problem::conflict("zone_in_use", detail));
    }
    zones::delete_zone(conn, account, id).await?;
    let (name, id) = (&zone.name, id.to_string());
    audit::record(conn, caller, "zone.deleted", &id, json!({"name": name})).await?;
    let event =
        NewEvent { details: json!({"zone_id": id, "zone": name}), ..NewEvent::info("zone_deleted", format!("Zone {name} deleted")) };
    events::record(conn, account, event).await?;
    Ok(())
}
