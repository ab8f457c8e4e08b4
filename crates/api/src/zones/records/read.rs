//! Lists and shows records.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use zonecert_domain::id::{RecordSetId, ZoneId};
use zonecert_domain::records::RecordName;
use zonecert_domain::scope::Scope;
use zonecert_store::Connection;
use zonecert_store::zone_records::{self, Filter, Position};

use super::get_hosted_zone;
use super::view::RecordSetView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::paging::{Cursor, Limit};
use crate::problem::{FieldError, Problem};
use crate::request::{Id, Query, id_in_path};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::zones) struct Parameters {
    /// The `next_cursor` of the page before, unchanged.
    cursor: Option<String>,
    /// How many elements a page has.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: Option<String>,
    /// Only records of this name.
    name: Option<String>,
    /// Only records of this type.
    #[param(example = "MX")]
    r#type: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RecordSetPage)]
struct List<'a> {
    records: Vec<RecordSetView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// The record sets of a hosted zone
///
/// By name and type. What the service keeps there for itself is not among them.
#[utoipa::path(
    get, path = "/api/v1/zones/{id}/records", tag = "zones", operation_id = "listRecords",
    params(("id" = inline(values::ZoneId), Path), Parameters),
    responses(
        (status = 200, description = "A page of record sets.", body = List),
        (status = 400, description = "`record_name_invalid`, `record_type_unsupported`"),
        (status = 409, description = "`zone_not_hosted`: The zone your-domain.com is delegated: its records are kept where it is served, and not here"),
    ),
)]
pub(in crate::zones) async fn list(
    app: web::Data<App>,
    caller: Caller,
    id: Id<ZoneId>,
    query: Query<Parameters>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesRead)?;
    let id = id.read()?;
    let (filter, after, limit) = parse(&query.read()?)?;
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        let zone = get_hosted_zone(conn, account, id).await?;
        Ok(zone_records::list_record_sets(conn, account, zone.id, &filter, after.as_ref(), limit.to_read()).await?)
    };
    let mut rows = app.store.tenant::<_, Problem, _>(account, body).await?;
    let next_cursor = limit.cut(&mut rows, |last| Position { name: last.name.clone(), record_type: last.record_type.clone() }.write());
    Ok(HttpResponse::Ok().json(List { records: rows.iter().map(RecordSetView::new).collect(), next_cursor }))
}

/// A record set
#[utoipa::path(
    get, path = "/api/v1/zones/{id}/records/{record_set_id}", tag = "zones", operation_id = "getRecordSet",
    params(("id" = inline(values::ZoneId), Path), ("record_set_id" = inline(values::RecordSetId), Path)),
    responses(
        (status = 200, description = "The record set.", body = RecordSetView),
        (status = 409, description = "`zone_not_hosted`: The zone your-domain.com is delegated: its records are kept where it is served, and not here"),
    ),
)]
pub(in crate::zones) async fn get(
    app: web::Data<App>,
    caller: Caller,
    id: Id<ZoneId>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesRead)?;
    let (zone, id, account) = (id.read()?, record_set_id(&request)?, caller.account);
    let body = async move |conn: &mut Connection| {
        let zone = get_hosted_zone(conn, account, zone).await?;
        Ok(zone_records::get_record_set(conn, account, zone.id, id).await?)
    };
    let set = app.store.tenant::<_, Problem, _>(account, body).await?;
    Ok(HttpResponse::Ok().json(RecordSetView::new(&set)))
}

/// The identifier in the path; 404 if it is none, as no such thing can be there.
pub(super) fn record_set_id(request: &HttpRequest) -> Result<RecordSetId, Problem> {
    id_in_path(request, "record_set_id")
}

fn parse(parameters: &Parameters) -> Result<(Filter, Option<Position>, Limit), Problem> {
    let mut faults = Faults::default();
    let after = faults.check(Position::parse_parameter(parameters.cursor.as_deref()));
    let limit = faults.check(Limit::parse(parameters.limit.as_deref()));
    let name = faults.check(parameters.name.as_deref().map(name).transpose());
    let record_type = faults.check(parameters.r#type.as_deref().map(record_type).transpose());
    let parsed = (|| Some((Filter { name: name?, record_type: record_type? }, after?, limit?)))();
    faults.finish(parsed)
}

/// A name as it is stored.
pub(super) fn name(text: &str) -> Result<String, FieldError> {
    let name = RecordName::parse(text).map_err(|error| FieldError::new("?name", error.code(), error.detail()))?;
    Ok(name.as_str().to_owned())
}

/// A type as it is stored: what was there before us can be of any.
pub(super) fn record_type(text: &str) -> Result<String, FieldError> {
    if (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(text.to_ascii_uppercase());
    }
    Err(FieldError::new("?type", "record_type_unsupported", "`type` is the name of a type of DNS records, such as MX"))
}
