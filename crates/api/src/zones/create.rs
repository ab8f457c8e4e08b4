//! `POST /zones`: imports a zone, whose control is still to be proven.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use zonecert_domain::scope::Scope;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::events::NewEvent;
use zonecert_store::zones::{self, Zone, ZoneMode};
use zonecert_store::{Connection, events};

use super::view::{VALUE_PREFIX, ZoneView};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::problem::{FieldError, Problem};
use crate::request::Body;

/// Imports that wait for their proof, per account: an import costs nothing, so it is bounded here.
const MAX_PENDING: i64 = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    name: String,
    mode: Option<String>,
}

pub(super) async fn create(app: web::Data<App>, caller: Caller, body: Body<Wish>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let (name, mode) = parse(&body.read()?, &app)?;
    let zone = app.store.tenant_write(caller.account, async move |conn| insert(conn, &caller, &name, mode).await).await?;
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/api/v1/zones/{}", zone.id))).json(ZoneView::new(&zone)))
}

fn parse(wish: &Wish, app: &App) -> Result<(ZoneName, ZoneMode), Problem> {
    let mut faults = Faults::default();
    let name = ZoneName::parse(&wish.name, &app.settings.names);
    let name = faults.check(name.map_err(|error| FieldError::new("/name", error.code(), error.detail())));
    let mode = faults.check(match wish.mode.as_deref() {
        None => Ok(ZoneMode::default()),
        Some(text) => ZoneMode::parse(text).ok_or_else(|| {
            FieldError::new("/mode", "zone_mode_unsupported", "`mode` can only be `hosted`: the zone is served by our name servers")
        }),
    });
    faults.finish(name.zip(mode))
}

async fn insert(conn: &mut Connection, caller: &Caller, name: &ZoneName, mode: ZoneMode) -> Result<Zone, Problem> {
    let account = caller.account;
    if zones::count_pending_zones(conn, account).await? >= MAX_PENDING {
        let detail = format!("{MAX_PENDING} zones wait for their verification; verify or delete some of them first");
        return Err(Problem::conflict("pending_zone_limit_reached", detail));
    }
    let value = format!("{VALUE_PREFIX}{}", hex::encode(rand::random::<[u8; 16]>()));
    let zone = zones::insert_zone(conn, account, name, mode, &value).await.map_err(|error| {
        if error.is_constraint(zones::NAME_KEY) {
            let detail = format!("The account has the zone {name} already; GET /api/v1/zones lists it");
            return Problem::conflict("zone_exists", detail);
        }
        error.into()
    })?;
    let id = zone.id.to_string();
    audit::record(conn, caller, "zone.imported", &id, json!({"name": name})).await?;
    let event =
        NewEvent { details: json!({"zone_id": id, "zone": name}), ..NewEvent::info("zone_imported", format!("Zone {name} imported")) };
    events::record(conn, account, event).await?;
    Ok(zone)
}
