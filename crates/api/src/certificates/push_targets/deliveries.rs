//! What was pushed to a target: each push with its attempts.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::id::{CertificateId, DeliveryId, VersionId};
use zonecert_domain::scope::Scope;
use zonecert_store::push_targets::{self, PushTarget};
use zonecert_store::webhook_deliveries::{self, Attempt, Delivery, Position};
use zonecert_store::{Connection, StoreError};

use super::target_id;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::paging::Cursor;
use crate::problem::Problem;
use crate::request::{Id, Query};
use crate::webhooks::deliveries::{Parameters, parse};

#[derive(Serialize, ToSchema)]
#[schema(as = PushDelivery)]
struct DeliveryView<'a> {
    #[schema(value_type = values::DeliveryId)]
    id: DeliveryId,
    #[schema(value_type = values::DeliveryStatus)]
    status: &'static str,
    created_at: DateTime<Utc>,
    /// When it is tried next; null when it is over.
    #[schema(required, example = json!(null))]
    next_attempt_at: Option<DateTime<Utc>>,
    /// When it was delivered or given up.
    #[schema(required, example = json!(null))]
    finished_at: Option<DateTime<Utc>>,
    /// Why it has not come through yet, or will not.
    #[schema(required, example = "the client could not open what was pushed: it has another key")]
    last_error: Option<&'a str>,
    /// Oldest first; the last 20.
    #[schema(max_items = 20)]
    attempts: Vec<AttemptView<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PushAttempt)]
struct AttemptView<'a> {
    at: DateTime<Utc>,
    #[schema(minimum = 0, example = 87)]
    duration_ms: u64,
    /// The version that was in use then, and was pushed; null where nothing could be.
    #[schema(value_type = Option<values::VersionId>, required)]
    version_id: Option<VersionId>,
    /// The status that the client answered; null without an answer.
    #[schema(required, example = 401)]
    status: Option<u16>,
    /// Why it was no success; null for one.
    #[schema(required, example = "the client could not open what was pushed: it has another key")]
    error: Option<&'a str>,
}

impl<'a> From<&'a Delivery> for DeliveryView<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self {
            id: delivery.id,
            status: delivery.status.as_str(),
            created_at: delivery.created_at,
            next_attempt_at: delivery.next_attempt_at,
            finished_at: delivery.finished_at,
            last_error: delivery.last_error.as_deref(),
            attempts: delivery.attempts.iter().map(AttemptView::from).collect(),
        }
    }
}

impl<'a> From<&'a Attempt> for AttemptView<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        let Attempt { at, duration_ms, status, answer: _, error, version } = attempt;
        Self { at: *at, duration_ms: *duration_ms, version_id: *version, status: *status, error: error.as_deref() }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = PushDeliveryPage)]
struct List<'a> {
    deliveries: Vec<DeliveryView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// What was pushed to a target
///
/// Newest first. What is over is kept for 30 days. A push that waits ends where a newer one takes its place: each brings what is in use when it is sent.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/push-targets/{target_id}/deliveries", tag = "certificates", operation_id = "listPushDeliveries",
    params(("id" = inline(values::CertificateId), Path), ("target_id" = inline(values::PushTargetId), Path), Parameters),
    responses(
        (status = 200, description = "A page of deliveries.", body = List),
        (status = 400, description = "`unknown_choice` at ?status: Give one of pending, delivered, failed"),
    ),
)]
pub(in crate::certificates) async fn list(
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    request: HttpRequest,
    query: Query<Parameters>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (account, id, target) = (caller.account, id.read()?, target_id(&request)?);
    let (status, after, limit) = parse(&query.read()?)?;
    let body = async move |conn: &mut Connection| {
        push_targets::get_push_target(conn, account, id, target).await?;
        webhook_deliveries::list_deliveries(conn, account, PushTarget::webhook(target), status, after, limit.to_read()).await
    };
    let mut deliveries = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut deliveries, |last| Position { created_at: last.created_at, id: last.id }.write());
    Ok(HttpResponse::Ok().json(List { deliveries: deliveries.iter().map(DeliveryView::from).collect(), next_cursor }))
}
