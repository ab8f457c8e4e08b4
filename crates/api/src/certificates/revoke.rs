//! Revokes a certificate (requirements S3.33, X8).

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::CertificateId;
use zonecert_domain::revocation::{RevocationReason, RevocationStatus};
use zonecert_domain::scope::Scope;
use zonecert_store::certificates::{self, Certificate};
use zonecert_store::{Connection, revocations};

use super::view::CertificateView;
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::{Id, OptionalBody};
use crate::text;

/// It may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RevocationWish)]
pub(super) struct RevocationBody {
    /// `unspecified` where it is absent.
    #[schema(value_type = Option<values::RevocationReason>)]
    reason: Option<String>,
}

impl RevocationBody {
    pub(super) fn reason(&self) -> Result<RevocationReason, Problem> {
        let given = text::choice("/reason", self.reason.as_deref(), &RevocationReason::ALL, RevocationReason::as_str)?;
        Ok(given.unwrap_or_default())
    }
}

/// What is noted in the audit log.
pub(super) const ACTION: &str = "certificate.revocation_requested";

/// Have the CA revoke a certificate
///
/// Every version that is still valid. On every plan, and while payment is missing: whoever has lost a key must be able to.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/revoke", tag = "certificates", operation_id = "revokeCertificate",
    params(("id" = inline(values::CertificateId), Path), idempotency::Parameters),
    request_body = Option<RevocationBody>,
    responses(
        (status = 202, description = "The CA is being asked.", body = CertificateView),
        (status = 400, description = "`unknown_choice` at /reason: Give one of unspecified, key_compromise, affiliation_changed, superseded, \
            cessation_of_operation"),
        (status = 409, description = "`nothing_to_revoke`: The certificate has no version that is valid, so there is nothing to revoke"),
    ),
)]
pub(super) async fn revoke(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<CertificateId>,
    body: OptionalBody<RevocationBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    let (id, once) = (id.read()?, idempotency.of(&caller)?);
    let reason = body.read()?.unwrap_or_default().reason()?;
    let work = async move |conn: &mut Connection| {
        let certificate = request(conn, &caller, id, reason).await?;
        Reply::json(StatusCode::ACCEPTED, &CertificateView::new(&certificate))
    };
    once.run(&app.store, work).await
}

async fn request(conn: &mut Connection, caller: &Caller, id: CertificateId, reason: RevocationReason) -> Result<Certificate, Problem> {
    let account = caller.account;
    let certificate = certificates::get_certificate(conn, account, id).await?;
    let versions = revocations::request(conn, account, id, reason, &caller.actor()).await?;
    if versions == 0 {
        return Err(nothing_to_revoke(&certificate));
    }
    let details = json!({"reason": reason, "versions": versions});
    audit::record(conn, caller, ACTION, &id.to_string(), details).await?;
    Ok(certificates::get_certificate(conn, account, id).await?)
}

fn nothing_to_revoke(certificate: &Certificate) -> Problem {
    let is_asked = certificate.revocation.is_some_and(|revocation| revocation.status == RevocationStatus::Active);
    let detail = if is_asked {
        "The CA is being asked to revoke it already; `revocation` of the certificate says how far that is"
    } else {
        "The certificate has no version that is valid, so there is nothing to revoke"
    };
    Problem::conflict("nothing_to_revoke", detail)
}
