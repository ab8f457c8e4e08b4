//! The pages of the port.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::Monitoring;
use crate::problem::Problem;

/// Prometheus' text format, of which every scraper knows this version.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .route("/metrics", web::get().to(metrics))
        .route("/healthz", web::get().to(alive))
        .route("/readyz", web::get().to(ready))
        .default_service(web::to(nothing));
}

async fn metrics(monitoring: web::Data<Monitoring>) -> HttpResponse {
    match monitoring.page().await {
        Ok(page) => HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT_FORMAT)).insert_header((CACHE_CONTROL, "no-store")).body(page),
        Err(error) => {
            tracing::error!(%error, "the page of metrics could not be made");
            Problem::internal().render(Some("/metrics"))
        }
    }
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

async fn ready(request: HttpRequest, monitoring: web::Data<Monitoring>) -> HttpResponse {
    let problem = match monitoring.is_ready().await {
        Ok(true) => return HttpResponse::Ok().json(json!({ "status": "ready" })),
        Ok(false) => Problem::not_migrated(),
        Err(error) => Problem::from(error),
    };
    problem.render(Some(request.path()))
}

async fn nothing(request: HttpRequest) -> HttpResponse {
    Problem::not_found().render(Some(request.path()))
}
