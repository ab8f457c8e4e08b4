//! Certificates: check, request, list, change, renew, revoke, delete, log, download (requirements section 1), orders and versions
//! (section 2).

mod change;
mod create;
mod delete;
mod deployments;
mod details;
pub(crate) mod download;
mod finding;
mod key_choice;
mod list;
mod logs;
pub(crate) mod naming;
mod orders;
mod pfx;
mod preflight;
mod read;
mod renew;
mod revoke;
mod taken;
mod upload;
mod versions;
mod view;
pub(crate) mod wish;
mod zone;

use zonecert_domain::scope::Scope;

use self::versions::files;
use crate::route::{Access, Route};

pub(crate) fn routes() -> Vec<Route> {
    let reads = Access::Scopes(&[Scope::CertificatesRead]);
    let changes = Access::Scopes(&[Scope::CertificatesWrite]);
    let reports = Access::Scopes(&[Scope::DeploymentsWrite]);
    vec![
        Route::new(list::__path_list, list::list, reads),
        Route::new(create::__path_create, create::create, changes),
        Route::new(upload::__path_create, upload::create, changes),
        Route::new(upload::__path_add_version, upload::add_version, changes),
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
        Route::new(orders::__path_list, orders::list, reads),
        Route::new(orders::__path_get, orders::get, reads),
        Route::new(versions::__path_list, versions::list, reads),
        Route::new(versions::__path_get, versions::get, reads),
        Route::new(versions::__path_revoke, versions::revoke, changes),
        Route::new(versions::__path_activate, versions::activate, changes),
        Route::new(files::__path_json, files::json, Access::Scopes(&[Scope::CertificatesRead, Scope::KeysRead])),
        Route::new(files::__path_pem, files::pem, reads),
        Route::new(files::__path_chain, files::chain, reads),
        Route::new(files::__path_key, files::key, Access::Scopes(&[Scope::KeysRead])),
        Route::new(pfx::__path_pfx, pfx::pfx, Access::Scopes(&[Scope::CertificatesRead, Scope::KeysRead])),
    ]
}
