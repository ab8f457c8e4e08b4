//! `GET /plans`: what each plan holds. Open to everybody, since people choose before they register.

use actix_web::HttpResponse;
use serde::Serialize;
use zonecert_domain::plan::{Plan, PlanLimits};

#[derive(Serialize)]
struct PlanAnswer {
    name: Plan,
    #[serde(flatten)]
    limits: PlanLimits,
}

#[derive(Serialize)]
struct PlansAnswer {
    plans: Vec<PlanAnswer>,
}

pub(crate) async fn list() -> HttpResponse {
    let plans = Plan::ALL.into_iter().map(|name| PlanAnswer { name, limits: name.limits() }).collect();
    HttpResponse::Ok().json(PlansAnswer { plans })
}
