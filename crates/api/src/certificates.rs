//! Certificates: request, list, log, download (requirements section 1).

mod create;
mod download;
mod list;
mod logs;
mod naming;
mod read;
mod view;
mod wish;

use actix_web::web::{self, ServiceConfig};

/// The routes of certificates.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/certificates").get(list::list).post(create::create))
        .service(web::resource("/certificates/{id}").get(read::get))
        .service(web::resource("/certificates/{id}/logs").get(logs::list))
        .service(web::resource("/certificates/{id}/download").get(download::json))
        .service(web::resource("/certificates/{id}/pem").get(download::pem))
        .service(web::resource("/certificates/{id}/chain").get(download::chain))
        .service(web::resource("/certificates/{id}/key").get(download::key));
}
