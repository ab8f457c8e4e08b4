//! Where a certificate is in use, as the servers that fetch it tell (docs/adr/0026-agent.md).

pub(super) mod report;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::deployment;
use zonecert_domain::id::{CertificateId, VersionId};
use zonecert_domain::scope::Scope;
use zonecert_store::certificates;
use zonecert_store::deployments::{self, Deployment};
use zonecert_store::events::{self, NewEvent};
use zonecert_store::{Connection, StoreError};

use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

/// What the server calls itself.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}$", example = "web1.your-domain.com")]
#[expect(dead_code, reason = "describes what is read from the path")]
pub(super) struct Target(String);

/// A server, and what it has reported last.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployment)]
pub(super) struct DeploymentView<'a> {
    /// What the server calls itself.
    #[schema(example = "web1.your-domain.com")]
    target: &'a str,
    #[schema(value_type = values::DeploymentState)]
    state: &'static str,
    /// SHA-256 of the leaf that was seen in a TLS handshake, in hexadecimal digits; null if none was.
    #[schema(required, example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    served_sha256: Option<&'a str>,
    /// The same of the one in its files.
    #[schema(required, example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    installed_sha256: Option<&'a str>,
    /// The version in its files.
    #[schema(value_type = Option<values::VersionId>, required)]
    installed_version_id: Option<VersionId>,
    /// Of the program that reports.
    #[schema(required, example = "0.1.0")]
    agent_version: Option<&'a str>,
    /// What went wrong there.
    #[schema(required, example = json!(null))]
    error: Option<&'a str>,
    first_reported_at: DateTime<Utc>,
    reported_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeploymentList)]
struct List<'a> {
    #[schema(max_items = 50)]
    deployments: Vec<DeploymentView<'a>>,
}

impl<'a> DeploymentView<'a> {
    /// `current` is the fingerprint of the version in use.
    fn new(deployment: &'a Deployment, current: Option<&str>) -> Self {
        Self {
            target: &deployment.target,
            state: deployment.state(current).as_str(),
            served_sha256: deployment.served_sha256.as_deref(),
            installed_sha256: deployment.installed_sha256.as_deref(),
            installed_version_id: deployment.installed_version,
            agent_version: deployment.agent_version.as_deref(),
            error: deployment.error.as_deref(),
            first_reported_at: deployment.created_at,
            reported_at: deployment.reported_at,
        }
    }
}

/// Servers that use the certificate
///
/// What each has reported last, by name; at most 50.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/deployments", tag = "certificates", operation_id = "listDeployments",
    params(("id" = inline(values::CertificateId), Path)),
    responses((status = 200, description = "The servers.", body = List)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller, id: Id<CertificateId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let (account, id) = (caller.account, id.read()?);
    let body = async move |conn: &mut Connection| {
        let certificate = certificates::get_certificate(conn, account, id).await?;
        Ok((certificate, deployments::list_deployments(conn, account, id).await?))
    };
    let (certificate, deployed) = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let deployments =
        deployed.iter().map(|deployment| DeploymentView::new(deployment, certificate.expected_at(deployment.observed()))).collect();
    Ok(HttpResponse::Ok().json(List { deployments }))
}

/// Forget a server
///
/// It is there again as soon as it reports.
#[utoipa::path(
    delete, path = "/api/v1/certificates/{id}/deployments/{target}", tag = "certificates", operation_id = "deleteDeployment",
    params(("id" = inline(values::CertificateId), Path), ("target" = inline(Target), Path)),
    responses((status = 204, description = "Forgotten.")),
)]
pub(super) async fn delete(
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::DeploymentsWrite)?;
    let (account, id, target) = (caller.account, id.read()?, target(&request)?);
    let body = async move |conn: &mut Connection| -> Result<(), StoreError> {
        certificates::get_certificate(conn, account, id).await?;
        deployments::delete_deployment(conn, account, id, &target).await?;
        let details = json!({"target": target});
        audit::record(conn, &caller, "deployment.deleted", &id.to_string(), details.clone()).await?;
        let message = format!("{target} is no longer listed among the servers that use it");
        let event = NewEvent { certificate: Some(id), details, ..NewEvent::info("deployment_deleted", message) };
        events::record(conn, account, event).await?;
        Ok(())
    };
    app.store.tenant_write(account, body).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The name in the path; 404 if it is none, as no such server can be there.
fn target(request: &HttpRequest) -> Result<String, Problem> {
    let text = request.match_info().get("target").filter(|text| deployment::is_target_name(text));
    text.map(str::to_owned).ok_or_else(Problem::not_found)
}
