//! Certificates: check, request, list, change, renew, revoke, delete, log, download (requirements section 1).

mod change;
mod create;
mod delete;
mod deployments;
mod download;
mod finding;
mod list;
mod logs;
mod naming;
mod preflight;
mod read;
mod renew;
mod revoke;
mod taken;
mod view;
mod wish;
mod zone;

use zonecert_domain::scope::Scope;

use crate::route::{Access, Route};

pub(crate) fn routes() -> Vec<Route> {
    let reads = Access::Scopes(&[Scope::CertificatesRead]);
    let changes = Access::Scopes(&[Scope::CertificatesWrite]);
    let reports = Access::Scopes(&[Scope::DeploymentsWrite]);
    vec![
        Route::new(list::__path_list, list::list, reads),
        Route::new(create::__path_create, create::create, changes),
        Route::new(preflight::__path_preflight, preflight::preflight, reads),
        Route::new(read::__path_get, read::get, reads),
        Route::new(change::__path_change, change::change, changes),
        Route::new(delete::__path_delete, delete::delete, changes),
        Route::new(renew::__path_renew, renew::renew, changes),
        Route::new(revoke::__path_revoke, revoke::revoke, changes),
        Route::new(logs::__path_list, logs::list, reads),
        Route::new(deployments::__path_list, deployments::list, reads),
        Route::new(deployments::report::__path_put, deployments::report::put, reports),
        Route::new(deployments::__path_delete, deployments::delete, reports),
        Route::new(download::__path_json, download::json, Access::Scopes(&[Scope::CertificatesRead, Scope::KeysRead])),
        Route::new(download::__path_pem, download::pem, reads),
        Route::new(download::__path_chain, download::chain, reads),
        Route::new(download::__path_key, download::key, Access::Scopes(&[Scope::KeysRead])),
    ]
}
