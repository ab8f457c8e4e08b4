//! Lists and shows ACME accounts.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::id::AcmeAccountId;
use zonecert_domain::scope::Scope;
use zonecert_store::own_acme_accounts::{self, Position};

use super::view::AcmeAccountView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::paging::{Cursor, Page};
use crate::problem::Problem;
use crate::request::{Id, Query};

#[derive(Serialize, ToSchema)]
#[schema(as = AcmeAccountPage)]
struct List<'a> {
    acme_accounts: Vec<AcmeAccountView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// The account's ACME accounts
///
/// Those that you have registered, oldest first. A certificate that names none is ordered with an account of this service.
#[utoipa::path(
    get, path = "/api/v1/acme-accounts", tag = "acme-accounts", operation_id = "listAcmeAccounts",
    params(Page),
    responses((status = 200, description = "A page of ACME accounts.", body = List)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller, query: Query<Page>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (after, limit) = query.read()?.parse::<Position>()?;
    let list = async |conn: &mut zonecert_store::Connection| own_acme_accounts::list(conn, caller.account, after, limit.to_read()).await;
    let mut rows = app.store.tenant(caller.account, list).await?;
    let next_cursor = limit.cut(&mut rows, |last| Position { created_at: last.created_at, id: last.id }.write());
    Ok(HttpResponse::Ok().json(List { acme_accounts: rows.iter().map(AcmeAccountView::from).collect(), next_cursor }))
}

/// An ACME account
#[utoipa::path(
    get, path = "/api/v1/acme-accounts/{id}", tag = "acme-accounts", operation_id = "getAcmeAccount",
    params(("id" = inline(values::AcmeAccountId), Path)),
    responses((status = 200, description = "The ACME account.", body = AcmeAccountView)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<AcmeAccountId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let id = id.read()?;
    let found = app.store.tenant(caller.account, async |conn| own_acme_accounts::get(conn, caller.account, id).await).await?;
    Ok(HttpResponse::Ok().json(AcmeAccountView::from(&found)))
}
