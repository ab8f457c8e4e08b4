//! The CNAME record that a delegated zone needs for certificates of a name (requirements S3.71).

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;
use zonecert_domain::id::ZoneId;
use zonecert_domain::name::DnsName;
use zonecert_domain::scope::Scope;
use zonecert_store::zones::{self, ZoneMode};
use zonecert_store::{Connection, StoreError};

use super::create::delegated_unavailable;
use super::view::CnameView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Id, Query};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The name of a certificate: the zone's or one below it. May be a wildcard.
    #[param(example = "app.your-domain.com")]
    name: String,
}

/// The CNAME record that a delegated zone needs for certificates of a name
#[utoipa::path(
    get, path = "/api/v1/zones/{id}/cname", tag = "zones", operation_id = "getCname",
    params(("id" = inline(values::ZoneId), Path), Parameters),
    responses(
        (status = 200, description = "The record, to be set in the zone's own DNS.", body = CnameView),
        (status = 400, description = "`domain_not_under_zone` at ?name: Domain not under zone\n{names}"),
        (status = 409, description = "`zone_not_delegated`: The zone your-domain.com is hosted: its challenges are answered by our name servers, \
            and no CNAME is needed\n`delegated_mode_unavailable`"),
    ),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<ZoneId>, query: Query<Parameters>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesRead)?;
    let (id, account) = (id.read()?, caller.account);
    let name =
        DnsName::parse(&query.read()?.name, &app.settings.names).map_err(|error| FieldError::new("?name", error.code(), error.detail()))?;
    let body = async move |conn: &mut Connection| zones::get_zone(conn, account, id).await;
    let zone = app.store.tenant::<_, StoreError, _>(account, body).await?;
    if zone.mode != ZoneMode::Delegated {
        let detail = format!("The zone {} is hosted: its challenges are answered by our name servers, and no CNAME is needed", zone.name);
        return Err(Problem::conflict("zone_not_delegated", detail));
    }
    if !name.is_at_or_below(&zone.name) {
        let fault = FieldError::new("?name", "domain_not_under_zone", format!("{name} is neither {} nor below it", zone.name));
        return Err(Problem::bad_request("domain_not_under_zone", "Domain not under zone").with_errors(vec![fault]));
    }
    let challenge_zone = app.settings.challenge_zone.as_ref().ok_or_else(|| {
        let fault = delegated_unavailable();
        Problem::conflict(fault.code, fault.detail)
    })?;
    Ok(HttpResponse::Ok().json(CnameView::new(zone.id, name.as_str(), challenge_zone)))
}
