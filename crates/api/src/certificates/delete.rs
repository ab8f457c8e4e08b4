//! Deletes a certificate (requirements S3.33, X8).

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use zonecert_domain::id::CertificateId;
use zonecert_domain::revocation::RevocationReason;
use zonecert_domain::scope::Scope;
use zonecert_store::events::{self, NewEvent};
use zonecert_store::{Connection, certificates, deployments, issuances, private_keys, push_targets, revocations};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Id, Query};
use crate::text;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Whether the CA is asked to revoke what is still valid.
    #[param(value_type = Option<bool>)]
    revoke: Option<String>,
}

/// Delete a certificate
///
/// At once: nobody sees it any more, and slot, domain and name are free. Its keys are destroyed; where it is being revoked, after that.
#[utoipa::path(
    delete, path = "/api/v1/certificates/{id}", tag = "certificates", operation_id = "deleteCertificate",
    params(("id" = inline(values::CertificateId), Path), Parameters),
    responses(
        (status = 204, description = "Deleted."),
        (status = 400, description = "`unknown_choice` at ?revoke: Give one of true, false"),
    ),
)]
pub(super) async fn delete(
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    query: Query<Parameters>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    let (id, revoke) = (id.read()?, parse(query.read()?.revoke.as_deref())?);
    app.store.tenant_write(caller.account, async move |conn| end(conn, &caller, id, revoke).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn parse(revoke: Option<&str>) -> Result<bool, FieldError> {
    let chosen = text::choice("?revoke", revoke, &[true, false], |revoke| if revoke { "true" } else { "false" })?;
    Ok(chosen.unwrap_or(false))
}

/// What an issuance under way still needs is left to whoever cancels it; the key of what is to be revoked, to whoever hears the CA confirm.
async fn end(conn: &mut Connection, caller: &Caller, id: CertificateId, revoke: bool) -> Result<(), Problem> {
    let account = caller.account;
    let certificate = certificates::get_certificate(conn, account, id).await?;
    let revoked =
        if revoke { revocations::request(conn, account, id, RevocationReason::CessationOfOperation, &caller.actor()).await? } else { 0 };
    certificates::mark_deleted(conn, account, id).await?;
    issuances::request_cancel(conn, account, id).await?;
    deployments::delete_deployments(conn, account, id).await?;
    push_targets::delete_push_targets(conn, account, id).await?;
    let keys_destroyed = private_keys::destroy_unused(conn, account, id).await?;
    let (name, domain) = (&certificate.name, certificate.domain());
    let details = json!({"name": name, "domain": domain, "versions_being_revoked": revoked, "keys_destroyed": keys_destroyed});
    audit::record(conn, caller, "certificate.deleted", &id.to_string(), details.clone()).await?;
    let message = format!("Certificate {name} for {domain} deleted");
    let event = NewEvent { certificate: Some(id), details, ..NewEvent::info("certificate_deleted", message) };
    events::record(conn, account, event).await?;
    Ok(())
}
