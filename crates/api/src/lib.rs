//! The REST API of Zonecert (requirements section 7): routes, authentication, plan gates, problems.
//!
//! A handler says who may call by taking an [`auth::caller::Caller`], reads what it was sent by the extractors of [`request`], does its work in
//! one transaction of [`zonecert_store::Store`] and answers JSON or a [`problem::Problem`]. Certificates are issued elsewhere: the API
//! writes down what is wanted, and the workers see to it.

pub mod app;
mod audit;
pub mod auth;
mod certificates;
mod clock;
mod faults;
mod health;
mod limits;
mod paging;
pub mod people;
mod plans;
pub mod problem;
pub mod request;
pub mod request_id;
mod resolver;
mod routes;
pub mod server;
pub mod settings;
mod text;
mod tokens;
mod trace;
mod zones;

pub use app::App;
pub use server::Server;
pub use settings::{ApiSettings, SettingsError};
