//! What a webhook was told: each message with its attempts. A message can be tried out, and sent again.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use zonecert_domain::id::{CertificateId, DeliveryId, WebhookId};
use zonecert_domain::scope::Scope;
use zonecert_store::webhook_deliveries::{self, Attempt, Delivery, DeliveryStatus, Position};
use zonecert_store::{Connection, StoreError, webhooks};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::paging::{Cursor, Limit};
use crate::problem::Problem;
use crate::request::{Id, Query, id_in_path};
use crate::text;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// The `next_cursor` of the page before, unchanged.
    cursor: Option<String>,
    /// How many elements a page has.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: Option<String>,
    /// Only messages that are so far.
    #[param(value_type = Option<values::DeliveryStatus>)]
    status: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(super) struct DeliveryView<'a> {
    /// What the receiver is told as `webhook-id`, however often the message is sent.
    #[schema(value_type = values::DeliveryId)]
    id: DeliveryId,
    /// What it tells: the `type` in its body.
    #[schema(example = "certificate.issued")]
    event: &'a str,
    /// Of which certificate; null for a test.
    #[schema(value_type = Option<values::CertificateId>, required)]
    certificate_id: Option<CertificateId>,
    #[schema(value_type = values::DeliveryStatus)]
    status: &'static str,
    created_at: DateTime<Utc>,
    /// When it is sent next; null when it is over.
    #[schema(required, example = json!(null))]
    next_attempt_at: Option<DateTime<Utc>>,
    /// When it was delivered or given up.
    #[schema(required, example = json!(null))]
    finished_at: Option<DateTime<Utc>>,
    /// Why it has not come through yet, or will not.
    #[schema(required, example = "the receiver answered 500 Internal Server Error")]
    last_error: Option<&'a str>,
    /// Oldest first; the last 20.
    #[schema(max_items = 20)]
    attempts: Vec<AttemptView<'a>>,
    /// What is sent.
    #[schema(value_type = Object, example = json!({"type": "webhook.test", "timestamp": "2026-11-30T12:00:00Z", "data": {}}))]
    body: Value,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
struct AttemptView<'a> {
    at: DateTime<Utc>,
    #[schema(minimum = 0, example = 87)]
    duration_ms: u64,
    /// The status that the receiver answered; null without an answer.
    #[schema(required, example = 500)]
    status: Option<u16>,
    /// The first KiB of what it answered.
    #[schema(required, example = "out of order")]
    answer: Option<&'a str>,
    /// Why it was no success; null for one.
    #[schema(required, example = "the receiver answered 500 Internal Server Error")]
    error: Option<&'a str>,
}

impl<'a> From<&'a Delivery> for DeliveryView<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self {
            id: delivery.id,
            event: &delivery.event,
            certificate_id: delivery.certificate,
            status: delivery.status.as_str(),
            created_at: delivery.created_at,
            next_attempt_at: delivery.next_attempt_at,
            finished_at: delivery.finished_at,
            last_error: delivery.last_error.as_deref(),
            attempts: delivery.attempts.iter().map(AttemptView::from).collect(),
            body: serde_json::from_str(&delivery.body).unwrap_or_default(),
        }
    }
}

impl<'a> From<&'a Attempt> for AttemptView<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        let Attempt { at, duration_ms, status, answer, error, version: _ } = attempt;
        Self { at: *at, duration_ms: *duration_ms, status: *status, answer: answer.as_deref(), error: error.as_deref() }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDeliveryPage)]
struct List<'a> {
    deliveries: Vec<DeliveryView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// Send a test message
///
/// Of type `webhook.test`, signed and repeated like all others. Its delivery says what has come of it.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/test", tag = "webhooks", operation_id = "testWebhook",
    params(("id" = inline(values::WebhookId), Path), idempotency::Parameters),
    responses(
        (status = 202, description = "The message, which is sent at once.", body = DeliveryView),
        (status = 409, description = "`webhook_disabled`: The webhook is disabled; enable it by PATCH with {\"enabled\": true} first"),
    ),
)]
pub(super) async fn test(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<WebhookId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let (id, once) = (id.read()?, idempotency.of(&caller)?);
    let work = async move |conn: &mut Connection| {
        super::check_enabled(&webhooks::get_webhook(conn, caller.account, id).await?)?;
        let delivery = webhook_deliveries::insert_test(conn, caller.account, id).await?;
        audit::record(conn, &caller, "webhook.tested", &id.to_string(), json!({ "delivery_id": delivery.id })).await?;
        Reply::json(StatusCode::ACCEPTED, &DeliveryView::from(&delivery))
    };
    once.run(&app.store, work).await
}

/// What a webhook was told
///
/// Newest first. What is over is kept for 30 days.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/deliveries", tag = "webhooks", operation_id = "listWebhookDeliveries",
    params(("id" = inline(values::WebhookId), Path), Parameters),
    responses(
        (status = 200, description = "A page of deliveries.", body = List),
        (status = 400, description = "`unknown_choice` at ?status: Give one of pending, delivered, failed"),
    ),
)]
pub(super) async fn list(
    app: web::Data<App>,
    caller: Caller,
    id: Id<WebhookId>,
    query: Query<Parameters>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let (status, after, limit) = parse(&query.read()?)?;
    let account = caller.account;
    let body = async move |conn: &mut Connection| -> Result<Vec<Delivery>, StoreError> {
        webhooks::get_webhook(conn, account, id).await?;
        webhook_deliveries::list_deliveries(conn, account, id, status, after, limit.to_read()).await
    };
    let mut deliveries = app.store.tenant(account, body).await?;
    let next_cursor = limit.cut(&mut deliveries, |last| Position { created_at: last.created_at, id: last.id }.write());
    Ok(HttpResponse::Ok().json(List { deliveries: deliveries.iter().map(DeliveryView::from).collect(), next_cursor }))
}

/// A delivery
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/deliveries/{delivery_id}", tag = "webhooks", operation_id = "getWebhookDelivery",
    params(("id" = inline(values::WebhookId), Path), ("delivery_id" = inline(values::DeliveryId), Path)),
    responses((status = 200, description = "The message with its attempts.", body = DeliveryView)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<WebhookId>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let (id, delivery) = (id.read()?, delivery_id(&request)?);
    let account = caller.account;
    let delivery = app.store.tenant(account, async |conn| webhook_deliveries::get_delivery(conn, account, id, delivery).await).await?;
    Ok(HttpResponse::Ok().json(DeliveryView::from(&delivery)))
}

/// Send a message again
///
/// One that was delivered or given up, under the same identifier: receivers that remember it know that they have had it.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/deliveries/{delivery_id}/replay", tag = "webhooks", operation_id = "replayWebhookDelivery",
    params(("id" = inline(values::WebhookId), Path), ("delivery_id" = inline(values::DeliveryId), Path), idempotency::Parameters),
    responses(
        (status = 202, description = "The message, which is sent at once.", body = DeliveryView),
        (status = 409, description = "`webhook_disabled`: The webhook is disabled; enable it by PATCH with {\"enabled\": true} first\n\
            `delivery_pending`: The message is on its way already; `next_attempt_at` says when it is sent next"),
    ),
)]
pub(super) async fn replay(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<WebhookId>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let (id, delivery, once) = (id.read()?, delivery_id(&request)?, idempotency.of(&caller)?);
    let work = async move |conn: &mut Connection| {
        let webhook = webhooks::get_webhook(conn, caller.account, id).await?;
        webhook_deliveries::get_delivery(conn, caller.account, id, delivery).await?;
        super::check_enabled(&webhook)?;
        let replayed = webhook_deliveries::replay(conn, caller.account, id, delivery).await.map_err(|error| match error {
            StoreError::Stale => {
                Problem::conflict("delivery_pending", "The message is on its way already; `next_attempt_at` says when it is sent next")
            }
            error => error.into(),
        })?;
        audit::record(conn, &caller, "webhook.replayed", &id.to_string(), json!({ "delivery_id": delivery })).await?;
        Reply::json(StatusCode::ACCEPTED, &DeliveryView::from(&replayed))
    };
    once.run(&app.store, work).await
}

fn delivery_id(request: &HttpRequest) -> Result<DeliveryId, Problem> {
    id_in_path(request, "delivery_id")
}

pub(crate) fn parse(parameters: &Parameters) -> Result<(Option<DeliveryStatus>, Option<Position>, Limit), Problem> {
    let mut faults = Faults::default();
    let after = faults.check(Position::parse_parameter(parameters.cursor.as_deref()));
    let limit = faults.check(Limit::parse(parameters.limit.as_deref()));
    let status = text::choice("?status", parameters.status.as_deref(), &DeliveryStatus::ALL, DeliveryStatus::as_str);
    let status = faults.check(status);
    faults.finish(status.zip(after).zip(limit).map(|((status, after), limit)| (status, after, limit)))
}
