//! Runs post-processing again (requirements S0.8).

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::{CertificateId, PushTargetId, VersionId};
use zonecert_domain::scope::Scope;
use zonecert_store::events::{self, NewEvent};
use zonecert_store::{Connection, push_targets, version_history};

use super::{check_valid, version_id};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

#[derive(Serialize, ToSchema)]
#[schema(as = PostProcessing)]
struct PostProcessing {
    #[schema(value_type = values::VersionId)]
    version_id: VersionId,
    /// Where it is pushed to now: the targets that are enabled. Their deliveries say what has come of it.
    #[schema(value_type = Vec<values::PushTargetId>, max_items = 10)]
    push_target_ids: Vec<PushTargetId>,
}

/// Run post-processing again
///
/// The version in use is pushed to the certificate's push targets, and webhooks are told of it, as when it came into use: `certificate.issued`, or
/// `certificate.renewed` where it is not the first.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/versions/{version_id}/post-process", tag = "certificates", operation_id = "postProcessCertificateVersion",
    params(("id" = inline(values::CertificateId), Path), ("version_id" = inline(values::VersionId), Path), idempotency::Parameters),
    responses(
        (status = 202, description = "It is being pushed and told.", body = PostProcessing),
        (status = 409, description = "`version_not_in_use`: Another version is in use; take that one, or go back to this one by POST …/activate\n\
            `version_expired`: The version has expired; take one that is valid\n\
            `version_revoked`: The version was revoked; take another"),
    ),
)]
pub(in crate::certificates) async fn post_process(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<CertificateId>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    let (id, version, once) = (id.read()?, version_id(&request)?, idempotency.of(&caller)?);
    let work = async move |conn: &mut Connection| Reply::json(StatusCode::ACCEPTED, &run(conn, &caller, id, version).await?);
    once.run(&app.store, work).await
}

async fn run(conn: &mut Connection, caller: &Caller, id: CertificateId, version: VersionId) -> Result<PostProcessing, Problem> {
    let account = caller.account;
    let version = version_history::get_version(conn, account, id, version).await?;
    check_valid(&version)?;
    if !version.is_current {
        let detail = "Another version is in use; take that one, or go back to this one by POST …/activate";
        return Err(Problem::conflict("version_not_in_use", detail));
    }
    push_targets::tell_again(conn, account, id).await?;
    let targets = push_targets::list_push_targets(conn, account, id).await?;
    let push_target_ids: Vec<_> = targets.iter().filter(|target| target.enabled).map(|target| target.id).collect();
    let details = json!({"version_id": version.id, "push_target_ids": push_target_ids});
    audit::record(conn, caller, "certificate.post_processed", &id.to_string(), details.clone()).await?;
    let message = format!("Post-processing runs again for version {}", version.number);
    let event = NewEvent { certificate: Some(id), details, ..NewEvent::info("post_processing_requested", message) };
    events::record(conn, account, event).await?;
    Ok(PostProcessing { version_id: version.id, push_target_ids })
}
