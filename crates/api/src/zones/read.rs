//! Lists and shows zones.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use zonecert_domain::id::ZoneId;
use zonecert_domain::records::RecordName;
use zonecert_domain::scope::Scope;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::zone_overviews::{self, Filter};
use zonecert_store::zones::{ZoneMode, ZoneStatus};
use zonecert_store::{Connection, StoreError};

use super::view::ZoneView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::paging::{Cursor, Limit};
use crate::problem::Problem;
use crate::request::{Id, Query};
use crate::text;

const MAX_SEARCH_LENGTH: usize = 253;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The `next_cursor` of the page before, unchanged.
    cursor: Option<String>,
    /// How many elements a page has.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: Option<String>,
    /// Only zones in this state.
    #[param(value_type = Option<values::ZoneStatus>)]
    status: Option<String>,
    /// Only zones of this mode.
    #[param(value_type = Option<values::ZoneMode>)]
    mode: Option<String>,
    /// Only zones whose name holds this text.
    #[param(min_length = 1, max_length = 253)]
    q: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ZonePage)]
struct List<'a> {
    zones: Vec<ZoneView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// The account's zones by name
///
/// Filters can be combined; what matches nothing is an empty list.
#[utoipa::path(
    get, path = "/api/v1/zones", tag = "zones", operation_id = "listZones",
    params(Parameters),
    responses(
        (status = 200, description = "A page of zones.", body = List),
        (status = 400, description = "`unknown_choice` at ?status: Give one of pending, verified, lost\n{line}"),
    ),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller, query: Query<Parameters>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesRead)?;
    let (filter, after, limit) = parse(&query.read()?)?;
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        zone_overviews::list_zone_overviews(conn, account, &filter, after.as_ref(), limit.to_read()).await
    };
    let mut rows = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut rows, |overview| overview.zone.name.write());
    let zones = rows.iter().map(|overview| ZoneView::new(overview, &app.settings)).collect();
    Ok(HttpResponse::Ok().json(List { zones, next_cursor }))
}

fn parse(parameters: &Parameters) -> Result<(Filter, Option<ZoneName>, Limit), Problem> {
    let mut faults = Faults::default();
    let after = faults.check(ZoneName::parse_parameter(parameters.cursor.as_deref()));
    let limit = faults.check(Limit::parse(parameters.limit.as_deref()));
    let status = faults.check(text::choice("?status", parameters.status.as_deref(), &ZoneStatus::ALL, ZoneStatus::as_str));
    let mode = faults.check(text::choice("?mode", parameters.mode.as_deref(), &ZoneMode::ALL, ZoneMode::as_str));
    let search = faults.check(parameters.q.as_deref().map(|q| text::line("?q", q, MAX_SEARCH_LENGTH)).transpose());
    let parsed = (|| {
        let filter = Filter { status: status?, mode: mode?, text: search?.map(|text| as_stored(&text)) };
        Some((filter, after?, limit?))
    })();
    faults.finish(parsed)
}

/// Names are stored as A-labels, of which a part of a word in Unicode is no part; a whole label is.
fn as_stored(text: &str) -> String {
    RecordName::parse(text).map_or_else(|_| text.to_lowercase(), |name| name.as_str().to_owned())
}

/// A zone
#[utoipa::path(
    get, path = "/api/v1/zones/{id}", tag = "zones", operation_id = "getZone",
    params(("id" = inline(values::ZoneId), Path)),
    responses((status = 200, description = "The zone.", body = ZoneView)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<ZoneId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesRead)?;
    let (id, account) = (id.read()?, caller.account);
    let body = async move |conn: &mut Connection| zone_overviews::get_zone_overview(conn, account, id).await;
    let overview = app.store.tenant::<_, StoreError, _>(account, body).await?;
    Ok(HttpResponse::Ok().json(ZoneView::new(&overview, &app.settings)))
}
