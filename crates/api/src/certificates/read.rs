//! `GET /certificates/{id}`.

use actix_web::{HttpResponse, web};
use zonecert_domain::id::CertificateId;
use zonecert_domain::scope::Scope;
use zonecert_store::{Connection, StoreError, accounts, certificates};

use super::view::CertificateView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::problem::Problem;
use crate::request::Id;

pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<CertificateId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (account, id) = (caller.account, id.read()?);
    let body = async move |conn: &mut Connection| {
        let plan = accounts::get_account(conn, account).await?.plan;
        Ok((certificates::get_certificate(conn, account, id).await?, plan))
    };
    let (certificate, plan) = app.store.tenant::<_, StoreError, _>(account, body).await?;
    Ok(HttpResponse::Ok().json(CertificateView::new(&certificate, plan)))
}
