//! Shows a certificate.

use actix_web::{HttpResponse, web};
use zonecert_domain::id::CertificateId;
use zonecert_domain::scope::Scope;
use zonecert_store::certificates;

use super::view::CertificateView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

/// A certificate
///
/// Never holds a key.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}", tag = "certificates", operation_id = "getCertificate",
    params(("id" = inline(values::CertificateId), Path)),
    responses((status = 200, description = "The certificate.", body = CertificateView)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<CertificateId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let certificate = certificates::read_certificate(&app.store, caller.account, id.read()?).await?;
    Ok(HttpResponse::Ok().json(CertificateView::new(&certificate)))
}
