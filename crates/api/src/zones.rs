//! Zones: import, proof of control, list, deletion, and the records of those that we host (requirements S3.70, S3.71).

mod cname;
mod create;
mod delete;
mod read;
mod records;
mod verify;
mod view;

use zonecert_domain::scope::Scope;

use crate::route::{Access, Route};

pub(crate) fn routes() -> Vec<Route> {
    let (reads, changes) = (Access::Scopes(&[Scope::ZonesRead]), Access::Scopes(&[Scope::ZonesWrite]));
    vec![
        Route::new(read::__path_list, read::list, reads),
        Route::new(create::__path_create, create::create, changes),
        Route::new(read::__path_get, read::get, reads),
        Route::new(delete::__path_delete, delete::delete, changes),
        Route::new(verify::__path_verify, verify::verify, changes),
        Route::new(cname::__path_get, cname::get, reads),
        Route::new(records::read::__path_list, records::read::list, reads),
        Route::new(records::set::__path_put, records::set::put, changes),
        Route::new(records::delete::__path_by_name, records::delete::by_name, changes),
        Route::new(records::read::__path_get, records::read::get, reads),
        Route::new(records::delete::__path_by_id, records::delete::by_id, changes),
        Route::new(records::import::__path_import, records::import::import, changes),
    ]
}
