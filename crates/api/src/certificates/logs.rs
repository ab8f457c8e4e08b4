//! `GET /certificates/{id}/logs`: what happened at CA and DNS, oldest first (requirements S3.32).

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use zonecert_domain::id::{CertificateId, IssuanceId, OrderId};
use zonecert_domain::scope::Scope;
use zonecert_store::events::{self, Event};
use zonecert_store::{Connection, StoreError, certificates};

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
struct Log<'a> {
    logs: Vec<Entry<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    at: DateTime<Utc>,
    level: &'static str,
    event: &'a str,
    message: &'a str,
    issuance_id: Option<IssuanceId>,
    order_id: Option<OrderId>,
    details: &'a serde_json::Value,
}

pub(super) async fn list(app: web::Data<App>, caller: Caller, id: Id<CertificateId>, query: Query<Page>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (account, id) = (caller.account, id.read()?);
    let page = query.read()?;
    let mut faults = Faults::default();
    let after = faults.check(i64::parse_parameter(page.cursor.as_deref()));
    let limit = faults.check(Limit::parse(page.limit.as_deref()));
    let (after, limit) = faults.finish(after.zip(limit))?;
    let body = async move |conn: &mut Connection| {
        certificates::get_certificate(conn, account, id).await?;
        events::list_certificate_events(conn, account, id, after.unwrap_or(0), limit.to_read()).await
    };
    let mut rows = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut rows, |last| last.number.write());
    Ok(HttpResponse::Ok().json(Log { logs: rows.iter().map(entry).collect(), next_cursor }))
}

fn entry(event: &Event) -> Entry<'_> {
    Entry {
        at: event.at,
        level: event.level.as_str(),
        event: &event.event,
        message: &event.message,
        issuance_id: event.issuance,
        order_id: event.order,
        details: &event.details,
    }
}
