//! The one table of routes.

use actix_web::web::{ServiceConfig, delete, get, post, resource, scope};

use crate::{certificates, health, limits, people, plans, tokens, zones};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/healthz").route(get().to(health::alive)))
        .service(resource("/readyz").route(get().to(health::ready)))
        .service(
            scope("/api/v1")
                .service(resource("/auth/register").route(post().to(people::sign_in::register)))
                .service(resource("/auth/login").route(post().to(people::sign_in::login)))
                .service(resource("/auth/refresh").route(post().to(people::sign_in::refresh)))
                .service(resource("/auth/logout").route(post().to(people::sign_in::logout)))
                .service(resource("/me").route(get().to(people::me::get)))
                .service(resource("/plans").route(get().to(plans::list)))
                .service(resource("/tokens").route(get().to(tokens::list)).route(post().to(tokens::create)))
                .service(resource("/tokens/{id}").route(get().to(tokens::get)).route(delete().to(tokens::delete)))
                .configure(zones::routes)
                .configure(certificates::routes)
                .configure(limits::routes),
        );
}
