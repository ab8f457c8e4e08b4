//! What each plan holds, and what another one would mean for an account (requirements section 6, "Downgrade").

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_domain::plan::{Plan, PlanLimits};
use zonecert_domain::plan_change::{self, HeldCertificate};
use zonecert_domain::scope::Scope;
use zonecert_store::certificates::Usage;
use zonecert_store::{Connection, StoreError, accounts, plan_changes, uploads};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::limits::LimitsView;
use crate::openapi::values;
use crate::problem::Problem;
use crate::route::{Access, Route};
use crate::traffic::visitor::Visitor;

#[expect(clippy::struct_excessive_bools, reason = "each is a row of the plans' table, independent of the others")]
#[derive(Serialize, ToSchema)]
#[schema(as = PlanDescription)]
struct PlanAnswer {
    #[schema(value_type = values::Plan)]
    name: Plan,
    /// Certificates that are pending, validating or issued.
    #[schema(example = 25)]
    max_certificates: u32,
    /// Uploaded certificates.
    #[schema(example = 250)]
    max_uploads: u32,
    /// Wildcards in any name.
    wildcard: bool,
    /// Renewal without being asked.
    auto_renew: bool,
    /// Renewal by hand.
    manual_renew: bool,
    /// API tokens can be made.
    api_tokens: bool,
    /// Costs money: certificates can be managed at all.
    paid: bool,
}

impl From<Plan> for PlanAnswer {
    fn from(name: Plan) -> Self {
        let PlanLimits { max_certificates, max_uploads, wildcard, auto_renew, manual_renew, api_tokens, paid } = name.limits();
        Self { name, max_certificates, max_uploads, wildcard, auto_renew, manual_renew, api_tokens, paid }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = PlanList)]
struct PlansAnswer {
    plans: Vec<PlanAnswer>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(__path_list, list, Access::Open), Route::new(__path_preview, preview, Access::Scopes(&[Scope::CertificatesRead]))]
}

/// What each plan holds
///
/// Open to everybody, since people choose before they register.
#[utoipa::path(
    get, path = "/api/v1/plans", tag = "plans", operation_id = "listPlans",
    responses((status = 200, description = "The plans, from the smallest to the largest.", body = PlansAnswer)),
)]
async fn list(_: Visitor) -> HttpResponse {
    let plans = Plan::ALL.into_iter().map(PlanAnswer::from).collect();
    HttpResponse::Ok().json(PlansAnswer { plans })
}

/// A certificate that a change of plan touches.
#[derive(Serialize, ToSchema)]
struct TouchedCertificate {
    #[schema(value_type = values::CertificateId)]
    id: CertificateId,
    #[schema(example = "app.your-domain.com")]
    name: String,
    #[schema(example = "app.your-domain.com")]
    domain: String,
    #[schema(value_type = values::CertificateStatus)]
    status: CertificateStatus,
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
}

/// What a change of plan touches. Nothing is deleted or revoked by it, and the way back brings all of it back.
#[derive(Serialize, ToSchema)]
#[schema(as = PlanChange)]
pub struct PlanChangeView {
    #[schema(value_type = values::Plan)]
    from: Plan,
    #[schema(value_type = values::Plan)]
    to: Plan,
    /// The limits as they would be.
    limits: LimitsView,
    /// How many certificates more than the new plan holds.
    #[schema(example = 0)]
    over_limit_by: u32,
    /// How many uploaded certificates more than the new plan holds.
    #[schema(example = 0)]
    uploads_over_limit_by: u32,
    /// These would no longer renew by themselves.
    auto_renewal_stops: Vec<TouchedCertificate>,
    /// These would renew by themselves again.
    auto_renewal_resumes: Vec<TouchedCertificate>,
    /// These could not be renewed by hand, since they hold wildcards.
    wildcards_rest: Vec<TouchedCertificate>,
    /// Nothing could be requested or renewed by hand.
    certificates_rest: bool,
    /// API tokens would read and download, and nothing else.
    api_tokens_only_read: bool,
}

impl PlanChangeView {
    /// What going to a plan means for an account as it is now. In its transaction.
    pub async fn read(conn: &mut Connection, account: AccountId, to: Plan) -> Result<Self, StoreError> {
        let from = accounts::get_account(conn, account).await?.plan;
        let held = plan_changes::list_held(conn, account).await?;
        Ok(Self::new(from, to, &held, uploads::count_uploads(conn, account).await?))
    }

    fn new(from: Plan, to: Plan, held: &[HeldCertificate], uploads: i64) -> Self {
        let change = plan_change::preview(from, to, held, u32::try_from(uploads).unwrap_or(u32::MAX));
        let touched = |certificates: Vec<&HeldCertificate>| {
            let shown = |certificate: &HeldCertificate| TouchedCertificate {
                id: certificate.id,
                name: certificate.name.clone(),
                domain: certificate.domain.clone(),
                status: certificate.status,
                expires_at: certificate.expires_at,
            };
            certificates.into_iter().map(shown).collect()
        };
        Self {
            from,
            to,
            limits: LimitsView::new(to, Usage { slots: i64::from(change.current_count), uploads }),
            over_limit_by: change.over_limit_by,
            uploads_over_limit_by: change.uploads_over_limit_by,
            auto_renewal_stops: touched(change.auto_renewal_stops),
            auto_renewal_resumes: touched(change.auto_renewal_resumes),
            wildcards_rest: touched(change.wildcards_rest),
            certificates_rest: change.certificates_rest,
            api_tokens_only_read: change.api_tokens_only_read,
        }
    }
}

/// What it would mean for the account to go to a plan
///
/// Nothing is deleted or revoked by a change of plan, and the way back brings all of it back.
#[utoipa::path(
    get, path = "/api/v1/plans/{plan}/preview", tag = "plans", operation_id = "previewPlan",
    params(("plan" = inline(values::Plan), Path)),
    responses((status = 200, description = "What it touches.", body = PlanChangeView)),
)]
async fn preview(app: web::Data<App>, caller: Caller, plan: web::Path<String>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let to = Plan::parse(&plan).ok_or_else(Problem::not_found)?;
    let account = caller.account;
    let view = app.store.tenant(account, async |conn| PlanChangeView::read(conn, account, to).await).await?;
    Ok(HttpResponse::Ok().json(view))
}
