//! Zones: import, proof of control, list, deletion (requirements S3.70).

mod create;
mod delete;
mod read;
mod verify;
mod view;

use actix_web::web::{self, ServiceConfig};

/// The routes of zones.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/zones").get(read::list).post(create::create))
        .service(web::resource("/zones/{id}").get(read::get).delete(delete::delete))
        .service(web::resource("/zones/{id}/verify").post(verify::verify));
}
