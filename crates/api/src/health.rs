//! For load balancers: is this process alive, and can it serve?

use actix_web::{HttpResponse, web};
use serde_json::json;
use zonecert_store::migrate;

use crate::app::App;
use crate::problem::Problem;

/// `GET /healthz`: the process answers.
pub(crate) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

/// `GET /readyz`: the database can be reached, and has every migration that this program knows.
pub(crate) async fn ready(app: web::Data<App>) -> Result<HttpResponse, Problem> {
    if app.store.platform(migrate::is_current).await? {
        Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
    } else {
        Err(Problem::unavailable("database_not_migrated", "The database is older than this program; run `zonecert migrate`", 10))
    }
}
