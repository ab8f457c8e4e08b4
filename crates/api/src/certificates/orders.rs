//! The orders of a certificate: what was asked of the CAs for it, and what came of that (requirements S0.1, S0.8).

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::id::{AcmeAccountId, CertificateId, IssuanceId, OrderId, VersionId};
use zonecert_domain::scope::Scope;
use zonecert_store::order_history::{self, OrderStep, Position, RecordedOrder};
use zonecert_store::{Connection, StoreError, certificates};

use super::versions::KeyView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::paging::{Cursor, Page};
use crate::problem::Problem;
use crate::request::{Id, Query, id_in_path};

#[derive(Serialize, ToSchema)]
#[schema(as = OrderPage)]
struct List<'a> {
    orders: Vec<OrderView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// An ACME order (RFC 8555 §7.1.3). One that failed is followed by another, while the issuance is tried again.
#[derive(Serialize, ToSchema)]
#[schema(as = Order)]
struct OrderView<'a> {
    #[schema(value_type = values::OrderId)]
    id: OrderId,
    /// The wish that it was for, of which there may be several orders.
    #[schema(value_type = values::IssuanceId)]
    issuance_id: IssuanceId,
    #[schema(value_type = values::IssuanceReason)]
    reason: &'static str,
    #[schema(value_type = values::OrderStatus)]
    status: &'static str,
    /// That were asked for, the domain first.
    #[schema(value_type = Vec<String>, example = json!(["app.your-domain.com", "www.your-domain.com"]))]
    names: &'a [String],
    /// Of the CA.
    #[schema(example = "https://acme-v02.api.letsencrypt.org/directory")]
    directory_url: &'a str,
    /// The kind of certificate that was asked for; null where it was the CA's own choice.
    #[schema(required, example = json!(null))]
    profile: Option<&'a str>,
    /// The ACME account of your own that it was placed with; null where it was one of this service.
    #[schema(value_type = Option<values::AcmeAccountId>, required)]
    acme_account_id: Option<AcmeAccountId>,
    /// What the CA calls it; null until the CA has accepted it.
    #[schema(required, example = "https://acme-v02.api.letsencrypt.org/acme/order/1/2")]
    url: Option<&'a str>,
    /// Null until its request is made.
    #[schema(required)]
    key: Option<KeyView>,
    /// That came of it.
    #[schema(value_type = Option<values::VersionId>, required)]
    version_id: Option<VersionId>,
    /// What it has passed through, in order.
    steps: Vec<StepView<'a>>,
    /// Why it failed.
    #[schema(value_type = Option<OrderProblem>, required)]
    problem: Option<&'a serde_json::Value>,
    created_at: DateTime<Utc>,
    /// Null while it is under way.
    #[schema(required, example = json!(null))]
    finished_at: Option<DateTime<Utc>>,
}

/// A step of an order.
#[derive(Serialize, ToSchema)]
#[schema(as = OrderStep)]
struct StepView<'a> {
    #[schema(value_type = values::OrderStepName)]
    step: &'a str,
    at: DateTime<Utc>,
    /// Since the order was begun.
    #[schema(minimum = 0, example = 0.184)]
    after_seconds: f64,
}

/// Why an order failed, as the worker has stored it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is passed on as it is stored")]
struct OrderProblem {
    /// What went wrong, for programs.
    #[schema(pattern = "^[a-z][a-z0-9_]*$", example = "acme_dns")]
    code: String,
    /// What was said about it, by the CA, the DNS server or us.
    #[schema(example = "NXDOMAIN looking up TXT for _acme-challenge.app.your-domain.com")]
    detail: String,
    /// What you can do.
    #[schema(example = "Check that the name servers of the zone are ours.")]
    remedy: String,
}

/// The orders of a certificate
///
/// Newest first. Each issuance and renewal places one, and another after each that failed.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/orders", tag = "certificates", operation_id = "listCertificateOrders",
    params(("id" = inline(values::CertificateId), Path), Page),
    responses((status = 200, description = "A page of orders.", body = List)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller, id: Id<CertificateId>, query: Query<Page>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (account, id) = (caller.account, id.read()?);
    let (after, limit) = query.read()?.parse::<Position>()?;
    let body = async move |conn: &mut Connection| {
        certificates::get_certificate(conn, account, id).await?;
        order_history::list_orders(conn, account, id, after, limit.to_read()).await
    };
    let mut rows = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut rows, |last| Position { created_at: last.created_at, id: last.id }.write());
    Ok(HttpResponse::Ok().json(List { orders: rows.iter().map(OrderView::new).collect(), next_cursor }))
}

/// An order of a certificate
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/orders/{order_id}", tag = "certificates", operation_id = "getCertificateOrder",
    params(("id" = inline(values::CertificateId), Path), ("order_id" = inline(values::OrderId), Path)),
    responses((status = 200, description = "The order.", body = OrderView)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<CertificateId>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (id, order, account) = (id.read()?, order_id(&request)?, caller.account);
    let body = async move |conn: &mut Connection| {
        certificates::get_certificate(conn, account, id).await?;
        order_history::get_order(conn, account, id, order).await
    };
    let order = app.store.tenant::<_, StoreError, _>(account, body).await?;
    Ok(HttpResponse::Ok().json(OrderView::new(&order)))
}

/// The identifier in the path; 404 if it is none, as no such thing can be there.
fn order_id(request: &HttpRequest) -> Result<OrderId, Problem> {
    id_in_path(request, "order_id")
}

impl<'a> OrderView<'a> {
    fn new(order: &'a RecordedOrder) -> Self {
        let key = order.key.map(|key| KeyView { id: key.id, version_id: key.version, algorithm: key.algorithm });
        Self {
            id: order.id,
            issuance_id: order.issuance,
            reason: order.reason.as_str(),
            status: order.status.as_str(),
            names: &order.names,
            directory_url: &order.directory_url,
            profile: order.profile.as_deref(),
            acme_account_id: order.acme_account,
            url: order.url.as_deref(),
            key,
            version_id: order.version,
            steps: order.steps.iter().map(|step| StepView::new(step, order.created_at)).collect(),
            problem: order.failure.as_ref(),
            created_at: order.created_at,
            finished_at: order.finished_at,
        }
    }
}

impl<'a> StepView<'a> {
    fn new(step: &'a OrderStep, begun_at: DateTime<Utc>) -> Self {
        let after_seconds = (step.at - begun_at).to_std().unwrap_or_default().as_secs_f64();
        Self { step: &step.event, at: step.at, after_seconds }
    }
}
