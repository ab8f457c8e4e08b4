//! `GET /zones` and `GET /zones/{id}`.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use zonecert_domain::id::ZoneId;
use zonecert_domain::scope::Scope;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::{StoreError, zones};

use super::view::ZoneView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::paging::{Cursor, Limit};
use crate::problem::Problem;
use crate::request::{Id, Query};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    cursor: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
struct List<'a> {
    zones: Vec<ZoneView<'a>>,
    next_cursor: Option<String>,
}

pub(super) async fn list(app: web::Data<App>, caller: Caller, query: Query<Page>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesRead)?;
    let page = query.read()?;
    let mut faults = Faults::default();
    let after = faults.check(ZoneName::parse_parameter(page.cursor.as_deref()));
    let limit = faults.check(Limit::parse(page.limit.as_deref()));
    let (after, limit) = faults.finish(after.zip(limit))?;
    let account = caller.account;
    let body = async move |conn: &mut zonecert_store::Connection| zones::list_zones(conn, account, after.as_ref(), limit.to_read()).await;
    let mut rows = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut rows, |zone| zone.name.write());
    Ok(HttpResponse::Ok().json(List { zones: rows.iter().map(ZoneView::new).collect(), next_cursor }))
}

pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<ZoneId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesRead)?;
    let id = id.read()?;
    let account = caller.account;
    let zone = app.store.tenant::<_, StoreError, _>(account, async move |conn| zones::get_zone(conn, account, id).await).await?;
    Ok(HttpResponse::Ok().json(ZoneView::new(&zone)))
}
