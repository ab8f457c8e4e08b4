//! Deletes an ACME account.

use actix_web::{HttpResponse, web};
use serde_json::json;
use zonecert_domain::id::AcmeAccountId;
use zonecert_domain::scope::Scope;
use zonecert_store::Connection;
use zonecert_store::own_acme_accounts::{self, InUse};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

/// Delete an ACME account
///
/// No certificate may use it. A worker then deactivates it at the CA, for good (RFC 8555 §7.3.6), and destroys its key. What was issued with it stays valid, and is revoked
/// by the certificate's own key where that is wished.
#[utoipa::path(
    delete, path = "/api/v1/acme-accounts/{id}", tag = "acme-accounts", operation_id = "deleteAcmeAccount",
    params(("id" = inline(values::AcmeAccountId), Path)),
    responses(
        (status = 204, description = "Deleted."),
        (status = 409, description = "`acme_account_in_use`: The certificate cert_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f uses the ACME account; change its acme_account_id, or \
            delete the certificate first\n\
            `acme_account_busy`: An order or a revocation is under way with the ACME account; delete it once that is over"),
    ),
)]
pub(super) async fn delete(app: web::Data<App>, caller: Caller, id: Id<AcmeAccountId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let body = async |conn: &mut Connection| -> Result<(), Problem> {
        match own_acme_accounts::delete(conn, caller.account, id).await? {
            None => {}
            Some(InUse::By(certificate)) => {
                let detail = format!(
                    "The certificate {certificate} uses the ACME account; change its acme_account_id, or delete the certificate first"
                );
                return Err(Problem::conflict("acme_account_in_use", detail));
            }
            Some(InUse::Busy) => {
                let detail = "An order or a revocation is under way with the ACME account; delete it once that is over";
                return Err(Problem::conflict("acme_account_busy", detail));
            }
        }
        Ok(audit::record(conn, &caller, "acme_account.deleted", &id.to_string(), json!({})).await?)
    };
    app.store.tenant_write(caller.account, body).await?;
    Ok(HttpResponse::NoContent().finish())
}
