//! The operator's part of the API (`/admin`): accounts, their plans and their suspensions. It has a credential and a database role of its own, and is off where
//! either is missing.

mod accounts;
pub mod actions;
mod credential;
pub mod interventions;

use crate::route::{Access, Route};
pub use credential::{OperatorAccess, OperatorToken, OperatorTokenError};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(accounts::__path_list, accounts::list, Access::Operator),
        Route::new(accounts::__path_get, accounts::get, Access::Operator),
        Route::new(accounts::__path_change, accounts::change, Access::Operator),
        Route::new(accounts::__path_preview, accounts::preview, Access::Operator),
        Route::new(accounts::__path_suspend, accounts::suspend, Access::Operator),
        Route::new(accounts::__path_resume, accounts::resume, Access::Operator),
    ]
}
