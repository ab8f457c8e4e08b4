//! For load balancers: is this process alive, and can it serve?

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_store::migrate;

use crate::app::App;
use crate::openapi::values;
use crate::problem::Problem;
use crate::route::{Access, Route};

#[derive(Serialize, ToSchema)]
struct Alive {
    #[schema(schema_with = values::alive)]
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Ready {
    #[schema(schema_with = values::ready)]
    status: &'static str,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(__path_alive, alive, Access::Open), Route::new(__path_ready, ready, Access::Open)]
}

/// Whether the process answers
#[utoipa::path(
    get, path = "/healthz", tag = "service", operation_id = "getHealth",
    responses((status = 200, description = "It does.", body = Alive)),
)]
async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(Alive { status: "alive" })
}

/// Whether the process can serve
///
/// The database can be reached and has every migration that this program knows.
#[utoipa::path(
    get, path = "/readyz", tag = "service", operation_id = "getReadiness",
    responses(
        (status = 200, description = "It can.", body = Ready),
        (status = 503, description = "`database_not_migrated`: The database is older than this program; run `zonecert migrate`\n\
            `database_unavailable`: The service cannot reach its database; try again in a few seconds"),
    ),
)]
async fn ready(app: web::Data<App>) -> Result<HttpResponse, Problem> {
    if app.store.platform(migrate::is_current).await? {
        Ok(HttpResponse::Ok().json(Ready { status: "ready" }))
    } else {
        Err(Problem::not_migrated())
    }
}
