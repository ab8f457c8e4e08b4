//! Imports a zone, whose control is still to be proven.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::plan::{MAX_PENDING_ZONES, MAX_ZONES};
use zonecert_domain::scope::Scope;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::events::NewEvent;
use zonecert_store::zone_overviews::{self, ZoneOverview};
use zonecert_store::zones::{self, ZoneMode};
use zonecert_store::{Connection, events};

use super::view::{VALUE_PREFIX, ZoneView};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::Body;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewZone)]
pub(super) struct Wish {
    /// The apex. Internationalized names are turned into A-labels. Public suffixes are refused.
    #[schema(example = "your-domain.com")]
    name: String,
    /// `hosted`, where our name servers serve the zone, or `delegated`, where it stays with its own. `hosted` where it is absent.
    #[schema(value_type = Option<values::ZoneMode>)]
    mode: Option<String>,
}

/// Import a zone
///
/// The answer holds the TXT record that proves control: set it in the zone's present DNS, then call `POST /api/v1/zones/{id}/verify`. At most
/// 50 zones of an account wait for their proof at a time.
#[utoipa::path(
    post, path = "/api/v1/zones", tag = "zones", operation_id = "importZone",
    params(idempotency::Parameters),
    request_body(content = Wish, example = json!({"name": "your-domain.com"})),
    responses(
        (status = 201, description = "The zone, waiting for its proof.", body = ZoneView, headers(("Location" = String))),
        (status = 400, description = "`zone_mode_unsupported` at /mode: `mode` is `hosted`, where our name servers serve the zone, or \
            `delegated`, where it stays with its own\n`delegated_mode_unavailable`\n{names}"),
        (status = 409, description = "`zone_exists`: The account has the zone your-domain.com already; GET /api/v1/zones lists it\n\
            `pending_zone_limit_reached`: 50 zones wait for their verification; verify or delete some of them first\n`zone_limit_reached`"),
    ),
)]
pub(super) async fn create(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    body: Body<Wish>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let once = idempotency.of(&caller)?;
    let (name, mode) = parse(&body.read()?, &app)?;
    let settings = &app.settings;
    let work = async move |conn: &mut Connection| {
        let overview = insert(conn, &caller, &name, mode).await?;
        let location = format!("/api/v1/zones/{}", overview.zone.id);
        Ok(Reply::json(StatusCode::CREATED, &ZoneView::new(&overview, settings))?.at(location))
    };
    once.run(&app.store, work).await
}

fn parse(wish: &Wish, app: &App) -> Result<(ZoneName, ZoneMode), Problem> {
    let mut faults = Faults::default();
    let name = ZoneName::parse(&wish.name, &app.settings.names);
    let name = faults.check(name.map_err(|error| FieldError::new("/name", error.code(), error.detail())));
    let mode = faults.check(match wish.mode.as_deref() {
        None => Ok(ZoneMode::default()),
        Some(text) => mode_of(text, app),
    });
    faults.finish(name.zip(mode))
}

fn mode_of(text: &str, app: &App) -> Result<ZoneMode, FieldError> {
    match ZoneMode::parse(text) {
        None => {
            let detail = "`mode` is `hosted`, where our name servers serve the zone, or `delegated`, where it stays with its own";
            Err(FieldError::new("/mode", "zone_mode_unsupported", detail))
        }
        Some(ZoneMode::Delegated) if app.settings.challenge_zone.is_none() => Err(delegated_unavailable()),
        Some(mode) => Ok(mode),
    }
}

/// The operator has not set a challenge zone.
pub(super) fn delegated_unavailable() -> FieldError {
    let detail = "This service answers no challenges for zones that stay with their own name servers; import the zone as `hosted`";
    FieldError::new("/mode", "delegated_mode_unavailable", detail)
}

async fn insert(conn: &mut Connection, caller: &Caller, name: &ZoneName, mode: ZoneMode) -> Result<ZoneOverview, Problem> {
    let account = caller.account;
    if zones::count_zones(conn, account).await? >= MAX_ZONES {
        let detail = format!("The account has {MAX_ZONES} zones, and holds no more; delete one, or write to our support");
        return Err(Problem::conflict("zone_limit_reached", detail));
    }
    if zones::count_pending_zones(conn, account).await? >= MAX_PENDING_ZONES {
        let detail = format!("{MAX_PENDING_ZONES} zones wait for their verification; verify or delete some of them first");
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
    audit::record(conn, caller, "zone.imported", &id, json!({"name": name, "mode": mode.as_str()})).await?;
    let details = json!({"zone_id": id, "zone": name, "mode": mode.as_str()});
    let event = NewEvent { details, ..NewEvent::info("zone_imported", format!("Zone {name} imported")) };
    events::record(conn, account, event).await?;
    Ok(zone_overviews::get_zone_overview(conn, account, zone.id).await?)
}
