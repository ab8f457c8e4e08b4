//! Deletes records.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;
use zonecert_domain::id::ZoneId;
use zonecert_domain::scope::Scope;
use zonecert_store::Connection;
use zonecert_store::zone_records::{self, Filter};

use super::change;
use super::read::{name, record_set_id, record_type};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::{Id, Query};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::zones) struct Parameters {
    #[param(example = "www.your-domain.com")]
    name: String,
    #[param(example = "A")]
    r#type: String,
}

/// Delete all records of a name and type
#[utoipa::path(
    delete, path = "/api/v1/zones/{id}/records", tag = "zones", operation_id = "deleteRecords",
    params(("id" = inline(values::ZoneId), Path), Parameters),
    responses(
        (status = 204, description = "Deleted."),
        (status = 400, description = "`record_name_invalid`, `record_type_unsupported`"),
        (status = 409, description = "`zone_not_hosted`: The zone your-domain.com is delegated: its records are kept where it is served, and not here\n\
            `zone_not_verified`: Control of the zone your-domain.com is not proven; set its TXT record and POST \
            /api/v1/zones/zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/verify before you change its records"),
    ),
)]
pub(in crate::zones) async fn by_name(
    app: web::Data<App>,
    caller: Caller,
    id: Id<ZoneId>,
    query: Query<Parameters>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let (id, filter) = (id.read()?, parse(&query.read()?)?);
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        let zone = change::get_zone(conn, &caller, id).await?;
        let found = zone_records::list_record_sets(conn, account, zone.id, &filter, None, 1).await?.pop();
        change::delete(conn, &caller, &zone, found.ok_or_else(Problem::not_found)?).await
    };
    app.store.tenant_write(account, body).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Delete a record set
#[utoipa::path(
    delete, path = "/api/v1/zones/{id}/records/{record_set_id}", tag = "zones", operation_id = "deleteRecordSet",
    params(("id" = inline(values::ZoneId), Path), ("record_set_id" = inline(values::RecordSetId), Path)),
    responses(
        (status = 204, description = "Deleted."),
        (status = 409, description = "`zone_not_hosted`: The zone your-domain.com is delegated: its records are kept where it is served, and not here\n\
            `zone_not_verified`: Control of the zone your-domain.com is not proven; set its TXT record and POST \
            /api/v1/zones/zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/verify before you change its records"),
    ),
)]
pub(in crate::zones) async fn by_id(
    app: web::Data<App>,
    caller: Caller,
    id: Id<ZoneId>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let (zone, id) = (id.read()?, record_set_id(&request)?);
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        let zone = change::get_zone(conn, &caller, zone).await?;
        let found = zone_records::get_record_set(conn, account, zone.id, id).await?;
        change::delete(conn, &caller, &zone, found).await
    };
    app.store.tenant_write(account, body).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn parse(parameters: &Parameters) -> Result<Filter, Problem> {
    let mut faults = Faults::default();
    let (name, record_type) = (faults.check(name(&parameters.name)), faults.check(record_type(&parameters.r#type)));
    faults.finish(name.zip(record_type).map(|(name, record_type)| Filter { name: Some(name), record_type: Some(record_type) }))
}
