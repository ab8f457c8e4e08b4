//! What the account's plan holds, and how much of it is used (requirements S3.30, S3.60).

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::plan::Plan;
use zonecert_domain::scope::Scope;
use zonecert_store::StoreError;
use zonecert_store::certificates::{self, Usage};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::Problem;
use crate::route::{Access, Route};

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(__path_get, get, Access::Scopes(&[Scope::CertificatesRead]))]
}

/// The limits as every list of certificates carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Limits)]
pub(crate) struct LimitsView {
    #[schema(value_type = values::Plan)]
    plan: Plan,
    #[schema(example = 25)]
    max_certificates: u32,
    /// Certificates that are pending, validating or issued.
    #[schema(minimum = 0, example = 3)]
    current_count: i64,
    /// Uploaded certificates at most.
    #[schema(example = 250)]
    max_uploads: u32,
    /// Uploaded certificates.
    #[schema(minimum = 0, example = 12)]
    current_uploads: i64,
    wildcard_enabled: bool,
    auto_renew_enabled: bool,
    /// More certificates than the plan holds, after a downgrade: those that are there stay, new ones are refused.
    over_limit: bool,
}

impl LimitsView {
    /// The plan's limits, and what is in use of them.
    pub(crate) fn new(plan: Plan, usage: Usage) -> Self {
        let limits = plan.limits();
        Self {
            plan,
            max_certificates: limits.max_certificates,
            current_count: usage.slots,
            max_uploads: limits.max_uploads,
            current_uploads: usage.uploads,
            wildcard_enabled: limits.wildcard,
            auto_renew_enabled: limits.auto_renew,
            over_limit: usage.slots > i64::from(limits.max_certificates),
        }
    }
}

/// What the account's plan holds and how much of it is used
#[utoipa::path(
    get, path = "/api/v1/limits", tag = "plans", operation_id = "getLimits",
    responses((status = 200, description = "The limits.", body = LimitsView)),
)]
async fn get(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let account = caller.account;
    let (plan, usage) =
        app.store.tenant::<_, StoreError, _>(account, async move |conn| certificates::get_usage(conn, account).await).await?;
    Ok(HttpResponse::Ok().json(LimitsView::new(plan, usage)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_not_over_it() {
        let of = |plan, slots| serde_json::to_value(LimitsView::new(plan, Usage { slots, uploads: 7 })).unwrap();
        assert_eq!(
            of(Plan::Pro, 3),
            serde_json::json!({
                "plan": "pro", "max_certificates": 25, "current_count": 3, "max_uploads": 250, "current_uploads": 7, "wildcard_enabled": false, "auto_renew_enabled": true,
                "over_limit": false,
            })
        );
        assert_eq!(of(Plan::Plus, 5)["over_limit"], false);
        assert_eq!(of(Plan::Plus, 6)["over_limit"], true);
        assert_eq!(of(Plan::Free, 1)["over_limit"], true);
        assert_eq!(of(Plan::Elite, 0)["wildcard_enabled"], true);
    }
}
