//! What happened at CA and DNS (requirements S3.32).

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::id::{CertificateId, IssuanceId, OrderId};
use zonecert_domain::scope::Scope;
use zonecert_store::events::{self, Event};
use zonecert_store::{Connection, StoreError, certificates};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::paging::{Cursor, Page};
use crate::problem::Problem;
use crate::request::{Id, Query};

#[derive(Serialize, ToSchema)]
#[schema(as = LogPage)]
struct Log<'a> {
    logs: Vec<Entry<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LogEntry)]
struct Entry<'a> {
    at: DateTime<Utc>,
    #[schema(value_type = values::Level)]
    level: &'static str,
    /// What happened, for programs.
    #[schema(pattern = "^[a-z][a-z0-9_]*$", example = "order_placed")]
    event: &'a str,
    /// What happened, for people.
    #[schema(example = "ACME order placed")]
    message: &'a str,
    #[schema(value_type = Option<values::IssuanceId>, required)]
    issuance_id: Option<IssuanceId>,
    #[schema(value_type = Option<values::OrderId>, required)]
    order_id: Option<OrderId>,
    /// What else is known of it; which fields there are depends on the event.
    #[schema(value_type = Object, example = json!({}))]
    details: &'a serde_json::Value,
}

/// What happened at CA and DNS
///
/// Oldest first.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/logs", tag = "certificates", operation_id = "listCertificateLogs",
    params(("id" = inline(values::CertificateId), Path), Page),
    responses((status = 200, description = "A page of the log.", body = Log)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller, id: Id<CertificateId>, query: Query<Page>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (account, id) = (caller.account, id.read()?);
    let (after, limit) = query.read()?.parse::<i64>()?;
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
