//! A server says what it does with a certificate.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::deployment::{self, DeploymentState, MAX_TARGETS, Observed};
use zonecert_domain::id::{CertificateId, VersionId};
use zonecert_domain::scope::Scope;
use zonecert_store::certificates::{self, CurrentVersion};
use zonecert_store::deployments::{self, Deployment, Report};
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::{Connection, StoreError};

use super::{DeploymentView, Target, target};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Body, Id};
use crate::text;

/// Most characters of the version of a program that reports.
const MAX_AGENT_VERSION_CHARACTERS: usize = 50;

/// Most characters of what went wrong.
const MAX_ERROR_CHARACTERS: usize = 500;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeploymentReport)]
pub(in crate::certificates) struct Told {
    /// SHA-256 of the leaf that was seen in a TLS handshake, in lower-case hexadecimal digits. It counts, whatever else is said.
    #[schema(pattern = "^[0-9a-f]{64}$", example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    served_sha256: Option<String>,
    /// The same of the one in the files. It counts where none was seen in a handshake and `error` says nothing.
    #[schema(pattern = "^[0-9a-f]{64}$", example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    installed_sha256: Option<String>,
    /// The version in the files, which the `ETag` of a download names.
    #[schema(value_type = Option<values::VersionId>)]
    installed_version_id: Option<String>,
    /// Of the program that reports. One line.
    #[schema(min_length = 1, max_length = 50, example = "0.1.0")]
    agent_version: Option<String>,
    /// What went wrong there. One line, without anything secret.
    #[schema(min_length = 1, max_length = 500, example = json!(null))]
    error: Option<String>,
}

/// What can be said of a report without knowing the certificate.
struct Checked {
    served_sha256: Option<String>,
    installed_sha256: Option<String>,
    /// None as well for what can be no version.
    installed_version: Option<Result<VersionId, FieldError>>,
    agent_version: Option<String>,
    error: Option<String>,
}

impl Told {
    fn check(self) -> Result<Checked, Problem> {
        let mut faults = Faults::default();
        let served = faults.check(fingerprint("/served_sha256", self.served_sha256));
        let installed = faults.check(fingerprint("/installed_sha256", self.installed_sha256));
        let line = |pointer: &str, text: Option<String>, max| text.map(|text| text::line(pointer, &text, max)).transpose();
        let agent_version = faults.check(line("/agent_version", self.agent_version, MAX_AGENT_VERSION_CHARACTERS));
        let error = faults.check(line("/error", self.error, MAX_ERROR_CHARACTERS));
        let installed_version = self.installed_version_id.map(|text| text.parse().map_err(|_| no_version()));
        faults.finish(served.zip(installed).zip(agent_version.zip(error)).map(
            |((served_sha256, installed_sha256), (agent_version, error))| Checked {
                served_sha256,
                installed_sha256,
                installed_version,
                agent_version,
                error,
            },
        ))
    }
}

fn fingerprint(pointer: &str, given: Option<String>) -> Result<Option<String>, FieldError> {
    if given.as_deref().is_none_or(deployment::is_sha256) {
        return Ok(given);
    }
    Err(FieldError::new(pointer, "fingerprint_invalid", "Give the SHA-256 of the certificate in DER as 64 lower-case hexadecimal digits"))
}

/// The same for what is no version at all and for one of another certificate.
fn no_version() -> FieldError {
    FieldError::new(
        "/installed_version_id",
        "version_unknown",
        "The certificate has no such version; give what the ETag of a download says",
    )
}

/// Report what a server does with the certificate
///
/// In place of what it reported before; a report is believed for 25 hours. The certificate's log has an entry where the server's state has changed. At most
/// 50 servers a certificate.
#[utoipa::path(
    put, path = "/api/v1/certificates/{id}/deployments/{target}", tag = "certificates", operation_id = "reportDeployment",
    params(("id" = inline(values::CertificateId), Path), ("target" = inline(Target), Path)),
    request_body = Told,
    responses(
        (status = 200, description = "The report, and what follows from it.", body = DeploymentView),
        (status = 400, description = "`fingerprint_invalid` at /served_sha256: Give the SHA-256 of the certificate in DER as 64 lower-case \
            hexadecimal digits\n\
            `version_unknown` at /installed_version_id: The certificate has no such version; give what the ETag of a download says\n{line}"),
        (status = 409, description = "`deployment_limit_reached`: The certificate has 50 servers; delete one that is not there any more"),
    ),
)]
pub(in crate::certificates) async fn put(
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    request: HttpRequest,
    body: Body<Told>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::DeploymentsWrite)?;
    let (id, target) = (id.read()?, target(&request)?);
    let checked = body.read()?.check()?;
    let account = caller.account;
    let work = async move |conn: &mut Connection| keep(conn, &caller, id, &target, checked).await;
    let (kept, current) = app.store.tenant_write(account, work).await?;
    Ok(HttpResponse::Ok().json(DeploymentView::new(&kept, current.as_deref())))
}

/// Returns the fingerprint of the version in use as well.
async fn keep(
    conn: &mut Connection,
    caller: &Caller,
    id: CertificateId,
    target: &str,
    checked: Checked,
) -> Result<(Deployment, Option<String>), Problem> {
    let account = caller.account;
    let certificate = certificates::get_certificate(conn, account, id).await?;
    let installed_version = checked.installed_version.transpose()?;
    if let Some(version) = installed_version
        && !deployments::has_version(conn, account, id, version).await?
    {
        return Err(no_version().into());
    }
    let before = deployments::find_deployment(conn, account, id, target).await?;
    if before.is_none() {
        add(conn, caller, id, target).await?;
    }
    let observed = Observed {
        served_sha256: checked.served_sha256.as_deref(),
        installed_sha256: checked.installed_sha256.as_deref(),
        failed: checked.error.is_some(),
    };
    let (agent_version, error) = (checked.agent_version.as_deref(), checked.error.as_deref());
    let fingerprint = certificate.expected_at(observed);
    let state = DeploymentState::of(observed, fingerprint, chrono::TimeDelta::zero());
    let report = Report { target, observed, installed_version, agent_version, error, state };
    let kept = deployments::record_report(conn, account, id, &report).await?;
    if before.as_ref().is_none_or(|before| is_news(before, &kept)) {
        tell(conn, caller, id, &kept, certificate.current_version.as_ref()).await?;
    }
    Ok((kept, fingerprint.map(str::to_owned)))
}

/// A server reports for the first time.
async fn add(conn: &mut Connection, caller: &Caller, id: CertificateId, target: &str) -> Result<(), Problem> {
    let count = deployments::count_deployments(conn, caller.account, id).await?;
    if usize::try_from(count).is_ok_and(|count| count >= MAX_TARGETS) {
        let detail = format!("The certificate has {MAX_TARGETS} servers; delete one that is not there any more");
        return Err(Problem::conflict("deployment_limit_reached", detail));
    }
    audit::record(conn, caller, "deployment.added", &id.to_string(), json!({"target": target})).await?;
    Ok(())
}

/// Whether the log has something to say: another state, another version that is served, or a server that was silent for too long.
fn is_news(before: &Deployment, now: &Deployment) -> bool {
    let was_silent = before.age > deployment::REPORT_LIFETIME;
    let then = if was_silent { DeploymentState::Unknown } else { before.state_then };
    then != now.state_then || (now.state_then == DeploymentState::Serving && before.observed().sha256() != now.observed().sha256())
}

async fn tell(
    conn: &mut Connection,
    caller: &Caller,
    id: CertificateId,
    now: &Deployment,
    current: Option<&CurrentVersion>,
) -> Result<(), StoreError> {
    let Deployment { target, error, .. } = now;
    let does = if now.served_sha256.is_some() { "serves" } else { "has installed" };
    let (level, event, message) = match (now.state_then, error) {
        (DeploymentState::Serving, _) => (Level::Info, "deployment_serving", format!("{target} {does} the version in use")),
        (DeploymentState::Stale, _) => (Level::Warning, "deployment_stale", format!("{target} {does} another version than the one in use")),
        (DeploymentState::Unknown, Some(error)) => {
            (Level::Warning, "deployment_unknown", format!("It is not known what {target} serves: {error}"))
        }
        (DeploymentState::Unknown, None) => (Level::Warning, "deployment_unknown", format!("{target} does not say what it serves")),
    };
    let details = json!({
        "target": target, "state": now.state_then.as_str(), "served_sha256": now.served_sha256, "installed_sha256": now.installed_sha256,
        "current_version_id": current.map(|version| version.id), "error": error,
    });
    let event = NewEvent { level, certificate: Some(id), details, ..NewEvent::info(event, message) };
    events::record(conn, caller.account, event).await?;
    Ok(())
}
