//! Certificates: check, request, list, change, renew, revoke, delete, log, download (requirements section 1), orders and versions
//! (section 2).

mod change;
mod create;
mod csr_subject;
mod delete;
mod deployments;
mod details;
pub(crate) mod download;
pub(crate) mod export;
mod finding;
pub(crate) mod key_choice;
mod list;
mod logs;
pub(crate) mod naming;
mod orders;
mod pfx;
mod preflight;
mod profiles;
mod push_targets;
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

use self::versions::{files, post_process};
use crate::route::{Access, Route};

pub(crate) fn routes() -> Vec<Route> {
    let reads = Access::Scopes(&[Scope::CertificatesRead]);
    let changes = Access::Scopes(&[Scope::CertificatesWrite]);
    // Whoever has a certificate pushed has its key sent to where they like.
    let opens_keys = Access::Scopes(&[Scope::CertificatesWrite, Scope::KeysRead]);
    let reports = Access::Scopes(&[Scope::DeploymentsWrite]);
    vec![
        Route::new(list::__path_list, list::list, reads),
        Route::new(create::__path_create, create::create, changes),
        Route::new(upload::__path_create, upload::create, changes),
        Route::new(upload::__path_add_version, upload::add_version, changes),
        Route::new(preflight::__path_preflight, preflight::preflight, reads),
        Route::new(profiles::__path_list, profiles::list, reads),
        Route::new(export::__path_export, export::export, reads),
        Route::new(read::__path_get, read::get, reads),
        Route::new(change::__path_change, change::change, changes),
        Route::new(delete::__path_delete, delete::delete, changes),
        Route::new(renew::__path_renew, renew::renew, changes),
        Route::new(revoke::__path_revoke, revoke::revoke, changes),
        Route::new(logs::__path_list, logs::list, reads),
        Route::new(deployments::__path_list, deployments::list, reads),
        Route::new(deployments::report::__path_put, deployments::report::put, reports),
        Route::new(deployments::__path_delete, deployments::delete, reports),
        Route::new(push_targets::__path_list, push_targets::list, reads),
        Route::new(push_targets::create::__path_create, push_targets::create::create, opens_keys),
        Route::new(push_targets::__path_get, push_targets::get, reads),
        Route::new(push_targets::change::__path_change, push_targets::change::change, opens_keys),
        Route::new(push_targets::__path_delete, push_targets::delete, changes),
        Route::new(push_targets::deliveries::__path_list, push_targets::deliveries::list, reads),
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
        Route::new(post_process::__path_post_process, post_process::post_process, changes),
        Route::new(files::__path_json, files::json, Access::Scopes(&[Scope::CertificatesRead, Scope::KeysRead])),
        Route::new(files::__path_pem, files::pem, reads),
        Route::new(files::__path_chain, files::chain, reads),
        Route::new(files::__path_key, files::key, Access::Scopes(&[Scope::KeysRead])),
        Route::new(pfx::__path_pfx, pfx::pfx, Access::Scopes(&[Scope::CertificatesRead, Scope::KeysRead])),
    ]
}
